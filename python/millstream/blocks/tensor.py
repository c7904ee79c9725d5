"""Tensor columns: NumPy arrays of more than one dimension, as Arrow's canonical extension types.

Owns `arrow.fixed_shape_tensor` and `arrow.variable_shape_tensor` columns, their common type by
shape, and their way from and to NumPy. Must not know batches, blocks or user code.

Rows of one shape are a fixed-shape column, which is a view of one array of shape (rows, *shape).
Rows of different shapes, but of as many dimensions, are ragged: each row is a view of the
flat values. So are rows without elements, as Arrow cannot hold a fixed shape of size zero. Rows of
different numbers of dimensions have a type of our own, since Arrow has none for them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import nullable, primitive


class VariableShapeTensorType(pa.ExtensionType):  # type: ignore[misc]
    """Arrow's canonical `arrow.variable_shape_tensor`, which pyarrow has no class for.

    Its storage is struct<data: list<value_type>, shape: fixed_size_list<int32>[ndim]>.

    Args:
        value_type: The type of the elements.
        ndim: How many dimensions each tensor has.
        metadata: The type's optional parameters: `dim_names`, `permutation`, `uniform_shape`.
    """

    def __init__(
        self, value_type: pa.DataType, ndim: int, metadata: dict[str, Any] | None = None
    ) -> None:
        self._value_type = value_type
        self._ndim = ndim
        self._metadata = dict(metadata or {})
        storage = pa.struct(
            [
                pa.field("data", pa.list_(value_type)),
                pa.field("shape", pa.list_(pa.int32(), ndim)),
            ]
        )
        super().__init__(storage, _RAGGED_NAME)

    @property
    def value_type(self) -> pa.DataType:
        """The type of the elements."""
        return self._value_type

    @property
    def ndim(self) -> int:
        """How many dimensions each tensor has."""
        return self._ndim

    def __str__(self) -> str:
        return f"extension<{_RAGGED_NAME}[value_type={self._value_type}, ndim={self._ndim}]>"

    @property
    def permutation(self) -> list[int] | None:
        """The order of the dimensions in memory, if it is not row-major."""
        return self._metadata.get("permutation")

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps(self._metadata).encode()

    @classmethod
    def __arrow_ext_deserialize__(
        cls, storage_type: pa.DataType, serialized: bytes
    ) -> VariableShapeTensorType:
        value_type = storage_type.field("data").type.value_type
        ndim = storage_type.field("shape").type.list_size
        return cls(value_type, ndim, json.loads(serialized or b"{}"))

    def __reduce__(self) -> tuple[Any, ...]:
        return VariableShapeTensorType, (self._value_type, self._ndim, self._metadata)


class AnyShapeTensorType(pa.ExtensionType):  # type: ignore[misc]
    """Tensors of any number of dimensions in one column, which no type of Arrow's own holds.

    Its storage is struct<data: large_list<value_type>, shape: list<int32>>, in row-major order.

    Args:
        value_type: The type of the elements.
    """

    def __init__(self, value_type: pa.DataType) -> None:
        self._value_type = value_type
        storage = pa.struct({"data": pa.large_list(value_type), "shape": pa.list_(pa.int32())})
        super().__init__(storage, _ANY_NAME)

    @property
    def value_type(self) -> pa.DataType:
        """The type of the elements."""
        return self._value_type

    def __str__(self) -> str:
        return f"extension<{_ANY_NAME}[value_type={self._value_type}]>"

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(
        cls, storage_type: pa.DataType, serialized: bytes
    ) -> AnyShapeTensorType:
        return cls(storage_type.field("data").type.value_type)

    def __reduce__(self) -> tuple[Any, ...]:
        return AnyShapeTensorType, (self._value_type,)


def is_tensor(type: pa.DataType) -> bool:
    """Tells whether a column of this type holds tensors."""
    return isinstance(type, (pa.FixedShapeTensorType, VariableShapeTensorType, AnyShapeTensorType))


def is_tensor_dtype(dtype: np.dtype[Any]) -> bool:
    """Tells whether Arrow has a type for the elements of such an array."""
    if dtype.kind in "mM":
        return np.datetime_data(dtype)[0] != "generic"
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def from_ndarray(
    array: np.ndarray[Any, Any], valid: np.ndarray[Any, Any] | None = None
) -> pa.Array:
    """Makes a tensor column of one array, without copying it if it lies in row-major order.

    Args:
        array: Of shape (rows, *shape), of a dtype that `is_tensor_dtype` accepts.
        valid: One boolean for each row, False where it is null.
    """
    array = _arrow_order(array)
    shape = array.shape[1:]
    size = int(np.prod(shape))
    if size == 0:
        rows = [None if valid is not None and not valid[i] else array[i] for i in range(len(array))]
        return _ragged(rows, array.dtype, len(shape))
    flat = array.reshape(-1)
    values = primitive.wrap(flat) if flat.dtype.kind in "iuf" else pa.array(flat)
    mask = None if valid is None else pa.array(~valid)
    storage = pa.FixedSizeListArray.from_arrays(values, size, mask=mask)
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(values.type, shape), storage)


def from_ndarrays(rows: Sequence[np.ndarray[Any, Any] | None]) -> pa.Array | pa.ChunkedArray:
    """Makes a tensor column of one array a row; None is null.

    Large arrays are not copied: each is a chunk of its own. Where they go to shared memory one
    behind the other, `to_numpy` gives them as one array again.

    Args:
        rows: Arrays of one dtype, of any shapes.

    Raises:
        ValueError: There is no type for them.
    """
    arrays = [row for row in rows if row is not None]
    dtype = np.result_type(*{array.dtype for array in arrays})
    if not is_tensor_dtype(dtype):
        raise ValueError(f"arrays of dtype {dtype} have no Arrow type")
    if len({array.ndim for array in arrays}) > 1:
        return _any_shape(rows, dtype)
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or 0 in arrays[0].shape:
        return _ragged(rows, dtype, arrays[0].ndim)
    if len(arrays) == len(rows):
        if arrays[0].nbytes < CHUNK_BYTES_MIN:
            return from_ndarray(np.stack(arrays).astype(dtype, copy=False))
        return pa.chunked_array(
            [from_ndarray(array[None].astype(dtype, copy=False)) for array in arrays]
        )
    stacked = np.zeros((len(rows), *arrays[0].shape), dtype)
    valid = np.array([row is not None for row in rows])
    stacked[valid] = arrays
    return from_ndarray(stacked, valid)


def from_objects(
    rows: Sequence[np.ndarray[Any, Any] | None], like: pa.DataType
) -> pa.Array | pa.ChunkedArray:
    """Makes a tensor column of arrays of objects, which are numbers or None.

    Args:
        rows: One array a row; None is null.
        like: The tensor type that the column of this name had.
    """
    arrays = [row for row in rows if row is not None]
    value_type = like.value_type
    shapes = {array.shape for array in arrays}
    shape = arrays[0].shape
    gone = [row is None for row in rows]
    if len(shapes) == 1 and 0 not in shape:
        empty = np.full(shape, None, object)
        filled = [empty if row is None else row for row in rows]
        flat = [value for row in filled for value in row.reshape(-1).tolist()]
        mask = pa.array(gone) if any(gone) else None
        values = pa.array(flat, value_type)
        storage = pa.FixedSizeListArray.from_arrays(values, int(np.prod(shape)), mask=mask)
        return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(value_type, shape), storage)
    data = pa.array(
        [None if row is None else row.reshape(-1).tolist() for row in rows],
        pa.large_list(value_type),
    )
    told = pa.array([None if row is None else list(row.shape) for row in rows], _SHAPE)
    if len({array.ndim for array in arrays}) > 1:
        return _of_parts(AnyShapeTensorType(value_type), data, told, rows)
    type = VariableShapeTensorType(value_type, arrays[0].ndim)
    storage_type = type.storage_type
    data = data.cast(storage_type.field("data").type)
    return _of_parts(type, data, told.cast(storage_type.field("shape").type), rows)


def to_numpy(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Returns a tensor column as NumPy, read-only and without copying if it lies in one piece.

    Returns:
        An array of shape (rows, *shape) for a fixed shape without nulls, else an object array of
        one array a row, None where it is null.
    """
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    fixed = isinstance(column.type, pa.FixedShapeTensorType)
    if not fixed or column.null_count:
        rows = np.empty(len(column), dtype=object)
        start = 0
        for chunk in chunks:
            views = _nullable_rows(chunk) if fixed else _ragged_rows(chunk)
            for offset, view in enumerate(views):
                rows[start + offset] = view
            start += len(chunk)
        return rows
    if not chunks:
        return np.empty((0, *column.type.shape), _element_dtype(column.type.value_type))
    return _joined([_fixed_rows(chunk) for chunk in chunks])


