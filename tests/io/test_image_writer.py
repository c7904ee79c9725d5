from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import millstream as ms
from millstream.dataset import Dataset
from millstream.errors import (
    ArgumentError,
    MissingPackageError,
    SchemaError,
    UserCodeError,
    WriteError,
)
from millstream.io.formats.image_writer import FILE_FORMATS, ImageRows
from millstream.io.formats.pixels import decode
from millstream.io.row_file_options import RowFileOptions
from millstream.io.row_files import plan_write_rows

write_images = Dataset.write_images


def pictures(count=5, shape=(4, 6, 3), dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    top = 256 if dtype == np.uint8 else 65_536
    return [rng.integers(0, top, shape).astype(dtype) for _ in range(count)]


def dataset(images, **columns):
    rows = [
        {"image": image, **{name: values[row] for name, values in columns.items()}}
        for row, image in enumerate(images)
    ]
    return ms.from_items(rows, override_num_blocks=min(3, len(rows)))


def images_of(path, **how):
    return [row["image"] for row in ms.read_images(path, **how).take_all()]


def files_of(path):
    return sorted(
        os.path.relpath(os.path.join(folder, name), path)
        for folder, _, names in os.walk(path)
        for name in names
    )


# --- Values ---------------------------------------------------------------------------------

#: For each format that loses nothing: dtypes, and the bands that pictures of them may have.
KEPT = [
    *(("png", np.uint8, bands) for bands in (1, 2, 3, 4)),
    *(("tiff", np.uint8, bands) for bands in (1, 2, 3, 4)),
    *(("webp", np.uint8, bands) for bands in (3, 4)),
    *(("bmp", np.uint8, bands) for bands in (1, 3)),
    *(("png", np.uint16, 1), ("tif", np.uint16, 1), ("tiff", np.int32, 1), ("tiff", np.float32, 1)),
]


@pytest.mark.parametrize(("format", "dtype", "bands"), KEPT)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_what_is_written_comes_back_as_it_is(format, dtype, bands, data):
    sides = st.integers(1, 12)
    shape = data.draw(st.tuples(sides, sides, *[st.just(bands)] * (bands > 1)))
    pixels = data.draw(arrays.arrays(dtype, shape))
    if format == "webp" and bands == 4:
        pixels[0, 0, 3] = 7
    found = decode(ImageRows("image", format).encode([pixels])).pixels
    assert found.dtype == pixels.dtype
    assert found.shape == pixels.shape
    assert np.array_equal(found, pixels, equal_nan=dtype == np.float32)


LOSSY = [("jpeg", 1), ("jpg", 1), ("jpeg", 3), ("jpg", 3), ("avif", 3), ("webp", 3)]


@pytest.mark.parametrize(("format", "bands"), LOSSY)
def test_formats_that_lose_something_keep_the_shape_and_almost_the_pixels(format, bands):
    across = np.linspace(0, 200, 64).astype(np.uint8)
    pixels = np.broadcast_to(across[:, None], (64, 48))
    pixels = np.stack([pixels] * bands, axis=-1) if bands > 1 else pixels
    small = ImageRows("image", format, quality=20).encode([pixels])
    large = ImageRows("image", format, quality=98).encode([pixels])
    assert len(small) < len(large)
    found = decode(large).pixels
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).max() < 8


@pytest.mark.parametrize("format", ["webp", "avif"])
def test_an_alpha_that_would_be_left_out_is_an_error(format):
    pixels = np.full((3, 3, 4), 255, np.uint8)
    with pytest.raises(ValueError, match="first three bands"):
        ImageRows("image", format).encode([pixels])


