"""Files whose rows can be read from any place on, so that large ones are read by several tasks.

Owns how such files are divided into units. Must not know any format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.io.file_options import FileOptions
from millstream.io.files import Listing
from millstream.io.formats.typed_files import Contents, TypedFormat, plan_typed_files
from millstream.io.per_file import FileUnit
from millstream.io.source import ReadUnit, Source, blaming, shares_of, split_rows


@dataclass(frozen=True)
class RangedContents(Contents):
    """What a file says of itself.

    Args:
        step: So many rows lie together, and are best read together.
    """

    step: int = 1


class RangedFormat(TypedFormat, Protocol):
    """How files are read whose rows can be read from any place on; travels to the workers."""

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> RangedContents:
        """Reads what a file says of itself, the number of its rows too, and no rows."""

    def read_rows(
        self, filesystem: pa_fs.FileSystem, path: str, start: int, stop: int
    ) -> Iterator[pa.Table]:
        """Yields the rows from `start` to `stop` in tables of bounded size, at least one table."""


def plan_row_ranges(
    name: str,
    listing: Listing,
    format: RangedFormat,
    files: FileOptions,
    *,
    blocks: int | None,
) -> Source:
    """Plans to read files of which large ones become several units.

    Args:
        name: The source's name.
        listing: The files.
        format: How they are read.
        files: The columns that their paths give.
        blocks: Exactly so many units, as far as there are rows.

    Raises:
        ReadError: A file is empty, or not of the format.
        SchemaError: A file that was opened has columns that cannot be read.
    """
    whole = blocks if blocks is not None and blocks < len(listing.files) else None
    source = plan_typed_files(name, listing, format, files, blocks=whole)
    if whole is not None:
        return source
    return _Division(source, format, blocks).divided()


@dataclass(frozen=True)
class _Division:
    """What divides a source of a unit for each file, and does so anew for each run.

    Args:
        source: The source.
        format: How its files are read.
        blocks: How many units there shall be.
    """

    source: Source
    format: RangedFormat
    blocks: int | None

    def divided(self) -> Source:
        """The same source in as many units as it shall have."""
        redrawn = None if self.source.redrawn is None else self.redrawn
        return replace(self.source, units=self._units(self.source.units), redrawn=redrawn)

    def redrawn(self) -> Source:
        """The source for one run."""
        assert self.source.redrawn is not None  # noqa: S101 - it is asked for only then
        source = self.source.redrawn()
        return replace(source, units=self._units(source.units), redrawn=self.redrawn)

    def _units(self, units: Sequence[ReadUnit]) -> list[ReadUnit]:
        of_files = [unit for unit in units if isinstance(unit, FileUnit)]
        if self.blocks is None:
            shares = [-(-unit.nbytes // UNIT_BYTES) for unit in of_files]
        else:
            rows = [self._contents(unit).rows or 0 for unit in of_files]
            shares = shares_of(rows, self.blocks)
        return [
            part
            for unit, share in zip(of_files, shares, strict=True)
            for part in self._parts(unit, share)
        ]

    def _parts(self, unit: FileUnit, share: int) -> list[FileUnit]:
        if share <= 1:
            return [unit]
        contents = self._contents(unit)
        rows = contents.rows or 0
        # What lies together is not parted, unless so many units were asked for.
        step = contents.step if -(-rows // contents.step) >= share or self.blocks is None else 1
        return [
            FileUnit(
                replace(unit.scan, format=_Rows(self.format, start * step, min(rows, stop * step))),
                unit.files,
                unit.nbytes // share,
            )
            for start, stop in split_rows(-(-rows // step), share)
        ]

    def _contents(self, unit: FileUnit) -> RangedContents:
        (path,) = unit.files
        with blaming(path, self.format.problem):
            return self.format.describe(unit.scan.filesystem, path)


@dataclass(frozen=True)
class _Rows:
    """Some rows of a file, read as if they were a file (`Format`)."""

    format: RangedFormat
    start: int
    stop: int

    @property
    def problem(self) -> str:
        return self.format.problem

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        return self.format.read_rows(filesystem, path, self.start, self.stop)


#: About how many bytes of a file one task reads.
UNIT_BYTES = 128 << 20
