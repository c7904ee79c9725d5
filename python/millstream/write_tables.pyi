# Made by tools/stubs.py of write_tables.py: change that, and run `make stubs`.
import os
from collections.abc import Mapping, Sequence
from typing import Any

from millstream.writing import FileWriting

class TableWriting(FileWriting):
    def write_delta(
        self,
        path: str | os.PathLike[str],
        *,
        mode: str = "append",
        partition_by: Sequence[str] | str | None = None,
        storage_options: Mapping[str, str] | None = None,
        schema_mode: str = "merge",
        filesystem: Any = None,
        name: str | None = None,
        description: str | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
    def write_iceberg(
        self,
        table_identifier: str,
        catalog_kwargs: Mapping[str, Any] | None = None,
        *,
        snapshot_properties: Mapping[str, str] | None = None,
        mode: str = "append",
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
