from __future__ import annotations

import io
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import rows_of, table_of, tables_of
from mcap.writer import CompressionType, IndexType, Writer

from millstream.blocks import block
from millstream.errors import ArgumentError, MillstreamError, ReadError, SchemaError
from millstream.io.formats import mcap as reader
from millstream.io.formats.mcap import Wanted
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.options import takes
from millstream.read_science import McapFiles, read_mcap


@takes(files=McapFiles)
def plan_mcap(paths, *, files, override_num_blocks=None, **how):
    return reader.plan_mcap(paths, files, Wanted(**how), blocks=override_num_blocks)


def saved(messages, **options) -> bytes:
    """A recording of messages (topic, log_time, data)."""
    file = io.BytesIO()
    writer = Writer(file, **options)
    writer.start()
    channels = {}
    for number, (topic, time, data) in enumerate(messages):
        if topic not in channels:
            schema = writer.register_schema(f"type{topic}", "jsonschema", b'{"type": "object"}')
            is_plain = topic.startswith("/plain")
            encoding = "cdr" if is_plain else "json"
            channels[topic] = writer.register_channel(topic, encoding, 0 if is_plain else schema)
        writer.add_message(channels[topic], time, data, time + 1, number)
    writer.finish()
    return file.getvalue()


DATA = st.binary(max_size=30)
MESSAGES = st.lists(st.tuples(st.sampled_from(["/a", "/b", "/plain"]), st.integers(0, 50), DATA))
LAYOUTS = [
    {},
    {"chunk_size": 60},
    {"compression": CompressionType.LZ4, "chunk_size": 60},
    {"compression": CompressionType.NONE, "chunk_size": 60},
    {"use_chunking": False},
    {"index_types": IndexType.NONE, "chunk_size": 60},
    {"index_types": IndexType.CHUNK, "chunk_size": 60},
    {"repeat_channels": False, "repeat_schemas": False, "chunk_size": 60},
    {"use_statistics": False},
    {"enable_crcs": False, "enable_data_crcs": True},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@settings(deadline=None, max_examples=15)
@given(messages=MESSAGES, topic=st.sampled_from(["/a", "/plain"]))
def test_every_message_comes_back_whatever_the_layout(tmp_path_factory, layout, messages, topic):
    path = tmp_path_factory.mktemp("mcap") / "a.mcap"
    path.write_bytes(saved(messages, **layout))
    source = plan_mcap(path)
    found = table_of(source)
    assert found.schema.equals(source.schema)
    assert source.rows in (None, len(messages))
    key = lambda row: row["sequence"]  # noqa: E731
    rows = sorted(found.to_pylist(), key=key)
    assert [(row["topic"], row["log_time"], row["data"]) for row in rows] == messages
    assert [row["publish_time"] for row in rows] == [time + 1 for _, time, _ in messages]
    for row in rows:
        is_plain = row["topic"] == "/plain"
        name = None if is_plain else f"type{row['topic']}"
        assert row["schema_name"] == name
        assert row["schema_data"] == (None if is_plain else b'{"type": "object"}')
    chosen = rows_of(plan_mcap(path, topics=[topic], time_range=(10, 30)))
    assert sorted(chosen, key=key) == [
        row for row in rows if row["topic"] == topic and 10 <= row["log_time"] < 30
    ]


def test_messages_come_in_the_order_of_time_if_there_is_an_index(tmp_path):
    times = [5, 1, 9, 2, 7, 3]
    messages = [("/a", time, bytes(100)) for time in times]
    (tmp_path / "a.mcap").write_bytes(saved(messages, chunk_size=250))
    assert [row["log_time"] for row in rows_of(plan_mcap(tmp_path))] == sorted(times)
    (tmp_path / "a.mcap").write_bytes(saved(messages, use_chunking=False))
    assert [row["log_time"] for row in rows_of(plan_mcap(tmp_path))] == times


def test_messages_are_chosen_by_topic_type_and_time(tmp_path):
    messages = [("/a", 1, b"1"), ("/b", 2, b"2"), ("/plain", 3, b"3"), ("/a", 4, b"4")]
    (tmp_path / "a.mcap").write_bytes(saved(messages))

    def data(**how):
        return b"".join(row["data"] for row in rows_of(plan_mcap(tmp_path, **how)))

    assert data(topics={"/a", "/plain"}) == b"134"
    assert data(message_types=["type/b"]) == b"2"
    assert data(time_range=(2, 4)) == b"23"
    assert data(topics="/a", time_range=(0, 2**64 - 1)) == b"14"
    assert data(topics=["/nothing"]) == b""
    assert plan_mcap(tmp_path, topics=["/a"]).rows is None


def test_without_metadata_there_are_fewer_columns(tmp_path):
    (tmp_path / "a.mcap").write_bytes(saved([("/a", 1, b"x")]))
    assert rows_of(plan_mcap(tmp_path, include_metadata=False)) == [
        {"data": b"x", "topic": "/a", "log_time": 1, "publish_time": 2, "sequence": 0}
    ]


def test_json_is_decoded_if_that_is_asked_for(tmp_path):
    values = [{"x": 2**53 + 1, "y": None}, {"x": None, "y": ["a"]}]
    messages = [("/a", time, json.dumps(each).encode()) for time, each in enumerate(values)]
    (tmp_path / "a.mcap").write_bytes(saved([*messages, ("/plain", 9, b"\x00")]))
    found = rows_of(plan_mcap(tmp_path, decode_json=True, topics=["/a"]))
    assert [row["data"] for row in found] == values
    with pytest.raises(SchemaError, match=r"topic '/plain' are 'cdr'.*topics="):
        table_of(plan_mcap(tmp_path, decode_json=True))
    (tmp_path / "a.mcap").write_bytes(saved([("/a", 7, b"{")]))
    with pytest.raises(ReadError, match="topic '/a' at log_time 7 is no JSON") as caught:
        table_of(plan_mcap(tmp_path, decode_json=True))
    assert caught.value.file == str(tmp_path / "a.mcap")


def test_messages_beside_the_chunks_are_read_too(tmp_path):
    chunked = saved([("/a", 1, b"in"), ("/a", 2, b"in")])
    plain = saved([("/a", 1, b"in"), ("/a", 2, b"in")], use_chunking=False)
    message = plain[plain.index(b"\x05", plain.index(b"/a")) :][: 9 + 22 + 2]
    assert message.endswith(b"in")
    # Before the chunk, whose place the summary tells, nothing may be put in; so it is after it.
    end = chunked.index(b"\x0f\x04\0\0\0\0\0\0\0")
    moved = bytearray(chunked[:end] + message + chunked[end:])
    footer = len(moved) - 8 - 20
    start = int.from_bytes(moved[footer : footer + 8], "little")
    moved[footer : footer + 8] = (start + len(message)).to_bytes(8, "little")
    moved[footer + 8 : footer + 20] = bytes(12)
    (tmp_path / "a.mcap").write_bytes(moved)
    with pytest.raises(ReadError, match="its summary tells of 2 messages, and it has 3"):
        table_of(plan_mcap(tmp_path))
    assert len(rows_of(plan_mcap(tmp_path, topics=["/a"]))) == 3


def test_a_large_recording_comes_in_tables_of_bounded_size(tmp_path):
    messages = [("/a", time, bytes([time]) * 1_000_000) for time in range(40)]
    (tmp_path / "a.mcap").write_bytes(saved(messages))
    tables = list(tables_of(plan_mcap(tmp_path)))
    assert len(tables) > 1
    assert all(block.nbytes(table) <= TABLE_BYTES + 1_100_000 for table in tables)
    found = [row["data"][0] for table in tables for row in table.to_pylist()]
    assert found == list(range(40))


@pytest.mark.parametrize("layout", LAYOUTS[:5], ids=str)
def test_a_file_that_is_cut_off_is_an_error(tmp_path, layout):
    data = saved([("/a", time, b"x" * 20) for time in range(10)], **layout)
    path = tmp_path / "a.mcap"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(ReadError, match="cannot read this MCAP file") as caught:
            table_of(plan_mcap(path))
        assert caught.value.file == str(path)
    assert "mcap recover" in str(caught.value)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damage_is_an_error_or_harmless_and_no_other_message(tmp_path_factory, data):
    messages = [("/a", time, b"x" * 20) for time in range(4)]
    layout = data.draw(st.sampled_from([{"chunk_size": 60}, {"enable_data_crcs": True}]))
    whole = bytearray(saved(messages, **layout))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.mcap"
    path.write_bytes(whole)
    try:
        found = table_of(plan_mcap(path)).to_pylist()
    except MillstreamError as error:
        assert error.file == str(path)  # noqa: PT017
    else:
        assert [(row["topic"], row["log_time"], row["data"]) for row in found] == messages


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x89MCAP0\r\n", b"\x89MCAP0\r\n" * 9])
def test_no_mcap_at_all(tmp_path, data):
    (tmp_path / "a.mcap").write_bytes(data)
    for how in ({}, {"decode_json": True}):
        with pytest.raises(ReadError, match="cannot read this MCAP file") as caught:
            plan_mcap(tmp_path, **how)
        assert caught.value.file == str(tmp_path / "a.mcap")


def test_a_recording_without_messages_has_columns(tmp_path):
    (tmp_path / "a.mcap").write_bytes(saved([]))
    source = plan_mcap(tmp_path)
    assert source.rows == 0
    assert table_of(source).schema.equals(source.schema)


@pytest.mark.parametrize(
    "how",
    [
        {"topics": []},
        {"topics": 5},
        {"topics": [1]},
        {"message_types": {}},
        {"time_range": (1,)},
        {"time_range": (2, 1)},
        {"time_range": (1, 1)},
        {"time_range": (-1, 5)},
        {"time_range": (0.5, 5)},
        {"time_range": 5},
        {"include_metadata": None},
        {"decode_json": "yes"},
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_the_call(tmp_path, how):
    (tmp_path / "a.mcap").write_bytes(saved([("/a", 1, b"x")]))
    with pytest.raises(ArgumentError, match=next(iter(how))):
        read_mcap(tmp_path, **how)


def test_without_mcap_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'millstream\[mcap\]'"):
        plan_mcap(tmp_path)


def test_a_run_gives_the_rows_of_each_file(tmp_path):
    for number in range(3):
        messages = [("/a", number * 10 + time, b"x") for time in range(2)]
        (tmp_path / f"{number}.mcap").write_bytes(saved(messages))
    ds = read_mcap(tmp_path, include_paths=True, include_metadata=False)
    assert ds.count() == 6
    rows = ds.take_all()
    assert [row["log_time"] for row in rows] == [0, 1, 10, 11, 20, 21]
    assert rows[2]["path"] == str(tmp_path / "1.mcap")
    assert ds.schema().names == ["data", "topic", "log_time", "publish_time", "sequence", "path"]
    full = read_mcap(tmp_path).take(1)[0]
    assert full["schema_data"] == b'{"type": "object"}'
    assert pa.types.is_dictionary(read_mcap(tmp_path).schema().types[-1])
