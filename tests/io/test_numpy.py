from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from io_sources import rows_of, table_of, tables_of

from millstream.blocks import block, columns
from millstream.errors import ArgumentError, MillstreamError, ReadError
from millstream.io.file_options import NumpyFiles
from millstream.io.formats import numpy as reader
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.io.partitioning import Partitioning
from millstream.options import takes
from millstream.read_columns import read_numpy


@takes(files=NumpyFiles)
def plan_numpy(paths, *, files, override_num_blocks=None):
    return reader.plan_numpy(paths, files, blocks=override_num_blocks)


def array_of(source, column="data") -> np.ndarray:
    return columns.to_numpy(table_of(source).column(column), writable=False)


DTYPES = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(max_dims=4, max_side=4))


@settings(deadline=None)
@given(array=ARRAYS, order=st.sampled_from("CF"))
def test_arrays_come_back_with_their_dtype_and_shape(tmp_path_factory, array, order):
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    np.save(path, np.asarray(array, order=order))
    source = plan_numpy(path)
    assert source.rows == len(array)
    assert table_of(source).schema == source.schema
    found = array_of(source)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize(
    ("values", "type"),
    [
        (np.array(["a", "é€😀", ""]), pa.large_string()),
        (np.array(["a", "b"], ">U3"), pa.large_string()),
        (np.array([b"a", b"\0b", b"a\0b"]), pa.large_binary()),
        (np.array(["\0b", "a\0b"]), pa.large_string()),
        (np.array([["a", "bc"], ["", "d"]]), pa.list_(pa.large_string())),
        (np.array(["2024-02-29", "NaT"], "M8[D]"), pa.date32()),
        (np.array(["2024-02-29T12:00:00.000001"], "M8[us]"), pa.timestamp("us")),
        (np.array([2**53 + 1], ">M8[ns]"), pa.timestamp("ns")),
        (np.array(["2024-02", "NaT"], "M8[M]"), pa.timestamp("s")),
        (np.array(["2024-01-01T00:00:50"], "M8[25s]"), pa.timestamp("s")),
        (np.array([5_000_000, -1_000], "m8[ps]"), pa.duration("ns")),
        (np.array([2**40], "m8[ms]"), pa.duration("ms")),
    ],
    ids=lambda given: str(getattr(given, "dtype", given)),
)
def test_text_and_times_take_the_type_of_arrow(tmp_path, values, type):
    np.save(tmp_path / "a.npy", values)
    source = plan_numpy(tmp_path)
    assert source.schema == table_of(source).schema == pa.schema([("data", type)])
    found = table_of(source).column("data")
    expected = values.tolist()
    if values.dtype.kind in "mM":
        native = values.astype(f"{values.dtype.kind}8[ns]")
        assert np.array_equal(found.to_numpy().astype(native.dtype), native, equal_nan=True)
    else:
        assert found.to_pylist() == expected


def test_times_in_tensors_are_null_where_they_are_none(tmp_path):
    np.save(tmp_path / "a.npy", np.array([["2024", "NaT"]], "M8[s]"))
    (chunk,) = table_of(plan_numpy(tmp_path)).column("data").chunks
    assert chunk.storage.flatten().is_null().to_pylist() == [False, True]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([1 + 2j]), "complex128"),
        (np.array([1], np.longdouble), "float128|longdouble"),
        (np.zeros(2, "V4"), "V4"),
        (np.zeros(2, [("a", "c8")]), "'a'.*complex64"),
        (np.zeros(2, [("a", [("b", "i4")])]), "fields within the field 'a'"),
        (np.zeros((2, 2), [("a", "i4")]), "one dimension"),
        (np.array([5001], "m8[ps]"), "5001 picoseconds"),
        (np.array([2**40], "M8[D]"), "datetime64.D"),
        (np.array([2**61], "M8[Y]"), "datetime64.Y"),
        (np.array(5), "single value"),
    ],
    ids=str,
)
def test_what_arrow_cannot_hold_is_an_error_that_names_the_dtype(tmp_path, values, said):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ReadError, match=said) as caught:
        table_of(plan_numpy(tmp_path))
    assert caught.value.file == str(tmp_path / "a.npy")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a file was unpickled",))


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_objects_are_never_unpickled(tmp_path, save):
    path = tmp_path / ("a.npy" if save is np.save else "a.npz")
    save(path, np.array([Bomb()], object))
    with pytest.raises(ReadError, match="pickled"):
        plan_numpy(path)


