"""Formats that are read file by file: the units, and the columns that a path gives.

Owns what binary files, images and videos have in common. Must not know what is inside a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import SchemaError
from millstream.io.addresses import is_of_one_process
from millstream.io.files import Listing
from millstream.io.partitioning import Partitioning
from millstream.io.source import Source, blaming, group_by_weight
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
    rows: int | None,
    nbytes_of: Callable[[InputFile], int],
    blocks: int | None,
) -> Source:
    """Makes a source with a unit for each file, or with as many units as are asked for.

    Args:
        name: The source's name.
        listing: The files.
        format: How they are read.
        added: What columns the paths give.
        schema: The columns that the files give, if they are known.
        column: The name of the first of these, which no path column may have.
        rows: The number of rows, if it is known.
        nbytes_of: About how many bytes the rows of a file take in memory.
        blocks: How many units the user wants; no more than there are files.
    """
    known = schema.names if schema is not None else [column]
    added = added.settled(listing.paths)
    fields = tuple(added.fields(listing.paths, known))
    plan = _Plan(
        name=name,
        listing=listing,
        scan=FileScan(listing.filesystem, format, added, fields),
        sizes={file.path: nbytes_of(file) for file in listing.files},
        schema=None if schema is None else pa.schema([*schema, *fields]),
        rows=rows,
        blocks=blocks,
    )
    return plan.source(listing)


@dataclass(frozen=True)
class _Plan:
    """What makes the source, and makes it anew for each run if the files are shuffled.

    Args:
        name: The source's name.
        listing: The files.
        scan: How they are read.
        sizes: About how many bytes the rows of each file take in memory.
        schema: The columns, if they are known.
        rows: The number of rows, if it is known.
        blocks: How many units the user wants.
    """

    name: str
    listing: Listing
    scan: FileScan
    sizes: Mapping[str, int]
    schema: pa.Schema | None
    rows: int | None
    blocks: int | None

    def source(self, order: Listing) -> Source:
        """Plans the source with the files in this order."""
        paths = order.paths
        sizes = [self.sizes[path] for path in paths]
        ranges = group_by_weight(sizes, self.blocks if self.blocks is not None else len(paths))
        return Source(
            self.name,
            [
                FileUnit(self.scan, tuple(paths[start:stop]), sum(sizes[start:stop]))
                for start, stop in ranges
            ],
            self.schema,
            self.rows,
            self.listing.paths,
            redrawn=None if self.listing.shuffle is None else self.redrawn,
            is_of_one_process=is_of_one_process(self.listing.filesystem),
        )

    def redrawn(self) -> Source:
        """Plans the source for one run."""
        return self.source(self.listing.drawn())