REFUSED = [
    ("png", np.zeros((2, 2, 3), np.float32), "float32"),
    ("png", np.zeros((2, 2), np.float64), "float64"),
    ("png", np.zeros((2, 2), np.int32), "tiff"),
    ("png", np.zeros((2, 2, 3), np.uint16), "uint16"),
    ("png", np.zeros((2, 2), bool), "bool"),
    ("png", np.zeros((2, 2, 1), np.uint8), r"\[\.\.\., 0\]"),
    ("png", np.zeros((2, 2, 5), np.uint8), r"\(height, width, 4\)"),
    ("png", np.zeros((3, 2, 2, 3), np.uint8), "of the shape"),
    ("jpeg", np.zeros((2, 2), np.uint16), "uint16"),
    ("jpeg", np.zeros((2, 2, 4), np.uint8), r"\(height, width, 3\)"),
    ("bmp", np.zeros((2, 2, 4), np.uint8), r"\(height, width, 3\)"),
    ("webp", np.zeros((2, 2), np.uint8), r"\(height, width, 3\)"),
    ("avif", np.zeros((2, 2), np.uint8), r"\(height, width, 3\)"),
    ("tiff", np.zeros((2, 2), np.int16), "int16"),
]


@pytest.mark.parametrize(("format", "pixels", "told"), REFUSED)
def test_what_a_format_does_not_hold_is_an_error_that_names_it(tmp_path, format, pixels, told):
    for rows in ([pixels, pixels], [pixels, pixels[:1]]):
        with pytest.raises(SchemaError, match=told) as caught:
            write_images(dataset(rows), tmp_path / "out", "image", format)
        assert "'image'" in str(caught.value)
        assert str(pixels.dtype) in str(caught.value) or "bool" in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_a_picture_without_pixels_is_an_error_that_names_its_row(tmp_path):
    rows = [*pictures(2), np.zeros((0, 4, 3), np.uint8)]
    ds = ms.from_items([{"image": row} for row in rows], override_num_blocks=1)
    with pytest.raises(SchemaError, match=r"'image' in row 2 .*no pixels"):
        write_images(ds, tmp_path / "out", "image")


def test_a_picture_that_is_too_large_for_its_format_is_an_error(tmp_path):
    ds = dataset([np.zeros((1, 20_000, 3), np.uint8)])
    with pytest.raises(SchemaError, match="WEBP"):
        write_images(ds, tmp_path / "out", "image", "webp")


def test_a_null_is_an_error_that_names_column_and_row(tmp_path):
    ds = dataset([*pictures(2), None])
    with pytest.raises(SchemaError, match=r"'image' is null in row \d"):
        write_images(ds, tmp_path / "out", "image")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [b"bytes", "text", [[1, 2], [3, 4]], 5])
def test_a_column_of_no_tensors_is_refused(tmp_path, value):
    with pytest.raises(SchemaError, match=r"'image' is .*tensors"):
        write_images(dataset([value]), tmp_path / "out", "image")


def test_an_unknown_column_is_named(tmp_path):
    with pytest.raises(SchemaError, match="'picture'"):
        write_images(dataset(pictures()), tmp_path / "out", "picture")
    with pytest.raises(SchemaError, match="'key'"):
        write_images(dataset(pictures()), tmp_path / "out", "image", filename_column="key")


# --- Files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FILE_FORMATS)
def test_each_row_is_a_file_that_the_reader_finds(tmp_path, format):
    images = pictures(7, shape=(16, 16, 3))
    write_images(dataset(images), tmp_path / "out", "image", format)
    names = files_of(tmp_path / "out")
    assert len(names) == 7
    assert all(name.endswith(f".{format}") for name in names)
    found = images_of(tmp_path / "out")
    assert [image.shape for image in found] == [(16, 16, 3)] * 7
    if format not in ("jpeg", "jpg", "avif"):
        assert all(map(np.array_equal, found, images))


def test_pictures_of_different_shapes_are_written(tmp_path):
    images = [*pictures(2, (3, 4, 3)), *pictures(2, (5, 2, 3)), *pictures(1, (2, 2))]
    write_images(dataset(images), tmp_path / "out", "image")
    assert all(map(np.array_equal, images_of(tmp_path / "out"), images))


def test_other_columns_are_left_out_before_they_are_made(tmp_path):
    ds = dataset(pictures(), label=["a", "b", None, "c", "d"])
    write_images(ds, tmp_path / "out", "image")
    assert len(files_of(tmp_path / "out")) == 5


