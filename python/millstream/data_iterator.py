"""Iterators over a dataset, or over one part of a split: what a training loop gets.

Owns the public class, and how blocks come from where the split lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from millstream.errors import ArgumentError
from millstream.errors.checks import check_count
from millstream.execution.consume import first_rows
from millstream.execution.execution import Execution, PlacedBlock
from millstream.feed.progress import Place, Progress, Shuffle, Start, progress_of
from millstream.frameworks import Frameworks
from millstream.iteration import Stream
from millstream.schema import Schema

if TYPE_CHECKING:
    from millstream.dataset import Dataset


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


class DataIterator(Frameworks):
    """Gives rows and batches, again and again: each iteration is an epoch.

    Made by `Dataset.iterator` and `Dataset.streaming_split`. Those of a split can be pickled, and
    each is meant for one consumer: a Ray actor or task, a worker of Ray Train, a thread. All
    consumers of a split iterate as often as each other; who leaves an epoch before its end gives
    what it has not taken to the others.

    Args:
        start: Begins an epoch of a number, of which some rows were had before (`None`: that is not
            told).
        schema: The columns, if they are known.
        stats: Where the time went.
        name: What it is called.
        what_differs: What keeps it from going on where another stopped: the rows that come, or
            their order, are others in each run. `None`: nothing.
        consumer: Its number, and of how many.
        prefetch_bytes: How many bytes of batches are made ready ahead, at most.
    """

    def __init__(
        self,
        start: Callable[[int, Start | None], PlacedStream],
        schema: Callable[[], Schema | None],
        stats: Callable[[], str],
        name: str,
        what_differs: Callable[[], str | None],
        consumer: tuple[int, int] = (0, 1),
        prefetch_bytes: int | None = None,
    ) -> None:
        self._begin = start
        self._find_schema = schema
        self._find_stats = stats
        self._name = name
        self._what_differs = what_differs
        self._consumer = consumer
        self._bytes_ahead = prefetch_bytes
        # Of the iteration that began last; before the first, and after a state was loaded, that of
        # the next.
        self._progress = Progress()
        self._is_loaded = False
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
        """All rows of an epoch that come here, in one table; after a loaded state, the rest."""
        progress = self._follow(None)
        table = first_rows(self._start(), None)
        progress.end()
        return table

    def state_dict(self) -> dict[str, Any]:
        """How far the iteration that began last has come, for `load_state_dict`.

        It counts the rows that the loop has got, none that is only made ready. After the end of an
        epoch it is the beginning of the next one.

        Of a split, each consumer has its own; take them at the same step, and pass the list of all
        to each consumer of the next split, of however many.

        Returns:
            A dict that JSON can hold. It has a few numbers for each block that this consumer got of
            the epoch, if others got those between; else it is small.

        Raises:
            ArgumentError: An iteration cannot go on from a state: the rows or their order are
                others in each run, or it draws at random.

        Example:
            >>> part = ms.range(10).iterator()
            >>> for batch in part.iter_batches(batch_size=4):
            ...     state = part.state_dict()
            ...     break
            >>> other = ms.range(10).iterator()
            >>> other.load_state_dict(state)
            >>> [list(batch["id"]) for batch in other.iter_batches(batch_size=4)]
            [[4, 5, 6, 7], [8, 9]]
        """
        self._check_repeats("state_dict")
        shuffle = self._progress.shuffle
        if shuffle is not None and self._progress.has_begun:
            if shuffle.seed is None:
                raise ArgumentError(
                    "state_dict: a local shuffle without a seed draws otherwise each time: pass "
                    "local_shuffle_seed"
                )
            if self._consumer[1] > 1:
                raise ArgumentError(
                    "state_dict: a local shuffle of one of several consumers cannot go on, since "
                    "it gets other rows each time: shuffle the dataset before it is split"
                )
        return self._progress.state(*self._consumer)

    def load_state_dict(self, state: Any) -> None:
        """Has the next iteration go on where another one stopped: each row comes once in all.

        The dataset must be the same: the same files, operators and seeds. What comes before the
        state is not read again, except from the last unit on at which all rows before were had. It
        is run again and left out after a `sort`, a shuffle, a limit, a `zip` or a `union`, and with
        a local shuffle.

        Args:
            state: What `state_dict` gave, of this iterator or another one; or the list of what it
                gave of all consumers of a split at the same step.

        Raises:
            ArgumentError: It is none, the list is not of all consumers, or the iteration cannot go
                on from a state.
        """
        self._check_repeats("load_state_dict")
        progress = progress_of(state)
        if progress.shuffle is not None and self._consumer[1] > 1:
            raise ArgumentError(
                "load_state_dict: the state is of an iteration with a local shuffle, with which "
                "only a consumer of all rows can go on"
            )
        self._progress = progress
        self._epoch, self._is_loaded = self._progress.epoch, True

    def set_epoch(self, epoch: int) -> None:
        """Has the next iteration be that of an epoch, from its first row.

        A local shuffle with a seed has another order in each epoch. If a state of this epoch was
        loaded, the next iteration still goes on from there.

        Args:
            epoch: Its number, from 0.

        Raises:
            ArgumentError: It is no number of an epoch.
        """
        check_count("epoch", epoch, least=0, optional=False)
        is_there = self._is_loaded and self._epoch == epoch
        if not is_there:
            self._epoch, self._progress, self._is_loaded = epoch, Progress(epoch), False

    def _check_repeats(self, method: str) -> None:
        problem = self._what_differs()
        if problem is not None:
            raise ArgumentError(f"{method}: {problem}")

    @property
    def _prefetch_bytes(self) -> int | None:
        return self._bytes_ahead

    def _for_loader(self) -> tuple[DataIterator, Dataset | None]:
        return self, getattr(self._begin, "dataset", None)

    def _follow(self, shuffle: Shuffle | None) -> Progress:
        before = self._progress if self._is_loaded else Progress(self._epoch)
        if before.has_begun and shuffle != before.shuffle:
            raise ArgumentError(
                "load_state_dict: the state is of an iteration with "
                f"{_told(before.shuffle)}, and this one has {_told(shuffle)}: the rows would come "
                "in another order"
            )
        self._is_loaded = False
        before.shuffle = shuffle
        self._progress = before
        return before

    def _start(self) -> Stream:
        epoch, self._epoch = self._epoch, self._epoch + 1
        progress = self._progress
        start = progress.start if self._what_differs() is None else None
        return _Left(self._begin(epoch, start), progress)


class PlacedStream(Protocol):
    """Blocks that come, one after the other, each with its place in the dataset and its bytes."""

    def placed(self) -> Iterator[tuple[pa.Table, Place, int]]:
        """Their data."""

    def stop(self) -> None:
        """Ends it from any thread."""


class _Left:
    """What comes of blocks: the rows that were not had before.

    Args:
        stream: The blocks.
        progress: What was had.
    """

    def __init__(self, stream: PlacedStream, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress

    def tables(self) -> Iterator[pa.Table]:
        """Their data."""
        for table, _ in self.sized_tables():
            yield table

    def sized_tables(self) -> Iterator[tuple[pa.Table, int]]:
        """Their data, each with its bytes."""
        placed = self._stream.placed()
        try:
            yield from self._progress.tables(placed)
        finally:
            placed.close()  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Takes nothing more."""
        self._stream.stop()


