from __future__ import annotations

import datetime
import decimal
import io
import uuid

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import rows_of, table_of, tables_of

from millstream.blocks import block
from millstream.errors import MillstreamError, MissingPackageError, ReadError, SchemaError
from millstream.io.file_options import AvroFiles
from millstream.io.formats import avro as reader
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.io.partitioning import Partitioning
from millstream.options import takes
from millstream.read_columns import read_avro

UTC = datetime.UTC
SYNC = b"0123456789abcdef"


@takes(files=AvroFiles)
def plan_avro(paths, *, files, override_num_blocks=None):
    return reader.plan_avro(paths, files, blocks=override_num_blocks)


def record(name="row", **fields):
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": each, "type": type} for each, type in fields.items()],
    }


def logical(type, meaning, **more):
    return {"type": type, "logicalType": meaning, **more}


def saved(schema, records, **options) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, schema, records, sync_marker=SYNC, **options)
    return file.getvalue()


def column_of(path, type, values):
    """A column of one Avro type, and what became of it."""
    path.write_bytes(saved(record(a=type), [{"a": value} for value in values]))
    source = plan_avro(path)
    table = table_of(source)
    assert table.schema == source.schema
    return table.column("a")


def nullable(type):
    return ["null", type]


INTEGERS = st.integers(-(2**63), 2**63 - 1)
VALUES = {
    "boolean": (pa.bool_(), "boolean", st.booleans()),
    "int": (pa.int32(), "int", st.integers(-(2**31), 2**31 - 1)),
    "long": (pa.int64(), "long", INTEGERS),
    "float": (pa.float32(), "float", st.floats(width=32, allow_nan=False)),
    "double": (pa.float64(), "double", st.floats(allow_nan=False)),
    "bytes": (pa.binary(), "bytes", st.binary()),
    "string": (pa.string(), "string", st.text()),
    "fixed": (
        pa.binary(3),
        {"type": "fixed", "name": "three", "size": 3},
        st.binary(min_size=3, max_size=3),
    ),
    "enum": (
        pa.string(),
        {"type": "enum", "name": "letters", "symbols": ["A", "B"]},
        st.sampled_from("AB"),
    ),
    "array": (
        pa.list_(pa.int64()),
        {"type": "array", "items": nullable("long")},
        st.lists(st.none() | INTEGERS),
    ),
    "map": (
        pa.map_(pa.string(), pa.float64()),
        {"type": "map", "values": nullable("double")},
        st.dictionaries(st.text(), st.none() | st.floats(allow_nan=False)),
    ),
    "record": (
        pa.struct({"x": pa.string()}),
        record("inner", x=nullable("string")),
        st.fixed_dictionaries({"x": st.none() | st.text()}),
    ),
    "date": (pa.date32(), logical("int", "date"), st.dates()),
    "decimal": (
        pa.decimal128(38, 5),
        logical("bytes", "decimal", precision=38, scale=5),
        st.decimals(-(10**20), 10**20, places=5),
    ),
    "large decimal": (
        pa.decimal256(60, 2),
        logical("bytes", "decimal", precision=60, scale=2),
        st.decimals(-(10**20), 10**20, places=2),
    ),
    "fixed decimal": (
        pa.decimal128(9, 3),
        logical("fixed", "decimal", name="money", size=8, precision=9, scale=3),
        st.decimals(-(10**5), 10**5, places=3),
    ),
    "time-millis": (
        pa.time32("ms"),
        logical("int", "time-millis"),
        st.times().map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)),
    ),
    "time-micros": (pa.time64("us"), logical("long", "time-micros"), st.times()),
    "timestamp-micros": (
        pa.timestamp("us", "UTC"),
        logical("long", "timestamp-micros"),
        st.datetimes(timezones=st.just(UTC)),
    ),
    "local-timestamp-micros": (
        pa.timestamp("us"),
        logical("long", "local-timestamp-micros"),
        st.datetimes(),
    ),
}


