"""Staged files that are written again before they are put in place.

Owns which files these are: those whose types are not yet those of the whole dataset, and those that
are too small. Must not know when files become visible, nor where the work runs.

Where all files have one schema and a sensible size, nothing is read or written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import SchemaError, WriteError
from millstream.io.commit import STAGED_SCHEMA, unpacked_schema, writing
from millstream.io.file_format import Destination, FileFormat
from millstream.io.source import split_rows
from millstream.io.task_files import TaskFiles


@dataclass(frozen=True)
class Sizes:
    """How large files shall be.

    Args:
        rows_min: Rows that a file has at least, but the last one of its folder.
        rows_max: Rows that a file has at most.
        bytes_min: Bytes that a file has at least, but the last one of its folder.
        bytes_small: If nobody has asked for a size: files below this are put together until they
            have `bytes_min`, and others are left alone. What is written twice is then little for
            each task, however much there is in all.
    """

    rows_min: int = 0
    rows_max: int | None = None
    bytes_min: int = 0
    bytes_small: int | None = None


@dataclass(frozen=True)
class StagedFile:
    """What is known of a staged file.

    Args:
        place: Its place in the order of the rows of the dataset.
        path: Where it lies.
        folder: Where it belongs, relative to the target.
        rows: How many it has.
        nbytes: Its size.
        schema: Its columns, then those that the folder tells.
    """

    place: int
    path: str
    folder: str
    rows: int
    nbytes: int
    schema: pa.Schema


@dataclass(frozen=True)
class Rewrite:
    """Files of one folder that are written again, as one file or as several.

    Args:
        destination: Where files are written, and how.
        sources: The files, in order.
        schema: The columns to write.
        in_path: The columns that the folder tells.
        stops: For each file to make, the rows up to its end.
    """

    destination: Destination
    sources: tuple[StagedFile, ...]
    schema: pa.Schema
    in_path: tuple[pa.Field, ...]
    stops: tuple[int, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""
        return tuple(source.path for source in self.sources)

    @property
    def nbytes(self) -> int:
        """The bytes of the files."""
        return sum(source.nbytes for source in self.sources)

    def read(self) -> Iterator[pa.Table]:
        """Writes the files, and yields a row for each (`STAGED_SCHEMA`)."""
        folder, place = self.sources[0].folder, self.sources[0].place
        format = self.destination.format.settled()
        task = TaskFiles(replace(self.destination, format=format), None)
        stops = list(self.stops)
        try:
            for source in self.sources:
                for table in self._tables(source, format):
                    rest = table
                    while rest.num_rows:
                        head = rest.slice(0, stops[0] - task.rows)
                        rest = rest.slice(head.num_rows)
                        yield from _placed(task.add(folder, head, self.in_path), place)
                        if task.rows == stops[0]:
                            stops.pop(0)
                            yield from _placed(task.finish(), place)
        finally:
            task.discard()

    def _tables(self, source: StagedFile, format: FileFormat) -> Iterator[pa.Table]:
        known = {field.name for field in self.in_path}
        in_file = pa.schema([field for field in source.schema if field.name not in known])
        stored = format.stored(self.schema)
        with (
            writing(self.destination.target, "the staged files cannot be written again"),
            self.destination.open_back(source.path) as file,
        ):
            for table in format.read_back(file, in_file):
                unknown = set(table.column_names) - set(self.schema.names)
                if unknown:
                    raise WriteError(
                        f"the options for the writer of {format.name} change the names of "
                        f"columns: {unknown}; name them so, and give all rows the same types",
                        file=self.destination.target,
                    )
                yield block.align(table, stored).replace_schema_metadata(self.schema.metadata)


def rewrites(
    reports: Sequence[pa.Table],
    destination: Destination,
    partition_cols: Sequence[str],
    sizes: Sizes,
) -> list[Rewrite]:
    """Finds what must be written again.

    Args:
        reports: What the writing tasks yielded (`STAGED_SCHEMA`).
        destination: Where files are written, and how.
        partition_cols: The columns that folders tell.
        sizes: How large files shall be.

    Raises:
        SchemaError: A column has types that no common type holds, or one that the format has not.
    """
    files = _staged_files(reports)
    if not files:
        return []
    schemas = {id(file.schema): file.schema for file in files}
    whole = block.unify_schemas(schemas.values())
    metadata = files[0].schema.metadata
    if all(known.metadata == metadata for known in schemas.values()):
        whole = whole.with_metadata(metadata)
    alike = {key: _are_alike(known, whole) for key, known in schemas.items()}
    if sizes.bytes_small is not None and len(whole) > _COLUMNS_MAX:
        sizes = replace(sizes, bytes_min=0)
    in_path = tuple(field for field in whole if field.name in partition_cols)
    in_file = [field for field in whole if field.name not in partition_cols]
    schema = pa.schema(in_file, whole.metadata)
    destination.format.check(schema)
    if not destination.format.is_rewritten:
        _require_alike(schemas.values(), whole, destination.format.name)
        return []
    return [
        Rewrite(destination, tuple(group), schema, in_path, _stops(group, sizes))
        for group in _groups(files, sizes)
        if len(group) > 1 or not alike[id(group[0].schema)]
    ]


def in_order(
    reports: Sequence[pa.Table], rewritten: Sequence[Rewrite], again: Sequence[pa.Table]
) -> list[pa.Table]:
    """Puts what rewrites reported in the place of what they replace."""
    if not rewritten:
        return list(reports)
    replaced = {path for each in rewritten for path in each.files}
    rows = [row for table in reports for row in table.to_pylist()]
    kept = [(place, row) for place, row in enumerate(rows) if row["path"] not in replaced]
    made = [(row["place"], row) for table in again for row in table.to_pylist()]
    ordered = sorted([*kept, *made], key=lambda pair: pair[0])
    return [pa.Table.from_pylist([row for _, row in ordered], schema=STAGED_SCHEMA)]


def _staged_files(reports: Sequence[pa.Table]) -> list[StagedFile]:
    schemas: dict[bytes, pa.Schema] = {}
    files = []
    place = 0
    for table in reports:
        for row in table.to_pylist():
            if row["path"] is not None:
                packed = row["schema"]
                if packed not in schemas:
                    schemas[packed] = unpacked_schema(packed)
                schema = schemas[packed]
                path, folder = row["path"], row["folder"]
                files.append(StagedFile(place, path, folder, row["rows"], row["bytes"], schema))
            place += 1
    return files


def _groups(files: Sequence[StagedFile], sizes: Sizes) -> Iterator[list[StagedFile]]:
    """Puts the files of each folder together until they are as large as they shall be."""
    folders: dict[str, list[StagedFile]] = {}
    for file in files:
        folders.setdefault(file.folder, []).append(file)
    for each in folders.values():
        group: list[StagedFile] = []
        for file in each:
            if group and not _goes_with(group, file, sizes):
                yield group
                group = []
            group.append(file)
            if _is_full(group, sizes):
                yield group
                group = []
        if group:
            yield group


def _goes_with(group: Sequence[StagedFile], file: StagedFile, sizes: Sizes) -> bool:
    if sizes.bytes_small is None:
        return True
    rows = _rows(group) + file.rows
    return file.nbytes < sizes.bytes_small and rows <= (sizes.rows_max or rows)


def _is_full(group: Sequence[StagedFile], sizes: Sizes) -> bool:
    rows, nbytes = _rows(group), sum(file.nbytes for file in group)
    if sizes.bytes_small is not None and len(group) == 1 and nbytes >= sizes.bytes_small:
        return True
    return nbytes >= sizes.bytes_min and rows >= sizes.rows_min * _pieces(group, sizes)


def _pieces(group: Sequence[StagedFile], sizes: Sizes) -> int:
    return 1 if sizes.rows_max is None else -(-_rows(group) // sizes.rows_max)


def _stops(group: Sequence[StagedFile], sizes: Sizes) -> tuple[int, ...]:
    """Says where the files end that are made of a group."""
    rows, pieces = _rows(group), _pieces(group, sizes)
    if sizes.rows_max is not None and rows < sizes.rows_min * pieces:
        # What is left over at the end: only the last file may have too few.
        return (*range(sizes.rows_max, rows, sizes.rows_max), rows)
    return tuple(stop for _, stop in split_rows(rows, pieces))


def _rows(files: Sequence[StagedFile]) -> int:
    return sum(file.rows for file in files)


def _are_alike(schema: pa.Schema, whole: pa.Schema) -> bool:
    """Tells whether a file need not be written again to have the columns of the whole dataset."""
    return bool(schema.names == whole.names and schema.types == whole.types)


def _require_alike(schemas: Iterable[pa.Schema], whole: pa.Schema, name: str) -> None:
    """Refuses files whose columns have other types than those of the whole dataset."""
    for schema in schemas:
        for field in schema:
            wanted = whole.field(field.name).type
            if field.type != wanted and not pa.types.is_null(field.type):
                raise SchemaError(
                    f"column {field.name!r} is {field.type} in some blocks, but {wanted} is what "
                    f"all of them have in common: make it {wanted} before it is written as {name}"
                )


def _placed(rows: Iterator[pa.Table], place: int) -> Iterator[pa.Table]:
    """Says of staged files where they belong in the order of all."""
    index = STAGED_SCHEMA.get_field_index("place")
    for row in rows:
        yield row.set_column(index, STAGED_SCHEMA.field(index), pa.array([place], pa.int64()))


# A file of more columns takes longer to read than its bytes tell: it is left as it is, unless
# somebody asks for a size.
_COLUMNS_MAX = 200
