#!/usr/bin/env bash
# pyarrow 26.0.1: a time in nanoseconds inside a struct comes out as a bare number, one in microseconds as a datetime.
#
# `to_pandas` and `to_numpy` give a struct as a Python dict. With timestamps or durations of seconds to microseconds its values are
# datetime and timedelta objects; of nanoseconds, which is what pandas and NumPy write, they are integers without a unit. A file that is written
# anew with another unit changes the type of the values, and nothing tells. `to_pylist` gives pandas' Timestamp and Timedelta.
#
# Seen: "us: datetime timedelta   ns: int int". Expected: times in both.
# Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import pyarrow as pa


def kinds(unit):
    type = pa.struct([("at", pa.timestamp(unit)), ("for", pa.duration(unit))])
    row = pa.array([{"at": 1, "for": 1}], type).to_pandas()[0]
    return [value.__class__.__name__ for value in row.values()]


coarse, fine = kinds("us"), kinds("ns")
print(f"us: {' '.join(coarse)}   ns: {' '.join(fine)}")
sys.exit((coarse, fine) != (["datetime", "timedelta"], ["int", "int"]))
PYTHON
