"""Rows in a number of blocks, without moving them between partitions.

Owns the phase: the rows are kept in their blocks, and read again in as many parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from millstream.execution.kept import KeptBlock, cut, keep_blocks
from millstream.io.source import Source, UnitOfNoFiles
from millstream.plan.logical import LogicalPlan, Read


@dataclass(frozen=True)
class RepartitionStep:
    """Divides the rows, in their order, among so many blocks.

    Args:
        blocks: How many.
    """

    blocks: int

    @property
    def repeats_order(self) -> bool:
        """The order is that of the input."""
        return True

    def planned(self, plan: LogicalPlan, run: Callable[[LogicalPlan], Any]) -> LogicalPlan:
        """A plan that reads the kept rows in as many units."""
        kept = keep_blocks(run(plan), plan.schema())
        rows = kept.rows() or 0
        if not rows:
            return kept
        parts = cut(kept, [rows * part // self.blocks for part in range(self.blocks + 1)])
        (read,) = kept.reads()
        units = [Part(tuple(_units_of(part))) for part in parts]
        source = Source("Repartition", units, read.source.schema, rows)
        return LogicalPlan(Read(source, is_divided=True))

    def assumed(self, plan: LogicalPlan) -> LogicalPlan:
        """The plan as it is."""
        return plan


@dataclass(frozen=True)
class Part(UnitOfNoFiles):
    """Some rows of kept blocks, one after the other.

    Args:
        blocks: The blocks.
    """

    blocks: tuple[KeptBlock, ...]

    @property
    def nbytes(self) -> int:
        """About the bytes of the rows."""
        return sum(block.nbytes for block in self.blocks)

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows of each block."""
        for block in self.blocks:
            yield from block.read()


def _units_of(plan: LogicalPlan) -> list[KeptBlock]:
    (read,) = plan.reads()
    return [replace(unit) for unit in read.source.units if isinstance(unit, KeptBlock)]
