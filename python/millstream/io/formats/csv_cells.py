"""From the cells of CSV rows to values.

Owns which cells are null, which types columns have, and what is wrong with a row. Must not know
files or plans.

An empty cell is null. A quoted one is the empty text in a column of text, and null in any other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from millstream.blocks.common_type import is_bytes, is_text

_Types = Mapping[str, pa.DataType]


@dataclass(frozen=True)
class Cells:
    """How cells are read.

    Args:
        names: All columns of the file, in order.
        parse: How rows are written.
        convert: How values are written; `column_types` are those that the user gave.
    """

    names: Sequence[str]
    parse: pa_csv.ParseOptions
    convert: pa_csv.ConvertOptions

    def table(self, data: bytes, types: _Types) -> pa.Table:
        """Reads some columns of rows.

        Raises:
            ValueError: A row has too many or too few cells, or a value is not of its type.
        """
        # Without a wanted column, any tells how many rows there are.
        table = self._parsed(data, types or {self.names[0]: pa.string()})
        for name, type in types.items():
            if pa.types.is_floating(type):
                self._check_floats(data, name, table.column(name))
        return table

    def inferred(self, data: bytes) -> pa.Schema:
        """Finds the types of the columns; null where there are no values.

        Raises:
            ValueError: A row has too many or too few cells.
        """
        wanted = self.convert.include_columns
        present = [name for name in self.names if not wanted or name in wanted]
        if not present:
            return pa.schema([])
        given = self.convert.column_types
        table = self._read(data, present, given, self.convert.quoted_strings_can_be_null)
        return pa.schema(
            field if field.name in given else field.with_type(self._settled(data, field, table))
            for field in table.schema
        )

    def problem_of(self, row: bytes, types: _Types) -> str | None:
        """Says in words what is wrong with one row; `None`: nothing."""
        try:
            row.decode()
        except UnicodeDecodeError:
            return (
                " is not UTF-8; name the encoding with "
                f"read_options=pyarrow.csv.ReadOptions(encoding=...): {_shown(row)}"
            )
        found = len(cells_of(row, self.parse))
        if found != len(self.names):
            return f" has {found} cells where there are {len(self.names)} columns: {_shown(row)}"
        for name, type in types.items():
            try:
                self.table(row, {name: type})
            except ValueError as error:
                return f", column {name!r}: {self._no(row, name, type, error)}"
        return None

    def _no(self, row: bytes, name: str, type: pa.DataType, error: ValueError) -> str:
        cell = self._texts(row, name)[0].as_py()
        why = f" ({error})" if isinstance(error, _InexactError) else ""
        return (
            f"{_shown(cell)} is no {type}{why}; if the sample that decided the type misled, give "
            f"the type with convert_options=pyarrow.csv.ConvertOptions(column_types={{{name!r}: "
            "pyarrow.string()}), and what else stands for null with null_values=[...]"
        )

    def _parsed(self, data: bytes, types: _Types) -> pa.Table:
        """Reads columns; pyarrow cannot treat quoted empty cells of some columns as null."""
        quoted = self.convert.quoted_strings_can_be_null
        texts = [name for name, type in types.items() if _holds_text(type)]
        others = [name for name in types if name not in texts]
        quote = self.parse.quote_char
        if not texts or not others or not quoted or not quote or 2 * quote.encode() not in data:
            return self._read(data, list(types), types, quoted and not texts)
        table = self._read(data, others, types, True)
        for name, column in zip(texts, self._read(data, texts, types, False).columns, strict=True):
            table = table.append_column(name, column)
        return table.select(list(types))

    def _read(self, data: bytes, columns: list[str], types: _Types, quoted: bool) -> pa.Table:
        convert = copy.copy(self.convert)
        # Where a block ends has been seen to.
        parse = parse_options(self.parse, newlines_in_values=True)
        # In a file of one column, a blank line is an empty cell.
        parse.ignore_empty_lines = parse.ignore_empty_lines and len(self.names) > 1
        convert.include_columns, convert.include_missing_columns = columns, False
        convert.column_types = dict(types)
        convert.quoted_strings_can_be_null = quoted
        if not data or (parse.ignore_empty_lines and not data.strip(b"\r\n")):
            known = [(name, types.get(name, pa.null())) for name in columns]
            return pa.schema(known).empty_table()
        read = pa_csv.ReadOptions(
            use_threads=False, block_size=len(data) + 1, column_names=list(self.names)
        )
        return pa_csv.read_csv(pa.BufferReader(data), read, parse, convert)

    def _texts(self, data: bytes, name: str) -> pa.ChunkedArray:
        quoted = self.convert.quoted_strings_can_be_null
        return self._read(data, [name], {name: pa.string()}, quoted).column(name)

    def _settled(self, data: bytes, field: pa.Field, table: pa.Table) -> pa.DataType:
        type = field.type
        if is_bytes(type):
            # What is no text is an error when it is read.
            return pa.string()
        if pa.types.is_timestamp(type) and type.unit == "s":
            # Room for the parts of seconds that come later.
            return pa.timestamp("us", type.tz)
        if not pa.types.is_floating(type):
            return type
        texts = self._texts(data, field.name)
        if pc.all(pc.match_substring_regex(texts, _WHOLE)).as_py():
            return self._whole_type(data, field.name)
        inexact = _inexact(texts, table.column(field.name))
        # What is too large for a float is an error when it is read.
        return pa.string() if inexact and _is_whole(inexact) else type

    def _whole_type(self, data: bytes, name: str) -> pa.DataType:
        """The type of integers that are too large for int64."""
        try:
            self._parsed(data, {name: pa.uint64()})
        except pa.ArrowInvalid:
            return pa.string()
        return pa.uint64()

    def _check_floats(self, data: bytes, name: str, column: pa.ChunkedArray) -> None:
        if pc.any(pc.greater_equal(pc.abs(column), _EXACT_MAX)).as_py():
            text = _inexact(self._texts(data, name), column)
            if text is not None:
                raise _InexactError(f"the nearest one is another number than {text}")


class _InexactError(ValueError):
    """A number is too large, or has too many digits, for a float."""


def parse_options(given: pa_csv.ParseOptions, **changed: Any) -> pa_csv.ParseOptions:
    """Returns options with some changed.

    Copies that pyarrow makes, and what comes back from a pickle, call a handler that is `None`.
    """
    names = [name for name in dir(given) if not name.startswith("_") and name not in _METHODS]
    options = {name: getattr(given, name) for name in names} | changed
    if options["invalid_row_handler"] is None:
        del options["invalid_row_handler"]
    return pa_csv.ParseOptions(**options)


def cells_of(row: bytes, parse: pa_csv.ParseOptions) -> list[str]:
    """Returns the cells of one row as text.

    Raises:
        ValueError: They are no text.
    """
    read = pa_csv.ReadOptions(use_threads=False, block_size=2 * len(row) + 2)
    parse = parse_options(parse, newlines_in_values=True, invalid_row_handler=None)
    row = row if row.endswith((b"\n", b"\r")) else row + b"\n"
    # What comes first is taken for the names of columns; something must follow.
    return list(pa_csv.read_csv(pa.BufferReader(row + row), read, parse).column_names)


def _inexact(texts: pa.ChunkedArray, floats: pa.ChunkedArray) -> str | None:
    """Returns the first text that is a finite number whose float is infinite or another integer."""
    large = pc.fill_null(pc.greater_equal(pc.abs(floats), _EXACT_MAX), False)
    texts, floats = texts.filter(large), floats.filter(large)
    is_whole = pc.match_substring_regex(texts, _WHOLE)
    is_named = pc.match_substring_regex(texts, "inf", ignore_case=True)
    is_lost = pc.and_(pc.is_inf(floats), pc.invert(is_named))
    suspect = pc.or_(is_whole, is_lost)
    pairs = zip(texts.filter(suspect).to_pylist(), floats.filter(suspect).to_pylist(), strict=True)
    for text, number in pairs:
        if number in (float("inf"), float("-inf")) or int(text) != int(number):
            return str(text)
    return None


def _is_whole(text: str) -> bool:
    return bool(pc.match_substring_regex(pa.scalar(text), _WHOLE).as_py())


def _holds_text(type: pa.DataType) -> bool:
    if pa.types.is_dictionary(type):
        return _holds_text(type.value_type)
    return is_text(type) or is_bytes(type)


def _shown(value: Any) -> str:
    text = value.decode(errors="replace").rstrip("\r\n") if isinstance(value, bytes) else value
    if text is None:
        return "an empty cell"
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")


_METHODS = ("equals", "validate")
_WHOLE = r"^\s*[+-]?[0-9]+\s*$"
# Up to here, each integer is a float of its own.
_EXACT_MAX = float(2**53)
_SHOWN_MAX = 80
