"""All formats of files are written by one way: of one schema; as they were, or refused."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from column_samples import COLUMNS, same, values
from pyarrow import feather, orc

import millstream as ms
from millstream.blocks import block
from millstream.errors import ArgumentError, SchemaError, WriteError


def files_in(folder, extension: str) -> list[Path]:
    return sorted(Path(folder).rglob(f"*.{extension}"))


def read_csv(path, types: pa.Schema) -> pa.Table:
    return pa_csv.read_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def lines_in(folder) -> list[dict]:
    lines = (path.read_text().splitlines() for path in files_in(folder, "json"))
    return [json.loads(line) for each in lines for line in each]


#: The samples that a format refuses by name.
NESTED = {name for name in COLUMNS if "list" in name or "struct" in name or "tensor" in name}
OTHERS = {"vector", "map", "uuid", "interval", "duration", "nano_duration"}
BYTES = {"binary", "fixed_binary", "binary_view"}
REFUSED = {
    "csv": NESTED | OTHERS | BYTES | {"float16", "decimal256"},
    "json": {"map", "uuid", "interval", "duration", "nano_duration", "any_tensor"} | BYTES,
    "orc": {
        *("null", "uint8", "uint16", "uint64", "float16", "date64", "time32", "time64"),
        *("decimal32", "decimal64", "decimal256", "zoned", "zoned_utc"),
        *("duration", "nano_duration", "interval", "fixed_binary", "uuid", "empty_struct"),
        *("list_of_zoned", "struct_of_zoned", "deep_struct", "vector"),
        *(name for name in COLUMNS if "tensor" in name),
    },
    "arrow": set(),
}
#: What JSON has no number for.
NO_NUMBERS = {"float16", "float32", "float64", "list_of_floats"}


def keyed(name: str) -> pa.Table:
    """A column, and one that has no nulls."""
    column = COLUMNS[name]
    return pa.table({"x": column, "key": pa.array(range(len(column)))})


def write(table: pa.Table, folder, format: str, **options) -> None:
    getattr(ms.from_arrow(table), f"write_{format}")(str(folder), **options)


@pytest.mark.parametrize("name", sorted(COLUMNS))
@pytest.mark.parametrize("format", sorted(REFUSED))
def test_what_a_format_cannot_hold_is_refused_by_name(format, name, tmp_path):
    if name not in REFUSED[format]:
        write(keyed(name).slice(1, 1), tmp_path, format)
        assert files_in(tmp_path, format)
        return
    with pytest.raises(SchemaError, match=r"'x'") as error:
        write(keyed(name), tmp_path, format)
    assert str(block.plain(keyed(name)).schema.field("x").type) in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - REFUSED["csv"]))
def test_csv_holds_all_values_as_text_that_tells_them(name, tmp_path):
    write(keyed(name), tmp_path, "csv")
    wanted = block.plain(keyed(name))
    type = wanted.schema.field("x").type
    type = type.value_type if pa.types.is_dictionary(type) else type
    if pa.types.is_decimal(type):
        type = pa.decimal128(type.precision, type.scale)
    (path,) = files_in(tmp_path, "csv")
    found = read_csv(path, {"x": type})
    assert all(map(same, values(found.column("x")), values(wanted.column("x").cast(type))))
    assert found.num_rows == wanted.num_rows


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - REFUSED["json"] - NO_NUMBERS))
def test_json_has_all_digits_and_the_shape_of_the_values(name, tmp_path):
    write(keyed(name), tmp_path, "json")
    found = [row["x"] for row in lines_in(tmp_path)]
    column = block.plain(keyed(name)).column("x")
    assert len(found) == len(column)
    for line, value in zip(found, values(column), strict=True):
        is_text = isinstance(line, str) and not isinstance(value, str)
        if value is None or is_text or isinstance(value, dict):
            assert (line is None) == (value is None)
        elif isinstance(value, list):
            assert len(line) == len(value)
        else:
            assert same(line, value.tolist() if isinstance(value, np.ndarray) else value)


def test_json_times_are_text_to_the_last_digit(tmp_path):
    table = pa.table(
        {
            "t": pa.array([1], pa.timestamp("ns")),
            "z": pa.array([0], pa.timestamp("us", "UTC")),
            "s": [{"d": 1, "l": [None]}],
        },
        schema=pa.schema(
            {
                "t": pa.timestamp("ns"),
                "z": pa.timestamp("us", "UTC"),
                "s": pa.struct({"d": pa.date32(), "l": pa.list_(pa.decimal128(5, 2))}),
            }
        ),
    )
    write(table, tmp_path, "json")
    assert lines_in(tmp_path) == [
        {
            "t": "1970-01-01T00:00:00.000000001",
            "z": "1970-01-01T00:00:00.000000Z",
            "s": {"d": "1970-01-02", "l": [None]},
        }
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_refuses_what_is_no_number_there(value, tmp_path):
    with pytest.raises(SchemaError, match=r"'x'") as error:
        write(pa.table({"x": [1.0, value]}), tmp_path, "json")
    assert str(value) in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - REFUSED["orc"] - {"seconds"}))
def test_orc_gives_back_what_it_took(name, tmp_path):
    write(keyed(name), tmp_path, "orc")
    (path,) = files_in(tmp_path, "orc")
    found, wanted = orc.read_table(path), block.plain(keyed(name))
    assert all(map(same, values(found.column("x")), values(wanted.column("x"))))


def test_orc_has_no_times_beyond_what_nanoseconds_reach(tmp_path):
    table = pa.table({"x": pa.array([0, 253370764800], pa.timestamp("s"))})
    with pytest.raises(SchemaError, match=r"'x'.*253370764800"):
        write(table, tmp_path, "orc")


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_arrow_gives_back_what_it_took(name, compression, tmp_path):
    write(keyed(name), tmp_path, "arrow", compression=compression)
    (path,) = files_in(tmp_path, "arrow")
    found, wanted = feather.read_table(path), block.plain(keyed(name))
    assert found.schema.field("x").type == wanted.schema.field("x").type
    assert all(map(same, values(found.column("x")), values(wanted.column("x"))))


@pytest.mark.parametrize("format", ["csv", "json", "arrow", "orc"])
def test_files_of_blocks_with_other_types_get_one_schema(format, tmp_path):
    first = ms.from_arrow(pa.table({"x": pa.array([2**53 + 1, None]), "y": ["a", "b"]}))
    second = ms.from_arrow(pa.table({"x": [0.5], "z": [True]}))
    if format == "csv":
        with pytest.raises(SchemaError, match="'x'"):
            getattr(first.union(second), f"write_{format}")(str(tmp_path))
    third = ms.from_arrow(pa.table({"x": pa.array([7], pa.int8()), "z": [True]}))
    getattr(first.union(third), f"write_{format}")(str(tmp_path), min_bytes_per_file=1)
    rows = [{"x": 2**53 + 1, "y": "a", "z": None}, {"x": None, "y": "b", "z": None}]
    rows.append({"x": 7, "y": None, "z": True})
    read = {
        "csv": lambda path: read_csv(path, {}).to_pylist(),
        "json": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
        "arrow": lambda path: feather.read_table(path).to_pylist(),
        "orc": lambda path: orc.read_table(path).to_pylist(),
    }[format]
    assert [row for path in files_in(tmp_path, format) for row in read(path)] == rows


def test_dictionaries_that_differ_by_block_are_one_in_an_arrow_file(tmp_path):
    words = [
        pa.table({"w": pa.array(part).dictionary_encode()}) for part in (["a", "b"], ["c", None])
    ]
    ms.from_arrow(words).write_arrow(str(tmp_path))
    (path,) = files_in(tmp_path, "arrow")
    assert feather.read_table(path)["w"].to_pylist() == ["a", "b", "c", None]


@pytest.mark.parametrize("format", ["csv", "json", "arrow", "orc"])
def test_small_files_are_put_together_and_large_ones_cut(format, tmp_path):
    ds = ms.range(100).map_batches(lambda batch: batch, batch_size=10)
    getattr(ds, f"write_{format}")(str(tmp_path / "one"))
    assert len(files_in(tmp_path / "one", format)) == 1
    getattr(ds, f"write_{format}")(str(tmp_path / "cut"), max_rows_per_file=30)
    assert len(files_in(tmp_path / "cut", format)) >= 4


def test_no_file_has_more_rows_than_were_asked_for(tmp_path):
    ms.range(100).write_json(str(tmp_path), max_rows_per_file=30)
    rows = [len(path.read_text().splitlines()) for path in files_in(tmp_path, "json")]
    assert sum(rows) == 100
    assert max(rows) <= 30


def test_partitions_are_folders_in_each_format(tmp_path):
    table = pa.table({"year": [2024, 2025, 2024], "x": [1, 2, 3]})
    write(table, tmp_path, "csv", partition_cols=["year"])
    (path,) = files_in(tmp_path / "year=2024", "csv")
    assert path.read_text() == '"x"\n1\n3\n'


def test_a_compressed_stream_says_so_in_the_name(tmp_path):
    ms.range(3).write_json(str(tmp_path), arrow_open_stream_args={"compression": "gzip"})
    (path,) = files_in(tmp_path, "json.gz")
    assert gzip.decompress(path.read_bytes()) == b'{"id":0}\n{"id":1}\n{"id":2}\n'


@pytest.mark.parametrize("format", ["arrow", "orc", "parquet"])
def test_formats_with_a_footer_have_a_compression_of_their_own(format, tmp_path):
    args = {"compression": "gzip"}
    if format == "parquet":
        write(pa.table({"x": [1]}), tmp_path, format, arrow_open_stream_args=args)
        (path,) = files_in(tmp_path, format)
        assert pq.read_metadata(path).row_group(0).column(0).compression == "GZIP"
        return
    with pytest.raises(ArgumentError, match="compression of their own"):
        write(pa.table({"x": [1]}), tmp_path, format, arrow_open_stream_args=args)


def test_csv_takes_the_options_of_pyarrow(tmp_path):
    options = pa_csv.WriteOptions(delimiter=";", include_header=False)
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    write(table, tmp_path / "direct", "csv", write_options=options)
    write(table, tmp_path / "later", "csv", arrow_csv_args_fn=lambda: {"write_options": options})
    for folder in ("direct", "later"):
        (path,) = files_in(tmp_path / folder, "csv")
        assert path.read_text() == '1;"x"\n2;\n'
    with pytest.raises(ArgumentError, match="CSVWriter"):
        write(table, tmp_path, "csv", no_such_option=1)


@pytest.mark.parametrize("format", ["csv", "json", "arrow", "orc"])
def test_a_dataset_without_rows_is_a_file_without_rows(format, tmp_path):
    write(pa.table({"x": pa.array([], pa.int64())}), tmp_path, format)
    (path,) = files_in(tmp_path, format)
    content = {"csv": b'"x"\n', "json": b""}.get(format)
    if content is not None:
        assert path.read_bytes() == content
    else:
        read = feather.read_table if format == "arrow" else orc.read_table
        assert read(path).schema == pa.schema({"x": pa.int64()})


@pytest.mark.parametrize("format", ["csv", "json", "arrow", "orc"])
def test_a_run_that_fails_leaves_nothing(format, tmp_path):
    def fail(row):
        raise ValueError("no")

    with pytest.raises(ms.UserCodeError):
        getattr(ms.range(10).map(fail), f"write_{format}")(str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


ARRAYS = {
    "numbers": np.arange(10, dtype=np.int16),
    "floats": np.array([0.1, np.nan, -0.0]),
    "bools": np.array([True, False]),
    "times": np.array(["2024-02-29T12:00", "1969-01-01"], "datetime64[us]"),
    "tensors": np.arange(24, dtype=np.float32).reshape(4, 2, 3),
}


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_numpy_loads_the_arrays_that_were_written(name, tmp_path):
    wanted = ARRAYS[name]
    ds = ms.from_items([{"x": value, "other": "text"} for value in wanted], override_num_blocks=2)
    ds.write_numpy(str(tmp_path), column="x")
    found = [np.load(path) for path in files_in(tmp_path, "npy")]
    np.testing.assert_array_equal(np.concatenate(found), wanted)
    assert {array.dtype for array in found} == {wanted.dtype}


def test_numpy_puts_small_arrays_together(tmp_path):
    ds = ms.range(100).map_batches(lambda batch: batch, batch_size=10)
    ds.write_numpy(str(tmp_path), column="id")
    (path,) = files_in(tmp_path, "npy")
    np.testing.assert_array_equal(np.load(path), np.arange(100))


@pytest.mark.parametrize("column", [pa.array([1, None]), pa.array(["a"]), pa.array([[1]])])
def test_numpy_refuses_nulls_text_and_lists(column, tmp_path):
    with pytest.raises((SchemaError, WriteError), match="'x'"):
        ms.from_arrow(pa.table({"x": column})).write_numpy(str(tmp_path), column="x")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_column_is_named(tmp_path):
    with pytest.raises(SchemaError, match="'nothing'"):
        ms.range(3).write_numpy(str(tmp_path), column="nothing")


@pytest.mark.parametrize("format", ["tfrecords", "webdataset"])
def test_records_come_back_as_they_were(format, tmp_path):
    rows = [{"txt": f"row {number}", "cls": number} for number in range(20)]
    ds = ms.from_items(rows, override_num_blocks=3)
    getattr(ds, f"write_{format}")(str(tmp_path), max_rows_per_file=5)
    assert len(list(tmp_path.iterdir())) >= 4
    if format == "webdataset":
        found = ms.read_webdataset(str(tmp_path)).select_columns(["txt", "cls"]).take_all()
    else:
        types = pa.schema({"txt": pa.string(), "cls": pa.int64()})
        found = ms.read_tfrecords(str(tmp_path), schema=types).take_all()
    assert found == rows


@pytest.mark.parametrize("format", ["tfrecords", "webdataset"])
def test_records_are_written_once_so_their_types_must_agree(format, tmp_path):
    first = ms.from_arrow(pa.table({"json": pa.array([1], pa.int8())}))
    second = ms.from_arrow(pa.table({"json": pa.array([2.5])}))
    with pytest.raises(SchemaError, match=r"'json' is int8 in some blocks, but double"):
        getattr(first.union(second), f"write_{format}")(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArgumentError, match="min_bytes_per_file"):
        getattr(first, f"write_{format}")(str(tmp_path), min_bytes_per_file=1)
    options = {"min_rows_per_file": 1, "partition_cols": ["json"]}
    with pytest.raises(ArgumentError, match="min_rows_per_file with partition_cols"):
        getattr(first, f"write_{format}")(str(tmp_path), **options)


def test_orc_takes_the_type_of_nulls_from_other_blocks(tmp_path):
    nulls = ms.from_arrow(pa.table({"x": ["a"], "y": pa.nulls(1)}))
    nulls.union(ms.from_arrow(pa.table({"x": ["b"], "y": ["q"]}))).write_orc(str(tmp_path))
    rows = [row for path in files_in(tmp_path, "orc") for row in orc.read_table(path).to_pylist()]
    assert rows == [{"x": "a", "y": None}, {"x": "b", "y": "q"}]


def test_a_partition_column_has_a_name(tmp_path):
    with pytest.raises(ArgumentError, match="partition_cols"):
        ms.from_items([{"": 1, "v": 2}]).write_json(str(tmp_path), partition_cols=[""])
