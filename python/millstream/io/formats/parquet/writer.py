"""What goes into which Parquet file: the files that one task writes.

Owns row groups, the change from one file to the next, and how many files a process has open.
`millstream.io.commit` owns when files become visible.
"""

from __future__ import annotations

import resource
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq

from millstream.blocks import block
from millstream.errors import ArgumentError, SchemaError, WriteError
from millstream.errors.checks import check_count, check_kind
from millstream.io.commit import STAGED_SCHEMA, packed_schema, patiently, writing
from millstream.io.formats.parquet.file import partition_note


@dataclass(frozen=True)
class ParquetOptions:
    """How files are written.

    Args:
        filesystem: Where to.
        target: The folder, for messages.
        stream_args: For `open_output_stream`.
        parquet_args: For `pyarrow.parquet.ParquetWriter`, and `row_group_size`.
        args_fn: Gives further `parquet_args`, called where they are needed.
    """

    filesystem: pa_fs.FileSystem
    target: str
    stream_args: Mapping[str, Any]
    parquet_args: Mapping[str, Any]
    args_fn: Callable[[], Mapping[str, Any]] | None = None

    def settled(self) -> ParquetOptions:
        """Returns the same with what `args_fn` gives.

        Raises:
            ArgumentError: pyarrow does not take it.
        """
        if self.args_fn is None:
            return self
        more = dict(self.args_fn())
        check_parquet_args(more)
        return replace(self, parquet_args={**self.parquet_args, **more}, args_fn=None)

    def open(self, path: str, schema: pa.Schema) -> tuple[pa.NativeFile, pq.ParquetWriter]:
        """Opens a file to write; the caller closes the writer, then the stream."""
        args = {k: v for k, v in self.parquet_args.items() if k not in OUR_ARGS}
        stream = patiently(lambda: self.filesystem.open_output_stream(path, **self.stream_args))
        try:
            return stream, pq.ParquetWriter(stream, schema, **args)
        except BaseException:
            stream.close()
            raise

    def write_empty(self, path: str, schema: pa.Schema) -> None:
        """Writes a file without rows."""
        stream, writer = self.open(path, self.parquet_args.get("schema") or schema)
        with stream, writer:
            pass


class TaskFiles:
    """The files that one task is writing, by the folders that they belong to.

    Rows are held until they make a row group worth its while, and only then a file is opened.

    Args:
        options: How files are written.
        staging: The folder to write to.
        rows_max: Rows that a file has at most.
    """

    def __init__(self, options: ParquetOptions, staging: str, rows_max: int | None) -> None:
        self.rows = 0
        self._options = options
        self._staging = staging
        self._rows_max = rows_max
        self._files: dict[str, _File] = {}
        self._held_bytes = 0

    def add(
        self, folder: str, table: pa.Table, in_path: Sequence[pa.Field] = ()
    ) -> Iterator[pa.Table]:
        """Adds rows to the file of a folder; yields a row for each file that is full.

        Args:
            folder: Where the file will be, relative to the target.
            table: The rows.
            in_path: The columns that the folder tells.
        """
        self.rows += table.num_rows
        while table.num_rows:
            file = self._files.pop(folder, None)
            file = file or _File(self._options, self._staging, folder, in_path)
            self._files[folder] = file
            room = table.num_rows if self._rows_max is None else self._rows_max - file.rows
            self._held_bytes += file.hold(table.slice(0, room))
            table = table.slice(room)
            if file.is_due:
                yield from self._flush(file)
            if file.rows == self._rows_max:
                yield from self._close(folder)
        while self._held_bytes > _HELD_BYTES_MAX:
            yield from self._flush(max(self._files.values(), key=lambda file: file.held_bytes))

    def finish(self) -> Iterator[pa.Table]:
        """Closes all files and yields a row for each."""
        for folder in list(self._files):
            yield from self._close(folder)

    def discard(self) -> None:
        """Lets go of the files that are not finished; the commit or its abort deletes them."""
        for file in self._files.values():
            file.discard()
        self._files.clear()

    def _close(self, folder: str) -> Iterator[pa.Table]:
        file = self._files[folder]
        yield from self._flush(file)
        yield from file.close()
        self._files.pop(folder, None)

    def _flush(self, file: _File) -> Iterator[pa.Table]:
        """Writes what a file holds; where too many are open, the one longest unused is ended."""
        if not file.is_open:
            mine = [each for each in self._files.values() if each.is_open]
            while mine and _open_files.are_too_many():
                # What it holds goes into its next file.
                yield from mine.pop(0).close()
        self._held_bytes -= file.held_bytes
        yield from file.flush()


