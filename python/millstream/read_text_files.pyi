# Made by tools/stubs.py of read_text_files.py: change that, and run `make stubs`.
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from millstream.dataset import Dataset
from millstream.io.addresses import Paths
from millstream.io.file_options import Shuffle
from millstream.io.partitioning import Partitioning, PathPartitionFilter

def read_csv(
    paths: Paths,
    *,
    read_options: pa_csv.ReadOptions | None = None,
    parse_options: pa_csv.ParseOptions | None = None,
    convert_options: pa_csv.ConvertOptions | None = None,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = ...,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_json(
    paths: Paths,
    *,
    lines: bool = False,
    read_options: pa_json.ReadOptions | None = None,
    parse_options: pa_json.ParseOptions | None = None,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = ...,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = (
        "json",
        "jsonl",
        "ndjson",
        "json.gz",
        "jsonl.gz",
        "json.br",
        "jsonl.br",
        "json.zst",
        "jsonl.zst",
        "json.lz4",
        "jsonl.lz4",
        "json.bz2",
        "jsonl.bz2",
    ),
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_text(
    paths: Paths,
    *,
    encoding: str = "utf-8",
    drop_empty_lines: bool = True,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    file_extensions: Sequence[str] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
