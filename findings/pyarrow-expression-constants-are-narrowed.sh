#!/usr/bin/env bash
# pyarrow 26.0.1: a filter that compares an integer column with a float constant fails, or overflows, where the same comparison of arrays is right.
#
# In an expression, a constant takes the smallest type that holds it before the column's type is looked at: 2.0 becomes float32, and the
# integers are cast to float32 as well, which holds no more than 24 bits. So a table whose ids pass 2**24 cannot be filtered by `> 2.0`.
# Likewise 10 becomes int8: added to an int8 column it overflows, while `pc.add_checked` of arrays gives int64.
#
# Seen: "array: [True]   expression: ArrowInvalid   sum of arrays: 130   sum by expression: ArrowInvalid".
# Expected: the same in both. Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds


def told(function):
    try:
        return function()
    except pa.ArrowInvalid:
        return "ArrowInvalid"


ids = pa.table({"id": [2**24 + 1]})
small = pa.table({"x": pa.array([120], pa.int8())})
total = {"sum": pc.add_checked(pc.field("x"), pc.scalar(10))}
seen = [
    pc.greater(ids["id"], 2.0).to_pylist(),
    told(lambda: ids.filter(pc.field("id") > 2.0).num_rows),
    pc.add_checked(small["x"], 10)[0].as_py(),
    told(lambda: ds.dataset(small).to_table(columns=total)["sum"][0].as_py()),
]
print("array: {}   expression: {}   sum of arrays: {}   sum by expression: {}".format(*seen))
sys.exit(seen != [[True], "ArrowInvalid", 130, "ArrowInvalid"])
PYTHON
