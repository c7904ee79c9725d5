"""Writing to Kafka with confluent-kafka: a message for each row.

Owns how keys, values and headers become bytes, and that all messages of a task are confirmed before
it ends. The clients, and what is told of their errors, are in `kafka_clients`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.common_type import is_text
from millstream.errors import ArgumentError, SchemaError, WriteError
from millstream.errors.checks import check_choice, require
from millstream.io.formats.json_writer import json_lines, json_values
from millstream.io.formats.kafka_clients import Servers

SERIALIZERS = ("json", "string", "bytes")


@dataclass(frozen=True)
class Form:
    """What of a row becomes what of a message; see `write_kafka`.

    Args:
        key_field: The column of the key; `None`: there are no keys.
        key_serializer: How it becomes bytes.
        value_field: The column of the value; `None`: the whole row.
        value_serializer: How it becomes bytes.
        headers_field: The column of the headers; `None`: there are none.

    Raises:
        ArgumentError: An argument makes no sense.
    """

    key_field: str | None
    key_serializer: str
    value_field: str | None
    value_serializer: str
    headers_field: str | None

    def __post_init__(self) -> None:
        for name in ("key_field", "value_field", "headers_field"):
            value = getattr(self, name)
            is_right = value is None or (isinstance(value, str) and bool(value))
            require(is_right, name, value, "the name of a column, or None")
        check_choice("key_serializer", self.key_serializer, SERIALIZERS)
        check_choice("value_serializer", self.value_serializer, SERIALIZERS)
        if self.value_field is None and self.value_serializer != "json":
            raise ArgumentError(
                f"value_serializer={self.value_serializer!r} is for one column, not for a row: "
                "say which with value_field, or use value_serializer='json'"
            )

    def check(self, schema: pa.Schema) -> None:
        """Checks that messages can be made of rows of these columns.

        Raises:
            SchemaError: A column does not exist, or has no form as it is asked for.
        """
        self.messages(schema.empty_table())

    def messages(self, table: pa.Table) -> Iterator[tuple[Any, Any, Any]]:
        """Key, value and headers of each row.

        Raises:
            SchemaError: As `check`.
        """
        named = (self.key_field, self.value_field, self.headers_field)
        block.require_columns(table.schema, [name for name in named if name is not None])
        none: list[Any] = [None] * table.num_rows
        keys, values, headers = none, none, none
        if self.key_field is not None:
            keys = _serialized(table, self.key_field, self.key_serializer)
        if self.value_field is not None:
            values = _serialized(table, self.value_field, self.value_serializer)
        else:
            values = [line.encode() for line in json_lines(table)]
        if self.headers_field is not None:
            headers = _headers(self.headers_field, table.column(self.headers_field))
        return zip(keys, values, headers, strict=True)


@dataclass(frozen=True)
class WriteKafka:
    """Sends the rows of a task, and yields one row: how many there were.

    Args:
        servers: How the brokers are reached.
        topic: The topic.
        form: What becomes what of a message.
    """

    servers: Servers
    topic: str
    form: Form

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return "WriteKafka"

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Needs nothing to be loaded."""
        return self._write

    def _write(self, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        written = 0
        problem = f"cannot write to the topic {self.topic!r}"
        with self.servers.telling(WriteError, problem):
            sending = _Sending(self.servers, self.topic)
            try:
                for table in blocks:
                    for start in range(0, table.num_rows, _ROWS):
                        part = block.plain(table.slice(start, _ROWS))
                        for message in self.form.messages(part):
                            sending.send(*message)
                    written += table.num_rows
                sending.finish()
            finally:
                sending.close()
        yield pa.table({"rows": [written]})


class _Sending:
    """Messages on their way to a topic.

    Args:
        servers: How the brokers are reached.
        topic: The topic.
    """

    def __init__(self, servers: Servers, topic: str) -> None:
        self._servers, self._topic = servers, topic
        self._producer = servers.producer()
        self._sent = self._confirmed = 0
        self._failure = ""

    def send(self, key: Any, value: Any, headers: Any) -> None:
        """Sends a message; waits while too many are on their way.

        Raises:
            WriteError: One of those before could not be delivered.
        """
        named = {} if headers is None else {"headers": headers}
        while True:
            self._check()
            try:
                self._producer.produce(
                    self._topic, key=key, value=value, on_delivery=self._note, **named
                )
            except BufferError:
                self._producer.poll(_POLL_S)
                continue
            break
        self._sent += 1
        self._producer.poll(0)

    def finish(self) -> None:
        """Waits until each message is confirmed: the client gives each up after a time.

        Raises:
            WriteError: One could not be delivered.
        """
        while self._producer.flush(_POLL_S):
            self._check()
        self._check()
        if self._confirmed != self._sent:
            raise WriteError(
                f"{self._confirmed} of {self._sent} messages to the topic {self._topic!r} were "
                "confirmed"
            )

    def close(self) -> None:
        """Gives up what is still on its way."""
        self._producer.purge()
        self._producer.flush(_POLL_S)

    def _note(self, error: Any, message: Any) -> None:
        if error is None:
            self._confirmed += 1
        elif not self._failure:
            self._failure = self._servers.told(error)

    def _check(self) -> None:
        if self._failure:
            last = self._servers.last_error()
            before = f"; before: {last}" if last and last != self._failure else ""
            raise WriteError(
                f"a message to the topic {self._topic!r} at {self._servers.addresses} could not "
                f"be delivered: {self._failure}{before}"
            )


def _serialized(table: pa.Table, name: str, serializer: str) -> list[bytes | None]:
    """The values of a column as bytes; null is no bytes."""
    column = table.column(name)
    type = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if serializer == "json":
        valid = column.is_valid().to_pylist()
        lines = json_values(name, column)
        return [
            text.encode() if is_there else None for text, is_there in zip(lines, valid, strict=True)
        ]
    if pa.types.is_null(type):
        return [None] * len(column)
    if is_text(type):
        return [None if each is None else each.encode() for each in column.to_pylist()]
    if serializer == "bytes":
        if not _is_bytes(type):
            raise _misfit(name, type, "bytes", "make bytes or text of it before")
        return list(column.to_pylist())
    is_plain = pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_boolean(type)
    if not is_plain:
        raise _misfit(name, type, "string", "make text of it before, or use 'json' or 'bytes'")
    return [None if each is None else str(each).encode() for each in column.to_pylist()]


def _headers(name: str, column: pa.ChunkedArray) -> list[list[tuple[str, Any]] | None]:
    type = column.type
    if pa.types.is_null(type):
        return [None] * len(column)
    is_map = pa.types.is_map(type) and is_text(type.key_type)
    if not is_map or not (is_text(type.item_type) or _is_bytes(type.item_type)):
        raise SchemaError(
            f"column {name!r} of type {type} cannot be headers: they are a map of text to bytes, "
            "such as read_kafka gives"
        )
    return [None if each is None else list(each) for each in column.to_pylist()]


def _misfit(name: str, type: pa.DataType, serializer: str, advice: str) -> SchemaError:
    return SchemaError(
        f"column {name!r} of type {type} cannot be written with the serializer {serializer!r}; "
        f"{advice}"
    )


def _is_bytes(type: Any) -> bool:
    types = pa.types
    return bool(
        types.is_binary(type)
        or types.is_large_binary(type)
        or types.is_fixed_size_binary(type)
        or types.is_binary_view(type)
    )


def check_topic(topic: Any) -> None:
    """Checks the name of a topic.

    Raises:
        ArgumentError: It is none.
    """
    require(isinstance(topic, str) and bool(topic), "topic", topic, "the name of a topic")


_ROWS = 1 << 13
_POLL_S = 1.0
