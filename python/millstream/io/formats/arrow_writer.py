"""Writing Arrow IPC files, which are Feather files of version 2 as well.

Owns what the format asks of dictionaries. `millstream.io.sink` owns all else about writing files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from millstream.io.file_format import PlainFormat


@dataclass(frozen=True)
class ArrowFormat(PlainFormat):
    """Arrow IPC files (`FileFormat`): all types as they are.

    Args:
        compression: `"lz4"`, `"zstd"`, or `None`.
    """

    compression: str | None = None
    name: str = "Arrow"
    extension: str = "arrow"

    @property
    def is_streamed(self) -> bool:
        """Its footer tells where the batches are."""
        return False

    def check(self, schema: pa.Schema) -> None:
        """It has all types."""

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> _ArrowWriter:
        """Begins a file."""
        # A file has one dictionary for a column, to which batches may add.
        options = pa.ipc.IpcWriteOptions(
            compression=self.compression, emit_dictionary_deltas=True, unify_dictionaries=True
        )
        return _ArrowWriter(pa.ipc.new_file(stream, schema, options=options), schema)

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yields the rows of a file, a batch at a time."""
        reader = pa.ipc.open_file(file)
        for index in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(index)])


class _ArrowWriter:
    """An Arrow file that is being written."""

    def __init__(self, writer: pa.RecordBatchWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._dictionaries: dict[str, pa.Array] = {}
        self._schema = schema

    def write(self, table: pa.Table) -> None:
        for place, each in enumerate(self._schema):
            if pa.types.is_dictionary(each.type):
                table = table.set_column(place, each, self._with_known(each, table.column(place)))
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()

    def _with_known(self, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """The column by a dictionary that begins with all values that the file has already."""
        known = self._dictionaries.get(field.name)
        chunks = column.chunks
        if known is not None:
            none = pa.array([], field.type.index_type)
            first = pa.DictionaryArray.from_arrays(none, known, ordered=field.type.ordered)
            chunks = [first, *chunks]
        unified = pa.chunked_array(chunks, field.type).unify_dictionaries()
        if unified.num_chunks:
            self._dictionaries[field.name] = unified.chunk(0).dictionary
        return unified
