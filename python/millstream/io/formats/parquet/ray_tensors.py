"""Tensor columns in the files of Ray Data, as millstream has them.

Owns the names and layouts of Ray Data's extension types. Must not import Ray, and never unpickles:
whoever can write a file could otherwise run code wherever it is read.

Where `ray.data` is imported in the process, Arrow gives its types; elsewhere it gives their storage
and says in the field's metadata what it is. Both are read here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks import tensor
from millstream.errors import SchemaError


def with_own_types(schema: pa.Schema) -> pa.Schema:
    """Returns a file's schema with the types that `with_own_columns` gives.

    Raises:
        SchemaError: What the file says of a tensor column makes no sense, or is pickled.
    """
    if not any(_extension(field) for field in schema):
        return schema
    fields = []
    for field in schema:
        layout = _layout(field)
        fields.append(field if layout is None else pa.field(field.name, layout.type))
    return pa.schema(fields, schema.metadata)


def with_own_columns(table: pa.Table) -> pa.Table:
    """Returns a file's rows with Ray Data's tensors as Arrow's own tensor types.

    Raises:
        SchemaError: As `with_own_types`, or the values are not as the type says.
    """
    for index, field in enumerate(table.schema):
        layout = _layout(field) if _extension(field) else None
        if layout is None:
            continue
        storages = [getattr(chunk, "storage", chunk) for chunk in table.column(index).chunks]
        try:
            chunks = [layout.convert(storage) for storage in storages]
        except (pa.ArrowException, ValueError) as error:
            raise SchemaError(
                f"the tensors of column {field.name!r} are not as its type says: {error}"
            ) from error
        column = pa.chunked_array(chunks, type=layout.type)
        table = table.set_column(index, pa.field(field.name, layout.type), column)
    return table


def refuse_pickled(schema: pa.Schema, files: Mapping[str, pa.Schema]) -> None:
    """Refuses columns of pickled Python objects.

    Args:
        schema: The columns that are to be read.
        files: The columns of files, to tell in which they are.

    Raises:
        SchemaError: Names the column and the file.
    """
    pickled = next((field.name for field in schema if _is_pickled(field)), None)
    if pickled is None:
        return
    holding = (
        path
        for path, found in files.items()
        if pickled in found.names and _is_pickled(found.field(pickled))
    )
    others = [field.name for field in schema if not _is_pickled(field)]
    raise SchemaError(
        f"column {pickled!r} holds pickled Python objects ({_PICKLED}), which are not read, since "
        f"with them a file could run any code. Leave it out, as with columns={others}, or have "
        "Ray Data write it as another type",
        file=next(holding, None),
    )


@dataclass(frozen=True)
class _Layout:
    """The type of a column, and how it is made of the storage of Ray Data's type."""

    type: pa.DataType
    convert: Callable[[pa.Array], pa.Array]


def _layout(field: pa.Field) -> _Layout | None:
    """Returns how a column of Ray Data's is read; `None` if it is none of its tensors."""
    name, parameters = _extension(field) or ("", b"")
    storage = getattr(field.type, "storage_type", field.type)
    if name in _FIXED:
        shape = _parameters(field, parameters)
        if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
            raise SchemaError(f"the shape of column {field.name!r} is {shape!r}, which is none")
        return _fixed(storage.value_type, shape)
    if name == _RAGGED:
        ndim = _parameters(field, parameters)
        if not isinstance(ndim, int):
            raise SchemaError(f"column {field.name!r} has {ndim!r} dimensions, which is no number")
        return _ragged(storage.field("data").type.value_type, ndim)
    return None


def _extension(field: pa.Field) -> tuple[str, bytes] | None:
    """Returns the name and the parameters of Ray Data's type, if a field has one."""
    name = getattr(field.type, "extension_name", None)
    if name is not None:
        known = name in _FIXED or name in (_RAGGED, _PICKLED)
        return (name, field.type.__arrow_ext_serialize__()) if known else None
    metadata = field.metadata or {}
    name = metadata.get(b"ARROW:extension:name", b"").decode(errors="replace")
    if name in _FIXED or name in (_RAGGED, _PICKLED):
        return name, metadata.get(b"ARROW:extension:metadata", b"")
    return None


