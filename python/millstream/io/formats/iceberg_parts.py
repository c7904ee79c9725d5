"""How the rows of an Iceberg table are divided: by bucket, by day, by the values of columns.

Owns to which part a row belongs. Must not know files, nor how a table is told of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millstream.errors import WriteError
from millstream.io.formats.table_types import StoreAs


@dataclass(frozen=True)
class Divider:
    """How the rows of a table are divided by one of its columns.

    Args:
        field: The partition field (`pyiceberg.partitioning.PartitionField`).
        source: The column.
        type: Its type (`pyiceberg.types.IcebergType`).
        column: What the column is called that says to which part a row belongs.
    """

    field: Any
    source: str
    type: Any
    column: str

    @property
    def stored(self) -> pa.DataType:
        """The type of that column: what Iceberg has in partitions."""
        from pyiceberg.types import BooleanType, DecimalType, DoubleType, FloatType, StringType

        result = self.field.transform.result_type(self.type)
        if isinstance(result, DecimalType):
            return pa.decimal128(result.precision, result.scale)
        if isinstance(result, BooleanType):
            return pa.bool_()
        if isinstance(result, StringType):
            return pa.string()
        if isinstance(result, (FloatType, DoubleType)):
            return pa.float32() if isinstance(result, FloatType) else pa.float64()
        return pa.int64()

    def values(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Returns to which part each row belongs."""
        from pyiceberg.partitioning import partition_record_value
        from pyiceberg.schema import Schema
        from pyiceberg.types import NestedField

        transform = self.field.transform.transform(self.type)
        schema = Schema(NestedField(self.field.source_id, self.source, self.type))
        encoded = column.dictionary_encode().unify_dictionaries()
        dictionary = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([])
        parts = [
            transform(partition_record_value(self.field, value, schema))
            for value in dictionary.to_pylist()
        ]
        made = pa.array(parts, self.stored)
        chunks = [made.take(chunk.indices) for chunk in encoded.chunks]
        return pa.chunked_array(chunks, type=self.stored)


@dataclass(frozen=True)
class DivideAs(StoreAs):
    """Gives blocks the types of a table, and columns that say to which part a row belongs.

    Args:
        dividers: How the rows are divided.
    """

    dividers: tuple[Divider, ...] = ()

    def schema(self, found: pa.Schema) -> pa.Schema:
        """Returns the columns that are written of those that are there.

        Raises:
            SchemaError: One is of a type that the table cannot hold.
        """
        own = super().schema(found)
        return pa.schema([*own, *(pa.field(each.column, each.stored) for each in self.dividers)])

    def _converted(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        own = pa.schema(list(schema)[: len(schema) - len(self.dividers)])
        made = super()._converted(table, own)
        for each in self.dividers:
            if each.source in made.column_names:
                values = each.values(made.column(each.source))
            else:
                values = pa.chunked_array([pa.nulls(made.num_rows, each.stored)])
            made = made.append_column(each.column, values)
        return made


def dividers_of(table: Any) -> tuple[Divider, ...]:
    """Returns how the rows of a table are divided.

    Raises:
        WriteError: In a way that is not known here.
    """
    from pyiceberg.transforms import UnknownTransform
    from pyiceberg.types import BinaryType, FixedType, NestedField, UUIDType

    schema = table.schema()
    top: dict[int, NestedField] = {each.field_id: each for each in schema.fields}
    names = {each.name for each in schema.fields}
    found = []
    for each in table.spec().fields:
        source = top.get(each.source_id)
        is_known = source is not None and not isinstance(each.transform, UnknownTransform)
        kind = each.transform.result_type(source.field_type) if source and is_known else None
        if source is None or kind is None or isinstance(kind, (BinaryType, FixedType, UUIDType)):
            raise WriteError(
                f"the table is divided by {each.name} ({each.transform}), in a way that is not "
                "known here: only top-level columns, and no bytes, can divide it"
            )
        column = each.name
        while column in names:
            column += "_"
        names.add(column)
        found.append(Divider(each, source.name, source.field_type, column))
    return tuple(found)
