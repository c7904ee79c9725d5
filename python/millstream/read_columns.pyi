# Made by tools/stubs.py of read_columns.py: change that, and run `make stubs`.
from collections.abc import Mapping, Sequence
from typing import Any

from millstream.dataset import Dataset
from millstream.io.addresses import Paths
from millstream.io.file_options import Shuffle
from millstream.io.partitioning import Partitioning, PathPartitionFilter

def read_numpy(
    paths: Paths,
    *,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = ("npy", "npz"),
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_arrow(
    paths: Paths,
    *,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = ("arrow", "arrows", "feather", "ipc"),
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_orc(
    paths: Paths,
    *,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = ("orc",),
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_avro(
    paths: Paths,
    *,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = ("avro",),
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
