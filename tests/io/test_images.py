from __future__ import annotations

import io
import logging
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import plan_images, rows_of, table_of, tables_of
from PIL import Image, ImageOps

from millstream.blocks import tensor
from millstream.errors import ArgumentError, ReadError
from millstream.io.formats import images
from millstream.io.formats.images import ImageFormat
from millstream.io.formats.pixels import decode


def save(path, shape=(8, 6, 3), mode="RGB", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode if mode in ("RGB", "L", "RGBA") else None).convert(mode).save(path)
    return path


def image_of(source) -> np.ndarray:
    (row,) = rows_of(source)
    return np.asarray(row["image"])


def shape_of(source) -> list[int]:
    return next(list(table.schema.field("image").type.shape) for table in tables_of(source))


@pytest.mark.parametrize(
    ("mode", "bands"), [("RGB", [3]), ("L", []), ("RGBA", [4]), ("1", []), ("P", [])]
)
def test_the_shape_follows_the_mode_whatever_the_file_is(tmp_path, mode, bands):
    for kept in ("RGB", "L", "RGBA", "P", "1", "LA"):
        base = "RGB" if kept != "L" else "L"
        shape = (8, 6) if base == "L" else (8, 6, 3)
        pixels = np.zeros(shape, np.uint8)
        path = tmp_path / f"{kept}.png"
        Image.fromarray(pixels, base).convert(kept).save(path)
        source = plan_images(path, mode=mode, size=(4, 5))
        assert shape_of(source) == [4, 5, *bands]
        assert table_of(source).schema == source.schema


def test_without_a_mode_images_keep_theirs(tmp_path):
    save(tmp_path / "a.png", (8, 6), "L")
    save(tmp_path / "b.png", (8, 6, 3), "RGB")
    source = plan_images(tmp_path)
    assert source.schema is None
    shapes = [table.schema.field("image").type.shape for table in tables_of(source)]
    assert [list(shape) for shape in shapes] == [[8, 6], [8, 6, 3]]


def test_pixels_are_those_of_pillow(tmp_path):
    path = save(tmp_path / "a.png", (20, 30, 3))
    with Image.open(path) as image:
        exact = np.asarray(image)
        small = np.asarray(image.resize((7, 5), Image.Resampling.BILINEAR))
    tensors = [table.column("image").chunk(0) for table in tables_of(plan_images(path))]
    assert np.array_equal(tensors[0].to_numpy_ndarray()[0], exact)
    tensors = [
        table.column("image").chunk(0) for table in tables_of(plan_images(path, size=(5, 7)))
    ]
    assert np.array_equal(tensors[0].to_numpy_ndarray()[0], small)


def test_palettes_are_resized_by_colour(tmp_path):
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, ::2] = 255
    Image.fromarray(pixels, "RGB").quantize(2).save(tmp_path / "a.png")
    mixed = image_of(plan_images(tmp_path / "a.png", size=(1, 1), mode="L"))
    assert 100 < int(mixed.reshape(-1)[0]) < 155


def test_deep_images_keep_their_depth(tmp_path):
    Image.fromarray(np.full((2, 2), 40_000, np.uint16)).save(tmp_path / "a.png")
    (table,) = tables_of(plan_images(tmp_path))
    assert table.schema.field("image").type.value_type == pa.uint16()


#: For each orientation, how the file lies to what a person sees.
STORED = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.swapaxes(0, 1),
    6: lambda seen: np.rot90(seen, 1),
    7: lambda seen: seen[::-1, ::-1].swapaxes(0, 1),
    8: lambda seen: np.rot90(seen, -1),
}
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]
CELL = 16


