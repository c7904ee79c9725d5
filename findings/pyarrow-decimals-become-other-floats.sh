#!/usr/bin/env bash
# pyarrow 26.0.1: the cast of a decimal to float64 is often not the nearest float, and 0.3 and 0.30 give two different floats.
#
# `float(Decimal("0.3"))` is the float nearest to it, which prints as 0.3 again. The cast is one step off for many short decimals (a third of
# the numbers 0.1 to 99.9), and it depends on the scale of the type, so columns of equal decimals are unequal after it.
#
# Seen: "0.3: 0.30000000000000004   0.30: 0.3   -1.2345: -1.2345000000000002". Expected: 0.3, 0.3 and -1.2345.
# Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from decimal import Decimal

import pyarrow as pa


def cast(text):
    value = Decimal(text)
    decimals = pa.array([value], pa.decimal128(14, -value.as_tuple().exponent))
    assert decimals[0].as_py() == value
    return decimals.cast(pa.float64())[0].as_py()


texts = ("0.3", "0.30", "-1.2345")
found = [cast(text) for text in texts]
print("   ".join(f"{text}: {value!r}" for text, value in zip(texts, found)))
sys.exit(found != [0.30000000000000004, 0.3, -1.2345000000000002])
PYTHON
