"""What expressions are over a block: right values, or an error that says why not."""

from __future__ import annotations

import copy
import datetime
import decimal
import functools
import math
import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.blocks import tensor
from millstream.errors import ArgumentError, SchemaError, UserCodeError
from millstream.expr.nodes import Expr, columns_of, renamed
from millstream.expr.program import Opened, Program
from millstream.expressions import col, lit, udf, when

LARGE = 2**53 + 1
X, Y = col("x"), col("y")
INTEGERS = [pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64()]


def column(expression, table=None, **columns):
    """The values of an expression, whose type is what was said without rows."""
    table = pa.table(columns) if table is None else table
    (made,) = Opened([expression]).columns(table)
    assert Program([expression], table.schema).types == [made.type]
    made.validate(full=True)
    return made


def values(expression, **columns):
    return column(expression, **columns).to_pylist()


def type_of(expression, **columns):
    return column(expression, **columns).type


# Numbers ------------------------------------------------------------------------------------


def numbers(type):
    low = 0 if pa.types.is_unsigned_integer(type) else -(2 ** (type.bit_width - 1))
    high = 2**type.bit_width + low - 1
    edges = st.sampled_from([low, low + 1, 0, 1, high - 1, high])
    return st.lists(st.one_of(st.none(), edges, st.integers(low, high)), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from(["+", "-", "*", "//", "%"]))
def test_integers_are_exact_or_an_error(data, type, operator):
    left = data.draw(numbers(type))
    right = data.draw(numbers(type).map(lambda drawn: (drawn * len(left))[: len(left)]))
    compute = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "//": lambda a, b: a // b,
        "%": lambda a, b: a % b,
    }[operator]
    try:
        wanted = [
            None if None in pair else compute(*pair) for pair in zip(left, right, strict=True)
        ]
        pa.array(wanted, type)
    except (ZeroDivisionError, OverflowError, pa.ArrowInvalid):
        with pytest.raises(UserCodeError, match=r"overflow|divide by zero"):
            values(compute(X, Y), x=pa.array(left, type), y=pa.array(right, type))
        return
    made = column(compute(X, Y), x=pa.array(left, type), y=pa.array(right, type))
    assert (made.type, made.to_pylist()) == (type, wanted)


