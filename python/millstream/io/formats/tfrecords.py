"""Reading TFRecord files of `tf.train.Example` messages, one row a record.

Owns the plan and the format of TFRecord files, and how features become columns. Must not know how
records and messages are stored.

An Example does not say whether a feature is one value or a list of one, so the types of the columns
are settled once for all files, when the read is planned: by a schema, or by the first records.
Where a block or a file ends never decides a type.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.blocks.common_type import is_list
from millstream.blocks.convert import convert, nulls
from millstream.errors import ArgumentError, ReadError, SchemaError
from millstream.errors.checks import check_kind, require
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import Listing, list_files
from millstream.io.formats.compressed import StreamOptions
from millstream.io.formats.tfrecord_messages import (
    KINDS,
    Record,
    iter_records,
    kind_of,
    parsed,
    require_known,
    require_packages,
)
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source, blaming


def plan_tfrecords(
    paths: Paths,
    files: FileOptions,
    *,
    schema: pa.Schema | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read the Examples in TFRecord files, one row each.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        schema: See `read_tfrecords`.
        arrow_open_stream_args: See `read_tfrecords`.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: protobuf or google-crc32c is not installed.
        ReadError: A path does not exist, there is nothing to read, or the first records are broken.
        SchemaError: A column comes from the paths and from the records.
    """
    check_kind("schema", schema, pa.Schema)
    opening = StreamOptions.of(arrow_open_stream_args)
    require_packages("read_tfrecords")
    listing = list_files(paths, files, reader="read_tfrecords")
    opening.require_not_empty(listing)
    added = PathColumns(files.partitioning, files.include_paths).settled(listing.paths)
    if schema is not None:
        columns, growth = _named(schema), 1.0
        schema = pa.schema([(name, column.type) for name, column in columns.items()])
    else:
        sample = _sample(listing, opening)
        columns, growth = sample.columns(), sample.growth
    reserved = {each.name for each in added.fields(listing.paths, [])}
    _require_apart(sorted(reserved), columns, listing.paths[0])
    return plan_files(
        "ReadTFRecords",
        listing,
        TFRecordFormat(columns, schema is not None, frozenset(reserved), opening),
        added,
        schema=schema,
        column=next(iter(columns), ""),
        rows=None,
        nbytes_of=lambda file: int(opening.nbytes_of(file.path, file.size) * growth),
        blocks=blocks,
    )


@dataclass(frozen=True)
class ColumnType:
    """How a feature is read.

    Args:
        kind: "int64", "float" or "bytes".
        is_list: Whether each record gives a list, not one value.
        type: The type of the column.
    """

    kind: str
    is_list: bool
    type: pa.DataType

    @classmethod
    def of(cls, kind: str, is_list: bool) -> ColumnType:
        """The column of a kind of feature, of the type of its values in the message."""
        value = KINDS[kind].type
        return cls(kind, is_list, pa.list_(value) if is_list else value)


