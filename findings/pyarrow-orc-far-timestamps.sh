#!/usr/bin/env bash
# pyarrow 24.0.0: timestamps beyond the year 2262 come back from an ORC file as other timestamps; 26.0.1 raises for the same file.
#
# The writer takes timestamps of any unit. The reader makes nanoseconds of all, which reach from 1677 to 2262; up to 24.0.0 what is beyond
# wraps in silence. So the "end of time" that many tables have, 9999-12-31, becomes a date of the 19th century.
#
# Seen: "24.0.0: 1816-03-29 05:56:08.066277376   26.0.1: ArrowInvalid". Expected: an error in both, or the date.
# Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
for version in 24.0.0 26.0.1; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "pyarrow==$version"
  "$folder/$version/bin/python" - >"$folder/$version.txt" <<'PYTHON'
import datetime
import io

import pyarrow as pa
from pyarrow import orc

file = io.BytesIO()
orc.write_table(pa.table({"until": pa.array([datetime.datetime(9999, 12, 31)], pa.timestamp("us"))}), file)
try:
    print(orc.ORCFile(file).read().column("until").cast(pa.string())[0])
except pa.ArrowException as error:
    print(type(error).__name__)
PYTHON
done
old=$(cat "$folder/24.0.0.txt") new=$(cat "$folder/26.0.1.txt")
echo "24.0.0: $old   26.0.1: $new"
[[ $old == 18* && $new == Arrow* ]]
