"""One Parquet file, opened: its columns as millstream has them, and what millstream noted in it.

Owns how pyarrow is asked to open files, the types that files say their columns had, and the note
about partition columns that written files carry. Must not know plans, units or filters.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from millstream.io.formats.parquet import ray_tensors


def open_parquet(
    source: pa.NativeFile,
    footer: pq.FileMetaData | None = None,
    *,
    pre_buffer: bool = False,
    buffer_size: int = 0,
) -> pq.ParquetFile:
    """Opens a Parquet file.

    Args:
        source: The file.
        footer: Its footer, if that has been read.
        pre_buffer: Whether row groups are fetched in few large requests, by a thread of its own.
        buffer_size: How many bytes are read at a time; 0: a row group's column at once.
    """
    return pq.ParquetFile(
        source,
        metadata=footer,
        pre_buffer=pre_buffer,
        buffer_size=buffer_size,
        # In nanoseconds, 96-bit timestamps would wrap beyond the years 1677 and 2262.
        coerce_int96_timestamp_unit="us",
    )


def schema_of(file: pq.ParquetFile) -> pa.Schema:
    """Returns the columns of a file, with the types that they had when it was written.

    Raises:
        SchemaError: What the file says of a tensor column makes no sense.
    """
    found = file.schema_arrow.remove_metadata()
    message = (file.metadata.metadata or {}).get(b"ARROW:schema")
    if message is not None:
        written = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(message)))
        if written.names == found.names:
            pairs = zip(found, written, strict=True)
            found = pa.schema([_as_written(field, other.type) for field, other in pairs])
    return ray_tensors.with_own_types(found)


def columns_of(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns rows of a file with the types of `schema_of`.

    Raises:
        SchemaError: The values of a tensor column are not as the file says.
    """
    types = dict(zip(schema.names, schema.types, strict=True))
    for index, field in enumerate(table.schema):
        # Rows without columns have a hidden one.
        type = types.get(field.name, field.type)
        if _is_lost(field.type, type):
            column = table.column(index)
            if pa.types.is_dictionary(type):
                column = column.dictionary_encode()
            table = table.set_column(index, field.with_type(type), column.cast(type))
    return ray_tensors.with_own_columns(table)


def _as_written(field: pa.Field, written: pa.DataType) -> pa.Field:
    return field.with_type(written) if _is_lost(field.type, written) else field


def _is_lost(found: pa.DataType, written: pa.DataType) -> bool:
    """Tells whether Parquet has another type for the values of a column, which pyarrow then gives.

    It has no seconds, no dates in milliseconds, and dictionaries of text only.
    """
    types = pa.types
    if found.id == written.id:
        if types.is_timestamp(found):
            return bool(written.unit == "s" and found.unit == "ms" and found.tz == written.tz)
        return bool(types.is_time32(found) and written.unit == "s" and found.unit == "ms")
    if types.is_dictionary(written):
        return bool(found.equals(written.value_type))
    return bool(types.is_date64(written) and types.is_date32(found))


def noted_partitions(footer: pq.FileMetaData) -> dict[str, pa.DataType]:
    """Returns the types of the columns in a file's path, if it was written by millstream."""
    note = (footer.metadata or {}).get(_NOTE)
    if note is None:
        return {}
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(note)))
    return {field.name: field.type for field in schema}


def partition_note(fields: Sequence[pa.Field]) -> dict[str, str]:
    """Returns what a file's metadata says of the columns in its path.

    A path holds text only: without the note, the text "007" and the number 7 would be the same.
    """
    if not fields:
        return {}
    schema = pa.schema([pa.field(field.name, field.type) for field in fields])
    return {_NOTE.decode(): base64.b64encode(schema.serialize().to_pybytes()).decode()}


_NOTE = b"millstream.partition_columns"
