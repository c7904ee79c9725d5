"""Planning to read Parquet: footers are read, row groups become the units of work.

Owns the plan of a Parquet source. Must not know what happens to the rows.
`millstream.io.formats.parquet.scan` reads, `millstream.io.formats.parquet.sink` writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import ReadError, SchemaError
from millstream.errors.checks import check_columns, require
from millstream.io.addresses import Paths, is_of_one_process
from millstream.io.file_options import FileOptions
from millstream.io.files import Listing, list_files, open_file
from millstream.io.formats.parquet.file import noted_partitions, open_parquet, schema_of
from millstream.io.formats.parquet.filter import Filter
from millstream.io.formats.parquet.ray_tensors import refuse_pickled
from millstream.io.formats.parquet.scan import ParquetUnit, Piece, Scan
from millstream.io.per_file import PathColumns
from millstream.io.source import (
    Source,
    blaming,
    group_by_weight,
    shares_of,
    split_rows,
)
from millstream.io.walk import InputFile


def plan_parquet(
    paths: Paths,
    files: FileOptions,
    *,
    columns: Sequence[str] | None = None,
    filter: Any = None,
    schema: pa.Schema | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read Parquet files.

    The footers of up to `FOOTERS_MAX` files are read, in threads. Of more files, as many are read
    as a sample; rows of the others bring the columns that the sample did not show.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give; a column that is in the files
            too is read from there.
        columns: Only these, in this order; partition columns count.
        filter: See `read_parquet`.
        schema: See `read_parquet`.
        blocks: Exactly so many units, as far as there are rows.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing, empty, or not Parquet.
        SchemaError: An unknown column, or files whose types do not go together.
    """
    columns = _check_columns(columns)
    if columns is not None and files.include_paths and "path" not in columns:
        columns.append("path")
    listing = list_files(paths, files, reader="read_parquet")
    footers = _read_footers(listing, blocks)
    types = _noted_partitions(footers)
    if schema is None:
        columns_known = _unify(footers)
    else:
        # A column of the schema that only the paths give keeps its type and its place.
        columns_known = schema.remove_metadata()
        types.update((field.name, field.type) for field in columns_known)
    plan = _Plan(
        listing,
        footers,
        PathColumns(files.partitioning, files.include_paths).settled(listing.paths, types),
        filter,
        exact=schema is not None,
        blocks=blocks,
    )
    return plan.source(columns_known, columns)


@dataclass(frozen=True)
class _Footer:
    """What the plan needs of a file's footer.

    Args:
        schema: The columns.
        row_groups: Rows and bytes of each row group.
        rows: How many rows there are.
        partitions: The types of the columns in its path, as far as it tells them.
    """

    schema: pa.Schema
    row_groups: tuple[tuple[int, int], ...]
    rows: int
    partitions: Mapping[str, pa.DataType]


