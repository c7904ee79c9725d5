# Made by tools/stubs.py of read_tables.py: change that, and run `make stubs`.
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from millstream.dataset import Dataset
from millstream.io.addresses import Path
from millstream.io.file_options import Shuffle

def read_delta(
    path: Path,
    version: int | str | datetime | None = None,
    *,
    storage_options: Mapping[str, str] | None = None,
    filesystem: Any = None,
    columns: Sequence[str] | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_iceberg(
    *,
    table_identifier: str,
    row_filter: Any = None,
    selected_fields: Sequence[str] = ("*",),
    snapshot_id: int | None = None,
    scan_kwargs: Mapping[str, Any] | None = None,
    catalog_kwargs: Mapping[str, Any] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
