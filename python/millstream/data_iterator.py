"""Iterators over a dataset, or over one part of a split: what a training loop gets.

Owns the public class, and how blocks come from where the split lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pyarrow as pa

from millstream.execution.consume import first_rows
from millstream.iteration import Iteration, Stream
from millstream.run.protocol import BlockHandle
from millstream.schema import Schema


class Begun(Protocol):
    """A call that has begun."""

    def result(self) -> Any:
        """Waits for what it returns."""


class Owned(Protocol):
    """A `SplitOwner`, here or in an actor."""

    def call(self, method: str, *args: Any) -> Begun:
        """Begins a call."""

    def caller(self) -> str:
        """Who calls."""


class DataIterator(Iteration):
    """Gives rows and batches, again and again: each iteration is an epoch.

    Made by `Dataset.iterator` and `Dataset.streaming_split`. Those of a split can be pickled, and
    each is meant for one consumer: a Ray actor or task, a worker of Ray Train, a thread. All
    consumers of a split iterate as often as each other; who leaves an epoch before its end gives
    what it has not taken to the others.

    Args:
        start: Begins an epoch of a number.
        schema: The columns, if they are known.
        stats: Where the time went.
        name: What it is called.
    """

    def __init__(
        self,
        start: Callable[[int], Stream],
        schema: Callable[[], Schema | None],
        stats: Callable[[], str],
        name: str,
    ) -> None:
        self._begin = start
        self._find_schema = schema
        self._find_stats = stats
        self._name = name
        self._epoch = 0

    def __repr__(self) -> str:
        return f"DataIterator({self._name})"

    def schema(self) -> Schema | None:
        """The columns and their types; `None` if they are not known."""
        return self._find_schema()

    def stats(self) -> str:
        """Where the time of the present epoch goes, or of the last one went."""
        return self._find_stats()

    def materialize(self) -> pa.Table:
        """All rows of an epoch that come here, in one table."""
        return first_rows(self._start(), None)

    def _start(self) -> Stream:
        epoch, self._epoch = self._epoch, self._epoch + 1
        return self._begin(epoch)


class SplitPart:
    """One consumer's part of a split.

    Args:
        owner: Where the runs live.
        consumer: The number of the consumer.
    """

    def __init__(self, owner: Owned, consumer: int) -> None:
        self._owner = owner
        self._consumer = consumer

    def __call__(self, epoch: int) -> Stream:
        """Begins an epoch."""
        return _PartStream(self._owner, self._consumer, epoch)

    def stats(self) -> str:
        """Where the time goes."""
        told: str = self._owner.call("stats").result()
        return told


class _PartStream:
    """The blocks of one epoch that come to one consumer."""

    def __init__(self, owner: Owned, consumer: int, epoch: int) -> None:
        self._owner = owner
        self._place = (consumer, epoch)
        self._caller = owner.caller()
        # Asked for before anybody waits for it.
        self._next = self._ask()
        self._left = threading.Event()

    def tables(self) -> Iterator[pa.Table]:
        """Their data."""
        for table, _ in self.sized_tables():
            yield table

    def sized_tables(self) -> Iterator[tuple[pa.Table, int]]:
        """Their data, each with its bytes."""
        is_through = False
        try:
            while not self._left.is_set():
                handle: BlockHandle | None = self._next.result()
                if handle is None:
                    is_through = True
                    return
                table, size = handle.fetch(), handle.meta.nbytes
                del handle
                # The next one comes while this one is worked on.
                self._next = self._ask()
                yield table, size
        finally:
            if not is_through:
                self.stop()

    def _ask(self) -> Begun:
        return self._owner.call("take", *self._place, self._caller)

    def stop(self) -> None:
        """Takes nothing more."""
        if not self._left.is_set():
            self._left.set()
            self._owner.call("leave", *self._place)
