"""Nested values as objects: lists as arrays, structs as dicts, whatever is null as None.

Owns how deep values look in NumPy and pandas. pyarrow has a conversion of its own, in which
integers beside nulls become floats and nanoseconds numbers. Must not know batches or blocks.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import nullable, primitive, tensor
from millstream.blocks.common_type import is_list
from millstream.blocks.convert import offsets_of

Array = np.ndarray[Any, Any]


def of_column(column: pa.ChunkedArray, *, writable: bool) -> Array:
    """Returns a nested column as an object array, None where it is null.

    Args:
        column: The column.
        writable: Whether the arrays within may be written to; else they may be views.
    """
    parts = [_of_array(chunk, writable) for chunk in column.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, object), *parts])


def require_microseconds(array: pa.Array | pa.ChunkedArray) -> None:
    """Checks that no time is finer than Python's: pyarrow cuts off the nanoseconds.

    Raises:
        ValueError: One is.
    """
    if array.type.equals(pa.time64("ns")):
        ticks = array.cast(pa.int64()).drop_null().to_numpy()
        if (ticks % 1000).any():
            raise ValueError(
                "holds times with nanoseconds, which Python has no type for; use "
                "batch_format='pyarrow', or cast it to time64('us')"
            )


def _of_array(array: pa.Array, writable: bool) -> Array:
    rows = np.empty(len(array), object)
    for index, value in enumerate(_python_values(array, writable)):
        rows[index] = value
    rows.flags.writeable = writable
    return rows


def _python_values(array: pa.Array, writable: bool) -> list[Any]:
    """Returns values as Python has them, but lists as arrays."""
    type = array.type
    if is_list(type):
        return _list_rows(array, writable)
    if tensor.is_tensor(type):
        tensors = tensor.to_numpy(pa.chunked_array([array]))
        return [row.copy() if writable and row is not None else row for row in tensors]
    if pa.types.is_struct(type):
        names = [field.name for field in type]
        valid = array.is_valid().to_pylist()
        if not names:
            return [{} if there else None for there in valid]
        columns = [_python_values(child, writable) for child in array.flatten()]
        return [
            dict(zip(names, row, strict=True)) if there else None
            for row, there in zip(zip(*columns, strict=True), valid, strict=True)
        ]
    require_microseconds(array)
    values: list[Any] = array.to_pylist()
    return values


def _list_rows(array: pa.Array, writable: bool) -> list[Any]:
    flat = array.flatten()
    offsets = offsets_of(array).to_pylist()
    whole, valid = _elements(flat, writable)
    if writable != whole.flags.writeable:
        # One copy for all rows, which are parts of it.
        whole = whole.copy() if writable else _readonly(whole)
    rows: list[Any] = [whole[start:end] for start, end in pairwise(offsets)]
    if valid is not None:
        objects = nullable.of_arrow(flat)
        objects.flags.writeable = writable
        for index, (start, end) in enumerate(pairwise(offsets)):
            if not valid[start:end].all():
                rows[index] = objects[start:end]
    if array.null_count:
        for index, there in enumerate(array.is_valid().to_pylist()):
            if not there:
                rows[index] = None
    return rows


def _readonly(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _elements(flat: pa.Array, writable: bool) -> tuple[Array, Array | None]:
    """Returns elements of lists, and which are there if the others are numbers of no meaning."""
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    view = primitive.view(flat)
    if view is not None:
        return view, None
    if primitive.is_number(flat.type):
        return primitive.view_all(flat), primitive.valid(flat)
    if pa.types.is_nested(flat.type) or isinstance(flat.type, pa.BaseExtensionType):
        return _of_array(flat, writable), None
    if pa.types.is_boolean(flat.type) and flat.null_count:
        return nullable.of_arrow(flat), None
    require_microseconds(flat)
    array: Array = flat.to_numpy(zero_copy_only=False)
    return array, None
