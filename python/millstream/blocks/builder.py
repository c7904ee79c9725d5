"""Cuts a stream of tables of any size into blocks of about one size.

Must not know user code, files or scheduling. Holds at most one block's worth of small tables, and
views of a large one while it is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import pyarrow as pa

from millstream.blocks import block

Sized: TypeAlias = tuple[pa.Table, int]
"""A block, and its bytes."""


class BlockBuilder:
    """Joins small tables and splits large ones, in order.

    Args:
        bytes_target: What a block should hold; a single row may exceed it.
    """

    def __init__(self, bytes_target: int) -> None:
        # What is within 32-bit offsets as a whole is so in each column.
        self._bytes_target = min(bytes_target, int(block.OFFSET_MAX / _OVERFULL))
        self._held: list[pa.Table] = []
        self._held_bytes = 0

    def add(self, table: pa.Table) -> Iterator[Sized]:
        """Takes a table and yields the blocks that are full. The iterator must be used up."""
        table = block.plain(block.seal(table))
        if table.num_rows == 0:
            return
        size = block.nbytes(table)
        if self._held and self._held_bytes + size > self._bytes_target * _OVERFULL:
            yield self._join()
        while size > self._bytes_target * _OVERFULL and table.num_rows > 1:
            head = _head(table, size, self._bytes_target)
            table = table.slice(head.num_rows)
            size = block.nbytes(table)
            yield _compacted(head, block.nbytes(head))
        self._held.append(table)
        self._held_bytes += size
        if self._held_bytes >= self._bytes_target:
            yield self._join()

    def finish(self) -> Sized | None:
        """Returns what is left, as one block."""
        return self._join() if self._held else None

    def _join(self) -> Sized:
        held, size, self._held, self._held_bytes = self._held, self._held_bytes, [], 0
        if len(held) == 1:
            return _compacted(held[0], size)
        joined = block.compact(block.concat(held), size)
        return joined, block.nbytes(joined)


def _compacted(table: pa.Table, size: int) -> Sized:
    compact = block.compact(table, size)
    # Finding the size takes long where there are many columns.
    return compact, size if compact is table else block.nbytes(compact)


def _head(table: pa.Table, size: int, bytes_target: int) -> pa.Table:
    """Returns as many of the first rows as come near the target, at least one."""
    rows = min(max(1, table.num_rows * bytes_target // size), table.num_rows - 1)
    head = table.slice(0, rows)
    head_bytes = block.nbytes(head)
    while rows > 1 and head_bytes > bytes_target * _OVERFULL:
        rows = max(1, min(rows - 1, rows * bytes_target // head_bytes))
        smaller = table.slice(0, rows)
        smaller_bytes = block.nbytes(smaller)
        if smaller_bytes > head_bytes * _SHRINKS:
            # What is left over belongs to all rows alike, such as a dictionary.
            return head
        head, head_bytes = smaller, smaller_bytes
    return head


# A block may be a quarter over its target, so that no sliver is left of what hardly exceeds it.
_OVERFULL = 1.25
_SHRINKS = 0.95
