#!/usr/bin/env bash
# pyarrow 26.0.1: the mean of three equal decimals above zero is another number, below zero.
#
# The sum is kept in 128 bits without a check. It wraps, though it has the type decimal128(38, 0), and the mean is taken from it; so it is
# by group. `add_checked` of the same decimals is an error.
#
# Seen: "value: 99999999999999999999999999999999999999   mean: -13427455640312821154458202477256070486", and the same by group.
# Expected: the value, or an error. Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

value = Decimal("9" * 38)
table = pa.table({"key": [1, 1, 1], "value": [value] * 3})
mean = pc.mean(table["value"]).as_py()
by_group = table.group_by("key").aggregate([("value", "mean")])["value_mean"][0].as_py()
print(f"value: {value}   mean: {mean}   by group: {by_group}")
sys.exit((mean < 0, by_group < 0) != (True, True))
PYTHON
