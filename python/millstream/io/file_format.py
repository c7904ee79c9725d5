"""What a format of files must offer so that datasets can be written in it.

Owns the contract between the formats and what is common to all of them: staging, files of a size,
partitions, one schema for all files, and the commit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.fs as pa_fs

Format = TypeVar("Format")


class TableWriter(Protocol):
    """A file that is being written."""

    def write(self, table: pa.Table) -> None:
        """Adds rows whose columns are those that the file was opened with.

        Raises:
            SchemaError: The format cannot hold a value; the error names the column.
        """

    def close(self) -> None:
        """Writes what is left, but does not close the stream."""


class FileFormat(Protocol):
    """A format of files; travels to the workers."""

    @property
    def name(self) -> str:
        """What people call it, and plans: `"Parquet"`."""

    @property
    def extension(self) -> str:
        """How the names of files end: `"parquet"`."""

    @property
    def schema(self) -> pa.Schema | None:
        """The columns that the user wants in each file, if they were given."""

    @property
    def group_rows(self) -> int:
        """Rows that are worth a write; fewer are held until there are more, or no more come."""

    @property
    def is_streamed(self) -> bool:
        """Whether `read_back` goes through a file from its begin to its end."""

    @property
    def can_be_read_back(self) -> bool:
        """Whether `read_back` gives what was written, so that small files may be put together."""

    @property
    def is_rewritten(self) -> bool:
        """Whether files may be read back and written again, for their size or their types.

        If not, all blocks must have columns of the same types, though some may lack columns.
        """

    def settled(self) -> FileFormat:
        """The same with what functions of the user give, called where it is written."""

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that the format cannot hold.

        Raises:
            SchemaError: It names the column and its type.
        """

    def stored(self, schema: pa.Schema) -> pa.Schema:
        """The columns that `read_back` gives of such rows: text in the place of times, perhaps."""

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> TableWriter:
        """Begins a file.

        Args:
            stream: Where its bytes go; the caller closes it.
            schema: The columns of the file.
            in_path: The columns that the path tells, for formats that can note them.

        Raises:
            SchemaError: The format cannot hold a column.
        """

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yields the rows of a file that was written so, in tables of bounded size.

        Args:
            file: The file; the caller closes it.
            schema: The columns that it was written with.
        """


class PlainFormat:
    """What most formats say: no columns of their own, no functions of the user, nothing changed."""

    @property
    def schema(self) -> pa.Schema | None:
        """None is wanted."""
        return None

    @property
    def group_rows(self) -> int:
        """As many as one write takes well."""
        return 1 << 20

    @property
    def is_streamed(self) -> bool:
        """It is."""
        return True

    @property
    def can_be_read_back(self) -> bool:
        """It can."""
        return True

    @property
    def is_rewritten(self) -> bool:
        """They may."""
        return True

    def settled(self: Format) -> Format:
        """The same."""
        return self

    def stored(self, schema: pa.Schema) -> pa.Schema:
        """The same."""
        return schema


class RecordFormat(PlainFormat, ABC):
    """What formats say whose records tell their own fields: files are written once."""

    @property
    def is_rewritten(self) -> bool:
        """They are not."""
        return False

    def check(self, schema: pa.Schema) -> None:
        """Refuses what a file would be refused for.

        Raises:
            SchemaError: The format cannot hold a column.
        """
        self.open(pa.BufferOutputStream(), schema, ())

    @abstractmethod
    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> TableWriter:
        """Begins a file; see `FileFormat`."""

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Is never asked for."""
        raise NotImplementedError


@dataclass(frozen=True)
class Destination:
    """Where files are written, and how.

    Args:
        filesystem: Where to.
        target: The folder, for messages.
        staging: The folder that tasks write to.
        format: What is in the files.
        stream_args: For `open_output_stream`.
    """

    filesystem: pa_fs.FileSystem
    target: str
    staging: str
    format: FileFormat
    stream_args: Mapping[str, Any]

    def open(self, path: str) -> pa.NativeFile:
        """Opens a stream for the bytes of a file."""
        return self.filesystem.open_output_stream(path, **self.stream_args)

    def open_back(self, path: str) -> pa.NativeFile:
        """Opens a file that was written so, to read it again."""
        compression = self.stream_args.get("compression")
        if compression:
            return self.filesystem.open_input_stream(path, compression=compression)
        return self.filesystem.open_input_file(path)

    def write_empty(self, path: str, schema: pa.Schema) -> None:
        """Writes a file without rows."""
        with self.open(path) as stream:
            self.format.open(stream, self.format.schema or schema, ()).close()
