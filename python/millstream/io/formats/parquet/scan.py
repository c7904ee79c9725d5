"""The units of a Parquet source: how workers read rows out of files.

Owns reading, and giving rows the columns of the source. Must not know how the units
were planned; `millstream.io.formats.parquet.source` does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq

from millstream.blocks import block
from millstream.errors import SchemaError
from millstream.io.files import open_file
from millstream.io.formats.parquet.file import columns_of, open_parquet, schema_of
from millstream.io.formats.parquet.filter import Filter
from millstream.io.per_file import PathColumns
from millstream.io.source import blaming


@dataclass(frozen=True)
class ParquetUnit:
    """Rows of Parquet files.

    Args:
        scan: What all units of the source have in common.
        pieces: Where the rows are.
    """

    scan: Scan
    pieces: tuple[Piece, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""
        return tuple(dict.fromkeys(piece.path for piece in self.pieces))

    @property
    def nbytes(self) -> int:
        """About how many bytes its rows take in memory."""
        return sum(piece.nbytes for piece in self.pieces)

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows in tables of about `TABLE_BYTES`; an empty one if there are no rows."""
        empty = True
        for piece in self.pieces:
            with blaming(piece.path, "cannot read this Parquet file"):
                for table in self.scan.read(piece):
                    empty = False
                    yield table
        if empty:
            yield self.scan.schema.empty_table()


@dataclass(frozen=True)
class Piece:
    """A part of a file.

    Args:
        path: The file.
        nbytes: About how many bytes its rows take in memory.
        row_groups: Where the rows are; `None`: in all row groups.
        rows: How many rows these have; 0 if unknown.
        start: The first row of these that belongs to the piece.
        stop: The row after the last one; `None`: all do.
    """

    path: str
    nbytes: int
    row_groups: tuple[int, ...] | None = None
    rows: int = 0
    start: int = 0
    stop: int | None = None

    def part(self, start: int, stop: int) -> Piece:
        """The rows from `start` to `stop` of a whole piece."""
        nbytes = self.nbytes * (stop - start) // max(1, self.rows)
        return replace(self, start=start, stop=stop, nbytes=nbytes)


