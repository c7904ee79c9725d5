from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import numcodecs
import numpy as np
import pyarrow as pa
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from io_sources import rows_of, table_of, tables_of

from millstream.blocks import block, tensor
from millstream.errors import ArgumentError, ReadError, SchemaError
from millstream.io.formats import zarr as reader
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.io.formats.zarr import ZarrOptions
from millstream.read_science import read_zarr


def plan_zarr(path, *, filesystem=None, override_num_blocks=None, **how):
    options = ZarrOptions(**{"allow_full_metadata_scan": True, **how})
    return reader.plan_zarr(path, options, filesystem=filesystem, blocks=override_num_blocks)


def saved(path, version=3, *, chunks=None, consolidated=False, **arrays):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    with warnings.catch_warnings():
        # Some types of text have no standard yet.
        warnings.simplefilter("ignore")
        for name, values in arrays.items():
            values = np.asarray(values)
            shape = (chunks or values.shape)[: values.ndim]
            made = group.create_array(
                name.replace("__", "/"), shape=values.shape, dtype=values.dtype, chunks=shape
            )
            made[...] = values
        if consolidated:
            zarr.consolidate_metadata(str(path))
    return path


DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i4", "M8[us]"]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_values_come_back_as_they_are_in_each_kind_of_row(tmp_path_factory, version, dtype, data):
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=5)))
    chunks = tuple(data.draw(st.integers(1, length)) for length in array.shape)
    path = saved(tmp_path_factory.mktemp("zarr") / "a", version, chunks=chunks, a=array)
    native = array.astype(array.dtype.newbyteorder("="))
    whole = np.empty_like(native)
    for row in table_rows(plan_zarr(path)):
        place = tuple(slice(start, stop) for start, stop in row["chunk_slices"])
        assert [each.start // n for each, n in zip(place, chunks, strict=True)] == row[
            "chunk_index"
        ]
        whole[place] = row["chunk"]
        assert row["array"] == "a"
        assert row["chunk"].dtype == native.dtype
    np.testing.assert_array_equal(whole, native)
    parts = table_rows(plan_zarr(path, align_axis_0=True))
    np.testing.assert_array_equal(np.concatenate([row["a"] for row in parts]), native)
    assert [row["t_start"] for row in parts] == list(range(0, len(array), chunks[0]))
    column = table_of(plan_zarr(path, rows="indices")).column("a")
    found = tensor.to_numpy(column) if array.ndim > 1 else column.to_numpy()
    np.testing.assert_array_equal(found, native)
    assert found.dtype == native.dtype


