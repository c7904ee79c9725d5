"""What is said to have a value for every row has one."""

from __future__ import annotations

import math
from itertools import product

import pyarrow as pa
import pytest

from millstream.errors import SchemaError
from millstream.expr.nodes import Call, Literal
from millstream.expr.program import Opened, Program
from millstream.expr.safe import never_fails
from millstream.expressions import col, udf, when

EDGES = {
    "i8": pa.array([-128, 127, 0, None], pa.int8()),
    "i64": pa.array([-(2**63), 2**63 - 1, 2**53 + 1, None]),
    "u64": pa.array([0, 2**64 - 1, 2**63, None], pa.uint64()),
    "f32": pa.array([math.nan, -math.inf, 0.0, None], pa.float32()),
    "f64": pa.array([math.nan, math.inf, -1e300, None]),
    "s": pa.array(["", "é", "x", None]),
    "d": pa.array(["", "é", "x", None]).dictionary_encode(),
    "b": pa.array([True, False, None, None]),
    "t": pa.array([-(2**63), 2**63 - 1, 0, None], pa.timestamp("us")),
    "n": pa.array([-(2**63), 2**63 - 1, 0, None], pa.timestamp("ns")),
    "l": pa.array([[1], [], None, [None]]),
    "none": pa.nulls(4),
}
CONSTANTS = [0, -1, 2.5, 2**64 - 1, math.nan, "x", True]
TABLE = pa.table(EDGES)
ONE = [
    *("is_null", "is_valid", "is_nan", "invert", "binary_length", "list_value_length"),
    *("negate", "abs", "sign", "ceil", "floor", "round", "trunc", "ln", "exp", "sin"),
]
TWO = [
    *("and_kleene", "or_kleene", "add", "subtract", "multiply", "divide", "floor_divide"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "power", "modulo"),
]


def calls():
    values = [*map(col, EDGES), *map(Literal, CONSTANTS)]
    for function, value in product(ONE, values):
        yield Call(function, value)
    for function, left, right in product(TWO, values, values):
        yield Call(function, left, right)
    for name, among in product(EDGES, [[1, None], [0.5, math.nan], ["x"], [2**64 - 1]]):
        yield col(name).is_in(among)


def test_what_is_safe_can_be_computed_of_all_values():
    safe = 0
    for call in calls():
        try:
            Program([call], TABLE.schema)
        except SchemaError:
            continue
        if never_fails(call, TABLE.schema):
            safe += 1
            Opened([call]).columns(TABLE)
    assert safe > 500


@pytest.mark.parametrize(
    "expression",
    [
        col("i64") > 5,
        col("u64") == -1,
        (col("f64") * 2 > 1.5) & col("s").is_not_null(),
        col("d") != "x",
        col("u64") < col("i8"),
    ],
)
def test_common_filters_are_safe(expression):
    assert never_fails(expression, TABLE.schema)


@pytest.mark.parametrize(
    "expression",
    [
        col("i64") + 1 > 5,
        10 // col("i8") > 1,
        col("i64").cast("int8") > 1,
        col("i64") == col("f64"),
        col("t") == col("n"),
        col("l").list[0] == 1,
        when(col("b")).then(1).otherwise(2) == 1,
        udf("bool")(lambda array: array)(col("b")),
    ],
)
def test_what_may_fail_is_not(expression):
    assert not never_fails(expression, TABLE.schema)
