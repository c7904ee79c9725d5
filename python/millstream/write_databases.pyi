# Made by tools/stubs.py of write_databases.py: change that, and run `make stubs`.
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from millstream.write import Writing

class DatabaseWriting(Writing):
    def write_sql(
        self,
        sql: str,
        connection_factory: Callable[[], Any],
        *,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
    def write_mongo(
        self,
        uri: str,
        database: str,
        collection: str,
        *,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
    def write_kafka(
        self,
        topic: str,
        bootstrap_servers: str | Sequence[str],
        key_field: str | None = None,
        key_serializer: str = "string",
        value_serializer: str = "json",
        producer_config: Mapping[str, Any] | None = None,
        *,
        value_field: str | None = None,
        headers_field: str | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
    def write_clickhouse(
        self,
        table: str,
        dsn: str,
        *,
        mode: str = "create",
        schema: pa.Schema | None = None,
        client_settings: Mapping[str, Any] | None = None,
        client_kwargs: Mapping[str, Any] | None = None,
        table_settings: Mapping[str, str] | None = None,
        max_insert_block_rows: int | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
    def write_lance(
        self,
        path: str | os.PathLike[str],
        *,
        schema: pa.Schema | None = None,
        mode: str = "create",
        min_rows_per_file: int | None = None,
        max_rows_per_file: int = 67108864,
        data_storage_version: str | None = None,
        storage_options: Mapping[str, str] | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
