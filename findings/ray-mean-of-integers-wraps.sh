#!/usr/bin/env bash
# Ray 2.60.0: the mean of six times in nanoseconds, as integers, is a number below zero; by group it is an error.
#
# The sum is kept in 64 bits without a check, and six times of these years are more than that. By group, a sum above 2**53 is refused when it is to
# become a float. The mean of 64-bit ids or hashes is the same.
#
# Seen: "mean: -1.3744573456182587e+18   by group: Integer value -8246744073709551601 not in range: -9007199254740992 to 9007199254740992".
# Expected: 1.7e+18 in both. Ends with 0 while it is so, with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[data]==2.60.0' polars==2.1.0 pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

import pyarrow as pa
import ray

ray.init(
    num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False, _temp_dir=f"{os.getcwd()}/ray"
)
ray.data.DataContext.get_current().enable_progress_bars = False
times = [1_700_000_000_000_000_000 + number for number in range(6)]
dataset = ray.data.from_arrow(pa.table({"key": [1] * 6, "time": times}))
mean = dataset.mean("time")
try:
    by_group = dataset.groupby("key").mean("time").take_all()
except Exception as error:
    by_group = str(error).strip().splitlines()[-1].partition("ArrowInvalid: ")[2]
print(f"mean: {mean}   by group: {by_group}")
sys.exit(not (mean < 0 and "not in range" in str(by_group)))
PYTHON
