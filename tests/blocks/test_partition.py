"""Which partition a row goes to: each row to one, equal values to the same, as seeds tell."""

from __future__ import annotations

import datetime
import decimal
import math
import pickle
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from column_samples import COLUMNS, values
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.blocks import block, draw, order, tensor
from millstream.blocks.join import ByJoinKeys, JoinPlan, Side
from millstream.blocks.partition import AtRandom, ByHash, ByOrder, deal
from millstream.blocks.row_hash import hash_rows
from millstream.errors import SchemaError

KEYS = order.Keys(("x",), (False,))
numbers = st.none() | st.integers(-3, 3)


def numbered(columns):
    """Blocks with a column that numbers the rows of all."""
    tables, rows = [], 0
    for column in columns:
        tables.append(pa.table({"x": column, "row": np.arange(rows, rows + len(column))}))
        rows += len(column)
    return tables


def dealt(tables, partitioner):
    """The rows of each partition, by their numbers."""
    found = {number: [] for number in range(partitioner.partitions)}
    for number, table in deal(tables, partitioner):
        assert table.num_rows
        found[number] += table.column("row").to_pylist()
    return found


def meets(columns, partitions=2**31):
    """The partitions that the values of several columns go to."""
    by_hash = ByHash(("x",), partitions)
    return [by_hash.parts(pa.table({"x": column})).tolist() for column in columns]


# Dealing ------------------------------------------------------------------------------------

partitioners = st.sampled_from(
    [ByHash(("x",), 4), AtRandom(7, 3), AtRandom(7, 1), ByOrder(KEYS, pa.table({"x": [-1, 1]}))]
)


@given(st.lists(st.lists(numbers, max_size=6), min_size=1, max_size=4), partitioners)
@settings(max_examples=50)
def test_each_row_goes_to_one_partition_and_the_order_stays(blocks, partitioner):
    tables = numbered(pa.array(block, pa.int64()) for block in blocks)
    found = dealt(tables, partitioner)
    rows = [row for part in found.values() for row in part]
    assert sorted(rows) == list(range(sum(map(len, blocks))))
    assert all(part == sorted(part) for part in found.values())
    parts = np.concatenate([partitioner.parts(table) for table in tables]).tolist()
    if partitioner.partitions > 1:
        assert all(parts[row] == part for part, rows in found.items() for row in rows)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_any_type_are_dealt_out_unchanged(name):
    tables = [block.plain(table) for table in numbered([COLUMNS[name], COLUMNS[name][:1]])]
    together = block.concat(tables)
    for number, table in deal(tables, AtRandom(3, 4)):
        assert 0 <= number < 4
        assert table.schema.equals(together.schema)
        rows = pa.array(table.column("row").to_pylist())
        assert repr(values(table.column("x"))) == repr(values(together.column("x").take(rows)))


def test_blocks_of_other_types_get_one_in_each_partition():
    tables = numbered([pa.array([1, 2], pa.int8()), pa.array([0.5, None]), pa.nulls(2)])
    found = list(deal(tables, ByHash(("x",), 3)))
    assert {table.column("x").type for _, table in found} == {pa.float64()}
    assert sum(table.num_rows for _, table in found) == 6


def test_rows_without_columns_are_dealt_out():
    tables = [block.rows_only(5), block.rows_only(7)]
    assert sum(table.num_rows for _, table in deal(tables, AtRandom(0, 3))) == 12


def test_the_sides_of_a_join_stay_apart():
    sides = [Side(number).open()([pa.table({"id": [1, 2], "x": [1, 2]})]) for number in (0, 1)]
    tables = [table for side in sides for table in side]
    partitioner = ByJoinKeys(JoinPlan("inner", ("id",), ("id",)), 1)
    names = [table.column_names for _, table in deal(tables, partitioner)]
    assert names == [["0", "0 id", "0 x"], ["1", "1 id", "1 x"]]


@pytest.mark.parametrize("partitioner", [ByHash(("y",), 2), ByOrder(KEYS, pa.table({"y": [1]}))])
def test_a_column_that_is_not_there_is_named(partitioner):
    table = pa.table({"z": [1, 2]})
    with pytest.raises(SchemaError, match=r"no column '[xy]'; the columns are 'z'"):
        partitioner.parts(table)


