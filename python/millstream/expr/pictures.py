"""What expressions do with pictures: from bytes to pixels, other sizes, and back to bytes.

Owns `Expr.image`, and the types of columns of pixels. `millstream.io.formats.pixels` owns what the
numbers mean.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from millstream.blocks import tensor
from millstream.blocks.common_type import is_bytes
from millstream.blocks.convert import nulls
from millstream.errors.checks import check_choice, check_count, require
from millstream.errors.packages import require_package
from millstream.expr.nodes import Alias, Expr
from millstream.expr.rows import OnError, check_on_error, made_of_each
from millstream.expr.udf import Function, Udf

Pixels = np.ndarray[Any, Any]
Mode = Literal["RGB", "RGBA", "L", "CMYK", "YCbCr", "HSV", "LA", "I", "I;16", "F"]
Format = Literal["png", "jpeg", "webp", "tiff", "bmp"]


class Images:
    """Pictures: the bytes of files, or pixels.

    Args:
        expr: What gives them.

    Raises:
        MissingPackageError: Pillow is not installed.
    """

    def __init__(self, expr: Expr) -> None:
        require_package("PIL", ".image", "Pillow", "image")
        self._expr = expr

    def decode(self, mode: Mode = "RGB", *, on_error: OnError = "raise") -> Expr:
        """The pixels of the bytes of picture files, as a person sees them, as `read_images` does.

        Args:
            mode: Pillow's name of the bands: all pictures have as many.
            on_error: `"raise"`: what is no picture ends the run with an error that names the row.
                `"null"`: it is null.

        Raises:
            ArgumentError: There is no such mode.
        """
        check_choice("mode", mode, sorted(_BANDS))
        check_on_error(on_error)
        return self._made(Decode(repr(self._expr), mode, on_error))

    def resize(self, width: int, height: int) -> Expr:
        """The pixels in another size, by linear interpolation.

        Args:
            width: In pixels.
            height: In pixels.

        Raises:
            ArgumentError: One is below 1.
        """
        check_count("width", width, optional=False)
        check_count("height", height, optional=False)
        return self._made(Resize(repr(self._expr), width, height, _mode_of(self._expr)))

    def crop(self, left: int, top: int, width: int, height: int) -> Expr:
        """A part of the pixels. A picture that does not have all of it is an error.

        Args:
            left: The first column of the part, from 0.
            top: The first row of the part, from 0.
            width: In pixels.
            height: In pixels.

        Raises:
            ArgumentError: The part is outside of all pictures, or empty.
        """
        check_count("left", left, least=0, optional=False)
        check_count("top", top, least=0, optional=False)
        check_count("width", width, optional=False)
        check_count("height", height, optional=False)
        box = (left, top, width, height)
        return self._made(Crop(repr(self._expr), width, height, _mode_of(self._expr), box))

    def encode(self, format: Format = "png") -> Expr:
        """The bytes of a picture file, of pixels of 8 bits: grey, RGB or RGBA.

        Args:
            format: `"png"`, `"webp"`, `"tiff"` and `"bmp"` give the same pixels again, `"jpeg"`
                does not. RGBA is an error in `"jpeg"` and `"bmp"`, which lose the transparency.

        Raises:
            ArgumentError: There is no such format, or it is known that the bands are others.
        """
        check_choice("format", format, sorted(_OPTIONS))
        mode = _mode_of(self._expr)
        is_right = mode in (None, "L", "RGB", "RGBA")
        require(is_right, "mode", mode, "'L', 'RGB' or 'RGBA' where pixels are encoded")
        return self._made(Encode(repr(self._expr), format))

    def _made(self, step: _Step) -> Expr:
        function = Function(step, step.type_of, is_large=True)
        return Udf(function, [self._expr], {})


@dataclass(frozen=True)
class _Step:
    """A function of pictures.

    Args:
        told: What gives them, for errors.
    """

    told: str

    @property
    def __name__(self) -> str:
        """What plans call it."""
        return self._word

    _word: ClassVar[str]

    def type_of(self, type: pa.DataType) -> pa.DataType:
        """The type of what it makes.

        Raises:
            TypeError: It is not for this type.
        """
        raise NotImplementedError

    def __call__(self, values: pa.Array) -> pa.Array | pa.ChunkedArray:
        """What it makes of a column."""
        made = made_of_each(self._given(values), self._make, self._what, self._on_error)
        type = self.type_of(values.type)
        if all(each is None for each in made):
            return nulls(len(made), type)
        if not tensor.is_tensor(type):
            return pa.array(made, type)
        return tensor.from_ndarrays(made)

    def _given(self, values: pa.Array) -> Sequence[Any]:
        if pa.types.is_null(values.type):
            return [None] * len(values)
        pixels = tensor.to_numpy(pa.chunked_array([values]))
        return list(pixels)

    def _make(self, value: Any) -> Any:
        raise NotImplementedError

    @property
    def _what(self) -> str:
        return f"cannot {self._word} {self.told}"

    @property
    def _on_error(self) -> OnError:
        return "raise"


@dataclass(frozen=True)
class Decode(_Step):
    """Makes pixels of bytes.

    Args:
        mode: See `Images.decode`.
        on_error: See `Images.decode`.
    """

    mode: Mode
    on_error: OnError
    _word = "decode"

    def type_of(self, type: pa.DataType) -> pa.DataType:
        """The type of the pixels.

        Raises:
            TypeError: It gets no bytes.
        """
        if not is_bytes(type) and not pa.types.is_null(type):
            raise TypeError(f"{type} is no picture file: it must be bytes")
        return tensor.VariableShapeTensorType(_VALUES[self.mode], 3 if _BANDS[self.mode] > 1 else 2)

    def _given(self, values: pa.Array) -> Sequence[Any]:
        return [value.as_buffer() if value.is_valid else None for value in values]

    def _make(self, value: Any) -> Pixels:
        from PIL import Image

        from millstream.io.formats import pixels

        try:
            return pixels.decode(value, mode=self.mode).pixels
        except (SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise ValueError(str(error)) from error

    @property
    def _on_error(self) -> OnError:
        return self.on_error


@dataclass(frozen=True)
class Resize(_Step):
    """Makes pictures of one size.

    Args:
        width: In pixels.
        height: In pixels.
        mode: What the bands are; `None` if it is not said.
    """

    width: int
    height: int
    mode: str | None
    _word = "resize"

    def type_of(self, type: pa.DataType) -> pa.DataType:
        """The type of the pixels.

        Raises:
            TypeError: It gets none.
        """
        value_type, ndim = _pixel_type(type)
        if value_type not in _IMAGED:
            raise TypeError(f"pixels of {value_type} cannot be resized: cast them")
        bands: Sequence[int] | None = () if ndim == 2 else None
        if isinstance(type, pa.FixedShapeTensorType):
            bands = type.shape[2:]
        elif ndim == 3 and self.mode is not None:
            bands = (_BANDS[self.mode],)
        if bands is None:
            return tensor.VariableShapeTensorType(value_type, ndim)
        return pa.fixed_shape_tensor(value_type, [self.height, self.width, *bands])

    def _make(self, value: Pixels) -> Pixels:
        bands = value.shape[2] if value.ndim == 3 else 1
        has_alpha = bands == 4 and self.mode in (None, "RGBA")
        if value.dtype == np.uint8 and (value.ndim == 2 or bands == 3 or has_alpha):
            # With transparency, the colours of what cannot be seen must not show.
            return self._resized(value)
        if value.ndim == 2:
            return self._resized(value)
        return np.stack([self._resized(value[..., band]) for band in range(bands)], axis=-1)

    def _resized(self, value: Pixels) -> Pixels:
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(value))
        made = image.resize((self.width, self.height), resample=Image.Resampling.BILINEAR)
        return np.asarray(made).astype(value.dtype, copy=False)


@dataclass(frozen=True)
class Crop(Resize):
    """Cuts a part out of pictures.

    Args:
        box: Left, top, width and height of the part.
    """

    box: tuple[int, int, int, int]
    _word = "crop"

    def _make(self, value: Pixels) -> Pixels:
        left, top, width, height = self.box
        rows, columns = value.shape[:2]
        if left + width > columns or top + height > rows:
            raise ValueError(
                f"the picture has {columns} x {rows} pixels (width x height), and no part of "
                f"{width} x {height} at {left}, {top}"
            )
        return value[top : top + height, left : left + width]


@dataclass(frozen=True)
class Encode(_Step):
    """Makes files of pixels.

    Args:
        format: See `Images.encode`.
    """

    format: Format
    _word = "encode"

    def type_of(self, type: pa.DataType) -> pa.DataType:
        """Bytes.

        Raises:
            TypeError: It gets no pixels of 8 bits.
        """
        value_type, _ = _pixel_type(type)
        if not pa.types.is_uint8(value_type) and not pa.types.is_null(type):
            raise TypeError(f"pixels of {value_type} cannot be encoded: scale them to uint8")
        return pa.large_binary()

    def _make(self, value: Pixels) -> bytes:
        from PIL import Image

        bands = value.shape[2] if value.ndim == 3 else 0
        if bands not in (0, 3, 4) or 0 in value.shape:
            raise ValueError(f"pixels of shape {value.shape} are no grey, RGB or RGBA picture")
        if bands == 4 and self.format in _OPAQUE:
            raise ValueError(
                f"a {self.format} file has no transparency that all readers see: decode to RGB "
                "before, or encode to png"
            )
        sink = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(value)).save(
            sink, self.format, **_OPTIONS[self.format]
        )
        return sink.getvalue()


def _pixel_type(type: pa.DataType) -> tuple[pa.DataType, int]:
    """The type of the numbers, and how many dimensions there are.

    Raises:
        TypeError: They are no pixels.
    """
    if pa.types.is_null(type):
        return pa.uint8(), 3
    ndim = tensor.dimensions_of(type) if tensor.is_tensor(type) else None
    if ndim not in (2, 3):
        raise TypeError(
            f"{type} has no pixels: they are tensors of shape (height, width) or (height, width, "
            "bands), as of image.decode() and read_images"
        )
    return type.value_type, ndim


def _mode_of(expr: Expr) -> str | None:
    """What the bands of pixels are, if their expression says so."""
    while isinstance(expr, Alias):
        (expr,) = expr.args
    step = expr.function.function if isinstance(expr, Udf) else None
    return step.mode if isinstance(step, Decode | Resize) else None


_BANDS: dict[str, int] = {
    **dict.fromkeys(["L", "I", "I;16", "F"], 1),
    "LA": 2,
    **dict.fromkeys(["RGB", "YCbCr", "HSV"], 3),
    **dict.fromkeys(["RGBA", "CMYK"], 4),
}
_VALUES: dict[str, pa.DataType] = {
    **dict.fromkeys(_BANDS, pa.uint8()),
    "I": pa.int32(),
    "I;16": pa.uint16(),
    "F": pa.float32(),
}
#: What Pillow has pictures of one band of.
_IMAGED = (pa.uint8(), pa.uint16(), pa.int32(), pa.float32())
# Pillow writes the transparency of a BMP, but does not read it.
_OPAQUE = ("jpeg", "bmp")
_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {},
    "jpeg": {"quality": 95},
    "webp": {"lossless": True, "exact": True},
    "tiff": {},
    "bmp": {},
}
