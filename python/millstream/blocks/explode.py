"""A row for each value of its lists.

Owns which rows come of lists, empty and null ones too, in tables of bounded size. Must not know
files, scheduling or backends.

Where a list begins and ends is taken from its own offsets: Arrow's functions do not agree on the
values that lie under null lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block, primitive
from millstream.blocks.transforms import Blocks
from millstream.errors import SchemaError, UserCodeError

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Explode:
    """Gives a row for each value of the lists of a row; what is no list is repeated.

    Args:
        columns: The lists. In a row, all of them have equally many values.
        keep_empty: Whether a row whose lists are empty or null stays, with null in their place.
    """

    columns: Sequence[str]
    keep_empty: bool = True

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Explode({', '.join(self.columns)})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema after it.

        Raises:
            SchemaError: A column does not exist, or has no lists.
        """
        block.require_columns(schema, self.columns)
        return pa.schema(
            [
                pa.field(field.name, _value_type(field)) if field.name in self.columns else field
                for field in schema
            ]
        )

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        start = 0
        for table in blocks:
            schema = self.schema(block.visible_schema(table.schema))
            made = False
            # Chunk by chunk, since lists of several have no offsets in common.
            for batch in block.gatherable(table).to_batches():
                for columns in self._exploded(batch, start):
                    made = True
                    yield pa.table(columns, schema=schema)
                start += batch.num_rows
            if not made:
                yield schema.empty_table()

    def _exploded(self, batch: pa.RecordBatch, start: int) -> Iterator[list[pa.ChunkedArray]]:
        lists = {name: _Lists.of(batch.column(name)) for name in self.columns}
        counts = self._counts(lists, start)
        rows = np.maximum(counts, 1) if self.keep_empty else counts
        ends = np.cumsum(rows)
        rest = pa.Table.from_batches([batch]).drop_columns(list(self.columns))
        for first, stop in _pieces(rest, rows):
            # For each row that is made, the row that it is of, and its place among those of it.
            parents = np.searchsorted(ends, np.arange(first, stop), side="right")
            places = np.arange(first, stop) - (ends - rows)[parents]
            is_there = counts[parents] > 0
            taken = rest.take(primitive.wrap(parents)) if rest.num_columns else rest
            yield [
                pa.chunked_array([lists[name].take(parents, places, is_there)])
                if name in lists
                else taken.column(name)
                for name in batch.schema.names
            ]

    def _counts(self, lists: dict[str, _Lists], start: int) -> Numbers:
        """How many values each row has in its lists.

        Raises:
            UserCodeError: Lists of one row have different numbers of them.
        """
        (name, first), *others = lists.items()
        for other_name, other in others:
            differ = np.flatnonzero(first.counts != other.counts)
            if len(differ):
                row = int(differ[0])
                raise UserCodeError(
                    f"row {start + row} of its task has {first.counts[row]} values in {name!r} and "
                    f"{other.counts[row]} in {other_name!r}: columns that are exploded together "
                    "have equally many in each row; explode one after the other for all pairs"
                )
        return first.counts


@dataclass(frozen=True)
class _Lists:
    """Lists of one array.

    Args:
        values: The values of all lists, and perhaps others.
        starts: Where in them each list begins.
        counts: How many it has; 0 if it is null.
    """

    values: pa.Array
    starts: Numbers
    counts: Numbers

    @classmethod
    def of(cls, array: pa.Array) -> _Lists:
        """Finds the lists of a column."""
        rows, type = len(array), array.type
        if pa.types.is_null(type):
            return cls(array, np.zeros(rows, np.int64), np.zeros(rows, np.int64))
        valid = primitive.valid(array)
        if pa.types.is_fixed_size_list(type):
            size = type.list_size
            starts = (np.arange(rows, dtype=np.int64) + array.offset) * size
            counts = np.full(rows, size, np.int64)
        else:
            offsets = primitive.view_all(array.offsets).astype(np.int64)
            starts, counts = offsets[:-1], np.diff(offsets)
        return cls(array.values, starts, np.where(valid, counts, 0))

    def take(self, parents: Numbers, places: Numbers, is_there: Numbers) -> pa.Array:
        """Values by the row of their list and their place in it; null where there is none."""
        wanted = self.starts[parents] + places
        if is_there.all():
            first, last = wanted[0], wanted[-1]
            if last - first + 1 == len(wanted) and (np.diff(wanted) == 1).all():
                return self.values.slice(first, len(wanted))
            return self.values.take(primitive.wrap(wanted))
        # Where there is no value, the list may begin behind the last.
        return self.values.take(pa.array(wanted, mask=~is_there))


def _value_type(field: pa.Field) -> pa.DataType:
    types, type = pa.types, field.type
    if types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type):
        return type.value_type
    if types.is_null(type):
        return type
    raise SchemaError(f"the column {field.name!r} is {type}: only lists can be exploded")


def _pieces(rest: pa.Table, rows: Numbers) -> Iterator[tuple[int, int]]:
    """Cuts the rows to be made into ranges, of about `TABLE_BYTES` of what is repeated.

    Args:
        rest: What is repeated.
        rows: How many rows are made of each of it.
    """
    ends = np.cumsum(rows)
    # A slice has all values of its dictionary, however few it needs.
    codes = [field.name for field in rest.schema if pa.types.is_dictionary(field.type)]
    sized = rest.drop_columns(codes) if codes else rest
    left = [(0, len(rows))]
    while left:
        start, stop = left.pop()
        most = int(rows[start:stop].max(initial=0))
        if not most:
            continue
        size = block.nbytes(sized.slice(start, stop - start))
        if size * most > TABLE_BYTES and stop - start > 1:
            middle = (start + stop) // 2
            left += [(middle, stop), (start, middle)]
            continue
        step = min(_ROWS_MAX, TABLE_BYTES // max(1, size)) if stop - start == 1 else _ROWS_MAX
        first, last = int(ends[start] - rows[start]), int(ends[stop - 1])
        for at in range(first, last, max(1, step)):
            yield at, min(last, at + max(1, step))


#: The size of the tables that are made, in memory.
TABLE_BYTES = 16 << 20
# What is noted of each row that is made takes more than the row, if that is a bit.
_ROWS_MAX = 1 << 18
