"""Writing Parquet: what `pyarrow.parquet.ParquetWriter` is asked for, and how files are read back.

Owns the options of the format. `millstream.io.sink` owns all else about writing files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millstream.blocks import block
from millstream.errors import ArgumentError, SchemaError
from millstream.errors.checks import check_count, check_function, check_kind
from millstream.io.addresses import Path
from millstream.io.commit import FolderCommit
from millstream.io.file_format import PlainFormat
from millstream.io.formats.parquet.file import (
    columns_of,
    open_parquet,
    partition_note,
    schema_of,
)
from millstream.io.formats.parquet.scan import batch_rows
from millstream.io.sink import WriteFiles, plan_write_files
from millstream.io.sink_options import SinkOptions


def plan_write_parquet(
    path: Path,
    options: SinkOptions,
    *,
    arrow_parquet_args_fn: Callable[[], Mapping[str, Any]] | None = None,
    is_divided: bool = False,
    **arrow_parquet_args: Any,
) -> tuple[WriteFiles, FolderCommit]:
    """Plans to write Parquet files into a folder.

    Args:
        path: The folder.
        options: What all writers of files take.
        arrow_parquet_args_fn: Gives further `arrow_parquet_args`, called in the workers.
        is_divided: Whether the user has said into how many blocks the rows are divided.
        arrow_parquet_args: For `pyarrow.parquet.ParquetWriter`, and `row_group_size`.

    Returns:
        What the tasks do, and the driver's side of it.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    check_function(
        "arrow_parquet_args_fn", arrow_parquet_args_fn, "a function that returns a dict, or None"
    )
    _check_args(arrow_parquet_args)
    stream_args = dict(options.arrow_open_stream_args or {})
    if "compression" in stream_args:
        # A compressed stream is no Parquet file; within the file it is what was meant.
        arrow_parquet_args.setdefault("compression", stream_args.pop("compression"))
    schema = arrow_parquet_args.get("schema")
    if schema is not None:
        in_file = [field for field in schema if field.name not in options.partitions]
        arrow_parquet_args["schema"] = pa.schema(in_file, schema.metadata)
    format = ParquetFormat(arrow_parquet_args, arrow_parquet_args_fn)
    return plan_write_files(path, options, format, stream_args=stream_args, is_divided=is_divided)


@dataclass(frozen=True)
class ParquetFormat(PlainFormat):
    """Parquet files (`FileFormat`).

    Args:
        args: For `pyarrow.parquet.ParquetWriter`, and `schema` and `row_group_size`.
        args_fn: Gives further `args`, called where files are written.
    """

    args: Mapping[str, Any] = field(default_factory=dict)
    args_fn: Callable[[], Mapping[str, Any]] | None = None
    name: str = "Parquet"
    extension: str = "parquet"

    @property
    def schema(self) -> pa.Schema | None:
        """The columns that the user wants in each file, if they were given."""
        return self.args.get("schema")

    @property
    def group_rows(self) -> int:
        """Rows of a row group at most."""
        return self.args.get("row_group_size") or _GROUP_ROWS_MAX

    @property
    def is_streamed(self) -> bool:
        """Its footer tells where the row groups are."""
        return False

    @property
    def can_be_read_back(self) -> bool:
        """Whether files can be read with the names and types that they were written with."""
        is_other = {"flavor", "encryption_properties"} & set(self.args)
        return self.args.get("store_schema", True) and not is_other

    def settled(self) -> ParquetFormat:
        """Returns the same with what `args_fn` gives.

        Raises:
            ArgumentError: pyarrow does not take it.
        """
        if self.args_fn is None:
            return self
        more = dict(self.args_fn())
        _check_args(more)
        return replace(self, args={**self.args, **more}, args_fn=None)

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that Parquet has not: structs without fields.

        Raises:
            SchemaError: There is one.
        """
        if not block.filled_schema(schema).equals(schema):
            raise _unheld(schema)

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> _ParquetWriter:
        """Begins a file, which notes the types of the columns that its path tells.

        Raises:
            SchemaError: Parquet has not the type of a column.
        """
        args = {name: value for name, value in self.args.items() if name not in _OUR_ARGS}
        # Other blocks may tell the fields of a struct that has none here: it is written again then.
        try:
            writer = pq.ParquetWriter(stream, block.filled_schema(schema), **args)
        except pa.ArrowNotImplementedError as error:
            raise _unheld(schema) from error
        note = partition_note(in_path)
        if note:
            writer.add_key_value_metadata(note)
        return _ParquetWriter(writer, self.group_rows)

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yields the rows of a file, with the types that they were written with."""
        parquet = open_parquet(file)
        written = schema_of(parquet)
        rows = batch_rows(parquet.metadata, range(parquet.metadata.num_row_groups))
        for batch in parquet.iter_batches(batch_size=rows, use_threads=False):
            yield columns_of(pa.Table.from_batches([batch]), written)


class _ParquetWriter:
    """A Parquet file that is being written."""

    def __init__(self, writer: pq.ParquetWriter, group_rows: int) -> None:
        self._writer = writer
        self._group_rows = group_rows

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(block.align(table, self._writer.schema), self._group_rows)

    def close(self) -> None:
        self._writer.close()


def _check_args(args: Mapping[str, Any]) -> None:
    """Tries the arguments on an empty file.

    Raises:
        ArgumentError: pyarrow does not take them.
    """
    if args.get("partitioning_flavor", "hive") != "hive":
        raise ArgumentError("partitioning_flavor can only be 'hive'")
    check_count("row_group_size", args.get("row_group_size"))
    schema = args.get("schema")
    check_kind("schema", schema, pa.Schema)
    others = {name: value for name, value in args.items() if name not in _OUR_ARGS}
    trial = schema if schema is not None else pa.schema([("column", pa.int64())])
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), trial, **others).close()
    except (TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise ArgumentError(
            f"pyarrow.parquet.ParquetWriter refuses the options: {error}"
        ) from error


def _unheld(schema: pa.Schema) -> SchemaError:
    """Says which column has a type that Parquet has not."""
    for each in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([each])).close()
        except pa.ArrowNotImplementedError as error:
            return SchemaError(
                f"column {each.name!r} of type {each.type} cannot be written as Parquet: "
                f"{str(error).strip()}; convert it before"
            )
    return SchemaError(f"the columns {schema.names} cannot be written together as Parquet")


#: Options that are not those of `pyarrow.parquet.ParquetWriter`.
_OUR_ARGS = frozenset({"schema", "row_group_size", "partitioning_flavor"})
_GROUP_ROWS_MAX = 1 << 20
