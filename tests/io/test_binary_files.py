from __future__ import annotations

import pyarrow as pa
import pytest
from io_sources import plan_binary, rows_of, table_of

from millstream.errors import ReadError, SchemaError
from millstream.io.partitioning import Partitioning


def test_a_file_is_a_row(tmp_path):
    (tmp_path / "b").write_bytes(b"\0\1")
    (tmp_path / "a").write_bytes(b"")
    source = plan_binary(tmp_path, include_paths=True)
    assert source.rows == 2
    assert table_of(source).schema == source.schema
    assert source.schema.field("bytes").type == pa.large_binary()
    assert rows_of(source) == [
        {"bytes": b"", "path": str(tmp_path / "a")},
        {"bytes": b"\0\1", "path": str(tmp_path / "b")},
    ]


def test_files_are_grouped_into_units(tmp_path):
    for number in range(10):
        (tmp_path / str(number)).write_bytes(bytes([number]))
    source = plan_binary(tmp_path, override_num_blocks=3)
    assert [len(unit.files) for unit in source.units] == [3, 3, 4]
    assert [row["bytes"][0] for row in rows_of(source)] == list(range(10))
    assert len(plan_binary(tmp_path, override_num_blocks=50).units) == 10
    assert len(plan_binary(tmp_path).units) == 10


def test_folders_can_be_columns(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"1")
    scheme = Partitioning("dir", base_dir=tmp_path, field_names=["kind"])
    assert [row["kind"] for row in rows_of(plan_binary(tmp_path, partitioning=scheme))] == [
        "cat",
        "dog",
    ]
    scheme = Partitioning("dir", base_dir=tmp_path, field_names=["path"])
    with pytest.raises(SchemaError, match="'path'"):
        plan_binary(tmp_path, partitioning=scheme, include_paths=True)


def test_a_file_that_vanishes_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    source = plan_binary(tmp_path)
    (tmp_path / "a").unlink()
    with pytest.raises(ReadError) as caught:
        rows_of(source)
    assert caught.value.file == str(tmp_path / "a")
