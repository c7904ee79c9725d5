#!/usr/bin/env bash
# deltalake 1.6.6: for a local folder named `a%20b`, `DeltaTable` opens the table in the folder `a b`.
#
# Both are usual names on a local disk, and `write_deltalake` puts the files of each table where it was told to. The commits are then read from
# the folder that the name means in a URL, so schema and files are those of another table. Where there is no `a b`, the write that makes the
# table is an error, after it has made it.
#
# Seen: "a b: ['space'], 2 files   a%20b: ['space'], 1 files", and "alone: File not found, 1 commit" for a folder `c%20d` without a `c d`.
# Expected: ['percent'] for `a%20b`, and no error. Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError


def opened(folder):
    table = DeltaTable(folder)
    return [field.name for field in table.schema().fields], len(table.file_uris())


for _ in range(2):
    write_deltalake("a b", pa.table({"space": [1]}), mode="append")
write_deltalake("a%20b", pa.table({"percent": [1]}))
try:
    write_deltalake("c%20d", pa.table({"percent": [1]}))
    alone = "written"
except DeltaError as error:
    alone = "File not found" if "File not found" in str(error) else str(error)
commits = sum(name.endswith(".json") for name in os.listdir("c%20d/_delta_log"))
space, percent = opened("a b"), opened("a%20b")
print("a b: {}, {} files".format(*space), "a%20b: {}, {} files".format(*percent), f"alone: {alone}, {commits} commit", sep="   ")
sys.exit((space, percent, alone, commits) != ((["space"], 2), (["space"], 1), "File not found", 1))
PYTHON
