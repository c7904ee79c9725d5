from __future__ import annotations

import datetime
import pickle
import shutil
import time
from decimal import Decimal

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest
from io_sources import plan_parquet, rows_of, table_of, tables_of, unit_rows

from millstream.errors import ArgumentError, ReadError, SchemaError
from millstream.io.formats.parquet import scan
from millstream.io.formats.parquet import source as parquet
from millstream.io.partitioning import NULL_DIRECTORY, Partitioning


@pytest.fixture
def numbers(tmp_path):
    """Two files of 50 rows, in row groups of 20."""
    table = pa.table({"x": range(100), "s": [f"row {i}" for i in range(100)]})
    for part in range(2):
        rows = table.slice(part * 50, 50)
        pq.write_table(rows, tmp_path / f"part-{part}.parquet", row_group_size=20)
    return tmp_path


def write(path, /, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_row_groups_are_units_in_order(numbers):
    source = plan_parquet(numbers)
    assert unit_rows(source) == [20, 20, 10, 20, 20, 10]
    assert source.rows == 100
    assert source.schema == pa.schema([("x", pa.int64()), ("s", pa.string())])
    assert source.files == [str(numbers / "part-0.parquet"), str(numbers / "part-1.parquet")]
    assert table_of(source).column("x").to_pylist() == list(range(100))


def test_units_are_tiny_and_know_their_size(numbers):
    for unit in plan_parquet(numbers).units:
        assert len(pickle.dumps(unit)) < 2000
        assert unit.nbytes > 0
        assert len(unit.files) == 1


@pytest.mark.parametrize("blocks", [1, 2, 5, 6, 7, 13, 100, 1000])
def test_there_are_as_many_units_as_asked_for(numbers, blocks):
    source = plan_parquet(numbers, override_num_blocks=blocks)
    assert len(source.units) == min(blocks, 100)
    assert table_of(source).column("x").to_pylist() == list(range(100))


def test_columns_come_in_the_order_asked_for(numbers):
    source = plan_parquet(numbers, columns=["s", "x"])
    assert source.schema.names == ["s", "x"]
    assert table_of(source).column_names == ["s", "x"]


def test_no_columns_leave_the_rows(numbers):
    source = plan_parquet(numbers, columns=[])
    assert sum(unit_rows(source)) == 100
    assert source.schema.names == []
    assert sum(unit_rows(plan_parquet(numbers, columns=[], override_num_blocks=7))) == 100


def test_an_unknown_column_is_named_beside_those_that_exist(numbers):
    with pytest.raises(SchemaError, match=r"'nope'.*'x', 's'"):
        plan_parquet(numbers, columns=["x", "nope"])


@pytest.mark.parametrize("columns", [1, [1], ["x", "x"]])
def test_columns_that_make_no_sense_are_refused(numbers, columns):
    with pytest.raises(ArgumentError, match="columns"):
        plan_parquet(numbers, columns=columns)


def test_a_source_can_be_planned_again_for_some_columns(numbers):
    source = plan_parquet(numbers, include_paths=True)
    fewer = source.with_columns(["path", "x"])
    assert table_of(fewer).column_names == ["path", "x"]
    with pytest.raises(SchemaError, match="'nope'"):
        source.with_columns(["nope"])


def test_paths_are_a_column(numbers):
    rows = rows_of(plan_parquet(numbers, include_paths=True, columns=["x"]))
    assert list(rows[0]) == ["x", "path"]
    assert rows[0]["path"] == str(numbers / "part-0.parquet")
    assert rows[99]["path"] == str(numbers / "part-1.parquet")


def test_a_path_column_in_the_files_is_not_hidden(tmp_path):
    write(tmp_path / "a.parquet", path=["x"])
    with pytest.raises(SchemaError, match="'path'"):
        plan_parquet(tmp_path, include_paths=True)


def test_a_file_listed_twice_is_read_twice(numbers):
    path = numbers / "part-0.parquet"
    assert plan_parquet([path, path]).rows == 100
    assert len(rows_of(plan_parquet([path, path]))) == 100


def test_hive_folders_are_columns_and_their_null_is_null(tmp_path):
    for folder in ("year=2024", f"year={NULL_DIRECTORY}", "year=20%2F24"):
        write(tmp_path / folder / "a.parquet", x=[1])
    source = plan_parquet(tmp_path)
    assert source.schema.field("year").type == pa.string()
    assert {row["year"] for row in rows_of(source)} == {"2024", None, "20/24"}
    assert rows_of(plan_parquet(tmp_path, columns=["year"]))[0].keys() == {"year"}


def test_a_file_outside_of_any_partition_has_null(tmp_path):
    write(tmp_path / "year=1" / "a.parquet", x=[1])
    write(tmp_path / "z.parquet", x=[2])
    assert rows_of(plan_parquet(tmp_path)) == [{"x": 1, "year": 1}, {"x": 2, "year": None}]


def test_partitions_take_types_or_are_left_alone(tmp_path):
    write(tmp_path / "year=2024" / "a.parquet", x=[1])
    typed = plan_parquet(tmp_path, partitioning=Partitioning(field_types={"year": int}))
    assert rows_of(typed) == [{"x": 1, "year": 2024}]
    schema = pa.schema([("year", pa.int16()), ("x", pa.int64())])
    given = plan_parquet(tmp_path, schema=schema, filter=pc.field("year") > 2000)
    assert table_of(given).schema == schema
    assert rows_of(given) == [{"year": 2024, "x": 1}]
    assert rows_of(plan_parquet(tmp_path, partitioning=None)) == [{"x": 1}]


def test_a_partition_of_nulls_alone_is_a_column_of_nulls(tmp_path):
    write(tmp_path / f"year={NULL_DIRECTORY}" / "a.parquet", x=[1])
    source = plan_parquet(tmp_path)
    assert source.schema.field("year").type == pa.null()
    assert rows_of(source) == [{"x": 1, "year": None}]


def test_timestamps_of_96_bits_are_right_in_all_years(tmp_path):
    times = [datetime.datetime(1000, 1, 1), None, datetime.datetime(9999, 12, 31, 23, 59, 59, 7)]
    table = pa.table({"t": pa.array(times, pa.timestamp("us"))})
    for store_schema in (True, False):
        path = tmp_path / f"{store_schema}.parquet"
        pq.write_table(table, path, use_deprecated_int96_timestamps=True, store_schema=store_schema)
    source = plan_parquet(tmp_path)
    assert source.schema == table.schema
    assert table_of(source).column("t").to_pylist() == times * 2
    early = plan_parquet(tmp_path, filter=pc.field("t") < datetime.datetime(1500, 1, 1))
    assert [row["t"] for row in rows_of(early)] == [times[0]] * 2


def test_a_partition_column_that_is_in_the_files_is_read_from_there(tmp_path):
    write(tmp_path / "x=5" / "a.parquet", x=[1])
    assert rows_of(plan_parquet(tmp_path)) == [{"x": 1}]


def test_schemas_are_unified_over_files(tmp_path):
    write(tmp_path / "a.parquet", x=pa.array([1], pa.int32()), only_a=["a"])
    write(tmp_path / "b.parquet", x=[2.5], only_b=[True])
    write(tmp_path / "c.parquet", x=pa.nulls(1))
    source = plan_parquet(tmp_path)
    assert source.schema.field("x").type == pa.float64()
    assert [table.schema for table in tables_of(source)] == [source.schema] * 3
    assert rows_of(source) == [
        {"x": 1.0, "only_a": "a", "only_b": None},
        {"x": 2.5, "only_a": None, "only_b": True},
        {"x": None, "only_a": None, "only_b": None},
    ]


def test_types_that_do_not_go_together_name_column_and_file(tmp_path):
    write(tmp_path / "a.parquet", x=[1])
    write(tmp_path / "b.parquet", x=["text"])
    with pytest.raises(SchemaError, match="'x'") as caught:
        plan_parquet(tmp_path)
    assert caught.value.file == str(tmp_path / "b.parquet")


def test_a_schema_of_the_users_decides(tmp_path):
    write(tmp_path / "a.parquet", x=[1], y=[2])
    schema = pa.schema([("x", pa.float32()), ("z", pa.string())])
    source = plan_parquet(tmp_path, schema=schema)
    assert table_of(source).schema == schema
    assert rows_of(source) == [{"x": 1.0, "z": None}]


def test_values_of_all_kinds_survive(tmp_path):
    table = pa.table(
        {
            "decimal": [Decimal("1.10"), None],
            "date": [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)],
            "zoned": pa.array([0, None], pa.timestamp("us", "Europe/Berlin")),
            "nested": [[{"a": [1, None]}], None],
            "dictionary": pa.array(["a", "b"]).dictionary_encode(),
            "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((2, 2, 3), np.float32)),
            "large": pa.array(["x", None], pa.large_string()),
            "half": pa.array([1.5, None], pa.float16()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    read = table_of(plan_parquet(tmp_path))
    assert read.to_pylist() == table.to_pylist()
    assert read.schema.names == table.schema.names
    assert read.schema.field("zoned").type == table.schema.field("zoned").type
    assert len(table_of(plan_parquet(tmp_path, override_num_blocks=2))) == 2


def test_files_without_rows_keep_the_schema(tmp_path):
    write(tmp_path / "a.parquet", x=pa.array([], pa.int8()))
    source = plan_parquet(tmp_path)
    assert source.rows == 0
    assert table_of(source).schema == pa.schema([("x", pa.int8())])
    write(tmp_path / "b.parquet", x=pa.array([1], pa.int8()))
    assert rows_of(plan_parquet(tmp_path)) == [{"x": 1}]


def test_rows_are_filtered_and_row_groups_are_skipped(numbers, monkeypatch):
    source = plan_parquet(numbers, filter=pc.field("x") >= 85, columns=["s"])
    assert source.rows is None
    assert source.schema.names == ["s"]
    assert [row["s"] for row in rows_of(source)] == [f"row {i}" for i in range(85, 100)]
    read = []
    batches = pq.ParquetFile.iter_batches

    def spy(file, *args, row_groups, **options):
        read.extend(row_groups)
        return batches(file, *args, row_groups=row_groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    list(tables_of(source))
    assert read == [1, 2]


def test_filters_see_partitions_and_paths(tmp_path):
    for year in (2023, 2024):
        write(tmp_path / f"year={year}" / "a.parquet", x=[1, 2])
    chosen = (pc.field("year") == 2024) & (pc.field("x") == 2)
    assert rows_of(plan_parquet(tmp_path, filter=chosen)) == [{"x": 2, "year": 2024}]
    ending = pc.ends_with(pc.field("path"), "2023/a.parquet")
    assert len(rows_of(plan_parquet(tmp_path, filter=ending, include_paths=True))) == 2


def test_filters_work_however_the_rows_are_cut(numbers):
    wanted = list(range(3, 100, 10))
    for blocks in (1, 4, 50):
        source = plan_parquet(
            numbers, filter=pc.field("x").isin(wanted), override_num_blocks=blocks
        )
        assert [row["x"] for row in rows_of(source)] == wanted


def test_filters_that_do_not_fit_are_refused(numbers):
    with pytest.raises(SchemaError, match="nope"):
        plan_parquet(numbers, filter=pc.field("nope") == 1)
    with pytest.raises(ArgumentError, match="filter"):
        plan_parquet(numbers, filter="x > 1")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "0 bytes"), (b"PAR1 this is not Parquet", "not a readable Parquet"), (b"x", "Parquet")],
)
def test_a_broken_file_is_named_at_once(numbers, content, message):
    broken = numbers / "zzz.parquet"
    broken.write_bytes(content)
    with pytest.raises(ReadError, match=message) as caught:
        plan_parquet(numbers)
    assert caught.value.file == str(broken)


def test_broken_pages_are_named_when_they_are_read(tmp_path):
    path = write(tmp_path / "a.parquet", x=range(100_000))
    data = bytearray(path.read_bytes())
    data[4:2000] = b"\xff" * 1996
    path.write_bytes(data)
    source = plan_parquet(path)
    with pytest.raises(ReadError, match="cannot read this Parquet file") as caught:
        list(tables_of(source))
    assert caught.value.file == str(path)


def test_a_file_that_vanishes_is_named(numbers):
    source = plan_parquet(numbers)
    (numbers / "part-0.parquet").unlink()
    with pytest.raises(ReadError) as caught:
        list(tables_of(source))
    assert caught.value.file == str(numbers / "part-0.parquet")


def test_pictures_are_no_parquet(tmp_path):
    for number in range(100):
        (tmp_path / f"{number}.jpg").write_bytes(b"\xff\xd8 nonsense")
    with pytest.raises(ReadError, match="use read_images"):
        plan_parquet(tmp_path)
    with pytest.raises(ReadError, match="not a readable Parquet"):
        plan_parquet(tmp_path, file_extensions=None)


def test_two_small_files_are_planned_in_no_time(numbers):
    plan_parquet(numbers)
    start = time.perf_counter()
    plan_parquet(numbers)
    assert time.perf_counter() - start < 0.2


@pytest.fixture
def many(tmp_path):
    """More files than are opened to plan; the second has a column and a type of its own."""
    first = write(tmp_path / "000.parquet", x=range(10))
    for number in range(1, 100):
        shutil.copy(first, tmp_path / f"{number:03}.parquet")
    write(tmp_path / "001.parquet", x=[0.5], more=["m"])
    return tmp_path


def test_of_many_files_only_a_sample_is_opened(many, monkeypatch):
    opened = []
    read = parquet._read_footer

    def spy(filesystem, path):
        opened.append(path)
        return read(filesystem, path)

    monkeypatch.setattr(parquet, "_read_footer", spy)
    source = plan_parquet(many)
    assert len(opened) == parquet.FOOTERS_MAX
    assert len(source.files) == 100
    assert all(unit.nbytes > 0 for unit in source.units)
    opened.clear()
    assert len(plan_parquet(many, override_num_blocks=10).units) == 10
    assert len(opened) == parquet.FOOTERS_MAX


def test_what_the_sample_did_not_show_is_read_all_the_same(many):
    source = plan_parquet(many)
    assert source.rows is None
    assert source.schema.names == ["x"]
    table = table_of(source)
    assert len(table) == 991
    assert table.column("more").null_count == 990
    assert 0.5 in table.column("x").to_pylist()
    only = plan_parquet(many, columns=["more"])
    assert table_of(only).column("more").drop_null().to_pylist() == ["m"]
    with pytest.raises(SchemaError, match="'nope'"):
        plan_parquet(many, columns=["nope"])


def test_many_files_can_be_cut_finer_than_files(many):
    source = plan_parquet(many, override_num_blocks=300)
    assert len(source.units) == 300
    assert len(table_of(source)) == 991


def test_many_tiny_row_groups_are_read_together(tmp_path):
    pq.write_table(pa.table({"x": range(3000)}), tmp_path / "a.parquet", row_group_size=1)
    source = plan_parquet(tmp_path)
    assert len(source.units) == 256
    assert table_of(source).column("x").to_pylist() == list(range(3000))


def test_a_huge_row_group_is_streamed(tmp_path):
    rows = 600
    data = [np.random.default_rng(i).bytes(200_000) for i in range(rows)]
    table = pa.table({"b": pa.array(data, pa.binary())})
    # Otherwise all these rows would be one page, which is the least that can be read.
    pq.write_table(table, tmp_path / "a.parquet", compression="none", write_batch_size=4)
    del data, table
    source = plan_parquet(tmp_path)
    assert len(source.units) == 1
    before = pa.total_allocated_bytes()
    peak, sizes = 0, []
    for table in source.units[0].read():
        peak = max(peak, pa.total_allocated_bytes() - before)
        sizes.append(table.nbytes)
        del table
    assert sum(sizes) > 115e6
    assert max(sizes) < 2 * scan.TABLE_BYTES
    assert peak < 64e6


def test_other_file_systems_work_throughout():
    memory = fsspec.filesystem("memory")
    filesystem = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(memory))
    try:
        for name in ("k=1/a.parquet", "k=2/b.parquet", "k=2/c.parquet"):
            memory.makedirs(f"/pq/{name.partition('/')[0]}", exist_ok=True)
            pq.write_table(pa.table({"x": [1, 2]}), f"/pq/{name}", filesystem=filesystem)
        source = plan_parquet("memory://pq", filter=pc.field("k") == 2, include_paths=True)
        assert {row["path"] for row in rows_of(source)} == {
            "/pq/k=2/b.parquet",
            "/pq/k=2/c.parquet",
        }
        assert plan_parquet("/pq", filesystem=filesystem).rows == 6
    finally:
        memory.rm("/pq", recursive=True)
