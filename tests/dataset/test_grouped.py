"""Group-by, aggregations, functions of groups, distinct rows: each against plain Python."""

from __future__ import annotations

import copy
import datetime
import decimal
import itertools
import math
import pickle
import re
import statistics
from fractions import Fraction

import column_samples
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ray import cloudpickle

import millstream as ms
from millstream.aggregate import (
    AbsMax,
    AggregateFn,
    AsList,
    Count,
    CountDistinct,
    First,
    Max,
    Mean,
    Min,
    Quantile,
    Std,
    Sum,
    Unique,
)
from millstream.blocks import grouping
from millstream.errors import ArgumentError, SchemaError, UserCodeError
from millstream.plan import sorting

D = decimal.Decimal
UTC = datetime.UTC
few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def made_by_task(tables, one_task=False):
    """A dataset whose columns are not known, and whose blocks have the types of these tables."""
    blocks = 1 if one_task else len(tables)
    ids = ms.range(len(tables), override_num_blocks=blocks)
    return ids.map_batches(lambda batch: tables[int(batch["id"][0])], batch_size=1)


def united(tables):
    first, *others = (ms.from_arrow(table) for table in tables)
    return first.union(*others)


WAYS = [united, made_by_task, lambda tables: made_by_task(tables, one_task=True)]


def same(value):
    """What a value is equal to among keys."""
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def by_key(rows, *keys):
    """The rows of each group, in their order."""
    found = {}
    for row in rows:
        found.setdefault(tuple(same(row[key]) for key in keys), []).append(row)
    return found


NOON = datetime.datetime(2024, 2, 29, 12)
ZONED = NOON.replace(tzinfo=UTC)
DAY = datetime.timedelta(1)
KEYS = {
    pa.bool_(): [True, False],
    pa.int8(): [-128, 0, 127],
    pa.int64(): [2**53 + 1, 2**53, 2**63 - 1, -(2**63), 0],
    pa.uint64(): [2**64 - 1, 2**63, 2**53 + 1, 0],
    pa.float16(): [0.0, -0.0, math.nan, 1.5],
    pa.float32(): [0.0, -0.0, math.nan, 0.1, math.inf],
    pa.float64(): [0.0, -0.0, math.nan, -math.nan, 0.1, 2.0**63],
    pa.decimal32(5, 2): [D("0.30"), D("-1.25")],
    pa.decimal128(38, 10): [D("0.3"), D("12345678901234567890.5"), D(-7)],
    pa.decimal256(60, 20): [D("0.3"), D("1e30"), D(0)],
    pa.string(): ["", "a", "é€😀", "longer than eight bytes", "\0"],
    pa.large_string(): ["", "a", "A"],
    pa.dictionary(pa.int8(), pa.string()): ["", "a", "b"],
    pa.binary(): [b"", b"\x00", b"\x00\x00", b"\xff"],
    pa.binary(2): [b"ab", b"\x00\x00"],
    pa.date32(): [NOON.date(), datetime.date(1, 1, 1)],
    pa.time64("us"): [datetime.time(1, 2, 3, 4), datetime.time(0)],
    pa.timestamp("s"): [NOON, NOON - 30000 * DAY],
    pa.timestamp("us", "Europe/Berlin"): [ZONED, ZONED + DAY / 7],
    pa.duration("ms"): [DAY, -DAY, datetime.timedelta(0)],
    pa.null(): [],
}


def column_of(type):
    values = st.none() | st.sampled_from(KEYS[type]) if KEYS[type] else st.none()
    return st.tuples(st.just(type), st.lists(values, min_size=12, max_size=12))


def cut(table, places):
    """A table in blocks; some have no rows."""
    ends = [0, *sorted(places), table.num_rows]
    return [table.slice(start, end - start) for start, end in itertools.pairwise(ends)]


def array(values, type):
    if pa.types.is_dictionary(type):
        return pa.array(values, type.value_type).dictionary_encode().cast(type)
    return pa.array(values, type)


columns = st.sampled_from(sorted(KEYS, key=str)).flatmap(column_of)
cuts = st.lists(st.integers(0, 12), max_size=4)
partitions = st.integers(1, 5)


def keyed(first, second):
    (type, values), (other, others) = first, second
    return pa.table(
        {
            "k": array(values, type),
            "l": array(others, other),
            "x": pa.array([None if row % 5 == 3 else row * 7 % 4 for row in range(12)], pa.int64()),
            "row": range(12),
        }
    )


