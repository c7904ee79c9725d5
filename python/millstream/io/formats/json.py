"""Reading JSON with pyarrow: an object a line, an array of objects, or objects one after another.

Owns the plan and the format of JSON files, and the sample that decides the types of columns. Must
not know what happens to the rows. `millstream.io.formats.json_values` knows types and where values
end.

The types are decided once, when the plan is made, so that no border of a block, unit or file
decides any: a later value that is not of its column's type is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.json as pa_json

from millstream.blocks.common_type import common_type
from millstream.errors import ArgumentError, ReadError
from millstream.errors.checks import check_flag, check_kind
from millstream.io import lines as io_lines
from millstream.io.addresses import Paths
from millstream.io.file_options import JsonFiles
from millstream.io.files import Listing, list_files
from millstream.io.formats.json_values import (
    Values,
    fields_of,
    has_large_floats,
    objects_in,
    problem_of,
    settled,
)
from millstream.io.lines import (
    WHOLE,
    Opening,
    Span,
    first_bad,
    first_lines,
    line_blocks,
    plan_lines,
    samples,
    without_mark,
)
from millstream.io.per_file import PathColumns
from millstream.io.source import Source, blaming


def plan_json(
    paths: Paths,
    files: JsonFiles,
    *,
    lines: bool = False,
    read_options: pa_json.ReadOptions | None = None,
    parse_options: pa_json.ParseOptions | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read JSON files; looks at a sample of them to decide the columns and their types.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, how they are opened, and the columns that their paths give.
        lines: See `read_json`.
        read_options: See `read_json`.
        parse_options: See `read_json`.
        blocks: Exactly so many units, as far as there are bytes to split.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, there is nothing to read, or what the sample shows is
            broken.
    """
    check_flag("lines", lines)
    check_kind("read_options", read_options, pa_json.ReadOptions)
    check_kind("parse_options", parse_options, pa_json.ParseOptions)
    parse = parse_options or pa_json.ParseOptions()
    if parse.explicit_schema is None and parse.unexpected_field_behavior != "infer":
        raise ArgumentError(
            f"unexpected_field_behavior={parse.unexpected_field_behavior!r} needs an "
            "explicit_schema that says which fields are expected"
        )
    given = parse.explicit_schema if parse.explicit_schema is not None else pa.schema([])
    opening = Opening.of(files.arrow_open_stream_args)
    ignores = parse.unexpected_field_behavior == "ignore"
    format = JsonFormat(opening, lines, given, ignores)
    listing = list_files(paths, files, reader="read_json")
    opening.stream.require_not_empty(listing)
    if parse.unexpected_field_behavior == "infer":
        format = _sampled(format, listing)
    added = PathColumns(files.partitioning, files.include_paths)
    return plan_lines("ReadJSON", listing, format, added, schema=format.schema, blocks=blocks)


def _sampled(format: JsonFormat, listing: Listing) -> JsonFormat:
    """Returns the format with the columns and types that a sample of the files shows.

    Raises:
        ReadError: What the sample shows is broken, or has types that do not go together.
    """
    types = {field.name: field.type for field in format.schema}
    given = set(types)
    for file, span, size in samples(listing, format.can_split):
        with blaming(file.path, format.problem):
            rows = format.over(span).sample(listing.filesystem, file.path, size)
            rows = [{k: v for k, v in row.items() if k not in given} for row in rows]
            found = fields_of(rows)
        for field in found:
            known = types.get(field.name, field.type)
            types[field.name] = _common(known, field, file.path)
    fields = [(name, type if name in given else settled(type)) for name, type in types.items()]
    return replace(format, schema=pa.schema(fields))


def _common(known: pa.DataType, field: pa.Field, path: str) -> pa.DataType:
    found = common_type(known, field.type)
    if found is None:
        raise ReadError(
            f"column {field.name!r} is {known} in other files or places and {field.type} here, "
            "which no type holds together; give the types with "
            "parse_options=pyarrow.json.ParseOptions(explicit_schema=pyarrow.schema(...))",
            file=path,
        )
    return found


