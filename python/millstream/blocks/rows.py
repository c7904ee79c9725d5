"""Rows: dicts of column name to value, out of blocks and into blocks.

Must not know batches, how functions are called, files or scheduling.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block, columns, objects, tensor
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
    row_bytes = max(1, block.nbytes(table) // max(1, table.num_rows))
    step = max(1, min(_ROWS_MAX, _BYTES_MAX // row_bytes))
    for start in range(0, table.num_rows, step):
        part = visible.slice(start, step)
        values = [_values(name, column) for name, column in zip(names, part.columns, strict=True)]
        for row in zip(*values, strict=True):
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
        own_row = own(row)
        self._rows.append(own_row)
        for value in own_row.values():
            self._nbytes += 8 if type(value) in _SMALL else _value_bytes(value)
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
    names: dict[str, None] = {}
    for row in rows:
        for name in row:
            names[name] = None
    made: dict[str, Column] = {}
    for name in names:
        if not isinstance(name, str):
            raise UserCodeError(
                f"the function returned a row with the key {name!r} of type "
                f"{type(name).__name__}; the keys are column names and must be strings"
            )
        index = like.get_field_index(name) if like is not None else -1
        type_before = like.field(index).type if like is not None and index >= 0 else None
        try:
            made[name] = columns.from_values([row.get(name) for row in rows], type_before)
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise UserCodeError(f"the column {name!r} of the returned rows {error}") from error
    return pa.table(made) if made else block.rows_only(len(rows))


def _values(name: str, column: pa.ChunkedArray) -> Iterable[Any]:
    if tensor.is_tensor(column.type):
        return columns.to_numpy(column, writable=True)
    try:
        objects.require_microseconds(column)
    except ValueError as error:
        raise SchemaError(f"the column {name!r} of type {column.type} {error}") from error
    values: list[Any] = column.to_pylist()
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
