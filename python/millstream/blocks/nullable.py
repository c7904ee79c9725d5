"""Numbers and booleans with nulls in NumPy, which has none: objects that are None where null.

Owns the array that user functions get for such columns, and its arithmetic. Must not know columns'
names, blocks or user code.

Floats with NaN would change integers above 2**53, and an array with a mask loses its mask in
`np.asarray`, `np.concatenate` and other libraries, so that nulls become numbers. Objects stay what
they are everywhere; what cannot deal with None says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import primitive

Array = np.ndarray[Any, Any]


class NullableArray(np.ndarray[Any, Any]):
    """An array of objects: Python's numbers or booleans, None where null.

    Element-wise functions of NumPy calculate as if it had the dtype of the column and give None
    where a value is None. `== None` and `np.isnan` tell where that is. All else is what NumPy does
    with objects.

    Attributes:
        element_dtype: The dtype of the column.
    """

    element_dtype: np.dtype[Any]

    def __array_finalize__(self, source: Any) -> None:
        self.element_dtype = getattr(source, "element_dtype", np.dtype(np.int64))

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        """Calls an element-wise function with what is there."""
        missing: Any = np.False_
        for value in filter(_is_ours, inputs):
            missing = missing | _missing(value)
        if method == "__call__" and ufunc is np.isnan:
            numbers = inputs[0].dense()
            return missing if numbers is None else missing | np.isnan(numbers)
        if ufunc in (np.equal, np.not_equal) and any(value is None for value in inputs):
            return missing if ufunc is np.equal else ~missing
        dense = [value.dense() if _is_ours(value) else value for value in inputs]
        if method != "__call__" or any(value is None for value in dense):
            plain = [np.asarray(value) if _is_ours(value) else value for value in inputs]
            return getattr(ufunc, method)(*plain, **options)
        made = ufunc(*dense, **options)
        if isinstance(made, tuple):
            return tuple(of_dense(part, missing) for part in made)
        if out is None:
            return of_dense(made, missing)
        np.copyto(np.asarray(out[0]), np.asarray(of_dense(made, missing)))
        return out[0]

    def dense(self) -> Array | None:
        """Returns the elements with 1 where one is None; None if there are others than numbers."""
        objects = np.asarray(self)
        filled = np.where(_missing(self), 1, objects)
        kinds = set(map(type, filled.reshape(-1).tolist()))
        if not kinds <= {int, _KINDS.get(self.element_dtype.kind, int)}:
            return None
        try:
            return np.array(filled.tolist(), self.element_dtype)
        except OverflowError:
            return None

    def to_arrow(self) -> pa.Array | None:
        """Returns a column of this type, or None if there are others than numbers."""
        dense = self.dense()
        if dense is None or self.ndim != 1:
            return None
        return pa.array(dense, mask=_missing(self), from_pandas=False)


def of_dense(numbers: Any, missing: Any) -> Any:
    """Makes an array of numbers with None where they are missing."""
    made = np.asarray(numbers).astype(object)
    if made.ndim == 0:
        return None if missing else numbers
    made[np.broadcast_to(missing, made.shape)] = None
    nullable = made.view(NullableArray)
    nullable.element_dtype = np.asarray(numbers).dtype
    return nullable


def of_arrow(array: pa.Array) -> Array:
    """Makes an array of a column of numbers or booleans."""
    if pa.types.is_boolean(array.type):
        numbers = array.fill_null(False).to_numpy(zero_copy_only=False)
    else:
        numbers = primitive.view_all(array)
    made: Array = of_dense(numbers, ~primitive.valid(array))
    return made


def of_column(column: pa.ChunkedArray) -> Array:
    """Makes an array of a column of numbers or booleans that has nulls."""
    parts = [of_arrow(chunk) for chunk in column.chunks]
    if len(parts) == 1:
        return parts[0]
    joined = np.concatenate(parts).view(NullableArray)
    joined.element_dtype = np.dtype(column.type.to_pandas_dtype())
    return joined


def _is_ours(value: Any) -> bool:
    return isinstance(value, NullableArray)


def _missing(array: Array) -> Array:
    made: Array = np.frompyfunc(_is_none, 1, 1)(np.asarray(array)).astype(np.bool_)
    return made


def _is_none(value: Any) -> bool:
    return value is None


# What Python has for the elements of each kind of dtype.
_KINDS = {"f": float, "b": bool}
