"""Columns of one type as columns of another one, every value unchanged.

Owns the checks that a type alone does not answer, such as whether an integer is exact as a float.
Which type that should be is the affair of `common_type` and `column_types`. Must not know blocks,
batches or user code.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from millstream.blocks import primitive, tensor
from millstream.blocks.common_type import is_list

Column: TypeAlias = pa.Array | pa.ChunkedArray
T = TypeVar("T", pa.Array, pa.ChunkedArray)


def convert(column: T, type: pa.DataType) -> T:
    """Gives a column another type if that holds each of its values.

    Raises:
        ValueError: A value would not be the same; says which.
    """
    if column.type.equals(type):
        return column
    if isinstance(column, pa.Array):
        return _array(column, type)
    return pa.chunked_array([_array(chunk, type) for chunk in column.chunks], type)


def nulls(rows: int, type: pa.DataType) -> pa.Array:
    """Makes a column without values."""
    if isinstance(type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type, nulls(rows, type.storage_type))
    return pa.nulls(rows, type)


def offsets_of(array: pa.Array) -> pa.Array:
    """Where the values of each list begin and end among those that `flatten` gives."""
    from pyarrow import compute

    sizes = compute.list_value_length(array)
    if sizes.null_count:
        sizes = sizes.fill_null(0)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(sizes.to_numpy(), out=offsets[1:])
    return primitive.wrap(offsets)


def _array(array: pa.Array, type: pa.DataType) -> pa.Array:
    found, types = array.type, pa.types
    if found.equals(type):
        return array
    if types.is_null(found):
        return nulls(len(array), type)
    if types.is_run_end_encoded(found):
        # Loaded where it is needed, since it takes longer to load than a small pipeline to run.
        from pyarrow import compute

        return _array(compute.run_end_decode(array), type)
    if types.is_dictionary(found):
        return _dictionary(array, type)
    if tensor.is_tensor(type):
        return _tensor(array, type)
    if isinstance(type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type, _array(array, type.storage_type))
    if types.is_dictionary(type):
        return _dictionary(array.dictionary_encode(), type)
    if types.is_struct(type):
        return _struct(array, type)
    if is_list(type):
        return _list(array, type)
    if types.is_map(type):
        return _map(array, type)
    if types.is_floating(type) and types.is_integer(found):
        return _exact_float(array, type)
    if types.is_floating(type) and types.is_floating(found):
        return _short_float(array, type)
    return _cast(array, type)


def _cast(array: pa.Array, type: pa.DataType) -> pa.Array:
    try:
        return array.cast(type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(str(error)) from error


def _exact_float(array: pa.Array, type: pa.DataType) -> pa.Array:
    """Converts integers that may have more digits than the float; pyarrow refuses 2**60 too."""
    made = array.cast(type, safe=False)
    if array.type.bit_width < type.bit_width:
        return made
    valid = array.drop_null()
    numbers = primitive.view(valid)
    floats = primitive.view(made.drop_null())
    if numbers is None or floats is None:
        return made
    # The largest integer is no float; what rounds to one beyond it was not exact.
    inside = floats < float(np.iinfo(numbers.dtype).max)
    exact = np.zeros(len(numbers), np.bool_)
    exact[inside] = floats[inside].astype(numbers.dtype) == numbers[inside]
    if not exact.all():
        raise ValueError(f"{numbers[~exact][0]} is no exact {type}")
    return made


def _short_float(array: pa.Array, type: pa.DataType) -> pa.Array:
    """Converts floats; a shorter one must be the same number, which pyarrow does not check."""
    made = array.cast(type)
    if type.bit_width < array.type.bit_width:
        back = made.cast(array.type)
        found, same = primitive.view(array.drop_null()), primitive.view(back.drop_null())
        if (
            found is not None
            and same is not None
            and not np.array_equal(found, same, equal_nan=True)
        ):
            raise ValueError(f"not all floats are exact as {type}")
    return made


def _dictionary(array: pa.DictionaryArray, type: pa.DataType) -> pa.Array:
    if not pa.types.is_dictionary(type):
        return _array(array.dictionary_decode(), type)
    indices = _cast(array.indices, type.index_type)
    values = _array(array.dictionary, type.value_type)
    return pa.DictionaryArray.from_arrays(indices, values, ordered=type.ordered)


def _tensor(array: pa.Array, type: pa.DataType) -> pa.Array:
    storage = _array(tensor.storage_like(array, type), type.storage_type)
    return pa.ExtensionArray.from_storage(type, storage)


def _struct(array: pa.StructArray, type: pa.DataType) -> pa.Array:
    there = {field.name: index for index, field in enumerate(array.type)}
    # Unlike `field`, this makes what lies under null structs null.
    children = array.flatten()
    made = [
        _array(children[there[field.name]], field.type)
        if field.name in there
        else nulls(len(array), field.type)
        for field in type
    ]
    return pa.StructArray.from_arrays(made, fields=list(type), mask=_mask(array))


def _list(array: pa.Array, type: pa.DataType) -> pa.Array:
    values = _array(array.flatten(), type.value_type)
    mask = _mask(array)
    if pa.types.is_fixed_size_list(type):
        size = type.list_size
        if len(values) != size * (len(array) - array.null_count) or not _have_length(array, size):
            raise ValueError(f"not all lists have {size} values")
        if mask is not None:
            values = values.take(_rows_with_gaps(array, size))
        return pa.FixedSizeListArray.from_arrays(values, type=type, mask=mask)
    offsets = offsets_of(array)
    if pa.types.is_large_list(type):
        return pa.LargeListArray.from_arrays(offsets, values, type=type, mask=mask)
    if offsets[-1].as_py() > _OFFSET_MAX:
        raise ValueError(f"the lists have more than {_OFFSET_MAX} values, too many for {type}")
    return pa.ListArray.from_arrays(offsets.cast(pa.int32()), values, type=type, mask=mask)


def _map(array: pa.MapArray, type: pa.DataType) -> pa.Array:
    # These two are not cut where the array is a slice, so its offsets must begin at 0.
    offsets = array.offsets.to_numpy()
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys = _array(array.keys.slice(first, count), type.key_type)
    items = _array(array.items.slice(first, count), type.item_type)
    starts = primitive.wrap(offsets - offsets[0])
    return pa.MapArray.from_arrays(starts, keys, items, type=type, mask=_mask(array))


def _have_length(array: pa.Array, size: int) -> bool:
    if pa.types.is_fixed_size_list(array.type):
        return bool(array.type.list_size == size)
    return bool((np.diff(offsets_of(array.drop_null()).to_numpy()) == size).all())


def _rows_with_gaps(array: pa.Array, size: int) -> pa.Array:
    """Where the values of each list are among those that `flatten` gives; null for null lists."""
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    starts = np.cumsum(valid) - 1
    rows = (starts[:, None] * size + np.arange(size)).reshape(-1)
    return pa.array(rows, mask=np.repeat(~valid, size))


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


# The largest offset of 32 bits.
_OFFSET_MAX = 2**31 - 1