@given(columns, columns, cuts, partitions, st.sampled_from(WAYS[:2]))
@few
def test_groups_do_not_depend_on_blocks_or_partitions(first, second, places, parts, way):
    table = keyed(first, second)
    ds = way(cut(table, places))
    found = ds.groupby(["k", "l"], num_partitions=parts).aggregate(
        *(Count(), Count("x", ignore_nulls=True), Sum("x"), Min("x"), Max("x"), Mean("x")),
        *(AsList("row"), First("x"), Unique("x"), CountDistinct("x"), AsList("x")),
    )
    expected = by_key(table.to_pylist(), "k", "l")
    made = found.take_all()
    assert len(made) == len(expected)
    for row in made:
        rows = expected.pop((same(row["k"]), same(row["l"])))
        values = [each["x"] for each in rows if each["x"] is not None]
        assert row["count()"] == len(rows)
        assert row["count(x)"] == len(values)
        assert row["sum(x)"] == (sum(values) if values else None)
        assert row["min(x)"] == min(values, default=None)
        assert row["max(x)"] == max(values, default=None)
        assert row["mean(x)"] == (sum(values) / len(values) if values else None)
        assert row["list(row)"] == [each["row"] for each in rows]
        assert row["list(x)"] == values
        assert row["first(x)"] == next(iter(values), None)
        assert row["unique(x)"] == list(dict.fromkeys(values))
        assert row["count_distinct(x)"] == len(set(values))
    types = found.materialize().schema().types[:2]
    assert types == [table.schema.field("k").type, table.schema.field("l").type]


@given(columns, cuts, partitions, st.sampled_from(WAYS[:2]), st.sampled_from([4, 1 << 18]))
@few
def test_partial_groups_put_together_are_those_of_all_rows(
    monkeypatch, column, places, parts, way, held
):
    monkeypatch.setattr(grouping, "_ROWS_HELD", held)
    table = keyed(column, column)
    ds = way(cut(table, places))
    partial = ds.groupby("k", num_partitions=parts).aggregate(Count(), Sum("x"), Std("x"), Max("x"))
    whole = ds.groupby("k").aggregate(Count(), Sum("x"), Std("x"), Max("x"), AsList("x"))
    found = by_key(partial.take_all(), "k")
    expected = by_key(whole.drop_columns(["list(x)"]).take_all(), "k")
    assert found.keys() == expected.keys()
    for key, (row,) in found.items():
        (other,) = expected[key]
        assert is_close(row["std(x)"], other["std(x)"])
        assert {**row, "k": 0, "std(x)": 0} == {**other, "k": 0, "std(x)": 0}


@given(columns, columns, cuts, st.sampled_from(["first", "last"]), st.sampled_from(WAYS))
@few
def test_distinct_keeps_one_row_of_each_key(monkeypatch, first, second, places, keep, way):
    monkeypatch.setattr(sorting, "PARTITION_BYTES", 64)
    table = keyed(first, second)
    ds = way(cut(table, places))
    place = 0 if keep == "first" else -1
    rows = table.to_pylist()
    for keys in (["k"], ["k", "l"]):
        expected = sorted(each[place]["row"] for each in by_key(rows, *keys).values())
        found = ds.distinct(keys, keep=keep).take_all()
        assert sorted(row["row"] for row in found) == expected
        assert [str(row) for row in sorted(found, key=lambda row: row["row"])] == [
            str(rows[row]) for row in expected
        ]
    chosen = ds.select_columns(["k", "l"]).distinct()
    assert chosen.count() == len(by_key(rows, "k", "l"))


@given(columns, cuts, partitions)
@few
def test_a_function_gets_all_rows_of_a_group_in_their_order(column, places, parts):
    table = keyed(column, column)
    ds = united(cut(table, places))
    found = ds.groupby("k", num_partitions=parts).map_groups(
        lambda group: pa.table({"rows": [group.column("row").to_pylist()]}), batch_format="pyarrow"
    )
    expected = by_key(table.to_pylist(), "k").values()
    members = [[row["row"] for row in rows] for rows in expected]
    assert sorted(row["rows"] for row in found.take_all()) == sorted(members)
    for format in ("default", "numpy", "pandas", "pyarrow"):
        kept = ds.groupby("k", num_partitions=parts).map_groups(lambda g: g, batch_format=format)
        made = kept.materialize()
        assert made.schema().types == table.schema.types
        assert sorted(str(row) for row in made.take_all()) == sorted(map(str, table.to_pylist()))


FLOATS = {
    pa.float32(): st.integers(0, 2**20).map(lambda each: each / 4),
    pa.float64(): st.integers(0, 2**40).map(lambda each: each / 8),
    pa.null(): st.nothing(),
}
SIGNED = {**FLOATS, pa.int8(): st.integers(-128, 127), pa.int64(): st.integers(-(2**40), 2**40)}
#: No type holds these and numbers below zero.
UNSIGNED = {**FLOATS, pa.uint8(): st.integers(0, 255), pa.uint64(): st.integers(0, 2**40)}


def blocks_of(kinds):
    def block(type):
        row = st.tuples(st.integers(-2, 2), st.none() | kinds[type])
        return st.tuples(st.just(type), st.lists(row, min_size=1, max_size=5))

    types = st.sampled_from(sorted(kinds, key=str))
    return st.lists(types.flatmap(block), min_size=1, max_size=4)


