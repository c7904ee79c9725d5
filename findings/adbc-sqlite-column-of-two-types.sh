#!/usr/bin/env bash
# adbc-driver-sqlite 1.13.0: an integer above 2**53 is changed when another row of the column is a float.
#
# A column of SQLite may hold integers in some rows and floats in others, each exactly. The driver gives the column one Arrow type, that of
# what it meets: it turns to double with the first float, and integers beside it are rounded, before it and after it, without a warning.
# `sqlite3` gives both values as they are.
#
# Seen: "sqlite3: [9007199254740993, 1.5]   adbc: [9007199254740992.0, 1.5]". Expected: an error, or the values.
# Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check adbc-driver-sqlite==1.13.0 adbc-driver-manager==1.13.0 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sqlite3
import sys

import adbc_driver_sqlite.dbapi as adbc

with sqlite3.connect("data.db") as connection:
    connection.execute("CREATE TABLE t (x)")
    connection.executemany("INSERT INTO t VALUES (?)", [(2**53 + 1,), (1.5,)])
exact = [row[0] for row in connection.execute("SELECT x FROM t")]
connection.close()
with adbc.connect("data.db") as connection, connection.cursor() as cursor:
    cursor.execute("SELECT x FROM t")
    found = cursor.fetch_arrow_table().column("x").to_pylist()
print(f"sqlite3: {exact}   adbc: {found}")
sys.exit((exact, found) != ([2**53 + 1, 1.5], [float(2**53), 1.5]))
PYTHON
