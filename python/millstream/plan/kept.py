"""Blocks of an earlier run as a source: what a materialized dataset reads.

Owns the unit. Knows nothing of where a backend keeps blocks: the handle does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from millstream.blocks import block
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
