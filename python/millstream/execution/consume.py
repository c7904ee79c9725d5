"""What consumers commonly want of a run: its first rows, their number, their columns.

Owns when a run has given enough, and is stopped. Knows nothing of how it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

from millstream.blocks import block
from millstream.execution.execution import Execution


class Tables(Protocol):
    """What gives blocks, such as an `Execution`."""

    def tables(self) -> Iterator[pa.Table]:
        """Their data."""


def first_rows(source: Tables, limit: int | None) -> pa.Table:
    """The first `limit` rows as one table (all rows: `None`); stops the run when it has them."""
    tables: list[pa.Table] = []
    rows = 0
    stream = source.tables()
    for table in stream:
        tables.append(table)
        rows += table.num_rows
        if limit is not None and rows >= limit:
            break
    _close(stream)
    if not tables:
        return pa.table({})
    return block.concat(tables).slice(0, limit)


def count_rows(execution: Execution) -> int:
    """The number of rows; no data is moved for it."""
    return sum(handle.meta.rows for handle in execution.blocks())


def first_schema(execution: Execution) -> pa.Schema:
    """The schema of the first block that has rows; stops the run when it has one.

    Without any rows it is that of the empty blocks. Tensors have no shape in it if there are
    further blocks, which may have others.
    """
    empty = pa.schema([])
    first: pa.Schema | None = None
    stream = execution.blocks()
    for handle in stream:
        meta = handle.meta
        if first is not None and meta.rows:
            _close(stream)
            return block.without_shapes(first)
        if meta.schema is not None and meta.rows:
            first = block.visible_schema(meta.schema)
            if block.without_shapes(first).equals(first):
                _close(stream)
                return first
        if meta.schema is not None and not empty.names:
            empty = block.visible_schema(meta.schema)
    return empty if first is None else first


def _close(stream: Iterator[object]) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()
