"""Whether all pages of a TIFF file, and all parts of a page, are there.

Owns the checks that tifffile leaves out: it ends its list of pages where it is damaged, and gives
zeros for parts that are not there. Must not know what is a row.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffFrame, TiffPage


def check_pages(tiff: TiffFile, file: pa.NativeFile) -> None:
    """Refuses a file whose list of pages is cut off, or damaged.

    Raises:
        ValueError: It is.
    """
    form = tiff.tiff
    size = file.size()
    file.seek(8 if form.offsetsize == _LONG else 4)
    place, seen = _number(file, form.offsetsize, form.byteorder), set[int]()
    # Files of Hamamatsu have offsets of another kind.
    while place and not tiff.is_ndpi:
        if place in seen or place >= size:
            raise ValueError(f"its list of pages is cut off after {len(seen)} of them")
        seen.add(place)
        file.seek(place)
        tags = _number(file, form.tagnosize, form.byteorder)
        file.seek(place + form.tagnosize + tags * form.tagsize)
        place = _number(file, form.offsetsize, form.byteorder)
    found = len(tiff.pages)
    if not tiff.is_ndpi and found != len(seen):
        raise ValueError(f"its list of pages is damaged after {found} of {len(seen)}")
    if not found:
        raise ValueError("there are no pages in it")
    # Of these, not all pages need be in the list.
    is_described = tiff.is_imagej or tiff.is_shaped
    if is_described and tiff.series[0].kind not in ("imagej", "shaped"):
        raise ValueError("what it tells of its pages is not so: it is cut off, or damaged")


def check_segments(number: int, page: TiffPage | TiffFrame, file: pa.NativeFile) -> None:
    """Refuses a page that is cut off, and tells of parts that are not there.

    Args:
        number: That of the page, for messages.
        page: The page.
        file: The file.

    Raises:
        ValueError: It is cut off.
    """
    size = file.size()
    pairs = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    for offset, count in pairs:
        if offset + count > size:
            raise ValueError(
                f"it is cut off: page {number} goes on to byte {offset + count} of {size}"
            )
    missing = sum(1 for offset, count in pairs if not offset or not count)
    if missing:
        _log.warning(
            "read_tiff: %d of %d parts of page %d are not in the file, so that their values are %s",
            missing,
            len(pairs),
            number,
            page.nodata,
        )


def _number(file: pa.NativeFile, size: int, order: str) -> int:
    data = file.read(size)
    if len(data) < size:
        raise ValueError("its list of pages is cut off")
    return int.from_bytes(data, "little" if order == "<" else "big")


_log = logging.getLogger(__name__)
# The bytes of offsets in BigTIFF.
_LONG = 8
