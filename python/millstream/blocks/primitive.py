"""Plain numbers: views between Arrow and NumPy that cost nothing.

Owns the two conversions for columns of fixed-width numbers. pyarrow has them too, but its own
import pandas at the first call, which takes longer than a small pipeline.
"""

from __future__ import annotations

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
    dtype = np.dtype(array.type.to_pandas_dtype())
    data = array.buffers()[1]
    if data is None or len(array) == 0:
        return np.empty(0, dtype)
    numbers = np.frombuffer(data, dtype, count=len(array), offset=array.offset * dtype.itemsize)
    # A buffer that was itself made of a NumPy array would let its views be written to.
    numbers.flags.writeable = False
    return numbers


def wrap(array: np.ndarray[Any, Any]) -> pa.Array:
    """Makes an Arrow array that is a view of a NumPy array of numbers, of one dimension.

    The array is copied only if it is strided or in foreign byte order.
    """
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    type = pa.from_numpy_dtype(array.dtype)
    return pa.Array.from_buffers(type, len(array), [None, pa.py_buffer(array)])
