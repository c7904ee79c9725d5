"""What becomes of the values of an HDF5 dataset in Arrow.

Owns the types of both sides. Must not know files, nor which datasets are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import columns, tensor
from millstream.errors import SchemaError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Values:
    """How the values of one dataset, or of a field of it, become a column.

    Args:
        column: Makes it of an array of rows.
        item_bytes: About how many bytes a value takes.
        is_of_any_size: Whether that is a guess.
    """

    column: Callable[[Array], pa.Array | pa.ChunkedArray]
    item_bytes: int
    is_of_any_size: bool = False


def values_of(what: str, dtype: np.dtype[Any], dimensions: int) -> Values:
    """Finds what becomes of values.

    Text and the names of enums are text, in several dimensions lists of it. Numbers, booleans and
    times are a column of these, in several dimensions tensors. What has a length in each row is a
    list.

    Args:
        what: What has the values, for messages.
        dtype: As h5py tells it.
        dimensions: How many there are, with that of the rows.

    Raises:
        SchemaError: There is no type for them.
    """
    import h5py

    text = h5py.check_string_dtype(dtype)
    if text is not None:
        convert = _each(_decoded, dimensions, pa.string())
        return Values(convert, text.length or _GUESSED_BYTES, text.length is None)
    names = h5py.check_enum_dtype(dtype)
    if names is not None:
        return Values(_each(_named(names), dimensions, pa.string()), _GUESSED_BYTES)
    base = h5py.check_vlen_dtype(dtype)
    if base is not None and dimensions == 1 and _is_number(base):
        return Values(_lists(base), _GUESSED_BYTES, True)
    if base is None and (_is_number(dtype) or _is_time(dtype)):
        return Values(_numbers, dtype.itemsize)
    raise SchemaError(
        f"{what} has {_in_words(dtype)}, which no column holds; choose others with datasets="
    )


def _numbers(array: Array) -> pa.Array | pa.ChunkedArray:
    native = array.dtype.newbyteorder("=")
    return columns.from_ndarray(np.ascontiguousarray(array, native))


def _each(
    convert: Callable[[Any], str], dimensions: int, type: pa.DataType
) -> Callable[[Array], pa.Array]:
    for _ in range(dimensions - 1):
        type = pa.list_(type)

    def column(array: Array) -> pa.Array:
        made = np.empty(array.size, object)
        for row, value in enumerate(array.reshape(-1).tolist()):
            try:
                made[row] = convert(value)
            except ValueError as error:
                raise ValueError(f"the value {row} of these: {error}") from None
        return pa.array(made.reshape(array.shape).tolist(), type)

    return column


def _decoded(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _named(names: dict[str, int]) -> Callable[[Any], str]:
    known = {number: name for name, number in names.items()}

    def convert(value: int) -> str:
        if value not in known:
            raise ValueError(f"{value} is none of the enum's values {sorted(known)}")
        return known[value]

    return convert


def _lists(base: np.dtype[Any]) -> Callable[[Array], pa.Array]:
    native = base.newbyteorder("=")
    type = pa.from_numpy_dtype(native)

    def column(array: Array) -> pa.Array:
        offsets = np.zeros(len(array) + 1, np.int32)
        np.cumsum([len(each) for each in array], out=offsets[1:])
        flat = np.concatenate([np.empty(0, native), *array]).astype(native, copy=False)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, type))

    return column


def _is_number(dtype: np.dtype[Any]) -> bool:
    return dtype.names is None and dtype.kind in "biuf" and tensor.is_tensor_dtype(dtype)


def _is_time(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "mM" and np.datetime_data(dtype) in {(unit, 1) for unit in _UNITS}


def _in_words(dtype: np.dtype[Any]) -> str:
    import h5py

    reference = h5py.check_ref_dtype(dtype)
    if reference is not None:
        return "references to other parts of the file"
    base = h5py.check_vlen_dtype(dtype)
    return f"values of dtype {dtype}" if base is None else f"lists of dtype {base}"


#: The units that times have in Arrow too.
_UNITS = ("s", "ms", "us", "ns")
_GUESSED_BYTES = 64
