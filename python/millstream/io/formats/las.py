"""Reading point clouds in LAS and LAZ files with laspy, a row a point.

Owns the plan, the format, and which values of a point become columns. Must not know what happens
to the rows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import columns as block_columns
from millstream.errors import MissingPackageError, SchemaError
from millstream.errors.checks import check_columns, require
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.row_ranges import RangedContents, plan_row_ranges
from millstream.io.formats.typed_files import TABLE_BYTES, pieces_of
from millstream.io.source import Source


def plan_las(
    paths: Paths,
    files: FileOptions,
    *,
    columns: str | Sequence[str] | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read LAS and LAZ files.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        columns: See `read_las`.
        blocks: Exactly so many units, as far as there are points.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: laspy, or lazrs for LAZ, is not installed.
        ReadError: A path does not exist, is empty or no LAS, or there is nothing to read.
        SchemaError: Points have no such value.
    """
    names = None if columns is None else tuple(check_columns("columns", columns))
    require(names != (), "columns", columns, "at least one name, or None")
    require_package("laspy", "read_las", "laspy", "las")
    listing = list_files(paths, files, reader="read_las")
    return plan_row_ranges("ReadLAS", listing, LasFormat(names), files, blocks=blocks)


@dataclass(frozen=True)
class LasFormat:
    """A file is points of one format.

    Args:
        columns: The values that become columns; `None`: all.
    """

    columns: tuple[str, ...] | None = None
    problem: str = "cannot read this LAS file"

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> RangedContents:
        """Reads the header of a file."""
        with _opened(filesystem, path) as reader:
            header = reader.header
            empty = self._table(reader.read_points(0), header, path)
            # In the chunks of LAZ, each point is told by those before it.
            step = _CHUNK_POINTS if header.are_points_compressed else 1
            return RangedContents(empty.schema, header.point_count, step)

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the points of a file in tables of bounded size."""
        return self.read_rows(filesystem, path, 0, None)

    def read_rows(
        self, filesystem: pa_fs.FileSystem, path: str, start: int, stop: int | None
    ) -> Iterator[pa.Table]:
        """Yields the points from `start` to `stop`."""
        with _opened(filesystem, path) as reader:
            header = reader.header
            stop = header.point_count if stop is None else stop
            step = max(1, TABLE_BYTES // (header.point_format.size + _ADDED_BYTES) // 2)
            if start == stop:
                yield self._table(reader.read_points(0), header, path)
            if start:
                reader.seek(start)
            while start < stop:
                count = min(step, stop - start)
                points = reader.read_points(count)
                if len(points) != count:
                    raise ValueError(f"it is cut off after point {start + len(points)}")
                start += count
                yield from pieces_of(self._table(points, header, path))

    def _table(self, points: Any, header: Any, path: str) -> pa.Table:
        known = list(header.point_format.dimension_names)
        names = [_SCALED.get(name, name) for name in known]
        unknown = [name for name in self.columns or () if name not in {*names, *known}]
        if unknown:
            raise SchemaError(
                f"points have no {', '.join(map(repr, unknown))}; they have "
                f"{', '.join(map(repr, names))}",
                file=path,
            )
        return pa.table({name: _column(points, name) for name in self.columns or names})


def _column(points: Any, name: str) -> Any:
    # Scaled values are views that compute them.
    array = np.asarray(points[name])
    native = array.dtype.newbyteorder("=")
    return block_columns.from_ndarray(np.ascontiguousarray(array, native))


@contextmanager
def _opened(filesystem: pa_fs.FileSystem, path: str) -> Iterator[Any]:
    """Opens a file.

    Raises:
        MissingPackageError: It is compressed, and nothing is there to uncompress it.
        ValueError: It is no LAS, or is cut off.
    """
    import laspy

    with open_file(filesystem, path) as file:
        _check_header(file)
        backend = laspy.LazBackend.Lazrs
        reader = laspy.open(file, closefd=False, laz_backend=backend, read_evlrs=False)
        header = reader.header
        if header.are_points_compressed and not backend.is_available():
            raise MissingPackageError(
                f"{path} is compressed, which needs lazrs: pip install 'millstream[las]'"
            )
        if not header.are_points_compressed:
            end = header.offset_to_point_data + header.point_count * header.point_format.size
            if end > file.size():
                raise ValueError(f"it is cut off: it has {file.size()} bytes and should have {end}")
        yield reader


def _check_header(file: pa.NativeFile) -> None:
    """Refuses a header that tells of more than there is, which laspy would look for long.

    Raises:
        ValueError: It does, or there is none.
    """
    header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(b"LASF"):
        raise ValueError("it has no header of LAS, or is cut off within it")
    size, points, notes = struct.unpack_from("<HII", header, _SIZES_AT)
    if size < _HEADER_BYTES or size + notes * _NOTE_BYTES > points or points > file.size():
        raise ValueError(
            f"it is cut off, or its header is damaged: of {size} bytes, with {notes} notes, and "
            f"points from byte {points} on"
        )
    file.seek(0)


#: What becomes of the whole numbers that points are stored as.
_SCALED = {"X": "x", "Y": "y", "Z": "z"}
_CHUNK_POINTS = 50_000
_HEADER_BYTES = 227
_NOTE_BYTES = 54
# Of the header, where the points begin, and the number of notes.
_SIZES_AT = 94
# Numbers of some bits become bytes, and those of x, y and z eight of them.
_ADDED_BYTES = 24