class _File:
    """One file, or where types change, several after each other."""

    def __init__(
        self,
        options: ParquetOptions,
        staging: str,
        folder: str,
        in_path: Sequence[pa.Field],
    ) -> None:
        self.rows = 0
        self.held_bytes = 0
        self._options = options
        self._staging = staging
        self._folder = folder
        self._in_path = in_path
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._path = ""
        self._written = 0
        self._stream: pa.NativeFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self._types = pa.schema([])
        self._schema: pa.Schema | None = options.parquet_args.get("schema")
        self._group_rows: int = options.parquet_args.get("row_group_size") or _GROUP_ROWS_MAX

    @property
    def is_open(self) -> bool:
        """Whether it holds a file of the process."""
        return self._writer is not None

    @property
    def is_due(self) -> bool:
        """Whether the rows held are worth a row group."""
        return self._held_rows >= self._group_rows or self.held_bytes >= _GROUP_BYTES

    def hold(self, table: pa.Table) -> int:
        """Adds rows, and returns their bytes."""
        size = block.nbytes(table)
        self.rows += table.num_rows
        self._held.append(table)
        self._held_rows += table.num_rows
        self.held_bytes += size
        return size

    def flush(self) -> Iterator[pa.Table]:
        """Writes what is held; yields a row if a file had to end since the types have changed."""
        if not self._held:
            return
        with writing(self._options.target, "the rows cannot be written as Parquet"):
            table = self._in_schema(block.concat(self._held))
            self._held, self._held_rows, self.held_bytes = [], 0, 0
            closed = None
            if self._writer is not None and not self._types.equals(table.schema):
                closed = self._end()
            if self._writer is None:
                self._begin(table.schema)
            if self._writer is not None:
                self._writer.write_table(block.align(table, self._writer.schema), self._group_rows)
            self._written += table.num_rows
        if closed is not None:
            yield closed

    def close(self) -> Iterator[pa.Table]:
        """Ends the file, if one is open, and yields its row."""
        if self._writer is not None:
            with writing(self._options.target, "the file cannot be finished"):
                closed = self._end()
            self.rows = self._held_rows
            yield closed

    def discard(self) -> None:
        """Ends the file as it is, since it will not be used."""
        if self._stream is not None:
            _open_files.remove()
            with suppress(OSError, pa.ArrowException), self._stream:
                # It would try to when it is collected, to a stream that is closed by then.
                if self._writer is not None:
                    self._writer.close()
            self._writer, self._stream = None, None

    def _in_schema(self, table: pa.Table) -> pa.Table:
        """Gives rows the types of the file, or types that hold those of the file as well.

        Raises:
            SchemaError: There are none. The files of a dataset must have one schema in the end.
        """
        if self._schema is not None:
            unknown = [name for name in table.column_names if name not in self._schema.names]
            if unknown:
                raise SchemaError(f"the schema to write lacks the columns {unknown}")
            return block.align(table, self._schema)
        if self._writer is None or self._types.equals(table.schema):
            return table
        return block.align(table, block.unify_schemas([self._types, table.schema]))

    def _begin(self, schema: pa.Schema) -> None:
        self._path = f"{self._staging}/{uuid.uuid4().hex}"
        # Other blocks may tell the fields of a struct that has none here: it is written again then.
        in_file = block.filled_schema(schema)
        try:
            self._stream, self._writer = self._options.open(self._path, in_file)
        except pa.ArrowNotImplementedError as error:
            raise unheld(schema) from error
        self._types = schema
        _open_files.add()
        note = partition_note(self._in_path)
        if note:
            self._writer.add_key_value_metadata(note)

    def _end(self) -> pa.Table:
        if self._writer is None or self._stream is None:
            raise WriteError("the file is not open", file=self._path)
        schema = self._types
        if self._in_path:
            schema = pa.schema([*schema, *self._in_path], schema.metadata)
        try:
            self._writer.close()
        finally:
            self._stream.close()
            _open_files.remove()
            self._writer, self._stream = None, None
        size = self._options.filesystem.get_file_info(self._path).size
        row = staged(self._path, self._folder, self._written, size or 0, schema)
        self._written = 0
        return row


