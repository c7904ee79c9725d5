"""Blocks of an earlier run as a source: what a materialized dataset reads.

Owns the unit, and how a run's blocks become units. Knows nothing of where a backend keeps blocks:
the handle does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from millstream.blocks import block
from millstream.execution.execution import Execution
from millstream.io.source import ReadUnit, Source
from millstream.plan.logical import LogicalPlan, Read
from millstream.run.protocol import BlockHandle


@dataclass(frozen=True)
class KeptBlock:
    """A block that its handle keeps alive.

    Args:
        handle: The block.
        schema: That of all blocks together; columns that this one lacks are null in its rows.
        files: None.
    """

    handle: BlockHandle
    schema: pa.Schema
    files: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """The bytes of the block."""
        return self.handle.meta.nbytes

    def read(self) -> Iterator[pa.Table]:
        """Yields the block; on the machine where it is, without copying it."""
        table = self.handle.fetch()
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
    units: list[ReadUnit] = [KeptBlock(handle, schema) for handle in handles]
    return LogicalPlan(Read(Source("Kept", units, schema, sum(meta.rows for meta in metas))))