def _told(shuffle: Shuffle | None) -> str:
    if shuffle is None:
        return "no local shuffle"
    return (
        f"local_shuffle_buffer_size={shuffle.buffer_rows}, local_shuffle_seed={shuffle.seed}, "
        f"batch_size={shuffle.batch_rows}"
    )


class WholeStream:
    """The blocks of one run.

    Args:
        execution: The run.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def placed(self) -> Iterator[tuple[pa.Table, Place, int]]:
        """Their data, each with its place and its bytes."""
        for handle in self._execution.blocks():
            place = self._execution.placed(handle).place
            yield handle.fetch(), place, handle.meta.nbytes
        self._execution.check_end()

    def stop(self) -> None:
        """Ends the run."""
        self._execution.stop()


class SplitPart:
    """One consumer's part of a split.

    Args:
        owner: Where the runs live.
        consumer: The number of the consumer.
    """

    def __init__(self, owner: Owned, consumer: int) -> None:
        self._owner = owner
        self._consumer = consumer

    def __call__(self, epoch: int, start: Start | None) -> PlacedStream:
        """Begins an epoch."""
        return _PartStream(self._owner, self._consumer, epoch, start)

    def stats(self) -> str:
        """Where the time goes."""
        told: str = self._owner.call("stats").result()
        return told


class _PartStream:
    """The blocks of one epoch that come to one consumer."""

    def __init__(self, owner: Owned, consumer: int, epoch: int, start: Start | None) -> None:
        self._owner = owner
        self._place = (consumer, epoch)
        self._caller = owner.caller()
        # Asked for before anybody waits for it.
        self._next = self._ask(start)
        self._received = 0
        self._left = threading.Event()

    def placed(self) -> Iterator[tuple[pa.Table, Place, int]]:
        """Their data."""
        is_through = False
        try:
            while not self._left.is_set():
                found: PlacedBlock | None = self._next.result()
                if found is None:
                    is_through = True
                    return
                table, size, place = found.handle.fetch(), found.handle.meta.nbytes, found.place
                self._received += 1
                del found
                # The next one comes while this one is worked on.
                self._next = self._ask()
                yield table, place, size
        finally:
            if not is_through:
                self.stop()

    def _ask(self, start: Start | None = None) -> Begun:
        return self._owner.call("take", *self._place, self._caller, start)

    def stop(self) -> None:
        """Takes nothing more."""
        if not self._left.is_set():
            self._left.set()
            self._owner.call("leave", *self._place, self._received)
