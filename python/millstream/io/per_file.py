"""Formats that are read file by file: the units, and the columns that a path gives.

Owns what binary files, images and videos have in common. Must not know what is inside a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, overload

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import SchemaError
from millstream.io.addresses import is_of_one_process
from millstream.io.file_list import FileList
from millstream.io.files import Listing
from millstream.io.partitioning import Partitioning
from millstream.io.source import OpenUnits, ReadUnit, Source, blaming, group_by_weight
from millstream.io.walk import InputFile


class Format(Protocol):
    """How the rows of one file are read; travels to the workers."""

    @property
    def problem(self) -> str:
        """What is said of a file that cannot be read."""

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the rows of a file in tables of bounded size."""


@dataclass(frozen=True)
class PathColumns:
    """The columns that the path of a file gives.

    Args:
        partitioning: How columns are written in the paths, if they are.
        include_paths: Whether there is a column "path".
        types: The types of the columns that are written in the paths; see `settled`.
    """

    partitioning: Partitioning | None = None
    include_paths: bool = False
    types: Mapping[str, pa.DataType] = field(default_factory=dict)

    def settled(
        self, paths: Sequence[str], known: Mapping[str, pa.DataType] | None = None
    ) -> PathColumns:
        """Returns the same with the types of the columns in the paths.

        Args:
            paths: Those of all files that are read.
            known: The types that are known otherwise.
        """
        if self.partitioning is None:
            return self
        return replace(self, types=self.partitioning.types(paths, known))

    def values(self, path: str) -> dict[str, pa.Scalar]:
        """Returns the values for one path.

        Raises:
            ReadError: A value is not of the type that it should have.
        """
        found: dict[str, pa.Scalar] = {}
        if self.partitioning is not None:
            found.update(self.partitioning.scalars(path, self.types))
        if self.include_paths:
            found["path"] = pa.scalar(path, pa.string())
        return found

    def fields(self, paths: Sequence[str], known: Sequence[str]) -> list[pa.Field]:
        """Returns the columns that come besides the `known` ones of the files themselves.

        Raises:
            SchemaError: The column "path" is there already.
        """
        fields = [pa.field(name, type) for name, type in self.types.items() if name not in known]
        if self.include_paths:
            if "path" in known or "path" in self.types:
                raise SchemaError(
                    "include_paths would add the column 'path', which there is already",
                    file=paths[0],
                )
            fields.append(pa.field("path", pa.string()))
        return fields


@dataclass(frozen=True)
class FileScan:
    """How every unit of one source reads."""

    filesystem: pa_fs.FileSystem
    format: Format
    added: PathColumns
    added_fields: tuple[pa.Field, ...]


