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

from millstream.blocks import infer, nan_marks, nullable, objects, primitive, tensor
from millstream.blocks.column_types import settle
from millstream.blocks.common_type import common_type, is_list
from millstream.blocks.convert import Column, convert, nulls

Array = np.ndarray[Any, Any]


def to_numpy(column: pa.ChunkedArray, *, writable: bool) -> np.ndarray[Any, Any]:
    """Returns a column as NumPy, without copying where the types allow and a view will do.

    Numbers and booleans keep their dtype. With nulls, floats have NaN there; integers and booleans
    become `NullableArray`, whose elements are None where null. Dates are datetime64[D],
    timestamps datetime64 in UTC, durations timedelta64. Strings, binaries, decimals, times, lists
    (as arrays) and structs (as dicts) are objects.

    Raises:
        ValueError: The values are none of NumPy's or Python's.
    """
    if pa.types.is_dictionary(column.type):
        # pyarrow makes nulls the last word of the dictionary.
        column = convert(column, column.type.value_type)
    if tensor.is_tensor(column.type):
        array = tensor.to_numpy(column)
    elif primitive.is_number(column.type) and not column.null_count:
        array = _numbers(column)
    elif pa.types.is_integer(column.type) or (
        pa.types.is_boolean(column.type) and column.null_count
    ):
        array = nullable.of_column(column)
    elif pa.types.is_nested(column.type):
        return objects.of_column(column, writable=writable)
    else:
        objects.require_microseconds(column)
        array = column.to_numpy(zero_copy_only=False)
        if array.dtype.kind == "f" and column.null_count:
            array = array if array.flags.writeable else array.copy()
            nan_marks.put(array, nan_marks.NULL, column.is_null().to_numpy())
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
    if isinstance(array, nullable.NullableArray) and (made := array.to_arrow()) is not None:
        return settle(made, like)
    if array.dtype.kind in "OSUT":
        if array.ndim > 1 and array.dtype == object and tensor.is_tensor(like):
            return from_values(list(array), like)
        if array.ndim > 1:
            return from_values(array.tolist(), like)
        return from_values(array, like) if array.dtype.kind == "O" else _text(array)
    if not tensor.is_tensor_dtype(array.dtype):
        raise TypeError(f"has dtype {array.dtype} from row 0 on, which Arrow has no type for")
    if array.ndim > 1:
        return tensor.from_ndarray(array)
    if array.dtype.kind in "iuf":
        made = primitive.wrap(array)
        # Else the dtype says what it is.
        has_codes = like is not None and pa.types.is_dictionary(like)
        return settle(made, like) if has_codes else made
    column = pa.array(array.astype(tensor.arrow_dtype(array.dtype), copy=False))
    return settle(column, like, in_utc=True)


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
        return nulls(len(values), pa.null() if like is None else like)
    if _is_array(first) and not (is_list(like) and np.ndim(first) == 1):
        return _from_arrays(values, like)
    try:
        return infer.array_of(values, like)
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise TypeError(_unfit(values, error)) from error


