from __future__ import annotations

import gzip
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
import tfrecord
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import rows_of, table_of, tables_of

from millstream.errors import (
    ArgumentError,
    MissingPackageError,
    ReadError,
    SchemaError,
)
from millstream.io.file_options import FileOptions
from millstream.io.formats import tfrecord_messages, tfrecords
from millstream.io.formats.tfrecord_messages import example_class, masked_crc
from millstream.io.formats.tfrecord_writer import TFRecordWriter
from millstream.io.partitioning import Partitioning
from millstream.options import takes
from millstream.read_records import read_tfrecords


@takes(files=FileOptions)
def plan(paths, *, files, override_num_blocks=None, **how):
    return tfrecords.plan_tfrecords(paths, files, blocks=override_num_blocks, **how)


def written(table: pa.Table, **how) -> bytes:
    sink = pa.BufferOutputStream()
    writer = TFRecordWriter(sink, table.schema, **how)
    writer.write(table)
    writer.close()
    return sink.getvalue().to_pybytes()


def save(path, table, **how):
    path.write_bytes(written(table, **how))
    return path


def framed(*records: bytes) -> bytes:
    parts = []
    for data in records:
        length = struct.pack("<Q", len(data))
        parts += [length, struct.pack("<I", masked_crc(length))]
        parts += [data, struct.pack("<I", masked_crc(data))]
    return b"".join(parts)


def example(**features) -> bytes:
    """An Example of lists of integers, floats or bytes; `None`: a feature of no kind."""
    made = example_class()()
    for name, values in features.items():
        feature = made.features.feature[name]
        if values is None:
            feature.SetInParent()
            continue
        kinds = {int: feature.int64_list, float: feature.float_list, bytes: feature.bytes_list}
        kind = kinds[type(values[0]) if values else int]
        kind.SetInParent()
        kind.value.extend(values)
    return made.SerializeToString()


int64s = st.integers(-(2**63), 2**63 - 1)
float32s = st.floats(width=32)
VALUES = {
    pa.int64(): int64s,
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**63 - 1),
    pa.float32(): float32s,
    pa.float64(): float32s,
    pa.binary(): st.binary(max_size=5),
    pa.large_string(): st.text(max_size=5),
}
TYPES = [*VALUES, *map(pa.list_, VALUES), pa.large_list(pa.int64()), pa.list_(pa.float32(), 2)]


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 6))
    columns = {}
    for index, type in enumerate(draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))):
        values = VALUES.get(type)
        if values is None:
            size = {"min_size": 2, "max_size": 2} if pa.types.is_fixed_size_list(type) else {}
            values = st.lists(VALUES[type.value_type], **({"max_size": 3} | size))
        cells = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[f"c{index}"] = pa.array(cells, type)
    return pa.table(columns)


def same(left: pa.Table, right: pa.Table) -> bool:
    """Whether all is equal, NaN and the sign of zero too."""
    return left.schema == right.schema and repr(left.to_pylist()) == repr(right.to_pylist())


@settings(max_examples=150, deadline=None)
@given(table=tables())
def test_what_is_written_with_a_schema_is_read_as_it_was(tmp_path_factory, table):
    path = save(tmp_path_factory.mktemp("tf") / "a.tfrecord", table)
    source = plan(path, schema=table.schema)
    assert same(table_of(source), table)
    assert source.schema == table.schema


def test_without_a_schema_types_are_those_of_the_messages(tmp_path):
    table = pa.table(
        {
            "text": ["é", "b"],
            "number": pa.array([1, 2], pa.int16()),
            "share": [0.5, 2.0],
            "list": [[1], [2, 3]],
        }
    )
    path = save(tmp_path / "a", table)
    found = table_of(plan(path))
    assert found.schema == pa.schema(
        [
            ("list", pa.list_(pa.int64())),
            ("number", pa.int64()),
            ("share", pa.float32()),
            ("text", pa.binary()),
        ]
    )
    assert found.to_pylist()[0] == {"list": [1], "number": 1, "share": 0.5, "text": "é".encode()}


