"""Iterating over rows: the methods that datasets and iterators of a split have in common.

Owns their public names and the checks of their arguments. `millstream.feed` owns how blocks become
rows and batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from millstream import feed
from millstream.errors.checks import check_count, check_flag
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
            prefetch_batches: Batches that are made ready ahead of the consumer, on a thread. The
                order never depends on it.
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
        check_count("batch_size", batch_size)
        check_flag("zero_copy_batch", zero_copy_batch)
        check_flag("drop_last", drop_last)
        check_count("local_shuffle_seed", local_shuffle_seed, least=0)
        check_count("prefetch_batches", prefetch_batches, least=0, optional=False)
        check_count("local_shuffle_buffer_size", local_shuffle_buffer_size)
        batches = partial(
            _iter_batches,
            batch_size=batch_size,
            batch_format=check_batch_format(batch_format),
            drop_last=drop_last,
            prefetch_batches=prefetch_batches,
            local_shuffle_buffer_size=local_shuffle_buffer_size,
            local_shuffle_seed=local_shuffle_seed,
            zero_copy_batch=zero_copy_batch,
        )
        return _Again(self, batches)


def _iter_rows(stream: Stream) -> Iterator[Row]:
    return feed.iter_rows(stream.sized_tables(), stop=stream.stop)


def _iter_batches(stream: Stream, **options: Any) -> Iterator[Any]:
    return feed.iter_batches(stream.tables(), stop=stream.stop, **options)


class _Again(Iterable[Any]):
    """Iterates anew each time."""

    def __init__(self, over: Iteration, iterate: Callable[[Stream], Iterator[Any]]) -> None:
        self._over = over
        self._iterate = iterate

    def __iter__(self) -> Iterator[Any]:
        return self._iterate(self._over._start())
