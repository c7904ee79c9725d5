from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from column_samples import COLUMNS
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import rows_of, table_of, tables_of
from pyarrow import feather

from millstream.blocks import block, tensor
from millstream.errors import MillstreamError, ReadError, SchemaError
from millstream.io.file_options import ArrowFiles
from millstream.io.formats import arrow as reader
from millstream.io.formats.typed_files import FILES_LOOKED_AT, TABLE_BYTES
from millstream.io.partitioning import Partitioning
from millstream.options import takes
from millstream.read_columns import read_arrow


@takes(files=ArrowFiles)
def plan_arrow(paths, *, files, override_num_blocks=None):
    return reader.plan_arrow(paths, files, blocks=override_num_blocks)


def saved(table, make=pa.ipc.new_file, rows=None, **options) -> bytes:
    sink = io.BytesIO()
    with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


MAKERS = pytest.mark.parametrize(
    "make", [pa.ipc.new_file, pa.ipc.new_stream], ids=lambda m: m.__name__
)


@MAKERS
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_every_type_come_back_as_they_are(tmp_path, name, make, compression):
    table = pa.table({"a": COLUMNS[name]})
    (tmp_path / "a.arrow").write_bytes(saved(table, make, compression=compression))
    source = plan_arrow(tmp_path)
    found = table_of(source)
    assert found.schema == source.schema == block.plain_schema(table.schema)
    assert found.equals(block.plain(table)) or repr(found.to_pylist()) == repr(table.to_pylist())


@settings(deadline=None)
@given(
    values=st.lists(st.none() | st.text() | st.sampled_from(["é", "\0", ""])),
    rows=st.integers(1, 4),
)
def test_views_become_plain_types(tmp_path_factory, values, rows):
    table = pa.table(
        {
            "text": pa.array(values, pa.string_view()),
            "list": pa.array([[value] for value in values], pa.list_view(pa.string_view())),
            "runs": pa.array([v or "" for v in values]).dictionary_encode().cast(pa.string()),
        }
    )
    path = tmp_path_factory.mktemp("views") / "a.arrow"
    path.write_bytes(saved(table, rows=rows))
    found = table_of(plan_arrow(path))
    assert found.schema.types == [
        pa.large_string(),
        pa.large_list(pa.field("item", pa.large_string())),
        pa.string(),
    ]
    assert found.to_pylist() == table.to_pylist()


@MAKERS
def test_dictionaries_stay_and_may_differ_between_batches(tmp_path, make):
    first = pa.table({"a": pa.array(["x", "y", None]).dictionary_encode()})
    second = pa.table({"a": pa.array(["z", "y"]).dictionary_encode()})
    both = pa.concat_tables([first, second])
    if make is pa.ipc.new_file:
        both = both.unify_dictionaries()
    (tmp_path / "a.arrow").write_bytes(saved(both, make))
    found = table_of(plan_arrow(tmp_path))
    assert found.schema == first.schema
    assert found.column("a").to_pylist() == ["x", "y", None, "z", "y"]


@MAKERS
def test_tensors_stay_tensors(tmp_path, make):
    values = np.arange(12).reshape(2, 3, 2)
    table = pa.table({"a": tensor.from_ndarray(values)})
    (tmp_path / "a.arrow").write_bytes(saved(table, make))
    found = table_of(plan_arrow(tmp_path))
    assert found.schema == table.schema
    assert np.array_equal(tensor.to_numpy(found.column("a")), values)


def test_rows_without_columns_are_counted(tmp_path):
    batch = pa.record_batch({"a": [1, 2, 3]}).select([])
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), batch.schema) as writer:
        writer.write_batch(batch)
    assert table_of(plan_arrow(tmp_path)).num_rows == 3


@MAKERS
def test_a_file_without_rows_has_columns(tmp_path, make):
    table = pa.table({"a": pa.array([], pa.int8()), "b": pa.array([], pa.string_view())})
    (tmp_path / "a.arrow").write_bytes(saved(table, make))
    source = plan_arrow(tmp_path)
    (found,) = tables_of(source)
    assert found.schema == source.schema == pa.schema([("a", pa.int8()), ("b", pa.large_string())])