def test_missing_features_are_null_and_empty_ones_are_empty_lists(tmp_path):
    (tmp_path / "a").write_bytes(
        framed(example(x=[1, 2], y=[1.0]), example(y=[2.0]), example(x=[]), example(x=None))
    )
    assert rows_of(plan(tmp_path)) == [
        {"x": [1, 2], "y": 1.0},
        {"x": None, "y": 2.0},
        {"x": [], "y": None},
        {"x": [], "y": None},
    ]


def test_one_value_stays_one_value_in_every_block_and_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecords, "TABLE_BYTES", 1)
    (tmp_path / "a").write_bytes(framed(example(x=[1], y=[1]), example(x=[2], y=[1, 2])))
    (tmp_path / "b").write_bytes(framed(example(x=[3]), example(y=[5])))
    found = list(tables_of(plan(tmp_path)))
    assert [table.num_rows for table in found] == [1, 1, 1, 1]
    assert {str(table.schema) for table in found} == {str(found[0].schema)}
    assert found[0].schema.types == [pa.int64(), pa.list_(pa.int64())]
    assert [row for table in found for row in table.to_pylist()] == [
        {"x": 1, "y": [1]},
        {"x": 2, "y": [1, 2]},
        {"x": 3, "y": None},
        {"x": None, "y": [5]},
    ]


@pytest.mark.parametrize("values", [[7, 8], []])
def test_a_later_record_with_more_or_no_values_is_an_error_that_a_schema_solves(
    tmp_path, monkeypatch, values
):
    monkeypatch.setattr(tfrecords, "_SAMPLE_RECORDS", 2)
    path = tmp_path / "a"
    path.write_bytes(framed(example(x=[1]), example(x=[2]), example(x=values)))
    with pytest.raises(
        ReadError, match=rf"'x' of record 2.*{len(values)} values.*schema"
    ) as caught:
        rows_of(plan(path))
    assert caught.value.file == str(path)
    schema = pa.schema([("x", pa.list_(pa.int64()))])
    assert rows_of(plan(path, schema=schema)) == [{"x": [1]}, {"x": [2]}, {"x": values}]


def test_in_a_schema_of_single_values_no_values_are_null(tmp_path):
    (tmp_path / "a").write_bytes(framed(example(x=[1]), example(x=[])))
    schema = pa.schema([("x", pa.int64())])
    assert rows_of(plan(tmp_path, schema=schema)) == [{"x": 1}, {"x": None}]


def test_a_feature_that_appears_late_is_a_list_in_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecords, "_SAMPLE_RECORDS", 1)
    monkeypatch.setattr(tfrecords, "TABLE_BYTES", 1)
    (tmp_path / "a").write_bytes(
        framed(example(x=[1]), example(late=None), example(x=[1], late=[2.0]), example(x=[3]))
    )
    assert rows_of(plan(tmp_path)) == [
        {"x": 1, "late": None},
        {"x": None, "late": []},
        {"x": 1, "late": [2.0]},
        {"x": 3, "late": None},
    ]


def test_features_of_two_kinds_are_an_error(tmp_path):
    (tmp_path / "a").write_bytes(framed(example(x=[1]), example(x=[1.5])))
    with pytest.raises(ReadError, match=r"'x' of record 1 .*is float.*int64"):
        rows_of(plan(tmp_path))


def test_a_schema_selects_orders_and_converts(tmp_path):
    save(tmp_path / "a", pa.table({"a": [1], "b": ["é"], "c": [0.5]}))
    schema = pa.schema([("b", pa.string()), ("a", pa.int8()), ("gone", pa.float64())])
    assert table_of(plan(tmp_path, schema=schema)).schema == schema
    assert rows_of(plan(tmp_path, schema=schema)) == [{"b": "é", "a": 1, "gone": None}]


