from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from io_sources import rows_of, table_of, tables_of
from PIL import Image

from millstream.errors import ArgumentError, ReadError
from millstream.io import images
from millstream.io.images import plan_images


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
        {"override_num_blocks": 0},
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options):
    save(tmp_path / "a.png")
    with pytest.raises(ArgumentError, match=next(iter(options))):
        plan_images(tmp_path, **options)


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"millstream\[image\]"):
        plan_images(tmp_path)
