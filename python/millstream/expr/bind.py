"""What Arrow computes for an expression, given the types of the columns.

Owns the rules of types: which function of Arrow a node becomes, and how its values are made alike
before. Must not know rows (`millstream.expr.program`).

Arrow's own conversions are not relied on where they could change a value or fail at one. In an
expression it takes the smallest type that holds a constant: `int8 + 5` is int8 and overflows, and
int64 beside 2.0 becomes float32. So types are made the same here, by the rules of `common_type`,
before Arrow sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks.common_type import common_type, is_text
from millstream.blocks.convert import convert, nulls
from millstream.blocks.primitive import is_number
from millstream.errors import MissingPackageError
from millstream.expr.by_value import (
    SWAPPED,
    floats_among,
    integers_among,
    of_floats,
    of_integers,
)


@dataclass(frozen=True)
class Bound:
    """A part of an expression as Arrow computes it.

    Args:
        expression: A `pyarrow.compute.Expression`.
        type: The type of its values.
        value: The value, if it is the same for all rows.
        column: The column, if it is nothing but one.
    """

    expression: Any
    type: pa.DataType
    value: pa.Scalar | None = None
    column: str | None = None


def bound_column(name: str, type: pa.DataType) -> Bound:
    """A column."""
    return Bound(pc.field(name), type, column=name)


def bound_constant(value: pa.Scalar) -> Bound:
    """A constant."""
    return Bound(pc.scalar(value), value.type, value)


def bound_call(function: str, args: Sequence[Bound], options: dict[str, Any]) -> Bound:
    """A function of values.

    Args:
        function: As `Call` has it.
        args: The values.
        options: What is the same for all rows.

    Raises:
        TypeError: It is not for values of these types.
        pyarrow.ArrowException: Likewise, or an option makes no sense.
    """
    decoded = [_decoded(each) for each in args]
    rule = _RULES.get(function)
    return rule(decoded, **options) if rule else _call(function, decoded, **options)


def as_bool(condition: Bound) -> Bound:
    """A condition; one without any value is null.

    Raises:
        TypeError: It is no bool.
    """
    if pa.types.is_null(condition.type):
        return _cast([condition], pa.bool_())
    if not pa.types.is_boolean(condition.type):
        raise TypeError(f"it is {condition.type}, and not bool")
    return condition


def _call(name: str, args: Sequence[Bound], **options: Any) -> Bound:
    """A function of Arrow's."""
    function = getattr(pc, name, None)
    if function is None:
        raise MissingPackageError(
            f"pyarrow {pa.__version__} has no function {name!r}; install a newer one: "
            "pip install -U pyarrow"
        )
    # What it makes of no values tells the type.
    samples = [nulls(0, each.type) if each.value is None else each.value for each in args]
    try:
        made = function(*samples, **options)
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        if any(pa.types.is_null(each.type) for each in args):
            # A block whose values are all null has no type to go by; so is what is made of them.
            return bound_constant(pa.scalar(None))
        raise
    if isinstance(made, pa.Scalar):
        return bound_constant(made)
    return Bound(function(*[each.expression for each in args], **options), made.type)


def _cast(args: Sequence[Bound], to: pa.DataType, safe: bool = True) -> Bound:
    (arg,) = args
    if arg.type.equals(to):
        return arg
    if arg.value is not None:
        return bound_constant(arg.value.cast(to, safe=safe))
    nulls(0, arg.type).cast(to, safe=safe)
    return Bound(arg.expression.cast(to, safe=safe), to)


def _decoded(arg: Bound) -> Bound:
    """The values of a dictionary: few functions take the codes."""
    return _cast([arg], arg.type.value_type) if pa.types.is_dictionary(arg.type) else arg


def _alike(args: Sequence[Bound], *, narrow: bool = False) -> list[Bound]:
    """Values of one type, each unchanged; as they are if no type holds all of them.

    Args:
        args: The values.
        narrow: Whether constants take the type of the others if it holds them. Else integers are
            of 64 bits, so that adding 1 to one of 8 bits does not overflow.
    """
    types = [each.type for each in args if each.value is None]
    common: pa.DataType | None = types[0] if types else args[0].type
    for type in types[1:]:
        common = None if common is None else common_type(common, type)
    if common is None:
        return list(args)
    fitted = [each if each.value is None else _fitted(each, common, narrow) for each in args]
    for each in fitted:
        common = None if common is None else common_type(common, each.type)
    return list(args) if common is None else [_cast([each], common) for each in fitted]


