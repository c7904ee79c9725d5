"""Actors that are no longer needed: each lets go of what its classes hold, then its process ends.

Owns how long that may take. Must not know why an actor is no longer needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import ray

from millstream.run.protocol import warn
from millstream.run.ray.handles import Actor


class Closing:
    """The actors of a run that are closing.

    Args:
        report: Has something done on the driver's thread; called on any.
    """

    def __init__(self, report: Callable[[Callable[[], None]], None]) -> None:
        self._report = report
        # With the time by which each is to be through, and whether it is told if it is not.
        self._actors: dict[int, tuple[Actor, float, bool]] = {}

    def begin(self, number: int, actor: Actor, *, has_end: bool) -> None:
        """Has an actor close, unless it loads or works and nobody has said what its end is.

        Args:
            number: The actor's.
            actor: The actor; nothing else is asked of it from now on.
            has_end: Whether a class of it has a `close` or `__del__`.
        """
        if not actor.is_loaded or (actor.is_interrupted and not has_end):
            ray.kill(actor.handle)
            return
        # What has been interrupted may go on for ever.
        patience_s = _INTERRUPTED_S if actor.is_interrupted else _PATIENCE_S
        until = time.monotonic() + patience_s
        self._actors[number] = (actor, until, has_end and not actor.is_interrupted)
        closed = actor.handle.close.remote().future()
        closed.add_done_callback(lambda done: self._report(partial(self._end, number, done)))

    def seconds_left(self) -> float | None:
        """How long to wait for those that close; None if there are none."""
        limits = [until for _, until, _ in self._actors.values()]
        return max(0.0, min(limits) - time.monotonic()) if limits else None

    def end_late(self) -> None:
        """Ends the processes of those whose time is up."""
        now = time.monotonic()
        for number, (actor, until, is_told) in list(self._actors.items()):
            if until <= now:
                del self._actors[number]
                ray.kill(actor.handle)
                if is_told:
                    warn(f"{actor.operator}: close() has not ended in time: its process is ended")

    def _end(self, number: int, done: Future[list[str]]) -> None:
        actor, _, _ = self._actors.pop(number, (None, 0.0, False))
        if actor is None:
            return
        ray.kill(actor.handle)
        # If its process has died meanwhile, so has what it held.
        for raised in [] if done.exception() else done.result():
            warn(raised)


#: How long classes may take to let go of what they hold.
_PATIENCE_S = 10.0
#: How long, where a task was interrupted for it.
_INTERRUPTED_S = 1.0
