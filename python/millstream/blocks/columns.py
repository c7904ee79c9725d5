"""One column: Arrow to NumPy, and NumPy or Python values to Arrow.

Owns which Arrow type values become. Must not know batches of several columns, blocks or user code.
Raises `ValueError` or `TypeError` with a sentence that says what is wrong with the values; who
knows the column's name adds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from millstream.blocks import primitive, tensor

Column: TypeAlias = pa.Array | pa.ChunkedArray


def to_numpy(column: pa.ChunkedArray, *, writable: bool) -> np.ndarray[Any, Any]:
    """Returns a column as NumPy, without copying where the types allow and a view will do.

    Numbers and booleans keep their dtype. With nulls, numbers become floats with NaN, unless
    that would change them; such integers, and booleans, become objects with None. Dates are
    datetime64[D], timestamps datetime64 in UTC, durations timedelta64. Strings, binaries,
    decimals, times, lists (as arrays) and structs (as dicts) are objects.
    """
    if tensor.is_tensor(column.type):
        array = tensor.to_numpy(column)
    elif primitive.is_number(column.type) and not column.null_count:
        array = _numbers(column)
    elif _exceeds_floats(column):
        array = np.array(column.to_pylist(), dtype=object)
    else:
        array = column.to_numpy(zero_copy_only=False)
    return _writable(array) if writable else _readonly(array)


def from_ndarray(array: np.ndarray[Any, Any], like: pa.DataType | None = None) -> Column:
    """Makes a column of an array whose first axis is the rows.

    Args:
        array: One dimension gives a plain column, more give tensors.
        like: The type that the column of this name had before; it decides what NumPy leaves open,
            such as a time zone or the precision of decimals, and nothing else.
    """
    if isinstance(array, np.ma.MaskedArray):
        return _from_masked(array, like)
    if array.dtype.kind in "OSUT":
        if array.ndim > 1:
            return from_values(array.tolist(), like)
        return from_values(array, like) if array.dtype.kind == "O" else _text(array)
    if not tensor.is_tensor_dtype(array.dtype):
        raise TypeError(f"has dtype {array.dtype}, which Arrow has no type for")
    if array.ndim > 1:
        return tensor.from_ndarray(array)
    if array.dtype.kind in "iuf":
        return settle(primitive.wrap(array), like)
    column = pa.array(array.astype(tensor.arrow_dtype(array.dtype), copy=False))
    return settle(column, like)


def from_values(
    values: Sequence[Any] | np.ndarray[Any, Any], like: pa.DataType | None = None
) -> Column:
    """Makes a column of Python or NumPy values, None where null.

    NumPy arrays become tensors, lists stay lists. Strings and binaries take 64-bit offsets.

    Args:
        values: One for each row.
        like: As in `from_ndarray`.
    """
    first = next((value for value in values if value is not None), None)
    if first is None:
        typed = like is not None and not tensor.is_tensor(like)
        return pa.nulls(len(values), like if typed else None)
    if isinstance(first, (np.datetime64, np.timedelta64)):
        empty = type(first)("NaT")
        return from_ndarray(np.array([empty if v is None else v for v in values]), like)
    if _is_array(first) and not (_is_list(like) and np.ndim(first) == 1):
        return _from_arrays(values)
    try:
        if isinstance(first, (str, bytes)):
            return pa.array(values, pa.large_string() if isinstance(first, str) else _BYTES)
        if like is not None and pa.types.is_map(like):
            return pa.array(values, like)
        column = pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise TypeError(_unfit(values, error)) from error
    return settle(_wide(column), like)


def _numbers(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    views = [view for chunk in column.chunks if (view := primitive.view(chunk)) is not None]
    if not views:
        return np.empty(0, np.dtype(column.type.to_pandas_dtype()))
    return views[0] if len(views) == 1 else np.concatenate(views)


def _exceeds_floats(column: pa.ChunkedArray) -> bool:
    """Tells whether integers with nulls, which NumPy has only as floats, would be rounded."""
    if not pa.types.is_integer(column.type) or column.type.bit_width < 64:
        return False
    # Loaded where it is needed, since it takes longer to load than a small pipeline to run.
    from pyarrow import compute

    bounds = compute.min_max(column)
    extremes = [bounds["min"].as_py(), bounds["max"].as_py()]
    return any(value is not None and abs(value) > 2**53 for value in extremes)


def _text(array: np.ndarray[Any, Any]) -> Column:
    column = pa.array(array)
    return column.cast(_BYTES if array.dtype.kind == "S" else pa.large_string())


def _is_array(value: Any) -> bool:
    """Tells whether a value is an array, or a tensor or image of another library."""
    if isinstance(value, np.ndarray):
        return True
    if isinstance(value, (str, bytes, int, float, list, dict, np.generic)):
        return False
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__")


def _from_arrays(values: Iterable[Any]) -> Column:
    rows = [None if value is None else np.asarray(value) for value in values]
    arrays = [row for row in rows if row is not None]
    if all(array.ndim == 0 for array in arrays):
        return from_values([None if row is None else row[()] for row in rows])
    if any(not tensor.is_tensor_dtype(array.dtype) for array in arrays):
        return from_values([None if row is None else row.tolist() for row in rows])
    return tensor.from_ndarrays(rows)


def _from_masked(array: np.ma.MaskedArray[Any, Any], like: pa.DataType | None) -> Column:
    mask = np.ma.getmaskarray(array)
    if array.ndim > 1:
        return tensor.from_ndarray(array.filled(0), ~np.any(mask, axis=tuple(range(1, array.ndim))))
    return settle(pa.array(array.data, mask=mask), like)


def restored(array: np.ndarray[Any, Any], column: pa.ChunkedArray) -> Column | None:
    """Returns the column that `to_numpy` made an array of, with its nulls where they still are.

    Args:
        array: What `to_numpy` returned; it may have been written to since.
        column: What it was made of.

    Returns:
        The column itself if nobody could write to the array; None if it must be converted anew.
    """
    if not array.flags.writeable and not pa.types.is_nested(column.type):
        return column
    if not column.null_count or not primitive.is_number(column.type):
        return None
    if array.dtype == object:
        made = from_values(array)
    else:
        missing = column.is_null().to_numpy() & np.isnan(array)
        made = pa.array(array, mask=missing, from_pandas=False)
    try:
        return made.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Written to since, with what the former type does not hold.
        return made


def settle(column: Column, like: pa.DataType | None) -> Column:
    """Gives a column the type it had before where NumPy or Python cannot tell the two apart."""
    if like is None or column.type.equals(like) or not _refines(column.type, like):
        return column
    if pa.types.is_timestamp(like) and like.tz and column.type.tz is None:
        # NumPy holds the instants in UTC.
        column = column.cast(pa.timestamp(column.type.unit, like.tz))
    try:
        return column.cast(like)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return column


def _refines(found: pa.DataType, like: pa.DataType) -> bool:
    """Tells whether `like` may stand for `found` with nothing lost but what the cast checks."""
    types = pa.types
    if types.is_null(found):
        return not tensor.is_tensor(like)
    if types.is_timestamp(found) and types.is_timestamp(like):
        return found.tz is None or found.tz == like.tz
    if types.is_struct(found) and types.is_struct(like):
        names = {field.name for field in like}
        return all(
            field.name in names and _fits(field.type, like.field(field.name).type)
            for field in found
        )
    if _is_list(found) and _is_list(like):
        return _fits(found.value_type, like.value_type)
    return any(test(found) and test(like) for test in _KINDS)


def _fits(found: pa.DataType, like: pa.DataType) -> bool:
    return found.equals(like) or _refines(found, like)


def _is_list(type: pa.DataType | None) -> bool:
    return type is not None and bool(
        pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type)
    )


def _is_text(type: pa.DataType) -> bool:
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type))


def _is_bytes(type: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type) or pa.types.is_large_binary(type))


def _wide(column: Column) -> Column:
    wide = _wide_type(column.type)
    return column if wide.equals(column.type) else column.cast(wide)


def _wide_type(type: pa.DataType) -> pa.DataType:
    """Returns the type with 64-bit offsets in all strings and binaries, however deep."""
    if pa.types.is_string(type):
        return pa.large_string()
    if pa.types.is_binary(type):
        return pa.large_binary()
    if pa.types.is_list(type):
        return pa.list_(type.value_field.with_type(_wide_type(type.value_type)))
    if pa.types.is_struct(type):
        return pa.struct([field.with_type(_wide_type(field.type)) for field in type])
    return type


def _unfit(values: Iterable[Any], error: Exception) -> str:
    kinds = sorted({type(value).__name__ for value in values if value is not None})
    return f"holds values that are no Arrow column (of {', '.join(kinds[:5])}): {error}"


def _writable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not array.flags.writeable:
        array = array.copy()
    if array.dtype == object:
        for index, value in enumerate(array):
            if isinstance(value, (np.ndarray, dict)):
                array[index] = _writable_value(value)
    return array


def _writable_value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _writable(value)
    if isinstance(value, dict):
        return {name: _writable_value(inner) for name, inner in value.items()}
    return value


def _readonly(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array


_BYTES = pa.large_binary()
# Pairs of types of the same kind are told apart by width or unit only, which the cast checks.
_KINDS = (
    pa.types.is_decimal,
    pa.types.is_time,
    pa.types.is_duration,
    pa.types.is_date,
    _is_text,
    _is_bytes,
)