@pytest.mark.parametrize(
    ("value", "type"), [([300], pa.int8()), ([b"\xff"], pa.string()), ([b"ok"], pa.int64())]
)
def test_a_value_that_does_not_fit_the_schema_is_named(tmp_path, value, type):
    good = example() if type == pa.int64() else example(x=[1] if type == pa.int8() else [b"a"])
    (tmp_path / "a").write_bytes(framed(good, example(x=value)))
    with pytest.raises(ReadError, match=r"'x' of record 1 ") as caught:
        rows_of(plan(tmp_path, schema=pa.schema([("x", type)])))
    assert caught.value.file == str(tmp_path / "a")


def test_records_without_features_are_rows_without_columns(tmp_path):
    (tmp_path / "a").write_bytes(framed(b"", example()))
    assert table_of(plan(tmp_path)).num_rows == 2


def test_an_empty_file_has_no_rows(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert list(tables_of(plan(tmp_path))) == []
    save(tmp_path / "b", pa.table({"x": [1]}))
    assert rows_of(plan(tmp_path)) == [{"x": 1}]


def test_an_empty_compressed_file_is_an_error(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"")
    with pytest.raises(ReadError, match="empty"):
        plan(tmp_path)


def test_a_file_that_is_cut_anywhere_is_an_error_with_file_and_offset(tmp_path):
    whole = framed(example(x=[1]), example(x=[2]))
    border = len(whole) // 2
    path = tmp_path / "a"
    schema = pa.schema([("x", pa.int64())])
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        if size == border:
            assert rows_of(plan(path, schema=schema)) == [{"x": 1}]
            continue
        at = 0 if size < border else border
        with pytest.raises(ReadError, match=rf"cut.*at byte {at}\b") as caught:
            rows_of(plan(path, schema=schema))
        assert caught.value.file == str(path)
        if size < border:
            with pytest.raises(ReadError, match="cut"):
                plan(path)


def test_every_damaged_byte_is_found(tmp_path):
    whole = framed(example(x=[1]), example(x=[2]))
    path = tmp_path / "a"
    for index in range(len(whole)):
        damaged = bytearray(whole)
        damaged[index] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ReadError, match=r"checksum") as caught:
            rows_of(plan(path, schema=pa.schema([("x", pa.int64())])))
        assert caught.value.file == str(path)


def test_left_over_bytes_are_an_error(tmp_path):
    path = tmp_path / "a"
    whole = framed(example(x=[1]))
    path.write_bytes(whole + b"\0" * 5)
    with pytest.raises(ReadError, match=rf"record 1 .*at byte {len(whole)}.*5 bytes are left over"):
        rows_of(plan(path, schema=pa.schema([("x", pa.int64())])))


@pytest.mark.parametrize(
    "record", [b"\xff\xff", b"\x12\x00", b"\x0a\x02\x10\x01", b"no protocol buffer"]
)
def test_other_messages_are_an_error(tmp_path, record):
    # The second is a SequenceExample, which looks like an Example with something more.
    (tmp_path / "a").write_bytes(framed(example(x=[1]), record))
    with pytest.raises(ReadError, match=r"record 1 .*is no tf.train.Example"):
        rows_of(plan(tmp_path))


def test_a_feature_of_an_unknown_kind_is_an_error(tmp_path):
    # Field 9 of a feature, with the number 1.
    feature = b"\x48\x01"
    entry = b"\x0a\x01x\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    (tmp_path / "a").write_bytes(framed(b"\x0a" + bytes([len(features)]) + features))
    with pytest.raises(ReadError, match=r"'x' of record 0 .*neither"):
        rows_of(plan(tmp_path))


def test_a_record_that_is_too_large_for_a_message_is_refused(tmp_path):
    length = struct.pack("<Q", 2**40)
    (tmp_path / "a").write_bytes(length + struct.pack("<I", masked_crc(length)) + b"1234")
    with pytest.raises(ReadError, match="2 GiB"):
        plan(tmp_path)


