"""Blocks of an earlier run as a source: what a materialized dataset reads.

Owns the unit, and how a run's blocks become units. Knows nothing of where a backend keeps blocks:
the handle does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import pyarrow as pa

from millstream.blocks import block
from millstream.execution.execution import Execution
from millstream.io.source import Source
from millstream.plan.logical import LogicalPlan, Read
from millstream.run.protocol import BlockHandle


@dataclass(frozen=True)
class KeptBlock:
    """A block that its handle keeps alive, or some of its rows.

    Args:
        handle: The block.
        schema: That of all blocks together; columns that this one lacks are null in its rows.
        start: The first row of the block that belongs to it.
        rows: How many do.
        files: None.
    """

    handle: BlockHandle
    schema: pa.Schema
    start: int
    rows: int
    files: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """About the bytes of the rows."""
        meta = self.handle.meta
        return meta.nbytes * self.rows // meta.rows if meta.rows else meta.nbytes

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows; on the machine where they are, without copying them."""
        table = self.handle.fetch().slice(self.start, self.rows)
        yield block.align(table, self.schema) if self.schema.names else table


def keep_blocks(execution: Execution, known: pa.Schema | None) -> LogicalPlan:
    """Runs to the end and keeps all blocks where they are; gives a plan that reads them.

    Args:
        execution: The run.
        known: The columns, if they are known without it: there may be no block that tells.
    """
    handles = list(execution.blocks())
    metas = [handle.meta for handle in handles]
    told = [meta.schema for meta in metas if meta.schema is not None]
    schema = block.unify_schemas(told) if told or known is None else known
    units = [KeptBlock(handle, schema, 0, handle.meta.rows) for handle in handles]
    return _plan_of(units, schema)


def cut(kept: LogicalPlan, bounds: Sequence[int]) -> list[LogicalPlan]:
    """Plans that read the rows between bounds of those that a plan of `keep_blocks` reads.

    Args:
        kept: That plan.
        bounds: The first row of each part, and the one after the last, in order.
    """
    (read,) = kept.reads()
    units = [unit for unit in read.source.units if isinstance(unit, KeptBlock)]
    ends = list(accumulate((unit.rows for unit in units), initial=0))
    parts = []
    for first, last in pairwise(bounds):
        within = []
        for unit, at in zip(units, ends, strict=False):
            start, stop = max(first, at), min(last, at + unit.rows)
            if start < stop:
                within.append(replace(unit, start=unit.start + start - at, rows=stop - start))
        parts.append(_plan_of(within, read.source.schema))
    return parts


def _plan_of(units: Sequence[KeptBlock], schema: pa.Schema | None) -> LogicalPlan:
    return LogicalPlan(Read(Source("Kept", units, schema, sum(unit.rows for unit in units))))