def test_fields_are_columns(tmp_path):
    values = np.array(
        [(1, "ä", [1.0, 2.0]), (2, "b", [3.0, 4.0])],
        [("数", ">i4"), ("text", "U2"), ("point", "f4", (2,))],
    )
    with pytest.warns(UserWarning, match="format 3.0"):
        np.save(tmp_path / "a.npy", values)
    source = plan_numpy(tmp_path)
    table = table_of(source)
    assert table.schema == source.schema
    assert table.column_names == ["数", "text", "point"]
    assert table.column("数").type == pa.int32()
    assert table.select(["数", "text"]).to_pylist() == [
        {"数": 1, "text": "ä"},
        {"数": 2, "text": "b"},
    ]
    assert np.array_equal(array_of(source, "point"), values["point"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_an_archive_are_columns(tmp_path, save):
    large = np.random.default_rng(0).integers(0, 255, (3_000, 10_000), np.uint8)
    matrix = np.asfortranarray(np.arange(6_000).reshape(3_000, 2))
    save(tmp_path / "a.npz", x=np.arange(3_000), large=large, matrix=matrix)
    source = plan_numpy(tmp_path)
    assert source.rows == 3_000
    tables = list(tables_of(source))
    assert len(tables) > 1
    assert all(block.nbytes(table) <= 2 * TABLE_BYTES for table in tables)
    assert table_of(source).schema == source.schema
    for name, expected in (("x", np.arange(3_000)), ("large", large), ("matrix", matrix)):
        assert np.array_equal(array_of(source, name), expected)


def test_arrays_of_several_lengths_are_no_table(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.arange(4))
    with pytest.raises(ReadError, match="'x' has 3 rows and 'y' has 4"):
        plan_numpy(tmp_path)


def test_an_archive_must_hold_arrays_only(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w"):
        pass
    with pytest.raises(ReadError, match="holds no arrays"):
        plan_numpy(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(ReadError, match=r"notes\.txt"):
        plan_numpy(tmp_path)


@pytest.mark.parametrize("order", "CF")
def test_a_large_file_comes_in_tables_of_bounded_size(tmp_path, order, monkeypatch):
    monkeypatch.setattr(reader, "HELD_BYTES", 1_000)
    values = np.arange(5_000_000, dtype=np.int64).reshape(-1, 2)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    tables = list(tables_of(plan_numpy(tmp_path)))
    assert len(tables) > 2
    assert all(block.nbytes(table) <= TABLE_BYTES for table in tables)
    assert np.array_equal(array_of(plan_numpy(tmp_path)), values)


def test_a_row_may_be_larger_than_a_table(tmp_path):
    values = np.arange(2 * (TABLE_BYTES + 8), dtype=np.uint8).reshape(2, -1)
    np.save(tmp_path / "a.npy", values)
    assert [table.num_rows for table in tables_of(plan_numpy(tmp_path))] == [1, 1]
    assert np.array_equal(array_of(plan_numpy(tmp_path)), values)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (0, 0)])
def test_arrays_without_elements_keep_their_rows_and_type(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    source = plan_numpy(tmp_path)
    assert table_of(source).schema == source.schema
    assert table_of(source).num_rows == source.rows == shape[0]


def saved(array, save=np.save) -> bytes:
    file = io.BytesIO()
    save(file, array)
    return file.getvalue()


def test_a_file_cut_off_anywhere_is_an_error(tmp_path):
    path = tmp_path / "a.npy"
    for data in (saved(np.arange(10)), saved(np.arange(10), np.savez_compressed)):
        for size in range(0, len(data)):
            path.write_bytes(data[:size])
            with pytest.raises(ReadError) as caught:
                table_of(plan_numpy(path))
            assert caught.value.file == str(path)


def test_what_comes_after_the_array_is_not_lost(tmp_path):
    (tmp_path / "a.npy").write_bytes(saved(np.arange(3)) + saved(np.arange(4)))
    with pytest.raises(ReadError, match="something after its array"):
        plan_numpy(tmp_path)


def test_a_damaged_archive_is_an_error(tmp_path):
    path = tmp_path / "a.npz"
    data = bytearray(saved(np.arange(1_000), np.savez))
    data[data.index(b"\x93NUMPY") + 500] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReadError, match="CRC"):
        table_of(plan_numpy(path))


@settings(deadline=None)
@given(data=st.data())
def test_damage_is_an_error_or_harmless_and_never_a_crash(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "a.npy"
    whole = bytearray(saved(np.zeros((4, 2), [("a", "i4")])["a"]))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        rows = table_of(plan_numpy(path)).num_rows
    except MillstreamError as error:
        assert error.file == str(path)  # noqa: PT017
    else:
        assert rows * 2 * 1 <= 32


@pytest.mark.parametrize("data", [b"nonsense", b"\x93NUMPY\x09\0nonsense", b"PK\x03\x04"])
def test_no_array_at_all(tmp_path, data):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this NumPy file") as caught:
        plan_numpy(tmp_path)
    assert caught.value.file == str(tmp_path / "a.npy")


def test_arrays_of_other_programs():
    shipped = Path(np.lib.__file__).parent / "tests" / "data"
    with pytest.warns(UserWarning, match="Python 2"):
        table = table_of(plan_numpy(shipped / "win64python2.npy"))
    assert table.num_rows == len(np.load(shipped / "python3.npy"))
    with pytest.raises(ReadError, match="pickled"):
        plan_numpy(shipped / "py2-objarr.npy")


def test_files_may_differ_in_shape_and_type(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.int32))
    np.save(tmp_path / "b.npy", np.zeros((1, 4), np.int64))
    source = plan_numpy(tmp_path, include_paths=True)
    assert source.schema.names == ["data", "path"]
    assert source.schema.field("data").type.value_type == pa.int64()
    assert source.rows == 3
    table = table_of(source)
    assert [len(row) for row in array_of(source)] == [3, 3, 4]
    assert [path[-5:] for path in table.column("path").to_pylist()] == ["a.npy"] * 2 + ["b.npy"]


def test_folders_are_columns_and_units_are_files(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        np.save(tmp_path / f"year={year}" / "a.npy", np.array([year]))
    source = plan_numpy(tmp_path, partitioning=Partitioning("hive"))
    assert len(source.units) == 2
    assert rows_of(source) == [{"data": y, "year": y} for y in (2023, 2024)]
    assert len(plan_numpy(tmp_path, override_num_blocks=1).units) == 1


def test_the_reader_takes_the_options_of_all_readers(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2))
    (tmp_path / "b.txt").write_text("no array")
    found = read_numpy(tmp_path, include_paths=True).take_all()
    assert [np.asarray(row["data"]).tolist() for row in found] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ArgumentError, match="include_paths"):
        read_numpy(tmp_path, include_paths="yes")
    with pytest.raises(TypeError, match="allow_pickle"):
        read_numpy(tmp_path, allow_pickle=True)
