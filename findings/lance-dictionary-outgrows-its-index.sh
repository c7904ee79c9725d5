#!/usr/bin/env bash
# pylance 14.0.2: a dictionary column with 8-bit indices whose chunks have 300 words together is written, and can then not be read.
#
# In Arrow each chunk has a dictionary of its own, so 100 words in each of three chunks are valid. Lance joins them, which takes wider indices
# than the schema says. The write ends well and the rows are counted; each read of the column is an error that speaks of a corrupt file.
#
# Seen: "written: 300 rows   read: Encountered corrupt file dictionary: dictionary indices use 32 bits but the declared Int8 key type uses 8 bits".
# Expected: an error at the write, or the values. Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pylance==14.0.2 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import lance
import pyarrow as pa


def chunk(first):
    words = pa.array([f"word {number}" for number in range(first, first + 100)])
    return words.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))


table = pa.table({"word": pa.chunked_array([chunk(0), chunk(100), chunk(200)])})
table.validate(full=True)
dataset = lance.write_dataset(table, "words.lance")
try:
    found = f"{dataset.to_table().num_rows} rows"
except pa.ArrowInvalid as error:
    found = str(error).removeprefix("External error: ").split(", /")[0]
print(f"written: {dataset.count_rows()} rows   read: {found}")
sys.exit(not found.startswith("Encountered corrupt file"))
PYTHON