def is_close(found, expected, within=1e-9):
    if found is None or expected is None:
        return found is expected
    return found == pytest.approx(expected, rel=within, abs=1e-6, nan_ok=True)


@given(blocks_of(SIGNED) | blocks_of(UNSIGNED), partitions, st.sampled_from(WAYS))
@settings(max_examples=60)
def test_aggregations_do_not_depend_on_the_types_of_blocks(blocks, parts, way):
    tables, rows = [], []
    for type, pairs in blocks:
        keys, values = (list(each) for each in zip(*pairs, strict=True))
        is_float = pa.types.is_floating(type)
        key_type = type if is_float else pa.int8()
        made = [float(key) for key in keys] if is_float else keys
        tables.append(pa.table({"k": pa.array(made, key_type), "x": pa.array(values, type)}))
        rows += [{"k": key, "x": value} for key, value in pairs]
    asked = (Count(), Sum("x"), Mean("x"), Min("x"), Max("x"), AbsMax("x"), Std("x"))
    found = way(tables).groupby("k", num_partitions=parts).aggregate(*asked).take_all()
    expected = by_key(rows, "k")
    assert len(found) == len(expected)
    for row in found:
        group = expected[(row["k"],)]
        values = [Fraction(each["x"]) for each in group if each["x"] is not None]
        assert row["count()"] == len(group)
        assert row["sum(x)"] == (sum(values) if values else None)
        assert row["min(x)"] == min(values, default=None)
        assert row["max(x)"] == max(values, default=None)
        assert row["abs_max(x)"] == max(map(abs, values), default=None)
        mean = float(sum(values) / len(values)) if values else None
        assert is_close(row["mean(x)"], mean)
        std = statistics.stdev(map(float, values)) if len(values) > 1 else None
        assert is_close(row["std(x)"], std, 1e-6)


NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0])


@given(st.lists(st.none() | NUMBERS, min_size=1, max_size=12), cuts, st.sampled_from([0, 1, 2]))
@settings(max_examples=60)
def test_floats_come_to_what_numpy_says(values, places, ddof):
    table = pa.table({"k": ["a"] * len(values), "x": pa.array(values, pa.float64())})
    blocks = cut(table, [min(place, len(values)) for place in places])
    asked = (Sum("x"), Mean("x"), Min("x"), Max("x"), AbsMax("x"), Std("x", ddof=ddof))
    (row,) = united(blocks).groupby("k").aggregate(*asked).take_all()
    numbers = np.array([value for value in values if value is not None])
    if not len(numbers):
        assert set(row.values()) == {"a", None}
        return
    with np.errstate(invalid="ignore"):
        assert is_close(row["sum(x)"], numbers.sum())
        assert is_close(row["mean(x)"], numbers.mean())
        std = numbers.std(ddof=ddof) if len(numbers) > ddof else None
        assert is_close(row["std(x)"], std)
    real = numbers[~np.isnan(numbers)]
    least, most = (real if len(real) else numbers).min(), (real if len(real) else numbers).max()
    assert is_close(row["min(x)"], least)
    assert is_close(row["max(x)"], most)
    assert is_close(row["abs_max(x)"], max(abs(least), abs(most)))


@given(
    st.lists(st.none() | st.integers(-1000, 1000), max_size=12),
    st.sampled_from([0, 0.25, 0.5, 0.9, 1, 1 / 3]),
    st.sampled_from([pa.int16(), pa.float64(), pa.decimal128(10, 3)]),
)
@settings(max_examples=40)
def test_quantiles_are_those_of_numpy(values, q, type):
    numbers = [None if value is None else value / 8 for value in values]
    if pa.types.is_integer(type):
        numbers = values
    column = [None if number is None else D(number) for number in numbers]
    made = column if pa.types.is_decimal(type) else numbers
    table = pa.table({"k": [1] * len(values), "x": pa.array(made, type)})
    asked = Quantile("x", q=q), Quantile("x", q=q, ignore_nulls=False, alias_name="strict")
    there = [number for number in numbers if number is not None]
    expected = float(np.quantile(there, q)) if there else None
    for row in ms.from_arrow(table).groupby("k").aggregate(*asked).take_all():
        assert is_close(row["quantile(x)"], expected)
        assert is_close(row["strict"], expected if len(there) == len(values) else None)