@dataclass(frozen=True)
class _Head:
    """How a file is written.

    Args:
        shape: `"lines"`: an object on each line; `"array"`: an array of objects; `"values"`:
            objects one after another.
        start: Where the text begins.
    """

    shape: Literal["lines", "array", "values"]
    start: int


@dataclass(frozen=True)
class JsonFormat:
    """An object is a row.

    Args:
        opening: How files are opened.
        lines: Whether all files have an object on each line.
        schema: All columns.
        ignores: Whether other keys are left out, instead of being an error.
        span: Which part of a file is read.
    """

    opening: Opening
    lines: bool
    schema: pa.Schema
    ignores: bool
    span: Span = WHOLE
    problem: str = "cannot read this JSON file"

    def over(self, span: Span) -> JsonFormat:
        """Returns the format that reads the lines which begin in a range."""
        return replace(self, span=span)

    def can_split(self, path: str) -> bool:
        """Tells whether a file can be read in parts; if it has no lines, the first reads all."""
        return self.opening.is_plain(path)

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the objects in the types of the schema."""
        head = self._head(filesystem, path)
        if head is None:
            return
        if head.shape == "lines":
            found = self._line_tables(filesystem, path, head)
        elif self.span.start == 0:
            found = self._value_tables(filesystem, path, head)
        else:
            return
        yield from (table for table in found if table.num_rows)

    def sample(self, filesystem: pa_fs.FileSystem, path: str, size: int) -> list[dict[str, Any]]:
        """Returns the first objects of about so many bytes.

        Raises:
            ReadError: They are no objects.
        """
        head = self._head(filesystem, path)
        if head is None or (head.shape != "lines" and self.span.start):
            return []
        found: list[Any] = []
        with closing(self.opening.open(filesystem, path)) as file:
            if head.shape == "lines":
                blocks = line_blocks(file, self.span, first=head.start, size=size // 2)
                offset, data = first_lines(blocks, size)
                try:
                    found.extend(objects_in(data.decode()))
                except ValueError as error:
                    where = partial(self.opening.line_at, filesystem, path)
                    raise self._line_error(where, offset, data, path, error) from error
            else:
                left = size
                for _, text in Values(file, head.shape == "array", size):
                    found.append(json.loads(text, strict=False))
                    left -= len(text)
                    if left < 0:
                        break
        # What is no object is an error, with its line, when it is read.
        return [value for value in found if isinstance(value, dict)]

    def _head(self, filesystem: pa_fs.FileSystem, path: str) -> _Head | None:
        """Finds how a file is written; `None`: there is nothing in it."""
        data, line, is_all = b"", b"", False
        with closing(self.opening.open(filesystem, path)) as file:
            while not is_all and b"\n" not in line:
                more = file.read(max(_HEAD_BYTES, len(data)))
                data, is_all = data + more, not more
                line = data[without_mark(data) :].lstrip()
                if self.lines or line.startswith(b"["):
                    break
        start = without_mark(data)
        if self.lines:
            return _Head("lines", start)
        if not line:
            return None
        if line.startswith(b"["):
            return _Head("array", start)
        try:
            list(objects_in(line.split(b"\n")[0].decode(errors="replace")))
        except ValueError:
            return _Head("values", start)
        return _Head("lines", start)

    def _line_tables(
        self, filesystem: pa_fs.FileSystem, path: str, head: _Head
    ) -> Iterator[pa.Table]:
        with closing(self.opening.open(filesystem, path)) as file:
            for offset, data in line_blocks(file, self.span, first=head.start):
                try:
                    table = self._table(data)
                    if table.num_rows < data.count(b"\n") and table.num_rows < _lines_in(data):
                        raise ValueError("an object goes on over the end of its line")
                except ValueError as error:
                    where = partial(self.opening.line_at, filesystem, path)
                    raise self._line_error(where, offset, data, path, error) from error
                yield table

    def _value_tables(
        self, filesystem: pa_fs.FileSystem, path: str, head: _Head
    ) -> Iterator[pa.Table]:
        block_bytes = io_lines.BLOCK_BYTES
        numbers: list[int] = []
        texts: list[bytes] = []
        size = 0
        with closing(self.opening.open(filesystem, path)) as file:
            for number, text in Values(file, head.shape == "array", block_bytes):
                numbers.append(number)
                texts.append(text.encode() + b"\n")
                size += len(texts[-1])
                if size >= block_bytes:
                    yield self._table_of(texts, numbers, path)
                    numbers, texts, size = [], [], 0
            if texts:
                yield self._table_of(texts, numbers, path)

    def _table_of(self, texts: Sequence[bytes], numbers: Sequence[int], path: str) -> pa.Table:
        try:
            return self._table(b"".join(texts))
        except ValueError as error:
            index = first_bad(texts, self._is_right)
            problem = self._problem(texts[index]) or str(error)
            raise ReadError(f"line {numbers[index]}: {problem}", file=path) from error

    def _table(self, data: bytes) -> pa.Table:
        """Reads objects.

        Raises:
            ValueError: One is none, or does not fit the schema.
        """
        if not data.strip():
            return self.schema.empty_table()
        if not data.isascii():
            # pyarrow takes any bytes for text.
            data.decode()
        if _NULL.match(data) or _OBJECT_AND_NULL.search(data):
            # pyarrow would take it for an object of nulls.
            for value in objects_in(data.decode()):
                if value is None:
                    raise ValueError(problem_of(value, self.schema))
        read = pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1)
        parse = pa_json.ParseOptions(
            explicit_schema=self.schema,
            newlines_in_values=True,
            unexpected_field_behavior="ignore" if self.ignores else "error",
        )
        table = pa_json.read_json(pa.BufferReader(data), read, parse)
        if any(has_large_floats(column) for column in table.columns):
            for value in objects_in(data.decode()):
                if problem := self._misfit(value):
                    raise ValueError(problem)
        return table

    def _misfit(self, value: Any) -> str | None:
        if self.ignores and isinstance(value, dict):
            value = {key: value[key] for key in value if key in self.schema.names}
        return problem_of(value, self.schema)

    def _problem(self, data: bytes) -> str | None:
        """Says in words what is wrong with one object."""
        try:
            found = (self._misfit(value) for value in objects_in(data.decode()))
            return next((each for each in found if each), None)
        except ValueError as error:
            return f"this is no JSON object ({error}): {data[:80].decode(errors='replace')!r}"

    def _is_right(self, data: bytes) -> bool:
        try:
            self._table(data)
        except ValueError:
            return False
        return True

    def _line_error(
        self,
        where: Callable[[int], str],
        offset: int,
        data: bytes,
        path: str,
        error: ValueError,
    ) -> ReadError:
        """Finds the line that is to blame for an error."""
        parts = [line + b"\n" for line in data.split(b"\n")]

        def is_right(part: bytes) -> bool:
            try:
                list(objects_in(part.decode()))
            except ValueError:
                return False
            return True

        broken = next((i for i, part in enumerate(parts) if not is_right(part)), None)
        index = first_bad(parts, self._is_right) if broken is None else broken
        begin = offset + sum(map(len, parts[:index]))
        problem = self._problem(parts[index]) or str(error)
        return ReadError(f"{where(begin)}: {problem}", file=path)


def _lines_in(data: bytes) -> int:
    return sum(1 for line in data.split(b"\n") if line.strip())


_HEAD_BYTES = 64 << 10
#: Where null may stand in the place of an object: at the beginning, and after an object.
_NULL = re.compile(rb"\s*null")
_OBJECT_AND_NULL = re.compile(rb"\}\s*null")
