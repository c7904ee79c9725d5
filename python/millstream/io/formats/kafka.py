"""Reading the messages of Kafka with confluent-kafka: ranges of offsets of partitions.

Owns how offsets are asked for and divided, and how messages become tables. The clients, and what is
told of their errors, are in `kafka_clients`; `kafka_sink` writes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millstream.errors import ArgumentError, ReadError
from millstream.errors.checks import check_choice, check_count, is_whole, require
from millstream.io.formats.kafka_clients import Servers, addresses_of, require_kafka, settings_of
from millstream.io.source import Source, UnitOfNoFiles, shares_of, split_rows

#: An offset, a time, or "earliest" and "latest"; or these by topic and partition.
Offset = int | str | datetime.datetime
Offsets = Offset | Mapping[str, Mapping[int, Offset]]

SCHEMA = pa.schema(
    [
        ("offset", pa.int64()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("timestamp", pa.int64()),
        ("timestamp_type", pa.int32()),
        ("headers", pa.map_(pa.string(), pa.binary())),
    ]
)


def plan_kafka(
    topics: str | Sequence[str],
    *,
    bootstrap_servers: str | Sequence[str],
    trigger: str = "once",
    start_offset: Offsets = "earliest",
    end_offset: Offsets = "latest",
    consumer_config: Mapping[str, Any] | None = None,
    timeout_ms: int | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read topics, whose offsets are asked for now; see `read_kafka`.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: confluent-kafka is not installed.
        ReadError: The brokers do not answer, or there is no such topic, partition or offset.
    """
    require_kafka("read_kafka")
    check_choice("trigger", trigger, ("once",))
    check_count("timeout_ms", timeout_ms)
    check_count("override_num_blocks", blocks)
    names = [topics] if isinstance(topics, str) else topics
    is_right = isinstance(names, Sequence) and all(isinstance(n, str) and n for n in names)
    require(is_right and bool(names), "topics", topics, "a name or a list of names")
    require(len(set(names)) == len(names), "topics", topics, "different names")
    start = _Asked("start_offset", start_offset, "earliest", names)
    end = _Asked("end_offset", end_offset, "latest", names)
    wait_s = _WAIT_S if timeout_ms is None else timeout_ms / 1000
    config = settings_of("consumer_config", consumer_config)
    servers = Servers(addresses_of(bootstrap_servers), config, wait_s)
    ranges = [each for each in _ranges(servers, names, start, end) if each.count]
    if blocks is None:
        step = max(_MESSAGES, -(-sum(each.count for each in ranges) // _UNITS_MAX))
        shares = [max(1, -(-each.count // step)) for each in ranges]
    else:
        shares = shares_of([each.count for each in ranges], blocks)
    units = [
        KafkaUnit(servers, each.topic, each.partition, each.start + first, each.start + last)
        for each, share in zip(ranges, shares, strict=True)
        for first, last in split_rows(each.count, share)
    ]
    return Source("ReadKafka", units, SCHEMA, None)


@dataclass(frozen=True)
class _Range:
    """The messages of one partition that are asked for.

    Args:
        topic: The topic.
        partition: The partition.
        start: The first offset.
        end: The one after the last.
    """

    topic: str
    partition: int
    start: int
    end: int

    @property
    def count(self) -> int:
        """How many offsets there are; some may have no message."""
        return self.end - self.start


class _Asked:
    """What a user says of where partitions begin or end.

    Args:
        name: The argument.
        given: What it is.
        default: Where partitions begin or end of which nothing is said.
        topics: Those that are read.

    Raises:
        ArgumentError: It makes no sense.
    """

    def __init__(self, name: str, given: Any, default: str, topics: Sequence[str]) -> None:
        self.name, self._default = name, default
        wanted = f"a whole number >= 0, a datetime, {default!r}, or these by topic and partition"
        #: What is said of single partitions.
        self.of_partitions: dict[tuple[str, int], Any] = {}
        self._of_all = given
        if isinstance(given, Mapping):
            self._of_all = default
            for topic, parts in given.items():
                require(topic in topics, f"{name} for the topic", topic, f"one of {list(topics)}")
                require(isinstance(parts, Mapping), f"{name}[{topic!r}]", parts, "a dict")
                for partition, offset in parts.items():
                    told = f"a partition in {name}[{topic!r}]"
                    require(is_whole(partition, 0), told, partition, "a number >= 0")
                    told = f"{name}[{topic!r}][{partition}]"
                    require(self._is_offset(offset), told, offset, wanted)
                    self.of_partitions[topic, partition] = offset
        else:
            require(self._is_offset(given), name, given, wanted)

    def of(self, topic: str, partition: int) -> Any:
        """What is said of a partition."""
        return self.of_partitions.get((topic, partition), self._of_all)

    def _is_offset(self, value: Any) -> bool:
        is_time = isinstance(value, datetime.datetime)
        return value == self._default if isinstance(value, str) else is_time or is_whole(value, 0)


@dataclass(frozen=True)
class KafkaUnit(UnitOfNoFiles):
    """The messages of a partition between two offsets.

    Args:
        servers: How the brokers are reached.
        topic: The topic.
        partition: The partition.
        start: The first offset.
        end: The one after the last.
    """

    servers: Servers
    topic: str
    partition: int
    start: int
    end: int

    def read(self) -> Iterator[pa.Table]:
        """Yields the messages in tables of bounded size.

        Raises:
            ReadError: The brokers do not answer, or the messages are gone.
        """
        from confluent_kafka import TopicPartition

        problem = f"cannot read the topic {self.topic!r}, partition {self.partition}"
        with self.servers.telling(ReadError, problem), self._consumer() as consumer:
            consumer.assign([TopicPartition(self.topic, self.partition, self.start)])
            rows = _Rows(self.topic, self.partition)
            for message in self._messages(consumer):
                rows.add(message)
                if rows.is_full:
                    yield rows.taken()
            yield rows.taken()

    def _consumer(self) -> Any:
        return closing(self.servers.consumer())

    def _messages(self, consumer: Any) -> Iterator[Any]:
        """Yields the messages, until one at the end or later, or the end of the partition, is seen.

        Offsets without a message (compacted, or marks of transactions) are passed over.
        """
        from confluent_kafka import KafkaError

        after = self.start
        while True:
            first = consumer.poll(self.servers.wait_s)
            if first is None:
                raise ReadError(self._silence(after))
            for message in [first, *consumer.consume(_AT_ONCE, timeout=0)]:
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    if error.code() == KafkaError._AUTO_OFFSET_RESET:
                        raise ReadError(self._loss(after))
                    raise ReadError(f"{self._place()}: {self.servers.told(error)}")
                if message.offset() >= self.end:
                    return
                # The end of what the broker has may come before what it had when it was asked.
                if error is None:
                    after = message.offset() + 1
                    yield message
                    if after == self.end:
                        return

    def _place(self) -> str:
        return f"the topic {self.topic!r}, partition {self.partition}"

    def _loss(self, after: int) -> str:
        return (
            f"{self._place()}: the messages from offset {after} on are no longer there, though "
            "they were when the dataset was made; they are kept for too short a time"
        )

    def _silence(self, after: int) -> str:
        last = self.servers.last_error()
        return (
            f"{self._place()}: no message for {self.servers.wait_s:g} s at offset {after} of "
            f"{self.start} to {self.end}{f'; the client said: {last}' if last else ''}; "
            "timeout_ms says how long to wait"
        )


class _Rows:
    """Messages that become a table.

    Args:
        topic: Their topic.
        partition: Their partition.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self._topic, self._partition = topic, partition
        self._clear()

    @property
    def is_full(self) -> bool:
        """Whether they are enough for a table."""
        return self._bytes >= _BYTES or len(self._offsets) >= _ROWS

    def add(self, message: Any) -> None:
        """Adds a message."""
        key, value, headers = message.key(), message.value(), message.headers() or []
        kind, time = message.timestamp()
        self._offsets.append(message.offset())
        self._keys.append(key)
        self._values.append(value)
        self._times.append(time if kind else None)
        self._kinds.append(kind)
        self._headers.append(headers)
        self._bytes += len(key or b"") + len(value or b"")
        self._bytes += sum(len(name) + len(each or b"") for name, each in headers)

    def taken(self) -> pa.Table:
        """The table of what was added since the last one."""
        count = len(self._offsets)
        columns = [
            *(self._offsets, self._keys, self._values, [self._topic] * count),
            *([self._partition] * count, self._times, self._kinds, self._headers),
        ]
        made = [pa.array(each, type) for each, type in zip(columns, SCHEMA.types, strict=True)]
        self._clear()
        return pa.Table.from_arrays(made, schema=SCHEMA)

    def _clear(self) -> None:
        self._offsets: list[int] = []
        self._keys: list[bytes | None] = []
        self._values: list[bytes | None] = []
        self._times: list[int | None] = []
        self._kinds: list[int] = []
        self._headers: list[list[tuple[str, bytes | None]]] = []
        self._bytes = 0


def _ranges(servers: Servers, topics: Sequence[str], start: _Asked, end: _Asked) -> list[_Range]:
    with (
        servers.telling(ReadError, "cannot ask Kafka for offsets"),
        closing(servers.consumer()) as consumer,
    ):
        parts = [(name, each) for name in topics for each in _partitions(servers, consumer, name)]
        for asked in (start, end):
            for topic, partition in asked.of_partitions:
                if (topic, partition) not in parts:
                    raise ArgumentError(
                        f"{asked.name} has partition {partition} of the topic {topic!r}, which has "
                        f"the partitions {[found for name, found in parts if name == topic]}"
                    )
        there = [_watermarks(servers, consumer, *each) for each in parts]
        firsts = _resolved(servers, consumer, start, parts, there)
        lasts = _resolved(servers, consumer, end, parts, there)
    made = []
    for (topic, partition), found, first, end_asked in zip(
        parts, there, firsts, lasts, strict=True
    ):
        last = min(end_asked, found[1])
        _check_range(topic, partition, found, first, last)
        made.append(_Range(topic, partition, first, last))
    return made


def _partitions(servers: Servers, consumer: Any, topic: str) -> list[int]:
    found = consumer.list_topics(topic, timeout=servers.wait_s).topics[topic]
    if found.error is not None:
        raise ReadError(f"cannot read the topic {topic!r}: {servers.told(found.error)}")
    return sorted(found.partitions)


def _watermarks(servers: Servers, consumer: Any, topic: str, partition: int) -> tuple[int, int]:
    """The first offset of a partition that is there, and the one after the last."""
    from confluent_kafka import TopicPartition

    asked = TopicPartition(topic, partition)
    found = consumer.get_watermark_offsets(asked, timeout=servers.wait_s, cached=False)
    if found is None:
        raise ReadError(f"no offsets of the topic {topic!r}, partition {partition}, in time")
    return int(found[0]), int(found[1])


def _resolved(
    servers: Servers,
    consumer: Any,
    asked: _Asked,
    parts: Sequence[tuple[str, int]],
    there: Sequence[tuple[int, int]],
) -> list[int]:
    """The offsets that are asked for, as numbers."""
    from confluent_kafka import TopicPartition

    said = [asked.of(*each) for each in parts]
    timed = [
        TopicPartition(*part, _milliseconds(value))
        for part, value in zip(parts, said, strict=True)
        if isinstance(value, datetime.datetime)
    ]
    found = consumer.offsets_for_times(timed, timeout=servers.wait_s) if timed else []
    at = {}
    for each in found:
        if each.error is not None:
            raise ReadError(
                f"cannot find a time in the topic {each.topic!r}, partition {each.partition}: "
                f"{servers.told(each.error)}"
            )
        at[each.topic, each.partition] = each.offset
    resolved = []
    for part, value, (first, last) in zip(parts, said, there, strict=True):
        if isinstance(value, datetime.datetime):
            # Without a message at or after it yet, the end.
            resolved.append(at[part] if at[part] >= 0 else last)
        else:
            resolved.append({"earliest": first, "latest": last}.get(value, value))
    return resolved


def _milliseconds(time: datetime.datetime) -> int:
    """A time since 1970, up to the next millisecond, which is what brokers know."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return -((_EPOCH - time) // datetime.timedelta(milliseconds=1))


def _check_range(topic: str, partition: int, found: tuple[int, int], first: int, last: int) -> None:
    place = f"the topic {topic!r}, partition {partition}, has the offsets {found[0]} to {found[1]}"
    if first < found[0] and first < last:
        raise ReadError(
            f"{place}: what start_offset={first} asks for before is no longer there; "
            "start_offset='earliest' reads what is"
        )
    if first > last:
        raise ReadError(f"{place}: start_offset={first} comes after the end, {last}")


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# How long to wait for an answer, and for messages: reading over a broker that is elected anew.
_WAIT_S = 60.0
# What one task reads at least, unless more is asked for; a task costs a connection.
_MESSAGES = 1 << 17
_UNITS_MAX = 1 << 12
# Python's objects take many times the memory of their columns.
_AT_ONCE = 1 << 10
_BYTES = 8 << 20
_ROWS = 1 << 14
