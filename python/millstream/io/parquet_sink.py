"""Writing Parquet: each task writes staged files, which the commit puts in place.

Owns what goes into which file. `millstream.io.commit` owns when files become visible.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq

from millstream.blocks import block
from millstream.errors import ArgumentError, SchemaError, WriteError
from millstream.io.commit import STAGED_SCHEMA, FolderCommit, patiently, writing
from millstream.io.files import Path, resolve
from millstream.io.partitioning import folder_of, to_text


def plan_write_parquet(
    path: Path,
    *,
    partition_cols: Sequence[str] | None = None,
    filesystem: Any = None,
    try_create_dir: bool = True,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    filename_provider: Any = None,
    arrow_parquet_args_fn: Callable[[], Mapping[str, Any]] | None = None,
    min_rows_per_file: int | None = None,
    max_rows_per_file: int | None = None,
    mode: object = "append",
    **arrow_parquet_args: Any,
) -> tuple[WriteParquet, FolderCommit]:
    """Plans to write Parquet files into a folder.

    Args:
        path: The folder.
        partition_cols: Columns whose values become Hive folders instead of being in the files.
        filesystem: From `pyarrow.fs` or fsspec; by default the path tells.
        try_create_dir: Whether the folder is made if it does not exist.
        arrow_open_stream_args: Passed to `open_output_stream` of the file system.
        filename_provider: Its `get_filename_for_task(run_id, index)` names the files.
        arrow_parquet_args_fn: Gives further `arrow_parquet_args`, called in the workers.
        min_rows_per_file: Rows that a file should have at least, as far as a task has as many.
        max_rows_per_file: Rows that a file has at most.
        mode: "append", "overwrite", "ignore" or "error".
        arrow_parquet_args: For `pyarrow.parquet.ParquetWriter`, and `row_group_size`.

    Returns:
        What the tasks do, and the driver's side of it.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    _check_rows(min_rows_per_file, max_rows_per_file)
    _check_parquet_args(arrow_parquet_args)
    filesystem, (target,) = resolve([path], filesystem)
    stream_args = dict(arrow_open_stream_args or {})
    if "compression" in stream_args:
        # A compressed stream is no Parquet file; within the file it is what was meant.
        arrow_parquet_args.setdefault("compression", stream_args.pop("compression"))
    options = ParquetOptions(filesystem, target, stream_args, arrow_parquet_args)
    commit = FolderCommit(
        filesystem,
        target,
        mode=mode,
        try_create_dir=try_create_dir,
        name_file=_namer(filename_provider),
        write_empty=options.write_empty,
    )
    transform = WriteParquet(
        options=options,
        staging=commit.staging,
        partition_cols=_check_partition_cols(partition_cols),
        min_rows_per_file=min_rows_per_file or 0,
        max_rows_per_file=max_rows_per_file,
        args_fn=arrow_parquet_args_fn,
    )
    return transform, commit


@dataclass(frozen=True)
class ParquetOptions:
    """How files are written.

    Args:
        filesystem: Where to.
        target: The folder, for messages.
        stream_args: For `open_output_stream`.
        parquet_args: For `pyarrow.parquet.ParquetWriter`, and `row_group_size`.
    """

    filesystem: pa_fs.FileSystem
    target: str
    stream_args: Mapping[str, Any]
    parquet_args: Mapping[str, Any]

    def open(self, path: str, schema: pa.Schema) -> tuple[pa.NativeFile, pq.ParquetWriter]:
        """Opens a file to write; the caller closes the writer, then the stream."""
        args = {k: v for k, v in self.parquet_args.items() if k not in _OUR_ARGS}
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


