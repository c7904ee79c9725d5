#!/usr/bin/env bash
# Pillow 12.3.0: a TIFF of signed 8-bit numbers (SampleFormat 2) is read as unsigned; -5 becomes 251, and nothing tells.
#
# With 16 bits the same numbers are read with their sign (as 32-bit integers), so maps of differences or temperatures are right or wrong
# by their depth alone.
#
# Seen: "8 bits: [[251, 100]]   16 bits: [[-5, 100]]". Expected: -5 and 100 in both.
# Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 tifffile==2026.3.3 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import numpy as np
import tifffile
from PIL import Image


def read(dtype):
    file = io.BytesIO()
    tifffile.imwrite(file, np.array([[-5, 100]], dtype))
    return np.asarray(Image.open(file)).tolist()


shallow, deep = read(np.int8), read(np.int16)
print(f"8 bits: {shallow}   16 bits: {deep}")
sys.exit((shallow, deep) != ([[251, 100]], [[-5, 100]]))
PYTHON
