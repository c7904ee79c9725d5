"""What goes into which file: the files that one task writes.

Owns how much is written at a time, the change from one file to the next, and how many files a
process has open. `millstream.io.commit` owns when files become visible. Knows no format.
"""

from __future__ import annotations

import resource
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import SchemaError, WriteError
from millstream.io.commit import STAGED_SCHEMA, packed_schema, patiently, writing
from millstream.io.file_format import Destination, TableWriter


class TaskFiles:
    """The files that one task is writing, by the folders that they belong to.

    Rows are held until they are worth a write, and only then a file is opened.

    Args:
        destination: Where they are written, and how.
        rows_max: Rows that a file has at most.
    """

    def __init__(self, destination: Destination, rows_max: int | None) -> None:
        self.rows = 0
        self._destination = destination
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
            file = file or _File(self._destination, folder, in_path)
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

    def __init__(self, destination: Destination, folder: str, in_path: Sequence[pa.Field]) -> None:
        self.rows = 0
        self.held_bytes = 0
        self._destination = destination
        self._folder = folder
        self._in_path = in_path
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._path = ""
        self._written = 0
        self._stream: pa.NativeFile | None = None
        self._writer: TableWriter | None = None
        self._types = pa.schema([])

    @property
    def is_open(self) -> bool:
        """Whether it holds a file of the process."""
        return self._writer is not None

    @property
    def is_due(self) -> bool:
        """Whether the rows held are worth a write."""
        group_rows = self._destination.format.group_rows
        return self._held_rows >= group_rows or self.held_bytes >= _GROUP_BYTES

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
        problem = f"the rows cannot be written as {self._destination.format.name}"
        with writing(self._destination.target, problem):
            table = self._in_schema(block.concat(self._held))
            self._held, self._held_rows, self.held_bytes = [], 0, 0
            closed = None
            if self._writer is not None and not self._types.equals(table.schema):
                closed = self._end()
            if self._writer is None:
                self._begin(table.schema)
            if self._writer is not None:
                self._writer.write(table)
            self._written += table.num_rows
        if closed is not None:
            yield closed

    def close(self) -> Iterator[pa.Table]:
        """Ends the file, if one is open, and yields its row."""
        if self._writer is not None:
            with writing(self._destination.target, "the file cannot be finished"):
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
        wanted = self._destination.format.schema
        if wanted is not None:
            unknown = [name for name in table.column_names if name not in wanted.names]
            if unknown:
                raise SchemaError(f"the schema to write lacks the columns {unknown}")
            return block.align(table, wanted)
        if self._writer is None or self._types.equals(table.schema):
            return table
        return block.align(table, block.unify_schemas([self._types, table.schema]))

    def _begin(self, schema: pa.Schema) -> None:
        self._path = f"{self._destination.staging}/{uuid.uuid4().hex}"
        stream = patiently(lambda: self._destination.open(self._path))
        try:
            self._writer = self._destination.format.open(stream, schema, self._in_path)
        except BaseException:
            stream.close()
            raise
        self._stream = stream
        self._types = schema
        _open_files.add()

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
        size = self._destination.filesystem.get_file_info(self._path).size
        row = staged(self._path, self._folder, self._written, size or 0, schema)
        self._written = 0
        return row


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


# As much is held for a write; more makes files hardly smaller.
_GROUP_BYTES = 32 << 20
# For all files that a task writes, of which there are many with many partitions.
_HELD_BYTES_MAX = 64 << 20
# More open files would not make fewer of them in the end.
_OPEN_FILES_MAX = 128
# The rest of what the process may open is for what it reads, its libraries and its sockets.
_OPEN_PART = 4
_open_files = _OpenFiles()
