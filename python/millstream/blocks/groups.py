"""Which rows of a table belong together, and what their values come to.

Owns the groups of a table and the arithmetic over them. There is one null, one NaN and one zero
among keys; sums are exact or an error. Must not know how rows came together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks import block
from millstream.errors import SchemaError

Ids = npt.NDArray[np.int64]


class Groups:
    """The groups of a table, by the values in some of its columns.

    Args:
        table: A block.
        keys: The columns; none: all rows are one group.

    Raises:
        SchemaError: A column does not exist, or its values cannot be compared.
    """

    def __init__(self, table: pa.Table, keys: Sequence[str]) -> None:
        block.require_columns(table.schema, keys)
        self._rows = table.num_rows
        self._table = table.select(list(keys))
        self._keys = pa.table({name: key_column(table, name) for name in keys})
        #: The group of each row, by its number; groups are numbered as they first come.
        self.ids: Ids = np.zeros(self._rows, np.int64)
        for place, column in enumerate(self._keys.columns):
            codes = _codes(column)
            self.ids = codes if place == 0 else _codes_of_pairs(self.ids, codes)
        self.count = int(self.ids.max()) + 1 if self._rows else 0

    def keys(self) -> pa.Table:
        """The keys, a row for each group, in a form that has an order."""
        return block.gatherable(self._keys).take(pa.array(self.first_rows))

    def own_keys(self) -> list[pa.ChunkedArray]:
        """The keys, a row for each group, of the types that they have in the table."""
        found = self._table
        for place, (own, key) in enumerate(zip(found.columns, self._keys.columns, strict=True)):
            if pa.types.is_floating(own.type):
                found = found.set_column(place, found.field(place), key.cast(own.type))
        taken = block.gatherable(found).take(pa.array(self.first_rows))
        return list(taken.columns)

    @cached_property
    def order(self) -> Ids:
        """The rows, by group and else as they were."""
        return np.argsort(self.ids, kind="stable")

    @cached_property
    def sizes(self) -> Ids:
        """How many rows each group has."""
        return np.bincount(self.ids, minlength=self.count)

    @cached_property
    def starts(self) -> Ids:
        """Where each group begins in `order`."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.sizes)[:-1]])[: self.count]

    @cached_property
    def first_rows(self) -> Ids:
        """The first row of each group."""
        found = np.empty(self.count, np.int64)
        # Of several values for one place, the last stays.
        found[self.ids[::-1]] = np.arange(self._rows - 1, -1, -1)
        return found

    @property
    def last_rows(self) -> Ids:
        """The last row of each group."""
        found = np.empty(self.count, np.int64)
        found[self.ids] = np.arange(self._rows)
        return found

    def reduce(self, column: Any, function: str, options: Any = None) -> pa.Array:
        """What Arrow's grouped `function` makes of the values of each group."""
        table = pa.table({"group": self.ids, "value": column})
        made = table.group_by("group", use_threads=False).aggregate([("value", function, options)])
        if made.num_rows and not (made.column("group").to_numpy() == np.arange(self.count)).all():
            made = made.sort_by("group")
        return made.column(f"value_{function}").combine_chunks()

    def add_up(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum of the values of each group."""
        found = np.bincount(self.ids, weights=values, minlength=self.count)
        return found.astype(np.float64, copy=False)

    def first(self, column: pa.ChunkedArray) -> Any:
        """The value of each group's first row."""
        return column.take(pa.array(self.first_rows))

    def lists(self, column: pa.ChunkedArray, keep: npt.NDArray[np.bool_] | None = None) -> pa.Array:
        """The values of each group in a list, in the order of the rows.

        Args:
            column: The values.
            keep: Which rows count; `None`: all.
        """
        order, sizes = self.order, self.sizes
        if keep is not None:
            order = order[keep[order]]
            sizes = np.bincount(self.ids[keep], minlength=self.count)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        wide = block.gatherable(pa.table({"x": column})).column(0)
        values = wide.take(pa.array(order)).combine_chunks()
        return pa.LargeListArray.from_arrays(pa.array(offsets), values)


def key_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column as a key: values that count as equal are the same.

    Raises:
        SchemaError: Its values cannot be compared.
    """
    column = table.column(name)
    type = column.type
    if isinstance(type, pa.BaseExtensionType):
        chunks = [chunk.storage for chunk in column.chunks]
        column, type = pa.chunked_array(chunks, type.storage_type), type.storage_type
    if pa.types.is_dictionary(type):
        column, type = column.cast(type.value_type), type.value_type
    if pa.types.is_nested(type) or pa.types.is_interval(type):
        found = table.schema.field(name).type
        raise SchemaError(f"column {name!r} of type {found} cannot be a key; its parts can")
    column = computable(column)
    if pa.types.is_floating(column.type):
        zero, nan = pa.scalar(0, column.type), pa.scalar(math.nan, column.type)
        column = pc.if_else(pc.equal(column, zero), zero, column)
        column = pc.if_else(pc.is_nan(column), nan, column)
    return column


def computable(column: Any) -> Any:
    """A column in the next wider type that Arrow's functions take, if its own is not one."""
    if pa.types.is_float16(column.type):
        return column.cast(pa.float32())
    if pa.types.is_decimal(column.type) and column.type.bit_width < _DECIMAL_BITS:
        return column.cast(pa.decimal128(column.type.precision, column.type.scale))
    return column


def _codes(column: pa.ChunkedArray) -> Ids:
    """A number for each value, counted as they first come; null has one too."""
    is_wide = pa.types.is_duration(column.type)
    values = column.cast(pa.int64()) if is_wide else column
    encoded = values.combine_chunks().dictionary_encode(null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    found: Ids = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _codes_of_pairs(first: Ids, second: Ids) -> Ids:
    width = int(second.max()) + 1 if len(second) else 1
    # Neither has more numbers than there are rows.
    pairs = pa.array(first * width + second)
    found: Ids = pairs.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


#: Of the shortest decimals that Arrow computes with.
_DECIMAL_BITS = 128
