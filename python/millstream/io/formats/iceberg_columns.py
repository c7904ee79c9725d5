"""The columns of Iceberg tables in their Parquet files, where they are found by id.

Owns the way from the columns of a file to those of the table, which may have been added, renamed or
widened since the file was written. Must not know catalogs, units or deleted rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from millstream.blocks.common_type import is_list
from millstream.blocks.convert import convert, nulls, offsets_of
from millstream.errors import SchemaError
from millstream.io.formats.table_types import without_names


@dataclass(frozen=True)
class FileColumns:
    """How the rows of a file get the columns of the table.

    Args:
        columns: Those of the table that are wanted (`pyiceberg.types.NestedField`).
        mapping: Which names stand for which id in files that have none: see `ids_by_name`.
        constants: The values that a file need not have, by the ids of their columns.
    """

    columns: tuple[Any, ...]
    mapping: Mapping[tuple[str, ...], int] | None = None
    constants: Mapping[int, Any] = field(default_factory=dict)

    def needed(self, found: pa.Schema) -> list[str]:
        """Returns the names of the columns of a file that are wanted."""
        ids = _Ids.of(found, self.mapping)
        wanted = {column.field_id for column in self.columns}
        return [each.name for each in found if ids.id_of(each, ()) in wanted]

    def of(self, batch: pa.RecordBatch, found: pa.Schema) -> pa.Table:
        """Gives rows of a file the columns of the table.

        Args:
            batch: The rows.
            found: All columns of the file.

        Raises:
            SchemaError: A column is missing that must be there, or its values do not fit.
        """
        ids = _Ids.of(found, self.mapping)
        fields = {ids.id_of(each, ()): each for each in batch.schema}
        arrays = []
        for column in self.columns:
            there = fields.get(column.field_id)
            wanted = arrow_type(column.field_type)
            if there is None:
                arrays.append(self._absent(column, wanted, batch.num_rows))
                continue
            try:
                array = batch.column(there.name)
                arrays.append(_projected(array, there, column.field_type, ids, (there.name,)))
            except (ValueError, pa.ArrowException) as error:
                raise SchemaError(
                    f"column {column.name!r} is {there.type} in this file, and not every value "
                    f"is one of {wanted}, which it is in the table: {error}"
                ) from error
        names = [column.name for column in self.columns]
        return pa.table(arrays, names=names)

    def _absent(self, column: Any, wanted: pa.DataType, rows: int) -> pa.Array:
        if column.field_id in self.constants:
            value = self.constants[column.field_id]
            return nulls(rows, wanted) if value is None else _repeated(value, wanted, rows)
        return _default(column, wanted, rows)


def ids_by_name(mapping: Any) -> dict[tuple[str, ...], int] | None:
    """Returns the ids of columns and of fields within them, by the names that lead to them.

    Args:
        mapping: That of the table (`pyiceberg.table.name_mapping.NameMapping`), or `None`.
    """
    if mapping is None:
        return None
    found: dict[tuple[str, ...], int] = {}
    left: list[tuple[tuple[str, ...], Any]] = [((), each) for each in mapping.root]
    while left:
        path, each = left.pop()
        for name in each.names:
            if each.field_id is not None:
                found[*path, name] = each.field_id
            left.extend(((*path, name), inner) for inner in each.fields or ())
    return found


def arrow_type(type: Any) -> pa.DataType:
    """Returns the type that blocks have for a type of Iceberg; those of UUIDs are 16 bytes."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow
    from pyiceberg.types import ListType, MapType, StructType, UUIDType

    if isinstance(type, UUIDType):
        return pa.binary(16)
    if isinstance(type, ListType):
        return pa.list_(arrow_type(type.element_type))
    if isinstance(type, MapType):
        return pa.map_(arrow_type(type.key_type), arrow_type(type.value_type))
    if isinstance(type, StructType):
        return pa.struct([(each.name, arrow_type(each.field_type)) for each in type.fields])
    return without_names(schema_to_pyarrow(type, include_field_ids=False))


