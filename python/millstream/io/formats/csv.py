"""Reading CSV with pyarrow.

Owns the plan and the format of CSV files: their headers, and the sample that decides the types of
columns. Must not know what happens to the rows. `millstream.io.formats.csv_rows` knows where rows
end, `millstream.io.formats.csv_cells` what cells mean.

The types are decided once, when the plan is made, so that no border of a block, unit or file
decides any: a later value that is not of its column's type is an error.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.fs as pa_fs

from millstream.blocks.common_type import common_type
from millstream.blocks.convert import nulls
from millstream.errors import ArgumentError, ReadError
from millstream.errors.checks import check_kind
from millstream.io.addresses import Paths
from millstream.io.file_options import CsvFiles
from millstream.io.files import Listing, list_files
from millstream.io.formats.csv_cells import Cells, cells_of, parse_options
from millstream.io.formats.csv_rows import Rows, ended
from millstream.io.lines import (
    WHOLE,
    Opening,
    Span,
    first_bad,
    first_lines,
    last_line_end,
    line_blocks,
    plan_lines,
    samples,
    without_mark,
)
from millstream.io.per_file import PathColumns
from millstream.io.source import Source, blaming


def plan_csv(
    paths: Paths,
    files: CsvFiles,
    *,
    read_options: pa_csv.ReadOptions | None = None,
    parse_options: pa_csv.ParseOptions | None = None,
    convert_options: pa_csv.ConvertOptions | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read CSV files; looks at a sample of them to decide the columns and their types.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, how they are opened, and the columns that their paths give.
        read_options: See `read_csv`.
        parse_options: See `read_csv`.
        convert_options: See `read_csv`.
        blocks: Exactly so many units, as far as there are bytes to split.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, there is nothing to read, or what the sample shows is
            broken.
    """
    check_kind("read_options", read_options, pa_csv.ReadOptions)
    check_kind("parse_options", parse_options, pa_csv.ParseOptions)
    check_kind("convert_options", convert_options, pa_csv.ConvertOptions)
    read = read_options or pa_csv.ReadOptions()
    format = CsvFormat(
        Opening.of(files.arrow_open_stream_args, read.encoding),
        read,
        parse_options or pa_csv.ParseOptions(),
        _convert_options(convert_options or pa_csv.ConvertOptions()),
        pa.schema([]),
    )
    listing = list_files(paths, files, reader="read_csv")
    format.opening.stream.require_not_empty(listing)
    format = _sampled(format, listing)
    added = PathColumns(files.partitioning, files.include_paths)
    return plan_lines("ReadCSV", listing, format, added, schema=format.schema, blocks=blocks)


def _convert_options(given: pa_csv.ConvertOptions) -> pa_csv.ConvertOptions:
    if not given.check_utf8:
        raise ArgumentError(
            "convert_options.check_utf8=False would take for text what is none; name the encoding "
            "with read_options=pyarrow.csv.ReadOptions(encoding=...)"
        )
    options = copy.copy(given)
    if options.null_values == pa_csv.ConvertOptions().null_values:
        # By default, "NA" would be null in some columns and text in others.
        options.null_values = [""]
    options.strings_can_be_null = True
    default = pa_csv.ConvertOptions()
    words = (options.true_values, options.false_values)
    is_default = words == (default.true_values, default.false_values)
    if is_default and not any(map(pa.types.is_boolean, options.column_types.values())):
        # By default, 1 beside "true" would be true, and 2 an error.
        options.true_values = [word for word in options.true_values if word != "1"]
        options.false_values = [word for word in options.false_values if word != "0"]
    return options


def _sampled(format: CsvFormat, listing: Listing) -> CsvFormat:
    """Returns the format with the columns and types that a sample of the files shows.

    Raises:
        ReadError: What the sample shows is broken, or a column that is wanted does not exist.
    """
    types: dict[str, pa.DataType] = {}
    for file, span, size in samples(listing, format.can_split):
        if span.start and not format.can_split(file.path):
            # Values go on over the ends of lines, as an earlier part has shown.
            continue
        with blaming(file.path, format.problem):
            format, found = format.over(span).inferred(listing.filesystem, file.path, size)
        for field in found:
            known = types.get(field.name, field.type)
            # Any cell is text.
            types[field.name] = common_type(known, field.type) or pa.string()
    wanted = format.convert.include_columns
    missing = [name for name in wanted if name not in types]
    if missing and not format.convert.include_missing_columns:
        raise ReadError(
            f"include_columns names {missing[0]!r}; the columns are {', '.join(map(repr, types))}",
            file=listing.paths[0],
        )
    types.update({name: format.convert.column_types.get(name, pa.null()) for name in missing})
    # Whatever comes where nothing was seen can be read as text.
    fields = [
        pa.field(name, pa.string() if pa.types.is_null(types[name]) else types[name])
        for name in wanted or types
    ]
    return replace(format, schema=pa.schema(fields), span=WHOLE)


