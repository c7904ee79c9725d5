"""Writing pictures with Pillow, a file for each row.

Owns which pixels a format of pictures holds so that `read_images` gives them back. Must not know
where files are, staged or committed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import tensor
from millstream.errors import ArgumentError, MissingPackageError, SchemaError
from millstream.errors.checks import check_choice, require
from millstream.errors.packages import require_package


@dataclass(frozen=True)
class ImageRows:
    """Pictures (`RowFormat`).

    Args:
        column: The tensor column with the pixels.
        file_format: One of `FILE_FORMATS`.
        quality: From 1 to 100, for formats that lose something.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: Pillow is not installed.
    """

    column: str
    file_format: str = "png"
    quality: int | None = None
    name: str = "Images"

    def __post_init__(self) -> None:
        require(isinstance(self.column, str), "column", self.column, "the name of a column")
        check_choice("file_format", self.file_format, FILE_FORMATS)
        quality = self.quality
        is_whole = isinstance(quality, int) and not isinstance(quality, bool)
        is_right = quality is None or (is_whole and 1 <= quality <= 100)
        require(is_right, "quality", quality, "a whole number from 1 to 100, or None")
        if quality is not None and self._kind.name not in _WITH_QUALITY:
            raise ArgumentError(
                f"quality={quality!r} is for JPEG, WebP and AVIF; {self._kind.name} loses nothing"
            )
        require_package("PIL", "write_images", "Pillow", "image")
        _require_known(self._kind.name)

    @property
    def endings(self) -> tuple[str, ...]:
        """How names end: first as the format was named."""
        others = [name for name, kind in _KINDS.items() if kind is self._kind]
        return tuple(dict.fromkeys([self.file_format, *others]))

    @property
    def columns(self) -> tuple[str, ...]:
        """The pixels."""
        return (self.column,)

    def check(self, schema: pa.Schema) -> None:
        """Refuses a column that holds no pixels of the format.

        Raises:
            SchemaError: It is one.
        """
        type = schema.field(self.column).type
        if not tensor.is_tensor(type):
            raise SchemaError(
                f"column {self.column!r} is {type}, and pictures are tensors of the shape (height, "
                "width) or (height, width, bands)"
            )
        dtype = np.dtype(type.value_type.to_pandas_dtype())
        shape = tuple(type.shape) if isinstance(type, pa.FixedShapeTensorType) else None
        problem = self._problem(dtype, shape)
        if problem is not None:
            raise SchemaError(f"column {self.column!r} is {type} ({dtype}): {problem}")

    def encode(self, values: Sequence[Any]) -> memoryview:
        """Returns the bytes of a picture.

        Raises:
            ValueError: The format cannot hold it.
        """
        from PIL import Image

        pixels = np.asarray(values[0])
        problem = self._problem(pixels.dtype, pixels.shape)
        if problem is not None:
            raise ValueError(f"it is {pixels.dtype} of the shape {pixels.shape}: {problem}")
        if (
            self._kind.drops_opaque_alpha
            and pixels.shape[2:] == (4,)
            and pixels[..., 3].min() == 255
        ):
            raise ValueError(
                f"{self._kind.name} does not keep an alpha that is 255 everywhere: write the first "
                "three bands"
            )
        file = io.BytesIO()
        try:
            Image.fromarray(np.ascontiguousarray(pixels)).save(
                file, self._kind.name, **self._options()
            )
        except (OSError, ValueError, OverflowError, SystemError) as error:
            raise ValueError(
                f"Pillow cannot write the shape {pixels.shape} as {self._kind.name}: {error}"
            ) from error
        return file.getbuffer()

    @property
    def _kind(self) -> _Kind:
        return _KINDS[self.file_format]

    def _options(self) -> dict[str, Any]:
        if self.quality is None:
            return dict(self._kind.options)
        return {"quality": self.quality}

    def _problem(self, dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> str | None:
        """Says why pixels cannot be written so that they come back, if so."""
        if shape is not None and 0 in shape:
            return "it has no pixels"
        if shape is not None and len(shape) == 3 and shape[2] == 1:
            return "a picture of one band has the shape (height, width): take [..., 0] of it"
        kind = self._kind
        allowed = kind.bands.get(dtype.name)
        if allowed is None:
            return f"{kind.name} holds {', '.join(kind.bands)}; {_advice(dtype, shape)}"
        if shape is not None and _bands_of(shape) not in allowed:
            shapes = " or ".join(_SHAPES[bands] for bands in allowed)
            return f"{kind.name} holds {dtype.name} of the shape {shapes}"
        return None


@dataclass(frozen=True)
class _Kind:
    """What a format holds.

    Args:
        name: Pillow's.
        bands: For each dtype, how many bands pictures may have.
        options: For Pillow, so that nothing is lost that need not be.
        drops_opaque_alpha: Whether an alpha without use is left out.
    """

    name: str
    bands: dict[str, tuple[int, ...]]
    options: dict[str, Any]
    drops_opaque_alpha: bool = False


def _require_known(name: str) -> None:
    """Refuses a format that this build of Pillow does not write.

    Raises:
        MissingPackageError: It does not.
    """
    from PIL import Image

    Image.init()
    if name not in Image.SAVE:
        raise MissingPackageError(
            f"this Pillow does not write {name}: pip install 'pillow>={_PILLOW_OF_ALL}'"
        )


def _bands_of(shape: tuple[int, ...]) -> int:
    """How many bands pixels of a shape have; 0 if they are no picture."""
    return 1 if len(shape) == 2 else shape[2] if len(shape) == 3 else 0


def _advice(dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> str:
    bands = 1 if shape is None else _bands_of(shape)
    for name in ("png", "tiff"):
        if bands in _KINDS[name].bands.get(dtype.name, ()):
            return f"take file_format={name!r}, or scale and convert the numbers"
    return "scale and convert the numbers"


_SHAPES = {
    1: "(height, width)",
    **{bands: f"(height, width, {bands})" for bands in (2, 3, 4)},
}
_PNG = _Kind("PNG", {"uint8": (1, 2, 3, 4), "uint16": (1,)}, {})
_TIFF = _Kind(
    "TIFF",
    {"uint8": (1, 2, 3, 4), "uint16": (1,), "int32": (1,), "float32": (1,)},
    {"compression": "tiff_adobe_deflate"},
)
_BMP = _Kind("BMP", {"uint8": (1, 3)}, {})
# Else it would mix what lies under transparent pixels.
_WEBP = _Kind("WEBP", {"uint8": (3, 4)}, {"lossless": True, "exact": True}, True)
_JPEG = _Kind("JPEG", {"uint8": (1, 3)}, {})
# Grey comes back in three bands from some versions of Pillow.
_AVIF = _Kind("AVIF", {"uint8": (3, 4)}, {}, True)
_KINDS = {
    **{"png": _PNG, "tiff": _TIFF, "tif": _TIFF, "bmp": _BMP, "webp": _WEBP},
    **{"jpeg": _JPEG, "jpg": _JPEG, "avif": _AVIF},
}
_WITH_QUALITY = ("JPEG", "WEBP", "AVIF")
# The first that writes all of these.
_PILLOW_OF_ALL = "11.3"
#: What `file_format` may be.
FILE_FORMATS = tuple(_KINDS)
