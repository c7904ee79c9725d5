"""Batches: what functions get, what they may give back, and what survives on the way."""

import datetime
import decimal
import itertools
import zoneinfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.blocks import block, rows, tensor
from millstream.blocks.batch import Given, from_batch, join_small, rebatch, require_format, to_batch
from millstream.errors import ArgumentError, UserCodeError

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.large_string(): st.text("aé€😀 \0"),
    pa.large_binary(): st.binary(),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "Europe/Berlin"): st.datetimes(
        datetime.datetime(1970, 1, 2), datetime.datetime(2200, 1, 1)
    ).map(lambda value: value.replace(tzinfo=BERLIN, fold=0)),
    pa.duration("us"): st.timedeltas(datetime.timedelta(-999), datetime.timedelta(999)),
    pa.time64("us"): st.times(),
    pa.decimal128(20, 4): st.decimals(-(10**15), 10**15, places=4),
    pa.list_(pa.int64()): st.lists(st.integers(-(2**63), 2**63 - 1)),
    pa.list_(pa.large_string()): st.lists(st.text("ab", max_size=3)),
    pa.list_(pa.list_(pa.float64())): st.lists(st.lists(st.floats(allow_nan=False))),
    pa.struct({"a": pa.int64(), "b": pa.large_string()}): st.fixed_dictionaries(
        {"a": st.integers(0, 9), "b": st.text("ab", max_size=3)}
    ),
}


@st.composite
def tables(draw):
    types = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    rows = draw(st.integers(0, 6))
    columns = {}
    for index, type in enumerate(types):
        cell = st.none() | VALUES[type] if draw(st.booleans()) else VALUES[type]
        columns[f"c{index}"] = pa.array([draw(cell) for _ in range(rows)], type)
    return pa.table(columns)


@pytest.mark.parametrize("format", ["default", "numpy", "pyarrow"])
@pytest.mark.parametrize("writable", [False, True])
@given(table=tables())
def test_values_and_types_survive_a_function_that_returns_its_batch(format, writable, table):
    batch = to_batch(table, format, writable=writable)
    back = from_batch(batch, Given(table, batch))
    assert back.schema.equals(table.schema)
    assert back.to_pylist() == table.to_pylist()


@given(table=tables())
def test_values_survive_pandas(table):
    batch = to_batch(table, "pandas", writable=True)
    back = from_batch(batch, Given(table, batch))
    assert back.schema.equals(table.schema)
    assert back.to_pylist() == table.to_pylist()


RARE = {
    "date64": pa.array([datetime.date(2020, 1, 1), None], pa.date64()),
    "time32": pa.array([datetime.time(1), None], pa.time32("s")),
    "seconds": pa.array([datetime.datetime(2020, 1, 1), None], pa.timestamp("s")),
    "nanoseconds": pa.array([1, None], pa.timestamp("ns", "Asia/Tokyo")),
    "nano_durations": pa.array([1, None], pa.duration("ns")),
    "large_list": pa.array([[1], None], pa.large_list(pa.int8())),
    "fixed_list": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "list_of_structs": pa.array([[{"a": 1, "b": datetime.date(2020, 1, 1)}], None]),
    "struct_of_zoned": pa.array([{"t": datetime.datetime(2020, 1, 1, tzinfo=BERLIN)}, None]),
    "words": pa.array(["a", None, "b"]).dictionary_encode(),
    "fixed_binary": pa.array([b"ab", None], pa.binary(2)),
    "decimal256": pa.array([decimal.Decimal("1.5"), None], pa.decimal256(50, 3)),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"x" * 16, None], pa.binary(16))),
    "null": pa.nulls(2),
    "int8_null": pa.array([1, None], pa.int8()),
    "interval": pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
}


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("name", RARE)
def test_rare_types_survive_numpy(name, writable):
    table = pa.table({"c": RARE[name]})
    batch = to_batch(table, "numpy", writable=writable)
    assert from_batch(batch, Given(table, batch)).equals(table)


@pytest.mark.parametrize("name", RARE)
def test_rare_types_survive_rows(name):
    table = pa.table({"c": RARE[name]})
    assert rows.from_rows(list(rows.iter_rows(table)), table.schema).equals(table)


