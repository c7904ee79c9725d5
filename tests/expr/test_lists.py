"""Lists are sorted and flattened, and maps are taken apart, by their own offsets."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.errors import ArgumentError, SchemaError
from millstream.expr.program import Opened, Program
from millstream.expressions import col

X = col("x")
NUMBERS = st.one_of(st.none(), st.integers(-9, 9))
LISTS = st.lists(st.one_of(st.none(), st.lists(NUMBERS, max_size=4)), max_size=6)


def column(expression, array):
    table = pa.table({"x": array})
    (made,) = Opened([expression]).columns(table)
    assert Program([expression], table.schema).types == [made.type]
    made.validate(full=True)
    return made


def hidden(lists, type=pa.list_):
    """Lists where values lie under the null ones, at an offset."""
    filled = [[], *([7, 8] if each is None else each for each in lists)]
    whole = pa.array(filled, pa.list_(pa.int64()))
    mask = pa.array([False, *(each is None for each in lists)])
    made = pa.ListArray.from_arrays(whole.offsets, whole.values, mask=mask)
    return made.cast(type(pa.int64()))[1:]


def sorted_list(values, reverse, first):
    nulls = [each for each in values if each is None]
    there = sorted((each for each in values if each is not None), reverse=reverse)
    return nulls + there if first else there + nulls


@settings(max_examples=150, deadline=None)
@given(LISTS, st.booleans(), st.booleans(), st.sampled_from([pa.list_, pa.large_list]))
def test_each_list_is_sorted_by_itself(lists, reverse, first, type):
    array = hidden(lists, type)
    order = "descending" if reverse else "ascending"
    made = column(X.list.sort(order, "at_start" if first else "at_end"), array)
    assert made.type == array.type
    assert made.to_pylist() == [
        None if each is None else sorted_list(each, reverse, first) for each in lists
    ]


def test_lists_of_one_size_and_of_codes_keep_their_types():
    fixed = pa.array([[3, 1], None, [None, 2]], pa.list_(pa.int64(), 2))
    made = column(X.list.sort(), fixed)
    assert (made.type, made.to_pylist()) == (fixed.type, [[1, 3], None, [2, None]])
    codes = pa.ListArray.from_arrays([0, 3], pa.array(["b", "c", "a"]).dictionary_encode())
    made = column(X.list.sort("descending"), codes)
    assert (made.type, made.to_pylist()) == (codes.type, [["c", "b", "a"]])


def test_nan_lies_between_numbers_and_nulls():
    array = pa.array([[math.nan, 1.0, None, -1.0]])
    assert str(column(X.list.sort(), array).to_pylist()) == "[[-1.0, 1.0, nan, None]]"
    made = column(X.list.sort("descending", "at_start"), array)
    assert str(made.to_pylist()) == "[[None, nan, 1.0, -1.0]]"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), LISTS), max_size=5))
def test_lists_within_lists_are_joined(rows):
    array = pa.array([[], *rows], pa.list_(pa.list_(pa.int64())))[1:]
    made = column(X.list.flatten(), array)
    assert made.to_pylist() == [
        None if row is None else [value for each in row for value in each or []] for row in rows
    ]


def test_keys_and_values_of_maps():
    type = pa.map_(pa.string(), pa.int64())
    array = pa.array([[("z", 0)], [("a", 1), ("b", None)], None, []], type)[1:]
    assert column(X.map.keys(), array).to_pylist() == [["a", "b"], None, []]
    assert column(X.map.values(), array).to_pylist() == [[1, None], None, []]
    assert column(X.map.keys(), pa.nulls(2)).to_pylist() == [None, None]


def test_lists_of_one_size_become_lists_of_any():
    array = pa.array([[1, 2], None], pa.list_(pa.int32(), 2))
    made = column(X.arr.to_list(), array)
    assert (made.type, made.to_pylist()) == (pa.list_(pa.int32()), [[1, 2], None])


@pytest.mark.parametrize(
    ("expression", "array", "told"),
    [
        (X.list.sort(), pa.array([1]), "int64 is no list"),
        (X.list.sort(), pa.array([[[1]]]), "have no order"),
        (X.list.flatten(), pa.array([[1]]), "no lists within lists"),
        (X.map.keys(), pa.array([[1]]), "is no map"),
        (X.arr.to_list(), pa.array(["a"]), "is no list"),
    ],
)
def test_other_types_are_an_error_before_anything_runs(expression, array, told):
    with pytest.raises(SchemaError, match=told):
        Program([expression], pa.schema([("x", array.type)]))


def test_words_that_are_none_are_refused():
    with pytest.raises(ArgumentError, match="order='up' must be one of"):
        X.list.sort("up")
    with pytest.raises(ArgumentError, match="null_placement='here' must be one of"):
        X.list.sort(null_placement="here")