def test_feather_is_read(tmp_path):
    table = pa.table({"a": [1, None], "b": ["x", "y"]})
    feather.write_feather(table, str(tmp_path / "a.feather"))
    assert table_of(plan_arrow(tmp_path)).equals(table)
    shipped = Path(pa.__file__).parent / "tests" / "data" / "feather"
    (path,) = shipped.glob("*version.2*lz4*")
    assert table_of(plan_arrow(path)).equals(feather.read_table(path))
    (tmp_path / "b.feather").write_bytes(b"FEA1" + bytes(100) + b"FEA1")
    with pytest.raises(ReadError, match="Feather V1") as caught:
        plan_arrow(tmp_path / "b.feather")
    assert caught.value.file == str(tmp_path / "b.feather")


@pytest.mark.parametrize("is_mapped", [False, True])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_large_record_batch_comes_in_tables_of_bounded_size(
    tmp_path, is_mapped, compression, monkeypatch
):
    monkeypatch.setattr(reader, "MAPPED_BYTES", 0 if is_mapped else 1 << 40)
    table = pa.table(
        {"a": np.arange(6_000_000), "b": ["x" * (i % 7) for i in range(1_000)] * 6_000}
    )
    path = tmp_path / "a.arrow"
    path.write_bytes(saved(table, compression=compression))
    tables = list(tables_of(plan_arrow(path)))
    assert len(tables) > 3
    assert all(block.nbytes(each) <= 2 * TABLE_BYTES for each in tables)
    # Rows are their own, whatever becomes of the file.
    path.write_bytes(bytes(path.stat().st_size))
    assert pa.concat_tables(tables).equals(table)


@MAKERS
def test_a_file_cut_off_anywhere_is_an_error(tmp_path, make):
    data = saved(pa.table({"a": [1, 2, 3, 4], "b": ["x", "y", "z", None]}), make, rows=2)
    path = tmp_path / "a.arrow"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(ReadError) as caught:
            table_of(plan_arrow(path))
        assert caught.value.file == str(path)


def test_a_stream_needs_its_end_marker_and_nothing_after_it(tmp_path):
    table = pa.table({"a": [1, 2]})
    data = saved(table, pa.ipc.new_stream)
    path = tmp_path / "a.arrows"
    path.write_bytes(data[:-8])
    with pytest.raises(
        ReadError, match=f"no end marker after its last message, at byte {len(data) - 8}"
    ):
        table_of(plan_arrow(path))
    path.write_bytes(data + data)
    with pytest.raises(ReadError, match="after the end of the stream"):
        table_of(plan_arrow(path))
    old = saved(table, pa.ipc.new_stream, use_legacy_format=True)
    path.write_bytes(old)
    assert table_of(plan_arrow(path)).equals(table)
    path.write_bytes(old[:-4])
    with pytest.raises(ReadError, match="no end marker"):
        table_of(plan_arrow(path))


@pytest.mark.parametrize("data", [b"", b"nonsense", b"ARROW1\0\0nonsense", b"\xff" * 100])
def test_no_arrow_at_all(tmp_path, data):
    (tmp_path / "a.arrow").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this Arrow file") as caught:
        plan_arrow(tmp_path)
    assert caught.value.file == str(tmp_path / "a.arrow")


@MAKERS
@settings(deadline=None)
@given(data=st.data())
def test_damage_is_an_error_or_harmless_and_never_a_crash(tmp_path_factory, make, data):
    table = pa.table({"a": ["x", "yy", None], "b": [[1], [], [2, 3]]})
    table = table.append_column("c", pa.array(["p", "q", "p"]).dictionary_encode())
    whole = bytearray(saved(table, make))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.arrow"
    path.write_bytes(whole)
    try:
        found = table_of(plan_arrow(path))
    except MillstreamError:
        return
    block.unseal(found).validate(full=True)