@dataclass(frozen=True)
class WriteParquet:
    """Writes the blocks of a task to staged files, and yields a row for each (`STAGED_SCHEMA`).

    A task writes one file, or one for each partition, and a further one where `max_rows_per_file`
    or a change of types demands it.

    Args:
        options: How files are written.
        staging: The folder to write to.
        partition_cols: Columns whose values become folders.
        min_rows_per_file: Rows that a task should get, so that its file has as many.
        max_rows_per_file: Rows that a file has at most.
        args_fn: Gives further arguments for the writer.
    """

    options: ParquetOptions
    staging: str
    partition_cols: tuple[str, ...] = ()
    min_rows_per_file: int = 0
    max_rows_per_file: int | None = None
    args_fn: Callable[[], Mapping[str, Any]] | None = None

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return "WriteParquet"

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that cannot be written so.

        Raises:
            SchemaError: A partition column does not exist, or no other is left.
        """
        block.require_columns(schema, self.partition_cols)
        if not set(block.visible_schema(schema).names) - set(self.partition_cols):
            raise SchemaError(
                "a Parquet file needs at least one column "
                f"besides the partition columns {list(self.partition_cols)}"
            )

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Makes it ready."""
        options = self.options
        if self.args_fn is not None:
            more = dict(self.args_fn())
            _check_parquet_args(more)
            args = {**options.parquet_args, **more}
            options = ParquetOptions(options.filesystem, options.target, options.stream_args, args)
        return lambda blocks: self._write(options, blocks)

    def _write(self, options: ParquetOptions, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        task = _TaskFiles(options, self.staging, self.max_rows_per_file)
        empty: pa.Schema | None = None
        try:
            for table in blocks:
                if table.num_rows == 0:
                    empty = block.visible_schema(table.schema)
                    continue
                self.check(table.schema)
                for folder, part in _partitions(block.plain(table), self.partition_cols):
                    yield from task.add(folder, part)
            yield from task.finish()
        finally:
            task.discard()
        if not task.rows and empty is not None:
            yield _staged(None, "", 0, 0, empty)


class _TaskFiles:
    """The files that one task is writing, by the folders that they belong to."""

    def __init__(self, options: ParquetOptions, staging: str, rows_max: int | None) -> None:
        self.rows = 0
        self._options = options
        self._staging = staging
        self._rows_max = rows_max
        self._open: dict[str, _File] = {}

    def add(self, folder: str, table: pa.Table) -> Iterator[pa.Table]:
        """Adds rows to the file of a folder; yields a row for each file that is full."""
        self.rows += table.num_rows
        while table.num_rows:
            file = self._open.pop(folder, None) or _File(self._options, self._staging, folder)
            self._open[folder] = file
            room = table.num_rows if self._rows_max is None else self._rows_max - file.rows
            yield from file.add(table.slice(0, room))
            table = table.slice(room)
            if file.rows == self._rows_max:
                yield from self._close(folder)
        while len(self._open) > _OPEN_FILES_MAX:
            yield from self._close(next(iter(self._open)))
        while sum(file.held_bytes for file in self._open.values()) > _HELD_BYTES_MAX:
            yield from max(self._open.values(), key=lambda file: file.held_bytes).flush()

    def finish(self) -> Iterator[pa.Table]:
        """Closes all files and yields a row for each."""
        for folder in list(self._open):
            yield from self._close(folder)

    def discard(self) -> None:
        """Lets go of the files that are not finished; the commit or its abort deletes them."""
        for file in self._open.values():
            file.discard()
        self._open.clear()

    def _close(self, folder: str) -> Iterator[pa.Table]:
        yield from self._open[folder].close()
        del self._open[folder]


class _File:
    """One file: rows are held until they make a row group worth its while."""

    def __init__(self, options: ParquetOptions, staging: str, folder: str) -> None:
        self.rows = 0
        self.held_bytes = 0
        self._options = options
        self._staging = staging
        self._folder = folder
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._path = ""
        self._written = 0
        self._stream: pa.NativeFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = options.parquet_args.get("schema")
        self._group_rows: int | None = options.parquet_args.get("row_group_size")

    def add(self, table: pa.Table) -> Iterator[pa.Table]:
        """Adds rows; yields a row if a file had to be closed since the types have changed."""
        self.rows += table.num_rows
        self._held.append(table)
        self._held_rows += table.num_rows
        self.held_bytes += block.nbytes(table)
        wanted = self._group_rows or _GROUP_ROWS_MAX
        if self._held_rows >= wanted or self.held_bytes >= _GROUP_BYTES:
            yield from self.flush()

    def flush(self) -> Iterator[pa.Table]:
        """Writes what is held; yields a row as `add` does."""
        if not self._held:
            return
        with writing(self._options.target, "the rows cannot be written as Parquet"):
            table = self._in_schema(block.concat(self._held))
            self._held, self._held_rows, self.held_bytes = [], 0, 0
            closed = None
            if self._writer is not None and not self._writer.schema.equals(table.schema):
                closed = self._end()
            if self._writer is None:
                self._path = f"{self._staging}/{uuid.uuid4().hex}"
                self._stream, self._writer = self._options.open(self._path, table.schema)
            self._writer.write_table(table, self._group_rows or _GROUP_ROWS_MAX)
            self._written += table.num_rows
        if closed is not None:
            yield closed

    def close(self) -> Iterator[pa.Table]:
        """Writes what is held and ends the file; yields its row."""
        yield from self.flush()
        if self._writer is not None:
            with writing(self._options.target, "the file cannot be finished"):
                closed = self._end()
            yield closed

    def discard(self) -> None:
        """Ends the file as it is, since it will not be used."""
        if self._stream is not None and not self._stream.closed:
            self._stream.close()

    def _in_schema(self, table: pa.Table) -> pa.Table:
        """Gives rows the types of the file where that loses nothing."""
        if self._schema is not None:
            unknown = [name for name in table.column_names if name not in self._schema.names]
            if unknown:
                raise SchemaError(f"the schema to write lacks the columns {unknown}")
            return block.align(table, self._schema)
        if self._writer is None:
            return table
        try:
            common = block.unify_schemas([self._writer.schema, table.schema])
        except SchemaError:
            return table
        return block.align(table, common) if common.equals(self._writer.schema) else table

    def _end(self) -> pa.Table:
        if self._writer is None or self._stream is None:
            raise WriteError("the file is not open", file=self._path)
        self._writer.close()
        self._stream.close()
        size = self._options.filesystem.get_file_info(self._path).size
        row = _staged(self._path, self._folder, self._written, size or 0, None)
        self._writer, self._stream, self._written = None, None, 0
        return row


def _staged(
    path: str | None, folder: str, rows: int, nbytes: int, schema: pa.Schema | None
) -> pa.Table:
    message = None if schema is None else schema.serialize().to_pybytes()
    row = {"path": path, "folder": folder, "rows": rows, "bytes": nbytes, "schema": message}
    return pa.Table.from_pylist([row], schema=STAGED_SCHEMA)


def _partitions(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Divides rows by their values in some columns, in order; yields folders and the other columns.

    Raises:
        WriteError: Values of such a type cannot be part of a path.
    """
    if not names:
        yield "", table
        return
    rest = table.drop_columns(list(names))
    codes = np.zeros(table.num_rows, np.int64)
    for name in names:
        numbers = _numbered(name, table.column(name))
        # Numbering anew keeps the product small, however many columns there are.
        _, codes = np.unique(codes * (numbers.max() + 1) + numbers, return_inverse=True)
    distinct, first, counts = np.unique(codes, return_index=True, return_counts=True)
    if len(distinct) == 1:
        yield _folder(table, names, 0), rest
        return
    order = pa.array(np.argsort(codes, kind="stable"))
    rest = rest.take(order)
    start = 0
    for row, count in zip(first, counts, strict=True):
        yield _folder(table, names, int(row)), rest.slice(start, int(count))
        start += int(count)


def _numbered(name: str, column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Gives equal values equal numbers; nulls are one value."""
    try:
        encoded = pc.dictionary_encode(column, null_encoding="encode").unify_dictionaries()
    except pa.ArrowNotImplementedError as error:
        raise WriteError(
            f"the partition column {name!r} has the type {column.type}, whose values cannot be "
            "compared"
        ) from error
    parts = [chunk.indices.fill_null(len(chunk.dictionary)) for chunk in encoded.chunks]
    return np.concatenate([part.to_numpy(zero_copy_only=False) for part in parts]).astype(np.int64)


def _folder(table: pa.Table, names: Sequence[str], row: int) -> str:
    values: dict[str, str | None] = {}
    for name in names:
        value = table.column(name)[row]
        try:
            values[name] = to_text(value)
        except ValueError as error:
            raise WriteError(
                f"the value {value} of the partition column {name!r} of type {value.type} "
                f"cannot be part of a path: {error}"
            ) from error
    return folder_of(values)


def _namer(provider: Any) -> Callable[[str, int], str]:
    if provider is None:
        return lambda run_id, index: f"{run_id}_{index:06}.parquet"
    if not hasattr(provider, "get_filename_for_task"):
        raise ArgumentError("filename_provider needs a method get_filename_for_task(run_id, index)")

    def name(run_id: str, index: int) -> str:
        given = str(provider.get_filename_for_task(run_id, index)).replace("{i}", "0")
        if not given or "/" in given:
            raise WriteError(f"filename_provider gave {given!r}, which is not the name of a file")
        return given if given.endswith(".parquet") else f"{given}.parquet"

    return name


def _check_rows(rows_min: Any, rows_max: Any) -> None:
    for name, rows in (("min_rows_per_file", rows_min), ("max_rows_per_file", rows_max)):
        if rows is None:
            continue
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise ArgumentError(f"{name} must be a positive integer, not {rows!r}")
    if rows_min is not None and rows_max is not None and rows_min > rows_max:
        raise ArgumentError(f"min_rows_per_file {rows_min} is above max_rows_per_file {rows_max}")


def _check_partition_cols(names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return ()
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(f"partition_cols must be a list of column names, not {names!r}")
    if len(set(names)) < len(names):
        raise ArgumentError(f"partition_cols names a column twice: {list(names)}")
    return tuple(names)


def _check_parquet_args(args: Mapping[str, Any]) -> None:
    """Tries the arguments on an empty file.

    Raises:
        ArgumentError: pyarrow does not take them.
    """
    if args.get("partitioning_flavor", "hive") != "hive":
        raise ArgumentError("partitioning_flavor can only be 'hive'")
    rows = args.get("row_group_size")
    if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
        raise ArgumentError(f"row_group_size must be a positive integer, not {rows!r}")
    schema = args.get("schema")
    if schema is not None and not isinstance(schema, pa.Schema):
        raise ArgumentError(f"schema must be a pyarrow.Schema, not {schema!r}")
    others = {name: value for name, value in args.items() if name not in _OUR_ARGS}
    trial = schema if schema is not None else pa.schema([("column", pa.int64())])
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), trial, **others).close()
    except (TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise ArgumentError(
            f"pyarrow.parquet.ParquetWriter refuses the options: {error}"
        ) from error


# Options that are not the writer's own.
_OUR_ARGS = frozenset({"schema", "row_group_size", "partitioning_flavor"})
# As much is held for a row group; more makes files hardly smaller.
_GROUP_BYTES = 32 << 20
_GROUP_ROWS_MAX = 1 << 20
# For all files that a task has open, of which there are many with many partitions.
_HELD_BYTES_MAX = 64 << 20
_OPEN_FILES_MAX = 128