@dataclass(frozen=True)
class FileUnit:
    """Some whole files.

    Args:
        scan: What all units of the source have in common.
        files: The paths.
        nbytes: About how many bytes the rows take in memory.
    """

    scan: FileScan
    files: tuple[str, ...]
    nbytes: int

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows of each file in turn."""
        for path in self.files:
            values = self.scan.added.values(path)
            with blaming(path, self.scan.format.problem):
                for table in self.scan.format.read(self.scan.filesystem, path):
                    yield self._with_path_columns(table, values)

    def _with_path_columns(self, table: pa.Table, values: dict[str, pa.Scalar]) -> pa.Table:
        rows = table.num_rows
        for added in self.scan.added_fields:
            value = values.get(added.name, pa.scalar(None, added.type))
            table = table.append_column(added, pa.repeat(value, rows))
        return block.seal(table)


def plan_files(
    name: str,
    listing: Listing,
    format: Format,
    added: PathColumns,
    *,
    schema: pa.Schema | None,
    column: str,
    nbytes_of: Callable[[InputFile], int],
    blocks: int | None,
    rows: int | None = None,
    rows_each: int | None = None,
) -> Source:
    """Makes a source with a unit for each file, or with as many units as are asked for.

    A list that goes on is read as it grows, unless a number of units is asked for.

    Args:
        name: The source's name.
        listing: The files.
        format: How they are read.
        added: What columns the paths give.
        schema: The columns that the files give, if they are known.
        column: The name of the first of these, which no path column may have.
        nbytes_of: About how many bytes the rows of a file take in memory.
        blocks: How many units the user wants; no more than there are files.
        rows: The number of rows, if it is known.
        rows_each: That of each file, if it is the same for all.
    """
    if blocks is not None:
        listing = listing.completed()
    known = schema.names if schema is not None else [column]
    added = added.settled(listing.paths)
    fields = tuple(added.fields(listing.paths, known))
    plan = _Plan(
        name=name,
        listing=listing,
        scan=FileScan(listing.filesystem, format, added, fields),
        nbytes_of=nbytes_of,
        schema=None if schema is None else pa.schema([*schema, *fields]),
        rows=rows,
        rows_each=rows_each,
        blocks=blocks,
    )
    return plan.source(listing)


class FileUnits(OpenUnits):
    """A unit for each file of a list that goes on.

    Args:
        scan: How they are read.
        files: The list.
        nbytes_of: About how many bytes the rows of a file take in memory.
    """

    def __init__(
        self, scan: FileScan, files: FileList, nbytes_of: Callable[[InputFile], int]
    ) -> None:
        self._scan = scan
        self._files = files
        self._nbytes_of = nbytes_of

    @property
    def is_open(self) -> bool:
        """Whether the list goes on."""
        return not self._files.is_complete

    def extend(self, count: int) -> int:
        """Waits until there are so many files, or no more."""
        return self._files.find(count)

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> FileUnit: ...

    @overload
    def __getitem__(self, index: slice) -> list[FileUnit]: ...

    def __getitem__(self, index: int | slice) -> FileUnit | list[FileUnit]:
        if isinstance(index, slice):
            return [self._unit(file) for file in self._files[index]]
        return self._unit(self._files[index])

    def _unit(self, file: InputFile) -> FileUnit:
        return FileUnit(self._scan, (file.path,), self._nbytes_of(file))


@dataclass(frozen=True)
class _Plan:
    """What makes the source, and makes it anew for each run if the files are shuffled.

    Args:
        name: The source's name.
        listing: The files.
        scan: How they are read.
        nbytes_of: About how many bytes the rows of a file take in memory.
        schema: The columns, if they are known.
        rows: The number of rows, if it is known.
        rows_each: That of each file, if it is the same for all.
        blocks: How many units the user wants.
    """

    name: str
    listing: Listing
    scan: FileScan
    nbytes_of: Callable[[InputFile], int]
    schema: pa.Schema | None
    rows: int | None
    rows_each: int | None
    blocks: int | None

    def source(self, order: Listing) -> Source:
        """Plans the source with the files in this order."""
        is_whole = order.all is None
        rows = self.rows
        if self.rows_each is not None and is_whole:
            rows = self.rows_each * len(order.files)
        return Source(
            self.name,
            self._units(order),
            self.schema,
            rows,
            self.listing.paths,
            redrawn=None if self.listing.shuffle is None else self.redrawn,
            repeats_order=self.listing.repeats_order,
            completed=None if is_whole else self.completed,
            is_of_one_process=is_of_one_process(self.listing.filesystem),
        )

    def redrawn(self) -> Source:
        """Plans the source for one run."""
        return self.source(self.listing.drawn())

    def completed(self) -> Source:
        """Plans the source with all its files."""
        whole = self.listing.completed()
        return replace(self, listing=whole).source(whole)

    def _units(self, order: Listing) -> Sequence[ReadUnit]:
        if order.all is not None:
            return FileUnits(self.scan, order.all, self.nbytes_of)
        files = order.files
        sizes = [self.nbytes_of(file) for file in files]
        ranges = group_by_weight(sizes, self.blocks if self.blocks is not None else len(files))
        return [
            FileUnit(
                self.scan,
                tuple(file.path for file in files[start:stop]),
                sum(sizes[start:stop]),
            )
            for start, stop in ranges
        ]
