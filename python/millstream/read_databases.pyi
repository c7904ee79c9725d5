# Made by tools/stubs.py of read_databases.py: change that, and run `make stubs`.
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from millstream.dataset import Dataset

def read_sql(
    sql: str,
    connection_factory: Callable[[], Any],
    *,
    sql_params: Any = None,
    shard_keys: Sequence[str] | None = None,
    shard_hash_fn: str = "MD5",
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
def read_kafka(
    topics: str | Sequence[str],
    *,
    bootstrap_servers: str | Sequence[str],
    trigger: str = "once",
    start_offset: int | datetime | str | Mapping[str, Mapping[int, Any]] = "earliest",
    end_offset: int | datetime | str | Mapping[str, Mapping[int, Any]] = "latest",
    consumer_config: Mapping[str, Any] | None = None,
    timeout_ms: int | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset: ...
