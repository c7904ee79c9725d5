"""What many values come to: sums, bounds and means that are put together from parts.

Owns the arithmetic of parts, exact for integers and decimals, and what NaN and null mean in it.
Knows nothing of where parts are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks import block, rows
from millstream.blocks.common_type import is_text
from millstream.blocks.primitive import is_number
from millstream.blocks.transforms import Blocks
from millstream.errors import SchemaError


@dataclass(frozen=True)
class Part:
    """What is known of some values of a column.

    Args:
        count: The values that are not null.
        nulls: Those that are.
        total: Their sum: an int, a Decimal or a float; `None` if they are no numbers, or none.
        mean: Their mean.
        spread: The sum of the squares of their distances from the mean.
        least: The least of them, that is not NaN if there is one, in an array of one; or of none.
        most: The largest, likewise.
    """

    count: int
    nulls: int
    total: int | Decimal | float | None
    mean: float
    spread: float
    least: pa.Array
    most: pa.Array

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Part:
        """What is known of a column."""
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        values = column.drop_null()
        bounds = _bounds(values)
        total = _total(values) if is_summed(column.type) and len(values) else None
        mean, spread = (0.0, 0.0) if total is None else _moments(values, total)
        return cls(len(values), column.null_count, total, mean, spread, *bounds)

    def with_other(self, other: Part) -> Part:
        """What is known of the values of both.

        The mean and the spread by Chan, Golub and LeVeque, "Updating formulae and a pairwise
        algorithm for computing sample variances" (1979).
        """
        count = self.count + other.count
        totals = [part.total for part in (self, other) if part.total is not None]
        distance = other.mean - self.mean
        weight = other.count / count if count else 0.0
        mean = self.mean + distance * weight if self.count else other.mean
        apart = distance**2 * self.count * weight if self.count and other.count else 0.0
        return Part(
            count,
            self.nulls + other.nulls,
            _sum(totals) if totals else None,
            mean,
            self.spread + other.spread + apart,
            _bounds(_both(self.least, other.least))[0],
            _bounds(_both(self.most, other.most))[1],
        )

    def to_table(self, place: int) -> pa.Table:
        """It as a row, of the column at a place."""
        kind = "" if self.total is None else type(self.total).__name__
        total = self.total.hex() if isinstance(self.total, float) else str(self.total)
        values = [self.count, self.nulls, kind, total, self.mean, self.spread]
        columns = [pa.array([value]) for value in values]
        bounds = [pa.ListArray.from_arrays([0, len(end)], end) for end in (self.least, self.most)]
        return pa.table([*columns, *bounds], names=[f"{name}{place}" for name in _NAMES])

    @classmethod
    def from_table(cls, table: pa.Table, place: int) -> Part:
        """The part that `to_table` made a row of."""
        found = [table.column(f"{name}{place}").combine_chunks() for name in _NAMES]
        count, nulls, kind, total, mean, spread = (each[0].as_py() for each in found[:6])
        least, most = (each.flatten() for each in found[6:])
        return cls(count, nulls, _TOTALS[kind](total), mean, spread, least, most)


@dataclass(frozen=True)
class Parts:
    """Makes a row of each task's parts of some columns.

    Args:
        columns: Their names.
        needs_sum: Whether values that are no numbers are refused.
        needs_bounds: Whether values that have no order are.
    """

    columns: tuple[str, ...]
    needs_sum: bool = False
    needs_bounds: bool = False

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Aggregate({', '.join(self.columns)})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        whole: list[Part] = []
        for table in blocks:
            if table.num_rows:
                block.require_columns(table.schema, self.columns)
                chosen = block.plain(table.select(list(self.columns)))
                parts = list(map(self._part, chosen.schema, chosen.columns))
                whole = [*map(Part.with_other, whole, parts)] if whole else parts
        if whole:
            yield _beside(part.to_table(place) for place, part in enumerate(whole))

    def _part(self, field: pa.Field, column: pa.ChunkedArray) -> Part:
        is_right = not self.needs_sum or is_summed(field.type) or pa.types.is_null(field.type)
        is_right = is_right and (not self.needs_bounds or is_ordered(field.type))
        if not is_right:
            wanted = "numbers to add up" if self.needs_sum else "an order"
            raise SchemaError(f"column {field.name!r} of type {field.type} has not {wanted}")
        return Part.of(column)


@dataclass(frozen=True)
class Distinct:
    """Gives each task's distinct values of a column, with one null if there is any.

    Args:
        column: Its name.
    """

    column: str

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Unique({self.column})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        found: list[pa.Table] = []
        for table in blocks:
            if table.num_rows:
                block.require_columns(table.schema, [self.column])
                chosen = block.plain(table.select([self.column]))
                found = [self._distinct(block.concat([*found, chosen]))]
        yield from found

    def _distinct(self, table: pa.Table) -> pa.Table:
        column = table.column(0)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        try:
            return pa.table({self.column: pc.unique(_one_zero(column))})
        except pa.ArrowNotImplementedError as error:
            raise SchemaError(
                f"column {self.column!r} of type {column.type} has values that cannot be compared"
            ) from error


def distinct_values(tables: Iterable[pa.Table], *, ignore_nulls: bool) -> list[Any]:
    """The distinct values in tables of one column, in the order in which they first come."""
    found: dict[Any, Any] = {}
    for table in tables:
        for row in rows.iter_rows(table):
            (value,) = row.values()
            is_nan = isinstance(value, float) and math.isnan(value)
            found.setdefault(_NAN if is_nan else value, value)
    return [value for value in found.values() if value is not None or not ignore_nulls]


def _beside(tables: Iterable[pa.Table]) -> pa.Table:
    pairs = [pair for each in tables for pair in zip(each.column_names, each.columns, strict=True)]
    return pa.table(dict(pairs))


def is_summed(type: pa.DataType) -> bool:
    """Whether values of a type can be added up."""
    types = pa.types
    if types.is_dictionary(type):
        return is_summed(type.value_type)
    return bool(is_number(type) or types.is_boolean(type) or types.is_decimal(type))


def is_ordered(type: pa.DataType) -> bool:
    """Whether one of two values of a type is the larger."""
    types = pa.types
    if types.is_dictionary(type):
        return is_ordered(type.value_type)
    is_bytes = types.is_binary(type) or types.is_large_binary(type)
    is_time = types.is_temporal(type) and not types.is_interval(type)
    return bool(is_summed(type) or is_text(type) or is_bytes or is_time or types.is_null(type))


def _bounds(values: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """The least and the largest value, each in an array of one; of none if there are none."""
    if not len(values) or not is_ordered(values.type) or pa.types.is_null(values.type):
        none = pa.array([], values.type if is_ordered(values.type) else pa.null())
        return none, none
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    if pa.types.is_floating(values.type):
        numbers = values.filter(pc.invert(pc.is_nan(values)))
        values = numbers if len(numbers) else values
    if pa.types.is_duration(values.type):
        # Arrow has no bounds for them.
        return tuple(each.cast(values.type) for each in _bounds(values.cast(pa.int64())))
    found = pc.min_max(values)
    return pa.array([found["min"]], values.type), pa.array([found["max"]], values.type)


def _both(left: pa.Array, right: pa.Array) -> pa.ChunkedArray:
    tables = [pa.table({"x": each}) for each in (left, right) if not pa.types.is_null(each.type)]
    return block.concat(tables).column(0) if tables else pa.chunked_array([left])


def _total(values: pa.ChunkedArray) -> int | Decimal | float:
    types = pa.types
    if types.is_boolean(values.type):
        return int(pc.sum(values).as_py())
    if types.is_integer(values.type):
        found = pc.min_max(values)
        largest = max(abs(found["min"].as_py()), abs(found["max"].as_py()))
        if largest * len(values) < _INT64_END:
            return int(pc.sum(values).as_py())
        whole: int = sum(values.to_pylist())
        return whole
    if types.is_decimal(values.type):
        exact: Decimal = _sum(values.to_pylist())
        return exact
    return float(pc.sum(values.cast(pa.float64())).as_py())


def _sum(totals: list[Any]) -> Any:
    """The sum of numbers, to the last digit where they have an end."""
    with localcontext(prec=_DIGITS):
        return sum(totals[1:], totals[0])


def _moments(values: pa.ChunkedArray, total: int | Decimal | float) -> tuple[float, float]:
    mean = float(total / len(values))
    if pa.types.is_decimal(values.type):
        array = np.array([float(value) for value in values.to_pylist()])
    else:
        array = values.cast(pa.float64(), safe=False).to_numpy()
    with np.errstate(invalid="ignore", over="ignore"):
        return mean, float(np.square(array - mean).sum())


def _one_zero(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Makes 0.0 of -0.0, which is equal to it."""
    if not pa.types.is_floating(column.type) or pa.types.is_float16(column.type):
        return column
    return pc.if_else(
        pc.equal(column, pa.scalar(0, column.type)), pa.scalar(0, column.type), column
    )


_NAMES = ["count", "nulls", "kind", "total", "mean", "spread", "least", "most"]
_TOTALS: dict[str, Callable[[str], Any]] = {
    "": lambda _: None,
    "int": int,
    "float": float.fromhex,
    "Decimal": Decimal,
}
_INT64_END = 2**63
#: Of sums of decimals: more than any decimal of Arrow's has, times any number of rows.
_DIGITS = 120
_NAN = object()