def test_one_null_makes_an_answer_null_where_it_counts():
    ds = ms.from_items([{"k": 1, "x": 2}, {"k": 1, "x": None}, {"k": 2, "x": 3}])
    grouped = ds.groupby("k")
    for name in ("sum", "min", "max", "mean"):
        (first, second) = getattr(grouped, name)("x", ignore_nulls=False).take_all()
        assert (first[f"{name}(x)"], second[f"{name}(x)"]) == (None, 3)
        (first, second) = getattr(grouped, name)("x").take_all()
        assert (first[f"{name}(x)"], second[f"{name}(x)"]) == (2, 3)
    strict = {"on": "x", "ignore_nulls": False}
    asked = (kind(**strict) for kind in (First, Unique, CountDistinct, AsList, Count, Quantile))
    rows = ds.groupby("k").aggregate(*asked).take_all()
    assert [row["first(x)"] for row in rows] == [2, 3]
    assert [row["unique(x)"] for row in rows] == [[2, None], [3]]
    assert [row["count_distinct(x)"] for row in rows] == [2, 1]
    assert [row["list(x)"] for row in rows] == [[2, None], [3]]
    assert [row["count(x)"] for row in rows] == [2, 1]
    assert [row["quantile(x)"] for row in rows] == [None, 3.0]


def test_all_columns_are_reduced_where_none_is_named():
    ds = ms.from_items([{"k": 1, "x": 2, "y": 0.5}, {"k": 1, "x": 4, "y": 1.5}])
    assert ds.groupby("k").sum().take_all() == [{"k": 1, "sum(x)": 6, "sum(y)": 2.0}]
    assert ds.groupby("k").std(["y"], ddof=0).take_all() == [{"k": 1, "std(y)": 0.5}]
    assert ds.groupby(["k", "x", "y"]).max().take_all() == ds.take_all()
    assert ds.groupby(None).mean("x").take_all() == [{"mean(x)": 3.0}]


def test_groups_come_in_the_order_of_their_keys():
    rows = [{"k": key, "l": -index} for index, key in enumerate([2, None, 1, 3, 1])]
    found = ms.from_items(rows).groupby(["k", "l"]).count().take_all()
    keys = [(row["k"], row["l"]) for row in found]
    assert keys == [(1, -4), (1, -2), (2, 0), (3, -3), (None, -1)]


def test_a_group_without_values_in_some_tasks_spoils_no_mean():
    blocks = [pa.table({"x": pa.array([None], pa.float64())}) for _ in range(4)]
    ds = made_by_task([*blocks, pa.table({"x": [1.0, 3.0]})], one_task=True)
    strange = made_by_task([pa.table({"x": [math.inf]}), *blocks], one_task=True)
    asked = (Std("x", ddof=0), Mean("x"))
    for way in (ds, ds.union(made_by_task(blocks, one_task=True))):
        assert way.aggregate(*asked) == {"std(x)": 1.0, "mean(x)": 2.0}
    assert math.isnan(strange.union(ds).aggregate(*asked)["std(x)"])


def test_sums_widen_and_never_wrap():
    ds = ms.from_items([{"x": 2**63 - 1}, {"x": 2**63 - 1}, {"x": 1}], override_num_blocks=3)
    grouped = ds.groupby(None)
    assert grouped.sum("x").take_all() == [{"sum(x)": D(2**64 - 1)}]
    assert grouped.mean("x").take_all() == [{"mean(x)": (2**64 - 1) / 3}]
    large = ms.from_arrow(pa.table({"x": pa.array([2**64 - 1] * 2, pa.uint64())}))
    assert large.aggregate(Sum("x"), Max("x")) == {"sum(x)": D(2**65 - 2), "max(x)": 2**64 - 1}
    for bits, least in ((8, -128), (64, -(2**63))):
        table = pa.table({"x": pa.array([least, 5, None], f"int{bits}")})
        assert ms.from_arrow(table).aggregate(AbsMax("x")) == {"abs_max(x)": -least}


def test_decimals_of_any_scale_add_up_exactly():
    tables = [
        pa.table({"x": pa.array([D("0.1")], pa.decimal32(3, 1))}),
        pa.table({"x": pa.array([D("0.02")], pa.decimal64(12, 2))}),
        pa.table({"x": pa.array([D("1e20")], pa.decimal128(38, 10))}),
        pa.table({"x": pa.array([7])}),
    ]
    for way in WAYS:
        found = way(tables).aggregate(Sum("x"), Max("x"), Mean("x"))
        assert found["sum(x)"] == D("100000000000000000007.12")
        assert found["max(x)"] == D("1e20")
        assert found["mean(x)"] == float(D("100000000000000000007.12")) / 4


def test_means_and_quantiles_of_decimals_are_the_nearest_floats():
    table = pa.table({"x": pa.array([D("-1.2345")], pa.decimal64(14, 4))})
    found = ms.from_arrow(table).aggregate(Mean("x"), Quantile("x"))
    assert found == {"mean(x)": -1.2345, "quantile(x)": -1.2345}


BOUNDED = [
    name
    for name, column in column_samples.COLUMNS.items()
    if name not in ("null", "null_word")
    and not pa.types.is_nested(column.type)
    and not pa.types.is_interval(column.type)
    and not isinstance(column.type, pa.BaseExtensionType)
]


