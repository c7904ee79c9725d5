"""Reading TIFF files as stacks of pages, with tifffile: scientific images of any type and size.

Owns the plan, the format, and what is a row. `tiff_pages` owns whether all pages are there. Must
not know what happens to the rows. `images` reads TIFF as pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import tensor
from millstream.errors import SchemaError
from millstream.errors.checks import check_choice, check_count
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.tiff_pages import check_pages, check_segments
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source, blaming

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

Array = np.ndarray[Any, Any]


def plan_tiff(
    paths: Paths,
    files: FileOptions,
    *,
    pages: str = "rows",
    series: int | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read TIFF files.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        pages: See `read_tiff`.
        series: See `read_tiff`.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: tifffile is not installed.
        ReadError: A path does not exist, the first file is no TIFF, or there is nothing to read.
        SchemaError: The first file has values that no column holds.
    """
    check_choice("pages", pages, ("rows", "stack"))
    check_count("series", series, least=0)
    require_package("tifffile", "read_tiff", "tifffile", "tiff")
    listing = list_files(paths, files, reader="read_tiff", may_go_on=True)
    format = TiffFormat(pages == "stack", series)
    first = listing.files[0].path
    with blaming(first, format.problem):
        format.check(listing.filesystem, first)
    return plan_files(
        "ReadTIFF",
        listing,
        format,
        PathColumns(files.partitioning, files.include_paths),
        schema=None,
        column="pixels",
        nbytes_of=lambda file: file.size,
        blocks=blocks,
    )


@dataclass(frozen=True)
class TiffFormat:
    """A file is series of pages; those of a series are of one shape and type.

    Args:
        is_stacked: Whether a series is one row, or each of its pages.
        series: The number of the series that is read; `None`: all.
    """

    is_stacked: bool
    series: int | None
    problem: str = "cannot read this TIFF file"

    def check(self, filesystem: pa_fs.FileSystem, path: str) -> None:
        """Reads what a file tells of its pages, and none of them."""
        with open_file(filesystem, path) as file, _opened(file) as tiff:
            self._chosen(tiff, path)

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the pages in tables of bounded size."""
        with open_file(filesystem, path) as file, _opened(file) as tiff:
            for number, series in self._chosen(tiff, path):
                pages = _pages(series, file)
                if self.is_stacked:
                    yield _stack(number, series, np.stack(list(pages)))
                else:
                    yield from _rows(number, series, pages)

    def _chosen(self, tiff: TiffFile, path: str) -> list[tuple[int, TiffPageSeries]]:
        found = list(enumerate(tiff.series))
        if self.series is not None and self.series >= len(found):
            raise ValueError(f"there is no series {self.series}: there are {len(found)}")
        chosen = found if self.series is None else [found[self.series]]
        for number, series in chosen:
            if not tensor.is_tensor_dtype(series.dtype) or series.dtype.kind not in "biuf":
                raise SchemaError(
                    f"series {number} has values of dtype {series.dtype}, which no column holds; "
                    "choose another one with series=",
                    file=path,
                )
        return chosen


def _opened(file: pa.NativeFile) -> TiffFile:
    """Opens a file.

    Raises:
        ValueError: It is no TIFF, or its list of pages is cut off.
    """
    from tifffile import TiffFile

    # It may name others, which would be read too.
    tiff = TiffFile(cast(Any, file), _multifile=False)
    check_pages(tiff, file)
    return tiff


def _pages(series: TiffPageSeries, file: pa.NativeFile) -> Iterator[Array]:
    """Yields the pages of a series.

    Raises:
        ValueError: One is not there, or is cut off.
    """
    pages = list(series.pages)
    shape = series.keyframe.shape
    planes = math.prod(series.get_shape(False)) // max(1, math.prod(shape))
    if planes > len(pages) == 1:
        yield from _planes(series, file, planes)
        return
    for number, page in enumerate(pages):
        if page is None or page.parent is not series.parent:
            raise ValueError(f"page {number} is not there; it may be in another file")
        check_segments(number, page, file)
        try:
            made = page.asarray(maxworkers=1)
        except Exception as error:
            raise ValueError(f"page {number}: {error}") from error
        yield np.ascontiguousarray(made, series.dtype.newbyteorder("=")).reshape(shape)
    if len(pages) < planes:
        raise ValueError(f"it tells of {planes} pages, and there are {len(pages)}")


def _planes(series: TiffPageSeries, file: pa.NativeFile, planes: int) -> Iterator[Array]:
    """Yields pages that lie behind the first one, which alone is listed."""
    first = series.dataoffset
    if first is None:
        raise ValueError(f"it tells of {planes} pages in one, which do not lie in one piece")
    keyframe = series.keyframe
    dtype = np.dtype(series.dtype).newbyteorder(keyframe.parent.byteorder)
    size = math.prod(keyframe.shape) * dtype.itemsize
    for number in range(planes):
        file.seek(first + number * size)
        data = file.read(size)
        if len(data) < size:
            raise ValueError(f"it is cut off within page {number} of {planes}")
        made = np.frombuffer(data, dtype).reshape(keyframe.shape)
        yield made.astype(dtype.newbyteorder("="))


def _rows(number: int, series: TiffPageSeries, pages: Iterator[Array]) -> Iterator[pa.Table]:
    held: list[Array] = []
    start = 0
    for page in pages:
        held.append(page)
        if len(held) * page.nbytes >= TABLE_BYTES // 2:
            yield _table(number, series, held, start)
            start += len(held)
            held = []
    if held:
        yield _table(number, series, held, start)


def _table(number: int, series: TiffPageSeries, held: list[Array], start: int) -> pa.Table:
    rows = len(held)
    return pa.table(
        {
            "pixels": tensor.from_ndarray(np.stack(held)),
            "series": pa.array([number] * rows, pa.int64()),
            "page": pa.array(range(start, start + rows), pa.int64()),
            "axes": pa.array([series.keyframe.axes] * rows, pa.string()),
            "photometric": pa.array([_photometric(series)] * rows, pa.string()),
        }
    )


def _stack(number: int, series: TiffPageSeries, pages: Array) -> pa.Table:
    return pa.table(
        {
            "pixels": tensor.from_ndarray(pages[None]),
            "series": pa.array([number], pa.int64()),
            "axes": pa.array([series.keyframe.axes], pa.string()),
            "photometric": pa.array([_photometric(series)], pa.string()),
            "series_axes": pa.array([series.get_axes(False)], pa.string()),
            "series_shape": pa.array([series.get_shape(False)], pa.list_(pa.int64())),
        }
    )


def _photometric(series: TiffPageSeries) -> str:
    found = series.keyframe.photometric
    return str(getattr(found, "name", found))
