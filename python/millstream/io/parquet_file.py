"""One Parquet file, opened: its columns as millstream has them, and what millstream noted in it.

Owns how pyarrow is asked to open files, and the note about partition columns that written files
carry. Must not know plans, units or filters.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from millstream.io import ray_tensors


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
    """Returns the columns of a file.

    Raises:
        SchemaError: What the file says of a tensor column makes no sense.
    """
    return ray_tensors.with_own_types(file.schema_arrow.remove_metadata())


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
