"""Where the rows of a CSV file end, by its quotes.

Owns the pattern of a row, as pyarrow parses it. Must not know columns or types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import pyarrow.csv as pa_csv


@dataclass(frozen=True)
class Rows:
    """Finds the rows in bytes that begin with one.

    Args:
        parse: How the file is written.
    """

    parse: pa_csv.ParseOptions

    @cached_property
    def row(self) -> re.Pattern[bytes]:
        """Matches a row with its end."""
        return _row(*_marks(self.parse))

    @cached_property
    def rows(self) -> re.Pattern[bytes]:
        """Matches all whole rows from somewhere on."""
        return _rows(*_marks(self.parse))

    def cut(self, data: bytes) -> int:
        """Returns where the last whole row ends."""
        found = self.rows.match(data)
        return found.end() if found else 0

    def split(self, data: bytes) -> list[bytes]:
        """Returns the rows; the last may not be whole."""
        found, place = [], 0
        while row := self.row.match(data, place):
            found.append(row[0])
            place = row.end()
        return [*found, data[place:]] if place < len(data) else found

    def is_whole(self, data: bytes) -> bool:
        """Tells whether the quotes of the last row are closed, with or without a newline."""
        return self.cut(ended(data)) >= len(data)

    def spans_lines(self, data: bytes) -> bool:
        """Tells whether a quoted value goes on over the end of a line."""
        if not self.parse.quote_char or self.parse.quote_char.encode() not in data:
            return False
        rows = self.split(data)
        if self.cut(data) < len(data):
            # Where the last row ends is not known.
            rows.pop()
        return any(b"\n" in row.rstrip(b"\r\n") for row in rows)


def ended(data: bytes) -> bytes:
    """Returns the bytes with a newline at their end."""
    return data if data.endswith(b"\n") else data + b"\n"


def _marks(parse: pa_csv.ParseOptions) -> tuple[Any, ...]:
    return parse.delimiter, parse.quote_char or "", parse.escape_char or "", parse.double_quote


@lru_cache(maxsize=16)
def _row(delimiter: str, quote: str, escape: str, double: bool) -> re.Pattern[bytes]:
    return re.compile(_pattern(delimiter, quote, escape, double), re.DOTALL)


@lru_cache(maxsize=16)
def _rows(delimiter: str, quote: str, escape: str, double: bool) -> re.Pattern[bytes]:
    return re.compile(b"(?:" + _pattern(delimiter, quote, escape, double) + b")*+", re.DOTALL)


def _pattern(delimiter: str, quote: str, escape: str, double: bool) -> bytes:
    d, q, e = (re.escape(mark.encode()) for mark in (delimiter, quote, escape))
    escaped = b"|" + e + b"." if escape else b""
    rest = b"(?:[^\r\n" + d + e + b"]++" + escaped + b")*+"
    value = rest
    if quote:
        doubled = b"|" + q + q if double else b""
        quoted = q + b"(?:[^" + q + e + b"]++" + doubled + escaped + b")*+" + q
        value = b"(?:" + quoted + b"|(?!" + q + b"))" + rest
    end = b"(?:\r\n|\n|\r(?=[^\n]))"
    return value + b"(?:" + d + value + b")*+" + end