@dataclass(frozen=True)
class Scan:
    """How every unit of one source reads.

    Args:
        filesystem: Where the files are.
        schema: The columns that come out.
        all_columns: Whether columns that the plan has not seen come out too.
        exact: Whether values are converted to the schema's types whatever the files say.
        filter: What rows must satisfy.
        added: The columns that the paths give.
    """

    filesystem: pa_fs.FileSystem
    schema: pa.Schema
    all_columns: bool
    exact: bool
    filter: Filter | None
    added: PathColumns

    def read(self, piece: Piece) -> Iterator[pa.Table]:
        """Yields the rows of a piece, with the columns of the schema."""
        with open_file(self.filesystem, piece.path) as source:
            file = self._opened(source, piece)
            schema = schema_of(file)
            constants = self._constants(piece.path, schema)
            groups = self._row_groups(piece, file, constants)
            for table in self._tables(file, schema, groups, piece):
                with _naming(piece.path):
                    rows = columns_of(table, schema)
                shown = self._shape(rows, constants, piece.path)
                if shown.num_rows:
                    yield block.seal(shown)

    def _opened(self, source: pa.NativeFile, piece: Piece) -> pq.ParquetFile:
        footer = pq.read_metadata(source)
        groups = _groups_of(piece, footer)
        large = sum(_compressed_bytes(footer, group) for group in groups) > _PRE_BUFFER_BYTES
        is_local = isinstance(self.filesystem, pa_fs.LocalFileSystem)
        # A large row group is streamed page by page; a small one is fetched in one go, which
        # takes a thread of its own and is worth it only where each request is slow.
        return open_parquet(
            source,
            footer,
            pre_buffer=not large and not is_local,
            buffer_size=_STREAM_BUFFER_BYTES if large else 0,
        )

    def _tables(
        self, file: pq.ParquetFile, schema: pa.Schema, groups: Sequence[int], piece: Piece
    ) -> Iterator[pa.Table]:
        """Yields the columns of the file that are needed, of the piece's rows only."""
        names = self._names(schema)
        row = 0
        batches = file.iter_batches(
            batch_size=batch_rows(file.metadata, groups),
            row_groups=list(groups),
            columns=names,
            use_threads=False,
        )
        for batch in batches:
            first = max(piece.start - row, 0)
            last = batch.num_rows if piece.stop is None else piece.stop - row
            row += batch.num_rows
            if first < min(last, batch.num_rows):
                # Arrow does not count the rows of a slice without columns.
                table = pa.Table.from_batches([batch]) if names != [] else None
                rows = table if table is not None else block.rows_only(batch.num_rows)
                yield rows.slice(first, last - first)
            if piece.stop is not None and row >= piece.stop:
                return

    def _names(self, file_schema: pa.Schema) -> list[str] | None:
        if self.all_columns:
            return None
        needed = [*self.schema.names, *(self.filter.schema.names if self.filter else ())]
        return [name for name in dict.fromkeys(needed) if name in file_schema.names]

    def _constants(self, path: str, file_schema: pa.Schema) -> dict[str, pa.Scalar]:
        """Returns the columns that are the same in each row of a file."""
        values = self.added.values(path)
        return {name: value for name, value in values.items() if name not in file_schema.names}

    def _shape(self, table: pa.Table, constants: Mapping[str, pa.Scalar], path: str) -> pa.Table:
        """Adds what the path says, filters, and gives the rows the columns of the schema."""
        rows = table.num_rows
        for name, value in constants.items():
            table = table.append_column(name, pa.repeat(value, rows))
        if self.filter is not None:
            table = self.filter.apply(table)
        schema = self._schema_of(table.schema, path)
        if not schema.names:
            return block.rows_only(table.num_rows)
        return block.align(table, schema)

    def _schema_of(self, found: pa.Schema, path: str) -> pa.Schema:
        """Returns the schema of a block: the plan's, widened by what a file brings besides."""
        if self.exact:
            return self.schema
        if not self.all_columns:
            found = pa.schema([field for field in found if field.name in self.schema.names])
        with _naming(path):
            return block.unify_schemas([self.schema, found])

    def _row_groups(
        self,
        piece: Piece,
        file: pq.ParquetFile,
        constants: Mapping[str, pa.Scalar],
    ) -> Sequence[int]:
        groups = _groups_of(piece, file.metadata)
        if self.filter is None or piece.stop is not None:
            return groups
        # Statistics are those of the types that the file has.
        schema = file.schema_arrow
        return self.filter.row_groups(self.filesystem, piece.path, groups, schema, constants)


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Says which file a `SchemaError` comes from."""
    try:
        yield
    except SchemaError as error:
        raise SchemaError(error.message, file=path) from error


def _groups_of(piece: Piece, footer: pq.FileMetaData) -> tuple[int, ...]:
    return tuple(range(footer.num_row_groups)) if piece.row_groups is None else piece.row_groups


def _compressed_bytes(footer: pq.FileMetaData, group: int) -> int:
    # Data and dictionaries of all columns; reading each column's entry would take as long as this.
    return int(footer.row_group(group).total_byte_size)


def batch_rows(footer: pq.FileMetaData, groups: Sequence[int]) -> int:
    """Returns how many rows make a table of about `TABLE_BYTES`."""
    rows = sum(footer.row_group(group).num_rows for group in groups)
    size = sum(footer.row_group(group).total_byte_size for group in groups)
    wanted: int = TABLE_BYTES * rows // max(1, size)
    return max(1, min(_BATCH_ROWS_MAX, wanted))


#: The size of the tables that a unit yields, by what the footer says of the encoded data.
TABLE_BYTES = 16 << 20
_BATCH_ROWS_MAX = 1 << 17
_PRE_BUFFER_BYTES = 64 << 20
_STREAM_BUFFER_BYTES = 1 << 20
