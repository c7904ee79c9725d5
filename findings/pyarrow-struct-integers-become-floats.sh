#!/usr/bin/env bash
# pyarrow 26.0.1, pandas 3.1.1: an integer in a struct is rounded because another row's struct has a null there.
#
# `to_pandas` and `to_numpy` give a struct column as Python dicts, which could hold an int beside a None. But each field is converted as a
# column of its own first, and an integer column with a null becomes float64: ids and hashes above 2**53 change, and nothing tells. Which
# rows share a chunk decides it, so the same row is right in one batch and wrong in the next. `to_pylist` keeps them.
#
# Seen: "alone: 9007199254740993   beside a null: 9007199254740992.0". Expected: 9007199254740993 in both.
# Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import pyarrow as pa

TYPE = pa.struct([("id", pa.int64())])
row = {"id": 2**53 + 1}
alone = pa.array([row], TYPE).to_pandas()[0]["id"]
beside = pa.array([row, {"id": None}], TYPE).to_pandas()[0]["id"]
kept = pa.array([row, {"id": None}], TYPE).to_pylist()[0]["id"]
print(f"alone: {alone}   beside a null: {beside}")
sys.exit((alone, kept, beside) != (2**53 + 1, 2**53 + 1, float(2**53)))
PYTHON
