"""Groups of rows and sums over them: one null, one NaN, one zero, and sums that never wrap."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction

import column_samples
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.blocks import block, sums
from millstream.blocks.groups import Groups, key_column
from millstream.errors import SchemaError

D = decimal.Decimal
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**53 + 1, 2**62, -(2**63)])


def same(value):
    """What a value is equal to among keys."""
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def numbered(keys):
    found = {}
    return [found.setdefault(key, len(found)) for key in keys]


FLOATS = st.none() | st.sampled_from([0.0, -0.0, math.nan, -math.nan, 1.5, math.inf, -1.5])


@given(st.lists(st.tuples(FLOATS, st.none() | st.sampled_from("ab")), max_size=20))
def test_rows_with_equal_keys_are_of_one_group(rows):
    table = pa.table(
        {
            "x": pa.array([row[0] for row in rows], pa.float64()),
            "y": pa.array([row[1] for row in rows], pa.string()),
        }
    )
    groups = Groups(table, ["x", "y"])
    expected = numbered([(same(x), y) for x, y in rows])
    assert groups.ids.tolist() == expected
    members = [[row for row, own in enumerate(expected) if own == group] for group in set(expected)]
    assert groups.count == len(members)
    assert groups.sizes.tolist() == [len(each) for each in members]
    assert groups.first_rows.tolist() == [each[0] for each in members]
    assert groups.last_rows.tolist() == [each[-1] for each in members]
    assert groups.order.tolist() == [row for each in members for row in each]
    assert groups.starts.tolist() == [groups.order.tolist().index(each[0]) for each in members]
    assert groups.lists(pa.chunked_array([pa.array(range(len(rows)))])).to_pylist() == members


def test_without_keys_all_rows_are_one_group():
    groups = Groups(pa.table({"x": [1, 2, 2]}), [])
    assert (groups.count, groups.ids.tolist()) == (1, [0, 0, 0])
    assert Groups(pa.table({"x": pa.array([], pa.int8())}), []).count == 0
    assert Groups(pa.table({"x": pa.array([], pa.int8())}), ["x"]).count == 0


def can_be_keys(type):
    if isinstance(type, pa.BaseExtensionType):
        type = type.storage_type
    return not (pa.types.is_nested(type) or pa.types.is_interval(type))


@pytest.mark.parametrize("name", column_samples.COLUMNS)
def test_keys_keep_their_type_and_values(name):
    table = block.plain(pa.table({"k": column_samples.COLUMNS[name]}))
    table = block.concat([table, table])
    if not can_be_keys(table.schema.field("k").type):
        with pytest.raises(SchemaError, match=r"column 'k' of type .* cannot be a key"):
            Groups(table, ["k"])
        return
    groups = Groups(table, ["k"])
    expected = numbered([str(same(value)) for value in table.column("k").to_pylist()])
    assert groups.ids.tolist() == expected
    (keys,) = groups.own_keys()
    assert keys.type.equals(table.schema.field("k").type)
    first = table.column("k").take(pa.array(groups.first_rows)).to_pylist()
    assert list(map(same, keys.to_pylist())) == list(map(same, first))


def test_a_key_that_is_negative_zero_is_zero():
    for type in (pa.float16(), pa.float32(), pa.float64()):
        (key,) = Groups(pa.table({"k": pa.array([-0.0, 0.0], type)}), ["k"]).own_keys()
        assert math.copysign(1, float(key[0].as_py())) == 1
        assert len(key) == 1


def test_ordered_categories_keep_their_order():
    column = column_samples.words(pa.int8(), ["z", "a", "z"], ordered=True)
    (key,) = Groups(pa.table({"k": column}), ["k"]).own_keys()
    assert key.type.ordered
    assert key.chunk(0).dictionary.to_pylist() == ["z", "a"]


def test_codes_of_several_chunks_are_one_column_of_keys():
    parts = [
        pa.array([f"{start}{word}" for word in range(100)]).cast(
            pa.dictionary(pa.int8(), pa.string())
        )
        for start in "abca"
    ]
    table = block.plain(pa.table({"k": pa.chunked_array(parts)}))
    groups = Groups(table, ["k"])
    assert groups.count == 300
    assert len(set(groups.own_keys()[0].to_pylist())) == 300


def test_a_key_that_does_not_exist_is_named():
    with pytest.raises(SchemaError, match="no column 'y'; the columns are 'k'"):
        Groups(pa.table({"k": [1]}), ["y"])
    with pytest.raises(SchemaError, match=r"column 'k' of type struct<a: int64> cannot be a key"):
        key_column(pa.table({"k": [{"a": 1}]}), "k")


def summed(blocks, key="k"):
    """The sums of each group, put together from parts of blocks."""
    made = []
    for table in blocks:
        groups = Groups(table, [key])
        names = ("high", "low", "other")
        parts = sums.parts(groups, table.column("x"), "sum(x)")
        made.append(pa.table({key: groups.own_keys()[0], **dict(zip(names, parts, strict=True))}))
    table = block.concat(made)
    groups = Groups(table, [key])
    states = [table.column(name).combine_chunks() for name in ("high", "low", "other")]
    found = sums.whole(*sums.together(groups, *states, "sum(x)"), "sum(x)")
    return dict(
        zip(groups.keys().column(0).to_pylist(), found.to_pylist(), strict=True)
    ), found.type


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.none() | INTEGERS), min_size=1), min_size=1)
)
@settings(max_examples=60)
def test_sums_of_integers_never_wrap(blocks):
    tables = [
        pa.table(
            {"k": [row[0] for row in rows], "x": pa.array([row[1] for row in rows], pa.int64())}
        )
        for rows in blocks
    ]
    expected = {}
    for key, value in (row for rows in blocks for row in rows):
        expected[key] = expected.get(key, 0) + (value or 0)
    found, type = summed(tables)
    assert found == expected
    is_short = all(-(2**63) <= each < 2**63 for each in expected.values())
    assert type == (pa.int64() if is_short else pa.decimal128(38, 0))


KINDS = {
    "int8": (pa.int8(), st.integers(-128, 127)),
    "int64": (pa.int64(), st.integers(-(2**40), 2**40)),
    "uint64": (pa.uint64(), st.integers(0, 2**40)),
    "null": (pa.null(), st.none()),
    "float16": (pa.float16(), st.sampled_from([0.5, -2.0])),
    "float32": (pa.float32(), st.integers(-(2**20), 2**20).map(lambda each: each / 4)),
    "float64": (pa.float64(), st.integers(-(2**40), 2**40).map(lambda each: each / 8)),
}
DECIMALS = {name: KINDS[name] for name in ("int8", "int64", "null")} | {
    "short": (pa.decimal32(5, 2), st.decimals(-999, 999, places=2)),
    "longer": (pa.decimal64(14, 5), st.decimals(-999, 999, places=5)),
    "long": (pa.decimal128(38, 10), st.decimals(-(10**20), 10**20, places=10)),
    "longest": (pa.decimal256(76, 20), st.decimals(-(10**9), 10**9, places=20)),
}


def blocks_of(kinds):
    def rows(name):
        type, values = kinds[name]
        row = st.tuples(st.integers(0, 1), st.none() | values)
        return st.tuples(st.just(type), st.lists(row, min_size=1, max_size=5))

    return st.lists(st.sampled_from(sorted(kinds)).flatmap(rows), min_size=1, max_size=4)


@given(blocks_of(KINDS) | blocks_of(DECIMALS))
@settings(max_examples=100)
def test_sums_do_not_depend_on_the_types_of_blocks(blocks):
    tables, expected = [], {}
    for type, rows in blocks:
        keys, values = zip(*rows, strict=True)
        tables.append(pa.table({"k": list(keys), "x": pa.array(list(values), type)}))
        for key, value in rows:
            expected[key] = expected.get(key, 0) + Fraction(0 if value is None else value)
    found, _ = summed(tables)
    assert {key: Fraction(value) for key, value in found.items()} == expected


def test_numbers_that_no_type_holds_together_are_named():
    tables = [pa.table({"k": [1], "x": [0.5]}), pa.table({"k": [1], "x": [D("0.5")]})]
    with pytest.raises(SchemaError, match=r"'other' is double in some blocks and decimal"):
        summed(tables)


def test_sums_with_too_many_digits_are_errors():
    large = pa.table({"k": [1] * 10, "x": pa.array([D(9 * 10**75)] * 10, pa.decimal256(76, 0))})
    with pytest.raises(SchemaError, match=r"sum\(x\): values of 76 digits are too large to add up"):
        summed([large])
    long = pa.table({"k": [1] * 2, "x": pa.array([D("9" * 38)] * 2, pa.decimal128(38, 0))})
    with pytest.raises(SchemaError, match=r"sum\(x\) has more than 38 digits"):
        summed([long])
    opposite = pa.table(
        {"k": [1] * 2, "x": pa.array([D("-" + "9" * 38)] * 2, pa.decimal128(38, 0))}
    )
    assert summed([long, opposite])[0] == {1: 0}


def test_what_is_no_number_has_no_sum():
    for column in (pa.array(["a"]), pa.array([[1]]), pa.array([True]).cast(pa.string())):
        with pytest.raises(SchemaError, match=r"sum\(x\): values of type .* are no numbers"):
            summed([pa.table({"k": [1], "x": column})])


@given(st.decimals(-(10**18), 10**18, places=12))
def test_decimals_become_the_nearest_floats(value):
    column = pa.chunked_array([pa.array([value, None], pa.decimal128(38, 12))])
    found = sums.as_floats(column, "x")
    assert found[0] == float(value)
    assert math.isnan(found[1])


def test_groups_of_many_rows_add_up_exactly():
    values = np.full(5000, 2**62, np.int64)
    table = pa.table({"k": np.arange(5000) % 2, "x": values})
    assert summed([table])[0] == {0: 2500 * 2**62, 1: 2500 * 2**62}