@pytest.mark.parametrize("name", VALUES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_values_of_every_type_come_back_as_they_are(tmp_path_factory, name, data):
    type, avro, values = VALUES[name]
    drawn = data.draw(st.lists(st.none() | values, min_size=1))
    found = column_of(tmp_path_factory.mktemp("avro") / "a.avro", nullable(avro), drawn)
    assert found.type == type
    if name == "map":
        drawn = [None if value is None else list(value.items()) for value in drawn]
    assert found.to_pylist() == drawn


@pytest.mark.parametrize(
    ("avro", "type"),
    [
        (logical("long", "timestamp-millis"), pa.timestamp("ms", "UTC")),
        (logical("long", "timestamp-micros"), pa.timestamp("us", "UTC")),
        (logical("long", "timestamp-nanos"), pa.timestamp("ns", "UTC")),
        (logical("long", "local-timestamp-millis"), pa.timestamp("ms")),
        (logical("long", "local-timestamp-micros"), pa.timestamp("us")),
        (logical("long", "local-timestamp-nanos"), pa.timestamp("ns")),
        (logical("int", "date"), pa.date32()),
        (logical("long", "of-tomorrow"), pa.int64()),
        (logical("int", "timestamp-millis"), pa.int32()),
    ],
    ids=lambda given: given.get("logicalType") if isinstance(given, dict) else str(given),
)
def test_numbers_are_kept_whatever_they_mean(tmp_path, avro, type):
    numbers = [0, -1, 2**31 - 1, -(2**31)]
    if avro["type"] == "long":
        numbers += [2**63 - 1, -(2**63) + 1]
    # Written as numbers, so that fastavro converts nothing.
    data = saved(record(a=avro["type"]), [{"a": number} for number in numbers])
    path = tmp_path / "a.avro"
    header = saved(record(a=avro), [])
    path.write_bytes(header + data[data.index(SYNC) + len(SYNC) :])
    found = table_of(plan_avro(path)).column("a")
    assert found.type == type
    width = pa.int32() if type in (pa.date32(), pa.int32()) else pa.int64()
    assert found.cast(width).to_pylist() == numbers


def as_stored(path, stored, meant, values):
    """Writes values of one type under the name of another one."""
    data = saved(record(a=stored), [{"a": value} for value in values])
    path.write_bytes(saved(record(a=meant), []) + data[data.index(SYNC) + len(SYNC) :])
    return plan_avro(path)


def test_a_decimal_with_too_many_digits_is_an_error_and_not_rounded(tmp_path):
    path = tmp_path / "a.avro"
    meant = logical("bytes", "decimal", precision=4, scale=2)
    stored = [(9_999).to_bytes(2, "big"), (123_456).to_bytes(3, "big")]
    assert rows_of(as_stored(path, "bytes", meant, stored[:1])) == [{"a": decimal.Decimal("99.99")}]
    with pytest.raises(ReadError, match=r"records 0 to 1: .*precision") as caught:
        table_of(as_stored(path, "bytes", meant, stored))
    assert caught.value.file == str(path)


def test_a_time_beyond_the_day_is_an_error(tmp_path):
    path = tmp_path / "a.avro"
    with pytest.raises(ReadError, match="86400000"):
        table_of(as_stored(path, "int", logical("int", "time-millis"), [86_400_000]))
    with pytest.raises(ReadError, match="86400000000"):
        table_of(as_stored(path, "long", logical("long", "time-micros"), [-1]))


def test_uuids_stay_as_they_are_stored(tmp_path):
    value = uuid.UUID(int=2**100)
    assert column_of(tmp_path / "a.avro", logical("string", "uuid"), [value]).to_pylist() == [
        str(value)
    ]


def test_durations_are_intervals(tmp_path):
    duration = logical("fixed", "duration", name="long", size=12)
    stored = b"\x0e\0\0\0" + b"\x03\0\0\0" + b"\xff\xff\xff\xff"
    found = column_of(tmp_path / "a.avro", duration, [stored])
    assert found.to_pylist() == [pa.MonthDayNano([14, 3, (2**32 - 1) * 1_000_000])]
    (tmp_path / "a.avro").write_bytes(saved(record(a=duration), [{"a": b"\xff" * 12}]))
    with pytest.raises(ReadError, match="records 0 to 0"):
        table_of(plan_avro(tmp_path))


def test_named_types_are_found_again_however_deep(tmp_path):
    day = logical("int", "date")
    inner = record("space.inner", day=day, kind={"type": "enum", "name": "kind", "symbols": ["K"]})
    schema = record(
        a=inner, b={"type": "array", "items": "space.inner"}, c=["null", "space.kind"], d="null"
    )
    row = {"day": datetime.date(2024, 2, 29), "kind": "K"}
    (tmp_path / "a.avro").write_bytes(saved(schema, [{"a": row, "b": [row], "c": None, "d": None}]))
    source = plan_avro(tmp_path)
    assert rows_of(source) == [{"a": row, "b": [row], "c": None, "d": None}]
    assert source.schema.field("b").type.value_type == source.schema.field("a").type
    assert not source.schema.field("a").type.field("day").nullable


@pytest.mark.parametrize(
    ("type", "said"),
    [
        (["int", "string"], "field 'a' is a union of 2 types"),
        ({"type": "array", "items": ["null", "int", "long"]}, r"field 'a\[\]' is a union of 2"),
        (record("inner", x=["int", "bytes"]), r"field 'a\.x' is a union"),
        (record("tree", x=["null", "tree"]), r"field 'a\.x' is a 'tree' within itself"),
        (logical("bytes", "decimal", precision=80, scale=2), "field 'a' is a decimal of 80 digits"),
    ],
)
def test_a_field_that_no_column_can_be_is_refused_by_its_name(tmp_path, type, said):
    (tmp_path / "a.avro").write_bytes(saved(record(a=type), []))
    with pytest.raises(SchemaError, match=said) as caught:
        plan_avro(tmp_path)
    assert caught.value.file == str(tmp_path / "a.avro")


def test_values_that_are_no_records_are_refused(tmp_path):
    (tmp_path / "a.avro").write_bytes(saved("long", [1, 2]))
    with pytest.raises(SchemaError, match="no records"):
        plan_avro(tmp_path)


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy", "zstandard"])
def test_every_codec_is_read(tmp_path, codec):
    rows = [{"a": number} for number in range(1_000)]
    (tmp_path / "a.avro").write_bytes(saved(record(a="long"), rows, codec=codec))
    assert rows_of(plan_avro(tmp_path)) == rows


def with_codec(name):
    """A file that says that its blocks are compressed in some way."""
    data = saved(record(a="long"), [{"a": 1}])
    assert b"\x08null" in data
    return data.replace(b"\x08null", bytes([2 * len(name)]) + name.encode())


def test_a_codec_without_its_package_is_told_when_the_plan_is_made(tmp_path, monkeypatch):
    def refuse(*args, codec, **options):
        raise ValueError(f"{codec} codec is supported but you need to install some-package")

    (tmp_path / "a.avro").write_bytes(with_codec("snappy"))
    monkeypatch.setattr(fastavro, "writer", refuse)
    with pytest.raises(MissingPackageError, match="install some-package"):
        plan_avro(tmp_path)


def test_an_unknown_codec_is_an_error(tmp_path):
    (tmp_path / "a.avro").write_bytes(with_codec("magic"))
    with pytest.raises(ReadError, match="magic"):
        plan_avro(tmp_path)


def test_without_fastavro_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'millstream\[avro\]'"):
        plan_avro(tmp_path)


def test_a_file_cut_off_within_a_block_is_an_error(tmp_path):
    rows = [{"a": number, "b": "x" * 20} for number in range(20)]
    data = saved(record(a="long", b="string"), rows, sync_interval=100)
    ends = {at + len(SYNC) for at in range(len(data)) if data.startswith(SYNC, at)}
    assert len(ends) > 3
    path = tmp_path / "a.avro"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        if size in ends:
            # The format cannot tell.
            assert table_of(plan_avro(path)).num_rows < 20 or size == len(data)
            continue
        with pytest.raises(ReadError) as caught:
            table_of(plan_avro(path))
        assert caught.value.file == str(path)


def test_a_broken_block_is_named_by_its_place(tmp_path):
    rows = [{"a": "x" * 10} for _ in range(10)]
    data = saved(record(a="string"), rows)
    start = data.index(SYNC) + len(SYNC)
    path = tmp_path / "a.avro"
    path.write_bytes(data[:-1] + b"?")
    with pytest.raises(ReadError, match=f"the block at byte {start} is broken"):
        table_of(plan_avro(path))
    # One record fewer than there are.
    path.write_bytes(data[:start] + bytes([2 * 9]) + data[start + 1 :])
    with pytest.raises(ReadError, match="more bytes than its 9 records"):
        table_of(plan_avro(path))
    path.write_bytes(data[:start] + bytes([2 * 11]) + data[start + 1 :])
    with pytest.raises(ReadError, match=f"the block at byte {start} is broken"):
        table_of(plan_avro(path))


@settings(deadline=None)
@given(data=st.data())
def test_damage_is_an_error_or_harmless_and_never_a_crash(tmp_path_factory, data):
    schema = record(a="long", b={"type": "array", "items": "string"}, c=nullable("double"))
    whole = bytearray(saved(schema, [{"a": 1, "b": ["x", "y"], "c": 0.5}] * 3))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.avro"
    path.write_bytes(whole)
    try:
        table_of(plan_avro(path)).validate(full=True)
    except MillstreamError as error:
        assert error.file == str(path)  # noqa: PT017


@pytest.mark.parametrize("data", [b"", b"nonsense", b"Obj\x01", b"Obj\x01" + bytes(100)])
def test_no_avro_at_all(tmp_path, data):
    (tmp_path / "a.avro").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this Avro file") as caught:
        plan_avro(tmp_path)
    assert caught.value.file == str(tmp_path / "a.avro")


def test_a_large_file_comes_in_tables_of_bounded_size(tmp_path):
    rows = ({"a": number, "b": bytes([number % 251]) * 1_000_000} for number in range(40))
    data = saved(record(a="int", b="bytes"), rows, sync_interval=1 << 30)
    (tmp_path / "a.avro").write_bytes(data)
    tables = list(tables_of(plan_avro(tmp_path)))
    assert len(tables) > 3
    assert all(block.nbytes(table) <= TABLE_BYTES for table in tables)
    found = [row for table in tables for row in table.to_pylist()]
    assert [row["a"] for row in found] == list(range(40))
    assert all(row["b"] == bytes([row["a"]]) * 1_000_000 for row in found)


def test_many_small_blocks_make_few_tables(tmp_path):
    rows = [{"a": number} for number in range(50_000)]
    (tmp_path / "a.avro").write_bytes(saved(record(a="long"), rows, sync_interval=100))
    tables = list(tables_of(plan_avro(tmp_path)))
    assert len(tables) == 1
    assert tables[0].column("a").to_pylist() == list(range(50_000))


def test_a_file_without_records_has_columns(tmp_path):
    (tmp_path / "a.avro").write_bytes(saved(record(a="long"), []))
    source = plan_avro(tmp_path)
    (found,) = tables_of(source)
    assert found.schema == source.schema == pa.schema([("a", pa.int64())])
    assert found.num_rows == 0


def test_records_without_fields_are_counted(tmp_path):
    (tmp_path / "a.avro").write_bytes(saved(record(), [{}, {}, {}]))
    assert table_of(plan_avro(tmp_path)).num_rows == 3


def test_files_of_other_types_meet_like_other_blocks(tmp_path):
    (tmp_path / "a.avro").write_bytes(saved(record(a="int"), [{"a": 1}]))
    (tmp_path / "b.avro").write_bytes(saved(record(a="long", b="string"), [{"a": 2, "b": "x"}]))
    source = plan_avro(tmp_path)
    assert source.schema == pa.schema({"a": pa.int64(), "b": pa.string()})
    assert rows_of(source) == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_paths_and_folders_are_columns(tmp_path):
    (tmp_path / "year=2024").mkdir()
    path = tmp_path / "year=2024" / "a.avro"
    path.write_bytes(saved(record(a="long"), [{"a": 1}]))
    source = plan_avro(tmp_path, partitioning=Partitioning("hive"), include_paths=True)
    assert rows_of(source) == [{"a": 1, "year": 2024, "path": str(path)}]


def test_a_run_gives_the_rows(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.avro").write_bytes(saved(record(a="long"), [{"a": number}]))
    (tmp_path / "b.txt").write_text("no Avro")
    assert read_avro(tmp_path).take_all() == [{"a": 0}, {"a": 1}, {"a": 2}]
    duration = logical("fixed", "duration", name="long", size=12)
    (tmp_path / "d.avro").write_bytes(saved(record(a=duration), [{"a": bytes(12)}]))
    rows = read_avro(tmp_path / "d.avro").take_all()
    assert rows == [{"a": pa.MonthDayNano([0, 0, 0])}]
