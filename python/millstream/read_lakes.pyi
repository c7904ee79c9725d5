# Made by tools/stubs.py of read_lakes.py: change that, and run `make stubs`.
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from millstream.dataset import Dataset
from millstream.io.addresses import Paths
from millstream.io.file_options import Shuffle
from millstream.io.partitioning import Partitioning, PathPartitionFilter

def read_lance(
    uri: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    version: int | str | None = None,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    storage_options: Mapping[str, str] | None = None,
    scanner_options: Mapping[str, Any] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_vortex(
    paths: Paths,
    *,
    columns: Sequence[str] | None = None,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = ("vortex",),
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_mongo(
    uri: str,
    database: str,
    collection: str,
    *,
    pipeline: Sequence[Mapping[str, Any]] | None = None,
    schema: pa.Schema | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
    **mongo_args: Any,
) -> Dataset: ...
def read_clickhouse(
    *,
    table: str,
    dsn: str,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    order_by: tuple[Sequence[str], bool] | None = None,
    client_settings: Mapping[str, Any] | None = None,
    client_kwargs: Mapping[str, Any] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_hudi(
    table_uri: str | os.PathLike[str],
    *,
    query_type: str = "snapshot",
    filters: Sequence[tuple[str, str, str]] | None = None,
    hudi_options: Mapping[str, str] | None = None,
    storage_options: Mapping[str, str] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
