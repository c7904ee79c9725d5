"""What writers of files take besides the folder: said, documented and checked once.

Is loaded with each dataset, so it must import little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.errors import ArgumentError
from millstream.errors.checks import check_columns, check_count, check_flag, check_named, require


@dataclass(frozen=True)
class SinkOptions:
    """What writers of files take besides the folder.

    Args:
        partition_cols: Columns whose values become folders (`year=2024/`), not columns. Parquet
            files note their types, so that `read_parquet` gives them back.
        filesystem: From `pyarrow.fs` or fsspec; by default the path tells.
        try_create_dir: Whether the folder is made if it does not exist.
        arrow_open_stream_args: Passed to `open_output_stream` of the file system.
        filename_provider: Its `get_filename_for_task(run_id, index)` names the files.
        min_rows_per_file: Small blocks are bundled until a file has as many rows, also with
            `partition_cols`; the last file, of each folder, may have fewer.
        max_rows_per_file: Rows that a file has at most.
        min_bytes_per_file: Files are put together until they have as many bytes; the last file,
            of each folder, may have fewer. Unless this, `min_rows_per_file` or
            `override_num_blocks` of the source is given, files below 1 MiB are put together
            until they have 16 MiB, if they have at most 200 columns.
        mode: `"append"` adds files, `"overwrite"` replaces what is there, `"ignore"` writes
            nothing if there is data, `"error"` raises then.
    """

    partition_cols: Sequence[str] | None = None
    filesystem: Any = None
    try_create_dir: bool = True
    arrow_open_stream_args: Mapping[str, Any] | None = None
    filename_provider: Any = None
    min_rows_per_file: int | None = None
    max_rows_per_file: int | None = None
    min_bytes_per_file: int | None = None
    mode: str = "append"

    def __post_init__(self) -> None:
        names = check_columns("partition_cols", self.partition_cols or ())
        require(all(names), "partition_cols", self.partition_cols, "columns that have a name")
        check_flag("try_create_dir", self.try_create_dir)
        check_named("arrow_open_stream_args", self.arrow_open_stream_args)
        for name in ("min_rows_per_file", "max_rows_per_file", "min_bytes_per_file"):
            check_count(name, getattr(self, name))
        least, most = self.min_rows_per_file, self.max_rows_per_file
        if least is not None and most is not None and least > most:
            raise ArgumentError(f"min_rows_per_file={least} is above max_rows_per_file={most}")
        provider = self.filename_provider
        is_provider = provider is None or hasattr(provider, "get_filename_for_task")
        wanted = "an object with a method get_filename_for_task(run_id, index), or None"
        require(is_provider, "filename_provider", provider, wanted)

    @property
    def partitions(self) -> tuple[str, ...]:
        """The columns whose values become folders."""
        return tuple(check_columns("partition_cols", self.partition_cols or ()))
