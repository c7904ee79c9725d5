"""Where the rows of a dataset go: databases, Kafka, and datasets of Lance.

Owns the public names of these writers and their arguments. How each is written is in
`millstream.io.formats`, which is imported when something is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from millstream.blocks.transforms import SelectColumns
from millstream.errors import SchemaError
from millstream.errors.checks import check_kind
from millstream.execution import consume
from millstream.options import takes
from millstream.plan.arguments import SinkTasks
from millstream.plan.logical import Map
from millstream.write import Writing


class DatabaseWriting(Writing):
    """The part of a dataset that writes what is no folder of files."""

    @takes(tasks=SinkTasks)
    def write_sql(
        self, sql: str, connection_factory: Callable[[], Any], *, tasks: SinkTasks
    ) -> None:
        """Runs the dataset and runs a statement with each of its rows in a database.

        Each task has a connection and one transaction, which is committed when all its rows are
        in: a run that fails leaves the rows of the tasks that ended before. A task whose worker is
        lost around its commit is repeated, so that its rows may be written twice, unless the
        statement itself says that they are not: `INSERT ... ON CONFLICT DO NOTHING`.

        Where the columns are not known, the dataset runs until its first block to find them, since
        values go to placeholders by the order of the columns; `select_columns` as the last
        operator says it too.

        Args:
            sql: A statement with a placeholder for each column, as the library writes them:
                `"INSERT INTO t VALUES (?, ?)"`. Values are bound, never put into the text.
            connection_factory: Returns a connection of DB-API 2 that does not commit by itself;
                called in the workers. Databases of one writer (SQLite) want `concurrency=1`.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: There are no columns, or some blocks have further ones.
            WriteError: The database refuses, or `connection_factory` fails; passwords are blotted
                out.
        """
        from millstream.io.formats.sql import check_statement
        from millstream.io.formats.sql_sink import WriteSql

        check_statement(sql, connection_factory)
        shape = tasks.shape()
        transform = WriteSql(sql, connection_factory, tuple(self._columns_in_order()))
        run = self._execute(self._plan.then(Map(transform, shape, writes=True)))
        rows = sum(sum(report["rows"].to_pylist()) for report in run.tables())
        run.watch.note_written(rows, 0)

    def _columns_in_order(self) -> list[str]:
        last = self._plan.operators[-1] if self._plan.operators else None
        if isinstance(last, Map) and isinstance(last.transform, SelectColumns):
            names = list(last.transform.columns)
        else:
            schema = self._schema or self._plan.schema()
            names = list((schema or consume.first_schema(self._execute())).names)
        if not names:
            raise SchemaError("the dataset has no columns to write")
        return names

    @takes(tasks=SinkTasks)
    def write_mongo(self, uri: str, database: str, collection: str, *, tasks: SinkTasks) -> None:
        """Runs the dataset and inserts its rows as documents into a collection of MongoDB.

        There is no transaction: a run that fails leaves rows, and a task that is repeated inserts
        its rows again, unless they have a column `_id`, where that is an error. Needs
        `millstream[mongo]`.

        Args:
            uri: The address of the server. It is not shown in errors.
            database: The database.
            collection: The collection.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: pymongo is not installed.
            SchemaError: BSON cannot hold a column or a value.
            WriteError: The database refuses; passwords are blotted out.
        """
        from millstream.io.formats.bson_values import check_types
        from millstream.io.formats.mongo import Place, WriteMongo, require_mongo

        require_mongo("write_mongo")
        known = self._schema or self._plan.schema()
        if known is not None:
            check_types(known)
        operator = Map(WriteMongo(Place(uri, database, collection)), tasks.shape(), writes=True)
        run = self._execute(self._plan.then(operator))
        rows = sum(sum(report["rows"].to_pylist()) for report in run.tables())
        run.watch.note_written(rows, 0)

    @takes(tasks=SinkTasks)
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
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and sends its rows as messages to a topic of Kafka.

        A task ends when the brokers have confirmed all its messages; one that cannot be delivered
        is an error. Each is sent at least once: what the client repeats appears once, but a task
        whose worker is lost sends its messages again, and a run that fails leaves those that were
        sent. Needs `millstream[kafka]`.

        Args:
            topic: The topic.
            bootstrap_servers: `"host:port"`, or a list of these.
            key_field: The column that becomes the key; a null is no key. By default there are none.
            key_serializer: How the key becomes bytes: `"string"` for text, numbers and booleans;
                `"bytes"` for bytes and text; `"json"` for all that `write_json` takes.
            value_serializer: How the value does. Of a whole row, only `"json"` can make one.
            producer_config: Settings of librdkafka, such as `compression.type` or
                `message.timeout.ms` (how long it tries; 5 minutes). They are not shown in errors.
                `enable.idempotence` is on unless these say less.
            value_field: The column that becomes the value; null becomes a message without one,
                which in a compacted topic deletes its key. By default the whole row.
            headers_field: The column of the headers, a map of text to bytes or text.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: confluent-kafka is not installed.
            SchemaError: A column does not exist, or the serializer is not for it.
            WriteError: A message cannot be delivered.
        """
        from millstream.io.formats.kafka_clients import (
            Servers,
            addresses_of,
            require_kafka,
            settings_of,
        )
        from millstream.io.formats.kafka_sink import Form, WriteKafka, check_topic

        require_kafka("write_kafka")
        check_topic(topic)
        form = Form(key_field, key_serializer, value_field, value_serializer, headers_field)
        config = settings_of("producer_config", producer_config)
        servers = Servers(addresses_of(bootstrap_servers), config)
        servers.producer()
        known = self._schema or self._plan.schema()
        if known is not None:
            form.check(known)
        operator = Map(WriteKafka(servers, topic, form), tasks.shape(), writes=True)
        run = self._execute(self._plan.then(operator))
        rows = sum(sum(report["rows"].to_pylist()) for report in run.tables())
        run.watch.note_written(rows, 0)

    @takes(tasks=SinkTasks)
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
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and inserts its rows into a table of ClickHouse.

        There is no transaction: a run that fails leaves rows, and a task that is repeated may
        insert its rows again, as may the client where the server's answer is lost. What the server
        would change in silence is an error: nulls for a column that has none, null lists, columns
        of another type, times before 1900 or after 2299.
        Needs `millstream[clickhouse]`.

        Args:
            table: Its name: `"default.people"`.
            dsn: The address: `"clickhouse+http://user:password@host:8123/default"`. It is not shown
                in errors.
            mode: `"create"`: there must be no such table; `"append"` adds rows, and makes it if
                there is none; `"overwrite"` drops it before anything is written.
            schema: The columns that are written; by default those of the dataset, which runs until
                its first block if they are not known. In a table that is made, columns may be
                null, but for lists and for fields with `nullable=False`, as the server wants those
                of `order_by`.
            client_settings: Settings of the server.
            client_kwargs: For `clickhouse_connect.get_client`.
            table_settings: Clauses for a table that is made, as SQL: `engine` (`"MergeTree()"`),
                `order_by` (`"tuple()"`), `partition_by`, `primary_key`, `settings`.
            max_insert_block_rows: Rows that are sent at a time. By default a block.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: clickhouse-connect is not installed.
            SchemaError: ClickHouse cannot hold a column or a value, or the table has another type.
            WriteError: The database refuses, or there is a table and `mode="create"`; passwords are
                blotted out.
        """
        from millstream.io.formats.clickhouse_sink import clickhouse_target

        check_kind("schema", schema, pa.Schema)
        target = clickhouse_target(
            *(table, dsn, mode, client_settings, client_kwargs),
            *(table_settings, max_insert_block_rows),
        )
        columns = schema or self._schema or self._plan.schema()
        columns = columns or consume.first_schema(self._execute())
        if not columns.names:
            raise SchemaError("the dataset has no columns to write")
        operator = Map(target.prepare(columns), tasks.shape(), writes=True)
        run = self._execute(self._plan.then(operator))
        rows = sum(sum(report["rows"].to_pylist()) for report in run.tables())
        run.watch.note_written(rows, 0)

    @takes(tasks=SinkTasks)
    def write_lance(
        self,
        path: str | os.PathLike[str],
        *,
        schema: pa.Schema | None = None,
        mode: str = "create",
        min_rows_per_file: int | None = None,
        max_rows_per_file: int = 64 << 20,
        data_storage_version: str | None = None,
        storage_options: Mapping[str, str] | None = None,
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes its rows as one version of a Lance dataset.

        Tasks write fragments, which count when all are there: a run that fails leaves the dataset
        as it was, and a task that is repeated adds no row twice. Fragments that do not count stay
        in the folder until Lance's `cleanup_old_versions`. All blocks get the types of `schema`, of
        the dataset that is there, or of the columns if they are known; else all must have the same.
        Needs `millstream[lance]`.

        Args:
            path: The dataset. A relative path is that of the caller.
            schema: Its columns.
            mode: `"create"`: there must be none; `"append"` adds rows, and makes it if there is
                none; `"overwrite"` makes a version of these rows only.
            min_rows_per_file: Blocks are bundled until a task has so many rows. Ray Data: 1048576.
            max_rows_per_file: Rows that a fragment has at most.
            data_storage_version: Of Lance's files; `"legacy"`, which loses nulls, is refused.
            storage_options: For the object store.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: pylance is not installed.
            SchemaError: Lance cannot hold a column, or a block would change a value.
            WriteError: There is a dataset and `mode="create"`, or somebody has replaced it
                meanwhile.
        """
        from millstream.io.formats.lance_sink import LanceDatasink

        sink = LanceDatasink(
            path,
            schema=schema,
            mode=mode,
            min_rows_per_file=min_rows_per_file,
            max_rows_per_file=max_rows_per_file,
            data_storage_version=data_storage_version,
            storage_options=storage_options,
        )
        self.write_datasink(
            sink, ray_remote_args=tasks.ray_remote_args, concurrency=tasks.concurrency
        )
