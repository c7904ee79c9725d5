"""From the bytes of a picture to its pixels, by Pillow, without what Pillow changes in silence.

Owns which way up a picture is, and how numbers of one depth become those of another. Must not know
files, sources or columns.

Numbers of up to 16 bits without a sign have a scale: their largest is white. So they can be scaled
to another depth. Others (32 bits, signed, floats) have none: they are kept, or it is an error.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Args:
        pixels: Of shape (height, width), or (height, width, bands) for several bands.
        has_more: Whether the file has further pages or frames.
    """

    pixels: Pixels
    has_more: bool


def decode(
    data: Any, *, size: tuple[int, int] | None = None, mode: str | None = None, upright: bool = True
) -> Picture:
    """Decodes a picture.

    Args:
        data: The bytes of the file.
        size: Height and width to resize to, of the picture as it comes out.
        mode: Pillow's name of the bands to convert to. "I" and "F" take numbers as they are, all
            others scale them. `None`: as they are stored, and the colours of palettes.
        upright: Whether it is turned as the file says that it is to be seen.

    Raises:
        ValueError: It is no picture, or the mode cannot hold it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        opened = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        # Pillow's own words name an address in memory.
        raise ValueError("it is of no format that Pillow knows") from error
    with opened:
        # The frames of this format are views of one scene, such as a photo and its depth.
        has_more = bool(getattr(opened, "is_animated", False)) and opened.format != "MPO"
        depth = _depth_of(opened)
        if depth.bits > 8 and len(opened.getbands()) > 1 and not (mode and _is_shallow(mode)):
            raise ValueError(
                f"it has {depth.bits} bits a band in several bands, of which Pillow reads 8: pass "
                "mode='RGB' or the like to have 8, or decode it in map() after read_binary_files"
            )
        if size is not None:
            _decode_smaller(opened, size, upright)
        image = _turned(opened, upright)
        if image.mode.startswith("I") or image.mode == "F" or depth.is_signed:
            return Picture(_of_numbers(image, depth, size, mode), has_more)
        return Picture(_of_colours(image, size, mode), has_more)


@dataclass(frozen=True)
class _Depth:
    """What the numbers of a file are.

    Args:
        bits: Of one band.
        is_signed: Whether there are negative ones.
        is_float: Whether they are no integers.
        is_inverted: Whether 0 is white, which Pillow does not look at in deep pictures.
    """

    bits: int
    is_signed: bool = False
    is_float: bool = False
    is_inverted: bool = False

    @property
    def white(self) -> int | None:
        """The number that is white; `None` if they have no scale."""
        has_scale = self.bits <= 16 and not self.is_signed and not self.is_float
        return 2**self.bits - 1 if has_scale else None


def _depth_of(image: Image.Image) -> _Depth:
    """Finds what the file holds, before its pixels are loaded."""
    mode = image.mode
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        kind = _first(tags.get(_SAMPLE_FORMAT, 1))
        inverted = mode.startswith("I") and tags.get(_PHOTOMETRIC) == 0
        bits = _first(tags.get(_BITS_PER_SAMPLE, 8))
        return _Depth(bits, kind == 2, kind == 3, inverted and kind == 1)
    # Before it is loaded, an image tells how its rows are stored.
    stored = [part for tile in getattr(image, "tile", ()) for part in _as_tuple(tile[3])]
    if any(isinstance(part, str) and ";16" in part for part in stored):
        return _Depth(16)
    if image.format == "PPM" and any(isinstance(part, int) and part > 255 for part in stored):
        # Pillow scales it to 16 bits.
        return _Depth(16)
    if mode == "F":
        return _Depth(32, is_float=True)
    if mode == "I":
        return _Depth(32, is_signed=True)
    return _Depth(16 if mode.startswith("I;16") else 8)


def _decode_smaller(image: Image.Image, size: tuple[int, int], upright: bool) -> None:
    """Has a JPEG decoded to a half, a quarter or an eighth, if that is no smaller than it will be.

    The decoder then takes the mean of neighbours, as resizing would, and need not make all of them.
    """
    if image.format != "JPEG":
        return
    height, width = size
    if upright and _orientation_of(image) in _SIDEWAYS:
        height, width = width, height
    image.draft(None, (width, height))


def _turned(image: Image.Image, upright: bool) -> Image.Image:
    """Loads the pixels and turns them, or turns them back where Pillow has turned them."""
    from PIL import Image

    orientation = _orientation_of(image)
    image.load()
    is_turned = _orientation_of(image) != orientation
    if is_turned == upright or orientation not in _TURNS:
        return image
    turn = _TURNS[orientation]
    return image.transpose(Image.Transpose[_BACK.get(turn, turn) if is_turned else turn])


def _orientation_of(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error):
        # Notes that are broken take nothing from the pixels.
        return 1


def _of_numbers(
    image: Image.Image, depth: _Depth, size: tuple[int, int] | None, mode: str | None
) -> Pixels:
    """Makes pixels of one band of numbers that are deeper than 8 bits, or signed."""
    from PIL import Image

    values = _stored(np.asarray(image), depth)
    if size is not None and values.shape != size:
        # Between numbers of a type, the mixed ones are of that type too.
        values = np.asarray(_resized(_imaged(values), size)).astype(values.dtype, copy=False)
    if mode is None:
        return values
    if mode == "F":
        return _exactly(values, np.float32, mode)
    if mode == "I" and not depth.is_float:
        return _exactly(values, np.int32, mode)
    if depth.white is None:
        if mode == "I;16" and not depth.is_float:
            return _exactly(values, np.uint16, mode)
        kind = "floats" if depth.is_float else "signed integers" if depth.is_signed else "integers"
        raise ValueError(
            f"its {kind} of {depth.bits} bits have no scale by which they would become "
            f"mode={mode!r}: read it without a mode, and scale the numbers yourself"
        )
    if mode == "I;16":
        return _scaled(values, depth.white, 65_535).astype(np.uint16)
    grey = Image.fromarray(_scaled(values, depth.white, 255).astype(np.uint8))
    return _of_colours(grey, None, mode)


def _stored(values: Pixels, depth: _Depth) -> Pixels:
    """Returns the numbers as the file has them, in native byte order."""
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if depth.bits == 32 and not depth.is_signed and not depth.is_float:
        return values.view(np.uint32)
    if depth.bits == 8 and depth.is_signed:
        return values.view(np.int8)
    if depth.white is None:
        return values
    values = values.astype(np.uint16, copy=False)
    return np.uint16(depth.white) - values if depth.is_inverted else values


def _imaged(values: Pixels) -> Image.Image:
    from PIL import Image

    if values.dtype in (np.uint16, np.float32):
        return Image.fromarray(values)
    if values.dtype == np.uint32 and values.max() > np.iinfo(np.int32).max:
        raise ValueError(f"numbers up to {values.max()} cannot be resized: read it without a size")
    return Image.fromarray(values.astype(np.int32))


def _exactly(values: Pixels, dtype: type[np.generic], mode: str) -> Pixels:
    """Converts numbers that all stay what they are.

    Raises:
        ValueError: One does not.
    """
    made = values.astype(dtype)
    if not np.array_equal(made.astype(np.float64), values.astype(np.float64), equal_nan=True):
        low, high = values.min(), values.max()
        raise ValueError(
            f"its numbers, from {low} to {high}, do not fit into mode={mode!r}: read it without a "
            "mode"
        )
    return made


def _scaled(values: Pixels, white: int, target: int) -> Pixels:
    wide = values.astype(np.uint64)
    return (wide * np.uint64(target) + np.uint64(white // 2)) // np.uint64(white)


def _of_colours(image: Image.Image, size: tuple[int, int] | None, mode: str | None) -> Pixels:
    """Makes pixels of bands of 8 bits, of bits, and of palettes."""
    image = _without_palette(image, mode)
    if size is not None:
        image = _resized(image, size)
    if mode == "I;16":
        return np.asarray(image.convert("L")).astype(np.uint16) * np.uint16(257)
    if mode is not None and image.mode != mode:
        image = image.convert(mode)
    pixels = np.asarray(image)
    # Arrow's booleans are bits, which no tensor library takes.
    return pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels


def _without_palette(image: Image.Image, mode: str | None) -> Image.Image:
    """Replaces bits, and the numbers of a palette's colours, by what can be mixed and seen."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode not in ("P", "PA") or image.mode == mode:
        return image
    # Straight to another mode, Pillow warns of some palettes and drops what they say.
    colours = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return colours if mode is None else colours.convert(_eight_bits(mode))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    from PIL import Image

    height, width = size
    if image.size == (width, height):
        return image
    return image.resize((width, height), resample=Image.Resampling.BILINEAR)


def _is_shallow(mode: str) -> bool:
    return mode not in ("I", "I;16", "F")


def _eight_bits(mode: str) -> str:
    return mode if _is_shallow(mode) and mode != "1" else "L"


def _first(value: Any) -> int:
    return int(_as_tuple(value)[0])


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


# Tags of EXIF and TIFF.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _SAMPLE_FORMAT = 258, 262, 274, 339
#: What makes a picture of each orientation upright: names of Pillow's `Transpose`.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
# Those that make height of width.
_SIDEWAYS = (5, 6, 7, 8)
# All others undo themselves.
_BACK = {"ROTATE_90": "ROTATE_270", "ROTATE_270": "ROTATE_90"}
