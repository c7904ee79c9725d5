"""Writing Avro with fastavro.

Owns the format and its options. `avro_types` owns what an Avro file can hold of a table, and `avro`
reads what is written here. Must not know where files are, staged or committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import ArgumentError, MissingPackageError, SchemaError
from millstream.errors.checks import check_choice, check_count
from millstream.errors.packages import require_package
from millstream.io.file_format import PlainFormat
from millstream.io.formats import avro
from millstream.io.formats.avro_types import Convert, as_stored, avro_schema, plain_type
from millstream.io.formats.typed_files import TABLE_BYTES


@dataclass(frozen=True)
class AvroFormat(PlainFormat):
    """Avro files (`FileFormat`).

    Args:
        codec: How blocks are compressed; one of `CODECS`.
        compression_level: How hard, for codecs that have levels.

    Raises:
        ArgumentError: There is no such codec or level.
        MissingPackageError: fastavro, or the package of the codec, is not installed.
    """

    codec: str = "null"
    compression_level: int | None = None
    name: str = "Avro"
    extension: str = "avro"

    def __post_init__(self) -> None:
        check_choice("codec", self.codec, CODECS)
        check_count("compression_level", self.compression_level)
        if self.compression_level is not None and self.codec not in _WITH_LEVELS:
            raise ArgumentError(
                f"compression_level={self.compression_level!r} goes with the codecs "
                f"{' and '.join(map(repr, _WITH_LEVELS))}, and the codec is {self.codec!r}"
            )
        require_package("fastavro", "write_avro", "fastavro", "avro")
        self._try()

    @property
    def is_streamed(self) -> bool:
        """Its blocks are compressed by themselves."""
        return False

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that would not come back as they were.

        Raises:
            SchemaError: There is one.
        """
        avro_schema(schema)

    def stored(self, schema: pa.Schema) -> pa.Schema:
        """The columns that `read_back` gives: dictionaries decoded, offsets of 32 bits."""
        return pa.schema([each.with_type(plain_type(each.type)) for each in schema])

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> _AvroWriter:
        """Begins a file.

        Raises:
            SchemaError: Avro cannot hold a column.
        """
        return _AvroWriter(self._writer(stream, avro_schema(schema)), self.stored(schema))

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yields the rows of a file, as `read_avro` does."""
        opened = cast(pa_fs.FileSystem, _Opened(file))
        return avro.AvroFormat().read(opened, "a staged file")

    def _writer(self, stream: Any, schema: Any) -> Any:
        from fastavro.write import Writer

        return Writer(stream, schema, self.codec, compression_level=self.compression_level)

    def _try(self) -> None:
        """Compresses something, which fastavro would else do after the first rows."""
        writer = self._writer(
            pa.BufferOutputStream(), {"type": "record", "name": "probe", "fields": []}
        )
        try:
            writer.write({})
            writer.flush()
        except Exception as error:
            if "install" in str(error):
                raise MissingPackageError(f"codec={self.codec!r}: {error}") from error
            raise ArgumentError(
                f"compression_level={self.compression_level!r} is none of "
                f"codec={self.codec!r}: {error}"
            ) from error


@dataclass(frozen=True)
class _Opened:
    """What the reader takes for a file system: it has one file, which is open already."""

    file: pa.NativeFile

    def open_input_file(self, path: str) -> pa.NativeFile:
        return self.file


class _AvroWriter:
    """An Avro file that is being written.

    Args:
        writer: Takes records whose values are as they are stored.
        schema: The columns, of plain types.
    """

    def __init__(self, writer: Any, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema
        self._columns = [as_stored(each.type) for each in schema]
        self._rows = 0

    def write(self, table: pa.Table) -> None:
        row_bytes = block.nbytes(table) // max(1, table.num_rows)
        step = max(1, min(_ROWS_MAX, _HELD_BYTES // max(1, row_bytes)))
        for start in range(0, table.num_rows, step):
            self._write(table.slice(start, step))

    def close(self) -> None:
        self._writer.flush()

    def _write(self, table: pa.Table) -> None:
        values = [
            self._values(field, column, *how)
            for field, column, how in zip(self._schema, table.columns, self._columns, strict=True)
        ]
        names = self._schema.names
        for row in range(table.num_rows):
            record = {name: each[row] for name, each in zip(names, values, strict=True)}
            try:
                self._writer.write(record)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                raise SchemaError(
                    f"row {self._rows + row} of this file (counted from 0) has a value that Avro "
                    f"cannot hold: {error}"
                ) from error
        self._rows += table.num_rows

    def _values(
        self,
        field: pa.Field,
        column: pa.ChunkedArray,
        numbers: pa.DataType,
        convert: Convert | None,
    ) -> list[Any]:
        """What is stored of a column, null as None."""
        column = column.cast(field.type)
        if numbers != field.type:
            column = column.cast(numbers)
        try:
            values: list[Any] = column.to_pylist()
        except UnicodeDecodeError as error:
            raise SchemaError(f"column {field.name!r} has text that is no UTF-8: {error}") from None
        if convert is None:
            return values
        made = []
        for row, value in enumerate(values):
            try:
                made.append(None if value is None else convert(value))
            except ValueError as error:
                raise SchemaError(
                    f"column {field.name!r} has a value that Avro cannot hold, in row "
                    f"{self._rows + row} of this file (counted from 0): {error}"
                ) from None
        return made


#: How blocks may be compressed.
CODECS = ("null", "deflate", "bzip2", "xz", "snappy", "zstandard")
# The others of fastavro's codecs take no notice of a level.
_WITH_LEVELS = ("deflate", "zstandard")
# Rows of Python objects take several times the memory of their columns.
_HELD_BYTES = TABLE_BYTES // 8
_ROWS_MAX = 1024