def cells(pixels) -> np.ndarray:
    """The colours of a picture that is made of large cells; rounded, as some formats are lossy."""
    centres = pixels[CELL // 2 :: CELL, CELL // 2 :: CELL]
    return (centres.astype(int) + 32) // 64


def turned_picture(format, orientation, seen, **options) -> bytes:
    large = np.kron(STORED[orientation](seen), np.ones((CELL, CELL, 1), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.fromarray(large).save(file, format, exif=exif, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=40, deadline=None)
@given(
    orientation=st.sampled_from(sorted(STORED)),
    colours=st.lists(st.sampled_from([0, 128, 255]), min_size=18, max_size=18),
)
def test_a_picture_is_seen_the_same_in_every_format_and_orientation(format, orientation, colours):
    # Of one grey for each cell, since some formats store colours at half the resolution.
    seen = np.repeat(np.array(colours[:6], np.uint8).reshape(2, 3, 1), 3, axis=2)
    data = turned_picture(format, orientation, seen)
    upright = decode(data).pixels
    assert upright.shape == (2 * CELL, 3 * CELL, 3)
    assert np.array_equal(cells(upright), cells(np.kron(seen, np.ones((CELL, CELL, 1), np.uint8))))
    stored = decode(data, upright=False).pixels
    assert np.array_equal(STORED[orientation](upright), stored)


def test_a_compressed_tiff_is_turned_once():
    seen = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    data = turned_picture("TIFF", 6, seen, compression="tiff_lzw")
    large = np.kron(seen, np.ones((CELL, CELL, 1), np.uint8))
    assert np.array_equal(decode(data).pixels, large)
    assert np.array_equal(decode(data, upright=False).pixels, np.rot90(large))


def test_the_size_is_that_of_the_picture_as_it_comes_out(tmp_path):
    seen = np.zeros((2, 3, 3), np.uint8)
    (tmp_path / "a.jpg").write_bytes(turned_picture("JPEG", 6, seen))
    for orientation in ("upright", "stored"):
        source = plan_images(tmp_path, size=(5, 7), mode="RGB", orientation=orientation)
        assert shape_of(source) == [5, 7, 3]
        assert table_of(source).schema == source.schema
    assert shape_of(plan_images(tmp_path, orientation="stored")) == [3 * CELL, 2 * CELL, 3]


def test_broken_notes_take_nothing_from_the_pixels():
    file = io.BytesIO()
    Image.new("RGB", (4, 2)).save(file, "JPEG", exif=b"Exif\0\0nonsense")
    assert decode(file.getvalue()).pixels.shape == (2, 4, 3)


def png(bits, colour_type, *numbers) -> bytes:
    """A PNG of one row, which Pillow cannot write with 16 bits in several bands."""
    bands = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", len(numbers) // bands, 1, bits, colour_type, 0, 0, 0)
    row = b"\0" + b"".join(number.to_bytes(bits // 8, "big") for number in numbers)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(values, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.atleast_2d(values), **options)
    return file.getvalue()


DEEP = [0, 255, 300, 32_768, 65_535]
DEEP_GREY = {
    "PNG": png(16, 0, *DEEP),
    "PGM": b"P5 5 1 65535\n" + np.array(DEEP, ">u2").tobytes(),
    "TIFF": tiff(np.array(DEEP, np.uint16)),
    "TIFF, big-endian": tiff(np.array(DEEP, np.uint16), byteorder=">"),
    "TIFF, 0 is white": tiff(np.array(DEEP[::-1], np.uint16), photometric="miniswhite"),
}


@pytest.mark.parametrize("name", DEEP_GREY)
def test_16_bit_grey_is_kept_or_scaled_to_the_mode(name):
    data, deep = DEEP_GREY[name], np.array([DEEP])
    if name == "TIFF, 0 is white":
        deep = 65_535 - deep[:, ::-1]
    kept = decode(data).pixels
    assert kept.dtype == np.uint16
    assert np.array_equal(kept, deep)
    grey = np.round(deep / 257)
    assert np.array_equal(decode(data, mode="L").pixels, grey)
    assert np.array_equal(decode(data, mode="RGB").pixels, np.repeat(grey[..., None], 3, 2))
    assert np.array_equal(decode(data, mode="I;16").pixels, deep)
    assert np.array_equal(decode(data, mode="I").pixels, deep)
    assert np.array_equal(decode(data, mode="F").pixels, deep)


def test_8_bits_are_scaled_to_16():
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save(file, "PNG")
    made = decode(file.getvalue(), mode="I;16").pixels
    assert made.dtype == np.uint16
    assert made.tolist() == [[0, 257, 65_535]]


@pytest.mark.parametrize(
    "values",
    [
        np.array([0, 3_000_000_000], np.uint32),
        np.array([-5, 2**31 - 1], np.int32),
        np.array([-5, 300], np.int16),
        np.array([-5, 100], np.int8),
        np.array([-0.5, 1e30], np.float32),
    ],
    ids=lambda values: str(values.dtype),
)
def test_numbers_without_a_scale_are_kept_or_refused(values):
    data = tiff(values)
    assert np.array_equal(decode(data).pixels, np.atleast_2d(values))
    with pytest.raises(ValueError, match="have no scale"):
        decode(data, mode="L")
    with pytest.raises(ValueError, match=r"have no scale|do not fit"):
        decode(data, mode="I;16")


def test_numbers_that_a_mode_holds_are_taken_as_they_are():
    data = tiff(np.array([0, 7, 65_535], np.uint32))
    for mode, dtype in (("I", np.int32), ("F", np.float32), ("I;16", np.uint16)):
        made = decode(data, mode=mode).pixels
        assert made.dtype == dtype
        assert made.tolist() == [[0, 7, 65_535]]
    with pytest.raises(ValueError, match="do not fit into mode='F'"):
        decode(tiff(np.array([2**24 + 1], np.int32)), mode="F")


@pytest.mark.parametrize(
    "data",
    [
        png(16, 2, 1, 2, 65_535),
        png(16, 4, 1, 65_535),
        png(16, 6, 1, 2, 3, 65_535),
        tiff(np.full((2, 2, 3), 40_000, np.uint16), photometric="rgb"),
        b"P6 1 1 65535\n" + bytes(6),
    ],
    ids=["PNG RGB", "PNG LA", "PNG RGBA", "TIFF RGB", "PPM RGB"],
)
def test_16_bits_in_several_bands_are_narrowed_only_if_asked_for(data):
    with pytest.raises(ValueError, match="16 bits a band in several bands"):
        decode(data)
    with pytest.raises(ValueError, match="16 bits a band in several bands"):
        decode(data, mode="I;16")
    assert decode(data, mode="RGB").pixels.dtype == np.uint8


def test_a_picture_that_a_mode_cannot_hold_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(png(16, 2, 1, 2, 3))
    with pytest.raises(ReadError, match="mode='RGB'") as caught:
        table_of(plan_images(tmp_path))
    assert caught.value.file == str(tmp_path / "a.png")


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF", "BMP"])
def test_palettes_become_their_colours_unless_their_numbers_are_asked_for(format):
    colours = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    palette = Image.fromarray(colours).quantize(2)
    file = io.BytesIO()
    palette.save(file, format)
    assert np.array_equal(decode(file.getvalue()).pixels, colours)
    assert decode(file.getvalue(), mode="P").pixels.shape == (1, 2)


WHITE = {
    "bit": (np.ones((4, 6), bool), "PNG"),
    "grey": (np.full((4, 6), 255, np.uint8), "PNG"),
    "grey, alpha": (np.full((4, 6, 2), 255, np.uint8), "PNG"),
    "deep grey": (np.full((4, 6), 65_535, np.uint16), "PNG"),
    "colour": (np.full((4, 6, 3), 255, np.uint8), "PNG"),
    "colour, alpha": (np.full((4, 6, 4), 255, np.uint8), "PNG"),
    "print": (np.full((4, 6, 3), 255, np.uint8), "JPEG"),
}
#: What white is where it is not 255 in each band. Integers and floats have no white, nor do the
#: numbers of palettes; to LAB, Pillow has no way from colours.
WHITE_IN = {"I;16": 65_535, "CMYK": 0, "HSV": [0, 0, 255], "YCbCr": [255, 128, 128]}
WITHOUT_WHITE = ("I", "F", "P", "PA", "LAB")


@pytest.mark.parametrize("kind", WHITE)
@pytest.mark.parametrize("mode", sorted(images._DTYPES))
def test_white_stays_white_in_every_mode_or_the_mode_is_refused(kind, mode):
    pixels, format = WHITE[kind]
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert("CMYK") if kind == "print" else image).save(file, format)
    try:
        made = decode(file.getvalue(), size=(2, 3), mode=mode).pixels
    except ValueError:
        # Pillow has no way there, and says so.
        assert mode in ("LAB", "La", "RGBa", "PA")
        return
    schema = ImageFormat((2, 3), mode).schema()
    assert schema.field("image").type == tensor.from_ndarray(made[np.newaxis]).type
    if mode not in WITHOUT_WHITE:
        assert np.array_equal(made, np.broadcast_to(WHITE_IN.get(mode, 255), made.shape))


def test_a_palette_that_can_be_seen_through_has_a_fourth_band():
    palette = Image.fromarray(np.zeros((1, 2, 3), np.uint8)).quantize(2)
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=bytes([0, 255]))
    assert decode(file.getvalue()).pixels.shape == (1, 2, 4)
    assert decode(file.getvalue(), mode="RGB").pixels.shape == (1, 2, 3)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_of_several_pages_the_first_is_read_and_that_is_told_once(
    tmp_path, format, caplog, monkeypatch
):
    monkeypatch.setattr(images._has_told, "is_set", iter([False, True]).__next__)
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    for name in ("a", "b"):
        path = tmp_path / f"{name}.{format.lower()}"
        first.save(path, format, save_all=True, append_images=[second])
    with caplog.at_level(logging.WARNING):
        rows = rows_of(plan_images(tmp_path, mode="RGB"))
    assert all(np.asarray(row["image"]).reshape(-1, 3)[0, 0] > 250 for row in rows)
    (record,) = caplog.records
    assert "a." in record.getMessage()
    assert "several pages" in record.getMessage()


def test_the_usual_extensions_are_read(tmp_path):
    extensions = ("apng", "avif", "bmp", "gif", "jfif", "jpe", "JPEG", "jpg", "png")
    names = [f"a.{extension}" for extension in (*extensions, "tif", "tiff", "webp")]
    for name in names:
        save(tmp_path / name)
    listed = plan_images(tmp_path).files
    assert sorted(path.rpartition("/")[2] for path in listed) == sorted(names)
    assert len(rows_of(plan_images(tmp_path, size=(2, 2), mode="RGB"))) == len(names)


def test_paths_are_a_column(tmp_path):
    save(tmp_path / "a b.jpg")
    (table,) = tables_of(plan_images(tmp_path, include_paths=True))
    assert table.column_names == ["image", "path"]
    assert table.column("path").to_pylist() == [str(tmp_path / "a b.jpg")]


def test_each_image_is_a_unit_with_an_estimate(tmp_path):
    for number in range(5):
        save(tmp_path / f"{number}.jpg")
    source = plan_images(tmp_path, size=(10, 10), mode="RGB")
    assert [unit.nbytes for unit in source.units] == [300] * 5
    assert source.rows == 5
    assert all(unit.nbytes > 0 for unit in plan_images(tmp_path).units)
    assert len(plan_images(tmp_path, override_num_blocks=2).units) == 2


def test_an_empty_file_is_named_at_once(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ReadError, match="0 bytes") as caught:
        plan_images(tmp_path)
    assert caught.value.file == str(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["truncated", "text"])
def test_a_broken_image_is_named(tmp_path, kind):
    path = save(tmp_path / "a.jpg", (200, 200, 3))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if kind == "truncated" else b"this is text")
    source = plan_images(tmp_path)
    with pytest.raises(ReadError, match="cannot read this image") as caught:
        list(tables_of(source))
    assert caught.value.file == str(path)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "options",
    [
        {"size": (0, 5)},
        {"size": (5,)},
        {"size": 5},
        {"size": (1.5, 2)},
        {"size": "ab"},
        {"mode": "XYZ"},
        {"orientation": "sideways"},
        {"orientation": None},
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options):
    save(tmp_path / "a.png")
    with pytest.raises(ArgumentError, match=next(iter(options))):
        plan_images(tmp_path, **options)


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"millstream\[image\]"):
        plan_images(tmp_path)


PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("divisor", [2, 3, 4, 9])
def test_a_jpeg_that_is_decoded_smaller_looks_like_one_that_is_resized(tmp_path, name, divisor):
    """Where a size is asked for, libjpeg decodes to a half, a quarter or an eighth of it.

    It takes the mean of neighbours where resizing weighs those further away too, so that what
    comes out is sharper: of 255 levels it differs by less than 5 in the mean, and by less than 30
    in 99 of 100 pixels.
    """
    import skimage.data

    photo = getattr(skimage.data, name)()
    size = photo.shape[0] // divisor, photo.shape[1] // divisor
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=90)
    shown = image_of(plan_images(tmp_path, size=size, mode="RGB")).reshape(*size, 3)
    whole = Image.open(tmp_path / "a.jpg").resize(size[::-1], Image.Resampling.BILINEAR)
    apart = np.abs(shown.astype(int) - np.asarray(whole).astype(int))
    assert apart.mean() < 5
    assert np.percentile(apart, 99) < 30


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_that_lies_on_its_side_is_not_decoded_too_small(tmp_path, orientation):
    photo = np.zeros((96, 400, 3), np.uint8)
    photo[:, :200] = 255
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=95, exif=exif)
    size = (200, 48) if orientation > 4 else (48, 200)
    shown = image_of(plan_images(tmp_path, size=size, mode="RGB")).reshape(*size, 3)
    whole = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    resized = np.asarray(whole.resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(shown.astype(int) - resized).mean() < 2