@pytest.mark.parametrize("name", BOUNDED)
def test_the_least_and_the_largest_of_all_types_are_values_of_their_type(name):
    ds = ms.from_arrow(pa.table({"x": column_samples.COLUMNS[name]}))
    found = ds.groupby(None).aggregate(Min("x"), Max("x"), First("x")).materialize()
    (row,) = found.take_all()
    values = [each["x"] for each in ds.take_all() if each["x"] is not None]
    real = [each for each in values if same(each) != "nan"]
    assert (row["min(x)"], row["max(x)"]) == (min(real), max(real))
    assert row["first(x)"] == values[0]
    type = ds.schema().types[0]
    plain = type.value_type if pa.types.is_dictionary(type) else type
    assert found.schema().types[:2] == [plain, plain]


def test_without_rows_there_are_no_groups():
    empty = pa.table({"k": pa.array([], pa.int64()), "x": pa.array([], pa.string())})
    datasets = [
        ms.from_arrow(empty),
        united([empty, empty]),
        ms.range(4, override_num_blocks=3).filter(lambda row: False).rename_columns({"id": "k"}),
        ms.range(4).filter(lambda row: False).map(lambda row: {"k": 1}),
    ]
    for ds in datasets:
        for parts in (None, 3):
            grouped = ds.groupby("k", num_partitions=parts)
            assert grouped.count().take_all() == []
            assert grouped.aggregate(Unique("k")).count() == 0
            assert grouped.map_groups(lambda group: group).take_all() == []
        assert ds.distinct("k").take_all() == ds.distinct().take_all() == []
        assert ds.groupby(None).count().take_all() == []
        asked = (Count(), Sum("k"), CountDistinct("k"), AsList("k"))
        nothing = {"count()": 0, "sum(k)": None, "count_distinct(k)": 0, "list(k)": None}
        assert ds.aggregate(*asked) == nothing
    assert ms.from_items([]).distinct().take_all() == []


def test_rows_without_columns_are_all_equal():
    ds = ms.range(5, override_num_blocks=2).select_columns([])
    assert ds.distinct().count() == 1
    assert ds.groupby(None).count().take_all() == [{"count()": 5}]
    assert ds.aggregate(Count()) == {"count()": 5}
    kept = ds.groupby(None).map_groups(lambda group: group, batch_format="pyarrow")
    assert kept.count() == 5


def test_blocks_without_rows_change_nothing():
    ds = ms.range(40, override_num_blocks=20).filter(lambda row: row["id"] % 13 == 0)
    found = ds.groupby("id", num_partitions=7).count().take_all()
    assert sorted(row["id"] for row in found) == [0, 13, 26, 39]


AT_THE_CALL = {
    "no column 'z'; the columns are 'id'": [
        lambda ds: ds.groupby("z").count(),
        lambda ds: ds.groupby("z").map_groups(lambda group: group),
        lambda ds: ds.groupby("id").sum("z"),
        lambda ds: ds.groupby("id").aggregate(AsList("z")),
        lambda ds: ds.distinct("z"),
        lambda ds: ds.distinct(["id", "z"]),
        lambda ds: ds.aggregate(Max("z")),
    ],
}


def run(found):
    return found.take_all() if isinstance(found, ms.Dataset) else found


@pytest.mark.parametrize("case", range(7))
def test_a_column_that_does_not_exist_is_named(case):
    ((message, calls),) = AT_THE_CALL.items()
    with pytest.raises(SchemaError, match=message):
        calls[case](ms.range(3))
    ds = ms.range(3).map(lambda row: row)
    with pytest.raises(SchemaError, match=message):
        run(calls[case](ds))


TYPES = [
    (lambda ds: ds.groupby("text").sum("text"), r"sum\(text\): values of type .*string are no num"),
    (lambda ds: ds.groupby("id").mean("text"), r"mean\(text\): values of type .* are no numbers"),
    (lambda ds: ds.groupby("id").std("text"), r"std\(text\): values of type .* are no numbers"),
    (lambda ds: ds.groupby("id").min("list"), r"min\(list\): values of type list<.* have no min"),
    (lambda ds: ds.groupby("id").aggregate(AbsMax("text")), r"abs_max\(text\): .* have no abs_max"),
    (lambda ds: ds.groupby("id").aggregate(AbsMax("time")), r"abs_max\(time\): .* have no abs_max"),
    (lambda ds: ds.groupby("id").aggregate(Quantile("text")), r"quantile\(text\): .* are no numb"),
    (lambda ds: ds.groupby("id").aggregate(Unique("list")), r"column 'list' of type .* be a key"),
    (lambda ds: ds.groupby("list").count(), r"column 'list' of type list<.* cannot be a key"),
    (lambda ds: ds.groupby("struct").map_groups(lambda g: g), r"'struct' .* cannot be a key"),
    (lambda ds: ds.distinct(), r"column '(list|struct)' of type .* cannot be a key"),
]


