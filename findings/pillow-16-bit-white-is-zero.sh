#!/usr/bin/env bash
# Pillow 12.3.0: a 16-bit grey TIFF in which 0 is white (PhotometricInterpretation 0) comes out as its negative.
#
# An 8-bit one is inverted on reading, as the format says, so that 255 is white; a 16-bit one is not, and nothing tells: the same picture
# in two depths is white in one and black in the other. Scans and X-ray pictures are often of this kind.
#
# Seen: "8 bits: 255   16 bits: 0" for a white pixel. Expected: 255 and 65535.
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


def white_pixel(dtype):
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((2, 2), dtype), photometric="miniswhite")
    return int(np.asarray(Image.open(file))[0, 0])


shallow, deep = white_pixel(np.uint8), white_pixel(np.uint16)
print(f"8 bits: {shallow}   16 bits: {deep}")
sys.exit((shallow, deep) != (255, 0))
PYTHON
