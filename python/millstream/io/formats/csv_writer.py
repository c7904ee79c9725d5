"""Writing CSV: what `pyarrow.csv.CSVWriter` is asked for, and how files are read back.

Owns the options of the format, and which types have a form in it. `millstream.io.sink` owns all
else about writing files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from millstream.errors import ArgumentError, SchemaError
from millstream.errors.checks import check_function
from millstream.io.addresses import Path
from millstream.io.commit import FolderCommit
from millstream.io.file_format import PlainFormat
from millstream.io.sink import WriteFiles, plan_write_files
from millstream.io.sink_options import SinkOptions


def plan_write_csv(
    path: Path,
    options: SinkOptions,
    *,
    arrow_csv_args_fn: Callable[[], Mapping[str, Any]] | None = None,
    is_divided: bool = False,
    **arrow_csv_args: Any,
) -> tuple[WriteFiles, FolderCommit]:
    """Plans to write CSV files into a folder.

    Args:
        path: The folder.
        options: What all writers of files take.
        arrow_csv_args_fn: Gives further `arrow_csv_args`, called in the workers.
        is_divided: Whether the user has said into how many blocks the rows are divided.
        arrow_csv_args: For `pyarrow.csv.CSVWriter`.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    check_function(
        "arrow_csv_args_fn", arrow_csv_args_fn, "a function that returns a dict, or None"
    )
    _check_args(arrow_csv_args)
    format = CsvFormat(_named(arrow_csv_args), arrow_csv_args_fn)
    return plan_write_files(path, options, format, is_divided=is_divided)


@dataclass(frozen=True)
class CsvFormat(PlainFormat):
    """CSV files (`FileFormat`): nulls are empty cells, and empty text is `""`.

    Args:
        args: For `pyarrow.csv.CSVWriter`: `write_options` by names, since pyarrow's own object does
            not pickle.
        args_fn: Gives further `args`, called where files are written.
    """

    args: Mapping[str, Any] = field(default_factory=dict)
    args_fn: Callable[[], Mapping[str, Any]] | None = None
    name: str = "CSV"
    extension: str = "csv"

    @property
    def _options(self) -> pa_csv.WriteOptions:
        return pa_csv.WriteOptions(**self.args.get("write_options", {}))

    @property
    def can_be_read_back(self) -> bool:
        """Whether null and empty text look different."""
        return bool(self._options.quoting_style != "none")

    def settled(self) -> CsvFormat:
        """The same with what `args_fn` gives.

        Raises:
            ArgumentError: pyarrow does not take it.
        """
        if self.args_fn is None:
            return self
        more = dict(self.args_fn())
        _check_args(more)
        return replace(self, args={**self.args, **_named(more)}, args_fn=None)

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns whose values are no text and no number that text could tell exactly.

        Raises:
            SchemaError: There is one.
        """
        for each in schema:
            if not _is_cell(each.type):
                raise SchemaError(
                    f"column {each.name!r} of type {each.type} cannot be written as CSV; make text "
                    "or numbers of it before, or drop it"
                )

    def stored(self, schema: pa.Schema) -> pa.Schema:
        """The columns that `read_back` gives: no dictionaries, decimals of one width."""
        return pa.schema([each.with_type(_cell_type(each.type)) for each in schema])

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> _CsvWriter:
        """Begins a file with its header.

        Raises:
            SchemaError: CSV cannot hold a column.
        """
        self.check(schema)
        stored = self.stored(schema)
        args = {**self.args, "write_options": self._options}
        return _CsvWriter(pa_csv.CSVWriter(stream, stored, **args), stored)

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yields the rows of a file, with the types that they were written with."""
        options = self._options
        stored = self.stored(schema)
        reader = pa_csv.open_csv(
            file,
            read_options=pa_csv.ReadOptions(
                use_threads=False,
                block_size=_BLOCK_BYTES,
                column_names=None if options.include_header else schema.names,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=options.delimiter,
                newlines_in_values=True,
                # A null in the only column is a blank line.
                ignore_empty_lines=len(stored) > 1,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=stored,
                null_values=[getattr(options, "null_string", "")],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield pa.Table.from_batches([batch])


class _CsvWriter:
    """A CSV file that is being written."""

    def __init__(self, writer: pa_csv.CSVWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table.cast(self._schema))

    def close(self) -> None:
        self._writer.close()


def _check_args(args: Mapping[str, Any]) -> None:
    """Tries the arguments on an empty file.

    Raises:
        ArgumentError: pyarrow does not take them.
    """
    try:
        trial = pa.schema([("column", pa.int64())])
        pa_csv.CSVWriter(pa.BufferOutputStream(), trial, **args).close()
    except (TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise ArgumentError(f"pyarrow.csv.CSVWriter refuses the options: {error}") from error


def _named(args: Mapping[str, Any]) -> dict[str, Any]:
    """The same arguments with the options by their names."""
    options = args.get("write_options")
    if options is None:
        return {name: value for name, value in args.items() if name != "write_options"}
    names = [name for name in dir(options) if not name.startswith("_") and name != "validate"]
    return {**args, "write_options": {name: getattr(options, name) for name in names}}


def _cell_type(type: pa.DataType) -> pa.DataType:
    """The type that `read_back` gives, of those that pyarrow reads."""
    if pa.types.is_dictionary(type):
        return _cell_type(type.value_type)
    if pa.types.is_decimal(type) and type.precision <= _DIGITS_MAX:
        return pa.decimal128(type.precision, type.scale)
    return type


def _is_cell(type: pa.DataType) -> bool:
    kind, types = _cell_type(type), pa.types
    is_number = types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind)
    is_text = types.is_string(kind) or types.is_large_string(kind)
    is_time = types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind)
    is_other = types.is_boolean(kind) or types.is_decimal128(kind) or types.is_null(kind)
    return bool(is_number or is_text or is_time or is_other)


_BLOCK_BYTES = 8 << 20
# Of a decimal of 128 bits.
_DIGITS_MAX = 38
