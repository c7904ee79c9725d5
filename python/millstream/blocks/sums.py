"""Sums of the numbers of each group, which never wrap.

Owns the halves in which integers are added up: 32 bits each, in 64, so that two milliards of rows
have room.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks.groups import Groups
from millstream.errors import SchemaError


def parts(groups: Groups, column: pa.ChunkedArray, name: str) -> list[Any]:
    """The sums of each group: of integers in a high and a low half, or of other numbers.

    What it is not is null, so that blocks with numbers of other types can be put together.

    Raises:
        SchemaError: The values are no numbers, or too large.
    """
    types, type = pa.types, column.type
    no_integers = [pa.nulls(groups.count, pa.int64())] * 2
    if types.is_null(type) or types.is_boolean(type):
        column, type = column.cast(pa.int64()), pa.int64()
    if types.is_integer(type):
        wide = column if types.is_uint64(type) else column.cast(pa.int64())
        shift = pa.scalar(_HALF, wide.type)
        high = pc.shift_right(wide, shift).cast(pa.int64())
        low = pc.bit_wise_and(wide, pa.scalar(_LOW, wide.type)).cast(pa.int64())
        return [_sum(groups, high), _sum(groups, low), pa.nulls(groups.count)]
    if types.is_floating(type):
        return [*no_integers, _sum(groups, column.cast(pa.float64()))]
    if types.is_decimal(type):
        return [*no_integers, _sum_of_decimals(groups, column, name)]
    raise SchemaError(f"{name}: values of type {type} are no numbers")


def together(groups: Groups, high: Any, low: Any, other: Any, name: str) -> list[Any]:
    """The sums of parts.

    Raises:
        SchemaError: They are too large.
    """
    halves = [_sum(groups, high), _sum(groups, low)]
    if pa.types.is_null(other.type):
        return [*halves, pa.nulls(groups.count)]
    if pa.types.is_decimal(other.type):
        return [*halves, _sum_of_decimals(groups, other, name)]
    return [*halves, _sum(groups, other)]


def whole(high: Any, low: Any, other: Any, name: str) -> Any:
    """The sums in one column.

    Raises:
        SchemaError: One has more digits than Arrow's decimals.
    """
    integers = _integers(high, low)
    if pa.types.is_null(other.type):
        return integers
    if pa.types.is_floating(other.type):
        return pc.add(pc.fill_null(other, 0.0), floats(integers))
    try:
        both = pc.add(_fitted(pc.fill_null(other, 0)), _fitted(_wide(integers)))
        return both.cast(pa.decimal128(_DIGITS, other.type.scale))
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{name} has more than {_DIGITS} digits: {error}") from error


def _integers(high: Any, low: Any) -> Any:
    upper = np.asarray(pc.fill_null(high, 0)).astype(np.int64)
    lower = np.asarray(pc.fill_null(low, 0)).astype(np.int64)
    upper, lower = upper + (lower >> _HALF), lower & _LOW
    if ((upper >= -(2**31)) & (upper < 2**31)).all():
        return pa.array((upper << _HALF) + lower)
    made = [int(top) * 2**_HALF + int(rest) for top, rest in zip(upper, lower, strict=True)]
    return pa.array(made, pa.decimal128(_DIGITS, 0))


def as_floats(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
    """Numbers as floats; NaN where there is none.

    Raises:
        SchemaError: The values are no numbers.
    """
    types = pa.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    type = column.type
    is_number = types.is_integer(type) or types.is_floating(type) or types.is_decimal(type)
    if types.is_boolean(type):
        column = column.cast(pa.int8())
    elif not (is_number or types.is_null(type)):
        raise SchemaError(f"{name}: values of type {type} are no numbers")
    found: npt.NDArray[Any] = floats(column).to_numpy()
    return found.astype(np.float64)


def floats(column: Any) -> Any:
    """Numbers as the floats that are nearest to them."""
    if pa.types.is_decimal(column.type):
        # Arrow multiplies by a power of ten, which is no exact float.
        column = column.cast(pa.large_string())
    return column.cast(pa.float64(), safe=False)


def _sum(groups: Groups, column: Any) -> Any:
    types, type = pa.types, column.type
    if types.is_floating(type):
        return pa.array(groups.add_up(_numbers(column)))
    if types.is_integer(type) and not types.is_uint64(type):
        values = _numbers(column)
        largest = int(np.abs(values).max()) if len(values) else 0
        if largest * int(groups.sizes.max(initial=0)) < _EXACT:
            return pa.array(groups.add_up(values).astype(np.int64))
    return groups.reduce(column, "sum", pc.ScalarAggregateOptions(skip_nulls=True, min_count=0))


def _numbers(column: Any) -> npt.NDArray[Any]:
    """The numbers; zero where there is none, which adds nothing."""
    filled = pc.fill_null(column, 0) if column.null_count else column
    found: npt.NDArray[Any] = np.asarray(filled)
    return found


def _sum_of_decimals(groups: Groups, column: Any, name: str) -> Any:
    wide = _fitted(_wide(column))
    # Arrow's sums wrap around.
    digits = wide.type.precision + len(str(groups.sizes.max(initial=0)))
    if digits > _DIGITS_MAX:
        raise SchemaError(f"{name}: values of {wide.type.precision} digits are too large to add up")
    options = pc.ScalarAggregateOptions(skip_nulls=True, min_count=0)
    return _fitted(groups.reduce(wide, "sum", options))


def _wide(column: Any) -> Any:
    scale = column.type.scale if pa.types.is_decimal(column.type) else 0
    return column.cast(pa.decimal256(_DIGITS_MAX, scale))


def _fitted(column: Any) -> Any:
    """Decimals of as few digits as they need, so that those of other scales can join them."""
    scale = column.type.scale
    ends = [end for end in pc.min_max(column).values() if end.is_valid]
    digits = [len(end.as_py().as_tuple().digits) for end in ends]
    return column.cast(pa.decimal256(max(1, scale, *digits), scale))


_HALF = 32
_LOW = (1 << _HALF) - 1
#: Floats of 64 bits hold all whole numbers below this.
_EXACT = 2**53
#: Of a decimal of 128 bits, and of 256.
_DIGITS = 38
_DIGITS_MAX = 76