@dataclass(frozen=True)
class _Plan:
    """What is known after listing; makes the source for any choice of columns.

    Args:
        listing: The files.
        footers: Those that were read, by their files' paths.
        added: The columns that the paths give.
        filter: The expression that rows must satisfy.
        exact: Whether the user gave the schema.
        blocks: How many units the user wants.
    """

    listing: Listing
    footers: Mapping[str, _Footer]
    added: PathColumns
    filter: Any
    exact: bool
    blocks: int | None

    def source(self, in_files: pa.Schema, columns: Sequence[str] | None) -> Source:
        """Plans the source.

        Raises:
            SchemaError: An unknown column.
        """
        known = self._with_path_columns(in_files)
        if columns is not None and not self._has_all(known, columns):
            return self._with_all_footers().source_unified(columns)
        schema = known
        if columns is not None:
            block.require_columns(known, columns)
            schema = pa.schema([known.field(name) for name in columns])
        refuse_pickled(schema, {path: footer.schema for path, footer in self.footers.items()})
        scan = Scan(
            filesystem=self.listing.filesystem,
            schema=schema,
            all_columns=columns is None and not self.exact,
            exact=self.exact,
            filter=self._bound_filter(known),
            added=self.added,
        )
        pieces = self._pieces(in_files, schema)
        has_filter = self.filter is not None
        return Source(
            name="ReadParquet",
            units=[ParquetUnit(scan, group) for group in self._grouped(pieces)],
            schema=schema,
            rows=self._rows(),
            files=self.listing.paths,
            with_columns=partial(self._source_of, in_files),
            with_filter=None if has_filter else partial(self._filtered, in_files, columns),
            redrawn=partial(self._redrawn, in_files, columns) if self.listing.shuffle else None,
            repeats_order=self.listing.repeats_order,
            is_of_one_process=is_of_one_process(self.listing.filesystem),
        )

    def _source_of(self, in_files: pa.Schema, columns: Sequence[str]) -> Source:
        return self.source(in_files, _check_columns(columns))

    def _filtered(self, in_files: pa.Schema, columns: Sequence[str] | None, filter: Any) -> Source:
        return replace(self, filter=filter).source(in_files, columns)

    def _redrawn(self, in_files: pa.Schema, columns: Sequence[str] | None) -> Source:
        return replace(self, listing=self.listing.drawn()).source(in_files, columns)

    def source_unified(self, columns: Sequence[str] | None) -> Source:
        """Plans the source with the columns of all footers at hand."""
        return self.source(_unify(self.footers), columns)

    def _has_all(self, known: pa.Schema, columns: Sequence[str]) -> bool:
        complete = self.exact or all(file.path in self.footers for file in self.listing.files)
        return complete or set(columns) <= set(known.names)

    def _with_all_footers(self) -> _Plan:
        return replace(self, footers=_footers_of(self.listing.filesystem, self.listing.files))

    def _with_path_columns(self, in_files: pa.Schema) -> pa.Schema:
        return pa.schema([*in_files, *self.added.fields(self.listing.paths, in_files.names)])

    def _bound_filter(self, known: pa.Schema) -> Filter | None:
        if self.filter is None:
            return None
        is_right = isinstance(self.filter, pc.Expression)
        require(is_right, "filter", self.filter, "a pyarrow.compute.Expression, or None")
        text = str(self.filter)
        # What an expression needs cannot be asked for; its text holds the names, and perhaps more.
        few = pa.schema([field for field in known if field.name in text])
        for schema in (few, known):
            try:
                schema.empty_table().filter(self.filter)
                return Filter(self.filter, schema)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
                problem = error
        raise SchemaError(
            f"the filter {text} does not fit the columns "
            f"{', '.join(map(repr, known.names))}: {problem}"
        )

    def _rows(self) -> int | None:
        if self.filter is not None:
            return None
        footers = [self.footers.get(path) for path in self.listing.paths]
        known = [footer.rows for footer in footers if footer is not None]
        return sum(known) if len(known) == len(footers) else None

    def _pieces(self, in_files: pa.Schema, shown: pa.Schema) -> list[Piece]:
        """Cuts the files into row groups where their footers are known."""
        share = _share(in_files, shown)
        sampled = sum(file.size for file in self.listing.files if file.path in self.footers)
        held = sum(size for footer in self.footers.values() for _, size in footer.row_groups)
        growth = held / sampled if sampled else 1.0
        pieces = []
        for file in self.listing.files:
            footer = self.footers.get(file.path)
            if footer is None:
                pieces.append(Piece(file.path, int(file.size * growth * share)))
            else:
                pieces.extend(_pieces_of(file.path, footer, share, shown))
        return pieces or [Piece(self.listing.paths[0], 0)]

    def _grouped(self, pieces: list[Piece]) -> Iterable[tuple[Piece, ...]]:
        """Gives each unit its pieces: one, or as the number of blocks demands."""
        if self.blocks is None or self.blocks == len(pieces):
            return [(piece,) for piece in pieces]
        if self.blocks < len(pieces):
            ranges = group_by_weight([piece.nbytes for piece in pieces], self.blocks)
            return [tuple(pieces[start:stop]) for start, stop in ranges]
        shares = shares_of([piece.rows for piece in pieces], self.blocks)
        return [
            (piece.part(start, stop) if share > 1 else piece,)
            for piece, share in zip(pieces, shares, strict=True)
            for start, stop in split_rows(piece.rows, share)
        ]


def _pieces_of(path: str, footer: _Footer, share: float, shown: pa.Schema) -> Iterator[Piece]:
    groups = footer.row_groups
    width = _row_bytes(shown)
    for start, stop in group_by_weight([size for _, size in groups], _PIECES_MAX):
        rows = sum(count for count, _ in groups[start:stop])
        size = int(sum(size for _, size in groups[start:stop]) * share)
        if rows:
            # Dictionaries and runs make a column of numbers small on disk only.
            yield Piece(path, max(size, rows * width), tuple(range(start, stop)), rows)