@dataclass(frozen=True)
class TFRecordFormat:
    """A record is one row.

    Args:
        columns: The columns that are known when the read is planned, in order.
        is_given: Whether these are all that is wanted, as the user says.
        reserved: Columns that the paths give.
        opening: How files are opened.
    """

    columns: Mapping[str, ColumnType]
    is_given: bool
    reserved: frozenset[str]
    opening: StreamOptions
    problem: str = "cannot read this TFRecord file"

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the records in order, in tables of about `TABLE_BYTES`."""
        rows = _Rows(self, path)
        with self.opening.open(filesystem, path) as stream:
            for record in iter_records(stream, path):
                rows.add(parsed(record, path), record)
                if rows.nbytes >= TABLE_BYTES:
                    yield rows.finish()
        if rows.count:
            yield rows.finish()


class _Rows:
    """Collects Examples and makes tables of them."""

    def __init__(self, format: TFRecordFormat, path: str) -> None:
        self._format = format
        self._path = path
        self._extra: dict[str, ColumnType] = {}
        self._start()

    def add(self, example: Any, record: Record) -> None:
        """Takes an Example as the next row."""
        for name, feature in example.features.feature.items():
            type = self._format.columns.get(name)
            if type is None and self._format.is_given:
                continue
            if name in self._format.reserved:
                raise SchemaError(_ALSO_IN_PATH.format(name), file=self._path)
            kind = feature.WhichOneof("kind")
            if kind is None:
                require_known(feature, name, record, self._path)
                self._put_nothing(name, type, record)
            else:
                kind = kind.removesuffix("_list")
                values = KINDS[kind].values(feature)
                # Of a feature that is unknown to the plan, all blocks have lists.
                type = type or self._extra.setdefault(name, ColumnType.of(kind, True))
                self._put(name, kind, values, type, record)
        self.count += 1
        self.nbytes += 8

    def finish(self) -> pa.Table:
        """Returns what was collected, and forgets it."""
        columns = {**self._format.columns, **dict(sorted(self._extra.items()))}
        names = [*columns, *sorted(self._cells.keys() - columns.keys())]
        made = {name: self._column(name, columns.get(name)) for name in names}
        table = pa.table(made) if made else block.rows_only(self.count)
        self._first += self.count
        self._start(self._first)
        return table

    def _start(self, first: int = 0) -> None:
        self._first = first
        self._cells: dict[str, _Cells] = {}
        self.count = 0
        self.nbytes = 0

    def _put(self, name: str, kind: str, values: Any, type: ColumnType, record: Record) -> None:
        if kind != type.kind:
            raise ReadError(
                f"the feature {name!r} of {record} is {kind}, and the column is {type.kind}",
                file=self._path,
            )
        size = len(values)
        if not type.is_list and size != 1 and not (size == 0 and self._format.is_given):
            raise ReadError(
                f"the feature {name!r} of {record} has {size} values, and the column has one in "
                f"each row{self._advice(name, kind)}",
                file=self._path,
            )
        cells = self._cells_of(name, kind)
        cells.put(self.count, size if size or type.is_list else _MISSING)
        cells.values.extend(values)
        self.nbytes += 4 + KINDS[kind].nbytes(values)

    def _put_nothing(self, name: str, type: ColumnType | None, record: Record) -> None:
        """A feature that has no values and does not say of which kind."""
        type = type or self._extra.get(name)
        if type is not None:
            self._put(name, type.kind, (), type, record)
        else:
            self._cells_of(name, None).put(self.count, 0)

    def _advice(self, name: str, kind: str) -> str:
        if self._format.is_given:
            return " by the schema"
        wanted = ColumnType.of(kind, True).type
        return f", by the first {_SAMPLE_RECORDS} records: pass a schema with {name!r} as {wanted}"

    def _cells_of(self, name: str, kind: str | None) -> _Cells:
        cells = self._cells.get(name)
        if cells is None:
            cells = self._cells[name] = _Cells([])
        if kind is not None and not cells.values:
            cells.values = KINDS[kind].collection()
        return cells

    def _column(self, name: str, type: ColumnType | None) -> pa.Array:
        cells = self._cells.get(name)
        if cells is None:
            return nulls(self.count, type.type if type is not None else pa.null())
        cells.pad(self.count)
        if type is None:
            # All that is known is that the lists are empty.
            return cells.to_arrow(pa.null(), is_list=True)
        made = cells.to_arrow(KINDS[type.kind].type, is_list=type.is_list)
        try:
            return convert(made, type.type)
        except ValueError as error:
            row = _first_unfit(made, type.type)
            raise ReadError(
                f"the feature {name!r} of record {self._first + row} (counted from 0) is no "
                f"{type.type}: {error}",
                file=self._path,
            ) from error


class _Cells:
    """The values of one feature in some rows.

    Args:
        values: Those of all rows, one after the other.
    """

    def __init__(self, values: Any) -> None:
        self.values = values
        self._sizes = array("i")

    def put(self, row: int, size: int) -> None:
        """Says how many values a row has."""
        self.pad(row)
        self._sizes.append(size)

    def pad(self, rows: int) -> None:
        """Says that the rows up to this one have no such feature."""
        missing = rows - len(self._sizes)
        if missing:
            self._sizes.extend([_MISSING] * missing)

    def to_arrow(self, type: pa.DataType, *, is_list: bool) -> pa.Array:
        """Makes a column, null where a row has no such feature."""
        sizes = np.frombuffer(self._sizes, np.int32)
        gone = sizes < 0
        if isinstance(self.values, array):
            buffer = pa.py_buffer(self.values)
            values = pa.Array.from_buffers(type, len(self.values), [None, buffer])
        else:
            values = pa.array(self.values, type)
        if is_list:
            offsets = np.zeros(len(sizes) + 1, np.int32)
            np.cumsum(np.maximum(sizes, 0), out=offsets[1:])
            mask = pa.array(gone) if gone.any() else None
            return pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)
        if not gone.any():
            return values
        return values.take(pa.array(np.cumsum(~gone) - 1, mask=gone))


def _first_unfit(column: pa.Array, type: pa.DataType) -> int:
    for row in range(len(column)):
        try:
            convert(column.slice(row, 1), type)
        except ValueError:
            return row
    return 0


@dataclass
class _Sample:
    """What the first records say of the columns.

    Args:
        kinds: The kinds of each feature, in the order in which they appear.
        lists: Features that have several values, or none, in some record.
        stored: The bytes of the records.
        made: About how many bytes of columns these become.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)
    stored: int = 0
    made: int = 0

    @property
    def growth(self) -> float:
        """How many bytes of columns there are for each of the file."""
        return self.made / self.stored if self.stored else 1.0

    def add(self, example: Any, record: Record) -> None:
        self.stored += len(record.data) + 16
        for name, feature in example.features.feature.items():
            kind = feature.WhichOneof("kind")
            if kind is None:
                self.lists.add(name)
                continue
            kind = kind.removesuffix("_list")
            values = KINDS[kind].values(feature)
            self.kinds.setdefault(name, kind)
            self.made += 4 + KINDS[kind].nbytes(values)
            if len(values) != 1:
                self.lists.add(name)

    def columns(self) -> dict[str, ColumnType]:
        """The columns, in the order of their names, since messages have none."""
        return {
            name: ColumnType.of(kind, name in self.lists)
            for name, kind in sorted(self.kinds.items())
        }