def test_numpy_dtypes_are_the_documented_ones():
    table = pa.table(
        {
            "int": [1, 2],
            "int_null": [1, None],
            "big_null": [2**60 + 1, None],
            "bool_null": [True, None],
            "date": [datetime.date(2024, 2, 29), None],
            "zone": pa.array([datetime.datetime(2024, 1, 1, tzinfo=BERLIN)] * 2),
            "text": ["a", None],
            "list": [[1, 2], [3]],
            "decimal": [decimal.Decimal("1.50"), None],
        }
    )
    batch = to_batch(table, "numpy")
    dtypes = {name: str(array.dtype) for name, array in batch.items()}
    assert dtypes == {
        "int": "int64",
        "int_null": "object",
        "big_null": "object",
        "bool_null": "object",
        "date": "datetime64[D]",
        "zone": "datetime64[us]",
        "text": "object",
        "list": "object",
        "decimal": "object",
    }
    assert batch["int_null"].tolist() == [1, None]
    assert batch["big_null"].tolist() == [2**60 + 1, None]
    assert batch["list"][0].tolist() == [1, 2]
    assert batch["zone"][0] == np.datetime64("2023-12-31T23:00")
    assert batch["decimal"][0] == decimal.Decimal("1.50")


def test_read_only_batches_are_views_and_writable_ones_are_copies():
    values = np.arange(4.0)
    images = np.zeros((4, 2, 2), np.uint8)
    table = pa.table({"v": pa.array(values), "i": tensor.from_ndarray(images)})
    view = to_batch(table, "numpy", writable=False)
    assert np.shares_memory(view["v"], values)
    assert np.shares_memory(view["i"], images)
    assert not view["v"].flags.writeable
    assert not view["i"].flags.writeable
    copy = to_batch(table, "numpy", writable=True)
    copy["v"] += 1
    copy["i"] += 1
    assert values.tolist() == [0, 1, 2, 3]
    assert images.sum() == 0


def test_writable_reaches_into_lists_and_ragged_tensors():
    ragged = tensor.from_ndarrays([np.zeros(2), np.zeros(3)])
    table = pa.table({"l": [[1, 2], [3]], "r": ragged, "n": [[[1], [2]], [[3]]]})
    batch = to_batch(table, "numpy", writable=True)
    batch["l"][0][0] = 9
    batch["r"][1][0] = 9
    batch["n"][0][0][0] = 9
    assert table.column("l").to_pylist() == [[1, 2], [3]]
    assert table.column("n").to_pylist() == [[[1], [2]], [[3]]]
    assert tensor.to_numpy(table.column("r"))[1].tolist() == [0, 0, 0]


def test_writable_reaches_into_structs():
    table = pa.table({"s": [{"l": [1, 2]}]})
    to_batch(table, "numpy", writable=True)["s"][0]["l"][0] = 9
    assert table["s"].to_pylist() == [{"l": [1, 2]}]


def test_writable_pandas_does_not_reach_the_block():
    table = pa.table({"v": np.arange(3.0)})
    frame = to_batch(table, "pandas", writable=True)
    frame.loc[0, "v"] = 9.0
    assert table["v"].to_pylist() == [0, 1, 2]


def test_an_untouched_column_comes_back_without_a_copy():
    table = pa.table({"text": pa.array(["a", "b"], pa.large_string()), "n": [1, None]})
    batch = to_batch(table, "numpy")
    back = from_batch({"renamed": batch["text"], "n": batch["n"]}, Given(table, batch))
    assert (
        back["renamed"].chunk(0).buffers()[2].address == table["text"].chunk(0).buffers()[2].address
    )
    assert back["n"].type == pa.int64()


def test_a_nullable_integer_that_was_written_to_follows_the_values():
    table = pa.table({"n": [1, None, 3]})
    batch = to_batch(table, "numpy", writable=True)
    batch["n"][0] = 7
    assert from_batch(batch, Given(table, batch))["n"].to_pylist() == [7, None, 3]
    batch["n"][0] = 0.5
    assert from_batch(batch, Given(table, batch))["n"].to_pylist() == [0.5, None, 3.0]


