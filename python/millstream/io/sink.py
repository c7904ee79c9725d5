"""Writing files: each task writes staged files, which the commit puts in place.

Owns what all formats have in common: the plan of a write, and the folders of partitions.
`millstream.io.task_files` owns what goes into which file, `rewrites` which files are written again,
`commit` when they become visible. Knows no format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import ArgumentError, SchemaError
from millstream.io.addresses import Path, is_of_one_process, resolve
from millstream.io.commit import FolderCommit, namer, writing
from millstream.io.file_format import Destination, FileFormat
from millstream.io.partitions import partitions
from millstream.io.rewrites import Rewrite, Sizes, rewrites
from millstream.io.sink_options import SinkOptions
from millstream.io.task_files import TaskFiles, staged


def plan_write_files(
    path: Path,
    options: SinkOptions,
    format: FileFormat,
    *,
    stream_args: Mapping[str, Any] | None = None,
    is_divided: bool = False,
) -> tuple[WriteFiles, FolderCommit]:
    """Plans to write files into a folder.

    Args:
        path: The folder.
        options: What all writers of files take.
        format: What is in the files.
        stream_args: For `open_output_stream`, if not those of the options.
        is_divided: Whether the user has said into how many blocks the rows are divided.

    Returns:
        What the tasks do, and the driver's side of it.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    filesystem, (target,) = resolve([path], options.filesystem)
    if stream_args is None:
        stream_args = dict(options.arrow_open_stream_args or {})
    compression = stream_args.get("compression")
    extension = format.extension
    if compression:
        if not format.is_streamed:
            raise ArgumentError(
                f"{format.name} files cannot be compressed as a whole "
                f"(arrow_open_stream_args={stream_args!r}); they have a compression of their own"
            )
        extension += f".{_ENDINGS.get(compression, compression)}"
    destination = Destination(filesystem, target, "", format, stream_args)
    commit = FolderCommit(
        filesystem,
        target,
        mode=options.mode,
        try_create_dir=options.try_create_dir,
        name_file=namer(options.filename_provider, extension),
        write_empty=destination.write_empty,
    )
    if not format.is_rewritten:
        _require_written_once(format, options)
    # Who asks for files of a size, or divides the rows into so many blocks, wants as many files.
    is_open = not (options.min_rows_per_file or options.min_bytes_per_file or is_divided)
    is_open = is_open and format.is_rewritten and format.can_be_read_back
    transform = WriteFiles(
        destination=replace(destination, staging=commit.staging),
        partition_cols=options.partitions,
        sizes=Sizes(
            rows_min=options.min_rows_per_file or 0,
            rows_max=options.max_rows_per_file,
            bytes_min=options.min_bytes_per_file or (_BYTES_MIN if is_open else 0),
            bytes_small=_BYTES_SMALL if is_open else None,
        ),
    )
    return transform, commit


@dataclass(frozen=True)
class WriteFiles:
    """Writes the blocks of a task to staged files, and yields a row for each (`STAGED_SCHEMA`).

    A task writes one file, or one for each partition, and a further one where the most rows of a
    file or a change of types demands it.

    Args:
        destination: Where files are written, and how.
        partition_cols: Columns whose values become folders.
        sizes: How large files shall be.
    """

    destination: Destination
    partition_cols: tuple[str, ...] = ()
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def name(self) -> str:
        """What plans and reports call it: `"WriteParquet"`."""
        return f"Write{self.destination.format.name}"

    @property
    def is_of_one_process(self) -> bool:
        """Whether only this process will see what is written."""
        return is_of_one_process(self.destination.filesystem)

    def check(self, schema: pa.Schema, *, is_whole: bool = False) -> None:
        """Refuses columns that cannot be written so.

        Args:
            schema: Those of a block, or of the whole dataset.
            is_whole: Which of them: what a block cannot tell of a column, others may.

        Raises:
            SchemaError: A partition column does not exist, or no other is left, or the format
                cannot hold one of those.
        """
        block.require_columns(schema, self.partition_cols)
        visible = block.visible_schema(schema)
        rest = [field for field in visible if field.name not in self.partition_cols]
        if is_whole:
            self.destination.format.check(pa.schema(rest))
        if not rest:
            besides = f" besides the partition columns {list(self.partition_cols)}"
            raise SchemaError(
                f"{self.destination.format.name} files need at least one column"
                f"{besides if self.partition_cols else ''}"
            )

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Makes it ready."""
        settled = replace(self.destination, format=self.destination.format.settled())
        return lambda blocks: self._write(settled, blocks)

    def rewrites(self, reports: Sequence[pa.Table]) -> list[Rewrite]:
        """Finds which of the files that were reported must be written again.

        Raises:
            SchemaError: A column has types that no common type holds.
        """
        with writing(self.destination.target, "the files do not go together"):
            return rewrites(reports, self.destination, self.partition_cols, self.sizes)

    def _write(self, destination: Destination, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        task = TaskFiles(destination, self.sizes.rows_max)
        empty: pa.Schema | None = None
        try:
            for table in blocks:
                if table.num_rows == 0:
                    empty = block.visible_schema(table.schema)
                    continue
                self.check(table.schema)
                in_path = [table.schema.field(name) for name in self.partition_cols]
                for folder, part in partitions(block.plain(table), self.partition_cols):
                    yield from task.add(folder, part, in_path)
            yield from task.finish()
        finally:
            task.discard()
        if not task.rows and empty is not None:
            yield staged(None, "", 0, 0, empty)


def _require_written_once(format: FileFormat, options: SinkOptions) -> None:
    """Refuses sizes that only files which are written again could have.

    Raises:
        ArgumentError: There is one.
    """
    is_divided = options.min_rows_per_file is not None and options.partitions
    name = "min_bytes_per_file" if options.min_bytes_per_file is not None else None
    name = "min_rows_per_file with partition_cols" if is_divided else name
    if name is not None:
        raise ArgumentError(
            f"{format.name} files are not written again, so they take no {name}; "
            "min_rows_per_file alone and max_rows_per_file do"
        )


# Readers work best with files of some size.
_BYTES_MIN = 16 << 20
# Reading and writing so much again takes little of the time of a task.
_BYTES_SMALL = 1 << 20
#: How the names of compressed files end, where it is not the name of the codec.
_ENDINGS = {"gzip": "gz", "bzip2": "bz2", "zstd": "zst"}