def check_parquet_args(args: Mapping[str, Any]) -> None:
    """Tries the arguments on an empty file.

    Raises:
        ArgumentError: pyarrow does not take them.
    """
    if args.get("partitioning_flavor", "hive") != "hive":
        raise ArgumentError("partitioning_flavor can only be 'hive'")
    check_count("row_group_size", args.get("row_group_size"))
    schema = args.get("schema")
    check_kind("schema", schema, pa.Schema)
    others = {name: value for name, value in args.items() if name not in OUR_ARGS}
    trial = schema if schema is not None else pa.schema([("column", pa.int64())])
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), trial, **others).close()
    except (TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise ArgumentError(
            f"pyarrow.parquet.ParquetWriter refuses the options: {error}"
        ) from error


def can_be_read_back(args: Mapping[str, Any]) -> bool:
    """Tells whether files that are written so can be read with the same names and types."""
    return args.get("store_schema", True) and not {"flavor", "encryption_properties"} & set(args)


def unheld(schema: pa.Schema) -> SchemaError:
    """Says which column has a type that Parquet has not."""
    for field in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except pa.ArrowNotImplementedError as error:
            return SchemaError(
                f"column {field.name!r} of type {field.type} cannot be written as Parquet: "
                f"{str(error).strip()}; convert it before"
            )
    return SchemaError(f"the columns {schema.names} cannot be written together as Parquet")


class _OpenFiles:
    """How many files the tasks of this process have open for writing, all together."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self._count += 1

    def remove(self) -> None:
        with self._lock:
            self._count -= 1

    def are_too_many(self) -> bool:
        """Whether a task that has files open should end one before it opens another."""
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed == resource.RLIM_INFINITY:
            allowed = _OPEN_FILES_MAX * _OPEN_PART
        return self._count >= max(1, min(_OPEN_FILES_MAX, allowed // _OPEN_PART))


def staged(path: str | None, folder: str, rows: int, nbytes: int, schema: pa.Schema) -> pa.Table:
    """Makes the row that tells of a staged file."""
    row: dict[str, Any] = {"path": path, "folder": folder, "rows": rows, "bytes": nbytes}
    row |= {"schema": packed_schema(schema), "place": None}
    return pa.Table.from_pylist([row], schema=STAGED_SCHEMA)


#: Options that are not those of `pyarrow.parquet.ParquetWriter`.
OUR_ARGS = frozenset({"schema", "row_group_size", "partitioning_flavor"})
# As much is held for a row group; more makes files hardly smaller.
_GROUP_BYTES = 32 << 20
_GROUP_ROWS_MAX = 1 << 20
# For all files that a task writes, of which there are many with many partitions.
_HELD_BYTES_MAX = 64 << 20
# More open files would not make fewer of them in the end.
_OPEN_FILES_MAX = 128
# The rest of what the process may open is for what it reads, its libraries and its sockets.
_OPEN_PART = 4
_open_files = _OpenFiles()