def test_a_time_zone_survives_arithmetic():
    table = pa.table({"t": pa.array([datetime.datetime(2024, 1, 1, tzinfo=BERLIN)])})
    batch = to_batch(table, "numpy")
    back = from_batch({"t": batch["t"] + np.timedelta64(1, "h")}, Given(table, batch))
    assert back["t"].to_pylist() == [datetime.datetime(2024, 1, 1, 1, tzinfo=BERLIN)]


def test_a_struct_that_gains_a_key_keeps_it():
    table = pa.table({"s": [{"a": 1}]})
    batch = to_batch(table, "numpy", writable=True)
    batch["s"][0]["b"] = 2
    assert from_batch(batch, Given(table, batch))["s"].to_pylist() == [{"a": 1, "b": 2}]


def test_all_kinds_of_columns_are_taken():
    back = from_batch(
        {
            "list": [1, 2],
            "tuple": ("a", "b"),
            "array": np.array([1.5, 2.5]),
            "text": np.array(["x", "yy"]),
            "bytes": np.array([b"x", b"yy"]),
            "scalars": [np.int32(1), np.int32(2)],
            "dates": [np.datetime64("2024-01-01"), None],
            "tensor": np.zeros((2, 3, 3)),
            "stacked": [np.zeros(3), np.ones(3)],
            "ragged": [np.zeros(3), np.ones(2)],
            "nested": [[1], []],
            "arrow": pa.array([1, 2]),
            "series": pd.Series(["a", None]),
            "zoned": pd.Series(pd.to_datetime(["2024-01-01"] * 2, utc=True)),
            "masked": np.ma.array([1, 2], mask=[True, False]),
            "none": [None, None],
            "big_endian": np.array([1, 2], ">i4"),
            "hours": np.array([1, 2], "m8[h]"),
        }
    )
    types = {field.name: str(field.type) for field in back.schema}
    assert types["text"] == types["tuple"] == types["series"] == "large_string"
    assert types["bytes"] == "large_binary"
    assert types["scalars"] == types["big_endian"] == "int32"
    assert types["dates"] == "date32[day]"
    assert types["tensor"].startswith("extension<arrow.fixed_shape_tensor")
    assert types["stacked"].startswith("extension<arrow.fixed_shape_tensor")
    assert types["ragged"].startswith("extension<arrow.variable_shape_tensor")
    assert types["nested"] == "list<item: int64>"
    assert types["zoned"].endswith("tz=UTC]")
    assert types["none"] == "null"
    assert back["masked"].to_pylist() == [None, 2]
    assert back["hours"].to_pylist() == [datetime.timedelta(hours=1), datetime.timedelta(hours=2)]


def test_strings_within_lists_have_64_bit_offsets_too():
    back = from_batch({"l": [["a"], []], "s": [{"k": b"x"}, None]})
    assert back.schema.field("l").type.value_type == pa.large_string()
    assert back.schema.field("s").type.field("k").type == pa.large_binary()


def test_a_library_with_array_protocol_gives_a_tensor():
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 2), np.float32)

    assert from_batch({"t": [Foreign()]})["t"].type == pa.fixed_shape_tensor(pa.float32(), (2, 2))
    assert from_batch({"t": Foreign()})["t"].type == pa.fixed_shape_tensor(pa.float32(), (2,))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "the function returned None, which is not a batch; return a dict"),
        ([1], "returned a list of int, which is not a batch"),
        (np.zeros(3), "a value of type ndarray"),
        ("text", "a value of type str"),
        ({"a": 1}, "a value of type int for the column 'a'"),
        ({"a": None}, "returned None for the column 'a'"),
        ({"a": "text"}, "a value of type str for the column 'a'"),
        ({"a": np.float64(1)}, "for the column 'a'; it must be a NumPy array or a list"),
        ({1: [1]}, "the key 1 of type int"),
        ({"a": [1], "b": [1, 2]}, "columns of different lengths: 'a' has 1, 'b' has 2"),
        ({"a": [object()]}, "column 'a' holds values that are no Arrow column .of object"),
        ({"a": ["x", 1]}, "column 'a' holds values that are no Arrow column .of int, str"),
        ({"a": np.zeros(2, complex)}, "column 'a' has dtype complex128"),
        ({"a": [2**80]}, "column 'a' holds values"),
        (pd.DataFrame({1: [1]}), "the column name 1 of type int"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a' occurs twice"),
        (pa.table([[1], [2]], names=["a", "a"]), "'a' occurs more than once"),
    ],
)
def test_what_is_no_batch_is_an_error_that_says_so(returned, message):
    with pytest.raises(UserCodeError, match=message):
        from_batch(returned)


