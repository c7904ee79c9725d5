"""The runs of a split: one for each epoch, shared by all its consumers.

Owns which epoch a consumer is in, and when a run of it begins and ends. Where this lives, the runs
do: in the program itself, or in an actor.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from millstream.context import DataContext
from millstream.errors import ArgumentError, RunStoppedError
from millstream.execution.execution import Execution, PlacedBlock, SplitOptions
from millstream.feed.progress import Start
from millstream.plan.logical import LogicalPlan
from millstream.run.protocol import warn


@dataclass
class _Epoch:
    """One pass over the rows.

    Args:
        run: The run; it has begun.
        left: The consumers that have not come to its end.
        start: What of its rows was had before; `None`: that is not told.
        begun: Those that have asked for blocks.
        is_told: Whether it has been told that some have not.
    """

    run: Execution
    left: set[int]
    start: Start | None
    begun: set[int] = field(default_factory=set)
    is_told: bool = False


class SplitOwner:
    """Gives the blocks of a plan to several consumers, epoch by epoch.

    A consumer that begins an epoch before the others have ended the one before gets its blocks at
    once: that epoch's run begins with it. A consumer whose process dies has left.

    Args:
        plan: What runs.
        context: How.
        options: Among how many consumers the output is divided, and how.
        alive: The processes that are alive; `None` if nobody can tell.
        deserted: Called once when all consumers are gone for good, after which nobody takes
            anything; `None` if somebody may still hand their iterators to others.
        now: The time in seconds.
    """

    def __init__(
        self,
        plan: LogicalPlan,
        context: DataContext,
        options: SplitOptions,
        alive: Callable[[], set[str] | None] = lambda: None,
        deserted: Callable[[], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._context = context
        self._options = options
        self._epochs: dict[int, _Epoch] = {}
        # Of the last run that has ended.
        self._last: Execution | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._alive = alive
        self._deserted = deserted
        self._now = now
        # Since when no consumer that was seen is alive; `None` if one is.
        self._empty_since: float | None = None
        # Where each consumer is, and which of these processes were seen alive.
        self._callers: dict[int, str] = {}
        self._seen: set[str] = set()
        self._wakes = threading.Event()
        self._watcher: threading.Thread | None = None

    def take(
        self, consumer: int, epoch: int, caller: str = "", start: Start | None = None
    ) -> PlacedBlock | None:
        """Waits for a consumer's next block of an epoch; `None` after its last.

        The one before is taken by this.

        Args:
            consumer: Which.
            epoch: Of which epoch.
            caller: In which process it is.
            start: What of the epoch's rows was had before; `None`: that is not told.

        Raises:
            RunStoppedError: The split was closed.
            ArgumentError: Another consumer says that other rows were had before, or there are fewer
                rows than were had.
            MillstreamError: The run failed.
        """
        self._note_caller(consumer, caller)
        found = self._epoch(epoch, start)
        if consumer not in found.begun and found.start != start:
            raise ArgumentError(
                f"load_state_dict: consumer {consumer} begins epoch {epoch} from another state "
                "than others did: load the same states on all consumers, before any of them begins"
            )
        found.begun.add(consumer)
        outlet = found.run.outlets[consumer]
        with self._telling(found, consumer, epoch):
            handle = outlet.wait()
        if handle is None:
            try:
                outlet.end()
                # Equal parts may leave out rows at the end.
                if not self._options.is_equal or self._options.consumers == 1:
                    found.run.check_end()
            finally:
                self._leave(consumer, epoch)
            return None
        return found.run.placed(handle)

    def leave(self, consumer: int, epoch: int, received: int = 0) -> None:
        """A consumer takes nothing more of an epoch: what it has not taken goes to the others.

        Args:
            consumer: Which.
            epoch: Of which epoch.
            received: Blocks that have reached it, which nobody else gets.
        """
        with self._lock:
            found = self._epochs.get(epoch)
        if found is not None and consumer in found.left:
            found.run.outlets[consumer].leave(received)
            self._leave(consumer, epoch)

    def close(self) -> None:
        """Ends all runs."""
        self._wakes.set()
        with self._lock:
            self._closed = True
            epochs, self._epochs = list(self._epochs.values()), {}
        for each in epochs:
            each.run.stop()

    def stats(self) -> str:
        """Where the time of the last run went."""
        from millstream.observe import stats

        with self._lock:
            run = self._epochs[max(self._epochs)].run if self._epochs else self._last
        return "" if run is None else stats.stats(run.watch.report())

    @contextmanager
    def _telling(self, epoch: _Epoch, consumer: int, number: int) -> Iterator[None]:
        """Says which other consumers have not begun, if one waits long for its next block."""
        if epoch.is_told or len(epoch.begun) == self._options.consumers:
            yield
            return
        timer = threading.Timer(_PATIENCE_S, self._tell, (epoch, consumer, number))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _tell(self, epoch: _Epoch, consumer: int, number: int) -> None:
        absent = sorted(set(range(self._options.consumers)) - epoch.begun)
        if absent and not epoch.is_told:
            epoch.is_told = True
            warn(
                f"streaming_split: consumer {consumer} waits for its next block, and consumers "
                f"{absent} have not begun epoch {number}: the parts of a split must be iterated "
                "over at the same time, each in a thread or process of its own"
            )

    def _note_caller(self, consumer: int, caller: str) -> None:
        if self._callers.get(consumer) == caller:
            return
        # It may be gone before anybody looks again.
        seen = (self._alive() or set()) & {caller}
        with self._lock:
            self._callers[consumer] = caller
            self._seen |= seen
            if caller and self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, name="millstream-consumers", daemon=True
                )
                self._watcher.start()

    def _watch(self) -> None:
        """Has consumers leave whose process has died."""
        while not self._wakes.wait(_LOOKS_EVERY_S):
            self.look()

    def look(self) -> None:
        """Looks once which consumers are alive."""
        alive = self._alive()
        if alive is None:
            return
        with self._lock:
            # A process that was never among them may be of a kind that is not told.
            dead = [
                consumer
                for consumer, caller in self._callers.items()
                if caller in self._seen and caller not in alive
            ]
            epochs = list(self._epochs)
            seen = len(self._callers)
        for epoch in epochs:
            for consumer in dead:
                self.leave(consumer, epoch)
        self._note_gone(seen > 0 and len(dead) == seen, seen == self._options.consumers)

    def _note_gone(self, is_empty: bool, were_all: bool) -> None:
        """Ends this when its consumers have been gone for long enough."""
        if not is_empty:
            self._empty_since = None
            return
        if self._empty_since is None:
            self._empty_since = self._now()
        # Those that never came may be on their way.
        patience = _DESERTED_S if were_all else _DESERTED_BY_SOME_S
        if self._deserted is not None and self._now() - self._empty_since >= patience:
            deserted, self._deserted = self._deserted, None
            self.close()
            deserted()

    def _epoch(self, number: int, start: Start | None) -> _Epoch:
        with self._lock:
            if self._closed:
                raise RunStoppedError("the split was closed")
            if number not in self._epochs:
                if len(self._epochs) >= _EPOCHS_MAX:
                    behind = min(self._epochs)
                    waiting = sorted(self._epochs[behind].left)
                    raise ArgumentError(
                        f"a consumer begins epoch {number} while consumers {waiting} have not come "
                        f"to the end of epoch {behind}: all of them must iterate as often"
                    )
                run = Execution(self._plan, self._context, self._options, start)
                self._epochs[number] = _Epoch(run, set(range(self._options.consumers)), start)
            return self._epochs[number]

    def _leave(self, consumer: int, epoch: int) -> None:
        with self._lock:
            found = self._epochs.get(epoch)
            if found is None:
                return
            found.left.discard(consumer)
            is_over = not found.left
            if is_over:
                del self._epochs[epoch]
                self._last = found.run
        if is_over:
            found.run.stop()


def open_owner(plan: LogicalPlan, context: DataContext, options: SplitOptions) -> Any:
    """Where the runs of a split live: in this process, or on Ray in an actor on this node.

    Raises:
        SerializationError: The plan cannot be sent there.
    """
    if context.backend == "local":
        return Here(SplitOwner(plan, context, options))
    from millstream.run.ray.compat import workers
    from millstream.run.ray.owner import ends_by_itself, own

    make = partial(SplitOwner, plan, context, options, workers, ends_by_itself())
    return own(make, calls=2 * options.consumers + 2)


class Here:
    """An owner in this process.

    Args:
        owner: It.
    """

    def __init__(self, owner: SplitOwner) -> None:
        self._owner = owner
        weakref.finalize(self, owner.close)

    def call(self, method: str, *args: Any) -> Begun:
        """Begins a call, which is made when its result is asked for; one to leave, at once."""
        begun = Begun(partial(getattr(self._owner, method), *args))
        if method == "leave":
            begun.result()
        return begun

    @staticmethod
    def caller() -> str:
        """Nobody asks whether this process is alive."""
        return ""


@dataclass(frozen=True)
class Begun:
    """A call that has begun.

    Args:
        make: Makes it.
    """

    make: Callable[[], Any]

    def result(self) -> Any:
        """Waits for what it returns."""
        return self.make()


#: Runs at a time: that of the slowest consumer, and that of the next epoch.
_EPOCHS_MAX = 2
#: How long a consumer waits before it is told that others have not begun.
_PATIENCE_S = 10.0
#: How often it is looked whether consumers are alive.
_LOOKS_EVERY_S = 2.0
#: How long all consumers are gone before it ends; and those that came, if some never did.
_DESERTED_S = 5.0
_DESERTED_BY_SOME_S = 60.0