def test_a_column_names_the_files(tmp_path):
    images = pictures()
    names = ["b", "cats/c", "cats/d.png", "deep/er/é f", "a.PNG"]
    ds = dataset(images, key=names)
    write_images(ds, tmp_path / "out", "image", filename_column="key")
    wanted = ["a.PNG", "b.png", "cats/c.png", "cats/d.png", "deep/er/é f.png"]
    assert files_of(tmp_path / "out") == wanted
    with Image.open(tmp_path / "out" / "cats" / "c.png") as picture:
        assert np.array_equal(np.asarray(picture), images[1])


def test_names_may_end_in_any_way_that_the_format_is_called(tmp_path):
    ds = dataset(pictures(3), key=["a.jpg", "b.jpeg", "c.png"])
    write_images(ds, tmp_path / "out", "image", "jpeg", filename_column="key")
    assert files_of(tmp_path / "out") == ["a.jpg", "b.jpeg", "c.png.jpeg"]


WRONG_NAMES = ["", None, "/etc/a", "../a", "a/../../b", "a//b", "./a", "a/", ".a", "_a/b", "a\0b"]


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_names_that_lead_elsewhere_or_are_not_read_are_errors(tmp_path, name):
    ds = dataset(pictures(3), key=["a", "b", name])
    with pytest.raises(SchemaError, match="'key'") as caught:
        write_images(ds, tmp_path / "out", "image", filename_column="key")
    assert repr(name) in str(caught.value)
    assert files_of(tmp_path) == []


def test_a_name_that_is_there_twice_is_an_error(tmp_path):
    ds = dataset(pictures(3), key=["a", "b", "a.png"])
    with pytest.raises(WriteError, match=r"'key' has 'a.png' twice"):
        write_images(ds, tmp_path / "out", "image", filename_column="key")
    assert not (tmp_path / "out").exists()


def test_names_are_text(tmp_path):
    with pytest.raises(SchemaError, match="'key' is int64"):
        write_images(dataset(pictures(2), key=[1, 2]), tmp_path, "image", filename_column="key")


class Provider:
    def get_filename_for_task(self, run_id, index):
        return f"picture-{index:03}"


def test_a_provider_names_the_files_by_the_number_of_the_row(tmp_path):
    images = pictures()
    write_images(dataset(images), tmp_path / "out", "image", filename_provider=Provider())
    assert files_of(tmp_path / "out") == [f"picture-{row:03}.png" for row in range(5)]
    assert all(map(np.array_equal, images_of(tmp_path / "out"), images))


# --- Old or new, never a mix ----------------------------------------------------------------


def test_modes(tmp_path):
    out = tmp_path / "out"
    write_images(dataset(pictures(3)), out, "image")
    first = files_of(out)
    write_images(dataset(pictures(2)), out, "image")
    assert len(files_of(out)) == 5
    assert set(first) < set(files_of(out))
    write_images(dataset(pictures(1)), out, "image", mode="ignore")
    assert len(files_of(out)) == 5
    with pytest.raises(WriteError, match="data already"):
        write_images(dataset(pictures(1)), out, "image", mode="error")
    assert len(files_of(out)) == 5
    write_images(dataset(pictures(2)), out, "image", mode="overwrite")
    assert len(files_of(out)) == 2


def test_names_that_are_taken_are_an_error_and_change_nothing(tmp_path):
    out = tmp_path / "out"
    old = pictures(2)
    write_images(dataset(old, key=["a", "b"]), out, "image", filename_column="key")
    new = dataset(pictures(2, seed=1), key=["c", "b"])
    with pytest.raises(WriteError, match="there already"):
        write_images(new, out, "image", filename_column="key")
    assert files_of(out) == ["a.png", "b.png"]
    assert all(map(np.array_equal, images_of(out), old))
    write_images(new, out, "image", filename_column="key", mode="overwrite")
    assert files_of(out) == ["b.png", "c.png"]