def test_batches_without_columns_keep_their_rows():
    sealed = block.rows_only(3)
    assert to_batch(sealed, "numpy") == {}
    assert from_batch(to_batch(sealed, "pyarrow")).num_rows == 3
    frame = to_batch(sealed, "pandas")
    assert len(frame) == 3
    assert from_batch(frame).num_rows == 3


def test_record_batches_are_tables():
    assert from_batch(pa.record_batch({"a": [1]})).to_pydict() == {"a": [1]}


def test_unknown_format_is_refused():
    with pytest.raises(ArgumentError, match="must be one of 'default', 'numpy'"):
        require_format("torch")


@given(st.lists(st.integers(0, 7)), st.integers(1, 9))
def test_batches_cross_blocks_and_keep_order(sizes, rows):
    values = iter(range(1000))
    blocks = [
        pa.table({"a": pa.array([next(values) for _ in range(n)], pa.int64())}) for n in sizes
    ]
    batches = list(rebatch(blocks, rows))
    assert all(batch.num_rows == rows for batch in batches[:-1])
    assert all(0 < batch.num_rows <= rows for batch in batches)
    flat = [value for batch in batches for value in batch["a"].to_pylist()]
    assert flat == list(range(sum(sizes)))


def test_without_a_size_each_block_is_a_batch():
    blocks = [
        pa.table({"a": [1, 2]}),
        pa.table({"a": pa.array([], pa.int64())}),
        pa.table({"a": [3]}),
    ]
    assert [batch.num_rows for batch in rebatch(blocks, None)] == [2, 1]


@given(st.lists(st.tuples(st.integers(0, 90_000), st.sampled_from([pa.int64(), pa.int32()]))))
def test_small_neighbours_of_one_schema_are_joined_and_nothing_else_changes(parts):
    blocks = [pa.table({"a": pa.nulls(rows, type)}) for rows, type in parts]
    joined = list(join_small(blocks))

    def runs(tables):
        by_type = itertools.groupby(tables, lambda table: table.schema.field("a").type)
        return [(type, sum(table.num_rows for table in run)) for type, run in by_type]

    assert runs(joined) == runs(table for table in blocks if table.num_rows)
    ends = set(itertools.accumulate(table.num_rows for table in blocks))
    assert set(itertools.accumulate(table.num_rows for table in joined)) <= ends
    for left, right in itertools.pairwise(joined):
        assert left.schema != right.schema or left.nbytes + right.nbytes > 1 << 20


def test_a_large_block_is_joined_with_nothing_and_not_held_back():
    large, small = pa.table({"a": pa.nulls(1 << 17, pa.int64())}), pa.table({"a": [1]})
    stream = join_small(iter([large, small, small]))
    assert next(stream).num_rows == large.num_rows
    assert [table.num_rows for table in stream] == [2]


def test_a_batch_within_a_block_is_a_view():
    values = np.arange(10)
    batch = list(rebatch([pa.table({"a": pa.array(values)})], 4))[1]
    assert np.shares_memory(to_batch(batch, "numpy")["a"], values)


@pytest.mark.parametrize("dtype", ["S", "U", ">U5"])
def test_text_of_numpy_keeps_its_zeros(dtype):
    words = ["a\0c", "\0b", "plain", ""]
    array = np.array(words if "U" in dtype else [word.encode() for word in words]).astype(dtype)
    assert from_batch({"x": array}).column("x").to_pylist() == array.tolist()
