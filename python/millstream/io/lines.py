"""Files of lines: how they are opened, cut into ranges of bytes, and read a block at a time.

Owns what CSV, JSON and plain text have in common: compression, the units, and where in a file
something is. Must not know what is in a line.

A line belongs to the range of bytes in which it begins, so that each is read once.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import ArgumentError, ReadError
from millstream.io.addresses import is_of_one_process
from millstream.io.files import Listing, open_file
from millstream.io.formats.compressed import StreamOptions
from millstream.io.per_file import FileScan, FileUnit, Format, PathColumns
from millstream.io.source import Source, group_by_weight, shares_of, split_rows
from millstream.io.walk import InputFile

#: Returns where the last whole line ends in bytes that begin with a line; 0: none ends there.
Cut = Callable[[bytes], int]


@dataclass(frozen=True)
class Opening:
    """How a file becomes a stream of text.

    Args:
        stream: How it is decompressed.
        encoding: Python's name; what is not UTF-8 is turned into it.
    """

    stream: StreamOptions
    encoding: str = "utf-8"

    @classmethod
    def of(cls, arguments: Mapping[str, Any] | None, encoding: str = "utf-8") -> Opening:
        """Takes `arrow_open_stream_args`, and the name of an encoding.

        Raises:
            ArgumentError: They make no sense.
        """
        stream = StreamOptions.of(arguments)
        try:
            name = codecs.lookup(encoding).name
        except (LookupError, TypeError):
            raise ArgumentError(f"encoding={encoding!r} is not known to Python") from None
        # A mark at the beginning is left out in any case; see `without_mark`.
        return cls(stream, "utf-8" if name == "utf-8-sig" else name)

    def is_plain(self, path: str) -> bool:
        """Tells whether the bytes of a file are those of its text, so that parts can be read."""
        return self.encoding == "utf-8" and self.stream.codec_of(path) is None

    def open(self, filesystem: pa_fs.FileSystem, path: str) -> pa.NativeFile:
        """Opens a file at its beginning."""
        if self.is_plain(path):
            return open_file(filesystem, path)
        stream = self.stream.open(filesystem, path)
        if self.encoding == "utf-8":
            return stream
        return pa.transcoding_input_stream(stream, self.encoding, "utf-8")

    def line_at(self, filesystem: pa_fs.FileSystem, path: str, offset: int) -> str:
        """Says in words which line begins at an offset into the text of a file."""
        if offset > _COUNTED_BYTES:
            return f"the line at byte {offset}"
        lines, left = 1, offset
        with closing(self.open(filesystem, path)) as file:
            while left and (data := file.read(min(left, BLOCK_BYTES))):
                lines += data.count(b"\n")
                left -= len(data)
        return f"line {lines}"


@dataclass(frozen=True)
class Span:
    """A range of bytes of a file.

    Args:
        start: Where it begins.
        stop: Where it ends; `None`: with the file.
    """

    start: int = 0
    stop: int | None = None


#: All of a file.
WHOLE = Span()


def last_line_end(data: bytes) -> int:
    """The `Cut` of files in which every newline ends a line."""
    return data.rfind(b"\n") + 1


def without_mark(data: bytes) -> int:
    """Returns where the text begins after a byte order mark, if there is one."""
    return len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0


def line_blocks(
    file: pa.NativeFile,
    span: Span,
    *,
    first: int = 0,
    cut: Cut = last_line_end,
    size: int | None = None,
) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that begin in a range, in blocks, each with its offset into the file.

    A line that is longer than a block makes the block longer.

    Args:
        file: The file at its beginning; if the range is not all of it, one that can seek.
        span: The range; if it is not all of the file, every newline must end a line.
        first: Where the first line begins that counts, for instance that after a header.
        cut: Finds the end of the last whole line.
        size: How many bytes are read at a time; `BLOCK_BYTES` unless said.

    Raises:
        ReadError: A line is longer than 1 GiB.
    """
    size = size or BLOCK_BYTES
    offset = max(first, span.start)
    if span.stop is not None and offset >= span.stop:
        return
    # The byte before tells whether a line begins with the range.
    is_inside = span.start > first
    offset -= is_inside
    _skip(file, offset)
    rest = b""
    while True:
        wanted = max(size, len(rest))
        if span.stop is not None:
            wanted = min(wanted, max(span.stop - offset - len(rest), _TAIL_BYTES, len(rest)))
        data = file.read(wanted)
        if not data:
            break
        rest += data
        if is_inside:
            found = rest.find(b"\n") + 1
            offset += found or len(rest)
            rest = rest[found:] if found else b""
            is_inside = not found
            if span.stop is not None and offset >= span.stop:
                return
        end = _end_of_last(rest, offset, span.stop)
        if end:
            yield offset, rest[:end]
            return
        end = cut(rest)
        if end:
            yield offset, rest[:end]
            offset, rest = offset + end, rest[end:]
        elif len(rest) > _LINE_BYTES_MAX:
            raise ReadError(f"no line ends within {len(rest)} bytes from byte {offset} on")
    if rest and not is_inside:
        yield offset, rest


def _end_of_last(rest: bytes, offset: int, stop: int | None) -> int:
    """Where the last line of a range ends, if that has been read; else 0."""
    if stop is None or offset + len(rest) < stop:
        return 0
    return rest.find(b"\n", max(0, stop - 1 - offset)) + 1


def _skip(file: pa.NativeFile, count: int) -> None:
    if file.seekable():
        file.seek(count)
        return
    while count > 0:
        data = file.read(min(count, BLOCK_BYTES))
        if not data:
            return
        count -= len(data)


def first_lines(blocks: Iterator[tuple[int, bytes]], enough: int) -> tuple[int, bytes]:
    """Returns the offset and the text of the first blocks, until there are enough bytes."""
    begin, found = 0, b""
    for offset, data in blocks:
        begin, found = (begin if found else offset), found + data
        if len(found) >= enough:
            break
    return begin, found