def common_shape(left: pa.DataType, right: pa.DataType, value_type: pa.DataType) -> pa.DataType:
    """Returns the narrowest type, of these elements, that holds the tensors of both types."""
    ndim = dimensions_of(left)
    if ndim is None or ndim != dimensions_of(right):
        return AnyShapeTensorType(value_type)
    shapes = {_shape(left), _shape(right)}
    if len(shapes) == 1 and None not in shapes:
        return pa.fixed_shape_tensor(value_type, left.shape)
    return VariableShapeTensorType(value_type, ndim)


def without_shape(type: pa.DataType) -> pa.DataType:
    """Returns the type of tensors of any shape, of as many dimensions, for those of one shape."""
    if not isinstance(type, pa.FixedShapeTensorType):
        return type
    return VariableShapeTensorType(type.value_type, len(type.shape))


def storage_like(array: pa.Array, type: pa.DataType) -> pa.Array:
    """Returns the storage of tensors, formed like that of a type which `common_shape` gave."""
    array = _row_major(array)
    if not isinstance(array.type, pa.FixedShapeTensorType):
        return array.storage
    if isinstance(type, pa.FixedShapeTensorType):
        return array.storage
    data = array.storage
    shape = np.tile(np.array(array.type.shape, np.int32), len(array))
    shapes = pa.FixedSizeListArray.from_arrays(primitive.wrap(shape), len(array.type.shape))
    mask = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays([data, shapes], ["data", "shape"], mask=mask)


