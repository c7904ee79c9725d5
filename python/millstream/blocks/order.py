"""The order of rows by some of their columns.

Owns what comes before what: nulls and NaN have one place each, whatever the order of the others.
Must not know where rows come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks import block
from millstream.errors import SchemaError

Nulls = Literal["at_start", "at_end"]


@dataclass(frozen=True)
class Keys:
    """By what rows are sorted.

    Args:
        columns: The columns, the first the most important.
        descending: Whether the largest of each comes first.
        nulls: Where rows go that have a null there: behind all others, NaN included, or before.
    """

    columns: tuple[str, ...]
    descending: tuple[bool, ...]
    nulls: Nulls = "at_end"


def sorted_table(table: pa.Table, keys: Keys) -> pa.Table:
    """The rows in order; equal ones stay as they were.

    Raises:
        SchemaError: A column does not exist, or its values have no order.
    """
    block.require_columns(table.schema, keys.columns)
    return block.gatherable(table).take(pa.array(sort_indices(table, keys)))


def sort_indices(table: pa.Table, keys: Keys) -> npt.NDArray[np.int64]:
    """The places of the rows in order, shape (rows,); equal ones stay as they were.

    Raises:
        SchemaError: The values of a column have no order.
    """
    columns = {str(place): _sortable(table, name) for place, name in enumerate(keys.columns)}
    sides = ["descending" if is_down else "ascending" for is_down in keys.descending]
    return _sorted(pa.table(columns), sides, keys.nulls)


def _sorted(table: pa.Table, sides: Sequence[str], nulls: Nulls) -> npt.NDArray[np.int64]:
    if _PYARROW < _NULLS_BY_KEY:
        keys = list(zip(table.column_names, sides, strict=True))
        options = pc.SortOptions(sort_keys=keys, null_placement=nulls)
    else:
        each = [(name, side, nulls) for name, side in zip(table.column_names, sides, strict=True)]
        options = pc.SortOptions(sort_keys=each)
    # Arrow's sorts keep equal rows as they were.
    places: npt.NDArray[Any] = pc.sort_indices(table, options=options).to_numpy()
    return places.astype(np.int64)


def check_sortable(schema: pa.Schema, keys: Keys) -> None:
    """Checks that rows of a schema can be sorted.

    Raises:
        SchemaError: A column does not exist, or its values have no order.
    """
    block.require_columns(schema, keys.columns)
    sort_indices(schema.empty_table(), keys)


def _sortable(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column in a form that Arrow can sort."""
    column = table.column(name)
    type = column.type
    if pa.types.is_dictionary(type):
        column, type = column.cast(type.value_type), type.value_type
    if pa.types.is_float16(type):
        return column.cast(pa.float32())
    if pa.types.is_null(type):
        return column.cast(pa.int8())
    if pa.types.is_nested(type) or pa.types.is_interval(type) or _is_extension(type):
        raise SchemaError(
            f"rows cannot be sorted by column {name!r}: values of type {type} have no order"
        )
    if pa.types.is_duration(type):
        return column.cast(pa.int64())
    if pa.types.is_decimal32(type) or pa.types.is_decimal64(type):
        return column.cast(pa.decimal128(type.precision, type.scale))
    return column


def _is_extension(type: pa.DataType) -> bool:
    return isinstance(type, pa.BaseExtensionType)


_PYARROW = int(pa.__version__.partition(".")[0])
_NULLS_BY_KEY = 25
