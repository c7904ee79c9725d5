"""Types of columns: which one may stand for another without a loss.

Owns what decides the type of a column where NumPy or Python leave it open. Must not know how values
are converted, batches, blocks or user code.
"""

from __future__ import annotations

import pyarrow as pa

from millstream.blocks import tensor
from millstream.blocks.common_type import is_bytes, is_list, is_text
from millstream.blocks.convert import Column


def settle(column: Column, like: pa.DataType | None) -> Column:
    """Gives a column the type it had before where NumPy or Python cannot tell the two apart.

    Args:
        column: What was made of the values.
        like: The type that the column of this name had.

    Returns:
        The column as it is if the former type would lose anything.
    """
    if like is None or column.type.equals(like) or not _refines(column.type, like):
        return column
    if pa.types.is_timestamp(like) and like.tz and column.type.tz is None:
        # NumPy holds the instants in UTC.
        column = column.cast(pa.timestamp(column.type.unit, like.tz))
    try:
        return column.cast(like)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return column


def widened(column: Column) -> Column:
    """Gives strings and binaries 64-bit offsets, however deep."""
    wide = _wide_type(column.type)
    return column if wide.equals(column.type) else column.cast(wide)


def is_variable(type: pa.DataType) -> bool:
    """Tells whether a column of this type holds strings or binaries of any length."""
    types = pa.types
    return bool(is_text(type) or types.is_binary(type) or types.is_large_binary(type))


def _refines(found: pa.DataType, like: pa.DataType) -> bool:
    """Tells whether `like` may stand for `found` with nothing lost but what the cast checks."""
    types = pa.types
    if types.is_null(found):
        return not tensor.is_tensor(like)
    if isinstance(like, pa.BaseExtensionType):
        return not tensor.is_tensor(like) and _fits(found, like.storage_type)
    if types.is_dictionary(like):
        return _fits(found, like.value_type)
    if types.is_timestamp(found):
        dates = types.is_date64(like) and found.tz is None
        return dates or (types.is_timestamp(like) and found.tz in (None, like.tz))
    if types.is_struct(found) and types.is_struct(like):
        names = {field.name for field in like}
        return all(
            field.name in names and _fits(field.type, like.field(field.name).type)
            for field in found
        )
    if is_list(found) and is_list(like):
        return _fits(found.value_type, like.value_type)
    # Integers of Python have no width.
    integers = found.equals(pa.int64()) and types.is_integer(like)
    return integers or any(test(found) and test(like) for test in _KINDS)


def _fits(found: pa.DataType, like: pa.DataType) -> bool:
    return found.equals(like) or _refines(found, like)


def _wide_type(type: pa.DataType) -> pa.DataType:
    if pa.types.is_string(type):
        return pa.large_string()
    if pa.types.is_binary(type):
        return pa.large_binary()
    if pa.types.is_list(type):
        return pa.list_(type.value_field.with_type(_wide_type(type.value_type)))
    if pa.types.is_struct(type):
        return pa.struct([field.with_type(_wide_type(field.type)) for field in type])
    return type


# Types of the same kind differ in width or unit only, which the cast checks.
_KINDS = (
    pa.types.is_decimal,
    pa.types.is_time,
    pa.types.is_duration,
    pa.types.is_date,
    is_text,
    is_bytes,
)
