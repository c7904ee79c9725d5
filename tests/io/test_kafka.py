"""Kafka: exact offsets, confirmed messages, nothing secret in errors.

The brokers are librdkafka's own mock cluster, which speaks the protocol on the loopback interface.
It finds no offsets for times, and has neither compaction nor transactions: what brokers say there
comes from a stand-in of the client.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import pickle
import socket
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.context import DataContext
from millstream.errors import (
    ArgumentError,
    MissingPackageError,
    ReadError,
    SchemaError,
    WriteError,
)
from millstream.io.formats import kafka
from millstream.io.formats.kafka import KafkaUnit, plan_kafka
from millstream.io.formats.kafka_clients import Servers

NUMBERS = count()
PARTITIONS = 4


@pytest.fixture(scope="module")
def brokers():
    """The addresses of two brokers, which make a topic of four partitions when it is written to."""
    owner = Producer(
        {"bootstrap.servers": "none", "test.mock.num.brokers": 2}, logger=logging.getLogger("mock")
    )
    found = owner.list_topics(timeout=30).brokers.values()
    yield ",".join(f"{each.host}:{each.port}" for each in found)
    # The cluster ends with its owner.
    owner.flush(1)


@pytest.fixture
def topic(brokers):
    return f"topic-{next(NUMBERS)}"


def put(brokers, topic, values, partition=0, **how):
    """Sends values, and waits until all are there."""
    client = Producer({"bootstrap.servers": brokers})
    failed = []
    for value in values:
        client.produce(
            topic,
            value=value,
            partition=partition,
            on_delivery=lambda error, _: failed.append(error) if error else None,
            **how,
        )
    assert client.flush(30) == 0
    assert failed == []


def found_in(brokers, topic):
    """All messages, by a client of our own."""
    settings = {
        **{"bootstrap.servers": brokers, "group.id": "test", "enable.partition.eof": True},
        "fetch.wait.max.ms": 10,
    }
    found = []
    with closing(Consumer(settings)) as client:
        for number in range(PARTITIONS):
            client.assign([TopicPartition(topic, number, 0)])
            while (message := client.poll(30)) is not None:
                if message.error() is not None:
                    assert message.error().code() == KafkaError._PARTITION_EOF
                    break
                found.append(message)
    return found


def read(brokers, topic, **how):
    return ms.read_kafka(topic, bootstrap_servers=brokers, **how)


def values_of(ds):
    return [row["value"] for row in ds.take_all()]


# Reading --------------------------------------------------------------------------------------


def test_messages_are_rows_with_all_that_they_have(brokers, topic):
    headers = [("h", b"1"), ("h", None), ("ü", b"")]
    put(brokers, topic, [b"a\0"], key=b"k", headers=headers, timestamp=1_700_000_000_123)
    put(brokers, topic, [None, b""], partition=2)
    table = pa.table(read(brokers, topic))
    assert table.schema.names == kafka.SCHEMA.names
    assert table.schema.field("headers").type == pa.map_(pa.string(), pa.binary())
    first, second, third = table.to_pylist()
    assert first["timestamp"] == 1_700_000_000_123
    assert second.pop("timestamp") > first.pop("timestamp")
    assert first == {
        **{"offset": 0, "key": b"k", "value": b"a\0", "topic": topic, "partition": 0},
        **{"timestamp_type": 1, "headers": headers},
    }
    assert (second["partition"], second["value"], third["value"]) == (2, None, b"")
    assert (second["key"], second["headers"], third["offset"]) == (None, [], 1)


@given(start=st.integers(0, 20), length=st.integers(0, 25), parts=st.integers(1, 9))
@settings(max_examples=15)
def test_offsets_are_exact_in_any_division(brokers, start, length, parts):
    topic = "divided"
    if topic not in Consumer({"bootstrap.servers": brokers, "group.id": "t"}).list_topics().topics:
        put(brokers, topic, [str(number).encode() for number in range(20)])
    how = {"start_offset": {topic: {0: start}}, "override_num_blocks": parts}
    ds = read(brokers, topic, end_offset={topic: {0: start + length}}, **how)
    wanted = [str(number).encode() for number in range(start, min(20, start + length))]
    assert values_of(ds) == wanted


def test_large_partitions_are_several_units(brokers, topic, monkeypatch):
    monkeypatch.setattr(kafka, "_MESSAGES", 10)
    put(brokers, topic, [b"x"] * 25)
    put(brokers, topic, [b"y"] * 5, partition=1)
    source = plan_kafka(topic, bootstrap_servers=brokers)
    assert [(each.partition, each.start, each.end) for each in source.units] == [
        *((0, 0, 8), (0, 8, 16), (0, 16, 25)),
        (1, 0, 5),
    ]
    monkeypatch.setattr(kafka, "_UNITS_MAX", 2)
    assert len(plan_kafka(topic, bootstrap_servers=brokers).units) == 3


def test_the_end_is_fixed_when_the_dataset_is_made(brokers, topic):
    put(brokers, topic, [b"1", b"2"])
    ds = read(brokers, topic)
    put(brokers, topic, [b"3"])
    assert values_of(ds) == [b"1", b"2"]
    assert values_of(ds) == [b"1", b"2"]
    assert values_of(read(brokers, topic)) == [b"1", b"2", b"3"]


def test_several_topics_follow_each_other(brokers, topic):
    other = f"{topic}-b"
    put(brokers, topic, [b"1"])
    put(brokers, other, [b"2"])
    servers = brokers.split(",")
    ds = ms.read_kafka([other, topic], bootstrap_servers=servers)
    assert [(row["topic"], row["value"]) for row in ds.take_all()] == [
        (other, b"2"),
        (topic, b"1"),
    ]


def test_nothing_to_read_has_the_columns(brokers, topic):
    put(brokers, topic, [b"1"])
    ds = read(brokers, topic, start_offset={topic: {0: 1}})
    assert ds.take_all() == []
    assert ds.schema().names == kafka.SCHEMA.names


def test_blocks_stream_in_tables_of_bounded_size(brokers, topic, monkeypatch):
    monkeypatch.setattr(kafka, "_BYTES", 10_000)
    put(brokers, topic, [bytes(1_000)] * 95)
    [unit] = plan_kafka(topic, bootstrap_servers=brokers).units
    sizes = [table.num_rows for table in unit.read()]
    assert sum(sizes) == 95
    assert max(sizes) == 10


def test_offsets_that_are_not_there_are_told(brokers, topic, monkeypatch):
    put(brokers, topic, [b"1"])
    with pytest.raises(ReadError, match=rf"'{topic}', partition 0.*start_offset=5 comes after"):
        read(brokers, topic, start_offset=5)
    monkeypatch.setattr(telling_otherwise(brokers, monkeypatch), "marks", (3, 9))
    with pytest.raises(ReadError, match=r"3 to 9: what start_offset=0 .*'earliest' reads what is"):
        read(brokers, topic, start_offset=0)


def test_unknown_topics_and_partitions_are_told(brokers, topic):
    with pytest.raises(ReadError, match=r"topic 'nope'.*Unknown topic"):
        read(brokers, "nope")
    put(brokers, topic, [b"1"])
    with pytest.raises(ArgumentError, match=r"end_offset has partition 7 .*\[0, 1, 2, 3\]"):
        read(brokers, topic, end_offset={topic: {7: 1}})


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"trigger": "continuous"}, "trigger='continuous' must be one of 'once'"),
        ({"topics": []}, r"topics=\[\] must be a name or a list"),
        ({"topics": ["t", "t"]}, "must be different names"),
        ({"topics": 3}, "topics=3 must be"),
        ({"bootstrap_servers": "host"}, "bootstrap_servers='host' must be 'host:port'"),
        ({"bootstrap_servers": []}, r"bootstrap_servers=\[\] must be"),
        ({"start_offset": "latest"}, "start_offset='latest' must be .*'earliest'"),
        ({"start_offset": -1}, "start_offset=-1 must be a whole number >= 0"),
        ({"start_offset": True}, "start_offset=True must be"),
        ({"end_offset": "earliest"}, "end_offset='earliest' must be"),
        ({"end_offset": {"t": 3}}, r"end_offset\['t'\]=3 must be a dict"),
        ({"end_offset": {"t": {"0": 3}}}, r"a partition in end_offset\['t'\]='0' must be"),
        ({"end_offset": {"t": {0: 1.5}}}, r"end_offset\['t'\]\[0\]=1.5 must be"),
        ({"end_offset": {"u": {0: 1}}}, r"end_offset for the topic='u' must be one of \['t'\]"),
        ({"timeout_ms": 0}, "timeout_ms=0 must be a whole number"),
        ({"consumer_config": "sasl.password=hunter2"}, "consumer_config=<class 'str'> must be"),
        ({"consumer_config": {"nope": 1}}, 'consumer_config makes no sense.*"nope"'),
        ({"consumer_config": {"enable.auto.commit": True}}, "must not have 'enable.auto.commit'"),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(how, told):
    with pytest.raises(ArgumentError, match=told) as caught:
        ms.read_kafka(**{"topics": "t", "bootstrap_servers": "127.0.0.1:1", **how})
    assert "hunter2" not in str(caught.value)


def test_brokers_that_are_not_there_are_an_error_in_time():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ReadError, match=rf"at {address}.*before: .*refused"):
            read(address, "t", timeout_ms=1500)


def test_secrets_are_not_told(caplog):
    config = {"sasl.password": "hunter2", "security.protocol": "hunter2"}
    with pytest.raises(ArgumentError) as caught:
        read("127.0.0.1:1", "t", consumer_config=config)
    servers = Servers("127.0.0.1:1", {"ssl.key.pem": "hunter2"}, 1.0)
    told = servers.told(KafkaError(KafkaError._SSL, "bad key hunter2"))
    assert "bad key ***" in told
    unit = KafkaUnit(servers, "t", 0, 0, 1)
    assert "hunter2" not in f"{caught.value}{unit!r}{caplog.text}"


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    for call in (lambda: read("h:1", "t"), lambda: ms.range(1).write_kafka("t", "h:1")):
        with pytest.raises(MissingPackageError, match=r"millstream\[kafka\]"):
            call()


# What the mock cluster does not do --------------------------------------------------------------


class Message:
    def __init__(self, offset, code=None):
        self._offset, self._code = offset, code

    def error(self):
        return None if self._code is None else KafkaError(self._code)

    def offset(self):
        return self._offset

    def key(self):
        return None

    def value(self):
        return b"%d" % self._offset

    def headers(self):
        return None

    def timestamp(self):
        return 0, -1


class Stream:
    """A consumer that gives what it is told, and then nothing."""

    def __init__(self, messages):
        self.left = list(messages)

    def assign(self, partitions):
        self.assigned = partitions

    def poll(self, timeout):
        return self.left.pop(0) if self.left else None

    def consume(self, count, timeout):
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def close(self):
        pass


def telling_otherwise(brokers, monkeypatch):
    """A consumer whose brokers say other offsets: a class, whose fields they are."""

    class Told:
        marks = None
        times = None

        def __init__(self, real):
            self._real = real

        def __getattr__(self, name):
            return getattr(self._real, name)

        def get_watermark_offsets(self, part, **how):
            return Told.marks or self._real.get_watermark_offsets(part, **how)

        def offsets_for_times(self, parts, **how):
            return [
                TopicPartition(part.topic, part.partition, Told.times(part.offset))
                for part in parts
            ]

    real = Servers.consumer
    monkeypatch.setattr(Servers, "consumer", lambda self: Told(real(self)))
    return Told


@contextmanager
def streaming(monkeypatch, *messages):
    monkeypatch.setattr(Servers, "consumer", lambda self: Stream(messages))
    yield KafkaUnit(Servers("h:1", {}, 0.5), "t", 3, 10, 20)


EOF = KafkaError._PARTITION_EOF


@pytest.mark.parametrize(
    ("messages", "wanted"),
    [
        # The last ones are gone, and later ones are there.
        ([Message(10), Message(15), Message(22)], [10, 15]),
        # The last ones are marks of transactions, and the partition ends after them.
        ([Message(11), Message(20, EOF)], [11]),
        ([Message(20, EOF)], []),
        # The broker that is asked has not got all of it yet.
        ([Message(10), Message(11, EOF), Message(19), Message(20)], [10, 19]),
    ],
)
def test_offsets_without_messages_do_not_hang(monkeypatch, messages, wanted):
    with streaming(monkeypatch, *messages) as unit:
        assert [each for table in unit.read() for each in table["offset"].to_pylist()] == wanted


def test_messages_without_a_time_have_none(monkeypatch):
    with streaming(monkeypatch, Message(19)) as unit:
        [table] = unit.read()
    assert table["timestamp"].to_pylist() == [None]
    assert table["timestamp_type"].to_pylist() == [0]


def test_silence_and_losses_are_errors(monkeypatch):
    silent = r"'t', partition 3: no message for 0.5 s at offset 11 of 10 to 20.*timeout_ms"
    with streaming(monkeypatch, Message(10)) as unit, pytest.raises(ReadError, match=silent):
        list(unit.read())
    lost = Message(10, KafkaError._AUTO_OFFSET_RESET)
    with (
        streaming(monkeypatch, lost) as unit,
        pytest.raises(ReadError, match="offset 10 on are no longer there"),
    ):
        list(unit.read())
    denied = Message(10, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with (
        streaming(monkeypatch, denied) as unit,
        pytest.raises(ReadError, match=r"'t', partition 3: .*authorization failed"),
    ):
        list(unit.read())


def test_times_become_the_first_offset_at_or_after_them(brokers, topic, monkeypatch):
    put(brokers, topic, [b"%d" % number for number in range(10)])
    asked = []

    def offset(time):
        asked.append(time)
        return -1 if time > 10_000 else time // 1_000

    monkeypatch.setattr(telling_otherwise(brokers, monkeypatch), "times", staticmethod(offset))
    begin = datetime.datetime(1970, 1, 1, 0, 0, 2, 1)
    zone = datetime.timezone(datetime.timedelta(hours=1))
    end = datetime.datetime(1970, 1, 1, 1, 0, 5, tzinfo=zone)
    how = {"start_offset": {topic: {0: begin}}}
    assert values_of(read(brokers, topic, end_offset={topic: {0: end}}, **how)) == [
        *(b"2", b"3", b"4"),
    ]
    assert asked == [2_001, 5_000]
    late = datetime.datetime(2100, 1, 1)
    assert len(values_of(read(brokers, topic, end_offset=late))) == 10
    assert values_of(read(brokers, topic, start_offset=late)) == []


# Writing --------------------------------------------------------------------------------------


def test_rows_become_messages(brokers, topic):
    day = datetime.date(2024, 2, 29)
    ds = ms.from_items([{"k": "ü", "n": 2**53 + 1, "day": day}, {"k": None, "n": None, "day": day}])
    ds.write_kafka(topic, brokers, "k", producer_config={"linger.ms": 1})
    found = {each.key(): json.loads(each.value()) for each in found_in(brokers, topic)}
    assert found == {
        "ü".encode(): {"k": "ü", "n": 2**53 + 1, "day": "2024-02-29"},
        None: {"k": None, "n": None, "day": "2024-02-29"},
    }


def test_what_was_read_is_written_again(brokers, topic):
    put(brokers, topic, [b"\0\xff", None, b""], key=b"\xfe", headers=[("h", b"1"), ("h", None)])
    again = f"{topic}-again"
    read(brokers, topic).write_kafka(
        *(again, brokers.split(","), "key", "bytes", "bytes"),
        value_field="value",
        headers_field="headers",
    )
    names = ("key", "value", "headers")
    both = [
        [tuple(map(repr, (row[name] for name in names))) for row in read(brokers, each).take_all()]
        for each in (topic, again)
    ]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("values", "serializer", "wanted"),
    [
        ([1, None, -(2**63)], "string", [b"1", None, b"-9223372036854775808"]),
        ([0.1], "string", [b"0.1"]),
        ([True], "string", [b"True"]),
        (["ü", None], "string", ["ü".encode(), None]),
        (["ü"], "bytes", ["ü".encode()]),
        ([b"\xff"], "bytes", [b"\xff"]),
        ([{"a": [1, None]}, None], "json", [b'{"a":[1,null]}', None]),
        (["x"], "json", [b'"x"']),
        ([None], "string", [None]),
    ],
)
def test_serializers(brokers, topic, values, serializer, wanted):
    ds = ms.from_arrow(pa.table({"v": values}))
    ds.write_kafka(topic, brokers, value_field="v", value_serializer=serializer)
    found = [each.value() for each in found_in(brokers, topic)]
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))


@pytest.mark.parametrize(
    ("how", "kind", "told"),
    [
        ({"key_field": "nope"}, SchemaError, "'nope'"),
        ({"key_field": ""}, ArgumentError, "key_field='' must be the name of a column"),
        ({"key_serializer": "avro"}, ArgumentError, "key_serializer='avro' must be one of 'json'"),
        ({"value_serializer": "bytes"}, ArgumentError, "say which with value_field"),
        ({"key_field": "b"}, SchemaError, "'b' of type binary .*'string'"),
        ({"key_field": "x", "key_serializer": "bytes"}, SchemaError, "'x' of type int64 .*'bytes'"),
        ({"value_field": "b"}, SchemaError, "'b' of type binary cannot be written as JSON"),
        ({"value_field": "x", "headers_field": "x"}, SchemaError, "'x' of type int64 .* headers"),
        ({"topic": ""}, ArgumentError, "topic='' must be"),
        ({"producer_config": {"nope": 1}}, ArgumentError, 'producer_config makes no sense.*"nope"'),
        ({"producer_config": {"bootstrap.servers": "x:1"}}, ArgumentError, "must not have"),
    ],
)
def test_what_cannot_be_written_is_refused_at_the_call(how, kind, told):
    ds = ms.from_arrow(pa.table({"x": [1], "b": [b"1"]}))
    with pytest.raises(kind, match=told):
        ds.write_kafka(**{"topic": "t", "bootstrap_servers": "127.0.0.1:1", **how})


def test_messages_that_are_not_delivered_are_an_error(brokers, topic):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        config = {"message.timeout.ms": 500, "sasl.password": "hunter2"}
        with pytest.raises(WriteError, match=rf"'{topic}' at {address}.*timed out") as caught:
            ms.range(3).write_kafka(topic, address, producer_config=config)
    assert "hunter2" not in str(caught.value)
    large = {"message.max.bytes": 1_000}
    with pytest.raises(WriteError, match=rf"'{topic}'.*too large"):
        ms.from_items([{"v": "x" * 2_000}]).write_kafka(topic, brokers, producer_config=large)


def test_more_messages_than_fit_in_the_queue_wait(brokers, topic):
    config = {"queue.buffering.max.messages": 10}
    ms.range(500).write_kafka(topic, brokers, "id", producer_config=config)
    found = sorted(json.loads(each.value())["id"] for each in found_in(brokers, topic))
    assert found == list(range(500))


def test_slow_brokers_are_waited_for(topic):
    owner = Producer(
        {
            **{"bootstrap.servers": "none", "test.mock.num.brokers": 1},
            "test.mock.broker.rtt": 50,
        },
        logger=logging.getLogger("mock"),
    )
    [broker] = owner.list_topics(timeout=30).brokers.values()
    address = f"{broker.host}:{broker.port}"
    ms.range(1_000).write_kafka(topic, address)
    assert read(address, topic).count() == 1_000
    assert owner.flush(1) == 0


def test_units_travel(brokers, topic):
    put(brokers, topic, [b"1"])
    [unit] = pickle.loads(pickle.dumps(plan_kafka(topic, bootstrap_servers=brokers).units))
    assert [table["value"].to_pylist() for table in unit.read()] == [[b"1"]]


@pytest.mark.ray
def test_reading_and_writing_on_ray(ray_cluster, brokers, topic, monkeypatch):
    made = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", made)
    ms.range(2_000, override_num_blocks=4).write_kafka(topic, brokers, "id")
    ds = read(brokers, topic, override_num_blocks=8)
    found = sorted(json.loads(value)["id"] for value in values_of(ds))
    assert found == list(range(2_000))


@pytest.mark.ray
def test_workers_that_die_lose_no_message(ray_cluster, brokers, topic, monkeypatch, tmp_path):
    made = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", made)
    put(brokers, topic, [b"%d" % number for number in range(600)])

    def dies_once(batch, folder=str(tmp_path)):
        mark = Path(folder, "died")
        if batch["offset"][0] >= 300 and not mark.exists():
            mark.touch()
            os._exit(1)
        return batch

    ds = read(brokers, topic, override_num_blocks=3).map_batches(dies_once, batch_size=50)
    assert sorted(int(value) for value in values_of(ds)) == list(range(600))
    assert (tmp_path / "died").exists()
    (tmp_path / "died").unlink()
    again = f"{topic}-again"
    ds.write_kafka(again, brokers, value_field="value", value_serializer="bytes")
    assert (tmp_path / "died").exists()
    assert {int(each.value()) for each in found_in(brokers, again)} == set(range(600))