def _fitted(constant: Bound, type: pa.DataType, narrow: bool) -> Bound:
    """A constant in the type of the values that it meets, if it is the same there."""
    value, types = constant.value, pa.types
    if value is None or constant.type.equals(type):
        return constant
    if types.is_decimal(type) and types.is_integer(constant.type) and value.is_valid:
        digits = len(str(abs(value.as_py())))
        return bound_constant(value.cast(pa.decimal128(20, 0)).cast(pa.decimal128(digits, 0)))
    beside_float = types.is_floating(type) and types.is_integer(constant.type)
    if not (narrow or beside_float) or common_type(constant.type, type) is None:
        return constant
    try:
        return bound_constant(convert(pa.array([value.as_py()], constant.type), type)[0])
    except (ValueError, pa.ArrowException):
        return constant


def _wide(args: Sequence[Bound]) -> list[Bound]:
    """Values of one type, where integers beside decimals are decimals too."""
    types = pa.types
    if not any(types.is_decimal(each.type) for each in args):
        return _alike(args)
    return [
        _cast([each], pa.decimal128(20, 0))
        if types.is_integer(each.type) and each.value is None
        else _fitted(each, args[0].type if each is args[1] else args[1].type, narrow=False)
        for each in args
    ]


def _arithmetic(function: str, args: Sequence[Bound]) -> Bound:
    return _call(f"{function}_checked", _wide(args) if _are(args, _is_number) else args)


def _add(args: Sequence[Bound]) -> Bound:
    if not any(is_text(each.type) for each in args) or not _are(args, _is_text_or_null):
        return _arithmetic("add", args)
    alike = _alike(args, narrow=True)
    between = bound_constant(pa.scalar("", alike[0].type))
    return _call("binary_join_element_wise", [*alike, between])


def _divide(args: Sequence[Bound]) -> Bound:
    if _are(args, pa.types.is_integer):
        return _call("divide_checked", [_cast([each], pa.float64(), safe=False) for each in args])
    if _are(args, _is_number):
        args = _wide(args)
    # What a float divided by zero is, floats can say.
    return _call("divide" if _are(args, pa.types.is_floating) else "divide_checked", args)


def _floor_divide(args: Sequence[Bound]) -> Bound:
    left, right = args = _whole_or_float(args)
    rest, floored = _call("remainder", args), _call("modulo", args)
    is_above = _cast([_call("not_equal", [rest, floored])], pa.int8())
    below = _cast([is_above], left.type)
    if pa.types.is_floating(left.type):
        whole = _call("round", [_call("divide", [_call("subtract", [left, rest]), right])])
        result = _call("subtract", [whole, below])
        zero = bound_constant(pa.scalar(0.0, left.type))
        return _call("if_else", [_call("equal", [right, zero]), _call("divide", args), result])
    return _call("subtract_checked", [_call("divide_checked", args), below])


def _modulo(args: Sequence[Bound]) -> Bound:
    return _call("modulo", _whole_or_float(args))


def _whole_or_float(args: Sequence[Bound]) -> list[Bound]:
    types = pa.types
    for each in args:
        if not is_number(each.type):
            if types.is_null(each.type):
                continue
            raise TypeError(f"{each.type} has no // and no %: they are for integers and floats")
    alike = _alike(args)
    if types.is_null(alike[0].type):
        return [_cast([each], pa.int64()) for each in alike]
    return alike


def _compare(function: str, args: Sequence[Bound]) -> Bound:
    left, right = args
    by_value = _compare_with(function, left, right) or _compare_with(
        SWAPPED.get(function, function), right, left
    )
    if by_value is not None:
        return by_value
    if any(map(_is_signed, args)) and any(each.type.equals(pa.uint64()) for each in args):
        # No integer type holds both negative and large ones; a decimal does.
        args = [_cast([each], pa.decimal128(20, 0)) for each in args]
    return _call(function, _alike(args, narrow=True))


def _compare_with(function: str, values: Bound, constant: Bound) -> Bound | None:
    """The comparison with a number that may be none of their type; `None` if it is another case."""
    types, scalar = pa.types, constant.value
    if values.value is not None or scalar is None or not scalar.is_valid:
        return None
    if function == "not_equal":
        equal = _compare_with("equal", values, constant)
        return None if equal is None else _call("invert", [equal])
    if types.is_integer(values.type) and is_number(constant.type):
        function, number = of_integers(function, scalar.as_py(), *_range_of(values.type))
        return _call(function, [values, bound_constant(pa.scalar(number, values.type))])
    if types.is_floating(values.type) and types.is_integer(constant.type):
        function, near = of_floats(function, scalar.as_py())
        wide = pa.scalar(near, pa.float64())
        short = wide.cast(values.type)
        if short.as_py() == near:
            return _call(function, [values, bound_constant(short)])
        return _call(function, [_cast([values], wide.type), bound_constant(wide)])
    return None


