from __future__ import annotations

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from io_sources import rows_of, table_of, tables_of, unit_rows

import millstream as ms
from millstream.blocks import block, tensor
from millstream.errors import ArgumentError, MissingPackageError, ReadError, SchemaError
from millstream.io.formats import hdf5 as reader
from millstream.io.formats import row_ranges
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.options import takes
from millstream.read_science import Hdf5Files, read_hdf5


@takes(files=Hdf5Files)
def plan_hdf5(paths, *, files, override_num_blocks=None, **how):
    return reader.plan_hdf5(paths, files, blocks=override_num_blocks, **how)


def saved(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i4", ">f8"]


@pytest.mark.parametrize("dtype", NUMBERS)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_numbers_come_back_as_they_are(tmp_path_factory, dtype, data):
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
    array = data.draw(hnp.arrays(np.dtype(dtype), shape))
    path = saved(tmp_path_factory.mktemp("hdf5") / "a.h5", a=array)
    source = plan_hdf5(path)
    found = table_of(source)
    assert found.schema == source.schema
    assert source.rows == found.num_rows == len(array)
    column = found.column("a")
    native = array.dtype.newbyteorder("=")
    if array.ndim == 1:
        assert column.type == pa.from_numpy_dtype(native)
        given = pa.chunked_array([pa.array(array.astype(native))])
        assert column.cast(given.type).to_pylist() == pytest.approx(given.to_pylist(), nan_ok=True)
    else:
        made = tensor.to_numpy(column)
        assert made.dtype == native
        np.testing.assert_array_equal(np.stack(list(made)) if len(made) else made, array)


@settings(deadline=None, max_examples=25)
@given(values=st.lists(st.text(st.characters(exclude_characters="\0"), max_size=20), min_size=1))
def test_text_of_any_and_of_fixed_length_comes_back_as_it_is(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("hdf5") / "a.h5"
    width = max(1, *(len(value.encode()) for value in values))
    with h5py.File(path, "w") as file:
        file.create_dataset("any", data=values, dtype=h5py.string_dtype())
        fixed = h5py.string_dtype("utf-8", width)
        file.create_dataset("fixed", data=[value.encode() for value in values], dtype=fixed)
    found = table_of(plan_hdf5(path))
    assert found.schema.types == [pa.string(), pa.string()]
    assert found.column("any").to_pylist() == found.column("fixed").to_pylist() == values


def test_enums_are_their_names_and_lists_have_any_length(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        kinds = h5py.enum_dtype({"RED": 3, "BLUE": 7}, "u1")
        file.create_dataset("kind", data=[3, 7, 3], dtype=kinds)
        file.create_dataset("kinds", data=[[3, 7]] * 3, dtype=kinds)
        lists = file.create_dataset("list", (3,), h5py.vlen_dtype(np.int16))
        lists[0], lists[2] = [1, -2], [3]
        file.create_dataset("words", data=[["a", "é"]] * 3, dtype=h5py.string_dtype())
    found = table_of(plan_hdf5(tmp_path))
    assert found.to_pylist() == [
        {"kind": "RED", "kinds": ["RED", "BLUE"], "list": [1, -2], "words": ["a", "é"]},
        {"kind": "BLUE", "kinds": ["RED", "BLUE"], "list": [], "words": ["a", "é"]},
        {"kind": "RED", "kinds": ["RED", "BLUE"], "list": [3], "words": ["a", "é"]},
    ]
    assert found.schema.field("list").type == pa.list_(pa.int16())


def test_times_keep_their_unit(tmp_path):
    for unit in ("s", "ms", "us", "ns"):
        times = np.array([0, -1, 2**60], f"M8[{unit}]")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["a"] = times.astype(h5py.opaque_dtype(times.dtype))
        column = table_of(plan_hdf5(tmp_path)).column("a")
        assert column.type == pa.timestamp(unit)
        assert column.cast(pa.int64()).to_pylist() == [0, -1, 2**60]


def test_the_fields_of_a_compound_dataset_are_columns(tmp_path):
    dtype = np.dtype([("id", "i8"), ("at", "f4", (2,)), ("name", h5py.string_dtype())])
    rows = np.array([(2**60, (1, 2), "a"), (-1, (3, 4), "b")], dtype)
    saved(tmp_path / "a.h5", table=rows)
    found = table_of(plan_hdf5(tmp_path))
    assert found.column("id").to_pylist() == [2**60, -1]
    assert found.column("name").to_pylist() == ["a", "b"]
    np.testing.assert_array_equal(tensor.to_numpy(found.column("at")), [[1, 2], [3, 4]])
    saved(tmp_path / "a.h5", table=rows, id=[1, 2])
    with pytest.raises(SchemaError, match="two datasets give the column 'id'"):
        plan_hdf5(tmp_path)


def test_datasets_are_chosen_by_name_in_groups_too(tmp_path):
    saved(tmp_path / "a.h5", train__x=[1, 2], train__y=[3, 4], test__x=[5])
    found = rows_of(plan_hdf5(tmp_path, datasets=["train/y", "train/x"]))
    assert found == [{"train/y": 3, "train/x": 1}, {"train/y": 4, "train/x": 2}]
    assert rows_of(plan_hdf5(tmp_path, datasets="/test/x")) == [{"/test/x": 5}]
    with pytest.raises(SchemaError, match=r"one length \('test/x' has 1 rows, .*name those") as e:
        plan_hdf5(tmp_path)
    assert e.value.file == str(tmp_path / "a.h5")
    with pytest.raises(SchemaError, match=r"no dataset 'x'; the datasets are 'test/x', 'train/x'"):
        plan_hdf5(tmp_path, datasets=["x"])
    with pytest.raises(SchemaError, match="'train' is no dataset, but a group"):
        plan_hdf5(tmp_path, datasets="train")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: f.create_dataset("a", data=np.ones(2, complex)), "'a' has values of dtype comp"),
        (lambda f: f.create_dataset("a", (2,), h5py.ref_dtype), "'a' has references"),
        (lambda f: f.create_dataset("a", (2,), h5py.regionref_dtype), "'a' has references"),
        (
            lambda f: f.create_dataset("a", data=np.ones(2, np.longdouble)),
            "'a' has values of dtype",
        ),
        (lambda f: f.create_dataset("a", data=np.ones(2, "V3")), "'a' has values of dtype"),
        (lambda f: f.create_dataset("a", (2,), h5py.vlen_dtype(complex)), "'a' has lists of dtype"),
        (lambda f: f.create_dataset("a", data=5), "'a' is a single value or none"),
        (lambda f: f.create_dataset("a", data=h5py.Empty("f4")), "'a' is a single value or none"),
        (
            lambda f: f.create_dataset("a", (2, 2), np.dtype([("x", "i4")])),
            r"'a' has fields \(x\) in 2 dimensions",
        ),
        (
            lambda f: f.create_dataset("a", (2,), np.dtype([("x", "i4"), ("y", "c8")])),
            "the field 'y' of the dataset 'a' has values of dtype complex64",
        ),
    ],
)
def test_what_no_column_holds_is_refused_by_name(tmp_path, make, said):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    with pytest.raises(SchemaError, match=said) as caught:
        plan_hdf5(tmp_path)
    assert caught.value.file == str(tmp_path / "a.h5")