def _is_pickled(field: pa.Field) -> bool:
    """Tells whether there are pickled objects in a field, however deep."""
    if (_extension(field) or ("",))[0] == _PICKLED:
        return True
    type = getattr(field.type, "storage_type", field.type)
    if pa.types.is_dictionary(type):
        return _is_pickled(pa.field("values", type.value_type))
    return any(_is_pickled(type.field(index)) for index in range(type.num_fields))


def _parameters(field: pa.Field, parameters: bytes) -> object:
    try:
        return json.loads(parameters)
    except ValueError:
        # Ray 2.49 to 2.54 pickled them.
        raise SchemaError(
            f"what the file says of the tensors in column {field.name!r} is no JSON but, as it "
            "seems, pickled by an old Ray Data, which is not read: a file could run any code with "
            "it. Have Ray 2.55 or later write the file again"
        ) from None


def _fixed(value_type: pa.DataType, shape: Sequence[int]) -> _Layout:
    size = 1
    for extent in shape:
        size *= extent
    if pa.types.is_fixed_size_binary(value_type):
        return _texts(shape)
    if size == 0:
        ragged = tensor.VariableShapeTensorType(value_type, len(shape))
        return _Layout(ragged, lambda storage: _empty_tensors(storage, shape, ragged))
    type = pa.fixed_shape_tensor(value_type, shape)
    return _Layout(
        type, lambda storage: pa.ExtensionArray.from_storage(type, storage.cast(type.storage_type))
    )


def _ragged(value_type: pa.DataType, ndim: int) -> _Layout:
    type = tensor.VariableShapeTensorType(value_type, ndim)

    def convert(storage: pa.Array) -> pa.Array:
        fields = list(type.storage_type)
        columns = [storage.field(field.name) for field in fields]
        mask = None
        if storage.null_count:
            # What lies under a null row may be of any shape.
            mask = storage.is_null()
            columns = [pc.if_else(mask, pa.scalar(None, each.type), each) for each in columns]
        columns = [each.cast(field.type) for each, field in zip(columns, fields, strict=True)]
        struct = pa.StructArray.from_arrays(columns, fields=fields, mask=mask)
        return pa.ExtensionArray.from_storage(type, struct)

    return _Layout(type, convert)


def _empty_tensors(
    storage: pa.Array, shape: Sequence[int], type: tensor.VariableShapeTensorType
) -> pa.Array:
    data, dimensions = (field.type for field in type.storage_type)
    shapes = pa.array([list(shape)] * len(storage), dimensions)
    mask = storage.is_null() if storage.null_count else None
    fields = list(type.storage_type)
    struct = pa.StructArray.from_arrays([storage.cast(data), shapes], fields=fields, mask=mask)
    return pa.ExtensionArray.from_storage(type, struct)


def _texts(shape: Sequence[int]) -> _Layout:
    """NumPy's strings, which Ray Data keeps as they lie in memory, as lists in lists."""
    type = pa.string()
    for _ in shape:
        type = pa.list_(type)

    def convert(storage: pa.Array) -> pa.Array:
        width = storage.type.value_type.byte_width
        rows = []
        for row in storage.to_pylist():
            texts = None
            if row is not None:
                texts = np.frombuffer(b"".join(row), f"<U{width // 4}").reshape(shape).tolist()
            rows.append(texts)
        return pa.array(rows, type)

    return _Layout(type, convert)


_FIXED = ("ray.data.arrow_tensor", "ray.data.arrow_tensor_v2")
_RAGGED = "ray.data.arrow_variable_shaped_tensor"
_PICKLED = "ray.data.arrow_pickled_object"