def _is_signed(arg: Bound) -> bool:
    return bool(pa.types.is_signed_integer(arg.type))


def _range_of(type: pa.DataType) -> tuple[int, int]:
    low = -(2 ** (type.bit_width - 1)) if pa.types.is_signed_integer(type) else 0
    return low, low + 2**type.bit_width - 1


def _logic(function: str, args: Sequence[Bound]) -> Bound:
    return _call(function, [as_bool(each) for each in args])


def _rounded(function: str, args: Sequence[Bound]) -> Bound:
    (arg,) = args
    return arg if pa.types.is_integer(arg.type) else _call(function, args)


def _of_floats(function: str, args: Sequence[Bound]) -> Bound:
    (arg,) = args
    is_integer = pa.types.is_integer(arg.type)
    return _call(function, [_cast(args, pa.float64(), safe=False) if is_integer else arg])


def _choice(values: Sequence[Bound]) -> list[Bound]:
    alike = _alike(values, narrow=True)
    types = dict.fromkeys(str(each.type) for each in alike)
    if len(types) > 1:
        raise TypeError(f"{' and '.join(types)} have no common type: cast one of them")
    return alike


def _coalesce(args: Sequence[Bound]) -> Bound:
    return _call("coalesce", _choice(args))


def _case_when(args: Sequence[Bound]) -> Bound:
    pairs = len(args) // 2 * 2
    conditions = [as_bool(each) for each in args[:pairs:2]]
    values = _choice([*args[1:pairs:2], *args[pairs:]])
    # A constant that is not told from a column here would not be spread over the rows.
    names = [str(number) for number in range(len(conditions))]
    samples = pa.StructArray.from_arrays([pa.array([], pa.bool_())] * len(names), names)
    type = pc.case_when(samples, *[nulls(0, each.type) for each in values]).type
    struct = pc.make_struct(*[each.expression for each in conditions], field_names=names)
    return Bound(pc.case_when(struct, *[each.expression for each in values]), type)


def _is_in(args: Sequence[Bound], values: pa.Array) -> Bound:
    (arg,) = args
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    common = common_type(arg.type, values.type)
    if common is None:
        raise TypeError(f"{values.type} values are never among {arg.type} ones: cast one of them")
    if pa.types.is_integer(arg.type) and is_number(values.type):
        among = integers_among(values.to_pylist(), *_range_of(arg.type))
        values = pa.array(among, arg.type)
    elif pa.types.is_floating(arg.type) and pa.types.is_integer(values.type):
        arg = _cast([arg], pa.float64())
        values = pa.array(floats_among(values.to_pylist()), pa.float64())
    try:
        values = convert(values, arg.type)
    except ValueError:
        arg, values = _cast(args, common), convert(values, common)
    if pa.types.is_floating(values.type) and any(each.as_py() == 0 for each in values):
        # Arrow looks floats up by their bits, and those of -0.0 are others.
        values = pa.concat_arrays([values, pa.array([0.0, -0.0]).cast(values.type)])
    return _call("is_in", [arg], value_set=values)


def _are(args: Sequence[Bound], test: Callable[[pa.DataType], bool]) -> bool:
    return all(test(each.type) for each in args)


def _is_number(type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(type)
        or types.is_floating(type)
        or types.is_decimal(type)
        or types.is_null(type)
    )


def _is_text_or_null(type: pa.DataType) -> bool:
    return is_text(type) or bool(pa.types.is_null(type))


_Rule = Callable[..., Bound]
_RULES: dict[str, _Rule] = {
    "add": _add,
    "subtract": partial(_arithmetic, "subtract"),
    "multiply": partial(_arithmetic, "multiply"),
    "divide": _divide,
    "floor_divide": _floor_divide,
    "modulo": _modulo,
    "power": partial(_arithmetic, "power"),
    "negate": partial(_call, "negate_checked"),
    "abs": partial(_call, "abs_checked"),
    "cast": _cast,
    "coalesce": _coalesce,
    "case_when": _case_when,
    "is_in": _is_in,
    **{
        name: partial(_compare, name)
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    },
    **{name: partial(_logic, name) for name in ("and_kleene", "or_kleene", "invert")},
    **{name: partial(_rounded, name) for name in ("ceil", "floor", "round", "trunc")},
    **{
        name: partial(_of_floats, name)
        for name in ("ln", "log10", "log2", "exp", "sin", "cos", "tan", "asin", "acos", "atan")
    },
}
