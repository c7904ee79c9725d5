"""Writing Parquet: each task writes staged files, which the commit puts in place.

Owns the options and the folders of partitions. `writer` owns what goes into
which file, `merge` which files are written again, `commit` when they become visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import SchemaError
from millstream.errors.checks import check_function
from millstream.io.addresses import Path, is_of_one_process, resolve
from millstream.io.commit import FolderCommit, namer, writing
from millstream.io.formats.parquet.merge import Rewrite, Sizes, rewrites
from millstream.io.formats.parquet.writer import (
    ParquetOptions,
    TaskFiles,
    can_be_read_back,
    check_parquet_args,
    staged,
)
from millstream.io.partitions import partitions
from millstream.io.sink_options import SinkOptions


def plan_write_parquet(
    path: Path,
    options: SinkOptions,
    *,
    arrow_parquet_args_fn: Callable[[], Mapping[str, Any]] | None = None,
    is_divided: bool = False,
    **arrow_parquet_args: Any,
) -> tuple[WriteParquet, FolderCommit]:
    """Plans to write Parquet files into a folder.

    Args:
        path: The folder.
        options: What all writers of files take.
        arrow_parquet_args_fn: Gives further `arrow_parquet_args`, called in the workers.
        is_divided: Whether the user has said into how many blocks the rows are divided.
        arrow_parquet_args: For `pyarrow.parquet.ParquetWriter`, and `row_group_size`.

    Returns:
        What the tasks do, and the driver's side of it.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    names = options.partitions
    check_function(
        "arrow_parquet_args_fn", arrow_parquet_args_fn, "a function that returns a dict, or None"
    )
    check_parquet_args(arrow_parquet_args)
    filesystem, (target,) = resolve([path], options.filesystem)
    stream_args = dict(options.arrow_open_stream_args or {})
    if "compression" in stream_args:
        # A compressed stream is no Parquet file; within the file it is what was meant.
        arrow_parquet_args.setdefault("compression", stream_args.pop("compression"))
    if arrow_parquet_args.get("schema") is not None:
        in_file = [field for field in arrow_parquet_args["schema"] if field.name not in names]
        arrow_parquet_args["schema"] = pa.schema(in_file, arrow_parquet_args["schema"].metadata)
    written = ParquetOptions(
        filesystem, target, stream_args, arrow_parquet_args, arrow_parquet_args_fn
    )
    commit = FolderCommit(
        filesystem,
        target,
        mode=options.mode,
        try_create_dir=options.try_create_dir,
        name_file=namer(options.filename_provider, "parquet"),
        write_empty=written.write_empty,
    )
    # Who asks for files of a size, or divides the rows into so many blocks, wants as many files.
    is_open = not (options.min_rows_per_file or options.min_bytes_per_file or is_divided)
    is_open = is_open and can_be_read_back(arrow_parquet_args)
    transform = WriteParquet(
        options=written,
        staging=commit.staging,
        partition_cols=names,
        sizes=Sizes(
            rows_min=options.min_rows_per_file or 0,
            rows_max=options.max_rows_per_file,
            bytes_min=options.min_bytes_per_file or (_BYTES_MIN if is_open else 0),
            bytes_small=_BYTES_SMALL if is_open else None,
        ),
    )
    return transform, commit


@dataclass(frozen=True)
class WriteParquet:
    """Writes the blocks of a task to staged files, and yields a row for each (`STAGED_SCHEMA`).

    A task writes one file, or one for each partition, and a further one where the most rows of a
    file or a change of types demands it.

    Args:
        options: How files are written.
        staging: The folder to write to.
        partition_cols: Columns whose values become folders.
        sizes: How large files shall be.
    """

    options: ParquetOptions
    staging: str
    partition_cols: tuple[str, ...] = ()
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return "WriteParquet"

    @property
    def is_of_one_process(self) -> bool:
        """Whether only this process will see what is written."""
        return is_of_one_process(self.options.filesystem)

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that cannot be written so.

        Raises:
            SchemaError: A partition column does not exist, or no other is left.
        """
        block.require_columns(schema, self.partition_cols)
        if not set(block.visible_schema(schema).names) - set(self.partition_cols):
            raise SchemaError(
                "a Parquet file needs at least one column "
                f"besides the partition columns {list(self.partition_cols)}"
            )

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Makes it ready."""
        options = self.options.settled()
        return lambda blocks: self._write(options, blocks)

    def rewrites(self, reports: Sequence[pa.Table]) -> list[Rewrite]:
        """Finds which of the files that were reported must be written again.

        Raises:
            SchemaError: A column has types that no common type holds.
        """
        with writing(self.options.target, "the files do not go together"):
            return rewrites(reports, self.options, self.staging, self.partition_cols, self.sizes)

    def _write(self, options: ParquetOptions, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        task = TaskFiles(options, self.staging, self.sizes.rows_max)
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


# Readers work best with files of some size.
_BYTES_MIN = 16 << 20
# Reading and writing so much again takes little of the time of a task.
_BYTES_SMALL = 1 << 20
