"""Reading Arrow's own files: IPC files, IPC streams, and Feather V2, which are IPC files.

Owns the plan and the format. Must not know what happens to the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import ReadError
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.parquet import ray_tensors
from millstream.io.formats.typed_files import (
    Contents,
    check_columns_once,
    pieces_of,
    plan_typed_files,
)
from millstream.io.source import Source


def plan_arrow(paths: Paths, files: FileOptions, *, blocks: int | None = None) -> Source:
    """Plans to read Arrow IPC files and streams.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, is empty or no Arrow, or there is nothing to read.
        SchemaError: A column is there twice, or holds pickled objects.
    """
    listing = list_files(paths, files, reader="read_arrow")
    return plan_typed_files("ReadArrow", listing, ArrowFormat(), files, blocks=blocks)


@dataclass(frozen=True)
class ArrowFormat:
    """A file is record batches, each of which is read at once."""

    problem: str = "cannot read this Arrow file"

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> Contents:
        """Reads the schema of a file."""
        with _opened(filesystem, path) as (_, reader):
            return Contents(_schema_of(reader.schema, path))

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the rows of each record batch in tables of bounded size."""
        with _opened(filesystem, path) as (file, reader):
            schema = _schema_of(reader.schema, path)
            is_empty = True
            for batch in _batches(file, reader):
                for table in pieces_of(_table(batch)):
                    is_empty = is_empty and not table.num_rows
                    # Who has a row must not depend on what becomes of the file.
                    yield block.copy(table) if isinstance(file, pa.MemoryMappedFile) else table
            if is_empty:
                yield schema.empty_table()


@contextmanager
def _opened(filesystem: pa_fs.FileSystem, path: str) -> Iterator[tuple[pa.NativeFile, Any]]:
    with _opened_bytes(filesystem, path) as file:
        magic = file.read(len(_FILE_MAGIC))
        file.seek(0)
        if magic.startswith(_FEATHER_V1_MAGIC):
            raise ReadError(
                "this is a Feather V1 file, which is not read: write it again as Feather V2",
                file=path,
            )
        is_file = magic == _FILE_MAGIC
        yield file, pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)


def _opened_bytes(filesystem: pa_fs.FileSystem, path: str) -> pa.NativeFile:
    """Opens a file; a large one is mapped, since a record batch may be all of it."""
    file = open_file(filesystem, path)
    if isinstance(filesystem, pa_fs.LocalFileSystem) and file.size() >= MAPPED_BYTES:
        file.close()
        return pa.memory_map(path)
    return file


def _batches(file: pa.NativeFile, reader: Any) -> Iterator[pa.RecordBatch]:
    """Yields the record batches, whose values are checked: wrong offsets would crash later."""
    for index, batch in enumerate(_stored(file, reader)):
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ValueError(f"record batch {index} is broken: {error}") from error
        yield batch


def _stored(file: pa.NativeFile, reader: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        yield from map(reader.get_batch, range(reader.num_record_batches))
        return
    end = file.tell()
    for batch in reader:
        end = file.tell()
        yield batch
    _check_end(file, end)


def _check_end(file: pa.NativeFile, end: int) -> None:
    """Checks that a stream ends as it must.

    Args:
        file: The file.
        end: Where the last message ends.

    Raises:
        ValueError: The stream is cut off, or something comes after it.
    """
    file.seek(end)
    rest = file.read(len(_END) + 1)
    if not rest.startswith((_END, _END[4:])):
        raise ValueError(
            f"the stream has no end marker after its last message, at byte {end}: it was cut off, "
            "or its writer was not closed"
        )
    if rest not in (_END, _END[4:]):
        raise ValueError(f"something comes after the end of the stream, at byte {end}")


def _schema_of(found: pa.Schema, path: str) -> pa.Schema:
    """Returns the columns of a file as they come out.

    Raises:
        SchemaError: One is there twice, or holds pickled objects.
    """
    found = found.remove_metadata()
    check_columns_once(found)
    ray_tensors.refuse_pickled(found, {path: found})
    return block.plain_schema(ray_tensors.with_own_types(found))


def _table(batch: pa.RecordBatch) -> pa.Table:
    if not batch.num_columns:
        # Arrow does not count the rows of a table without columns.
        return block.rows_only(batch.num_rows)
    table = pa.Table.from_batches([batch.replace_schema_metadata(None)])
    return block.plain(ray_tensors.with_own_columns(table))


#: Local files of at least so many bytes are mapped.
MAPPED_BYTES = 128 << 20
_FILE_MAGIC = b"ARROW1"
_FEATHER_V1_MAGIC = b"FEA1"
# Four bytes of continuation and a length of 0; files from before 2019 have the length only.
_END = b"\xff\xff\xff\xff\0\0\0\0"
