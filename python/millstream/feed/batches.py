"""Batches for a consumer: a stream of blocks cut to batches, shuffled, and made ready ahead.

Must not know where the blocks come from, nor user functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block, primitive
from millstream.blocks.batch import BatchFormat, rebatch, require_format, to_batch
from millstream.errors import ArgumentError
from millstream.errors.checks import check_count
from millstream.feed.prefetch import Room, prefetch
from millstream.feed.progress import Progress, without_first
from millstream.feed.size import Measured

#: What a random order depends on.
Seed = int | tuple[int, int] | None
#: A batch, after its rows.
_Counted = tuple[int, Any]


def iter_batches(
    tables: Iterable[pa.Table],
    batch_size: int | None = 256,
    batch_format: BatchFormat = "default",
    drop_last: bool = False,
    *,
    prefetch_batches: int = 1,
    prefetch_bytes: int | None = None,
    local_shuffle_buffer_size: int | None = None,
    local_shuffle_seed: int | None = None,
    zero_copy_batch: bool = True,
    convert: Callable[[Any], Any] | None = None,
    receive: Callable[[Any], Any] | None = None,
    stop: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[Any]:
    """Yields the rows of blocks as batches.

    A batch has all columns that those before it had, null where its blocks have none of that name.

    Args:
        tables: The blocks, in order. Closed at the end if they have a `close`.
        batch_size: Rows of each batch; None gives each block as one batch.
        batch_format: `"numpy"`, `"pandas"`, `"pyarrow"`, or `"default"`, which is NumPy.
        drop_last: Leaves out the last batch if it is shorter than the others.
        prefetch_batches: How many batches a thread makes ready ahead; never changes their order.
        prefetch_bytes: Once so many bytes are ready ahead, it makes no more.
        local_shuffle_buffer_size: Draws the rows of each batch from at least so many, while there
            are as many.
        local_shuffle_seed: Makes the draw repeatable.
        zero_copy_batch: Gives read-only views where a batch lies in one block, else copies that the
            consumer may write to.
        convert: Makes something else of each batch, on the thread that makes it ready.
        receive: Makes of that what the consumer gets, on its thread.
        stop: Called when the consumer leaves early; must make a blocked `tables` return.
        progress: Notes what the consumer gets. What a shuffle has drawn before is left out. A seed
            draws otherwise in each epoch.

    Raises:
        ArgumentError: An argument makes no sense; raised at the call, or when there are fewer rows
            than a shuffle has drawn.
    """
    progress = Progress() if progress is None else progress
    check_count("batch_size", batch_size)
    check_count("prefetch_batches", prefetch_batches, least=0, optional=False)
    check_count("local_shuffle_buffer_size", local_shuffle_buffer_size)
    require_format(batch_format)
    room = None
    if prefetch_batches and prefetch_bytes is not None:
        tables = Measured(tables)
        room = Room(prefetch_bytes, tables.bytes_of)
    stream: Iterator[pa.Table]
    if local_shuffle_buffer_size is not None:
        if batch_size is None:
            raise ArgumentError("local_shuffle_buffer_size needs a batch_size")
        seed = _seed_of(local_shuffle_seed, progress.epoch)
        stream = shuffled(block.completed(tables), batch_size, local_shuffle_buffer_size, seed)
        stream = without_first(stream, progress.skip_rows)
    else:
        stream = rebatch(block.completed(tables), batch_size)
    rows_min = batch_size if drop_last else None
    is_numpy = batch_format in ("default", "numpy")
    batches: Iterator[_Counted]
    if is_numpy and zero_copy_batch and batch_size is not None and not local_shuffle_buffer_size:
        batches = _closing(tables, _views(block.completed(tables), batch_size, rows_min))
    else:
        made = _batches(stream, rows_min, batch_format, not zero_copy_batch)
        batches = _closing(tables, made)
    if convert is not None:
        batches = ((rows, convert(batch)) for rows, batch in batches)
    return _noted(prefetch(batches, prefetch_batches, stop, room=room), progress, receive)


def _seed_of(seed: int | None, epoch: int) -> Seed:
    return seed if seed is None or not epoch else (seed, epoch)


def _noted(
    batches: Iterator[_Counted], progress: Progress, receive: Callable[[Any], Any] | None
) -> Iterator[Any]:
    """The batches, each noted when the consumer gets it."""
    try:
        for rows, made in batches:
            batch = made if receive is None else receive(made)
            del made
            progress.note(rows)
            yield batch
            del batch
        progress.end()
    finally:
        batches.close()  # type: ignore[attr-defined]


def shuffled(
    tables: Iterable[pa.Table], batch_rows: int, buffer_rows: int, seed: Seed
) -> Iterator[pa.Table]:
    """Yields tables of `batch_rows` rows, each drawn at random from a buffer of rows.

    The buffer is put in random order whenever it is refilled, and batches are views of it.
    """
    random = np.random.default_rng(seed)
    # How blocks happen to be cut must not decide what a seed draws.
    source = rebatch((table for table in tables if table.num_rows), batch_rows)
    # Enough to draw a batch and have as many left as were asked for.
    low = buffer_rows + batch_rows
    left: list[pa.Table] = []
    rows = 0
    while True:
        # As many again, so that each row is copied a bounded number of times.
        while rows < low + buffer_rows and (table := next(source, None)) is not None:
            left.append(table)
            rows += table.num_rows
        if not left:
            return
        exhausted = rows < low + buffer_rows
        buffer = block.gatherable(block.concat(left)).take(primitive.wrap(random.permutation(rows)))
        start = 0
        while rows - start >= low or (exhausted and start < rows):
            yield buffer.slice(start, batch_rows)
            start += batch_rows
        if exhausted:
            return
        left, rows = [buffer.slice(start)], rows - start


def _batches(
    stream: Iterator[pa.Table], rows_min: int | None, batch_format: BatchFormat, writable: bool
) -> Iterator[_Counted]:
    for table in stream:
        if rows_min is None or table.num_rows >= rows_min:
            yield table.num_rows, to_batch(table, batch_format, writable=writable)


def _views(tables: Iterable[pa.Table], rows: int, rows_min: int | None) -> Iterator[_Counted]:
    """Batches of NumPy arrays, which are views of blocks as far as they lie in one.

    What is done for each column is done once for a block of numbers, not for each of its batches.
    """
    left: list[pa.Table] = []
    left_rows = 0
    for table in tables:
        start = min(rows - left_rows, table.num_rows) if left else 0
        if start:
            left.append(table.slice(0, start))
            left_rows += start
            if left_rows < rows:
                continue
            yield rows, to_batch(block.concat(left), "numpy")
            left, left_rows = [], 0
        end = start + (table.num_rows - start) // rows * rows
        yield from _views_of(table.slice(start, end - start), rows)
        if end < table.num_rows:
            left, left_rows = [table.slice(end)], table.num_rows - end
    if left and (rows_min is None or left_rows >= rows_min):
        yield left_rows, to_batch(block.concat(left), "numpy")


def _views_of(table: pa.Table, rows: int) -> Iterator[_Counted]:
    """The batches of a block that has as many rows as some of them."""
    starts = range(0, table.num_rows, rows)
    if not all(_is_plain(column) for column in table.columns):
        for start in starts:
            yield rows, to_batch(table.slice(start, rows), "numpy")
        return
    arrays = to_batch(table, "numpy")
    for start in starts:
        yield rows, {name: array[start : start + rows] for name, array in arrays.items()}


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Whether NumPy has the same type for all of a column as for any part, and need not copy it."""
    is_number = primitive.is_number(column.type)
    return is_number and column.num_chunks == 1 and not column.null_count


def _closing(tables: Iterable[pa.Table], batches: Iterator[_Counted]) -> Iterator[_Counted]:
    try:
        yield from batches
    finally:
        close = getattr(tables, "close", None)
        if close is not None:
            close()
