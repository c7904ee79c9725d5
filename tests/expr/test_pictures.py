"""Bytes become pixels, pixels get other sizes, and become bytes again."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from millstream.blocks import tensor
from millstream.errors import ArgumentError, MissingPackageError, SchemaError, UserCodeError
from millstream.expr.program import Opened, Program
from millstream.expressions import col

X = col("x")


def column(expression, values):
    table = pa.table({"x": values})
    (made,) = Opened([expression]).columns(table)
    assert Program([expression], table.schema).types == [made.type]
    made.validate(full=True)
    return made


def pixels_of(column):
    return list(tensor.to_numpy(column))


def file_of(pixels, format="PNG", **options):
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, format, **options)
    return sink.getvalue()


def noise(height, width, bands=3, seed=0):
    shape = (height, width, bands) if bands else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_pictures_of_several_sizes_are_decoded():
    pictures = [noise(3, 4), noise(2, 5)]
    made = column(X.image.decode(), [file_of(pictures[0]), None, file_of(pictures[1])])
    first, gone, last = pixels_of(made)
    assert gone is None
    assert np.array_equal(first, pictures[0])
    assert np.array_equal(last, pictures[1])
    assert made.type == tensor.VariableShapeTensorType(pa.uint8(), 3)
    # One size says nothing of the next block.
    assert column(X.image.decode(), [file_of(pictures[0])]).type == made.type


def test_a_mode_says_the_bands_and_the_type():
    grey = noise(2, 3, 0)
    assert np.array_equal(pixels_of(column(X.image.decode("L"), [file_of(grey)]))[0], grey)
    (rgba,) = pixels_of(column(X.image.decode("RGBA"), [file_of(grey)]))
    assert rgba.shape == (2, 3, 4)
    deep = (noise(2, 3, 0).astype(np.uint16) * 257) + 1
    (made,) = pixels_of(column(X.image.decode("I;16"), [file_of(deep)]))
    assert np.array_equal(made, deep)


def test_pixels_are_as_a_person_sees_them():
    exif = Image.Exif()
    exif[274] = 6
    file = file_of(noise(2, 4), "JPEG", exif=exif)
    (made,) = pixels_of(column(X.image.decode(), [file]))
    assert made.shape == (4, 2, 3)


def test_what_is_no_picture_names_its_row():
    values = [file_of(noise(2, 2)), b"no picture"]
    with pytest.raises(UserCodeError, match=r"row 1 of its task: cannot decode col\('x'\)"):
        column(X.image.decode(), values)
    made = pixels_of(column(X.image.decode(on_error="null"), values))
    assert made[1] is None
    cut = file_of(noise(64, 64))[:-500]
    with pytest.raises(UserCodeError, match="row 0"):
        column(X.image.decode(), [cut])


def test_a_size_makes_the_type_one_of_one_shape():
    files = [file_of(noise(3, 4)), None, file_of(noise(20, 5))]
    made = column(X.image.decode().image.resize(6, 2), files)
    assert made.type == pa.fixed_shape_tensor(pa.uint8(), [2, 6, 3])
    assert pixels_of(made)[1] is None
    assert column(X.image.decode("L").image.resize(6, 2), files).type.shape == [2, 6]
    ragged = tensor.from_ndarrays([noise(2, 2), noise(3, 3)])
    made = column(X.image.resize(4, 4), ragged)
    assert made.type == tensor.VariableShapeTensorType(pa.uint8(), 3)
    assert [each.shape for each in pixels_of(made)] == [(4, 4, 3)] * 2
    fixed = tensor.from_ndarray(noise(2, 2)[np.newaxis])
    assert column(X.image.resize(4, 4), fixed).type.shape == [4, 4, 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("bands", [0, 1, 2, 3, 4])
def test_one_colour_stays_so_in_any_size_and_type(dtype, bands):
    shape = (1, 3, 5, bands) if bands else (1, 3, 5)
    pixels = np.full(shape, 200, dtype)
    (made,) = pixels_of(column(X.image.resize(7, 2), tensor.from_ndarray(pixels)))
    assert (made.dtype, made.shape) == (dtype, (2, 7, *shape[3:]))
    assert (made == 200).all()


def test_colours_that_cannot_be_seen_do_not_show():
    pixels = np.zeros((1, 2, 2, 4), np.uint8)
    pixels[0, :, 0] = (255, 0, 0, 255)
    pixels[0, :, 1] = (0, 255, 0, 0)
    (made,) = pixels_of(column(X.image.resize(8, 2), tensor.from_ndarray(pixels)))
    assert made[..., 1].max() == 0


def test_a_part_is_cut_out():
    pixels = noise(5, 6)
    (made,) = pixels_of(column(X.image.decode().image.crop(1, 2, 3, 2), [file_of(pixels)]))
    assert np.array_equal(made, pixels[2:4, 1:4])
    with pytest.raises(UserCodeError, match=r"row 0.*cannot crop.*6 x 5 pixels.*3 x 4 at 1, 2"):
        column(X.image.decode().image.crop(1, 2, 3, 4), [file_of(pixels)])


@pytest.mark.parametrize(
    ("format", "bands"),
    [(name, bands) for name in ("png", "webp", "tiff", "bmp") for bands in (0, 3, 4)][:-1],
)
@settings(max_examples=8, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_pixels_come_back_from_files(format, bands, height, width, seed):
    pixels = noise(height, width, bands, seed)
    mode = {0: "L", 3: "RGB", 4: "RGBA"}[bands]
    encoded = X.image.encode(format)
    made = column(encoded.image.decode(mode), tensor.from_ndarray(pixels[np.newaxis]))
    assert np.array_equal(pixels_of(made)[0], pixels)


def test_a_jpeg_is_one_and_has_no_transparency():
    made = column(X.image.encode("jpeg"), tensor.from_ndarray(noise(8, 8)[np.newaxis]))
    assert Image.open(io.BytesIO(made[0].as_py())).format == "JPEG"
    for format in ("jpeg", "bmp"):
        with pytest.raises(UserCodeError, match=f"a {format} file has no transparency"):
            column(X.image.encode(format), tensor.from_ndarray(noise(8, 8, 4)[np.newaxis]))


@pytest.mark.parametrize(
    ("expression", "type", "told"),
    [
        (X.image.decode(), pa.string(), "string is no picture file"),
        (X.image.resize(2, 2), pa.list_(pa.uint8()), "has no pixels"),
        (X.image.encode(), pa.binary(), "has no pixels"),
        (X.image.encode(), pa.fixed_shape_tensor(pa.float32(), [2, 2, 3]), "scale them"),
        (X.image.resize(2, 2), pa.fixed_shape_tensor(pa.float64(), [2, 2]), "cannot be resized"),
    ],
)
def test_other_types_are_an_error_before_anything_runs(expression, type, told):
    with pytest.raises(SchemaError, match=told):
        Program([expression], pa.schema([("x", type)]))


def test_arguments_that_make_no_sense_are_refused():
    for make, told in [
        (lambda: X.image.decode("sRGB"), "mode='sRGB' must be one of"),
        (lambda: X.image.decode(None), "mode=None must be one of"),
        (lambda: X.image.decode(on_error="drop"), "on_error='drop'"),
        (lambda: X.image.resize(0, 2), "width=0"),
        (lambda: X.image.resize(2, 1.5), "height=1.5"),
        (lambda: X.image.crop(-1, 0, 1, 1), "left=-1"),
        (lambda: X.image.encode("gif"), "format='gif'"),
        (lambda: X.image.decode("CMYK").image.resize(2, 2).image.encode(), "mode='CMYK' must be"),
    ]:
        with pytest.raises(ArgumentError, match=told):
            make()


def test_without_pillow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    assert importlib.util.find_spec("PIL") is not None
    with pytest.raises(MissingPackageError, match=r"pip install 'millstream\[image\]'"):
        X.image.decode()