def test_links_are_followed_within_a_file_and_never_out_of_it(tmp_path):
    saved(tmp_path / "other.h5", x=[9])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/x"] = [1]
        file["near"] = h5py.SoftLink("deep")
        file["deep/self"] = h5py.SoftLink("self")
        file["out"] = h5py.ExternalLink("other.h5", "/")
        file["around"] = h5py.SoftLink("out/x")
    path = tmp_path / "a.h5"
    assert rows_of(plan_hdf5(path, datasets="near/x")) == [{"near/x": 1}]
    for name in ("out/x", "around"):
        with pytest.raises(SchemaError, match=f"{name!r} is in another file"):
            plan_hdf5(path, datasets=name)
    with pytest.raises(SchemaError, match=r"'out' is in another file.*datasets="):
        plan_hdf5(path)
    for name in ("deep/self", "near/nothing"):
        with pytest.raises(SchemaError, match=f"no dataset {name!r}"):
            plan_hdf5(path, datasets=name)


def test_values_in_other_files_are_refused(tmp_path):
    saved(tmp_path / "other.h5", x=np.arange(4))
    (tmp_path / "raw").write_bytes(bytes(32))
    path = tmp_path / "a.h5"
    layout = h5py.VirtualLayout((4,), "i8")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (4,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (4,), "i8", external=[(str(tmp_path / "raw"), 0, 32)])
    for name in ("virtual", "raw"):
        with pytest.raises(SchemaError, match=f"{name!r} has its values in other files"):
            plan_hdf5(path, datasets=name)


@pytest.mark.parametrize("how", [{}, {"chunks": (7, 3)}, {"compression": "gzip", "shuffle": True}])
@pytest.mark.parametrize("blocks", [None, 1, 3, 200])
def test_rows_come_in_order_however_they_lie(tmp_path, how, blocks):
    array = np.arange(300).reshape(100, 3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=array, **how)
    source = plan_hdf5(tmp_path, override_num_blocks=blocks)
    assert len(source.units) == min(blocks or 1, 100)
    np.testing.assert_array_equal(tensor.to_numpy(table_of(source).column("a")), array)


def test_a_large_file_becomes_units_that_part_no_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(row_ranges, "UNIT_BYTES", 50_000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=np.arange(20_000), chunks=(3_000,))
    source = plan_hdf5(tmp_path)
    assert unit_rows(source) == [3_000, 6_000, 6_000, 5_000]
    assert table_of(source).column("a").to_pylist() == list(range(20_000))


def test_blocks_are_divided_over_files(tmp_path):
    for number, rows in enumerate((10, 0, 30)):
        saved(tmp_path / f"{number}.h5", a=np.arange(rows))
    source = plan_hdf5(tmp_path, override_num_blocks=6)
    assert len(source.units) == 6
    assert source.rows == 40
    found = table_of(source).column("a").to_pylist()
    assert found == [*range(10), *range(30)]
    assert len(plan_hdf5(tmp_path, override_num_blocks=2).units) == 2


