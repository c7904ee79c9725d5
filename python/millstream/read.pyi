# Made by tools/stubs.py of read.py: change that, and run `make stubs`.
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from millstream.dataset import Dataset
from millstream.io.addresses import Paths
from millstream.io.file_options import Shuffle
from millstream.io.images import Orientation
from millstream.io.partitioning import Partitioning, PathPartitionFilter

def range(
    n: int, *, concurrency: int | None = None, override_num_blocks: int | None = None
) -> Dataset: ...
def from_items(items: Sequence[Any], *, override_num_blocks: int | None = None) -> Dataset: ...
def from_arrow(
    tables: pa.Table | pa.RecordBatch | bytes | Sequence[Any],
    *,
    override_num_blocks: int | None = None,
) -> Dataset: ...
def read_parquet(
    paths: Paths,
    *,
    columns: Sequence[str] | None = None,
    filter: Any = None,
    schema: pa.Schema | None = None,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = ...,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = ("parquet",),
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_binary_files(
    paths: Paths,
    *,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_images(
    paths: Paths,
    *,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    orientation: Orientation = "upright",
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = (
        "png",
        "apng",
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "webp",
        "avif",
        "tif",
        "tiff",
        "bmp",
        "gif",
    ),
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_video(
    paths: Paths,
    *,
    include_timestamps: bool = False,
    fps: float | None = None,
    frame_interval: int | None = None,
    orientation: Orientation = "upright",
    resize: tuple[int, int] | None = None,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = (
        "mp4",
        "mkv",
        "mov",
        "avi",
        "wmv",
        "flv",
        "webm",
        "m4v",
        "3gp",
        "mpeg",
        "mpg",
        "ts",
        "ogv",
        "rm",
        "rmvb",
        "vob",
        "asf",
        "f4v",
        "m2ts",
        "mts",
        "divx",
        "xvid",
        "mxf",
    ),
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...

read_videos = read_video