@pytest.mark.parametrize(("call", "message"), TYPES)
def test_types_that_an_operator_does_not_take_are_named(call, message):
    row = {"id": 1, "text": "a", "list": [1], "struct": {"a": 1}, "time": NOON}
    ds = ms.from_items([row])
    with pytest.raises(SchemaError, match=message):
        call(ds)
    with pytest.raises(SchemaError, match=message):
        call(ds.map(lambda row: row)).take_all()


@pytest.mark.parametrize(
    ("left", "right", "call", "message"),
    [
        ([1], ["a"], lambda ds: ds.groupby("x").count(), r"'x' is (int64|string) in some blocks"),
        ([1], ["a"], lambda ds: ds.distinct("x"), r"'x' is (int64|string) in some blocks"),
        ([1], ["a"], lambda ds: ds.groupby(None).max("x"), r"max\(x\).* is int64 .* and .*string"),
        ([0.5], [D(1)], lambda ds: ds.groupby(None).sum("x"), r"sum\(x\).* is double .* and decim"),
        ([2**53 + 1], [0.5], lambda ds: ds.distinct("x"), r"'x' .* 9007199254740993 is no exact"),
        ([2**53 + 1], [0.5], lambda ds: ds.groupby("x").count(), r"'x' .* 9007199254740993 is no"),
    ],
)
def test_blocks_with_types_that_nothing_holds_together_are_errors(left, right, call, message):
    ds = made_by_task([pa.table({"x": left}), pa.table({"x": right})])
    with pytest.raises(SchemaError, match=message):
        call(ds).take_all()


WRONG = {
    "key=5 must be a column name": lambda ds: ds.groupby(5),
    "key=['id', 'id'] names 'id' more": lambda ds: ds.groupby(["id", "id"]),
    "num_partitions=0": lambda ds: ds.groupby("id", num_partitions=0),
    "num_partitions='x'": lambda ds: ds.groupby("id", "x"),
    "num_partitions=True": lambda ds: ds.groupby("id", num_partitions=True),
    "pass at least one aggregation": lambda ds: ds.groupby("id").aggregate(),
    "pass at least one aggregation, ": lambda ds: ds.groupby("id").sum([]),
    "aggregation='x' must be one of": lambda ds: ds.groupby("id").aggregate("x"),
    "aggregation=<class": lambda ds: ds.aggregate(Sum),
    "aggregation=(id) must be one of": lambda ds: ds.aggregate(AggregateFn("id")),
    "two aggregations are called 'sum(id)'": lambda ds: ds.aggregate(Sum("id"), Sum("id")),
    "is called 'id', as a key is": lambda ds: ds.groupby("id").aggregate(Count(alias_name="id")),
    "on=5 must be a column name": lambda ds: ds.groupby("id").sum(5),
    "on=['id', 'id']": lambda ds: ds.groupby("id").max(["id", "id"]),
    "on=5 must be a str": lambda ds: Sum(5),
    "Sum needs a column": lambda ds: Sum(),
    "ignore_nulls='x' must be True or False": lambda ds: ds.groupby("id").sum("id", "x"),
    "alias_name=5": lambda ds: Count(alias_name=5),
    "ddof=-1": lambda ds: ds.groupby("id").std("id", ddof=-1),
    "q=2 must be a number from 0 to 1": lambda ds: Quantile("id", q=2),
    "q=nan": lambda ds: Quantile("id", q=math.nan),
    "keep='any' must be one of": lambda ds: ds.distinct("id", keep="any"),
    "keys=[] must be a column": lambda ds: ds.distinct([]),
    "keys=5 must be a column name": lambda ds: ds.distinct(5),
    "keys=['id', 'id']": lambda ds: ds.distinct(["id", "id"]),
    "fn=5 must be a function or a class": lambda ds: ds.groupby("id").map_groups(5),
    "batch_format='x'": lambda ds: ds.groupby("id").map_groups(print, batch_format="x"),
    "zero_copy_batch='x'": lambda ds: ds.groupby("id").map_groups(print, zero_copy_batch="x"),
    "concurrency=0": lambda ds: ds.groupby("id").map_groups(print, concurrency=0),
}


@pytest.mark.parametrize("named", WRONG)
def test_an_argument_that_makes_no_sense_is_refused_at_the_call(named):
    with pytest.raises(ArgumentError, match=re.escape(named)):
        WRONG[named](ms.range(3))


def small():
    return ms.from_items([{"k": i % 3, "x": i} for i in range(10)], override_num_blocks=4)


class Scaled:
    def __init__(self, factor, more=0):
        self.factor = factor + more

    def __call__(self, group, shift, times=1):
        return {"k": group["k"][:1], "s": [group["x"].sum() * self.factor + shift * times]}


