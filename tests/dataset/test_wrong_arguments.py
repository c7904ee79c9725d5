"""An argument of the wrong kind is an error at the call that names it and its value."""

from __future__ import annotations

import re

import pytest

import millstream as ms

CASES = {
    "path": lambda ds, _: ds.write_parquet(5),
    "paths[0]=5 must be a path": lambda ds, _: ms.read_parquet([5]),
    "path='' must be": lambda ds, _: ds.write_parquet(""),
    "path='' must be a string": lambda ds, _: ms.read_parquet(""),
    "override_num_blocks=0": lambda ds, path: ms.read_images(path, override_num_blocks=0),
    "include_paths": lambda ds, path: ms.read_video(path, include_paths=1),
    "shuffle": lambda ds, path: ms.read_binary_files(path, shuffle="rows"),
    "file_extensions": lambda ds, path: ms.read_binary_files(path, file_extensions="jpg"),
    "min_rows_per_file=0": lambda ds, path: ds.write_parquet(path, min_rows_per_file=0),
    "filename_provider": lambda ds, path: ds.write_parquet(path, filename_provider="x"),
    "concurrency=0": lambda ds, path: ds.select_columns("id", concurrency=0),
    "partition_cols": lambda ds, path: ds.write_parquet(path, partition_cols=5),
    "arrow_open_stream_args": lambda ds, path: ds.write_parquet(path, arrow_open_stream_args=5),
    "arrow_parquet_args_fn": lambda ds, path: ds.write_parquet(path, arrow_parquet_args_fn=5),
    "try_create_dir": lambda ds, path: ds.write_parquet(path, try_create_dir="x"),
    "ray_remote_args": lambda ds, path: ds.write_parquet(path, ray_remote_args=5),
    "ray_remote_args=6": lambda ds, path: ms.read_parquet(written(ds, path), ray_remote_args=6),
    "columns": lambda ds, path: ms.read_parquet(written(ds, path), columns=5),
    "partitioning": lambda ds, path: ms.read_parquet(written(ds, path), partitioning=5),
    "ignore_missing_paths": lambda ds, path: ms.read_parquet(path, ignore_missing_paths="x"),
    "local_shuffle_seed": lambda ds, _: ds.iter_batches(
        local_shuffle_buffer_size=2, local_shuffle_seed="x"
    ),
    "drop_last": lambda ds, _: ds.iter_batches(drop_last="x"),
    "runtime_env": lambda ds, _: ds.map(lambda row: row, runtime_env=5),
    "fetch_if_missing": lambda ds, _: ds.columns("x"),
    "n": lambda ds, _: ms.range(2**70),
}


def written(ds, path):
    ds.write_parquet(path)
    return path


@pytest.mark.parametrize("named", CASES)
def test_an_argument_of_the_wrong_kind_is_refused_at_the_call(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ms.ArgumentError, match=re.escape(named)):
        CASES[named](ms.range(3), str(tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} <= {"out"}
