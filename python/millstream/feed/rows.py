"""Rows for a consumer.

Must not know where the blocks come from, nor user functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.rows import Row
from millstream.blocks.rows import iter_rows as rows_of
from millstream.errors.checks import check_count
from millstream.feed.prefetch import prefetch
from millstream.feed.progress import Progress


def iter_rows(
    blocks: Iterable[tuple[pa.Table, int]],
    *,
    prefetch_blocks: int = 1,
    stop: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[Row]:
    """Yields the rows of blocks as dicts, in order.

    A row has all columns that rows before it had, None where its block has none of that name.

    Args:
        blocks: The blocks, each with its bytes. Closed at the end if they have a `close`.
        prefetch_blocks: How many blocks a thread fetches ahead, or many times as many tiny ones.
        stop: Called when the consumer leaves early; must make a blocked `blocks` return.
        progress: Notes what the consumer gets.

    Raises:
        ArgumentError: An argument makes no sense; raised at the call.
    """
    check_count("prefetch_blocks", prefetch_blocks, least=0, optional=False)
    ready = prefetch(iter(blocks), prefetch_blocks, stop, is_light=_is_tiny)
    return _rows(ready) if progress is None else _noted(ready, progress)


def _is_tiny(sized: tuple[pa.Table, int]) -> bool:
    return sized[1] <= _TINY_BYTES


def _rows(blocks: Iterator[tuple[pa.Table, int]]) -> Iterator[Row]:
    try:
        for table in block.completed(table for table, _ in blocks):
            yield from rows_of(table)
    finally:
        _close(blocks)


def _noted(blocks: Iterator[tuple[pa.Table, int]], progress: Progress) -> Iterator[Row]:
    try:
        tables = block.completed(table for table, _ in blocks)
        for table in tables:
            for row in rows_of(table):
                progress.note(1)
                yield row
        progress.end()
    finally:
        _close(blocks)


def _close(blocks: Iterator[tuple[pa.Table, int]]) -> None:
    close = getattr(blocks, "close", None)
    if close is not None:
        close()


#: A block that costs more to hand to another thread than to read.
_TINY_BYTES = 16 << 10
