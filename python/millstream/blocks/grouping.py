"""The steps of a group-by: parts of each task's groups, groups of a partition, functions of groups.

Owns the form in which parts travel. `millstream.blocks.groups` owns which rows belong together, and
the aggregations their arithmetic. Must not know how rows came to a partition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millstream.blocks import block, order
from millstream.blocks.gather import whole
from millstream.blocks.groups import Groups
from millstream.blocks.rows import iter_rows
from millstream.blocks.transforms import Blocks, MapBatches, Opened


class Aggregation(Protocol):
    """What a column comes to; see `millstream.aggregate`."""

    name: str
    on: str | None
    states: tuple[str, ...]

    def parts(self, groups: Groups, column: pa.ChunkedArray | None) -> list[Any]:
        """An array for each of `states`, with a value for each group."""

    def together(self, groups: Groups, states: list[Any]) -> list[Any]:
        """Puts parts together: `groups` are groups of parts."""

    def answer(self, states: list[Any]) -> Any:
        """The values that come out, one for each group."""


@dataclass(frozen=True)
class GroupParts:
    """Makes a row of what a task knows of each group.

    Args:
        keys: The columns of the keys.
        aggregations: What is known of a group.
    """

    keys: tuple[str, ...]
    aggregations: tuple[Aggregation, ...]

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return "GroupParts"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        held: list[pa.Table] = []
        size = 0
        for table in blocks:
            held.append(self.of(block.plain(table)))
            size += held[-1].num_rows
            if size > _ROWS_HELD:
                # What many blocks have in common is put together before there is more of it.
                held = [self._joined(held)]
                size = held[0].num_rows
            if size > _ROWS_HELD // 2:
                yield from held
                held, size = [], 0
        if held:
            yield self._joined(held)

    def of(self, table: pa.Table) -> pa.Table:
        """What is known of each group of the rows of a block.

        Raises:
            SchemaError: A column does not exist, or has no such values.
        """
        groups = Groups(table, self.keys)
        return _with_keys(groups, self.keys, self._columns(groups, table))

    def _columns(self, groups: Groups, table: pa.Table) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each, names in state_names(self.keys, self.aggregations):
            column = None if each.on is None else table.column(_known(table, each.on))
            found.update(zip(names, each.parts(groups, column), strict=True))
        return found

    def _joined(self, tables: Sequence[pa.Table]) -> pa.Table:
        if len(tables) == 1:
            return tables[0]
        together = block.concat(tables)
        groups = Groups(together, self.keys)
        columns = joined_states(groups, together, self.keys, self.aggregations)
        return _with_keys(groups, self.keys, columns)


@dataclass(frozen=True)
class Aggregated:
    """Makes a row of each group of a partition: its keys, and what the aggregations answer.

    The groups come in the order of their keys.

    Args:
        keys: The columns of the keys.
        aggregations: What is asked.
        is_partial: Whether the partition has the rows of `GroupParts`; else it has all rows.
    """

    keys: tuple[str, ...]
    aggregations: tuple[Aggregation, ...]
    is_partial: bool

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        asked = ", ".join(each.name for each in self.aggregations)
        return f"Aggregate({', '.join(self.keys)}: {asked})" if self.keys else f"Aggregate({asked})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        table = whole(blocks)
        if self.is_partial:
            table = (
                table if table.num_columns else GroupParts(self.keys, self.aggregations).of(table)
            )
        else:
            table = GroupParts(self.keys, self.aggregations).of(block.plain(table))
        groups = Groups(table, self.keys)
        columns = (
            joined_states(groups, table, self.keys, self.aggregations)
            if self.is_partial
            else {name: table.column(name).combine_chunks() for name in table.column_names}
        )
        found = dict(zip(self.keys, groups.own_keys(), strict=True))
        for each, names in state_names(self.keys, self.aggregations):
            found[each.name] = each.answer([columns[name] for name in names])
        made = pa.table(found)
        yield made.take(pa.array(_in_order(groups.keys()))) if self.keys else made


def joined_states(
    groups: Groups, table: pa.Table, keys: Sequence[str], aggregations: Sequence[Aggregation]
) -> dict[str, Any]:
    """What is known of groups of parts.

    Args:
        groups: The groups of the rows of `table`.
        table: Parts.
        keys: The columns of the keys.
        aggregations: What they are parts of.
    """
    found: dict[str, Any] = {}
    for each, names in state_names(keys, aggregations):
        states = [table.column(name).combine_chunks() for name in names]
        found.update(zip(names, each.together(groups, states), strict=True))
    return found


class MapGroups(MapBatches):
    """Calls a function with all rows of each group; it may give one batch, or any number.

    Args:
        keys: The columns of the keys; none: all rows are one group.
        function: See `MapBatches`.
        **options: Of `MapBatches`, but for `batch_size`.
    """

    label = "MapGroups"

    def __init__(self, keys: tuple[str, ...], function: Any, **options: Any) -> None:
        super().__init__(function, batch_size=None, **options)
        self.keys = keys

    def open(self) -> Callable[[Blocks], Blocks]:
        """Loads the class, if it is one."""
        apply = super().open()
        return Opened(lambda blocks: _joined_small(apply(blocks)), apply)

    def _told_of(self, index: int, table: pa.Table) -> str:
        if not self.keys:
            return "the group of all rows"
        key = next(iter_rows(table.select(list(self.keys)).slice(0, 1)))
        return f"the group of {', '.join(f'{name}={value!r}' for name, value in key.items())}"

    def _tables(self, blocks: Blocks) -> Iterator[pa.Table]:
        table = whole(blocks)
        if not table.num_rows:
            return
        groups = Groups(table, self.keys)
        rows = block.gatherable(table).take(pa.array(groups.order))
        starts = [*groups.starts.tolist(), table.num_rows]
        keys = groups.keys()
        for place in _in_order(keys):
            yield rows.slice(starts[place], starts[place + 1] - starts[place])


def _joined_small(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Puts small neighbours of one schema into one table: what is done for each table adds up."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        if held and (rows >= _ROWS_TOGETHER or not held[0].schema.equals(table.schema)):
            yield pa.concat_tables(held).combine_chunks()
            held, rows = [], 0
        if table.num_rows >= _ROWS_TOGETHER:
            yield table
            continue
        held.append(table)
        rows += table.num_rows + 1
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _in_order(keys: pa.Table) -> npt.NDArray[np.int64]:
    """The groups in the order of their keys."""
    if not keys.num_columns:
        return np.zeros(1, np.int64)
    names = tuple(keys.column_names)
    return order.sort_indices(keys, order.Keys(names, (False,) * len(names)))


@dataclass(frozen=True)
class DistinctRows:
    """Keeps one row of all whose values in some columns are equal.

    Args:
        keys: The columns.
        keep: Which one, in the order of the rows: `"first"` or `"last"`.
    """

    keys: tuple[str, ...]
    keep: str = "first"

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Distinct({', '.join(self.keys)})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        table = whole(blocks)
        groups = Groups(table, self.keys)
        rows = groups.first_rows if self.keep == "first" else groups.last_rows
        rows.sort()
        yield block.gatherable(table).take(pa.array(rows))


def _with_keys(groups: Groups, keys: Sequence[str], columns: dict[str, Any]) -> pa.Table:
    return pa.table({**dict(zip(keys, groups.own_keys(), strict=True)), **columns})


def _known(table: pa.Table, name: str) -> str:
    block.require_columns(table.schema, [name])
    return name


def state_names(
    keys: Sequence[str], aggregations: Sequence[Aggregation]
) -> Iterator[tuple[Aggregation, list[str]]]:
    """The columns of the parts of each aggregation; errors show them to users.

    Args:
        keys: The columns that they stand beside.
        aggregations: Of different names.
    """
    mark = ", "
    while any(
        f"{each.name}{mark}{state}" in keys for each in aggregations for state in each.states
    ):
        mark += " "
    for each in aggregations:
        yield each, [f"{each.name}{mark}{state}" for state in each.states]


#: Tables of more rows are worth handing on alone.
_ROWS_TOGETHER = 4096
#: Parts of more groups than this are handed over, and put together behind the exchange only.
_ROWS_HELD = 1 << 18
