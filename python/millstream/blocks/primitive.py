"""Plain values: numbers between Arrow and NumPy at no cost, and Python's own into Arrow.

Owns the conversions of columns of numbers, booleans, strings and bytes. pyarrow has them too, but
its own import pandas at the first call, which takes longer than a small pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa


def is_number(type: pa.DataType) -> bool:
    """Tells whether a type is an integer or a float as NumPy knows it."""
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type))


def view(array: pa.Array) -> np.ndarray[Any, Any] | None:
    """Returns a read-only view of numbers without nulls, or None if the array is something else."""
    if not is_number(array.type) or array.null_count:
        return None
    return view_all(array)


def view_all(array: pa.Array) -> np.ndarray[Any, Any]:
    """Returns a read-only view of numbers; those where it is null are of no meaning."""
    dtype = np.dtype(array.type.to_pandas_dtype())
    data = array.buffers()[1]
    if data is None or len(array) == 0:
        return np.zeros(len(array), dtype)
    numbers = np.frombuffer(data, dtype, count=len(array), offset=array.offset * dtype.itemsize)
    # A buffer that was itself made of a NumPy array would let its views be written to.
    numbers.flags.writeable = False
    return numbers


def valid(array: pa.Array) -> np.ndarray[Any, Any]:
    """Returns for each value whether it is there."""
    validity = array.buffers()[0]
    if validity is None:
        return np.ones(len(array), np.bool_)
    bits = np.frombuffer(validity, np.uint8)
    there = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")
    return there[array.offset :].astype(np.bool_)


def row_lists(table: pa.Table) -> list[list[Any]] | None:
    """The rows of a table whose columns are numbers of one type; None if any is null.

    All at once: what is done for each column takes longer than its values if it has few.
    """
    (batch,) = table.combine_chunks().to_batches() or [None]
    if batch is None:
        return []
    try:
        numbers: np.ndarray[Any, Any] = batch.to_tensor(null_to_nan=False).to_numpy()
    except pa.ArrowTypeError:
        # There are nulls.
        return None
    rows: list[list[Any]] = numbers.tolist()
    return rows


def of_columns(columns: Sequence[Sequence[Any]], kind: type) -> list[pa.Array]:
    """Makes columns of equally many values that are all integers, or all floats, of Python.

    Returns:
        No column at all if an integer exceeds 64 bits with a sign.
    """
    dtype = np.int64 if kind is int else np.float64
    try:
        numbers = np.array(columns, dtype)
    except OverflowError:
        return []
    type = pa.from_numpy_dtype(dtype)
    # Each in memory of its own, so that one column does not keep all others.
    buffers = (pa.py_buffer(column.copy()) for column in numbers)
    return [pa.Array.from_buffers(type, len(column), [None, next(buffers)]) for column in columns]


def wrap(array: np.ndarray[Any, Any]) -> pa.Array:
    """Makes an Arrow array that is a view of a NumPy array of numbers, of one dimension.

    The array is copied only if it is strided or in foreign byte order.
    """
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    type = pa.from_numpy_dtype(array.dtype)
    return pa.Array.from_buffers(type, len(array), [None, pa.py_buffer(array)])


def of_values(values: Sequence[Any] | np.ndarray[Any, Any]) -> pa.Array | None:
    """Makes a column of values that are all of one plain Python type, or None.

    Integers and floats take 64 bits, strings and bytes 64-bit offsets. Integers from 2**63 on are
    unsigned ones, which pyarrow itself does not find.

    Returns:
        None if they are of several types, of another type, or integers beyond 64 bits.
    """
    kinds = set(map(type, values))
    has_nulls = NoneType in kinds
    kinds.discard(NoneType)
    make = _MAKERS.get(kinds.pop()) if len(kinds) == 1 else None
    if make is None:
        return None
    validity = _bits([value is not None for value in values]) if has_nulls else None
    try:
        return make(values, validity)
    except OverflowError:
        return None


Values = Sequence[Any] | np.ndarray[Any, Any]


def _numbers(dtype: type) -> Callable[[Values, pa.Buffer | None], pa.Array]:
    def make(values: Values, validity: pa.Buffer | None) -> pa.Array:
        filled = values if validity is None else [0 if v is None else v for v in values]
        data = pa.py_buffer(np.array(filled, dtype))
        return pa.Array.from_buffers(pa.from_numpy_dtype(dtype), len(values), [validity, data])

    return make


def _integers(values: Values, validity: pa.Buffer | None) -> pa.Array:
    """Signed ones; unsigned ones if they are too large for that and none is negative."""
    try:
        return _numbers(np.int64)(values, validity)
    except OverflowError:
        if any(value is not None and value < 0 for value in values):
            raise
        return _numbers(np.uint64)(values, validity)


def _booleans(values: Values, validity: pa.Buffer | None) -> pa.Array:
    return pa.Array.from_buffers(pa.bool_(), len(values), [validity, _bits(values)])


def _strings(values: Values, validity: pa.Buffer | None) -> pa.Array:
    encoded = [b"" if value is None else value.encode() for value in values]
    return _variable(pa.large_string(), encoded, validity)


def _bytes(values: Values, validity: pa.Buffer | None) -> pa.Array:
    filled = [b"" if value is None else value for value in values]
    return _variable(pa.large_binary(), filled, validity)


def _variable(type: pa.DataType, values: list[bytes], validity: pa.Buffer | None) -> pa.Array:
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(type, len(values), buffers)


def _bits(values: Values) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.array(values, np.bool_), bitorder="little"))


_MAKERS: dict[type, Callable[[Values, pa.Buffer | None], pa.Array]] = {
    int: _integers,
    float: _numbers(np.float64),
    bool: _booleans,
    str: _strings,
    bytes: _bytes,
}
