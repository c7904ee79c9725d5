"""Reading Delta Lake tables: the log says which Parquet files, a unit each.

Owns how files become units, and how their rows get the columns that the log tells. `delta_log`
reads the log, `millstream.io.formats.parquet` the files. Must not know how tables are written.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block
from millstream.errors import SchemaError
from millstream.errors.checks import check_columns
from millstream.io.addresses import Path, is_of_one_process
from millstream.io.file_options import FileOptions
from millstream.io.formats.delta_log import (
    LogFile,
    TablePlace,
    Version,
    columns_of,
    files_of,
    open_table,
    physical_names,
    reading,
    require_readable,
)
from millstream.io.formats.parquet.scan import ParquetUnit, Piece, Scan
from millstream.io.formats.table_types import restored, with_noted_types
from millstream.io.per_file import PathColumns
from millstream.io.source import Source, group_by_weight, shares_of, split_rows


def plan_delta(
    path: Path,
    files: FileOptions,
    *,
    version: Version = None,
    storage_options: Mapping[str, str] | None = None,
    columns: Sequence[str] | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read a Delta Lake table.

    Args:
        path: The folder of the table.
        files: Its `filesystem`, `shuffle` and `include_paths` count.
        version: See `read_delta`.
        storage_options: See `read_delta`.
        columns: Only these, in this order.
        blocks: How many units the user wants, as far as there are rows.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: deltalake is not installed.
        ReadError: There is no table, its log is broken, or it needs what is not known here.
        SchemaError: An unknown column.
    """
    wanted = None if columns is None else check_columns("columns", columns)
    if wanted is not None and files.include_paths and "path" not in wanted:
        wanted.append("path")
    place = TablePlace.of(path, files.filesystem, storage_options)
    table = open_table(place, version)
    require_readable(table, place)
    with reading(place, "the log of this table cannot be read"):
        physical = physical_names(table, place)
        found = files_of(table, place, physical)
        plan = _Plan(place, columns_of(table), physical, found, files, blocks)
    return plan.source(wanted)