@pytest.mark.parametrize("mode", ["append", "overwrite", "error"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, mode):
    out = tmp_path / "out"
    if mode != "error":
        write_images(dataset(pictures(2), key=["a", "b"]), out, "image", filename_column="key")
    before = files_of(tmp_path)

    def fail(row):
        if row["key"] == "z":
            raise ValueError("no")
        return row

    ds = dataset(pictures(6), key=["c", "d", "e", "f", "g", "z"]).map(fail)
    with pytest.raises(UserCodeError):
        write_images(ds, out, "image", filename_column="key", mode=mode)
    assert files_of(tmp_path) == before


def test_a_dataset_may_overwrite_its_own_source(tmp_path):
    images = pictures(4)
    write_images(dataset(images), tmp_path / "out", "image")
    ds = ms.read_images(tmp_path / "out").map(lambda row: {"image": 255 - row["image"]})
    write_images(ds, tmp_path / "out", "image", mode="overwrite")
    assert all(map(np.array_equal, images_of(tmp_path / "out"), [255 - each for each in images]))


def test_without_rows_there_are_no_files(tmp_path):
    ds = dataset(pictures(3), n=[1, 2, 3]).filter(lambda row: row["n"] > 5)
    write_images(ds, tmp_path / "out", "image")
    assert files_of(tmp_path / "out") == []
    write_images(dataset(pictures(2)), tmp_path / "out", "image")
    write_images(ds, tmp_path / "out", "image", mode="overwrite")
    assert files_of(tmp_path / "out") == []


def test_many_rows_are_written_in_order(tmp_path):
    def make(batch):
        return {
            "image": batch["id"][:, None, None].astype(np.uint16) * np.ones((1, 2, 2), np.uint16)
        }

    write_images(ms.range(300).map_batches(make), tmp_path / "out", "image")
    assert [int(image[0, 0]) for image in images_of(tmp_path / "out")] == list(range(300))


def test_a_folder_that_is_not_to_be_made_is_an_error(tmp_path):
    with pytest.raises(WriteError, match="try_create_dir"):
        write_images(dataset(pictures()), tmp_path / "out", "image", try_create_dir=False)


def test_other_file_systems_are_written(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    images = pictures(3)
    filesystem = fsspec.filesystem("memory")
    write_images(dataset(images), "/out", "image", filesystem=filesystem)
    found = images_of("/out", filesystem=filesystem)
    assert all(map(np.array_equal, found, images))
    assert len(filesystem.find("/out")) == 3


# --- What is asked for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ("file_format", {"file_format": "gif"}),
        ("file_format", {"file_format": "PNG"}),
        ("column", {"column": 5}),
        ("quality", {"quality": 0, "file_format": "jpeg"}),
        ("quality", {"quality": 101, "file_format": "jpeg"}),
        ("quality", {"quality": True, "file_format": "jpeg"}),
        ("PNG loses nothing", {"quality": 90}),
        ("mode", {"mode": "replace"}),
        ("filename_column", {"filename_column": ""}),
        ("filename_column", {"filename_column": 3}),
        ("not both", {"filename_column": "key", "filename_provider": Provider()}),
        ("filename_provider", {"filename_provider": 5}),
        ("try_create_dir", {"try_create_dir": "yes"}),
        ("compression", {"arrow_open_stream_args": {"compression": "gzip"}}),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_the_call(tmp_path, told, wrong):
    given = {"column": "image", "file_format": "png"} | wrong
    with pytest.raises(ArgumentError, match=told):
        write_images(dataset(pictures(2)), tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[image\]"):
        write_images(dataset(pictures(2)), tmp_path, "image")


def test_a_pillow_that_does_not_write_a_format_is_told(tmp_path, monkeypatch):
    Image.init()
    monkeypatch.delitem(Image.SAVE, "AVIF", raising=False)
    with pytest.raises(MissingPackageError, match=r"pillow>=11\.3"):
        write_images(dataset(pictures(2)), tmp_path, "image", "avif")


def test_a_plan_names_the_write_and_travels(tmp_path):
    transform, commit = plan_write_rows(tmp_path / "out", RowFileOptions(), ImageRows("image"))
    assert transform.name == "WriteImages"
    assert pickle.loads(pickle.dumps(transform)) == transform
    assert commit.prepare()
    commit.abort()
    assert not (tmp_path / "out").exists()
