"""Reading Vortex files with vortex-data.

Owns the plan and the format. Must not know what happens to the rows. `vortex_writer` writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import SchemaError
from millstream.errors.checks import check_columns
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.panics import panics_told
from millstream.io.formats.typed_files import (
    TABLE_BYTES,
    Contents,
    check_columns_once,
    pieces_of,
    plan_typed_files,
)
from millstream.io.source import Source


def plan_vortex(
    paths: Paths,
    files: FileOptions,
    *,
    columns: Sequence[str] | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read Vortex files.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        columns: Those of the files that are read; `None`: all.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: vortex-data is not installed.
        ReadError: A path does not exist, is empty or no Vortex file, or there is nothing to read.
        SchemaError: A column is there twice, or there is none of that name.
    """
    require_vortex("read_vortex")
    chosen = None if columns is None else tuple(check_columns("columns", columns))
    listing = list_files(paths, files, reader="read_vortex")
    return plan_typed_files("ReadVortex", listing, VortexFormat(chosen), files, blocks=blocks)


def require_vortex(caller: str) -> None:
    """Checks that vortex-data is there.

    Raises:
        MissingPackageError: It is not.
    """
    require_package("vortex", caller, "vortex-data", "vortex")


@dataclass(frozen=True)
class VortexFormat:
    """A file is columns in chunks of rows, of which a few are read at a time.

    Args:
        columns: Those that are read; `None`: all.
    """

    columns: tuple[str, ...] | None = None
    problem: str = "cannot read this Vortex file"

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> Contents:
        """Reads the footer of a file."""
        with open_file(filesystem, path) as source, panics_told():
            file = opened(source)
            return Contents(self._schema(file, path), len(file))

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the rows in tables of bounded size."""
        with open_file(filesystem, path) as source, panics_told():
            file = opened(source)
            schema = self._schema(file, path)
            if not schema.names:
                yield block.rows_only(len(file)) if len(file) else pa.table({})
                return
            rows = _batch_rows(schema, len(file), source.size())
            yield from tables_of(file, schema, rows)

    def _schema(self, file: Any, path: str) -> pa.Schema:
        found = schema_of(file)
        if self.columns is None:
            return found
        try:
            block.require_columns(found, self.columns)
        except SchemaError as error:
            raise SchemaError(error.message, file=path) from error
        return pa.schema([found.field(name) for name in self.columns])


def opened(source: pa.NativeFile) -> Any:
    """Opens a Vortex file; the caller closes the stream when nothing of it is used any more."""
    import vortex

    # What has been read is not read again.
    return vortex.open_readable(source, without_segment_cache=True)


def schema_of(file: Any) -> pa.Schema:
    """The columns of a file as they come out.

    Raises:
        SchemaError: One is there twice, or what is stored are no records.
    """
    stored = file.dtype.to_arrow_type()
    if not pa.types.is_struct(stored):
        raise SchemaError(f"the file holds values of type {stored}, and no columns")
    found = pa.schema([stored.field(index) for index in range(stored.num_fields)])
    check_columns_once(found)
    return block.plain_schema(found)


def tables_of(file: Any, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Yields the rows of a file in tables of bounded size.

    Args:
        file: The file.
        schema: The columns that are read, with the types that they take.
        rows: How many rows are read at a time.

    Raises:
        ValueError: A row is null as a whole, or there are other rows than the footer tells of.
    """
    count = 0
    # Not as an Arrow stream: a panic behind that would end the process.
    for chunk in file.scan(schema.names, batch_size=rows):
        records = chunk.to_arrow_array()
        records.validate(full=True)
        if records.null_count:
            raise ValueError(f"there are rows from {count} on that are null, and no records")
        count += len(records)
        batch = pa.RecordBatch.from_struct_array(records)
        yield from pieces_of(block.align(pa.Table.from_batches([batch]), schema))
    if count != len(file):
        raise ValueError(f"its footer tells of {len(file)} rows, and it has {count}")
    if not count:
        yield schema.empty_table()


def _batch_rows(schema: pa.Schema, rows: int, size: int) -> int:
    """Returns how many rows are read at a time.

    Args:
        schema: The columns.
        rows: How many there are in all.
        size: The bytes of the file.
    """
    # Rows may take far more in memory than in the file, which is compressed.
    width = max(8 * len(schema), size // max(1, rows))
    return max(1, min(_BATCH_ROWS_MAX, TABLE_BYTES // (width * _GROWTH)))


_BATCH_ROWS_MAX = 1 << 16
_GROWTH = 4