# By hash ------------------------------------------------------------------------------------


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=20))
@settings(max_examples=30)
def test_equal_numbers_meet_whatever_their_type(found):
    types = [
        *(pa.int8(), pa.int64(), pa.float16(), pa.float32(), pa.float64()),
        *(pa.decimal128(19, 0), pa.decimal128(30, 9), pa.decimal256(50, 3)),
    ]
    parts = meets([pa.array(found, pa.int64()).cast(type) for type in types])
    assert all(each == parts[0] for each in parts)
    codes = pa.array(found).dictionary_encode()
    assert meets([codes]) == parts[:1]


@pytest.mark.parametrize(
    "columns",
    [
        [pa.array([0.0]), pa.array([-0.0]), pa.array([0])],
        [pa.array([math.nan]), pa.array(-np.array([math.nan])), pa.array([math.nan], pa.float32())],
        [pa.nulls(1), pa.array([None], pa.string()), pa.array([None]).dictionary_encode()],
        [pa.array([2**63], pa.uint64()), pa.array([2.0**63])],
        [pa.array([-(2**63)]), pa.array([-(2.0**63)])],
        [
            pa.array([2**53 + 1]),
            pa.array([2**53 + 1], pa.uint64()),
            pa.array([decimal.Decimal(2**53 + 1)], pa.decimal128(20, 0)),
        ],
        [pa.array(["é😀"]), pa.array(["é😀"], pa.large_string())],
        [pa.array([b"ab"]), pa.array([b"ab"], pa.binary(2)), pa.array([b"ab"], pa.large_binary())],
        [pa.array([1], pa.date32()), pa.array([86_400_000], pa.date64())],
        [
            pa.array([5], pa.timestamp("s", "UTC")),
            pa.array([5000], pa.timestamp("ms", "Asia/Tokyo")),
        ],
        [pa.array([-1500], pa.duration("ms")), pa.array([-1_500_000_000], pa.duration("ns"))],
        [pa.array([7], pa.time32("s")), pa.array([7_000_000], pa.time64("us"))],
    ],
    ids=str,
)
def test_equal_values_meet(columns):
    found = {tuple(parts) for parts in meets(columns)}
    assert len(found) == 1


@given(st.lists(st.decimals(-1000, 1000, places=2), min_size=1, max_size=20))
@settings(max_examples=30)
def test_decimals_meet_whatever_their_scale(found):
    types = [pa.decimal128(10, 2), pa.decimal128(30, 12), pa.decimal256(60, 5)]
    parts = meets([pa.array(found, type) for type in types])
    assert parts[0] == parts[1] == parts[2]


# By order -----------------------------------------------------------------------------------


@given(
    st.lists(st.lists(numbers, max_size=6), min_size=1, max_size=3),
    st.lists(numbers, min_size=1, max_size=4, unique=True),
    st.booleans(),
    st.sampled_from(["at_start", "at_end"]),
)
@settings(max_examples=50)
def test_partitions_follow_each_other(blocks, bounds, is_descending, nulls):
    keys = order.Keys(("x",), (is_descending,), nulls)
    bounds = order.sorted_table(pa.table({"x": pa.array(bounds, pa.int64())}), keys)
    tables = numbered(pa.array(block, pa.int64()) for block in blocks)
    found = dealt(tables, ByOrder(keys, bounds))
    column = [value for block in blocks for value in block]
    flat = [column[row] for rows in found.values() for row in order_within(rows, column, keys)]
    table = pa.table({"x": pa.array(column, pa.int64())})
    assert flat == order.sorted_table(table, keys).column("x").to_pylist()
    homes = {}
    for number, rows in found.items():
        for row in rows:
            assert homes.setdefault(column[row], number) == number


def order_within(rows, column, keys):
    table = pa.table({"x": pa.array([column[row] for row in rows], pa.int64())})
    return [rows[place] for place in order.sort_indices(table, keys).tolist()]


def test_bounds_of_another_type_than_a_block_divide_it_alike():
    by_order = ByOrder(KEYS, pa.table({"x": [0.5, 2.0]}))
    parts = [
        by_order.parts(pa.table({"x": pa.array([0, 1, 2, 3, None], type)})).tolist()
        for type in (pa.int8(), pa.int64(), pa.float32())
    ]
    assert parts[0] == parts[1] == parts[2] == [0, 1, 2, 2, 2]


