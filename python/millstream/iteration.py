"""Iterating over rows: the methods that datasets and iterators of a split have in common.

Owns their public names and the checks of their arguments. `millstream.feed` owns how blocks become
rows and batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from millstream import feed
from millstream.errors.checks import check_count, check_flag
from millstream.feed.progress import Progress, Shuffle
from millstream.plan.arguments import check_batch_format

Row = dict[str, Any]


class Stream(Protocol):
    """Blocks that come, one after the other."""

    def tables(self) -> Iterator[pa.Table]:
        """Their data."""

    def sized_tables(self) -> Iterator[tuple[pa.Table, int]]:
        """Their data, each with its bytes."""

    def stop(self) -> None:
        """Ends it from any thread."""


class Iteration(ABC):
    """What can be iterated over, again and again."""

    @abstractmethod
    def _start(self) -> Stream:
        """Begins to give blocks."""

    def _follow(self, shuffle: Shuffle | None) -> Progress | None:
        """What an iteration that is to begin is told of, and goes on from; `None`: nothing."""
        return None

    @property
    @abstractmethod
    def _prefetch_bytes(self) -> int | None:
        """How many bytes of batches are made ready ahead, at most."""

    def _batches(self, batches: Mapping[str, Any], **options: Any) -> Iterable[Any]:
        """What gives batches, anew each time.

        Args:
            batches: What `batch_options` gave.
            options: Further arguments of `feed.iter_batches`.
        """
        iterate = partial(_iter_batches, prefetch_bytes=self._prefetch_bytes, **batches, **options)
        return _Again(self, iterate, _shuffle_of(batches))

    def iter_rows(self) -> Iterable[Row]:
        """Runs the dataset and gives its rows, one after the other, as they come.

        Returns:
            An iterable; each iteration is a run of its own, and ends when it is left.
        """
        return _Again(self, _iter_rows)

    def iter_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        batch_format: str | None = "default",
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        zero_copy_batch: bool = True,
    ) -> Iterable[Any]:
        """Runs the dataset and gives its rows in batches.

        Args:
            prefetch_batches: Batches that are made ready ahead of the consumer, on a thread, as
                far as they have `DataContext.prefetch_bytes` together. The order never depends on
                it.
            batch_size: Rows per batch; only the last has fewer. `None`: whole blocks.
            batch_format: As in `map_batches`.
            drop_last: Whether a last batch that is not full is left out.
            local_shuffle_buffer_size: Rows from which batches are drawn at random; `None`: in
                order.
            local_shuffle_seed: Makes that order repeatable.
            zero_copy_batch: As in `map_batches`.

        Returns:
            An iterable; each iteration is a run of its own, and ends when it is left.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        batches = batch_options(
            batch_size, drop_last, prefetch_batches, local_shuffle_buffer_size, local_shuffle_seed
        )
        check_flag("zero_copy_batch", zero_copy_batch)
        batches["batch_format"] = check_batch_format(batch_format)
        return self._batches(batches, zero_copy_batch=zero_copy_batch)

    def iter_torch_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        dtypes: Any = None,
        device: Any = "auto",
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        pin_memory: bool = False,
        zero_copy_batch: bool = False,
    ) -> Iterable[Any]:
        """Runs the dataset and gives its rows in batches, as tensors of torch by column.

        Columns of numbers, booleans and tensors become tensors; tensors of several shapes a list of
        them. Other columns, and nulls, are an error that names the column, unless `collate_fn`
        makes something of them; missing floats are NaN. An integer that a type of `dtypes` would
        change is an error. Tensors are made ready ahead, on a thread; copies to CUDA go through
        pinned memory on a stream of their own, while the loop computes.

        Args:
            prefetch_batches: As in `iter_batches`.
            batch_size: As in `iter_batches`.
            dtypes: The torch type of all tensors, or a dict of those of some columns; by default
                those of the columns.
            device: Where tensors go; `"auto"`: to CUDA where there is any.
            collate_fn: Makes of a batch, a dict of writable arrays, whatever it returns. Tensors in
                it, in dicts, lists and tuples, are moved like others; all else stays as it is.
            drop_last: As in `iter_batches`.
            local_shuffle_buffer_size: As in `iter_batches`.
            local_shuffle_seed: As in `iter_batches`.
            pin_memory: Whether tensors of the CPU lie in memory from which CUDA copies faster.
            zero_copy_batch: Gives tensors of the CPU that are views of the blocks where they can
                be, and read-only arrays to `collate_fn`. Such tensors must not be written to: torch
                does not hinder it, and it changes other rows or ends the process. Without it, all
                can be written to.

        Returns:
            An iterable; each iteration is a run of its own, and ends when it is left.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: torch is not installed.
        """
        from millstream.feed.torch import tensors_of

        batches = batch_options(
            batch_size, drop_last, prefetch_batches, local_shuffle_buffer_size, local_shuffle_seed
        )
        check_flag("pin_memory", pin_memory)
        check_flag("zero_copy_batch", zero_copy_batch)
        made = tensors_of(
            dtypes,
            device,
            pin_memory=pin_memory,
            shares_memory=zero_copy_batch,
            collate_fn=collate_fn,
        )
        return self._batches(batches, **made)


def batch_options(
    batch_size: int | None,
    drop_last: bool,
    prefetch_batches: int,
    local_shuffle_buffer_size: int | None,
    local_shuffle_seed: int | None,
) -> dict[str, Any]:
    """What all batches have in common, checked.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    check_count("batch_size", batch_size)
    check_flag("drop_last", drop_last)
    check_count("local_shuffle_seed", local_shuffle_seed, least=0)
    check_count("prefetch_batches", prefetch_batches, least=0, optional=False)
    check_count("local_shuffle_buffer_size", local_shuffle_buffer_size)
    return {
        "batch_size": batch_size,
        "drop_last": drop_last,
        "prefetch_batches": prefetch_batches,
        "local_shuffle_buffer_size": local_shuffle_buffer_size,
        "local_shuffle_seed": local_shuffle_seed,
    }


def _shuffle_of(batches: Mapping[str, Any]) -> Shuffle | None:
    buffer_rows, batch_rows = batches["local_shuffle_buffer_size"], batches["batch_size"]
    if buffer_rows is None or batch_rows is None:
        return None
    return Shuffle(buffer_rows, batch_rows, batches["local_shuffle_seed"])


def _iter_rows(stream: Stream, progress: Progress | None) -> Iterator[Row]:
    return feed.iter_rows(stream.sized_tables(), stop=stream.stop, progress=progress)


def _iter_batches(stream: Stream, progress: Progress | None, **options: Any) -> Iterator[Any]:
    return feed.iter_batches(stream.tables(), stop=stream.stop, progress=progress, **options)


class _Again(Iterable[Any]):
    """Iterates anew each time."""

    def __init__(
        self,
        over: Iteration,
        iterate: Callable[[Stream, Progress | None], Iterator[Any]],
        shuffle: Shuffle | None = None,
    ) -> None:
        self._over = over
        self._iterate = iterate
        self._shuffle = shuffle

    def __iter__(self) -> Iterator[Any]:
        progress = self._over._follow(self._shuffle)
        return self._iterate(self._over._start(), progress)
