#!/usr/bin/env bash
# duckdb 2.0.1: through Arrow, the largest unsigned integer of 128 bits is -1, and a time with a zone loses it.
#
# `fetchall` gives 2**128 - 1 and a time with its zone. The hand-over to Arrow has no type for either: UHUGEINT comes as a signed decimal
# of the same bits, TIMETZ as a time without a zone. Nothing in the schema tells.
#
# Seen: "rows: (340282366920938463463374607431768211455, '12:00:00+02:00')   arrow: (-1, '12:00:00')".
# Expected: an error, or the values. Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import duckdb

query = f"SELECT {2**128 - 1}::UHUGEINT AS huge, '12:00:00+02:00'::TIMETZ AS noon"
huge, noon = duckdb.sql(query).fetchall()[0]
row = duckdb.sql(query).to_arrow_table().to_pylist()[0]
seen = (huge, noon.isoformat()), (int(row["huge"]), row["noon"].isoformat())
print("rows: {}   arrow: {}".format(*seen))
sys.exit(seen != ((2**128 - 1, "12:00:00+02:00"), (-1, "12:00:00")))
PYTHON
