from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
import skimage
import tifffile
from io_sources import rows_of, table_of, tables_of

from millstream.blocks import block, tensor
from millstream.errors import ArgumentError, ReadError, SchemaError
from millstream.io.formats import tiff_stacks as reader
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.options import takes
from millstream.read_science import TiffFiles, read_tiff


@takes(files=TiffFiles)
def plan_tiff(paths, *, files, override_num_blocks=None, **how):
    return reader.plan_tiff(paths, files, blocks=override_num_blocks, **how)


def saved(*arrays, is_big=False, is_ome=False, byteorder="<", **how) -> bytes:
    # Else three pages would be three colours.
    how.setdefault("photometric", "minisblack")
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=is_big, ome=is_ome, byteorder=byteorder) as writer:
        for array in arrays:
            writer.write(array, **how)
    return file.getvalue()


def pixels_of(source) -> list[np.ndarray]:
    return list(tensor.to_numpy(table_of(source).column("pixels")))


def sample(shape, dtype):
    rng = np.random.default_rng(0)
    if dtype == "?":
        return rng.integers(0, 2, shape).astype(bool)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
LAYOUTS = [
    {},
    {"is_big": True, "byteorder": ">"},
    {"compression": "zlib"},
    {"tile": (16, 16)},
    {"rowsperstrip": 3},
    {"metadata": None},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_pages_come_back_as_they_are_stored(tmp_path, dtype, layout):
    stack = sample((3, 20, 24), dtype)
    (tmp_path / "a.tif").write_bytes(saved(stack, **layout))
    found = pixels_of(plan_tiff(tmp_path))
    assert found[0].dtype == stack.dtype
    np.testing.assert_array_equal(np.stack(found), stack)
    (whole,) = pixels_of(plan_tiff(tmp_path, pages="stack"))
    np.testing.assert_array_equal(whole, stack)


@pytest.mark.parametrize("compression", ["lzw", "zstd", "packbits", "lzma"])
def test_lossless_codecs_are_read(tmp_path, compression):
    pytest.importorskip("imagecodecs")
    stack = sample((2, 20, 24), "u2")
    (tmp_path / "a.tif").write_bytes(saved(stack, compression=compression, predictor=False))
    np.testing.assert_array_equal(np.stack(pixels_of(plan_tiff(tmp_path))), stack)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_are_an_axis_that_is_told(tmp_path, planar):
    shape = (20, 24, 3) if planar == "contig" else (3, 20, 24)
    colors = sample(shape, "u1")
    (tmp_path / "a.tif").write_bytes(saved(colors, photometric="rgb", planarconfig=planar))
    found = table_of(plan_tiff(tmp_path))
    np.testing.assert_array_equal(tensor.to_numpy(found.column("pixels"))[0], colors)
    assert found.column("axes").to_pylist() == ["YXS" if planar == "contig" else "SYX"]
    assert found.column("photometric").to_pylist() == ["RGB"]


def test_pages_that_were_written_one_by_one_are_series_of_their_own(tmp_path):
    pages = [sample((20, 24), "u2"), sample((20, 24), "u2") // 2, sample((5, 6), "f4")]
    (tmp_path / "a.tif").write_bytes(saved(*pages))
    found = table_of(plan_tiff(tmp_path, series=1))
    assert found.column("series").to_pylist() == [1]
    np.testing.assert_array_equal(tensor.to_numpy(found.column("pixels"))[0], pages[1])
    rows = [table.to_pylist()[0] for table in tables_of(plan_tiff(tmp_path))]
    assert [(row["series"], row["page"]) for row in rows] == [(0, 0), (1, 0), (2, 0)]
    stacks = list(tables_of(plan_tiff(tmp_path, pages="stack")))
    assert [table.column("pixels").type.shape for table in stacks] == [
        [1, 20, 24],
        [1, 20, 24],
        [1, 5, 6],
    ]
    with pytest.raises(ReadError, match="there is no series 3: there are 3"):
        plan_tiff(tmp_path, series=3)


def test_a_stack_tells_what_its_pages_are(tmp_path):
    stack = sample((2, 3, 1, 20, 24), "u2")
    axes = {"axes": "TZCYX"}
    (tmp_path / "a.ome.tif").write_bytes(saved(stack, is_ome=True, metadata=axes))
    (row,) = rows_of(plan_tiff(tmp_path, pages="stack"))
    assert row["series_axes"] == "TZCYXS"
    assert row["series_shape"] == [2, 3, 1, 20, 24, 1]
    (whole,) = pixels_of(plan_tiff(tmp_path, pages="stack"))
    np.testing.assert_array_equal(whole.reshape(stack.shape), stack)


def test_pages_of_which_only_the_first_is_listed(tmp_path):
    # As ImageJ writes stacks of more than 4 GiB.
    stack = sample((3, 20, 24), "u2")
    file = io.BytesIO()
    tifffile.imwrite(file, stack, imagej=True, photometric="minisblack")
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tiff:
        page = tiff.pages[0]
        place = page.offset + 2 + len(page.tags) * 12
    data[place : place + 4] = bytes(4)
    (tmp_path / "a.tif").write_bytes(data)
    np.testing.assert_array_equal(np.stack(pixels_of(plan_tiff(tmp_path))), stack)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        end = tiff.series[0].dataoffset + stack.nbytes
    (tmp_path / "a.tif").write_bytes(data[: end - 1])
    with pytest.raises(ReadError, match="cut off"):
        table_of(plan_tiff(tmp_path))


def test_pages_in_other_files_are_not_read(tmp_path):
    stack = sample((2, 20, 24), "u2")
    data = saved(stack, is_ome=True, metadata={"axes": "ZYX"})
    text = data[data.index(b"<OME") : data.index(b"</OME>") + 6].decode()
    start = text.index("<TiffData")
    end = text.index("/>", start) + 2
    other = '<UUID FileName="b.ome.tif">urn:uuid:1</UUID>'
    parts = [
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"/>',
        f'<TiffData IFD="0" FirstZ="1" PlaneCount="1">{other}</TiffData>',
    ]
    changed = text[:start] + "".join(parts) + text[end:]
    (tmp_path / "b.ome.tif").write_bytes(saved(stack[::-1] + 1))
    path = tmp_path / "a.ome.tif"
    path.write_bytes(saved(stack, description=changed.encode(), metadata=None))
    np.testing.assert_array_equal(np.stack(pixels_of(plan_tiff(path))), stack)


def test_parts_that_are_not_there_are_told(tmp_path, caplog):
    tile = np.full((16, 16), 7, "u1")
    file = io.BytesIO()
    tiles = iter([tile, None])
    tifffile.imwrite(file, tiles, shape=(16, 32), dtype="u1", tile=(16, 16), compression="zlib")
    (tmp_path / "a.tif").write_bytes(file.getvalue())
    with caplog.at_level(logging.WARNING):
        (found,) = pixels_of(plan_tiff(tmp_path))
    assert set(found[:, :16].flat) == {7}
    assert set(found[:, 16:].flat) == {0}
    assert "1 of 2 parts of page 0 are not in the file" in caplog.text


@pytest.mark.parametrize("layout", LAYOUTS[:5], ids=str)
def test_a_file_that_is_cut_off_is_an_error(tmp_path, layout):
    stack = sample((3, 20, 24), "u2")
    data = saved(stack, **layout)
    path = tmp_path / "a.tif"
    for size in [*range(0, len(data), 61), len(data) - 1]:
        path.write_bytes(data[:size])
        try:
            found = pixels_of(plan_tiff(path))
        except ReadError as error:
            assert error.file == str(path)  # noqa: PT017
        else:
            # Only padding was lost.
            np.testing.assert_array_equal(np.stack(found), stack)
            assert size > len(data) - 100


def test_a_damaged_list_of_pages_is_an_error(tmp_path):
    data = bytearray(saved(sample((20, 24), "u2"), sample((5, 6), "u2")))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tiff:
        page = tiff.pages[0]
        place = page.offset + 2 + len(page.tags) * 12
    for wrong in (page.offset, len(data) + 5, len(data) - 3):
        data[place : place + 4] = wrong.to_bytes(4, "little")
        (tmp_path / "a.tif").write_bytes(data)
        with pytest.raises(ReadError, match="list of pages") as caught:
            plan_tiff(tmp_path)
        assert caught.value.file == str(tmp_path / "a.tif")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"II*\0", b"II*\0" + bytes(100)])