def _sample(listing: Listing, opening: StreamOptions) -> _Sample:
    """Looks at the first records of the first file that has any."""
    sample = _Sample()
    for file in listing.files:
        if not file.size:
            continue
        with (
            blaming(file.path, TFRecordFormat.problem),
            opening.open(listing.filesystem, file.path) as stream,
        ):
            for record in islice(iter_records(stream, file.path), _SAMPLE_RECORDS):
                sample.add(parsed(record, file.path), record)
                if sample.stored >= _SAMPLE_BYTES:
                    break
        if sample.stored:
            break
    return sample


def _read_as(column: pa.Field) -> ColumnType:
    kind = kind_of(column.type)
    wanted = "of integers, floats, bytes, text, or lists of these"
    require(kind is not None, f"the type of {column.name!r} in schema", column.type, wanted)
    return ColumnType(str(kind), is_list(column.type), column.type)


def _named(schema: pa.Schema) -> dict[str, ColumnType]:
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise ArgumentError(f"schema names {', '.join(map(repr, twice))} more than once")
    return {column.name: _read_as(column) for column in schema}


def _require_apart(reserved: Sequence[str], columns: Mapping[str, Any], path: str) -> None:
    for name in reserved:
        if name in columns:
            raise SchemaError(_ALSO_IN_PATH.format(name), file=path)


#: About how many bytes a table of records has; a larger record is a table by itself.
TABLE_BYTES = 32 << 20
#: By these the types of the columns are settled.
_SAMPLE_RECORDS = 1000
_SAMPLE_BYTES = 16 << 20
_MISSING = -1
_ALSO_IN_PATH = "the column {!r} is in the records and in the paths; leave one of them out"
