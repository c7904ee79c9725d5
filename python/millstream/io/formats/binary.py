"""Reading files as they are, one row a file.

Owns the plan and the format of binary files. Must not know what is inside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source
from millstream.io.walk import InputFile


def plan_binary(paths: Paths, files: FileOptions, *, blocks: int | None = None) -> Source:
    """Plans to read whole files into the column "bytes", of 64-bit offsets.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, or there is nothing to read.
    """
    listing = list_files(paths, files, reader="read_binary_files", may_go_on=True)
    return plan_files(
        "ReadBinaryFiles",
        listing,
        BinaryFormat(),
        PathColumns(files.partitioning, files.include_paths),
        schema=_SCHEMA,
        column="bytes",
        nbytes_of=_size_of,
        rows_each=1,
        blocks=blocks,
    )


@dataclass(frozen=True)
class BinaryFormat:
    """A file is one row that holds its bytes."""

    problem: str = "cannot read this file"

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the file as a table of one row."""
        with open_file(filesystem, path) as file:
            data = file.read_buffer()
        offsets = pa.array([0, data.size], pa.int64()).buffers()[1]
        column = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])
        yield pa.table([column], schema=_SCHEMA)


def _size_of(file: InputFile) -> int:
    return file.size


_SCHEMA = pa.schema([("bytes", pa.large_binary())])