def test_no_tiff_at_all(tmp_path, data):
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this TIFF file") as caught:
        plan_tiff(tmp_path)
    assert caught.value.file == str(tmp_path / "a.tif")


def test_complex_numbers_are_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(saved(np.ones((4, 4), "c8")))
    with pytest.raises(SchemaError, match="series 0 has values of dtype complex64") as caught:
        plan_tiff(tmp_path)
    assert caught.value.file == str(tmp_path / "a.tif")


def test_many_pages_come_in_tables_of_bounded_size(tmp_path):
    stack = np.arange(40 << 20, dtype="u1").reshape(40, 1024, 1024)
    (tmp_path / "a.tif").write_bytes(saved(stack))
    tables = list(tables_of(plan_tiff(tmp_path)))
    assert len(tables) > 2
    assert all(block.nbytes(table) <= TABLE_BYTES for table in tables)
    assert [n for table in tables for n in table.column("page").to_pylist()] == list(range(40))


@pytest.mark.parametrize(
    "how", [{"pages": "row"}, {"pages": None}, {"series": -1}, {"series": "a"}]
)
def test_arguments_that_make_no_sense_are_refused_at_the_call(tmp_path, how):
    (tmp_path / "a.tif").write_bytes(saved(np.ones((4, 4), "u1")))
    with pytest.raises(ArgumentError, match=next(iter(how))):
        read_tiff(tmp_path, **how)


def test_without_tifffile_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'millstream\[tiff\]'"):
        plan_tiff(tmp_path)


def test_files_of_another_program():
    folder = Path(skimage.__file__).parent / "data"
    grey, colors = (folder / name for name in ("multipage.tif", "multipage_rgb.tif"))
    assert [page.shape for page in pixels_of(plan_tiff(grey))] == [(15, 10)] * 2
    found = pixels_of(plan_tiff(colors))
    np.testing.assert_array_equal(np.stack(found), tifffile.imread(colors).reshape(2, 3, 10, 10))


def test_a_run_gives_the_rows_of_each_file(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.tif").write_bytes(saved(np.full((2, 4, 5), number, "u2")))
    ds = read_tiff(tmp_path, include_paths=True)
    assert ds.count() == 6
    rows = ds.take_all()
    assert [int(row["pixels"].max()) for row in rows] == [0, 0, 1, 1, 2, 2]
    assert [row["page"] for row in rows] == [0, 1, 0, 1, 0, 1]
    assert rows[2]["path"] == str(tmp_path / "1.tif")