def test_one_nan_and_one_zero_among_bounds():
    by_order = ByOrder(KEYS, pa.table({"x": [0.0, math.nan]}))
    found = by_order.parts(pa.table({"x": [-0.0, 0.0, -1.0, math.nan, -math.nan, None]}))
    assert found.tolist() == [1, 1, 0, 2, 2, 2]


# At random ----------------------------------------------------------------------------------


@given(st.integers(0, 2**70), st.integers(0, 300), st.integers(1, 5))
@settings(max_examples=30)
def test_a_seed_deals_equal_blocks_out_alike_however_they_are_cut(seed, rows, pieces):
    table = pa.table({"x": np.arange(rows), "s": [f"row {row}" for row in range(rows)]})
    ends = np.linspace(0, rows, pieces + 1).astype(int)
    cut = pa.concat_tables([table.slice(a, b - a) for a, b in pairwise(ends)])
    parts = AtRandom(seed, 7).parts(table)
    assert parts.tolist() == pickle.loads(pickle.dumps(AtRandom(seed, 7))).parts(cut).tolist()
    assert not rows or (parts.min() >= 0 and parts.max() < 7)


def test_other_seeds_and_other_blocks_are_dealt_out_otherwise():
    blocks = [pa.table({"x": np.arange(start, start + 100)}) for start in (0, 100)]
    found = {tuple(AtRandom(seed, 7).parts(table)) for seed in range(20) for table in blocks}
    assert len(found) == 40


def test_partitions_get_about_as_many_rows_each():
    counts = np.bincount(AtRandom(1, 8).parts(pa.table({"x": np.arange(80_000)})), minlength=8)
    assert abs(counts - 10_000).max() < 500


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_any_type_are_dealt_out_alike_however_they_are_cut(name):
    column = block.plain(pa.table({"x": pa.concat_arrays([COLUMNS[name]] * 30)}))
    cut = pa.concat_tables([column.slice(0, 17), column.slice(17, 1), column.slice(18)])
    parts = AtRandom(5, 7).parts(column)
    assert parts.tolist() == AtRandom(5, 7).parts(cut).tolist()
    assert len(set(parts.tolist())) > 1


def test_of_large_values_only_some_are_looked_at(monkeypatch):
    looked_at = []

    def count(table, columns):
        looked_at.append(table.num_rows)
        return hash_rows(table, columns)

    monkeypatch.setattr(draw, "hash_rows", count)
    pictures = tensor.from_ndarrays([np.ones((300, 300), np.uint8)] * 10)
    lists = pa.array([[list(range(100))] * 10] * 10)
    draw.numbers_for(pa.table({"picture": pictures, "list": lists, "id": range(10)}), 1)
    assert max(looked_at) <= 64


@pytest.mark.parametrize("kind", ["picture", "list"])
def test_blocks_of_other_values_within_values_are_dealt_out_otherwise(kind):
    made = {
        "picture": [tensor.from_ndarrays([np.full((9, 9), n, np.uint8)] * 50) for n in range(5)],
        "list": [pa.array([[{"a": [n]}, None]] * 50) for n in range(5)],
    }
    found = {tuple(AtRandom(1, 4).parts(pa.table({"x": each}))) for each in made[kind]}
    assert len(found) == 5


@pytest.mark.parametrize("type", [pa.binary(), pa.large_binary(), pa.string(), pa.large_string()])
def test_files_that_begin_alike_do_not_all_go_to_one_partition(type):
    blocks = [pa.table({"x": pa.array(["header" * 50 + f"{n:03}"]).cast(type)}) for n in range(200)]
    counts = np.bincount([int(AtRandom(1, 4).parts(table)[0]) for table in blocks], minlength=4)
    assert counts.min() > 25


def test_moments_beyond_what_python_holds_are_dealt_out():
    table = pa.table({"x": pa.array([2**62, -(2**62)], pa.timestamp("s"))})
    assert len(AtRandom(0, 5).parts(table)) == 2
    far = pa.table({"x": pa.array([datetime.date.max, None])})
    assert ByHash(("x",), 5).parts(far).tolist()[0] < 5