def _numbers(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    views = [view for chunk in column.chunks if (view := primitive.view(chunk)) is not None]
    if not views:
        return np.empty(0, np.dtype(column.type.to_pandas_dtype()))
    return views[0] if len(views) == 1 else np.concatenate(views)


def _text(array: np.ndarray[Any, Any]) -> Column:
    # pyarrow ends each text at its first zero.
    column = pa.array(array.tolist() if _has_zeros_inside(array) else array)
    return column.cast(_BYTES if array.dtype.kind == "S" else pa.large_string())


def _has_zeros_inside(array: np.ndarray[Any, Any]) -> bool:
    """Whether a text of fixed width has a zero before its end, which is where NumPy has none."""
    if array.dtype.kind not in "SU" or not array.dtype.itemsize:
        return False
    code = np.uint8 if array.dtype.kind == "S" else np.uint32
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    codes = np.ascontiguousarray(native).view(code).reshape(len(array), -1)
    return bool(((codes[:, :-1] == 0) & (codes[:, 1:] != 0)).any())


def _is_array(value: Any) -> bool:
    """Tells whether a value is an array, or a tensor or image of another library."""
    if isinstance(value, np.ndarray):
        return True
    if isinstance(value, (str, bytes, int, float, list, dict, np.generic)):
        return False
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__")


def _from_arrays(values: Iterable[Any], like: pa.DataType | None) -> Column:
    rows = [None if value is None else _as_array(value, row) for row, value in enumerate(values)]
    arrays = [row for row in rows if row is not None]
    if all(array.ndim == 0 for array in arrays):
        return from_values([None if row is None else row[()] for row in rows])
    complex_at = [i for i, row in enumerate(rows) if row is not None and row.dtype.kind == "c"]
    if complex_at:
        raise TypeError(f"has complex numbers in row {complex_at[0]}, which Arrow has no type for")
    if all(tensor.is_tensor_dtype(array.dtype) for array in arrays):
        return tensor.from_ndarrays(_of_one_dtype(rows))
    if like is not None and tensor.is_tensor(like):
        return tensor.from_objects(rows, like)
    return from_values([None if row is None else row.tolist() for row in rows])


def _as_array(value: Any, row: int) -> Array:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise TypeError(
            f"has arrays, but in row {row} a {type(value).__name__} that is none: {error}"
        ) from error


def _of_one_dtype(rows: list[Array | None]) -> list[Array | None]:
    """Gives arrays of several dtypes the one that holds all of their values.

    NumPy's own choice would round large integers beside floats.
    """
    dtypes = dict.fromkeys(row.dtype for row in rows if row is not None)
    if len(dtypes) < 2:
        return rows
    common: pa.DataType | None = None
    for dtype in dtypes:
        type = pa.from_numpy_dtype(tensor.arrow_dtype(dtype))
        joined = type if common is None else common_type(common, type)
        if joined is None:
            raise TypeError(f"has arrays of {common} and of {type}, which no common type holds")
        common = joined
    return [None if row is None else _elements_as(row, common) for row in rows]


def _elements_as(array: Array, type: pa.DataType | None) -> Array:
    flat = pa.array(array.reshape(-1).astype(tensor.arrow_dtype(array.dtype), copy=False))
    made: Array = convert(flat, type).to_numpy(zero_copy_only=False)
    return made.reshape(array.shape)


def _from_masked(array: np.ma.MaskedArray[Any, Any], like: pa.DataType | None) -> Column:
    mask = np.ma.getmaskarray(array)
    if array.ndim > 1:
        return tensor.from_ndarray(array.filled(0), ~np.any(mask, axis=tuple(range(1, array.ndim))))
    return settle(pa.array(array.data, mask=mask), like, in_utc=True)


def restored(array: np.ndarray[Any, Any], column: pa.ChunkedArray) -> Column | None:
    """Returns the column that `to_numpy` made an array of, if it can tell more than the array.

    Args:
        array: What `to_numpy` returned; it may have been written to since.
        column: What it was made of.

    Returns:
        The column itself if nobody could write to the array; None if it must be converted anew.
    """
    if not array.flags.writeable and _is_immutable(column.type):
        return column
    if tensor.is_tensor(column.type):
        made = from_ndarray(array, column.type)
        # Rows of one shape are not of one by accident if all of the column were.
        same = common_type(made.type, column.type)
        return convert(made, column.type) if column.type.equals(same) else made
    return None


def with_nulls(array: np.ndarray[Any, Any], like: pa.DataType | None) -> Column | None:
    """Returns the column of an array of floats some of which `to_numpy` made of nulls, if any."""
    if array.dtype.kind != "f" or array.ndim != 1:
        return None
    missing = nan_marks.find(array, nan_marks.NULL)
    if not missing.any():
        return None
    return settle(pa.array(array, mask=missing, from_pandas=False), like)


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
            if isinstance(value, np.ndarray):
                array[index] = _writable(value)
    return array


def _readonly(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    if array.dtype == object and not isinstance(array, nullable.NullableArray):
        for value in array:
            if isinstance(value, np.ndarray):
                _readonly(value)
    return array


_BYTES = pa.large_binary()