def _row_major(array: pa.Array) -> pa.Array:
    if isinstance(array.type, AnyShapeTensorType):
        return array
    if array.type.permutation is None or _is_identity(array.type.permutation):
        return array
    made = from_ndarrays([*to_numpy(pa.chunked_array([array]))])
    return made if isinstance(made, pa.Array) else pa.concat_arrays(made.chunks)


def _arrow_order(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns the array in the byte order, time unit and layout that Arrow takes."""
    dtype = arrow_dtype(array.dtype)
    return np.ascontiguousarray(array, dtype=dtype)


def arrow_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns the nearest dtype that Arrow takes: native byte order, and a time unit it knows."""
    native = dtype.newbyteorder("=")
    if native.kind in "mM":
        unit = np.datetime_data(native)[0]
        known = ("D", "s", "ms", "us", "ns") if native.kind == "M" else ("s", "ms", "us", "ns")
        if unit not in known:
            coarse = unit in ("Y", "M", "W", "D", "h", "m")
            return np.dtype(f"{native.kind}8[{'s' if coarse else 'ns'}]")
    return native


def _ragged(
    rows: Sequence[np.ndarray[Any, Any] | None], dtype: np.dtype[Any], ndim: int
) -> pa.Array | pa.ChunkedArray:
    """Makes a ragged column, of several chunks if the offsets of one would overflow."""
    chunks = []
    start, elements = 0, 0
    for index, row in enumerate(rows):
        size = 0 if row is None else row.size
        if size > _ELEMENTS_MAX:
            raise ValueError(f"a tensor of {size} elements is more than a ragged column holds")
        if elements + size > _ELEMENTS_MAX:
            chunks.append(_ragged_chunk(rows[start:index], dtype, ndim))
            start, elements = index, 0
        elements += size
    chunks.append(_ragged_chunk(rows[start:], dtype, ndim))
    return chunks[0] if len(chunks) == 1 else pa.chunked_array(chunks)


def _ragged_chunk(
    rows: Sequence[np.ndarray[Any, Any] | None], dtype: np.dtype[Any], ndim: int
) -> pa.Array:
    offsets, flat = _flattened(rows, dtype)
    shapes = np.zeros((len(rows), ndim), np.int32)
    for index, row in enumerate(rows):
        if row is not None:
            shapes[index] = row.shape
    data = pa.ListArray.from_arrays(offsets.cast(pa.int32()), flat)
    shape = pa.FixedSizeListArray.from_arrays(pa.array(shapes.reshape(-1)), ndim)
    return _of_parts(VariableShapeTensorType(flat.type, ndim), data, shape, rows)


def _any_shape(rows: Sequence[np.ndarray[Any, Any] | None], dtype: np.dtype[Any]) -> pa.Array:
    offsets, flat = _flattened(rows, dtype)
    data = pa.LargeListArray.from_arrays(offsets, flat)
    shape = pa.array([[] if row is None else row.shape for row in rows], _SHAPE)
    return _of_parts(AnyShapeTensorType(flat.type), data, shape, rows)


def _flattened(
    rows: Sequence[np.ndarray[Any, Any] | None], dtype: np.dtype[Any]
) -> tuple[pa.Array, pa.Array]:
    """Returns where the elements of each row begin and end, and the elements of all."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([0 if row is None else row.size for row in rows], out=offsets[1:])
    flat = np.empty(int(offsets[-1]), arrow_dtype(dtype))
    for index, row in enumerate(rows):
        if row is not None:
            flat[offsets[index] : offsets[index + 1]] = row.reshape(-1)
    return pa.array(offsets), pa.array(flat)


def _of_parts(
    type: pa.DataType,
    data: pa.Array,
    shape: pa.Array,
    rows: Sequence[np.ndarray[Any, Any] | None],
) -> pa.Array:
    mask = pa.array([row is None for row in rows]) if any(row is None for row in rows) else None
    storage = pa.StructArray.from_arrays([data, shape], fields=list(type.storage_type), mask=mask)
    return pa.ExtensionArray.from_storage(type, storage)


def _fixed_rows(chunk: pa.Array) -> np.ndarray[Any, Any]:
    if chunk.type.permutation is None or _is_identity(chunk.type.permutation):
        return _values_to_numpy(_elements(chunk)).reshape(len(chunk), *chunk.type.shape)
    rows: np.ndarray[Any, Any] = chunk.to_numpy_ndarray()
    return rows


def _nullable_rows(chunk: pa.Array) -> list[np.ndarray[Any, Any] | None]:
    valid = chunk.is_valid().to_pylist()
    if _elements(chunk).null_count or chunk.type.permutation is not None:
        # What lies under null rows is no value; as null, it would make objects of all rows.
        there = chunk.drop_null()
        rows = iter(_fixed_rows(there)) if len(there) else iter(())
        return [next(rows) if is_there else None for is_there in valid]
    return [
        row if is_there else None for row, is_there in zip(_fixed_rows(chunk), valid, strict=True)
    ]


def _joined(arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Puts arrays under each other, without copying if they lie one behind the other."""
    if len(arrays) == 1:
        return arrays[0]
    if _are_adjacent(arrays):
        return np.asarray(_Adjacent(arrays))
    return np.concatenate(arrays)


def _are_adjacent(arrays: Sequence[np.ndarray[Any, Any]]) -> bool:
    return all(
        after.ctypes.data == before.ctypes.data + before.nbytes
        and before.flags.c_contiguous
        and after.flags.c_contiguous
        for before, after in pairwise(arrays)
    )


class _Adjacent:
    """Arrays that lie one behind the other in memory; what NumPy makes of it keeps them alive."""

    def __init__(self, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        self.arrays = arrays
        first = arrays[0]
        rows = sum(len(array) for array in arrays)
        self.__array_interface__ = {
            "version": 3,
            "shape": (rows, *first.shape[1:]),
            "typestr": first.dtype.str,
            "data": (first.ctypes.data, True),
        }


def _elements(chunk: pa.Array) -> pa.Array:
    """The elements of all tensors of a chunk, those of null ones included."""
    size = chunk.type.storage_type.list_size
    # `flatten` would leave out the null rows, and load pyarrow's functions.
    return chunk.storage.values.slice(chunk.storage.offset * size, len(chunk) * size)


def _ragged_rows(chunk: pa.Array) -> list[np.ndarray[Any, Any] | None]:
    data = chunk.storage.field("data")
    offsets = data.offsets.to_numpy()
    flat = _values_to_numpy(data.values)
    shapes = _shapes(chunk)
    permutation = getattr(chunk.type, "permutation", None)
    rows: list[np.ndarray[Any, Any] | None] = []
    for index, valid in enumerate(chunk.is_valid().to_pylist()):
        if not valid:
            rows.append(None)
            continue
        row = flat[offsets[index] : offsets[index + 1]].reshape(shapes[index])
        rows.append(row if permutation is None else row.transpose(permutation))
    return rows


def _shapes(chunk: pa.Array) -> Any:
    """The shape of each row of ragged tensors."""
    shape = chunk.storage.field("shape")
    ndim = dimensions_of(chunk.type)
    if ndim is None:
        return shape.to_pylist()
    dimensions = shape.values.slice(shape.offset * ndim, len(chunk) * ndim)
    return _values_to_numpy(dimensions).reshape(len(chunk), ndim)


def _values_to_numpy(values: pa.Array) -> np.ndarray[Any, Any]:
    view = primitive.view(values)
    if view is not None:
        return view
    if values.null_count and pa.types.is_integer(values.type):
        return nullable.of_arrow(values)
    # Booleans are bits in Arrow; as floats and dates, nulls within a tensor become NaN and NaT.
    numpy: np.ndarray[Any, Any] = values.to_numpy(zero_copy_only=False)
    return numpy


def _is_identity(permutation: Sequence[int]) -> bool:
    return list(permutation) == sorted(permutation)


def dimensions_of(type: pa.DataType) -> int | None:
    """How many dimensions all tensors of this type have; None if they differ."""
    if isinstance(type, AnyShapeTensorType):
        return None
    return type.ndim if isinstance(type, VariableShapeTensorType) else len(type.shape)


def _shape(type: pa.DataType) -> tuple[int, ...] | None:
    """The shape of all tensors of this type, as NumPy has it; None if they differ."""
    if not isinstance(type, pa.FixedShapeTensorType):
        return None
    if type.permutation is not None and not _is_identity(type.permutation):
        return None
    return tuple(type.shape)


def _element_dtype(value_type: pa.DataType) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(value_type.to_pandas_dtype())
    return dtype


_RAGGED_NAME = "arrow.variable_shape_tensor"
_ANY_NAME = "millstream.any_shape_tensor"
_SHAPE = pa.list_(pa.int32())
#: Smaller chunks cost more in transport and in access than putting them together does.
CHUNK_BYTES_MIN = 1024 * 1024
# The offsets of a list are 32 bits wide.
_ELEMENTS_MAX = 2**31 - 1

# pyarrow reads a type of its own by this name, which Python can neither make nor pickle. Ours takes
# its place.
with contextlib.suppress(pa.ArrowKeyError):
    pa.unregister_extension_type(_RAGGED_NAME)
pa.register_extension_type(VariableShapeTensorType(pa.float32(), 1))
with contextlib.suppress(pa.ArrowKeyError):
    pa.register_extension_type(AnyShapeTensorType(pa.float32()))
