"""Which expressions have a value for every row, whatever it holds.

Owns the list. Whether an expression is computed for rows that are left out later must not be seen;
so only what is in it may be.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from millstream.blocks.common_type import is_text
from millstream.blocks.primitive import is_number
from millstream.expr.bind import Bound, bound_call, bound_column, bound_constant
from millstream.expr.nodes import Alias, Call, Column, Expr, Literal, in_order


def never_fails(node: Expr, schema: pa.Schema) -> bool:
    """Whether an expression can be computed of all values that columns of these types may have.

    Args:
        node: The expression, which fits the columns.
        schema: The columns.
    """
    answers: dict[int, Bound] = {}
    for each in in_order([node]):
        args = [answers[id(arg)] for arg in each.args]
        match each:
            case Column(name=name):
                answers[id(each)] = bound_column(name, schema.field(name).type)
            case Literal(scalar=scalar):
                answers[id(each)] = bound_constant(scalar)
            case Alias():
                answers[id(each)] = args[0]
            case Call(function=function) if _is_safe(each, args):
                answers[id(each)] = bound_call(function, args, each.options)
            case _:
                return False
    return True


def _is_safe(call: Call, args: Sequence[Bound]) -> bool:
    function = call.function
    if function in _ALWAYS:
        return True
    types = [_type_of(arg.type) for arg in args]
    varying = [_type_of(arg.type) for arg in args if arg.value is None]
    if function in _OF_FLOATS:
        return all(map(is_number, types)) and all(map(pa.types.is_floating, varying))
    if function in _COMPARING and len(varying) == 1 and all(map(is_number, types)):
        # With a constant, numbers are compared by value.
        return True
    if function == "is_in":
        types.append(_type_of(call.options["values"].type))
    return function in _OF_EQUALS and _are_alike(types)


def _are_alike(types: Sequence[pa.DataType]) -> bool:
    """Whether values of these types become those of one type without a look at them."""
    return (
        all(map(is_text, types))
        or all(map(pa.types.is_integer, types))
        or all(map(pa.types.is_floating, types))
        or all(each.equals(types[0]) for each in types)
    )


def _type_of(type: pa.DataType) -> pa.DataType:
    return type.value_type if pa.types.is_dictionary(type) else type


_ALWAYS = {
    *("is_null", "is_valid", "is_nan", "and_kleene", "or_kleene", "invert", "struct_field"),
    # Of text, only what does not look at its characters: in files, it may be no UTF-8.
    *("binary_length", "starts_with", "ends_with", "match_substring", "list_value_length"),
}
_OF_FLOATS = {
    *("add", "subtract", "multiply", "divide", "negate", "abs", "sign", "ceil", "floor", "round"),
    *("trunc", "ln", "log10", "log2", "exp", "sin", "cos", "tan"),
}
_COMPARING = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
_OF_EQUALS = _COMPARING | {"is_in"}
