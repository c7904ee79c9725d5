"""Reading files as they are, one row a file.

Owns the plan and the format of binary files. Must not know what is inside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.io.files import Paths, Shuffle, list_files, open_file
from millstream.io.partitioning import Partitioning, PathPartitionFilter
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source, check_block_count


def plan_binary(
    paths: Paths,
    *,
    filesystem: Any = None,
    include_paths: bool = False,
    partitioning: Partitioning | None = None,
    partition_filter: PathPartitionFilter | None = None,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    ignore_missing_paths: bool = False,
    override_num_blocks: int | None = None,
) -> Source:
    """Plans to read whole files into the column "bytes", of 64-bit offsets.

    Args:
        paths: Files or folders, as for `list_files`.
        filesystem: From `pyarrow.fs` or fsspec; by default the paths tell.
        include_paths: Whether the column "path" says which file a row is.
        partitioning: How columns are written in the paths.
        partition_filter: Leaves out files by their partition values.
        shuffle: Whether the files are read in random order.
        file_extensions: Only files that end in one of these are read; `None`: all.
        ignore_missing_paths: Whether paths that do not exist are left out.
        override_num_blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, or there is nothing to read.
    """
    check_block_count(override_num_blocks)
    listing = list_files(
        paths,
        reader="read_binary_files",
        filesystem=filesystem,
        file_extensions=file_extensions,
        ignore_missing_paths=ignore_missing_paths,
        partition_filter=partition_filter,
        shuffle=shuffle,
    )
    return plan_files(
        "ReadBinaryFiles",
        listing,
        BinaryFormat(),
        PathColumns(partitioning, include_paths),
        schema=_SCHEMA,
        column="bytes",
        rows=len(listing.files),
        nbytes_of=lambda file: file.size,
        blocks=override_num_blocks,
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


_SCHEMA = pa.schema([("bytes", pa.large_binary())])