@pytest.mark.parametrize("operator", ["//", "%"])
def test_floats_are_divided_as_in_python(operator):
    pool = [1.0, -1.0, 0.1, 5.0, -7.5, 3.0, math.inf, 1e300, -0.25]
    pairs = [(a, b) for a in pool for b in pool if not math.isinf(a)]
    wanted = [a // b if operator == "//" else a % b for a, b in pairs]
    made = values(
        X // Y if operator == "//" else X % Y,
        x=[a for a, _ in pairs],
        y=[b for _, b in pairs],
    )
    assert made == wanted


def test_division_gives_floats_and_an_error_for_an_integer_by_zero():
    assert values(X / Y, x=[7, None, 1], y=[2, 1, 4]) == [3.5, None, 0.25]
    assert values(X / Y, x=[1.0, -1.0], y=[0, 0]) == [math.inf, -math.inf]
    assert values(X // 0.0, x=[1.0]) == [math.inf]
    assert values(LARGE / X, x=[1]) == [float(LARGE)]
    for expression in (X / 0, X // 0, X % 0):
        with pytest.raises(UserCodeError, match=r"\(col\('x'\) .* 0\).*divide by zero"):
            values(expression, x=[1])


def test_a_constant_never_makes_a_type_too_narrow():
    assert values(X + 5, x=pa.array([127, None], pa.int8())) == [132, None]
    assert type_of(X + 5, x=pa.array([1], pa.int8())) == pa.int64()
    assert values(X > 2.0, x=[2**24 + 1, LARGE, 1]) == [True, True, False]
    assert values(X == 2.0, x=[2, LARGE]) == [True, False]
    assert values(X > 300, x=pa.array([1], pa.int8())) == [False]
    assert type_of(X * 2, x=pa.array([1.5], pa.float32())) == pa.float32()
    assert type_of(lit(127) + 1, x=[1]) == pa.int64()
    assert values(lit(5), x=[1, 2]) == [5, 5]


def test_integers_are_never_compared_as_floats_that_are_others():
    assert values(X == LARGE, x=[LARGE, LARGE - 1]) == [True, False]
    assert values(X % 10, x=pa.array([2**64 - 1], pa.uint64())) == [5]
    assert values(X > Y, x=pa.array([2**64 - 1], pa.uint64()), y=[3]) == [True]
    with pytest.raises(UserCodeError, match="9007199254740993"):
        values(X == Y, x=[LARGE], y=[float(LARGE)])


def test_decimals_stay_exact():
    money = pa.array([decimal.Decimal("1.25"), None], pa.decimal128(5, 2))
    assert values(X * 3, x=money) == [decimal.Decimal("3.75"), None]
    assert values(X + Y, x=money, y=[2**60, 1]) == [2**60 + decimal.Decimal("1.25"), None]
    assert values(decimal.Decimal("1.25") == X, x=money) == [True, None]
    with pytest.raises(SchemaError, match="for integers and floats"):
        values(X % 2, x=money)


def test_rounding_leaves_integers_alone():
    assert values(X.round(), x=[0.5, 1.5, -2.5, math.nan])[:3] == [0.0, 2.0, -2.0]
    assert [values(getattr(X, name)(), x=[-1.5]) for name in ("ceil", "floor", "trunc")] == [
        [-1.0],
        [-2.0],
        [-1.0],
    ]
    for name in ("ceil", "floor", "round", "trunc"):
        assert values(getattr(X, name)(), x=[LARGE]) == [LARGE]


def test_signs_and_powers_are_checked():
    assert values(-X, x=[1, None]) == [-1, None]
    assert values(X.abs(), x=[-1]) == [1]
    assert values(X.sign(), x=[-5.0, 0.0]) == [-1.0, 0.0]
    assert values(X.power(3), x=[4]) == [64]
    assert values(2**62 * X, x=[1]) == [2**62]
    for expression in (X.negate(), X.abs()):
        with pytest.raises(UserCodeError, match="overflow"):
            values(expression, x=[-(2**63)])
    with pytest.raises(UserCodeError, match="overflow"):
        values(X.power(3), x=[2**40])


def test_functions_of_floats_take_any_integer():
    for name in ("ln", "log10", "log2", "exp", "sin", "cos", "tan", "atan"):
        number = LARGE if name.startswith("l") else 1
        wanted = getattr(math, "log" if name == "ln" else name)(number)
        assert values(getattr(X, name)(), x=[number]) == [pytest.approx(wanted)]
    assert values(X.asin(), x=[1]) == [pytest.approx(math.pi / 2)]
    assert math.isnan(values(X.acos(), x=[2.0])[0])


# Nulls and NaN ------------------------------------------------------------------------------


def test_null_is_neither_true_nor_false():
    truth = [True, False, None]
    pairs = [(a, b) for a in truth for b in truth]
    x, y = pa.array([a for a, _ in pairs]), pa.array([b for _, b in pairs])
    both = [False if False in pair else None if None in pair else True for pair in pairs]
    either = [True if True in pair else None if None in pair else False for pair in pairs]
    assert values(X & Y, x=x, y=y) == both
    assert values(X | Y, x=x, y=y) == either
    assert values(~X, x=truth) == [False, True, None]
    assert values(True & X, x=truth) == truth
    assert values(True | X, x=truth) == [True] * 3
    assert values(X > 1, x=[2, None]) == [True, None]


def test_nan_is_a_value_that_equals_nothing():
    floats = [math.nan, None, 1.0]
    assert values(X == X, x=floats) == [False, None, True]
    assert values(X != 1.0, x=floats) == [True, None, False]
    assert values(X.is_null(), x=floats) == [False, True, False]
    assert values(X.is_not_null(), x=floats) == [True, False, True]
    assert values(X.is_nan(), x=floats) == [True, None, False]
    assert math.isnan(values(X.fill_null(0), x=floats)[0])


def test_nulls_are_filled_in_the_type_of_the_column():
    assert column(X.fill_null(0), x=pa.array([None, 1], pa.int16())) == pa.chunked_array(
        [pa.array([0, 1], pa.int16())]
    )
    assert values(X.fill_null("none"), x=["a", None]) == ["a", "none"]
    assert values(X.fill_null(Y), x=[None, 1], y=[5, 6]) == [5, 1]
    assert values(X.fill_null(300), x=pa.array([None], pa.int8())) == [300]
    with pytest.raises(SchemaError, match="int64 and large_string have no common type"):
        values(X.fill_null("a"), x=[1])


def test_membership_is_never_null():
    assert values(X.is_in([1, 3]), x=[1, 2, None]) == [True, False, False]
    assert values(X.is_in([1, None]), x=[1, 2, None]) == [True, False, True]
    assert values(X.not_in([1]), x=[1, 2, None]) == [False, True, True]
    assert values(X.is_in([]), x=[1]) == [False]
    assert values(X.is_in(pa.array(["a"])), x=pa.array(["a", "b"]).dictionary_encode()) == [
        True,
        False,
    ]


def test_membership_knows_zeros_and_widths():
    assert values(X.is_in([0.0]), x=[-0.0, 0.0, math.nan]) == [True, True, False]
    assert values(X.is_in([math.nan]), x=[math.nan, 1.0]) == [True, False]
    assert values(X.is_in([1, 300]), x=pa.array([1, 44], pa.int8())) == [True, False]
    assert values(X.is_in([1.5, 2]), x=[1, 2]) == [False, True]
    assert values(X.is_in([2**64 - 1]), x=pa.array([2**64 - 1], pa.uint64())) == [True]
    with pytest.raises(SchemaError, match="never among int64"):
        values(X.is_in(["1"]), x=[1])


def test_a_block_without_any_value_gives_none():
    """Where a block ends does not decide whether a function is for its columns."""
    nothing = pa.nulls(2)
    made = [X + 1, X / 2, X // 2, X % 2, X > 1, X & True, ~X, X.str.lower(), X + "a", X.round()]
    made += [X.list.len(), X.dt.year(), X.struct["a"], X.fill_null(None), X.between(1, 2), -X]
    for expression in made:
        assert values(expression, x=nothing) == [None, None], expression
    assert values(X.is_null(), x=nothing) == [True, True]
    assert values(X.is_in([1]), x=nothing) == [False, False]
    assert values(X.fill_null(1), x=nothing) == [1, 1]


# Choices ------------------------------------------------------------------------------------


def test_the_first_condition_that_holds_decides():
    size = when(X > 10).then("large").when(X > 1).then("small")
    assert values(size, x=[20, 5, 1, None]) == ["large", "small", None, None]
    assert values(size.otherwise("none"), x=[20, 5, 1, None]) == ["large", "small", "none", "none"]


def test_a_choice_has_the_type_of_its_columns():
    assert type_of(when(X > 1).then(0).otherwise(X), x=pa.array([1], pa.int8())) == pa.int8()
    assert values(when(X > 1).then(Y).otherwise(0.5), x=[1, 2], y=[3, 4]) == [0.5, 4.0]
    assert values(when(lit(True)).then(1).otherwise(2), x=[1, 2]) == [1, 1]
    with pytest.raises(SchemaError, match="no common type"):
        values(when(X > 1).then("a").otherwise(1), x=[1])


# Text, lists, structs, times ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        (X.str.len(), [5, 0, None]),
        (X.str.byte_len(), [6, 0, None]),
        (X.str.upper(), ["HÉ LO", "", None]),
        (X.str.upper().str.lower(), ["hé lo", "", None]),
        (X.str.capitalize(), ["Hé lo", "", None]),
        (X.str.title(), ["Hé Lo", "", None]),
        (X.str.swapcase(), ["HÉ LO", "", None]),
        (X.str.is_lower(), [True, False, None]),
        (X.str.is_ascii(), [False, True, None]),
        (X.str.is_alpha(), [False, False, None]),
        (X.str.starts_with("h"), [True, False, None]),
        (X.str.ends_with("O", ignore_case=True), [True, False, None]),
        (X.str.contains("é l"), [True, False, None]),
        (X.str.match("h_ %"), [True, False, None]),
        (X.str.match_regex("^h.*o$"), [True, False, None]),
        (X.str.find("é"), [1, -1, None]),
        (X.str.find_regex("[ao]"), [5, -1, None]),
        (X.str.count("l"), [1, 0, None]),
        (X.str.count_regex("[a-z]"), [3, 0, None]),
        (X.str.replace("é", "e"), ["he lo", "", None]),
        (X.str.replace_regex("(.)o", r"\1\1"), ["hé ll", "", None]),
        (X.str.replace_slice(1, 2, "e"), ["he lo", "e", None]),
        (X.str.slice(1, 3), ["é ", "", None]),
        (X.str.slice(-2), ["lo", "", None]),
        (X.str.split(" "), [["hé", "lo"], [""], None]),
        (X.str.split_regex(" +"), [["hé", "lo"], [""], None]),
        (X.str.split_whitespace(), [["hé", "lo"], [""], None]),
        (X.str.extract("(?P<last>.)$"), [{"last": "o"}, None, None]),
        (X.str.repeat(2), ["hé lohé lo", "", None]),
        (X.str.reverse(), ["ol éh", "", None]),
        (X.str.strip("ho"), ["é l", "", None]),
        (("  " + X + " ").str.strip(), ["hé lo", "", None]),
        ((" " + X).str.lstrip(), ["hé lo", "", None]),
        ((X + " ").str.rstrip(), ["hé lo", "", None]),
        (X.str.lpad(6, "."), [".hé lo", "......", None]),
        (X.str.rpad(6), ["hé lo ", "      ", None]),
        (X.str.center(7, "."), [".hé lo.", ".......", None]),
        (X + "!", ["hé lo!", "!", None]),
    ],
)
def test_text(expression, wanted):
    text = ["hé lo", "", None]
    assert values(expression, x=text) == wanted
    assert values(expression, x=pa.array(text, pa.large_string())) == wanted
    assert values(expression, x=pa.array(text).dictionary_encode()) == wanted


def test_lists():
    for type in (pa.list_(pa.int64()), pa.large_list(pa.int64())):
        lists = pa.array([[1, 2, 3], [4], None], type)
        assert values(X.list.len(), x=lists) == [3, 1, None]
        assert values(X.list[0], x=lists) == [1, 4, None]
        assert values(X.list[1:], x=lists) == [[2, 3], [], None]
        assert values(X.list[:3:2], x=lists) == [[1, 3], [4], None]
        with pytest.raises(UserCodeError, match="out of bounds"):
            values(X.list.get(1), x=lists)
    fixed = pa.array([[1, 2], None], pa.list_(pa.int64(), 2))
    assert values(X.list.get(1), x=fixed) == [2, None]
    assert values(X.list.slice(0, 1), x=fixed) == [[1], None]


def test_what_lies_under_null_lists_does_not_show():
    hidden = pa.ListArray.from_arrays([0, 2, 4], [1, 2, 3, 4], mask=pa.array([True, False]))
    assert values(X.list.len(), x=hidden) == [None, 2]
    assert values(X.list[0], x=hidden) == [None, 3]
    assert values(X.list[1:], x=hidden) == [None, [4]]


def test_structs():
    hidden = pa.StructArray.from_arrays(
        [pa.array([1, 2]), pa.array(["a", "b"])], ["n", "s"], mask=pa.array([False, True])
    )
    assert values(X.struct["n"], x=hidden) == [1, None]
    assert values(X.struct[1], x=hidden) == ["a", None]
    with pytest.raises(SchemaError, match=r"struct_field.*'x': struct<n: int64, s: string>"):
        values(X.struct["nope"], x=hidden)


def test_times():
    zoned = pa.array([1709251199123456, None], pa.timestamp("us", "Asia/Tokyo"))
    wanted = {"year": 2024, "month": 3, "day": 1, "hour": 8, "minute": 59, "second": 59}
    for name, value in wanted.items():
        assert values(getattr(X.dt, name)(), x=zoned) == [value, None]
    naive = pa.array([datetime.datetime(2024, 2, 29, 23, 59, 59)], pa.timestamp("s"))
    assert values(X.dt.strftime("%d.%m.%y"), x=naive) == ["29.02.24"]
    assert values(X.dt.floor("month"), x=naive) == [datetime.datetime(2024, 2, 1)]
    assert values(X.dt.ceil("day"), x=naive) == [datetime.datetime(2024, 3, 1)]
    assert values(X.dt.round("year"), x=naive) == [datetime.datetime(2024, 1, 1)]
    day = datetime.timedelta(days=1)
    assert values(X + day, x=naive) == [datetime.datetime(2024, 3, 1, 23, 59, 59)]
    assert values(datetime.datetime(2024, 1, 1) < X, x=naive) == [True]
    with pytest.raises(SchemaError, match="no kernel"):
        values(X == Y, x=naive, y=zoned[:1])


def test_casts_are_checked_unless_asked_otherwise():
    assert values(X.cast("int8"), x=[1.0, None]) == [1, None]
    assert values(X.cast(pa.string()), x=[1]) == ["1"]
    assert values(X.cast(pa.int8(), safe=False), x=[300]) == [44]
    for expression, cells in [(X.cast("int8"), [300]), (X.cast("int64"), ["a"])]:
        with pytest.raises(UserCodeError, match="cast"):
            values(expression, x=cells)


def test_tensors_can_be_asked_for_nulls_and_copied():
    images = tensor.from_ndarray(np.zeros((2, 3, 2)), np.array([True, False]))
    assert values(X.is_null(), x=images) == [False, True]
    assert column(X, x=images) == pa.chunked_array([images])
    with pytest.raises(SchemaError, match="no kernel"):
        values(X + 1, x=images)


# Functions of users -------------------------------------------------------------------------


@udf("int64")
def total(first, second, scale=1):
    return (first.to_numpy() + second.to_numpy()) * scale


@udf(pa.int64())
class Add:
    closed = 0

    def __init__(self, amount):
        self.amount = amount

    def __call__(self, array):
        return [None if value is None else value + self.amount for value in array.to_pylist()]

    def close(self):
        type(self).closed += 1


def test_functions_work_on_expressions_and_in_them():
    table = {"x": [1, 2], "y": [10, 20]}
    assert values(total(X, Y), **table) == [11, 22]
    assert values(total(X + 1, Y, scale=2) * 2 + total(X, X), **table) == [50, 96]
    assert repr(total(X, Y, scale=2)) == "total(col('x'), col('y'), scale=2)"
    assert type_of(total(X, Y), **table) == pa.int64()


def test_classes_are_constructed_once_and_closed():
    opened = Opened([Add(5)(X), Add(7)(X)])
    table = pa.table({"x": [1, None]})
    assert [made.to_pylist() for made in opened.columns(table)] == [[6, None], [8, None]]
    opened.columns(table)
    before = Add._function.function.closed
    opened.close()
    assert Add._function.function.closed == before + 2


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ([1], r"returned 1 values for 2 rows"),
        (["a", "b"], "returned large_string, and its return_dtype is int64"),
        ([0.5, 1.0], "does not hold every value"),
        (5, "returned what is no column: a value of type int"),
        (np.zeros((2, 2)), "returned extension"),
    ],
)
def test_a_function_must_return_what_it_says(returned, words):
    with pytest.raises(UserCodeError, match=words):
        values(udf("int64")(lambda array: returned)(X), x=[1, 2])


