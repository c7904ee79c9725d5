"""Numbers are compared by value with constants that are none of their type."""

from __future__ import annotations

import math
import operator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.expr.program import Opened
from millstream.expressions import col, lit

X, Y = col("x"), col("y")
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
INTEGERS = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
]
CONSTANTS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([-1, 0, 127, 128, 255, 256, 2**53, 2**53 + 1, 2**63, 2**64 - 1, -(2**63)]),
    st.floats(),
    st.sampled_from([0.5, -0.5, 2.0**53, 2.0**63, 2.0**64, -1.0, math.inf, -math.inf, math.nan]),
)


def values(expression, **columns):
    (made,) = Opened([expression]).columns(pa.table(columns))
    return made.to_pylist()


def integers(type):
    low = 0 if pa.types.is_unsigned_integer(type) else -(2 ** (type.bit_width - 1))
    high = low + 2**type.bit_width - 1
    edges = st.sampled_from([low, low + 1, 0, 1, high - 1, high])
    return st.lists(st.one_of(st.none(), edges, st.integers(low, high)), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(INTEGERS), CONSTANTS, st.sampled_from(COMPARISONS))
def test_integers_beside_any_constant_are_as_in_python(data, type, constant, compare):
    numbers = data.draw(integers(type))
    column = pa.array(numbers, type)
    wanted = [None if each is None else compare(each, constant) for each in numbers]
    assert values(compare(X, constant), x=column) == wanted
    wanted = [None if each is None else compare(constant, each) for each in numbers]
    assert values(compare(lit(constant), X), x=column) == wanted


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(), st.sampled_from([2.0**53, 2.0**53 + 2, 2.0**63]))),
    st.sampled_from([pa.float64(), pa.float32()]),
    st.one_of(
        st.integers(-(2**63), 2**64 - 1),
        st.sampled_from([2**24 + 1, 2**53 + 1, 2**53 + 2, 2**63 - 1]),
    ),
    st.sampled_from(COMPARISONS),
)
def test_floats_beside_any_integer_are_as_in_python(numbers, type, constant, compare):
    column = pa.array(numbers, pa.float64()).cast(type, safe=False)
    wanted = [None if each is None else compare(each, constant) for each in column.to_pylist()]
    assert values(compare(X, constant), x=column) == wanted


@settings(max_examples=200, deadline=None)
@given(
    st.data(), st.sampled_from(INTEGERS), st.sampled_from(INTEGERS), st.sampled_from(COMPARISONS)
)
def test_columns_of_integers_are_compared_by_value(data, left, right, compare):
    ones = data.draw(integers(left))
    others = data.draw(integers(right).map(lambda drawn: (drawn * len(ones))[: len(ones)]))
    pairs = zip(ones, others, strict=True)
    wanted = [None if None in pair else compare(*pair) for pair in pairs]
    found = values(compare(X, Y), x=pa.array(ones, left), y=pa.array(others, right))
    assert found == wanted


@settings(max_examples=200, deadline=None)
@given(
    st.data(),
    st.sampled_from([*INTEGERS, pa.float64()]),
    st.sampled_from([st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1), st.floats()]),
)
def test_is_in_looks_numbers_up_by_value(data, type, kind):
    among = data.draw(st.lists(st.one_of(kind, st.just(1), st.none()), min_size=1, max_size=4))
    if pa.types.is_floating(type):
        numbers = data.draw(st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=4))
    else:
        numbers = data.draw(integers(type))
    has_nan = any(each is not None and math.isnan(each) for each in among)

    def is_in(value):
        if value is not None and math.isnan(value):
            return has_nan
        return value in among

    assert values(X.is_in(among), x=pa.array(numbers, type)) == [is_in(each) for each in numbers]


@pytest.mark.parametrize("compare", COMPARISONS)
def test_a_null_constant_makes_all_null(compare):
    constant = lit(pa.scalar(None, pa.int64()))
    assert values(compare(X, constant), x=pa.array([1, None], pa.uint64())) == [None, None]