@dataclass(frozen=True)
class _Ids:
    """Where the ids of a file's columns are.

    Args:
        mapping: Which names stand for which id; `None`: the file has the ids.
    """

    mapping: Mapping[tuple[str, ...], int] | None

    @classmethod
    def of(cls, found: pa.Schema, mapping: Mapping[tuple[str, ...], int] | None) -> _Ids:
        if any(_ID in (each.metadata or {}) for each in found):
            return cls(None)
        if mapping is None:
            raise SchemaError(
                "this file has no ids for its columns, and the table does not say which names "
                "stand for them (schema.name-mapping.default)"
            )
        return cls(mapping)

    def id_of(self, each: pa.Field, path: tuple[str, ...]) -> int | None:
        """Returns the id of a field; `None` if the table has none such."""
        if self.mapping is not None:
            return self.mapping.get((*path, each.name))
        found = (each.metadata or {}).get(_ID)
        return None if found is None else int(found)


def _projected(
    array: pa.Array, there: pa.Field, wanted: Any, ids: _Ids, path: tuple[str, ...]
) -> pa.Array:
    """Gives values the type of the table.

    Args:
        array: The values.
        there: Their field in the file.
        wanted: The type in the table.
        ids: Where the ids of fields are.
        path: What leads to the field, itself included.
    """
    from pyiceberg.types import ListType, MapType, StructType

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    type = there.type
    if isinstance(wanted, StructType) and pa.types.is_struct(type):
        return _projected_struct(array, type, wanted, ids, path)
    if isinstance(wanted, ListType) and is_list(type):
        inner = (*path, "element")
        values = _projected(array.flatten(), type.value_field, wanted.element_type, ids, inner)
        offsets = offsets_of(array).cast(pa.int32())
        made = arrow_type(wanted)
        return pa.ListArray.from_arrays(offsets, values, type=made, mask=_mask(array))
    if isinstance(wanted, MapType) and pa.types.is_map(type):
        return _projected_map(array, type, wanted, ids, path)
    return convert(array, arrow_type(wanted))


def _projected_struct(
    array: pa.StructArray, type: pa.DataType, wanted: Any, ids: _Ids, path: tuple[str, ...]
) -> pa.Array:
    children = array.flatten()
    there = {ids.id_of(each, path): index for index, each in enumerate(type)}
    made, fields = [], []
    for each in wanted.fields:
        index = there.get(each.field_id)
        if index is None:
            values = _default(each, arrow_type(each.field_type), len(array))
        else:
            found = type.field(index)
            inner = (*path, found.name)
            values = _projected(children[index], found, each.field_type, ids, inner)
        made.append(values)
        fields.append(pa.field(each.name, values.type))
    return pa.StructArray.from_arrays(made, fields=fields, mask=_mask(array))


def _projected_map(
    array: pa.MapArray, type: pa.DataType, wanted: Any, ids: _Ids, path: tuple[str, ...]
) -> pa.Array:
    # These two are not cut where the array is a slice, so its offsets must begin at 0.
    offsets = array.offsets.to_numpy()
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys, items = array.keys.slice(first, count), array.items.slice(first, count)
    made = arrow_type(wanted)
    return pa.MapArray.from_arrays(
        pa.array(offsets - offsets[0], pa.int32()),
        _projected(keys, type.key_field, wanted.key_type, ids, (*path, "key")),
        _projected(items, type.item_field, wanted.value_type, ids, (*path, "value")),
        type=made,
        mask=_mask(array),
    )


def _default(column: Any, wanted: pa.DataType, rows: int) -> pa.Array:
    """The values of a column that was added after the file was written."""
    if column.initial_default is not None:
        return _repeated(column.initial_default, wanted, rows)
    if column.required:
        raise SchemaError(f"column {column.name!r}, which is required, is not in this file")
    return nulls(rows, wanted)


def _repeated(value: Any, wanted: pa.DataType, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, wanted), rows)


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


_ID = b"PARQUET:field_id"