@pytest.mark.parametrize(
    ("name", "compress", "stream_args"),
    [
        ("a.tfrecord.gz", gzip.compress, None),
        ("a.zlib", zlib.compress, None),
        ("a", gzip.compress, {"compression": "gzip"}),
        ("a", zlib.compress, {"compression": "gzip", "buffer_size": 100}),
        ("a.gz", bytes, {"compression": None}),
    ],
)
def test_compressed_files_are_read_and_cuts_found(tmp_path, name, compress, stream_args):
    table = pa.table({"x": np.random.default_rng(0).integers(0, 2**60, 5000)})
    data = compress(written(table))
    path = tmp_path / name
    path.write_bytes(data)
    source = plan(path, arrow_open_stream_args=stream_args)
    assert same(table_of(source), table)
    for cut in (len(data) - 1, len(data) // 2 + 3):
        path.write_bytes(data[:cut])
        with pytest.raises(ReadError, match="at byte") as caught:
            rows_of(source)
        assert caught.value.file == str(path)


def test_a_compressed_file_without_its_extension_is_told(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(written(pa.table({"x": [1]}))))
    with pytest.raises(ReadError, match="compressed"):
        plan(tmp_path)


def test_large_files_come_in_tables_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecords, "TABLE_BYTES", 1 << 20)
    rows = 3000
    table = pa.table(
        {
            "l": pa.array([[index] * 100 for index in range(rows)]),
            "b": [bytes(index % 7) for index in range(rows)],
        }
    )
    path = save(tmp_path / "a", table)
    found = list(tables_of(plan(path, schema=table.schema)))
    assert len(found) == 3
    assert all(each.nbytes < 1.1 * (1 << 20) for each in found)
    assert same(pa.concat_tables(found), table)


def test_paths_and_folders_become_columns(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        save(tmp_path / f"year={year}" / "a", pa.table({"x": [year]}))
    source = plan(tmp_path, include_paths=True, partitioning=Partitioning("hive"))
    assert rows_of(source) == [
        {"x": year, "year": year, "path": str(tmp_path / f"year={year}" / "a")}
        for year in (2023, 2024)
    ]
    assert len(plan(tmp_path, override_num_blocks=1).units) == 1


def test_a_column_of_records_and_paths_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "x=1").mkdir()
    save(tmp_path / "x=1" / "a", pa.table({"x": [1], "path": [2]}))
    with pytest.raises(SchemaError, match="'x'"):
        plan(tmp_path, partitioning=Partitioning("hive"))
    with pytest.raises(SchemaError, match="'path'"):
        plan(tmp_path, include_paths=True)
    monkeypatch.setattr(tfrecords, "_SAMPLE_RECORDS", 1)
    (tmp_path / "x=1" / "a").write_bytes(framed(example(y=[1]), example(path=[1])))
    with pytest.raises(SchemaError, match="'path'"):
        rows_of(plan(tmp_path, include_paths=True))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"schema": "x"}, "schema"),
        ({"schema": pa.schema([("x", pa.bool_())])}, "'x'"),
        ({"schema": pa.schema([("x", pa.int64()), ("x", pa.int64())])}, "'x'"),
        ({"arrow_open_stream_args": {"codec": "gzip"}}, "arrow_open_stream_args"),
        ({"arrow_open_stream_args": ["gzip"]}, "arrow_open_stream_args"),
    ],
)
def test_wrong_arguments(tmp_path, wrong, match):
    save(tmp_path / "a", pa.table({"x": [1]}))
    with pytest.raises(ArgumentError, match=match):
        plan(tmp_path, **wrong)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    save(tmp_path / "a", pa.table({"x": [1]}))
    monkeypatch.setitem(__import__("sys").modules, "google_crc32c", None)
    with pytest.raises(MissingPackageError, match=r"millstream\[tfrecord\]"):
        plan(tmp_path)


