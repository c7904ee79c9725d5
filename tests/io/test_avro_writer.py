from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import fastavro
import pyarrow as pa
import pytest
from column_samples import COLUMNS, same, values
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.blocks import block
from millstream.errors import ArgumentError, MissingPackageError, SchemaError
from millstream.io.formats.avro_writer import CODECS, AvroFormat

write_avro = ms.Dataset.write_avro


def write(table: pa.Table, path, **options) -> None:
    write_avro(ms.from_arrow(table), path, **options)


def files_in(folder) -> list[Path]:
    return sorted(Path(folder).rglob("*.avro"))


def found_in(folder) -> pa.Table:
    return block.concat([pa.table(ms.read_avro(path)) for path in files_in(folder)])


def stored(table: pa.Table) -> bytes:
    stream = pa.BufferOutputStream()
    writer = AvroFormat().open(stream, table.schema, ())
    writer.write(table)
    writer.close()
    return stream.getvalue().to_pybytes()


REFUSED = {
    *("int8", "uint8", "uint16", "uint64", "float16", "decimal32", "decimal64", "date64", "time32"),
    *("seconds", "zoned", "duration", "nano_duration", "uuid", "list_of_zoned", "struct_of_zoned"),
    *("fixed_list", "list_of_lists", "deep_struct", "vector"),
    *(name for name in COLUMNS if "tensor" in name),
}


def keyed(name: str) -> pa.Table:
    column = COLUMNS[name]
    return pa.table({"x": column, "key": pa.array(range(len(column)))})


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - REFUSED - {"interval"}))
def test_values_come_back_as_they_were(name, tmp_path):
    write(keyed(name), tmp_path)
    found = found_in(tmp_path)
    wanted = block.plain(keyed(name))
    assert found.schema.field("x").type == AvroFormat().stored(wanted.schema).field("x").type
    pairs = zip(values(found.column("x")), values(wanted.column("x")), strict=True)
    assert all(same(*pair) for pair in pairs)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_columns_of_other_types_are_refused_by_name_and_type(name, tmp_path):
    type = block.plain(keyed(name)).schema.field("x").type
    with pytest.raises(SchemaError, match=r"'x'.*Avro") as caught:
        write(keyed(name), tmp_path)
    assert str(type) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


INT64 = st.integers(-(2**63), 2**63 - 1)
DRAWN = {
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): INT64,
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(),
    pa.binary(): st.binary(),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.date32(): st.dates(),
    pa.time32("ms"): st.integers(0, 86_399_999),
    pa.time64("us"): st.times(),
    pa.timestamp("ms", "UTC"): INT64,
    pa.timestamp("us", "UTC"): INT64,
    pa.timestamp("ns", "UTC"): INT64,
    pa.timestamp("ms"): INT64,
    pa.timestamp("us"): INT64,
    pa.timestamp("ns"): INT64,
    pa.decimal128(38, 5): st.decimals(-(10**30), 10**30, places=5),
    pa.decimal128(7, 0): st.integers(-(10**7) + 1, 10**7 - 1).map(decimal.Decimal),
    pa.decimal256(60, 2): st.decimals(-(10**20), 10**20, places=2),
    pa.month_day_nano_interval(): st.tuples(
        *[st.integers(0, 2**31 - 1)] * 2, st.integers(0, 2**32 - 1).map(lambda ms: ms * 10**6)
    ),
    pa.list_(pa.timestamp("ns", "UTC")): st.lists(st.none() | INT64),
    pa.list_(pa.list_(pa.decimal128(9, 2))): st.lists(
        st.none() | st.lists(st.none() | st.decimals(-(10**6), 10**6, places=2))
    ),
    pa.map_(pa.string(), pa.date32()): st.dictionaries(st.text(), st.none() | st.dates()).map(
        lambda found: list(found.items())
    ),
    pa.struct({"a": pa.time64("us"), "b": pa.struct({"c": pa.binary()})}): st.fixed_dictionaries(
        {
            "a": st.none() | st.times(),
            "b": st.none() | st.fixed_dictionaries({"c": st.none() | st.binary()}),
        }
    ),
}


@pytest.mark.parametrize("type", DRAWN, ids=str)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_values_come_back_as_they_were(tmp_path_factory, type, data):
    drawn = data.draw(st.lists(st.none() | DRAWN[type], min_size=1))
    table = pa.table({"a": pa.array(drawn, type)})
    path = tmp_path_factory.mktemp("avro") / "a.avro"
    path.write_bytes(stored(table))
    found = pa.table(ms.read_avro(path))
    assert found.schema == table.schema
    assert found.equals(table)


def test_another_reader_finds_the_same_values(tmp_path):
    rows = [
        {
            "day": datetime.date(2024, 2, 29),
            "at": datetime.datetime(2024, 2, 29, 12, 0, 0, 123456, datetime.UTC),
            "price": decimal.Decimal("-12.50"),
            "tags": ["a", None],
        },
        {"day": None, "at": None, "price": None, "tags": None},
    ]
    schema = pa.schema(
        {
            "day": pa.date32(),
            "at": pa.timestamp("us", "UTC"),
            "price": pa.decimal128(9, 2),
            "tags": pa.list_(pa.string()),
        }
    )
    write(pa.Table.from_pylist(rows, schema), tmp_path)
    with files_in(tmp_path)[0].open("rb") as file:
        assert list(fastavro.reader(file)) == rows


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_written(codec, tmp_path):
    write(pa.table({"a": list(range(3_000))}), tmp_path, codec=codec)
    with files_in(tmp_path)[0].open("rb") as file:
        assert fastavro.reader(file).codec == codec
    assert found_in(tmp_path).column("a").to_pylist() == list(range(3_000))


