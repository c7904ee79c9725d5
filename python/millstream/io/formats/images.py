"""Reading images with Pillow, one row a file.

Owns the plan and the format of image files. Must not know what happens to the pixels.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import tensor
from millstream.errors import ReadError
from millstream.errors.checks import check_choice, require
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats import pixels
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source
from millstream.io.walk import InputFile

#: "upright": as a person is meant to see it; "stored": as it lies in the file.
Orientation = Literal["upright", "stored"]


def plan_images(
    paths: Paths,
    files: FileOptions,
    *,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    orientation: Orientation = "upright",
    blocks: int | None = None,
) -> Source:
    """Plans to decode images into the tensor column "image".

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        size: See `read_images`.
        mode: See `read_images`.
        orientation: See `read_images`.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: Pillow is not installed.
        ReadError: A path does not exist, is empty, or there is nothing to read.
    """
    size = check_size(size, "size")
    check_orientation(orientation)
    require_package("PIL", "read_images", "Pillow", "image")
    if mode is not None:
        check_choice("mode", mode, sorted(_DTYPES))
    listing = list_files(paths, files, reader="read_images", may_go_on=True)
    for file in listing.files:
        if file.size == 0:
            raise ReadError("this file is empty (0 bytes), so it is no image", file=file.path)
    format = ImageFormat(size, mode, orientation)
    return plan_files(
        "ReadImages",
        listing,
        format,
        PathColumns(files.partitioning, files.include_paths),
        schema=format.schema(),
        column="image",
        nbytes_of=format.nbytes_of,
        rows_each=1,
        blocks=blocks,
    )


@dataclass(frozen=True)
class ImageFormat:
    """A file is one row that holds its pixels.

    Args:
        size: Height and width to resize to.
        mode: The bands to convert to.
        orientation: Whether they are turned as they are to be seen.
    """

    size: tuple[int, int] | None
    mode: str | None
    orientation: Orientation = "upright"
    problem: str = "cannot read this image"

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the image as a table of one row."""
        with open_file(filesystem, path) as file:
            data = file.read_buffer()
        upright = self.orientation == "upright"
        picture = pixels.decode(data, size=self.size, mode=self.mode, upright=upright)
        if picture.has_more:
            _tell_of_pages(path)
        yield pa.table({"image": tensor.from_ndarray(picture.pixels[np.newaxis])})

    def schema(self) -> pa.Schema | None:
        """Returns the column's type, if size and mode say it."""
        if self.size is None or self.mode is None:
            return None
        type = pa.fixed_shape_tensor(_DTYPES[self.mode], self._shape(self.size, self.mode))
        return pa.schema([("image", type)])

    def nbytes_of(self, file: InputFile) -> int:
        """Estimates the bytes of a decoded image."""
        if self.size is not None:
            mode = self.mode or "RGB"
            width = int(_DTYPES[mode].bit_width) // 8
            return int(np.prod(self._shape(self.size, mode))) * width
        extension = file.path.rpartition(".")[2].lower()
        return file.size * _GROWTH.get(extension, 1)

    def _shape(self, size: tuple[int, int], mode: str) -> tuple[int, ...]:
        bands = _BANDS.get(mode, 1)
        return (*size, bands) if bands > 1 else size


def check_size(size: Any, name: str) -> tuple[int, int] | None:
    """Checks a height and a width.

    Raises:
        ArgumentError: They are not two positive integers.
    """
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else ()
    is_right = len(pair) == 2 and all(_is_positive(number) for number in pair)
    require(is_right, name, size, "a positive (height, width), or None")
    return int(pair[0]), int(pair[1])


def check_orientation(orientation: Any) -> None:
    """Checks the way up that pixels are wanted.

    Raises:
        ArgumentError: It is none.
    """
    check_choice("orientation", orientation, ("upright", "stored"))


def _tell_of_pages(path: str) -> None:
    """Says once in each process that only first pages are read."""
    if not _has_told.is_set():
        _has_told.set()
        _log.warning(
            "%s has several pages or frames, of which read_images reads the first; so it does with "
            "any other such file",
            path,
        )


def _is_positive(number: Any) -> bool:
    is_integer = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    return is_integer and int(number) > 0


_DTYPES = {
    **dict.fromkeys(["1", "L", "P", "LA", "PA", "La"], pa.uint8()),
    **dict.fromkeys(["RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"], pa.uint8()),
    "I": pa.int32(),
    "I;16": pa.uint16(),
    "F": pa.float32(),
}
_BANDS = {
    **dict.fromkeys(["LA", "PA", "La"], 2),
    **dict.fromkeys(["RGB", "YCbCr", "LAB", "HSV"], 3),
    **dict.fromkeys(["RGBA", "RGBX", "RGBa", "CMYK"], 4),
}
# How many times larger pixels are than their file, about.
_GROWTH = {
    **dict.fromkeys(["jpg", "jpeg", "jpe", "jfif"], 12),
    **{"webp": 16, "avif": 24, "png": 3, "gif": 12, "tif": 1, "tiff": 1, "bmp": 1},
}
_log = logging.getLogger(__name__)
_has_told = threading.Event()
