"""Writing ORC: the types that come back as they were.

Owns which these are: pyarrow's writer takes more, and loses zones, units and dates.
`millstream.io.sink` owns all else about writing files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyarrow import orc

from millstream.errors import ArgumentError, SchemaError
from millstream.io.file_format import PlainFormat


@dataclass(frozen=True)
class OrcFormat(PlainFormat):
    """ORC files (`FileFormat`).

    Args:
        args: For `pyarrow.orc.ORCWriter`, such as `compression`.
    """

    args: Mapping[str, Any] = field(default_factory=dict)
    name: str = "ORC"
    extension: str = "orc"

    def __post_init__(self) -> None:
        try:
            orc.ORCWriter(pa.BufferOutputStream(), **self.args).close()
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise ArgumentError(f"pyarrow.orc.ORCWriter refuses the options: {error}") from error

    @property
    def is_streamed(self) -> bool:
        """Its footer tells where the stripes are."""
        return False

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that would not come back as they were.

        Raises:
            SchemaError: There is one.
        """
        for each in schema:
            if not _is_held(_stored_type(each.type)) or pa.types.is_null(each.type):
                raise SchemaError(
                    f"column {each.name!r} of type {each.type} cannot be written as ORC, which has "
                    "signed integers, floats, booleans, text, bytes, dates, timestamps without a "
                    "zone, decimals, and lists, maps and structs of these; convert or drop it"
                )

    def stored(self, schema: pa.Schema) -> pa.Schema:
        """The columns that `read_back` gives: timestamps in nanoseconds, offsets of 32 bits."""
        return pa.schema([each.with_type(_stored_type(each.type)) for each in schema])

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> _OrcWriter:
        """Begins a file.

        Raises:
            SchemaError: ORC cannot hold a column.
        """
        # Other blocks may tell the type of a column of nulls: it is written again then.
        self.check(pa.schema([each for each in schema if not pa.types.is_null(each.type)]))
        return _OrcWriter(orc.ORCWriter(stream, **self.args), self.stored(schema))

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yields the rows of a file, a stripe at a time."""
        found = orc.ORCFile(file)
        for stripe in range(found.nstripes):
            table = pa.Table.from_batches([found.read_stripe(stripe)])
            for place, each in enumerate(schema):
                if pa.types.is_null(each.type):
                    table = table.set_column(place, each, pa.nulls(table.num_rows))
                else:
                    column = table.column(place).cast(_stored_type(each.type))
                    table = table.set_column(place, each.name, column)
            yield table


class _OrcWriter:
    """An ORC file that is being written."""

    def __init__(self, writer: orc.ORCWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema
        self._is_empty = True

    def write(self, table: pa.Table) -> None:
        columns = [
            _cast(field, column) for field, column in zip(self._schema, table.columns, strict=True)
        ]
        self._writer.write(pa.table(columns, schema=self._schema))
        self._is_empty = False

    def close(self) -> None:
        if self._is_empty:
            # Without a table it would not know its columns.
            self._writer.write(self._schema.empty_table())
        self._writer.close()


def _cast(field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid as error:
        raise SchemaError(
            f"column {field.name!r} has a value that ORC cannot hold: {error}"
        ) from error


def _stored_type(type: pa.DataType) -> pa.DataType:
    """The type of those that come back which holds the same values."""
    types = pa.types
    if types.is_dictionary(type):
        return _stored_type(type.value_type)
    if types.is_null(type):
        return pa.int8()
    if types.is_large_string(type):
        return pa.string()
    if types.is_large_binary(type):
        return pa.binary()
    if types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type):
        return pa.list_(_stored_type(type.value_type))
    if types.is_struct(type):
        return pa.struct([each.with_type(_stored_type(each.type)) for each in type])
    if types.is_map(type):
        return pa.map_(_stored_type(type.key_type), _stored_type(type.item_type))
    if types.is_timestamp(type) and type.tz is None:
        return pa.timestamp("ns")
    return type


def _is_held(type: pa.DataType) -> bool:
    types = pa.types
    if types.is_struct(type):
        return type.num_fields > 0 and all(_is_held(each.type) for each in type)
    if types.is_map(type):
        return _is_held(type.key_type) and _is_held(type.item_type)
    if types.is_list(type):
        return _is_held(type.value_type)
    if types.is_timestamp(type):
        return bool(type.unit == "ns" and type.tz is None)
    is_number = types.is_signed_integer(type) or types.is_float32(type) or types.is_float64(type)
    is_bytes = types.is_string(type) or types.is_binary(type)
    is_other = types.is_boolean(type) or types.is_date32(type) or types.is_decimal128(type)
    return bool(is_number or is_bytes or is_other)
