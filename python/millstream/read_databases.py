"""Datasets of what a database answers, and of the messages of Kafka.

Owns the public names of the readers and their arguments. How they are read is in
`millstream.io.formats`, which is imported when a source is planned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from millstream.dataset import Dataset, dataset_of
from millstream.options import takes
from millstream.plan.arguments import ReadOptions


@takes(options=ReadOptions)
def read_sql(
    sql: str,
    connection_factory: Callable[[], Any],
    *,
    sql_params: Any = None,
    shard_keys: Sequence[str] | None = None,
    shard_hash_fn: str = "MD5",
    options: ReadOptions,
) -> Dataset:
    """The rows of a query to a database, as they stream out of it.

    Connections of DuckDB and ADBC hand over Arrow data with the database's types. Those of other
    DB-API 2 libraries give Python objects, whose types decide. A column of values that do not go
    together is an error, and so is a value that Arrow's type does not have, such as DuckDB's
    infinite dates or sums of more than 38 digits: cast it in the query. What the database itself
    changed cannot be told: SQLite makes integers beyond 64 bits floats.

    If a worker is lost, its query runs again and leaves out as many rows as it had given: let the
    query end in ORDER BY over unique columns if the database does not keep an order by itself.
    Whether rows stream depends on the library too: psycopg needs a cursor of the server. Nothing
    is committed.

    Args:
        sql: The query. Its columns need different names.
        connection_factory: Returns a connection; called in the workers, once for each query.
        sql_params: Values for the placeholders of the query, in order or by name, as the library
            takes them. They are bound, never put into the text.
        shard_keys: Columns by which the query is divided into `override_num_blocks` (8) queries
            that run side by side, each row in exactly one, also where a key is null; plain names
            only. The database needs `MOD`, `ABS`, `COALESCE` and, for several keys, `CONCAT`.
            `None`: one query, which is one task.
        shard_hash_fn: The database's function that makes a number of the keys: `"hash"` in DuckDB.
            Ray Data reads in one task if the database does not have it; here that is an error.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.

    When it runs, what the database or `connection_factory` raises becomes `ReadError`, with
    passwords blotted out.
    """
    from millstream.io.formats.sql import plan_sql

    source = plan_sql(
        sql,
        connection_factory,
        sql_params=sql_params,
        shard_keys=shard_keys,
        shard_hash_fn=shard_hash_fn,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)


@takes(options=ReadOptions)
def read_kafka(
    topics: str | Sequence[str],
    *,
    bootstrap_servers: str | Sequence[str],
    trigger: str = "once",
    start_offset: int | datetime | str | Mapping[str, Mapping[int, Any]] = "earliest",
    end_offset: int | datetime | str | Mapping[str, Mapping[int, Any]] = "latest",
    consumer_config: Mapping[str, Any] | None = None,
    timeout_ms: int | None = None,
    options: ReadOptions,
) -> Dataset:
    """The messages of topics of Kafka, from one offset to another. Needs `millstream[kafka]`.

    A message is a row: `offset`, `key` and `value` (bytes, or null), `topic`, `partition`,
    `timestamp` (milliseconds since 1970 in UTC), `timestamp_type` (1: when it was made, 2: when the
    broker got it, 0: there is none, and `timestamp` is null) and `headers` (a map of text to bytes,
    which keeps the order and several of a name).

    The brokers are asked for the offsets when the dataset is made: each run reads the same, and
    messages that come later are not waited for. A large partition is divided into several tasks.
    Offsets that have no message, in compacted topics and of transactions, are passed over. If a
    worker is lost, its task reads again and leaves out as many messages as it had given, so that a
    topic should not be compacted meanwhile. No group of consumers is joined, and nothing is
    committed.

    Args:
        topics: A topic, or a list of them.
        bootstrap_servers: `"host:port"`, or a list of these.
        trigger: `"once"`.
        start_offset: Where each partition begins: an offset, `"earliest"`, or a time, which is the
            first message at or after it; a time without a zone is in UTC. Or these for single
            partitions, `{"topic": {0: 1500}}`; others begin at the earliest. Offsets that are no
            longer there are an error, where Ray Data begins with what is left.
        end_offset: Where each ends, exclusive: as `start_offset`, with `"latest"`. What is not
            there yet is left out.
        consumer_config: Settings of librdkafka, such as `security.protocol` and `sasl.password`.
            They are not shown in errors.
        timeout_ms: How long to wait for an answer or a message; then it is an error, where Ray Data
            gives what it has read so far. `None`: a minute.
        options: What all readers take. `override_num_blocks` says how many tasks, but each
            partition is at least one.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: confluent-kafka is not installed.
        ReadError: The brokers do not answer, or there is no such topic, or no such offset.
    """
    from millstream.io.formats.kafka import plan_kafka

    source = plan_kafka(
        topics,
        bootstrap_servers=bootstrap_servers,
        trigger=trigger,
        start_offset=start_offset,
        end_offset=end_offset,
        consumer_config=consumer_config,
        timeout_ms=timeout_ms,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)