def table_rows(source):
    """The rows, with arrays where there are tensors."""
    table = block.unseal(table_of(source))
    columns = {
        name: tensor.to_numpy(column) if tensor.is_tensor(column.type) else column.to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("version", [2, 3])
def test_text_and_bytes_come_by_index(tmp_path, version):
    words = np.array(["a", "é€", ""])
    path = saved(tmp_path / "a", version, chunks=(2, 2), w=words, b=np.array([b"x", b"", b"yz"]))
    found = table_of(plan_zarr(path, rows="indices"))
    assert found.column("w").to_pylist() == words.tolist()
    assert found.column("b").to_pylist() == [b"x", b"", b"yz"]
    with pytest.raises(SchemaError, match=r"'b' is of dtype .*S2.*rows='indices'"):
        plan_zarr(path)


def test_text_of_any_length_comes_by_index(tmp_path):
    group = zarr.open_group(tmp_path / "a", mode="w", zarr_format=2)
    group.create_array("w", shape=(3,), chunks=(2,), dtype=str)[:] = ["a", "é" * 100, "c"]
    source = plan_zarr(tmp_path / "a", rows="indices")
    assert source.schema == pa.schema({"w": pa.string()})
    assert table_of(source).column("w").to_pylist() == ["a", "é" * 100, "c"]


def test_arrays_need_not_go_together_as_chunks(tmp_path):
    path = saved(tmp_path / "a", chunks=(2, 3), x=np.arange(5), g__y=np.ones((2, 3), "f4"))
    found = table_rows(plan_zarr(path))
    assert [row["array"] for row in found] == ["g/y", "x", "x", "x"]
    assert [row["chunk"].shape for row in found] == [(2, 3), (2,), (2,), (1,)]
    named = table_rows(plan_zarr(path, array_paths=["x"]))
    assert np.concatenate([row["chunk"] for row in named]).tolist() == [0, 1, 2, 3, 4]


def test_chunks_of_other_shapes_and_rows_that_overlap(tmp_path):
    path = saved(tmp_path / "a", chunks=(4, 2), x=np.arange(10), y=np.arange(20).reshape(10, 2))
    found = table_rows(plan_zarr(path, align_axis_0=True, chunk_shapes=[3], overlap=2))
    assert [(row["t_start"], row["t_stop"]) for row in found] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert [row["x"].tolist() for row in found] == [
        [0, 1, 2, 3, 4],
        [3, 4, 5, 6, 7],
        [6, 7, 8, 9],
        [9],
    ]
    assert found[-1]["y"].tolist() == [[18, 19]]
    by_name = table_rows(plan_zarr(path, chunk_shapes={"y": [10, 1]}))
    assert [row["chunk"].shape for row in by_name] == [(4,), (4,), (2,), (10, 1), (10, 1)]


def test_what_is_stored_together_is_read_once(tmp_path, monkeypatch):
    from millstream.io.formats.zarr_store import ArrowStore

    path = saved(tmp_path / "a", chunks=(50, 5), x=np.arange(1_000).reshape(100, 10))
    read = []
    whole = ArrowStore._read

    def counted(self, key, byte_range):
        read.append(key)
        return whole(self, key, byte_range)

    monkeypatch.setattr(ArrowStore, "_read", counted)
    source = plan_zarr(path, array_paths=["x"], chunk_shapes=[1])
    assert source.rows == 200
    read.clear()
    assert len(table_rows(source)) == 200
    assert sorted(key for key in read if "c/" in key) == sorted(
        f"x/c/{row}/{column}" for row in range(2) for column in range(2)
    )


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_that_are_not_there_are_counted_and_told(tmp_path, version, caplog):
    path = saved(tmp_path / "a", version, chunks=(2, 2), x=np.arange(1, 9))
    lost = sorted(path.glob("x/1" if version == 2 else "x/c/1"))
    assert len(lost) == 1
    lost[0].unlink()
    with caplog.at_level(logging.WARNING):
        found = table_of(plan_zarr(path, rows="indices")).column("x").to_pylist()
    assert found == [1, 2, 0, 0, 5, 6, 7, 8]
    (told,) = [record.getMessage() for record in caplog.records]
    assert "1 chunks are not in" in told
    assert lost[0].relative_to(path).as_posix() in told
    for how in ({}, {"rows": "indices"}, {"align_axis_0": True}):
        with pytest.raises(ReadError, match=r"'x' at .*is not there; pass missing_chunks") as e:
            table_of(plan_zarr(path, missing_chunks="error", **how))
        assert e.value.file == str(path)


def test_a_whole_store_tells_nothing(tmp_path, caplog):
    path = saved(tmp_path / "a", chunks=(2,), x=np.arange(1, 9))
    with caplog.at_level(logging.WARNING):
        assert table_of(plan_zarr(path, missing_chunks="error")).num_rows == 4
    assert not caplog.records


def test_shards_and_codecs_are_read(tmp_path):
    group = zarr.open_group(tmp_path / "a", mode="w")
    array = np.arange(64).reshape(16, 4)
    for name, compressor in (
        ("zstd", zarr.codecs.ZstdCodec()),
        ("blosc", zarr.codecs.BloscCodec()),
    ):
        group.create_array(
            name, shape=(16, 4), shards=(8, 4), chunks=(2, 4), dtype="i8", compressors=compressor
        )[:] = array
    found = table_rows(plan_zarr(tmp_path / "a", align_axis_0=True))
    for name in ("zstd", "blosc"):
        np.testing.assert_array_equal(np.concatenate([row[name] for row in found]), array)


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_that_is_one_array(tmp_path, version):
    array = zarr.create_array(
        tmp_path / "a", shape=(5,), chunks=(2,), dtype="i8", zarr_format=version
    )
    array[:] = np.arange(5)
    assert rows_of(plan_zarr(tmp_path / "a", rows="indices"))[3] == {"data": 3}
    assert [row["array"] for row in table_rows(plan_zarr(tmp_path / "a"))] == ["", "", ""]


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_is_searched_only_if_that_is_allowed(tmp_path, version):
    path = saved(tmp_path / "a", version, g__x=[1, 2])
    with pytest.raises(SchemaError, match=r"no consolidated metadata.*array_paths"):
        plan_zarr(path, allow_full_metadata_scan=False)
    named = plan_zarr(path, allow_full_metadata_scan=False, array_paths=["/g/x"])
    assert named.rows == 1
    saved(path, version, consolidated=True, g__x=[1, 2])
    assert plan_zarr(path, allow_full_metadata_scan=False).rows == 1


def test_rows_are_divided_into_units(tmp_path, monkeypatch):
    path = saved(tmp_path / "a", chunks=(3, 1), x=np.arange(20), y=np.arange(20, 40))
    for blocks in (1, 2, 5, 100):
        for how in ({}, {"align_axis_0": True}, {"rows": "indices"}):
            source = plan_zarr(path, override_num_blocks=blocks, **how)
            assert len(source.units) == min(blocks, source.rows)
            assert table_of(source).num_rows == source.rows
    monkeypatch.setattr(reader, "UNIT_BYTES", 100)
    source = plan_zarr(path, rows="indices")
    assert [unit.stop for unit in source.units] == [3, 9, 15, 20]
    assert [row["y"] for row in rows_of(source)] == list(range(20, 40))


def test_tables_are_of_bounded_size(tmp_path):
    path = tmp_path / "a"
    array = zarr.create_array(path, shape=(64, 1 << 17), chunks=(64, 1 << 17), dtype="f8")
    array[:] = 0.5
    total = 0
    for table in tables_of(plan_zarr(path, rows="indices")):
        assert block.nbytes(table) <= TABLE_BYTES
        total += table.num_rows
    assert total == 64
    assert all(
        block.nbytes(table) <= TABLE_BYTES
        for table in tables_of(plan_zarr(path, align_axis_0=True, chunk_shapes=[1]))
    )


@pytest.mark.parametrize("how", [{}, {"align_axis_0": True}, {"rows": "indices"}])
def test_the_schema_that_is_promised_is_that_of_the_rows(tmp_path, how):
    path = saved(tmp_path / "a", chunks=(2,), x=np.arange(6, dtype="i4"))
    source = plan_zarr(path, **how)
    assert table_of(source).schema == source.schema
    assert plan_zarr(saved(path, chunks=(4,), x=np.arange(6)), align_axis_0=True).schema is None


def test_arrays_without_rows(tmp_path):
    path = tmp_path / "a"
    zarr.open_group(path, mode="w").create_array("x", shape=(0, 2), chunks=(1, 2), dtype="i4")
    for how in ({}, {"align_axis_0": True}, {"rows": "indices"}):
        source = plan_zarr(path, **how)
        assert source.rows == 0
        assert sum(table.num_rows for table in tables_of(source)) == 0


@pytest.mark.parametrize(
    ("arrays", "how", "said"),
    [
        ({"a": np.ones(2, complex)}, {}, "'a' is of dtype complex128"),
        ({"a": np.ones(2, complex)}, {"rows": "indices"}, "'a' is of dtype complex128, which no"),
        ({"a": np.ones(2), "b": 5}, {}, "'b' is a single value"),
        ({"a": np.ones(2), "b": np.ones(3)}, {"rows": "indices"}, "'a' has 2, 'b' has 3"),
        ({"a": np.ones(2), "b": np.ones(3)}, {"align_axis_0": True}, "lengths of the first axis"),
        ({"a": np.ones(2)}, {"array_paths": ["x"]}, "no array 'x'"),
        ({"a": np.ones(2)}, {"chunk_shapes": {"x": [1]}}, "names 'x'; the arrays are 'a'"),
        ({"t_stop": np.ones(2)}, {"align_axis_0": True}, "'t_stop' has the name of another column"),
    ],
)
def test_what_cannot_be_read_so_is_refused_by_name(tmp_path, arrays, how, said):
    saved(tmp_path / "a", **arrays)
    with pytest.raises(SchemaError, match=said) as caught:
        plan_zarr(tmp_path / "a", **how)
    assert caught.value.file == str(tmp_path / "a")


def test_arrays_of_other_chunks_are_aligned_by_chunk_shapes(tmp_path):
    group = zarr.open_group(tmp_path / "a", mode="w")
    for name, chunk in (("x", 2), ("y", 5)):
        group.create_array(name, shape=(10,), chunks=(chunk,), dtype="i4")[:] = np.arange(10)
    with pytest.raises(SchemaError, match=r"'x' has 2, 'y' has 5.*chunk_shapes"):
        plan_zarr(tmp_path / "a", align_axis_0=True)
    found = table_rows(plan_zarr(tmp_path / "a", align_axis_0=True, chunk_shapes=[4]))
    assert [row["y"].tolist() for row in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    "how",
    [
        {"array_paths": []},
        {"array_paths": 5},
        {"array_paths": ["a", "a"]},
        {"chunk_shapes": [0]},
        {"chunk_shapes": []},
        {"chunk_shapes": "4"},
        {"chunk_shapes": {"x": 4}},
        {"chunk_shapes": [1, 1, 1]},
        {"align_axis_0": 1},
        {"allow_full_metadata_scan": None},
        {"overlap": -1, "align_axis_0": True},
        {"overlap": 1},
        {"rows": "each"},
        {"rows": "indices", "align_axis_0": True},
        {"rows": "indices", "chunk_shapes": [1]},
        {"missing_chunks": "skip"},
        {"override_num_blocks": 0},
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_the_call(tmp_path, how):
    saved(tmp_path / "a", x=[1, 2], consolidated=True, version=2)
    with pytest.raises(ArgumentError, match=next(iter(how))):
        read_zarr(tmp_path / "a", **how)


def test_no_store_at_all(tmp_path):
    with pytest.raises(ReadError, match="no such folder"):
        plan_zarr(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="neither an array nor a group"):
        plan_zarr(tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReadError, match="no such folder"):
        plan_zarr(tmp_path / "file")
    zarr.open_group(tmp_path / "group", mode="w")
    with pytest.raises(SchemaError, match="no arrays"):
        plan_zarr(tmp_path / "group")


CODECS = {
    2: [numcodecs.Zstd(), numcodecs.Blosc(), numcodecs.GZip(), numcodecs.LZ4(), None],
    3: [zarr.codecs.ZstdCodec(), zarr.codecs.BloscCodec(), zarr.codecs.GzipCodec(), None],
}


@pytest.mark.parametrize(
    ("version", "codec"), [(version, codec) for version in CODECS for codec in CODECS[version]]
)
def test_a_chunk_that_is_cut_off_is_an_error_that_names_store_and_place(tmp_path, version, codec):
    path = tmp_path / "a"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    made = group.create_array("x", shape=(8,), chunks=(4,), dtype="i8", compressors=codec)
    made[:] = np.arange(1, 9)
    chunk = path / ("x/1" if version == 2 else "x/c/1")
    data = chunk.read_bytes()
    assert [row["x"] for row in rows_of(plan_zarr(path, rows="indices"))] == list(range(1, 9))
    for size in range(len(data)):
        chunk.write_bytes(data[:size])
        with pytest.raises(ReadError, match=r"the array 'x' at \[") as caught:
            table_of(plan_zarr(path, rows="indices"))
        assert caught.value.file == str(path)


@pytest.mark.parametrize("place", ["start", "end"])
def test_a_shard_that_is_cut_off_is_an_error(tmp_path, place):
    path = tmp_path / "a"
    inner = [zarr.codecs.BytesCodec(), zarr.codecs.BloscCodec()]
    shards = zarr.codecs.ShardingCodec(chunk_shape=(4,), codecs=inner, index_location=place)
    made = zarr.create(store=path, shape=(8,), chunks=(8,), dtype="i8", codecs=[shards])
    made[:] = np.arange(1, 9)
    data = (path / "c" / "0").read_bytes()
    assert [row["data"] for row in rows_of(plan_zarr(path, rows="indices"))] == list(range(1, 9))
    for size in range(0, len(data), 7):
        (path / "c" / "0").write_bytes(data[:size])
        with pytest.raises(ReadError, match=r"the array '' at \["):
            table_of(plan_zarr(path, rows="indices"))


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_that_is_cut_off_is_an_error(tmp_path, version):
    path = saved(tmp_path / "a", version, x=[1, 2])
    metadata = path / "x" / (".zarray" if version == 2 else "zarr.json")
    metadata.write_text(metadata.read_text()[:-20])
    with pytest.raises(ReadError, match="cannot read this Zarr store") as caught:
        plan_zarr(path, array_paths=["x"])
    assert caught.value.file == str(path)


def test_nothing_is_unpickled(tmp_path):
    path = saved(tmp_path / "a", 2, x=[1, 2], y=[3, 4])
    metadata = path / "x" / ".zarray"
    told = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**told, "dtype": "|O", "filters": [{"id": "pickle"}]}))
    for how in ({}, {"array_paths": ["x"]}):
        with pytest.raises(ReadError, match=r"'x/.zarray' names the codec 'pickle'"):
            plan_zarr(path, **how)
    (path / "y" / ".zattrs").write_text(json.dumps({"name": "a jar of pickles"}))
    assert plan_zarr(path, array_paths=["y"]).rows == 1
    whole = saved(tmp_path / "b", 3, x=[1, 2]) / "x" / "zarr.json"
    told = json.loads(whole.read_text())
    told["attributes"] = {"name": "pickle"}
    whole.write_text(json.dumps(told))
    assert plan_zarr(tmp_path / "b").rows == 1
    told["codecs"].append({"name": "numcodecs.pickle", "configuration": {}})
    whole.write_text(json.dumps(told))
    with pytest.raises(ReadError, match="names the codec 'pickle'"):
        plan_zarr(tmp_path / "b")


