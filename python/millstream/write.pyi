# Made by tools/stubs.py of write.py: change that, and run `make stubs`.
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millstream.pipeline import Pipeline

class Writing(Pipeline):
    def write_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        arrow_parquet_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        partition_cols: Sequence[str] | None = None,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: Mapping[str, Any] | None = None,
        filename_provider: Any = None,
        min_rows_per_file: int | None = None,
        max_rows_per_file: int | None = None,
        min_bytes_per_file: int | None = None,
        mode: str = "append",
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
        **arrow_parquet_args: Any,
    ) -> None: ...
