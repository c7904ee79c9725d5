"""The units of an Iceberg source: how workers read the rows that are left of files.

Owns reading, deleted rows and the filter. `iceberg_columns` finds the columns of the table in a
file. Must not know how the units were planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millstream.blocks import block
from millstream.errors import SchemaError
from millstream.io.formats.iceberg_columns import FileColumns
from millstream.io.formats.parquet.file import open_parquet
from millstream.io.formats.parquet.scan import batch_rows
from millstream.io.formats.table_types import restored
from millstream.io.source import blaming


@dataclass(frozen=True)
class IcebergUnit:
    """Rows of some files of a table.

    Args:
        scan: What all units of the source have in common.
        parts: Where the rows are.
    """

    scan: IcebergScan
    parts: tuple[Part, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""
        return tuple(dict.fromkeys(part.path for part in self.parts))

    @property
    def nbytes(self) -> int:
        """About how many bytes its rows take in memory."""
        return sum(part.nbytes for part in self.parts)

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows in tables of bounded size; an empty one if there are no rows."""
        empty = True
        for part in self.parts:
            with blaming(part.path, "cannot read this file of the table"):
                for table in self.scan.read(part):
                    empty = False
                    yield table
        if empty:
            yield self.scan.schema.empty_table()


@dataclass(frozen=True)
class Part:
    """Rows of one file.

    Args:
        path: The file, as the table calls it.
        nbytes: About how many bytes the rows take in memory.
        rows: How many the whole file has.
        constants: The values that the file need not have, by the ids of their columns.
        deletes: The files that tell which of the rows are deleted, and whether they are Puffin.
        start: The first row.
        stop: The row after the last one; `None`: all do.
    """

    path: str
    nbytes: int
    rows: int
    constants: Mapping[int, Any]
    deletes: tuple[tuple[str, bool], ...] = ()
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class IcebergScan:
    """How every unit of one source reads.

    Args:
        io: Opens files (`pyiceberg.io.FileIO`).
        columns: Those that are read (`pyiceberg.types.NestedField`).
        schema: Those that come out.
        mapping: Which names stand for which id in files without ids.
        condition: What rows must satisfy, as Arrow says it.
    """

    io: Any
    columns: tuple[Any, ...]
    schema: pa.Schema
    mapping: Mapping[tuple[str, ...], int] | None
    condition: Any

    def read(self, part: Part) -> Iterator[pa.Table]:
        """Yields the rows of a part that are left."""
        deleted = self._deleted(part)
        with self.io.new_input(part.path).open() as source:
            file = open_parquet(source, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            found = file.schema_arrow
            columns = FileColumns(self.columns, self.mapping, part.constants)
            for row, batch in _batches(file, part, columns.needed(found)):
                kept = _kept(batch, row, deleted)
                table = self._shown(columns.of(kept, found), part.path)
                if table.num_rows:
                    yield table

    def _shown(self, table: pa.Table, path: str) -> pa.Table:
        if self.condition is not None:
            table = table.filter(self.condition)
        if not self.schema.names:
            return block.rows_only(table.num_rows)
        try:
            return restored(table.select(self.schema.names), self.schema)
        except SchemaError as error:
            raise SchemaError(error.message, file=path) from error

    def _deleted(self, part: Part) -> Any:
        """Returns the rows of a file that are deleted, in order."""
        found = [np.empty(0, np.int64)]
        for path, is_puffin in part.deletes:
            with (
                blaming(path, "cannot read this file of deleted rows"),
                self.io.new_input(path).open() as source,
            ):
                read = _deleted_by_puffin if is_puffin else _deleted_by_parquet
                found.extend(read(source, part.path))
        return np.unique(np.concatenate(found))


def _batches(
    file: pq.ParquetFile, part: Part, names: list[str]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields the rows of a part, and which row of the file is their first."""
    footer = file.metadata
    groups, row = [], 0
    first = None
    for group in range(footer.num_row_groups):
        stop = row + footer.row_group(group).num_rows
        if stop > part.start and (part.stop is None or row < part.stop):
            first = row if first is None else first
            groups.append(group)
        row = stop
    row = first or 0
    if not groups:
        return
    size = batch_rows(footer, groups)
    for batch in _read_batches(file, groups, names, size):
        begin = max(part.start - row, 0)
        end = batch.num_rows if part.stop is None else min(part.stop - row, batch.num_rows)
        if begin < end:
            yield row + begin, batch.slice(begin, end - begin)
        row += batch.num_rows


def _read_batches(
    file: pq.ParquetFile, groups: list[int], names: list[str], size: int
) -> Iterator[pa.RecordBatch]:
    if names:
        yield from file.iter_batches(size, row_groups=groups, columns=names, use_threads=False)
        return
    # Arrow does not count the rows of batches without columns.
    for group in groups:
        rows = file.metadata.row_group(group).num_rows
        yield pa.record_batch({block.ROWS_COLUMN: pa.nulls(rows)})


def _kept(batch: pa.RecordBatch, row: int, deleted: Any) -> pa.RecordBatch:
    first, last = np.searchsorted(deleted, [row, row + batch.num_rows])
    if first == last:
        return batch
    kept = np.ones(batch.num_rows, np.bool_)
    kept[deleted[first:last] - row] = False
    return batch.filter(pa.array(kept))


def _deleted_by_parquet(source: Any, path: str) -> Iterator[Any]:
    """Yields the rows of a file that a file of positions deletes."""
    file = open_parquet(source)
    for batch in file.iter_batches(columns=["file_path", "pos"], use_threads=False):
        is_here = pc.equal(batch.column("file_path"), path)
        yield batch.column("pos").filter(is_here).to_numpy()


def _deleted_by_puffin(source: Any, path: str) -> Iterator[Any]:
    """Yields the rows of a file that a deletion vector deletes."""
    from pyiceberg.table.deletion_vector import deletion_vectors_from_puffin_file
    from pyiceberg.table.puffin import PuffinFile

    for each in deletion_vectors_from_puffin_file(PuffinFile(source.read())):
        if each.referenced_data_file == path:
            yield each.to_vector().to_numpy().astype(np.int64)


_BUFFER_BYTES = 1 << 20
