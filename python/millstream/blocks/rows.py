"""Rows: dicts of column name to value, out of blocks and into blocks.

Must not know batches, how functions are called, files or scheduling.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block, columns, objects, primitive, tensor
from millstream.blocks.column_types import settle
from millstream.blocks.convert import Column
from millstream.blocks.ownership import own
from millstream.errors import SchemaError, UserCodeError

Row = dict[str, Any]


def iter_rows(table: pa.Table) -> Iterator[Row]:
    """Yields the rows of a block as dicts, a few megabytes of them at a time.

    Values are Python's own (str, int, datetime, Decimal, list, dict …), tensors are writable NumPy
    arrays, null is None.
    """
    visible = block.unseal(table)
    names = visible.column_names
    if not names:
        for _ in range(table.num_rows):
            yield {}
        return
    for part in _parts(visible):
        for row in _in_order(part):
            yield dict(zip(names, row, strict=True))


class RowBuilder:
    """Collects rows and gives a table as soon as there are some megabytes of them.

    Args:
        like: The schema of the rows that these were made of; as in `batch.from_batch`.
    """

    def __init__(self, like: pa.Schema | None = None) -> None:
        self._like = like
        self._rows: list[Mapping[str, Any]] = []
        self._nbytes = 0

    def add(self, row: Any) -> pa.Table | None:
        """Takes a row; returns a table when enough are collected.

        Raises:
            UserCodeError: It is no row, or its values fit no column.
        """
        if type(row) is not dict and not isinstance(row, Mapping):
            raise UserCodeError(
                f"the function returned {_describe(row)}, which is not a row; "
                "return a dict of column name to value"
            )
        # A copy, since a generator may yield one dict again and again, each time filled anew.
        if _SMALL.issuperset(map(type, row.values())):
            own_row = dict(row)
            self._nbytes += 8 * len(own_row)
        else:
            own_row = own(row)
            for value in own_row.values():
                self._nbytes += 8 if type(value) in _SMALL else _value_bytes(value)
        self._rows.append(own_row)
        if len(self._rows) >= _ROWS_MAX or self._nbytes >= _BYTES_MAX:
            return self.finish()
        return None

    def finish(self) -> pa.Table | None:
        """Returns the rows collected since the last table, or None if there are none."""
        rows, self._rows, self._nbytes = self._rows, [], 0
        return from_rows(rows, self._like) if rows else None


def from_rows(rows: list[Mapping[str, Any]], like: pa.Schema | None = None) -> pa.Table:
    """Makes a block of rows. Columns that a row lacks are null in it.

    Raises:
        UserCodeError: The values of a column fit no Arrow type; names the column.
    """
    by_column = _by_column(rows)
    types = {} if like is None else dict(zip(like.names, like.types, strict=True))
    numbers = _number_columns(by_column) if len(by_column) >= block.WIDE else {}
    made: dict[str, Column] = {}
    for name, values in by_column.items():
        if not isinstance(name, str):
            raise UserCodeError(
                f"the function returned a row with the key {name!r} of type "
                f"{type(name).__name__}; the keys are column names and must be strings"
            )
        try:
            if name in numbers:
                made[name] = settle(numbers[name], types.get(name))
            else:
                made[name] = columns.from_values(values, types.get(name))
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise UserCodeError(f"the column {name!r} of the returned rows {error}") from error
    return pa.table(made) if made else block.rows_only(len(rows))


def _by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    """The values of each column, in the order in which the columns first appear."""
    names = dict.fromkeys(rows[0])
    if len(names) > 1 and all(names.keys() == row.keys() for row in rows):
        # Each row is visited once, not once for each column.
        in_order = map(itemgetter(*names), rows)
        return dict(zip(names, zip(*in_order, strict=True), strict=True))
    for row in rows:
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in names}


def _number_columns(by_column: Mapping[str, Sequence[Any]]) -> dict[str, pa.Array]:
    """Makes the columns that hold only integers or only floats, all at once.

    What is done for each column takes longer than its values if it has few.
    """
    alike: dict[type, dict[str, Sequence[Any]]] = {int: {}, float: {}}
    for name, values in by_column.items():
        kinds = set(map(type, values))
        kind = kinds.pop()
        if not kinds and kind in alike:
            alike[kind][name] = values
    made: dict[str, pa.Array] = {}
    for kind, found in alike.items():
        made.update(zip(found, primitive.of_columns(list(found.values()), kind), strict=False))
    return made


def _parts(table: pa.Table) -> Iterator[pa.Table]:
    """Cuts a table into so few rows that they may be Python objects at a time."""
    if table.num_rows <= 1:
        yield table
        return
    row_bytes = max(1, block.nbytes(table) // table.num_rows)
    step = max(1, min(_ROWS_MAX, _BYTES_MAX // row_bytes))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step) if step < table.num_rows else table


def _in_order(table: pa.Table) -> Iterable[Sequence[Any]]:
    """The values of each row, in the order of the columns."""
    columns_left = dict.fromkeys(range(table.num_columns))
    parts: list[Sequence[Sequence[Any]]] = []
    order: list[int] = []
    for alike in _number_types(table.schema) if table.num_columns >= block.WIDE else ():
        found = primitive.row_lists(table.select(alike))
        if found is not None:
            parts.append(found)
            order += alike
            for index in alike:
                del columns_left[index]
    if columns_left:
        names = table.column_names
        values = [_values(names[index], table.column(index)) for index in columns_left]
        parts.append(list(zip(*values, strict=True)))
        order += columns_left
    if len(parts) == 1:
        return parts[0]
    sort = itemgetter(*sorted(range(len(order)), key=order.__getitem__))
    return (sort(list(chain.from_iterable(pieces))) for pieces in zip(*parts, strict=True))


def _number_types(schema: pa.Schema) -> Iterable[list[int]]:
    """The positions of the columns of each type of numbers that many columns have."""
    alike: dict[int, list[int]] = {}
    for index, type in enumerate(schema.types):
        alike.setdefault(type.id, []).append(index)
    return [
        indices
        for indices in alike.values()
        if len(indices) >= block.WIDE and primitive.is_number(schema.field(indices[0]).type)
    ]


def _values(name: str, column: pa.ChunkedArray) -> Iterable[Any]:
    if tensor.is_tensor(column.type):
        return columns.to_numpy(column, writable=True)
    try:
        objects.require_microseconds(column)
    except ValueError as error:
        raise SchemaError(f"the column {name!r} of type {column.type} {error}") from error
    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError) as error:
        raise SchemaError(
            f"the column {name!r} of type {column.type} has a value that Python's own types do not "
            f"hold ({error}); take batches with batch_format='pyarrow'"
        ) from error
    return values


def _value_bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, (str, bytes, bytearray, list, tuple)):
        return len(value) + 8
    return 8


def _describe(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


# The sizes of these need not be asked for.
_SMALL = frozenset({int, float, bool, type(None)})
# Python objects are many times the size of what they hold, so only some rows are objects at a time.
_ROWS_MAX = 1024
_BYTES_MAX = 8 * 1024 * 1024