def test_a_level_makes_files_smaller(tmp_path):
    table = pa.table({"a": [number * number % 1_013 for number in range(30_000)]})
    for level in (1, 9):
        write(table, tmp_path / str(level), codec="deflate", compression_level=level)
    low, high = (files_in(tmp_path / each)[0].stat().st_size for each in ("1", "9"))
    assert high < low


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"codec": "gzip"}, "codec='gzip' must be one of 'null', 'deflate'"),
        ({"codec": None}, "codec=None must be"),
        ({"codec": "deflate", "compression_level": 99}, "compression_level=99 is none of codec"),
        ({"codec": "deflate", "compression_level": 0.5}, "compression_level=0.5 must be"),
        ({"codec": "xz", "compression_level": 3}, "compression_level=3 goes with the codecs"),
        ({"arrow_open_stream_args": {"compression": "gzip"}}, "cannot be compressed as a whole"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_the_call(tmp_path, options, said):
    with pytest.raises(ArgumentError, match=said):
        write(pa.table({"a": [1]}), tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_without_fastavro_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'millstream\[avro\]'"):
        write(pa.table({"a": [1]}), tmp_path)


def test_a_codec_without_its_package_is_told_at_the_call(monkeypatch, tmp_path):
    class Refusing:
        def __init__(self, *args, **options):
            pass

        def write(self, record):
            raise ValueError("zstandard codec is supported but you need to install some-package")

    monkeypatch.setattr("fastavro.write.Writer", Refusing)
    with pytest.raises(MissingPackageError, match="install some-package"):
        write(pa.table({"a": [1]}), tmp_path, codec="zstandard")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((-1, 0, 0), "no negative parts"),
        ((0, 0, 1), "whole milliseconds"),
    ],
)
def test_a_duration_that_avro_has_not_is_named_by_column_and_row(tmp_path, value, said):
    column = pa.array([None, (1, 2, 3_000_000), value], pa.month_day_nano_interval())
    with pytest.raises(SchemaError, match=f"'x'.* row 2 of this file.*{said}"):
        write(pa.table({"x": column}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_in_a_map_twice_is_named_by_column_and_row(tmp_path):
    column = pa.array([[("a", 1)], [("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))
    with pytest.raises(SchemaError, match=r"'x'.* row 1 of this file.*twice"):
        write(pa.table({"x": column}), tmp_path)


@pytest.mark.parametrize("name", ["two words", "1st", "größe", ""])
def test_a_name_that_avro_has_not_is_refused(tmp_path, name):
    for table in (pa.table({name: [1]}), pa.table({"x": [{name: 1}]})):
        with pytest.raises(SchemaError, match="letters, digits and _; rename"):
            AvroFormat().check(table.schema)


def test_a_struct_with_two_fields_of_one_name_is_refused():
    type = pa.struct([("a", pa.int64()), ("a", pa.int64())])
    with pytest.raises(SchemaError, match=r"'x' of type .*two fields of one name"):
        AvroFormat().check(pa.schema({"x": type}))


def test_a_column_that_is_there_twice_is_refused():
    with pytest.raises(SchemaError, match="'a' is there twice"):
        AvroFormat().check(pa.schema([("a", pa.int64()), ("a", pa.int64())]))


def test_decimals_that_would_come_back_as_others_are_refused():
    for type in (pa.decimal128(3, 5), pa.decimal128(3, -2), pa.decimal256(10, 2)):
        with pytest.raises(SchemaError, match=r"'x' of type decimal.*cast it"):
            AvroFormat().check(pa.schema({"x": type}))


def test_blocks_of_other_types_get_one_schema(tmp_path):
    first = ms.from_arrow(pa.table({"x": pa.array([1], pa.int32()), "y": pa.nulls(1)}))
    second = ms.from_arrow(pa.table({"x": [2**40], "y": ["q"]}))
    write_avro(first.union(second), tmp_path)
    rows = [{"x": 1, "y": None}, {"x": 2**40, "y": "q"}]
    assert ms.read_avro(tmp_path).take_all() == rows
    for path in files_in(tmp_path):
        assert ms.read_avro(path).schema().names == ["x", "y"]


def test_partitions_and_sizes_are_as_for_other_formats(tmp_path):
    ds = ms.from_items([{"a": n, "part": n % 2} for n in range(20)], override_num_blocks=4)
    write_avro(ds, tmp_path, partition_cols=["part"], max_rows_per_file=3)
    assert len(files_in(tmp_path)) >= 6
    found = ms.read_avro(tmp_path, partitioning=ms.Partitioning("hive")).take_all()
    assert sorted(found, key=lambda row: row["a"]) == [{"a": n, "part": n % 2} for n in range(20)]


def test_a_dataset_without_rows_is_a_file_with_columns(tmp_path):
    write(pa.table({"a": pa.array([], pa.date32())}), tmp_path)
    found = found_in(tmp_path)
    assert (found.num_rows, found.schema.field("a").type) == (0, pa.date32())


def test_wide_rows_are_written_a_few_at_a_time(tmp_path):
    table = pa.table({"a": [bytes([number]) * 1_000_000 for number in range(20)]})
    write(table, tmp_path)
    assert found_in(tmp_path).column("a").to_pylist() == table.column("a").to_pylist()
