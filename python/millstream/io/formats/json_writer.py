"""Writing JSON lines: the values as JSON has them, and how files are read back.

Owns which types have a form in JSON. `millstream.io.sink` owns all else about writing files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks import tensor
from millstream.blocks.primitive import is_number
from millstream.errors import SchemaError
from millstream.io.file_format import PlainFormat


@dataclass(frozen=True)
class JsonFormat(PlainFormat):
    """JSON lines (`FileFormat`): an object for each row.

    Times, dates and decimals are text, tensors are lists.
    """

    name: str = "JSON"
    extension: str = "json"

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that have no form in JSON.

        Raises:
            SchemaError: There is one.
        """
        self.stored(schema)

    def stored(self, schema: pa.Schema) -> pa.Schema:
        """The columns that `read_back` gives: numbers, booleans, text, lists and structs."""
        return pa.schema([each.with_type(_stored_type(each, each.type)) for each in schema])

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> _JsonWriter:
        """Begins a file.

        Raises:
            SchemaError: JSON cannot hold a column.
        """
        return _JsonWriter(stream, self.stored(schema))

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yields the rows of a file."""
        stored = self.stored(schema)
        lines = TextIOWrapper(file, encoding="utf-8", newline="\n")
        while rows := [json.loads(line) for line in islice(lines, _ROWS)]:
            yield pa.Table.from_pylist(rows, schema=stored)
        lines.detach()


class _JsonWriter:
    """A file of JSON lines that is being written."""

    def __init__(self, stream: pa.NativeFile, schema: pa.Schema) -> None:
        self._stream = stream
        self._schema = schema

    def write(self, table: pa.Table) -> None:
        for start in range(0, table.num_rows, _ROWS):
            lines = "\n".join(_lines(table.slice(start, _ROWS), self._schema))
            self._stream.write(f"{lines}\n".encode())

    def close(self) -> None:
        """All has been written."""


def json_lines(table: pa.Table) -> list[str]:
    """The rows, each as an object.

    Raises:
        SchemaError: JSON has no form of a column, or of a value.
    """
    return _lines(table, JsonFormat().stored(table.schema))


def json_values(name: str, column: pa.ChunkedArray) -> list[str]:
    """The values of a column, each as JSON has it.

    Args:
        name: The column, for errors.
        column: Its values.

    Raises:
        SchemaError: JSON has no form of them.
    """
    table = pa.table({name: column})
    stored = JsonFormat().stored(table.schema)
    try:
        return list(map(_encoder.encode, _plain(column, stored.field(0).type).to_pylist()))
    except ValueError as error:
        raise _no_number(table, stored) from error


def _lines(table: pa.Table, stored: pa.Schema) -> list[str]:
    columns = [
        _plain(column, stored.field(name).type).to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    rows = (dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True))
    try:
        return list(map(_encoder.encode, rows))
    except ValueError as error:
        raise _no_number(table, stored) from error


def _no_number(table: pa.Table, stored: pa.Schema) -> SchemaError:
    for name, column in zip(table.column_names, table.columns, strict=True):
        for value in _plain(column, stored.field(name).type).to_pylist():
            try:
                _encoder.encode(value)
            except ValueError:
                return SchemaError(
                    f"column {name!r} has {value!r}, which is no number in JSON; put null or "
                    "text in its place before"
                )
    return SchemaError("a value is no number in JSON")


def _plain(column: pa.ChunkedArray, stored: pa.DataType) -> pa.ChunkedArray:
    """The values as what JSON has."""
    if column.type.equals(stored):
        return column
    chunks = [_plain_array(chunk, stored) for chunk in column.chunks]
    return pa.chunked_array(chunks, stored)


def _plain_array(array: pa.Array, stored: pa.DataType) -> pa.Array:
    types = pa.types
    if isinstance(array, pa.ExtensionArray):
        rows = tensor.to_numpy(pa.chunked_array([array]))
        return pa.array([None if row is None else row.tolist() for row in rows], stored)
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type.equals(stored):
        return array
    if types.is_struct(array.type):
        fields = [
            _plain_array(child, stored.field(place).type)
            for place, child in enumerate(array.flatten())
        ]
        return pa.StructArray.from_arrays(fields, fields=list(stored), mask=array.is_null())
    if types.is_list(stored) or types.is_large_list(stored):
        values = _plain_array(array.flatten(), stored.value_type)
        return _relisted(array, values, stored)
    if types.is_timestamp(array.type):
        text = pc.cast(array, pa.string())
        return pc.replace_substring(text, " ", "T", max_replacements=1)
    return pc.cast(array, stored)


def _relisted(array: pa.Array, values: pa.Array, stored: pa.DataType) -> pa.Array:
    """Lists of the same lengths, of other values."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths)])
    kind = pa.LargeListArray if pa.types.is_large_list(stored) else pa.ListArray
    if kind is pa.ListArray:
        offsets = offsets.cast(pa.int32())
    return kind.from_arrays(offsets, values, type=stored, mask=array.is_null())


def _stored_type(column: pa.Field, type: pa.DataType) -> pa.DataType:
    """What there is of a type in JSON.

    Raises:
        SchemaError: Nothing.
    """
    types = pa.types
    dimensions = tensor.dimensions_of(type) if tensor.is_tensor(type) else None
    if dimensions is not None:
        stored = type.value_type
        for _ in range(dimensions):
            stored = pa.list_(stored)
        return _stored_type(column, stored)
    if types.is_dictionary(type):
        return _stored_type(column, type.value_type)
    if types.is_struct(type):
        return pa.struct([each.with_type(_stored_type(column, each.type)) for each in type])
    if types.is_list(type) or types.is_fixed_size_list(type):
        return pa.list_(_stored_type(column, type.value_type))
    if types.is_large_list(type):
        return pa.large_list(_stored_type(column, type.value_type))
    if types.is_temporal(type) and not types.is_duration(type) and not types.is_interval(type):
        return pa.string()
    if types.is_decimal(type):
        return pa.string()
    is_text = types.is_string(type) or types.is_large_string(type)
    if is_number(type) or types.is_boolean(type) or types.is_null(type) or is_text:
        return type
    raise SchemaError(
        f"column {column.name!r} of type {column.type} cannot be written as JSON; make text, "
        "numbers, lists or structs of it before, or drop it"
    )


_ROWS = 1 << 13
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
