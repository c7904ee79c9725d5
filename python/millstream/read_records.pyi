# Made by tools/stubs.py of read_records.py: change that, and run `make stubs`.
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from millstream.dataset import Dataset
from millstream.io.addresses import Paths
from millstream.io.file_options import Shuffle
from millstream.io.formats.webdataset import Decoder, Rename, Select
from millstream.io.partitioning import Partitioning, PathPartitionFilter

def read_tfrecords(
    paths: Paths,
    *,
    schema: pa.Schema | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
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
def read_webdataset(
    paths: Paths,
    *,
    decoder: Decoder = True,
    fileselect: Select = None,
    filerename: Rename = None,
    suffixes: Select = None,
    verbose_open: bool = False,
    expand_json: bool = False,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = (
        "tar",
        "tar.gz",
        "tgz",
        "tar.bz2",
        "tar.zst",
        "tar.lz4",
    ),
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