@dataclass(frozen=True)
class _Head:
    """The columns of one file.

    Args:
        names: Their names.
        start: Where the first row begins.
    """

    names: list[str]
    start: int


@dataclass(frozen=True)
class CsvFormat:
    """A row of the file is a row.

    Args:
        opening: How files are opened.
        read_options: What is skipped, and where the names of the columns are.
        parse: How rows are written.
        convert: How values are written; `column_types` are those that the user gave.
        schema: All columns.
        span: Which part of a file is read.
    """

    opening: Opening
    read_options: pa_csv.ReadOptions
    parse: pa_csv.ParseOptions
    convert: pa_csv.ConvertOptions
    schema: pa.Schema
    span: Span = WHOLE
    problem: str = "cannot read this CSV file"

    def over(self, span: Span) -> CsvFormat:
        """Returns the format that reads the rows which begin in a range."""
        return replace(self, span=span)

    def can_split(self, path: str) -> bool:
        """Tells whether a file can be read in parts."""
        return self.opening.is_plain(path) and not self.parse.newlines_in_values

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the rows in the types of the schema."""
        head = self._head(filesystem, path)
        if head is None:
            return
        self._check_names(head.names, path)
        cells = Cells(head.names, self.parse, self.convert)
        present = [field for field in self.schema if field.name in head.names]
        types = {field.name: field.type for field in present}
        cut = Rows(self.parse).cut if self.parse.newlines_in_values else last_line_end
        with closing(self.opening.open(filesystem, path)) as file:
            for offset, data in line_blocks(file, self.span, first=head.start, cut=cut):
                try:
                    table = cells.table(data, types)
                    self._check_quotes(data, table.num_rows, len(head.names))
                except ValueError as error:
                    place = _Place(filesystem, path, offset)
                    raise self._error(place, data, cells, types, error) from error
                if table.num_rows:
                    yield self._with_all_columns(table)

    def inferred(
        self, filesystem: pa_fs.FileSystem, path: str, size: int
    ) -> tuple[CsvFormat, pa.Schema]:
        """Finds the types of the first rows, and whether values go on over the ends of lines.

        Args:
            filesystem: Where the file is.
            path: The file.
            size: About how many bytes are read.

        Returns:
            The format, and the columns; null is the type of those without a value.
        """
        head = self._head(filesystem, path)
        if head is None:
            return self, pa.schema([])
        with closing(self.opening.open(filesystem, path)) as file:
            # From the middle of a file on, only the ends of lines can be seen.
            cut = last_line_end if self.span.start else Rows(self.parse).cut
            found = line_blocks(file, self.span, first=head.start, cut=cut, size=size // 2)
            offset, data = first_lines(found, size)
        format = self
        if not self.span.start and self._spans_lines(data):
            format = replace(self, parse=parse_options(self.parse, newlines_in_values=True))
        cells = Cells(head.names, format.parse, self.convert)
        try:
            schema = cells.inferred(data)
            if not format.parse.invalid_row_handler:
                format._check_quotes(data, None, len(head.names))
        except ValueError as error:
            given = dict(self.convert.column_types)
            place = _Place(filesystem, path, offset)
            raise format._error(place, data, cells, given, error) from error
        return format, schema

    def _spans_lines(self, data: bytes) -> bool:
        return self._has_quote(data) and Rows(self.parse).spans_lines(data)

    def _has_quote(self, data: bytes) -> bool:
        return bool(self.parse.quote_char) and self.parse.quote_char.encode() in data

    def _check_names(self, names: Sequence[str], path: str) -> None:
        unknown = [name for name in names if name not in self.schema.names]
        if unknown and not self.convert.include_columns:
            raise ReadError(
                f"the column {unknown[0]!r} is in none of the files that were looked at to plan; "
                "name those that are wanted with "
                "convert_options=pyarrow.csv.ConvertOptions(include_columns=[...])",
                file=path,
            )

    def _with_all_columns(self, table: pa.Table) -> pa.Table:
        if not self.schema.names:
            return table.select([])
        columns = [
            table.column(field.name)
            if field.name in table.column_names
            else nulls(table.num_rows, field.type)
            for field in self.schema
        ]
        return pa.table(columns, schema=self.schema)

    def _head(self, filesystem: pa_fs.FileSystem, path: str) -> _Head | None:
        """Reads the names of the columns; `None`: there are none in the file.

        Raises:
            ReadError: Two columns have one name, or the header does not end.
        """
        data, is_all, found = b"", False, None
        with closing(self.opening.open(filesystem, path)) as file:
            while found is None and not is_all:
                more = file.read(max(_HEAD_BYTES, len(data)))
                data, is_all = data + more, not more
                found = self._head_of(ended(data) if is_all else data)
                if found is None and len(data) > _HEAD_BYTES_MAX:
                    raise ReadError(f"no header ends in the first {len(data)} bytes", file=path)
        if found is None:
            if data[without_mark(data) :].strip():
                raise ReadError("the file ends in its header, or before it", file=path)
            return None
        twice = [name for name in found.names if found.names.count(name) > 1]
        if twice:
            raise ReadError(
                f"there are two columns {twice[0]!r}; give them names with read_options="
                "pyarrow.csv.ReadOptions(column_names=[...], skip_rows=1)",
                file=path,
            )
        return _Head(found.names, min(found.start, len(data)))

    def _head_of(self, data: bytes) -> _Head | None:
        """Finds the names in the first bytes of a file, if these are enough."""
        options, place = self.read_options, without_mark(data)
        for _ in range(options.skip_rows):
            place = data.find(b"\n", place) + 1
            if not place:
                return None
        names = list(options.column_names or ())
        if names:
            return _Head(names, place)
        while data[place : place + 1] in (b"\r", b"\n"):
            place += 1
        pattern = Rows(self.parse).row
        row = pattern.match(data, place)
        if row is None:
            return None
        names = cells_of(row[0], self.parse)
        if options.autogenerate_column_names:
            return _Head([f"f{index}" for index in range(len(names))], place)
        for _ in range(options.skip_rows_after_names):
            row = pattern.match(data, row.end())
            if row is None:
                return None
        return _Head(names, row.end())

    def _check_quotes(self, data: bytes, rows: int | None, columns: int) -> None:
        """Refuses quotes that are not closed where a line or the file ends.

        Raises:
            _QuoteError: There is one.
        """
        if not self._has_quote(data):
            return
        if self.parse.newlines_in_values:
            if not Rows(self.parse).is_whole(data):
                raise _QuoteError("a quoted value is not closed")
            return
        if rows is None or self.parse.invalid_row_handler:
            is_right = not self._spans_lines(data)
        else:
            is_right = rows >= data.count(b"\n") + (not data.endswith(b"\n"))
            is_right = is_right or rows >= _lines_in(data, with_blank=columns == 1)
        last = data[data.rfind(b"\n", 0, len(data) - 1) + 1 :]
        if not is_right or not Rows(self.parse).is_whole(last):
            raise _QuoteError("a quoted value is not closed where its line ends")

    def _error(
        self,
        place: _Place,
        data: bytes,
        cells: Cells,
        types: dict[str, pa.DataType],
        error: ValueError,
    ) -> ReadError:
        """Finds the row that is to blame for an error."""
        rows, spans = Rows(self.parse), self.parse.newlines_in_values
        lines = rows.split(data) if spans else data.splitlines(keepends=True)
        if self._has_quote(data):
            for index, line in enumerate(lines):
                if not rows.is_whole(line):
                    what = " has a quoted value that is not closed" + ("" if spans else _SPANS_HINT)
                    return place.error(lines[:index], self.opening, what)

        def is_right(part: bytes) -> bool:
            try:
                cells.table(part, types)
            except ValueError:
                return False
            return True

        index = first_bad(lines, is_right)
        problem = cells.problem_of(lines[index], types)
        return place.error(lines[:index], self.opening, problem or f" or a later one: {error}")


class _QuoteError(ValueError):
    """A quote is not closed where it should be."""


@dataclass(frozen=True)
class _Place:
    """Where a block of rows begins."""

    filesystem: pa_fs.FileSystem
    path: str
    offset: int

    def error(self, before: Sequence[bytes], opening: Opening, what: str) -> ReadError:
        """Returns the error of the row that comes after others in the block."""
        offset = self.offset + sum(map(len, before))
        line = opening.line_at(self.filesystem, self.path, offset)
        return ReadError(f"{line}{what}", file=self.path)


def _lines_in(data: bytes, *, with_blank: bool) -> int:
    lines = data.split(b"\n")
    count = len(lines) - (not lines[-1])
    return count if with_blank else sum(1 for line in lines if line.rstrip(b"\r"))


_SPANS_HINT = (
    "; if values go on over several lines, pass "
    "parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)"
)
_HEAD_BYTES = 64 << 10
_HEAD_BYTES_MAX = 64 << 20