@dataclass(frozen=True)
class DeltaUnit:
    """Rows of some files of a table.

    Args:
        scan: How their columns are read, by the names that these have in files.
        schema: The columns that come out, in the same order.
        parts: Where the rows are.
    """

    scan: Scan
    schema: pa.Schema
    parts: tuple[Part, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""
        return tuple(dict.fromkeys(part.piece.path for part in self.parts))

    @property
    def nbytes(self) -> int:
        """About how many bytes its rows take in memory."""
        return sum(part.piece.nbytes for part in self.parts)

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows in tables of bounded size; an empty one if there are no rows."""
        if not self.parts:
            yield self.schema.empty_table()
        for part in self.parts:
            scan = replace(self.scan, added=part.added)
            row = part.piece.start
            for table in ParquetUnit(scan, (part.piece,)).read():
                yield self._shown(part.left(table, row), part.piece.path)
                row += table.num_rows

    def _shown(self, table: pa.Table, path: str) -> pa.Table:
        if not self.schema.names:
            return table
        try:
            return restored(table.rename_columns(self.schema.names), self.schema)
        except SchemaError as error:
            raise SchemaError(error.message, file=path) from error


@dataclass(frozen=True)
class Part:
    """Rows of one file.

    Args:
        piece: Where they are.
        added: The columns that the log tells.
        deleted: The rows of the whole file that are no more, in order.
    """

    piece: Piece
    added: PathColumns
    deleted: Any = None

    def left(self, table: pa.Table, row: int) -> pa.Table:
        """Returns what is left of the rows of the file that begin with this one."""
        if self.deleted is None:
            return table
        first, last = np.searchsorted(self.deleted, [row, row + table.num_rows])
        if first == last:
            return table
        kept = np.ones(table.num_rows, np.bool_)
        kept[self.deleted[first:last] - row] = False
        return table.filter(pa.array(kept))


@dataclass(frozen=True)
class _LogColumns(PathColumns):
    """The columns that the log tells of one file.

    Args:
        known: Their values.
    """

    known: Mapping[str, pa.Scalar] = field(default_factory=dict)

    def values(self, path: str) -> dict[str, pa.Scalar]:
        """Returns them, and the path if it is a column."""
        return {**self.known, **super().values(path)}


@dataclass(frozen=True)
class _Plan:
    """What is known of a table; makes the source for any choice of columns.

    Args:
        place: Where it is.
        columns: Its columns, with what their fields note.
        physical: What they are called in files, where that is another name.
        files: Its files.
        options: The file options of the user.
        blocks: How many units the user wants.
    """

    place: TablePlace
    columns: pa.Schema
    physical: Mapping[str, str]
    files: Sequence[LogFile]
    options: FileOptions
    blocks: int | None

    def source(self, names: Sequence[str] | None) -> Source:
        """Plans the source.

        Raises:
            SchemaError: An unknown column.
        """
        stored = self._stored(names)
        schema = with_noted_types(stored)
        inner = [pa.field(self.physical.get(each.name, each.name), each.type) for each in stored]
        scan = Scan(
            filesystem=self.place.filesystem,
            schema=pa.schema(inner),
            all_columns=False,
            exact=True,
            filter=None,
            added=PathColumns(),
        )
        known = [each.rows_left for each in self.files]
        order = self.options.order
        return Source(
            name="ReadDelta",
            units=[DeltaUnit(scan, schema, parts) for parts in self._grouped()],
            schema=schema,
            rows=None if None in known else sum(rows or 0 for rows in known),
            files=[each.path for each in self.files],
            with_columns=self._source_of,
            redrawn=None if order is None else partial(self._drawn, names),
            repeats_order=order is None or order.seed is not None,
            is_of_one_process=is_of_one_process(self.place.filesystem),
        )

    def _source_of(self, names: Sequence[str]) -> Source:
        return self.source(check_columns("columns", list(names)))

    def _drawn(self, names: Sequence[str] | None) -> Source:
        files = list(self.files)
        seed = None if self.options.order is None else self.options.order.seed
        random.Random(seed).shuffle(files)  # noqa: S311 - not a secret
        return replace(self, files=files).source(names)

    def _stored(self, names: Sequence[str] | None) -> pa.Schema:
        schema = self.columns
        if self.options.include_paths:
            added = PathColumns(include_paths=True).fields([self.place.uri], schema.names)
            schema = pa.schema([*schema, *added])
        if names is None:
            return schema
        block.require_columns(schema, names)
        return pa.schema([schema.field(name) for name in names])

    def _grouped(self) -> list[tuple[Part, ...]]:
        """Gives each unit its files: one, or as the number of blocks demands."""
        if not self.files:
            return [()]
        count, with_paths = len(self.files), self.options.include_paths
        shares = [1] * count
        if self.blocks is not None and self.blocks > count:
            shares = shares_of([each.rows or 0 for each in self.files], self.blocks)
        pairs = zip(self.files, shares, strict=True)
        parts = [part for each, share in pairs for part in _parts_of(each, share, with_paths)]
        if self.blocks is None or self.blocks >= count:
            return [(part,) for part in parts]
        ranges = group_by_weight([part.piece.nbytes for part in parts], self.blocks)
        return [tuple(parts[start:stop]) for start, stop in ranges]


def _parts_of(file: LogFile, shares: int, include_paths: bool) -> list[Part]:
    """Cuts a file."""
    added = _LogColumns(include_paths=include_paths, known=file.values)
    whole = Piece(file.path, file.size * _GROWTH, rows=file.rows or 0)
    pieces = [whole]
    if shares > 1:
        pieces = [whole.part(start, stop) for start, stop in split_rows(whole.rows, shares)]
    return [Part(piece, added, file.deleted) for piece in pieces]


# How much larger rows are in memory than in files, about.
_GROWTH = 4
