"""Types of columns: which one may stand for another without a loss.

Owns what decides the type of a column where NumPy or Python leave it open. Must not know how values
are converted, batches, blocks or user code.
"""

from __future__ import annotations

import pyarrow as pa

from millstream.blocks import tensor
from millstream.blocks.common_type import is_bytes, is_list, is_text
from millstream.blocks.convert import Column, convert


def settle(column: Column, like: pa.DataType | None, *, in_utc: bool = False) -> Column:
    """Gives a column the type it had before where NumPy or Python cannot tell the two apart.

    Args:
        column: What was made of the values.
        like: The type that the column of this name had.
        in_utc: Timestamps without a zone are NumPy's, which has the instants in UTC.

    Returns:
        The column as it is if the former type would lose anything.
    """
    if like is None or column.type.equals(like) or not _refines(column.type, like):
        return column
    if pa.types.is_timestamp(like) and like.tz and column.type.tz is None and not in_utc:
        return column
    try:
        return convert(column, like)
    except (ValueError, pa.ArrowException):
        return column


def is_variable(type: pa.DataType) -> bool:
    """Tells whether a column of this type holds strings or binaries of any length."""
    types = pa.types
    return bool(is_text(type) or types.is_binary(type) or types.is_large_binary(type))


def _refines(found: pa.DataType, like: pa.DataType) -> bool:
    """Tells whether `like` may stand for `found` with nothing lost but what the cast checks."""
    types = pa.types
    if types.is_null(found):
        return True
    if isinstance(like, pa.BaseExtensionType):
        return not tensor.is_tensor(like) and _fits(found, like.storage_type)
    if types.is_dictionary(like):
        values = found.value_type if types.is_dictionary(found) else found
        return _fits(values, like.value_type)
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
    if types.is_map(found) and types.is_map(like):
        return _fits(found.key_type, like.key_type) and _fits(found.item_type, like.item_type)
    # Numbers of Python have no width.
    integers = found.equals(pa.int64()) and types.is_integer(like)
    floats = found.equals(pa.float64()) and types.is_floating(like)
    return integers or floats or any(test(found) and test(like) for test in _KINDS)


def _fits(found: pa.DataType, like: pa.DataType) -> bool:
    return found.equals(like) or _refines(found, like)


# Types of the same kind differ in width or unit only, which the cast checks.
_KINDS = (
    pa.types.is_decimal,
    pa.types.is_time,
    pa.types.is_duration,
    pa.types.is_date,
    is_text,
    is_bytes,
)