def test_what_a_function_raises_is_told():
    @udf("int64")
    def broken(array):
        raise KeyError("mine")

    with pytest.raises(UserCodeError, match="broken raised KeyError: 'mine'") as told:
        values(broken(X), x=[1])
    assert isinstance(told.value.__cause__, KeyError)


# The expressions themselves -----------------------------------------------------------------


def test_expressions_say_what_they_are():
    assert repr((X + 1) * 2 > Y) == "(((col('x') + 1) * 2) > col('y'))"
    assert repr(~X.str.contains("a")) == (
        "~match_substring(col('x'), pattern='a', ignore_case=False)"
    )
    assert repr(X.is_in(range(9))) == "is_in(col('x'), values=[0, 1, 2, 3, 4, …])"
    assert repr(1 - X.cast("int8").alias("z")) == (
        "(1 - cast(col('x'), to=int8, safe=True).alias('z'))"
    )


def test_expressions_know_their_columns_and_can_be_of_others():
    expression = (X + Y) * X.fill_null(col("a.b"))
    assert columns_of([expression]) == ["x", "y", "a.b"]
    assert repr(renamed(expression, {"x": "y", "y": "x"})) == (
        "((col('y') + col('x')) * coalesce(col('y'), col('a.b')))"
    )
    assert values(col("a.b") + 1, **{"a.b": [1]}) == [2]


