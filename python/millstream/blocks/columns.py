"""One column: Arrow to NumPy, and NumPy or Python values to Arrow.

Owns which Arrow type values become. Must not know batches of several columns, blocks or user code.
Raises `ValueError` or `TypeError` with a sentence that says what is wrong with the values; who
knows the column's name adds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import primitive, tensor
from millstream.blocks.column_types import is_variable, settle, widened
from millstream.blocks.common_type import is_list
from millstream.blocks.convert import Column


def to_numpy(column: pa.ChunkedArray, *, writable: bool) -> np.ndarray[Any, Any]:
    """Returns a column as NumPy, without copying where the types allow and a view will do.

    Numbers and booleans keep their dtype. With nulls, numbers become floats with NaN, unless
    that would change them; such integers, and booleans, become objects with None. Dates are
    datetime64[D], timestamps datetime64 in UTC, durations timedelta64. Strings, binaries,
    decimals, times, lists (as arrays) and structs (as dicts) are objects.
    """
    column = _plain(column)
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
        return primitive.wrap(array)
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
    if _is_array(first) and not (is_list(like) and np.ndim(first) == 1):
        return _from_arrays(values)
    try:
        made = primitive.of_values(values)
        if isinstance(first, (str, bytes)):
            if made is None:
                made = pa.array(values, pa.large_string() if isinstance(first, str) else _BYTES)
            return made if like is None or is_variable(like) else settle(made, like)
        if made is not None:
            return settle(made, like)
        if like is not None and pa.types.is_map(like):
            return pa.array(values, like)
        column = _inferred(values, first)
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise TypeError(_unfit(values, error)) from error
    return settle(widened(column), like)


def _inferred(values: Sequence[Any] | np.ndarray[Any, Any], first: Any) -> Column:
    column = pa.array(values)
    if hasattr(first, "nanosecond") and pa.types.is_timestamp(column.type):
        # Arrow takes timestamps of pandas for datetimes, which have no nanoseconds.
        return pa.array(values, pa.timestamp("ns", column.type.tz))
    if hasattr(first, "nanoseconds") and pa.types.is_duration(column.type):
        return pa.array(values, pa.duration("ns"))
    return column


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Replaces types that pyarrow does not convert to NumPy as they should be."""
    if pa.types.is_dictionary(column.type):
        # pyarrow makes nulls the last word of the dictionary.
        return column.cast(column.type.value_type)
    if pa.types.is_fixed_size_list(column.type) and column.null_count:
        # The values of null lists are nulls too, which would make all integers floats.
        type = pa.list_(column.type.value_type)
        return pa.chunked_array([_without_null_lists(chunk) for chunk in column.chunks], type)
    return column


def _without_null_lists(chunk: pa.Array) -> pa.Array:
    valid = chunk.is_valid()
    sizes = np.array(valid.to_pylist(), np.int32) * chunk.type.list_size
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(sizes, dtype=np.int32)])
    mask = pa.array([not is_valid for is_valid in valid.to_pylist()])
    return pa.ListArray.from_arrays(primitive.wrap(offsets), chunk.flatten(), mask=mask)


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
    if not array.flags.writeable and _is_immutable(column.type):
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


def _is_immutable(type: pa.DataType) -> bool:
    """Tells whether the values of a read-only array of this type can not be changed either."""
    return _is_immutable(type.value_type) if is_list(type) else not pa.types.is_nested(type)


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
    if array.dtype == object:
        for value in array:
            if isinstance(value, np.ndarray):
                _readonly(value)
    return array


_BYTES = pa.large_binary()