def _read_footers(listing: Listing, blocks: int | None) -> dict[str, _Footer]:
    """Reads the footers that the plan needs: all, or a sample spread over many files."""
    for file in listing.files:
        if file.size == 0:
            raise ReadError("this file is empty (0 bytes), so it is not Parquet", file=file.path)
    files = listing.files
    if len(files) > FOOTERS_MAX and (blocks is None or blocks <= len(files)):
        step = (len(files) - 1) / (FOOTERS_MAX - 1)
        files = tuple(files[round(index * step)] for index in range(FOOTERS_MAX))
    return _footers_of(listing.filesystem, files)


def _footers_of(filesystem: pa_fs.FileSystem, files: Sequence[InputFile]) -> dict[str, _Footer]:
    paths = list(dict.fromkeys(file.path for file in files))
    if len(paths) <= _FOOTERS_WITHOUT_THREADS:
        return {path: _read_footer(filesystem, path) for path in paths}
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        footers = pool.map(lambda path: _read_footer(filesystem, path), paths)
        return dict(zip(paths, footers, strict=True))


def _read_footer(filesystem: pa_fs.FileSystem, path: str) -> _Footer:
    with (
        blaming(path, "this is not a readable Parquet file"),
        open_file(filesystem, path) as source,
    ):
        file = open_parquet(source)
        footer = file.metadata
        groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
        sizes = tuple((group.num_rows, group.total_byte_size) for group in groups)
        try:
            schema = schema_of(file)
        except SchemaError as error:
            raise SchemaError(error.message, file=path) from error
        return _Footer(block.plain_schema(schema), sizes, footer.num_rows, noted_partitions(footer))


def _noted_partitions(footers: Mapping[str, _Footer]) -> dict[str, pa.DataType]:
    """Finds the types of the columns in paths, of what the files tell of them.

    Raises:
        SchemaError: A column has types that no common type holds; names the file.
    """
    schema = pa.schema([])
    for path, footer in footers.items():
        noted = pa.schema(list(footer.partitions.items()))
        try:
            schema = block.unify_schemas([schema, noted])
        except SchemaError as error:
            raise SchemaError(
                f"the partitions do not go together, {path} beside others: {error.message}",
                file=path,
            ) from error
    return {field.name: field.type for field in schema}


def _unify(footers: Mapping[str, _Footer]) -> pa.Schema:
    """Finds the columns of all files.

    Raises:
        SchemaError: A column has types that no common type holds; names the file.
    """
    schema: pa.Schema | None = None
    for path, footer in footers.items():
        if schema is None or schema.equals(footer.schema):
            schema = footer.schema
            continue
        try:
            schema = block.unify_schemas([schema, footer.schema])
        except SchemaError as error:
            first = next(iter(footers))
            raise SchemaError(
                f"the files do not go together, {path} beside {first}: {error.message}", file=path
            ) from error
    return schema if schema is not None else pa.schema([])


def _check_columns(columns: Sequence[str] | None) -> list[str] | None:
    if columns is None:
        return None
    return check_columns("columns", columns)


def _share(in_files: pa.Schema, shown: pa.Schema) -> float:
    """Returns about which part of a file's bytes the columns shown take."""
    if all(name in shown.names for name in in_files.names):
        return 1.0
    total = sum(_width(field.type) or _UNKNOWN_WIDTH for field in in_files)
    read = [field for field in in_files if field.name in shown.names]
    return sum(_width(field.type) or _UNKNOWN_WIDTH for field in read) / max(1, total)


def _row_bytes(schema: pa.Schema) -> int:
    return sum(_width(field.type) for field in schema)


def _width(type: pa.DataType) -> int:
    """Returns the bytes of a value of a fixed width, and 0 for the others."""
    if isinstance(type, pa.BaseExtensionType):
        return _width(type.storage_type)
    if pa.types.is_fixed_size_list(type):
        return _width(type.value_type) * int(type.list_size)
    if pa.types.is_struct(type):
        return sum(_width(type.field(index).type) for index in range(type.num_fields))
    try:
        return (int(type.bit_width) + 7) // 8
    except ValueError:
        return 0


#: Of more files than this, only a sample of footers is read to plan.
FOOTERS_MAX = 64
# A file of thousands of row groups would otherwise be thousands of units.
_PIECES_MAX = 256
_FOOTER_THREADS = min(32, 4 * (os.cpu_count() or 1) + 4)
# Starting threads takes longer than reading so few footers.
_FOOTERS_WITHOUT_THREADS = 2
# What a string or list is taken for when the bytes of columns are compared.
_UNKNOWN_WIDTH = 32
