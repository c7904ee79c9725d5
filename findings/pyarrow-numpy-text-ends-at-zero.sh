#!/usr/bin/env bash
# pyarrow 26.0.1, numpy 2.4.6: text in a NumPy array of fixed width loses all that comes after a zero inside it.
#
# NumPy pads texts with zeros at their end only; a zero before that is a part of the value, and `array[0]` and `tolist` give it. `pa.array`
# takes the first zero for the end: keys, hashes and packed numbers in `S` arrays become shorter, or empty, and may then be equal.
#
# Seen: "numpy: [b'\x01\x00\x02', b'\x01\x00\x03']   arrow: [b'\x01', b'\x01']". Expected: the same values.
# Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import pyarrow as pa

array = np.array([b"\x01\x00\x02", b"\x01\x00\x03"])
seen = array.tolist(), pa.array(array).to_pylist()
print("numpy: {}   arrow: {}".format(*seen))
sys.exit(seen != ([b"\x01\x00\x02", b"\x01\x00\x03"], [b"\x01", b"\x01"]))
PYTHON