def test_offsets_that_lead_nowhere_are_an_error(tmp_path):
    offsets = pa.py_buffer(np.array([0, 1_000_000, 3], np.int32).tobytes())
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"abc")])
    (tmp_path / "a.arrow").write_bytes(saved(pa.table({"a": broken})))
    with pytest.raises(ReadError, match="record batch 0 is broken"):
        table_of(plan_arrow(tmp_path))


def test_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([[1], [2]], names=["a", "a"])
    (tmp_path / "a.arrow").write_bytes(saved(table))
    with pytest.raises(SchemaError, match="'a' is there twice") as caught:
        plan_arrow(tmp_path)
    assert caught.value.file == str(tmp_path / "a.arrow")


def test_pickled_objects_are_refused(tmp_path):
    note = {"ARROW:extension:name": "ray.data.arrow_pickled_object"}
    field = pa.field("a", pa.large_binary(), metadata=note)
    table = pa.table([[b"1"]], schema=pa.schema([field]))
    (tmp_path / "a.arrow").write_bytes(saved(table))
    with pytest.raises(SchemaError, match="pickled"):
        plan_arrow(tmp_path)


def test_files_of_other_types_meet_like_other_blocks(tmp_path):
    (tmp_path / "a.arrow").write_bytes(saved(pa.table({"a": pa.array([1], pa.int8())})))
    (tmp_path / "b.arrow").write_bytes(saved(pa.table({"a": [2**40], "b": ["x"]})))
    source = plan_arrow(tmp_path)
    assert source.schema == pa.schema({"a": pa.int64(), "b": pa.string()})
    assert rows_of(source) == [{"a": 1, "b": None}, {"a": 2**40, "b": "x"}]


def test_only_a_few_files_are_opened_to_plan(tmp_path):
    for number in range(FILES_LOOKED_AT + 1):
        (tmp_path / f"{number:02}.arrow").write_bytes(saved(pa.table({"a": [number]})))
    (tmp_path / f"{FILES_LOOKED_AT:02}.arrow").write_bytes(b"nonsense")
    source = plan_arrow(tmp_path)
    assert source.schema == pa.schema([("a", pa.int64())])
    with pytest.raises(ReadError, match="cannot read this Arrow file") as caught:
        table_of(source)
    assert caught.value.file == str(tmp_path / f"{FILES_LOOKED_AT:02}.arrow")


def test_paths_and_folders_are_columns(tmp_path):
    (tmp_path / "year=2024").mkdir()
    path = tmp_path / "year=2024" / "a.arrow"
    path.write_bytes(saved(pa.table({"a": [1]})))
    source = plan_arrow(tmp_path, partitioning=Partitioning("hive"), include_paths=True)
    assert rows_of(source) == [{"a": 1, "year": 2024, "path": str(path)}]
    assert source.schema.names == ["a", "year", "path"]
    path.write_bytes(saved(pa.table({"path": [1]})))
    with pytest.raises(SchemaError, match="'path'"):
        plan_arrow(tmp_path, include_paths=True)


def test_a_column_of_the_files_is_read_from_there_or_refused(tmp_path):
    for year, more in ((2023, {}), (2024, {"b": [1]})):
        (tmp_path / f"year={year}").mkdir()
        table = pa.table({"year": [year + 100], **more})
        (tmp_path / f"year={year}" / "a.arrow").write_bytes(saved(table))
    hive = Partitioning("hive")
    assert rows_of(plan_arrow(tmp_path / "year=2023", partitioning=hive)) == [{"year": 2123}]
    with pytest.raises(SchemaError, match="'year' is in the paths and in files"):
        plan_arrow(tmp_path, partitioning=hive)


def test_a_run_gives_the_rows(tmp_path):
    union = pa.UnionArray.from_sparse(
        pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array("ab")]
    )
    table = pa.table({"a": [1, 2], "b": union})
    (tmp_path / "a.arrow").write_bytes(saved(table))
    (tmp_path / "b.txt").write_text("no Arrow")
    rows = read_arrow(tmp_path, override_num_blocks=1).take_all()
    assert rows == [{"a": 1, "b": 1}, {"a": 2, "b": "b"}]
    with pytest.raises(ReadError, match=r"found no file that ends in .arrow"):
        read_arrow(tmp_path / "b.txt")