def test_no_path_leads_out_of_the_store(tmp_path):
    saved(tmp_path / "other", x=[1])
    saved(tmp_path / "a", y=[1])
    with pytest.raises((ReadError, SchemaError)):
        plan_zarr(tmp_path / "a", array_paths=["../other/x"])


def test_another_file_system(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    path = saved(tmp_path / "a", chunks=(2,), x=np.arange(1, 6))
    memory = fsspec.filesystem("memory")
    memory.put(str(path), "/stores/a", recursive=True)
    try:
        source = plan_zarr("memory://stores/a", rows="indices")
        assert source.is_of_one_process
        assert [row["x"] for row in rows_of(source)] == [1, 2, 3, 4, 5]
    finally:
        memory.rm("/stores", recursive=True)


def test_without_zarr_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'millstream\[zarr\]'"):
        plan_zarr(tmp_path)


def test_a_run_gives_the_rows(tmp_path, monkeypatch):
    saved(
        tmp_path / "a", version=2, consolidated=True, x=np.arange(4), y=np.arange(8).reshape(4, 2)
    )
    ds = read_zarr(tmp_path / "a", rows="indices")
    assert ds.count() == 4
    assert [row["x"] for row in ds.take_all()] == [0, 1, 2, 3]
    monkeypatch.chdir(tmp_path)
    (row,) = read_zarr(Path("a"), align_axis_0=True).take_all()
    assert (row["t_start"], row["t_stop"]) == (0, 4)
    assert row["y"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