def test_expressions_pickle_and_copy_however_deep():
    deep = functools.reduce(lambda left, number: left | (number == X), range(3000), X == -1)
    for made in (pickle.loads(pickle.dumps(deep)), copy.deepcopy(deep)):
        assert repr(made) == repr(deep)
        assert values(made, x=[2999, 5000]) == [True, False]
    shared = X + 1
    assert repr(pickle.loads(pickle.dumps(shared * shared))) == repr(shared * shared)


def test_an_expression_is_neither_true_nor_false():
    for ask in (lambda: bool(X > 1), lambda: 1 < X < 3, lambda: X in [1, 2], lambda: not X):
        with pytest.raises(ArgumentError, match="use & for `and`"):
            ask()


def test_numpys_numbers_leave_operators_to_expressions():
    assert isinstance(np.int64(3) + X, Expr)
    assert values(np.int64(3) + X, x=[1]) == [4]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: col(1), "name=1 must be a column name"),
        (lambda: lit(object()), "no value of a column"),
        (lambda: X + object(), "no value of a column"),
        (lambda: lit([1, "a"]), "no value of a column"),
        (lambda: X.alias(1), "name=1"),
        (lambda: X.cast("nope"), "target_type='nope' must be an Arrow type"),
        (lambda: X.cast(pa.int8(), safe=1), "safe=1"),
        (lambda: X.is_in(5), "values=5"),
        (lambda: X.is_in("abc"), "values='abc'"),
        (lambda: X.is_in([1, "a"]), "no values of a column"),
        (lambda: when(True), "condition=True must be an expression"),
        (lambda: X.list.get(-1), "index=-1"),
        (lambda: X.list[2:1], "stop=1 must be at least"),
        (lambda: X.struct[1.5], "key=1.5"),
        (lambda: X.str.contains(1), "pattern=1"),
        (lambda: X.str.match_regex("("), r"pattern='\(' must be a regular expression: .*missing"),
        (lambda: X.str.slice("a"), "start='a'"),
        (lambda: X.str.slice(0, 1, 0), "step=0"),
        (lambda: X.str.pad(3, "ab"), "fillchar='ab'"),
        (lambda: X.str.pad(3, side="up"), "side='up'"),
        (lambda: X.str.repeat(-1), "n=-1"),
        (lambda: X.dt.floor("decade"), "unit='decade'"),
        (lambda: udf("nope"), "return_dtype='nope'"),
        (lambda: udf("int8")(5), "udf=5"),
        (lambda: total(1, 2), "needs at least one expression"),
    ],
)
def test_wrong_arguments(wrong, words):
    with pytest.raises(ArgumentError, match=words):
        wrong()


def test_errors_name_the_expression_and_its_columns():
    with pytest.raises(SchemaError, match="no column 'z'; the columns are 'x', 'y'"):
        values(col("z"), x=[1], y=[2])
    with pytest.raises(SchemaError, match=r"\(col\('x'\) & .*'x': int64: it is int64, and not"):
        values(X & True, x=[1])


def test_large_blocks_keep_their_rows_in_order():
    many = pa.table({"x": pa.chunked_array([np.arange(100_000), np.arange(100_000)])})
    made = column(X * 2 + 1, table=many)
    assert made.num_chunks == 1
    assert made.to_numpy().tolist() == [2 * x + 1 for x in [*range(100_000)] * 2]
