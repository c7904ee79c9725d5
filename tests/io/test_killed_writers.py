"""Drivers that are killed while they write: what readers see is old or new, never a mix."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from io_sources import plan_parquet, plan_write_parquet, rows_of

_WRITER = """
import sys
import pyarrow as pa
from millstream.io.sink_options import SinkOptions
from millstream.io.formats.parquet.writer import plan_write_parquet

target, mode = sys.argv[1:]
version = 0
while True:
    version += 1
    transform, commit = plan_write_parquet(target, SinkOptions(mode=mode))
    commit.prepare()
    rows = []
    for part in range(10):
        table = pa.table({"x": [part], "version": [version]})
        rows += transform.open()(iter([table]))
    commit.commit(rows)
    print(version, flush=True)
"""


def killed_writer(target: Path, mode: str, after_s: float) -> None:
    """Starts a driver that writes again and again, and kills it some time after its first write."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(target), mode], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("after_s", [0.001, 0.013, 0.029, 0.041])
def test_an_overwrite_that_is_killed_leaves_one_version_whole(tmp_path, after_s):
    target = tmp_path / "out"
    killed_writer(target, "overwrite", after_s)
    rows = rows_of(plan_parquet(target))
    assert [row["x"] for row in rows] == list(range(10))
    assert len({row["version"] for row in rows}) == 1


@pytest.mark.parametrize("after_s", [0.001, 0.023])
def test_an_append_that_is_killed_leaves_only_whole_files(tmp_path, after_s):
    killed_writer(tmp_path, "append", after_s)
    for path in tmp_path.glob("*.parquet"):
        assert pq.read_table(path).num_rows == 1


def test_a_killed_writer_is_in_nobodys_way(tmp_path):
    target = tmp_path / "out"
    killed_writer(target, "overwrite", 0.02)
    _, commit = plan_write_parquet(target, mode="overwrite")
    commit.prepare()
    schema = plan_parquet(target).schema
    commit.commit([], schema)
    assert plan_parquet(target).rows == 0
    assert plan_parquet(tmp_path).rows == 0
