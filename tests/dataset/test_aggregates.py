"""What all rows come to is what Python says of their values, however they lie in blocks."""

from __future__ import annotations

import datetime
import math
import statistics
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.blocks.aggregate import Part
from millstream.errors import ArgumentError, SchemaError


def of(values, type=None, blocks=3):
    """A dataset of a column x, in several blocks."""
    column = pa.array(values, type)
    step = max(1, -(-len(column) // blocks))
    tables = [pa.table({"x": column[at : at + step]}) for at in range(0, max(1, len(column)), step)]
    return ms.from_arrow(tables)


def whole(parts) -> Part:
    made = [Part.from_table(Part.of(pa.chunked_array([part])).to_table(0), 0) for part in parts]
    result = made[0]
    for part in made[1:]:
        result = result.with_other(part)
    return result


INTEGERS = st.lists(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=5)
FLOATS = st.lists(st.lists(st.none() | st.floats(-1e9, 1e9)), min_size=1, max_size=5)


@given(INTEGERS)
@settings(deadline=None)
def test_sums_of_integers_are_exact_however_they_are_divided(parts):
    values = [value for part in parts for value in part if value is not None]
    result = whole([pa.array(part, pa.int64()) for part in parts])
    assert result.total == (sum(values) if values else None)
    assert result.count == len(values)
    assert result.least.to_pylist() == ([min(values)] if values else [])
    assert result.most.to_pylist() == ([max(values)] if values else [])


@given(FLOATS)
@settings(deadline=None)
def test_means_and_deviations_are_those_of_all_values(parts):
    values = [value for part in parts for value in part if value is not None]
    result = whole([pa.array(part, pa.float64()) for part in parts])
    if len(values) > 1:
        assert math.isclose(result.mean, statistics.fmean(values), rel_tol=1e-9, abs_tol=1e-6)
        variance = statistics.pvariance(values)
        assert math.isclose(result.spread / len(values), variance, rel_tol=1e-6, abs_tol=1e-3)


def test_sums_beyond_64_bits_do_not_wrap():
    assert of([2**62] * 10).sum("x") == 10 * 2**62
    assert of([2**64 - 1] * 3, pa.uint64()).sum("x") == 3 * (2**64 - 1)
    assert of([True, False, None, True]).sum("x") == 2


def test_decimals_stay_decimals():
    digits = Decimal("99999999999999999999999999999999999.123")
    ds = of([digits, None, digits], pa.decimal128(38, 3))
    assert ds.sum("x") == Decimal("199999999999999999999999999999999998.246")
    assert ds.mean("x") == digits
    assert ds.max("x") == digits


def test_nulls_are_left_out_unless_they_count():
    ds = of([1, None, 3])
    assert (ds.sum("x"), ds.min("x"), ds.max("x"), ds.mean("x")) == (4, 1, 3, 2.0)
    assert ds.std("x") == statistics.stdev([1, 3])
    assert ds.std("x", ddof=0) == statistics.pstdev([1, 3])
    names = ("sum", "min", "max", "mean", "std")
    assert [getattr(ds, name)("x", ignore_nulls=False) for name in names] == [None] * 5
    assert ds.unique("x") == [1, None, 3]
    assert ds.unique("x", ignore_nulls=True) == [1, 3]


@pytest.mark.parametrize("values", [[], [None, None]])
def test_without_values_there_is_no_answer(values):
    ds = of(values, pa.int64())
    names = ("sum", "min", "max", "mean", "std")
    assert [getattr(ds, name)("x") for name in names] == [None] * 5
    assert ds.unique("x", ignore_nulls=True) == []


def test_nan_is_no_bound_but_makes_sums_nan():
    ds = of([1.5, math.nan, 2.5])
    assert (ds.min("x"), ds.max("x")) == (1.5, 2.5)
    assert math.isnan(ds.sum("x"))
    assert math.isnan(ds.mean("x"))
    assert math.isnan(of([math.nan, math.nan]).max("x"))


def test_there_is_one_nan_and_one_zero():
    found = of([0.0, math.nan, -0.0, math.nan, 1.0]).unique("x")
    assert [repr(value) for value in found] == ["0.0", "nan", "1.0"]


def test_text_and_times_have_bounds_but_no_sums():
    words = of(["b", "a", None, "c"])
    assert (words.min("x"), words.max("x")) == ("a", "c")
    days = [datetime.date(2024, 2, 29), datetime.date(1969, 1, 1)]
    assert of(days).max("x") == days[0]
    with pytest.raises(SchemaError, match="'x' of type string has not numbers"):
        words.sum("x")
    with pytest.raises(SchemaError, match="'x' of type list"):
        of([[1], [2]]).max("x")
    with pytest.raises(SchemaError, match="'y'"):
        words.min("y")


def test_dictionaries_are_their_values():
    column = pa.array(["b", "a", "b"]).dictionary_encode()
    ds = ms.from_arrow(pa.table({"x": column}))
    assert ds.max("x") == "b"
    assert ds.unique("x") == ["b", "a"]


def test_several_columns_are_one_run():
    ds = ms.from_arrow(pa.table({"a": [1, 2], "b": [0.5, None], "c": ["x", "y"]}))
    assert ds.sum(["a", "b"]) == {"sum(a)": 3, "sum(b)": 0.5}
    assert ds.max() == {"max(a)": 2, "max(b)": 0.5, "max(c)": "y"}


def test_blocks_of_other_types_are_one_column():
    both = ms.from_arrow(pa.table({"x": [1, 2]})).union(ms.from_arrow(pa.table({"x": [0.5]})))
    assert both.sum("x") == 3.5
    assert both.min("x") == 0.5
    assert both.unique("x") == [1.0, 2.0, 0.5]


def test_wrong_arguments_are_named():
    ds = ms.range(3)
    with pytest.raises(ArgumentError, match="ddof"):
        ds.std("id", ddof=-1)
    with pytest.raises(ArgumentError, match="ignore_nulls"):
        ds.sum("id", ignore_nulls="no")
    with pytest.raises(ArgumentError, match="on"):
        ds.sum(1)


def test_durations_have_bounds_and_unique_takes_one_column():
    ds = of([datetime.timedelta(1), None, datetime.timedelta(2)])
    assert (ds.min("x"), ds.max("x")) == (datetime.timedelta(1), datetime.timedelta(2))
    with pytest.raises(ArgumentError, match="column"):
        ds.unique(["x"])


def test_times_beyond_those_of_python_are_errors_that_say_so():
    ds = ms.from_arrow(pa.table({"x": pa.array([2**60], pa.timestamp("us"))}))
    with pytest.raises(SchemaError, match=r"'x' of type timestamp\[us\].*batch_format='pyarrow'"):
        ds.take_all()
    with pytest.raises(SchemaError, match="'x'"):
        ds.max("x")
    assert next(iter(ds.iter_batches(batch_format="pyarrow"))).num_rows == 1