@pytest.mark.parametrize("concurrency", [None, 1, (1, 2)])
def test_a_class_gets_its_arguments(concurrency):
    found = (
        small()
        .groupby("k", num_partitions=2)
        .map_groups(
            Scaled,
            fn_constructor_args=(1,),
            fn_constructor_kwargs={"more": 1},
            fn_args=(100,),
            fn_kwargs={"times": 2},
            concurrency=concurrency,
        )
    )
    rows = sorted(found.take_all(), key=lambda row: row["k"])
    assert rows == [{"k": 0, "s": 236}, {"k": 1, "s": 224}, {"k": 2, "s": 230}]


def test_a_function_may_yield_batches_of_any_format():
    def pieces(group):
        for x in group["x"]:
            yield {"x": [x]}
            yield pd.DataFrame({"x": [-x]})
        yield pa.table({"x": [100]})

    found = sorted(row["x"] for row in small().groupby("k").map_groups(pieces).take_all())
    assert found == sorted([*range(10), *(-x for x in range(10)), 100, 100, 100])


def test_a_function_may_give_no_rows():
    grouped = small().groupby("k")
    nothing = grouped.map_groups(lambda group: group.slice(0, 0), batch_format="pyarrow")
    assert nothing.take_all() == []
    assert grouped.map_groups(lambda group: iter(())).take_all() == []
    some = grouped.map_groups(lambda group: group[group.k > 1], batch_format="pandas")
    assert [row["x"] for row in some.take_all()] == [2, 5, 8]


def test_groups_are_views_unless_copies_are_asked_for():
    def write(group):
        group["x"][0] = -1
        return group

    grouped = small().groupby("k")
    with pytest.raises(UserCodeError, match="zero_copy_batch=False gives copies"):
        grouped.map_groups(write).take_all()
    found = grouped.map_groups(write, zero_copy_batch=False).take_all()
    assert [row["x"] for row in found].count(-1) == 3


def failing(_):
    raise ValueError("no such group")


def failing_later(group):
    yield group
    raise ValueError("no such group")


class FailsToBegin:
    def __init__(self):
        raise ValueError("no such group")

    def __call__(self, group):
        return group


@pytest.mark.parametrize("fn", [failing, failing_later, FailsToBegin])
def test_an_error_in_a_function_names_the_operator_and_the_cause(fn):
    ds = small().groupby("k", num_partitions=2).map_groups(fn)
    with pytest.raises(UserCodeError, match="no such group") as found:
        ds.take_all()
    assert f"MapGroups({fn.__name__})" in str(found.value)
    assert isinstance(found.value.__cause__, ValueError)


@pytest.mark.parametrize("made", [None, "x", 5])
def test_what_is_no_batch_is_an_error(made):
    with pytest.raises(UserCodeError, match="which is not a batch"):
        small().groupby("k").map_groups(lambda group: made).take_all()


def test_one_large_group_comes_whole():
    ds = ms.range(20_000, override_num_blocks=20).map_batches(lambda b: {**b, "k": b["id"] * 0})
    found = ds.groupby("k", num_partitions=3).map_groups(
        lambda group: {
            "rows": [len(group["id"])],
            "sorted": [bool((np.diff(group["id"]) > 0).all())],
        }
    )
    assert found.take_all() == [{"rows": 20_000, "sorted": True}]
    assert ds.groupby("k").count().take_all() == [{"k": 0, "count()": 20_000}]


def test_many_small_groups_come_one_by_one():
    ds = ms.range(3_000, override_num_blocks=3).map_batches(lambda b: {**b, "k": b["id"] % 1000})
    found = ds.groupby("k", num_partitions=4).map_groups(
        lambda group: {"k": group["k"][:1], "s": [group["id"].sum()]}
    )
    rows = {row["k"]: row["s"] for row in found.take_all()}
    assert rows == {k: 3 * k + 3000 for k in range(1000)}


def test_groups_stand_between_other_operators(tmp_path):
    ds = small().filter(lambda row: row["x"] != 3).add_column("y", lambda b: b["x"] * 2)
    sums = ds.groupby("k", 1).sum(["x", "y"]).rename_columns({"sum(x)": "x", "sum(y)": "y"})
    expected = [{"k": 0, "x": 15, "y": 30}, {"k": 1, "x": 12, "y": 24}, {"k": 2, "x": 15, "y": 30}]
    assert sums.take_all() == expected
    assert sums.limit(2).take_all() == expected[:2]
    assert small().limit(4).groupby("k").count().take_all()[0] == {"k": 0, "count()": 2}
    assert sums.union(sums).take_all() == expected * 2
    zipped = sums.select_columns("x").zip(sums.select_columns(["k"])).take_all()
    assert zipped == [{"x": row["x"], "k": row["k"]} for row in expected]
    again = sums.groupby("x", 1).aggregate(AsList("k")).take_all()
    assert again == [{"x": 12, "list(k)": [1]}, {"x": 15, "list(k)": [0, 2]}]
    assert sums.distinct("x").sort("x", descending=True).select_columns("k").take_all() == [
        {"k": 0},
        {"k": 1},
    ]
    mapped = sums.groupby("x").map_groups(lambda group: {"n": [len(group["k"])]})
    assert mapped.map(lambda row: {"m": row["n"] + 1}).sum("m") == 5
    sums.write_parquet(str(tmp_path))
    assert ms.read_parquet(str(tmp_path)).sort("k").take_all() == expected


