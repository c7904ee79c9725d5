"""How many partitions an exchange has, and where those of a sort begin.

Owns the estimate of how much there is to exchange, and the sample that a sort begins with. Knows
nothing of how anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block, order
from millstream.blocks.gather import Sorted
from millstream.blocks.partition import ByOrder, Partitioner
from millstream.blocks.row_hash import hash_rows
from millstream.blocks.transforms import Blocks
from millstream.io.source import ReadUnit, Source
from millstream.plan.logical import Exchange, LogicalPlan, Map, Read, Zip, same_columns


@dataclass(frozen=True)
class OnePartition:
    """All rows go to one partition."""

    partitions: int = 1

    def parts(self, table: pa.Table) -> Any:
        """Zeros."""
        return np.zeros(table.num_rows, np.int64)


def partitions_for(plan: LogicalPlan) -> int:
    """About how many partitions the rows of a plan are exchanged by, as far as sizes are known.

    What users' functions make of the rows is not known: it is assumed to be larger.
    """
    sizes = [unit.nbytes for read in plan.reads() for unit in read.source.units]
    if not all(sizes):
        known = [size for size in sizes if size]
        usual = sum(known) // len(known) if known else PARTITION_BYTES
        sizes = [size or usual for size in sizes]
    steps = [operator for each in plan.all() for operator in each.operators]
    may_grow = any(isinstance(each, Map) and each.columns is None for each in steps)
    growth = GROWTH if may_grow else 1
    whole = -(-sum(sizes) * growth // PARTITION_BYTES)
    return max(growth, min(PARTITIONS_MAX, whole))


@dataclass(frozen=True)
class SortStep:
    """Sorts by what a sample of the rows tells of the keys.

    Args:
        keys: By what.
        partitions: How many partitions are meant.
    """

    keys: order.Keys
    partitions: int

    @property
    def repeats_order(self) -> bool:
        """The order is that of the keys, then that of the input."""
        return True

    def planned(self, plan: LogicalPlan, run: Callable[[LogicalPlan], Any]) -> LogicalPlan:
        """The plan with the sort behind it."""
        if self.partitions == 1:
            return self.assumed(plan)
        sample = KeySample(self.keys.columns)
        tables = list(run(_part_of(plan).then(Map(sample, changes_rows=True))).tables())
        with_rows = [table for table in tables if table.num_rows]
        if not with_rows:
            return self.assumed(plan)
        bounds = self._bounds(block.concat(with_rows))
        partitioner = ByOrder(self.keys, bounds) if bounds.num_rows else OnePartition()
        return self._with(plan, partitioner)

    def assumed(self, plan: LogicalPlan) -> LogicalPlan:
        """The plan with a sort in one partition behind it."""
        return self._with(plan, OnePartition())

    def _with(self, plan: LogicalPlan, partitioner: Partitioner) -> LogicalPlan:
        gather = Sorted(self.keys)
        same = Exchange(gather.name, partitioner, gather, columns=same_columns, keeps_rows=True)
        return plan.then(same)

    def _bounds(self, sample: pa.Table) -> pa.Table:
        """The rows with which all partitions but the first begin."""
        table = order.sorted_table(sample, self.keys)
        places = np.linspace(0, table.num_rows, self.partitions + 1)[1:-1].astype(np.int64)
        bounds = table.take(pa.array(np.unique(places)))
        # Equal ones would only make partitions without rows.
        hashes = hash_rows(bounds, self.keys.columns)
        is_new = np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]
        return bounds.take(pa.array(np.flatnonzero(is_new)))


@dataclass(frozen=True)
class KeySample:
    """Some rows of the first that a task gets, with the columns of the keys only.

    Args:
        columns: The columns.
    """

    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Sample({', '.join(self.columns)})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        taken = 0
        for table in blocks:
            if not table.num_rows:
                continue
            block.require_columns(table.schema, self.columns)
            count = min(SAMPLE_ROWS, table.num_rows)
            rows = np.linspace(0, table.num_rows - 1, count).astype(np.int64)
            chosen = block.gatherable(table.select(list(self.columns)))
            yield chosen.take(pa.array(rows))
            taken += table.num_rows
            if taken >= SAMPLE_LOOKED_AT:
                return


def _part_of(plan: LogicalPlan) -> LogicalPlan:
    """The plan with only some units of its sources, where that leaves rows as they are."""

    def change(plan: LogicalPlan, inputs: list[LogicalPlan]) -> LogicalPlan:
        start = plan.start
        if isinstance(start, Read):
            return replace(plan, start=replace(start, source=_part_of_source(start.source)))
        return replace(plan, start=replace(start, inputs=tuple(inputs)))

    has_zip = any(isinstance(each.start, Zip) for each in plan.all())
    return plan if has_zip else plan.fold(change)


def _part_of_source(source: Source) -> Source:
    units: Sequence[ReadUnit] = source.units
    places = np.unique(np.linspace(0, max(0, len(units) - 1), SAMPLE_UNITS).astype(np.int64))
    chosen = [units[int(place)] for place in places[: len(units)]]
    nothing: dict[str, Any] = dict.fromkeys(("with_columns", "with_filter", "redrawn", "completed"))
    return replace(source, units=chosen, rows=None, **nothing)


#: What a partition should hold: a task has it in memory, and a copy of it.
PARTITION_BYTES = 32 << 20
#: How many times as many bytes users' functions may make of what is read.
GROWTH = 8
#: More are small, and cost more than they help.
PARTITIONS_MAX = 256
#: Of so many units of a source a sort looks at the keys first,
SAMPLE_UNITS = 16
#: of so many rows of each block,
SAMPLE_ROWS = 1000
#: until it has seen so many rows of a task.
SAMPLE_LOOKED_AT = 100_000