def first_bad(parts: Sequence[bytes], is_right: Callable[[bytes], bool]) -> int:
    """Finds the first part that cannot be read, among parts of which one cannot."""
    start, stop = 0, len(parts)
    while stop - start > 1:
        middle = (start + stop) // 2
        if is_right(b"".join(parts[start:middle])):
            start = middle
        else:
            stop = middle
    return start


class LineFormat(Format, Protocol):
    """A format whose files can be read in parts."""

    def over(self, span: Span) -> Format:
        """Returns the format that reads the lines which begin in a range."""

    def can_split(self, path: str) -> bool:
        """Tells whether a file can be read in parts."""


@dataclass(frozen=True)
class Piece:
    """A part of a file that one unit reads.

    Args:
        path: The file.
        span: Which part.
        nbytes: About how many bytes its rows take in memory.
    """

    path: str
    span: Span
    nbytes: int


@dataclass(frozen=True)
class LinesUnit:
    """Parts of files.

    Args:
        scan: What all units of the source have in common.
        format: How parts are read.
        pieces: The parts.
    """

    scan: FileScan
    format: LineFormat
    pieces: tuple[Piece, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""
        return tuple(piece.path for piece in self.pieces)

    @property
    def nbytes(self) -> int:
        """About how many bytes its rows take in memory."""
        return sum(piece.nbytes for piece in self.pieces)

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows of each part in turn."""
        for piece in self.pieces:
            scan = replace(self.scan, format=self.format.over(piece.span))
            yield from FileUnit(scan, (piece.path,), piece.nbytes).read()


def plan_lines(
    name: str,
    listing: Listing,
    format: LineFormat,
    added: PathColumns,
    *,
    schema: pa.Schema,
    blocks: int | None,
) -> Source:
    """Makes a source whose units read about `UNIT_BYTES` of a file each.

    Args:
        name: The source's name.
        listing: The files.
        format: How they are read.
        added: What columns the paths give.
        schema: The columns that the files give.
        blocks: How many units the user wants; no more than there are files and bytes to split.
    """
    added = added.settled(listing.paths)
    fields = tuple(added.fields(listing.paths, schema.names))
    scan = FileScan(listing.filesystem, format, added, fields)
    return _Plan(name, listing, scan, format, pa.schema([*schema, *fields]), blocks).source(listing)


@dataclass(frozen=True)
class _Plan:
    """What makes the source, and makes it anew for each run if the files are shuffled."""

    name: str
    listing: Listing
    scan: FileScan
    format: LineFormat
    schema: pa.Schema
    blocks: int | None

    def source(self, order: Listing) -> Source:
        """Plans the source with the files in this order."""
        return Source(
            self.name,
            [LinesUnit(self.scan, self.format, group) for group in self._groups(order)],
            self.schema,
            None,
            self.listing.paths,
            redrawn=None if self.listing.shuffle is None else self.redrawn,
            repeats_order=self.listing.repeats_order,
            is_of_one_process=is_of_one_process(self.listing.filesystem),
        )

    def redrawn(self) -> Source:
        """Plans the source for one run."""
        return self.source(self.listing.drawn())

    def _groups(self, order: Listing) -> list[tuple[Piece, ...]]:
        files, blocks = order.files, self.blocks
        can_split = [self.format.can_split(file.path) for file in files]
        sizes = [file.size if can else 1 for file, can in zip(files, can_split, strict=True)]
        if blocks is None:
            parts = [-(-size // UNIT_BYTES) for size in sizes]
        else:
            parts = shares_of(sizes, max(blocks, len(files)))
        pieces = [piece for pair in zip(files, parts, strict=True) for piece in _pieces(*pair)]
        wanted = len(pieces) if blocks is None else blocks
        ranges = group_by_weight([piece.nbytes for piece in pieces], wanted)
        return [tuple(pieces[start:stop]) for start, stop in ranges]


def _pieces(file: InputFile, parts: int) -> list[Piece]:
    if parts < 2:
        return [Piece(file.path, WHOLE, file.size)]
    ranges = split_rows(file.size, parts)
    return [Piece(file.path, Span(start, stop), stop - start) for start, stop in ranges]


def samples(
    listing: Listing, can_split: Callable[[str], bool]
) -> Iterator[tuple[InputFile, Span, int]]:
    """Yields which parts of which files are looked at to plan, and how many bytes of each.

    They are the first MiB, and 64 KiB of up to 16 places that are spread over the files.
    """
    files = listing.files
    yield files[0], WHOLE, SAMPLE_BYTES
    step = max(1, sum(file.size for file in files) // _PLACES)
    before = 0
    for index, file in enumerate(files):
        # The places, at each whole number of steps, that are in this file.
        places = range(-(-before // step) * step - before, file.size, step)
        least = _PLACE_BYTES if index else SAMPLE_BYTES
        if index and places:
            yield file, WHOLE, _PLACE_BYTES
        for start in places:
            if start >= least and can_split(file.path):
                yield file, Span(start), _PLACE_BYTES
        before += file.size


#: How many bytes are read and made a table of at a time.
BLOCK_BYTES = 8 << 20
#: About how many bytes of a file one unit reads.
UNIT_BYTES = 32 << 20
#: How much of the first file is looked at to plan.
SAMPLE_BYTES = 1 << 20
_PLACE_BYTES = 64 << 10
_PLACES = 16
# How much is read at a time to find the end of the last line of a range.
_TAIL_BYTES = 64 << 10
_LINE_BYTES_MAX = 1 << 30
# Beyond this, an error tells the offset instead of the line.
_COUNTED_BYTES = 1 << 30