def test_columns_that_are_selected_later_are_not_left_out_before():
    ds = ms.from_items([{"k": i % 2, "x": i % 3, "y": i} for i in range(12)])
    assert ds.distinct(["k", "x"]).select_columns("y").count() == 6
    assert ds.distinct("k").drop_columns(["k"]).take_all() == [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
    got = ds.groupby("k").map_groups(lambda g: {"n": [len(g)], "y": g["y"][:1]}).select_columns("n")
    assert got.take_all() == [{"n": 3}, {"n": 3}]


OPERATORS = {
    "Aggregate(k: count())": lambda ds: ds.groupby("k").count(),
    "Aggregate(k: sum(x), unique(x))": lambda ds: ds.groupby("k").aggregate(Sum("x"), Unique("x")),
    "Aggregate(k: std(x))": lambda ds: ds.groupby("k").std("x"),
    "MapGroups(<lambda>)": lambda ds: ds.groupby("k").map_groups(lambda g: {"n": [len(g["x"])]}),
    "Distinct(k)": lambda ds: ds.distinct("k"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_dataset_with_an_exchange_is_a_dataset(name, capsys):
    ds = OPERATORS[name](small())
    rows = ds.take_all()
    assert len(rows) == ds.count() == 3
    assert name in repr(ds)
    ds.explain()
    assert name in capsys.readouterr().out
    assert ds.schema().names == ds.columns() == list(rows[0])
    assert pickle.loads(cloudpickle.dumps(ds)).take_all() == rows
    assert copy.deepcopy(ds).take_all() == rows
    assert ds.materialize().take_all() == rows
    assert name in ds.materialize().stats()
    lengths = [len(next(iter(batch.values()))) for batch in ds.iter_batches(batch_size=2)]
    assert lengths == [2, 1]


def test_grouped_data_names_its_keys():
    assert repr(small().groupby(["k", "x"])) == "GroupedData(FromItems, key=['k', 'x'])"


def test_an_aggregation_is_called_after_its_column():
    found = small().aggregate(Count(), Sum("x"), Max("x", alias_name="most"), Std("x", ddof=0))
    assert list(found) == ["count()", "sum(x)", "most", "std(x)"]
    assert [found["count()"], found["sum(x)"], found["most"]] == [10, 45, 9]
    assert found["std(x)"] == pytest.approx(small().std("x", ddof=0))
    assert repr(Sum("x")) == "sum(x)"


def test_a_key_may_be_called_as_a_part_of_an_aggregation():
    names = ["sum(x), count", "sum(x), high", "key 0", "0 count", "value", "group"]
    table = pa.table({**{name: [1, 1, 2] for name in names}, "x": [1, 2, 3]})
    found = ms.from_arrow(table).groupby(names).aggregate(Sum("x"), Count()).take_all()
    assert [row["sum(x)"] for row in found] == [3, 3]
    assert list(found[0]) == [*names, "sum(x)", "count()"]
    spread = ms.from_arrow(table).groupby("group").aggregate(Unique("value"), CountDistinct("x"))
    assert spread.take_all()[0] == {"group": 1, "unique(value)": [1], "count_distinct(x)": 2}


def test_an_error_of_a_function_names_the_group():
    def fail(group):
        return {"n": [1, 2] if group["k"][0] == 1 else [1], "m": [1]}

    with pytest.raises(UserCodeError, match=r"the group of k=1 \(rows \d+ to \d+ of its task\)"):
        small().groupby("k").map_groups(fail).take_all()
    with pytest.raises(UserCodeError, match="the group of all rows"):
        small().groupby(None).map_groups(lambda group: 5).take_all()


def test_short_forms_of_what_needs_all_rows_of_a_group():
    groups = ms.from_items([{"k": 1, "x": 4}, {"k": 1, "x": 1}, {"k": 1, "x": 4}]).groupby("k")
    assert groups.quantile("x", q=0.5).take_all() == [{"k": 1, "quantile(x)": 4.0}]
    assert groups.unique("x").take_all() == [{"k": 1, "unique(x)": [4, 1]}]
    assert groups.first().take_all() == [{"k": 1, "first(x)": 4}]