def test_a_large_dataset_comes_in_tables_of_bounded_size(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (6_000, 1_000), "f8", fillvalue=0.5, chunks=(1_000, 1_000))
        file.create_dataset("b", data=["x" * 10_000] * 6_000, dtype=h5py.string_dtype())
    total = 0
    for table in tables_of(plan_hdf5(tmp_path)):
        assert block.nbytes(table) <= TABLE_BYTES
        total += table.num_rows
    assert total == 6_000


def test_a_chunk_that_is_larger_than_a_table_is_cut(tmp_path):
    array = np.arange(5 << 20).reshape(-1, 16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=array, chunks=array.shape)
    tables = list(tables_of(plan_hdf5(tmp_path)))
    assert len(tables) > 1
    assert all(block.nbytes(table) <= TABLE_BYTES for table in tables)
    np.testing.assert_array_equal(tensor.to_numpy(block.concat(tables).column("a")), array)


def test_chunks_that_were_never_written_have_the_fill_value(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (4,), "i4", fillvalue=-7, chunks=(2,))[:2] = [1, 2]
    assert table_of(plan_hdf5(tmp_path)).column("a").to_pylist() == [1, 2, -7, -7]


def test_a_dataset_without_rows_has_columns(tmp_path):
    saved(tmp_path / "a.h5", a=np.empty(0, "f4"), b=np.empty((0, 2), "u1"))
    source = plan_hdf5(tmp_path)
    (found,) = tables_of(source)
    assert found.schema == source.schema
    assert found.num_rows == 0


def test_text_that_is_none_and_an_enum_without_a_name_are_named_by_place(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=[b"x", b"\xff"], dtype=h5py.string_dtype("ascii", 1))
    with pytest.raises(ReadError, match=r"'a', rows 0 to 2: the value 1 of these: .*utf-8") as e:
        table_of(plan_hdf5(tmp_path))
    assert e.value.file == str(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=[1, 2], dtype=h5py.enum_dtype({"ONE": 1}, "i4"))
    with pytest.raises(ReadError, match=r"the value 1 of these: 2 is none of the enum's values"):
        table_of(plan_hdf5(tmp_path))


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_no_hdf5_at_all(tmp_path, data):
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this HDF5 file") as caught:
        plan_hdf5(tmp_path)
    assert caught.value.file == str(tmp_path / "a.h5")


def test_a_file_without_datasets_is_an_error(tmp_path):
    saved(tmp_path / "a.h5")
    with pytest.raises(ReadError, match="no datasets"):
        plan_hdf5(tmp_path)


def test_a_file_that_is_cut_off_is_an_error(tmp_path):
    path = saved(tmp_path / "a.h5", a=np.arange(1_000))
    data = path.read_bytes()
    for size in range(1, len(data), 499):
        path.write_bytes(data[:size])
        with pytest.raises(ReadError) as caught:
            plan_hdf5(path)
        assert caught.value.file == str(path)


def test_a_damaged_chunk_is_named_by_dataset_and_rows(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("a", data=np.arange(1_000), chunks=(500,), compression="gzip")
        place = made.id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[place : place + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(ReadError, match=r"'a', rows 0 to 1000: .*filter returned failure"):
        table_of(plan_hdf5(path))


def test_a_filter_that_is_not_there_is_named_when_the_plan_is_made(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=[1, 2], compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(MissingPackageError, match=r"'a' needs the HDF5 filter 1 .*hdf5plugin"):
        plan_hdf5(tmp_path)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'millstream\[hdf5\]'"):
        plan_hdf5(tmp_path)


@pytest.mark.parametrize("datasets", [[], 3, ["a", "a"], [1], {"a": 1}])
def test_names_that_make_no_sense_are_refused_at_the_call(tmp_path, datasets):
    saved(tmp_path / "a.h5", a=[1])
    with pytest.raises(ArgumentError, match="datasets="):
        read_hdf5(tmp_path, datasets=datasets)


def test_files_of_other_types_meet_like_other_blocks(tmp_path):
    saved(tmp_path / "a.h5", a=np.array([1], "i1"))
    saved(tmp_path / "b.h5", a=[2**40], b=["x"])
    source = plan_hdf5(tmp_path)
    assert source.rows == 2
    assert rows_of(source) == [{"a": 1, "b": None}, {"a": 2**40, "b": "x"}]


def test_a_run_gives_the_rows_of_each_file(tmp_path):
    for year in (2024, 2025):
        (tmp_path / f"year={year}").mkdir()
        saved(tmp_path / f"year={year}" / "a.h5", a=[year, year + 1])
    ds = read_hdf5(tmp_path, partitioning=ms.Partitioning("hive"), include_paths=True)
    first = {"a": 2024, "year": 2024, "path": str(tmp_path / "year=2024" / "a.h5")}
    assert ds.take(1) == [first]
    assert ds.count() == 4
    shuffled = read_hdf5(tmp_path, shuffle=ms.FileShuffleConfig(seed=1), override_num_blocks=4)
    assert sorted(row["a"] for row in shuffled.take_all()) == [2024, 2025, 2025, 2026]
