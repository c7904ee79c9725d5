"""Reading text, one row a line.

Owns the plan and the format of text files. Must not know what the text says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs

from millstream.errors import ReadError
from millstream.errors.checks import check_flag
from millstream.io.addresses import Paths
from millstream.io.file_options import TextFiles
from millstream.io.files import list_files
from millstream.io.lines import WHOLE, Opening, Span, line_blocks, plan_lines, without_mark
from millstream.io.per_file import PathColumns
from millstream.io.source import Source


def plan_text(
    paths: Paths,
    files: TextFiles,
    *,
    encoding: str = "utf-8",
    drop_empty_lines: bool = True,
    blocks: int | None = None,
) -> Source:
    """Plans to read lines into the column "text".

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, how they are opened, and the columns that their paths give.
        encoding: See `read_text`.
        drop_empty_lines: See `read_text`.
        blocks: Exactly so many units, as far as there are bytes to split.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, or there is nothing to read.
    """
    check_flag("drop_empty_lines", drop_empty_lines)
    opening = Opening.of(files.arrow_open_stream_args, encoding)
    format = TextFormat(opening, "utf-8", drop_empty_lines)
    if opening.encoding in _ONE_NEWLINE:
        # A part of such a file can be decoded without what comes before it.
        format = TextFormat(replace(opening, encoding="utf-8"), opening.encoding, drop_empty_lines)
    listing = list_files(paths, files, reader="read_text")
    opening.stream.require_not_empty(listing)
    added = PathColumns(files.partitioning, files.include_paths)
    return plan_lines("ReadText", listing, format, added, schema=_SCHEMA, blocks=blocks)


@dataclass(frozen=True)
class TextFormat:
    """A line is a row that holds its text.

    Args:
        opening: How files are opened.
        codec: How the lines are decoded.
        drop_empty: Whether lines are left out that have no characters but white space.
        span: Which part of a file is read.
    """

    opening: Opening
    codec: str
    drop_empty: bool
    span: Span = WHOLE
    problem: str = "cannot read this text"

    def over(self, span: Span) -> TextFormat:
        """Returns the format that reads the lines which begin in a range."""
        return replace(self, span=span)

    def can_split(self, path: str) -> bool:
        """Tells whether a file can be read in parts."""
        return self.opening.is_plain(path)

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the lines."""
        with closing(self.opening.open(filesystem, path)) as file:
            for offset, data in line_blocks(file, self.span):
                mark = without_mark(data) if offset == 0 and self.codec == "utf-8" else 0
                try:
                    text = data[mark:].decode(self.codec)
                except UnicodeDecodeError as error:
                    place = offset + mark + error.start
                    begin = offset + data.rfind(b"\n", 0, place - offset) + 1
                    line = self.opening.line_at(filesystem, path, begin)
                    raise ReadError(
                        f"{line} is not {self.codec}, at its byte {place - begin}: "
                        f"{error.reason}; name what it is with encoding=",
                        file=path,
                    ) from error
                table = self._table(text)
                if table.num_rows:
                    yield table

    def _table(self, text: str) -> pa.Table:
        text = text.replace("\r\n", "\n").removesuffix("\n")
        lines = pc.split_pattern(pa.array([text], pa.large_string()), "\n").values
        lines = lines.cast(pa.string())
        if self.drop_empty:
            lines = lines.filter(pc.not_equal(pc.utf8_trim_whitespace(lines), ""))
        return pa.table([lines], schema=_SCHEMA)


_SCHEMA = pa.schema([("text", pa.string())])
#: Encodings, by Python's names, in which the byte of a newline is nothing else.
_ONE_NEWLINE = frozenset(
    [
        *("utf-8", "ascii", "koi8-r", "koi8-u", "mac-roman", "cp437", "cp850", "cp866"),
        *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15"),
        *(f"cp125{number}" for number in range(9)),
        *("gb2312", "gbk", "gb18030", "big5", "cp932", "shift_jis", "euc_jp", "euc_kr", "cp949"),
    ]
)
