"""Vortex: values as they are or an error, files that are cut are told, one text type."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import vortex
from column_samples import COLUMNS, same, values
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import rows_of, table_of, tables_of, unit_rows

import millstream as ms
from millstream.blocks import block
from millstream.errors import ArgumentError, MissingPackageError, ReadError, SchemaError
from millstream.io.file_options import FileOptions
from millstream.io.formats import vortex as reader
from millstream.io.formats.panics import PanicError, panics_told
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.io.formats.vortex_writer import VortexFormat
from millstream.io.partitioning import Partitioning
from millstream.io.sink_options import SinkOptions
from millstream.options import takes
from millstream.plan.arguments import SinkTasks
from millstream.read_lakes import read_vortex

#: Columns of types that Vortex has not.
UNHELD = {
    *("duration", "nano_duration", "interval", "fixed_binary"),
    *("tensor", "float_tensor", "ragged_tensor", "any_tensor", "vector", "bool_tensor"),
}


@takes(files=FileOptions)
def plan_vortex(paths, *, files, override_num_blocks=None, **how):
    return reader.plan_vortex(paths, files, blocks=override_num_blocks, **how)


@takes(options=SinkOptions)
def write(ds, path, *, options):
    ds._write_as(VortexFormat(), str(path), options, SinkTasks())


# Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - UNHELD))
def test_values_of_every_type_come_back(tmp_path, name):
    column = COLUMNS[name]
    table = pa.table({"a": column, "n": range(len(column))})
    write(ms.from_arrow(table, override_num_blocks=1), tmp_path)
    source = plan_vortex(tmp_path)
    found = table_of(source)
    assert found.schema == source.schema
    wanted = block.plain(table)
    assert found.schema.types == VortexFormat().stored(wanted.schema).types
    assert all(map(same, values(found.column("a")), values(wanted.column("a"))))
    assert source.rows == len(column)


@pytest.mark.parametrize("name", sorted(UNHELD))
def test_types_that_vortex_has_not_are_refused_by_name(tmp_path, name):
    table = pa.table({"a": COLUMNS[name]})
    for ds in (ms.from_arrow(table), ms.range(1).map_batches(lambda _: table)):
        with pytest.raises(SchemaError, match=r"'a' of type .* cannot be written as Vortex"):
            write(ds, tmp_path / "out")
    assert not list(tmp_path.rglob("*.vortex"))


KINDS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats(),
    pa.large_string(): st.text(st.characters(exclude_categories=["Cs"])),
    pa.large_binary(): st.binary(),
    pa.list_(pa.struct({"x": pa.int8()})): st.lists(
        st.none() | st.fixed_dictionaries({"x": st.none() | st.integers(-128, 127)})
    ),
    pa.decimal128(38, 5): st.decimals(-(10**30), 10**30, places=5),
    pa.timestamp("us", "Asia/Tokyo"): st.integers(-(2**55), 2**55),
    pa.bool_(): st.booleans(),
}


@pytest.mark.parametrize("type", KINDS, ids=str)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_any_values_come_back_as_they_are(tmp_path_factory, type, data):
    parts = data.draw(st.lists(st.lists(st.none() | KINDS[type], min_size=1), min_size=1))
    tables = [pa.table({"a": pa.array(part, type)}) for part in parts]
    path = tmp_path_factory.mktemp("vortex")
    write(ms.from_arrow(tables, override_num_blocks=1), path)
    found = table_of(plan_vortex(path)).column("a")
    assert found.type == type
    wanted = [value for table in tables for value in values(table.column("a"))]
    assert len(found) == len(wanted)
    assert all(map(same, values(found), wanted))


def test_text_of_vortex_itself_is_no_view(tmp_path):
    file = tmp_path / "a.vortex"
    rows = [{"s": "é" * 20, "l": ["a", None], "n": 1}, {"s": None, "l": [], "n": None}]
    vortex.io.write(vortex.array(rows), str(file))
    source = plan_vortex(file)
    assert "view" not in str(source.schema)
    assert rows_of(source) == rows
    assert "view" not in str(table_of(source).schema)


def test_slices_of_structs_within_structs_are_written(tmp_path):
    type = pa.struct({"s": pa.struct({"l": pa.int64()})})
    column = pa.array([{"s": {"l": 1}}, None, {"s": None}, {"s": {"l": None}}] * 10, type)
    table = pa.table({"a": column}).slice(7, 20)
    write(ms.from_arrow(table, override_num_blocks=1), tmp_path)
    assert table_of(plan_vortex(tmp_path)).column("a").to_pylist() == table["a"].to_pylist()


# Reading --------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    table = pa.table({"a": range(1000), "s": [None, "é"] * 500, "l": [[1, None]] * 1000})
    path = tmp_path / "a.vortex"
    vortex.io.write(table, str(path))
    return path


def test_columns_are_chosen(file):
    source = plan_vortex(file, columns=["s", "a"])
    assert source.schema.names == table_of(source).column_names == ["s", "a"]
    none = plan_vortex(file, columns=[])
    assert (none.rows, table_of(none).num_rows) == (1000, 1000)
    assert block.is_rows_only(table_of(none).schema)
    with pytest.raises(SchemaError, match="no column 'x'; the columns are 'a', 's', 'l'") as caught:
        plan_vortex(file, columns=["x"])
    assert caught.value.file == str(file)
    with pytest.raises(ArgumentError, match="columns"):
        plan_vortex(file, columns=["a", "a"])


def test_rows_that_are_small_on_disk_come_in_tables_of_bounded_size(tmp_path):
    row = "x" * 100_000
    batch = pa.record_batch({"a": [row] * 100})
    path = str(tmp_path / "a.vortex")
    vortex.io.write(pa.RecordBatchReader.from_batches(batch.schema, [batch] * 6), path)
    tables = list(tables_of(plan_vortex(path)))
    assert sum(table.num_rows for table in tables) == 600
    assert max(map(block.nbytes, tables)) <= TABLE_BYTES
    assert {table["a"][0].as_py() for table in tables} == {row}


def test_many_rows_come_in_order(tmp_path):
    rng = np.random.default_rng(0)
    table = pa.table({"a": np.arange(200_000), "b": rng.integers(0, 2**60, 200_000)})
    vortex.io.write(table, str(tmp_path / "a.vortex"))
    found = list(tables_of(plan_vortex(tmp_path)))
    assert len(found) > 1
    assert pa.concat_tables(found).equals(table)


def test_files_of_no_rows(tmp_path):
    vortex.io.write(pa.table({"a": pa.array([], pa.int8())}), str(tmp_path / "a.vortex"))
    source = plan_vortex(tmp_path)
    assert (source.rows, source.schema) == (0, pa.schema({"a": pa.int8()}))
    assert table_of(source).schema == source.schema


def test_files_of_other_types_meet_like_other_blocks(tmp_path):
    vortex.io.write(pa.table({"a": pa.array([1], pa.int8())}), str(tmp_path / "a.vortex"))
    vortex.io.write(pa.table({"a": [2**40], "b": ["x"]}), str(tmp_path / "b.vortex"))
    source = plan_vortex(tmp_path)
    assert source.schema == pa.schema({"a": pa.int64(), "b": pa.large_string()})
    assert source.rows == 2
    assert rows_of(source) == [{"a": 1, "b": None}, {"a": 2**40, "b": "x"}]


def test_paths_and_folders_are_columns(tmp_path):
    path = tmp_path / "year=2024" / "a.vortex"
    path.parent.mkdir()
    vortex.io.write(pa.table({"a": [1]}), str(path))
    source = plan_vortex(tmp_path, partitioning=Partitioning("hive"), include_paths=True)
    assert rows_of(source) == [{"a": 1, "year": 2024, "path": str(path)}]


def test_a_file_cut_off_anywhere_is_an_error(file):
    data = file.read_bytes()
    for size in [*range(0, len(data), 97), len(data) - 1]:
        file.write_bytes(data[:size])
        with pytest.raises(ReadError, match="cannot read this Vortex file") as caught:
            table_of(plan_vortex(file))
        assert caught.value.file == str(file)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"VTXF" * 100])
def test_no_vortex_at_all(tmp_path, data):
    (tmp_path / "a.vortex").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this Vortex file") as caught:
        plan_vortex(tmp_path)
    assert caught.value.file == str(tmp_path / "a.vortex")


def test_what_holds_no_records_is_refused(tmp_path):
    path = str(tmp_path / "a.vortex")
    vortex.io.write(vortex.array([1, 2]), path)
    with pytest.raises(SchemaError, match="no columns") as caught:
        plan_vortex(path)
    assert caught.value.file == path
    vortex.io.write(vortex.array(pa.array([{"a": 1}, None])), path)
    with pytest.raises(ReadError, match="that are null") as caught:
        table_of(plan_vortex(path))
    assert caught.value.file == path


def test_a_panic_is_an_error_like_any_other():
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(PanicError, match="failed within: end"), panics_told():
        raise panic("end <= len")
    with pytest.raises(KeyboardInterrupt), panics_told():
        raise KeyboardInterrupt


def test_without_the_package(monkeypatch, file):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[vortex\]"):
        read_vortex(file)
    with pytest.raises(MissingPackageError, match="write_vortex needs vortex-data"):
        VortexFormat()


def test_a_run_gives_the_rows(tmp_path):
    for number in range(3):
        vortex.io.write(pa.table({"a": [number]}), str(tmp_path / f"{number}.vortex"))
    (tmp_path / "b.txt").write_text("no Vortex")
    ds = read_vortex(tmp_path)
    assert sorted(row["a"] for row in ds.take_all()) == [0, 1, 2]
    assert ds.count() == 3
    assert unit_rows(plan_vortex(tmp_path, file_extensions=["vortex"])) == [1, 1, 1]
    with pytest.raises(TypeError, match="unexpected"):
        read_vortex(tmp_path, nope=1)


# Writing --------------------------------------------------------------------------------------


def test_blocks_of_other_types_are_one_dataset(tmp_path):
    tables = [
        pa.table({"a": pa.array([1], pa.int8()), "b": pa.nulls(1)}),
        pa.table({"a": [2**40], "b": pa.array(["x"]).dictionary_encode()}),
        pa.table({"b": ["y"], "a": [0.5]}),
    ]
    ds = ms.range(3, override_num_blocks=3).map_batches(lambda batch: tables[batch["id"][0]])
    write(ds, tmp_path)
    source = plan_vortex(tmp_path)
    assert source.schema == pa.schema({"a": pa.float64(), "b": pa.large_string()})
    rows = sorted(rows_of(source), key=lambda row: row["a"])
    assert [row["a"] for row in rows] == [0.5, 1.0, 2.0**40]
    assert [row["b"] for row in rows] == ["y", None, "x"]


def test_small_files_are_put_together(tmp_path):
    ds = ms.from_items([{"n": n} for n in range(100)]).map_batches(lambda batch: batch)
    write(ds, tmp_path / "one")
    assert len(list((tmp_path / "one").rglob("*.vortex"))) == 1
    write(ds, tmp_path / "many", max_rows_per_file=10)
    files = list((tmp_path / "many").rglob("*.vortex"))
    assert len(files) >= 10
    assert sorted(row["n"] for row in read_vortex(tmp_path / "many").take_all()) == list(range(100))
    assert vortex.open(str(files[0])).to_arrow().read_all().num_rows <= 10


def test_folders_of_partitions(tmp_path):
    write(ms.from_items([{"k": n % 2, "n": n} for n in range(6)]), tmp_path, partition_cols=["k"])
    found = read_vortex(tmp_path, partitioning=Partitioning("hive")).take_all()
    assert sorted((row["n"], row["k"]) for row in found) == [(n, n % 2) for n in range(6)]


def test_a_dataset_without_rows_is_a_file_with_its_columns(tmp_path):
    write(ms.range(0), tmp_path)
    source = plan_vortex(tmp_path)
    assert (source.rows, source.schema) == (0, pa.schema({"id": pa.int64()}))


def test_vortex_files_cannot_be_compressed_as_a_whole(tmp_path):
    with pytest.raises(ArgumentError, match="cannot be compressed as a whole"):
        write(ms.range(3), tmp_path, arrow_open_stream_args={"compression": "gzip"})


def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spare))

    def fail(batch):
        if batch["id"][0] == 2:
            raise ValueError("no")
        return batch

    write(ms.range(4), tmp_path / "out")
    with pytest.raises(ms.UserCodeError):
        write(ms.range(4, override_num_blocks=4).map_batches(fail), tmp_path / "bad")
    assert not list(spare.iterdir())
    assert not list(tmp_path.rglob("bad/*"))