def test_files_of_another_writer_are_read(tmp_path):
    writer = tfrecord.TFRecordWriter(str(tmp_path / "a.tfrecord"))
    for index in range(3):
        writer.write(
            {
                "bytes": (f"é{index}".encode(), "byte"),
                "floats": ([0.1, index], "float"),
                "number": (-index, "int"),
            }
        )
    writer.close()
    assert rows_of(plan(tmp_path)) == [
        {
            "bytes": f"é{index}".encode(),
            "floats": [float(np.float32(0.1)), float(index)],
            "number": -index,
        }
        for index in range(3)
    ]


def test_another_reader_reads_what_is_written(tmp_path):
    table = pa.table({"t": ["a", "é"], "f": [[0.5, -1.0], [2.0]], "i": [-(2**63), None]})
    path = save(tmp_path / "a", table)
    first, second = tfrecord.tfrecord_loader(str(path), None)
    assert bytes(first["t"]) == b"a"
    assert first["f"].tolist() == [0.5, -1.0]
    assert first["i"].tolist() == [-(2**63)]
    assert bytes(second["t"]) == "é".encode()
    assert "i" not in second


@pytest.mark.parametrize(
    "type",
    [
        pa.bool_(),
        pa.timestamp("us"),
        pa.struct([("a", pa.int64())]),
        pa.list_(pa.list_(pa.int64())),
        pa.null(),
        pa.decimal128(5),
    ],
)
def test_a_column_that_no_example_holds_is_refused(type):
    schema = pa.schema([("good", pa.int64()), ("bad", type)])
    with pytest.raises(SchemaError, match=r"'bad' is ") as caught:
        TFRecordWriter(pa.BufferOutputStream(), schema)
    assert str(type) in str(caught.value)


@pytest.mark.parametrize(
    ("good", "bad", "type"),
    [
        (1, 2**63, pa.uint64()),
        ([1], [5, 2**64 - 1], pa.list_(pa.uint64())),
        (0.5, 0.1, pa.float64()),
        (0.5, 1e300, pa.float64()),
        (float("nan"), 2.0**-1074, pa.float64()),
        ([0.5], [0.5, 0.1], pa.list_(pa.float64())),
        ([1], [1, None], pa.list_(pa.int64())),
    ],
)
def test_a_value_that_no_example_holds_names_column_and_row(good, bad, type):
    writer = TFRecordWriter(pa.BufferOutputStream(), pa.schema([("x", type)]))
    writer.write(pa.table({"x": pa.array([good] * 1500, type)}))
    with pytest.raises(SchemaError, match=r"'x' .*row 1502 "):
        writer.write(pa.table({"x": pa.array([None, good, bad, good], type)}))


def test_floats_are_rounded_if_asked_for(tmp_path):
    path = save(tmp_path / "a", pa.table({"x": [0.1, float("inf")]}), narrow_floats=True)
    assert rows_of(plan(path)) == [{"x": float(np.float32(0.1))}, {"x": float("inf")}]
    with pytest.raises(SchemaError, match="beyond 32 bits"):
        written(pa.table({"x": [1e300]}), narrow_floats=True)


def test_a_column_that_is_there_twice_is_refused():
    schema = pa.schema([("x", pa.int64()), ("x", pa.int64())])
    with pytest.raises(SchemaError, match="twice"):
        TFRecordWriter(pa.BufferOutputStream(), schema)


def test_equal_rows_give_equal_bytes_and_the_stream_stays_open():
    table = pa.table({name: [1] for name in "hgfedcba"})
    assert written(table) == written(table.select(list("abcdefgh")))
    sink = pa.BufferOutputStream()
    TFRecordWriter(sink, table.schema).close()
    assert not sink.closed


def test_the_public_function_reads(tmp_path):
    save(tmp_path / "a", pa.table({"x": [1, 2]}))
    assert read_tfrecords(str(tmp_path)).take_all() == [{"x": 1}, {"x": 2}]


def test_the_messages_are_apart_from_those_that_others_register():
    assert example_class().DESCRIPTOR is not tfrecord.example_pb2.Example.DESCRIPTOR
    assert tfrecord_messages.example_class() is example_class()
