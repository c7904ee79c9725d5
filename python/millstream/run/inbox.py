"""Where other threads leave news for the driver's thread.

Owns the queue, when the driver is woken, and how long news has waited. Knows nothing of what the
news is about.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from millstream import _core

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """A queue that the driver empties; any thread may put something in.

    Some news can wait for more to come, so that the driver is woken once for all of it. Where
    blocks are tiny, waking threads costs more than all else.
    """

    def __init__(self) -> None:
        self._items: deque[tuple[int | None, Item]] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._has_news = False
        self._is_urgent = False
        self._is_idle = False
        self._taken_ns = -_GATHER_NS
        self._oldest_ns: int | None = None

    def put(self, item: Item, *, can_wait: bool = False) -> None:
        """Leaves an item, from any thread; see `wake`."""
        self._items.append((None if can_wait else time.monotonic_ns(), item))
        self.wake(can_wait=can_wait)

    def wake(self, *, can_wait: bool = False) -> None:
        """Makes a `take`, the present or else the next, return.

        Args:
            can_wait: Not before a millisecond after the last `take`, unless something cannot wait.
        """
        self._has_news = True
        if not can_wait and not self._is_urgent:
            self._is_urgent = True
            self._bell.put(None)
        elif self._is_idle:
            self._is_idle = False
            self._bell.put(None)

    def take(self, timeout_s: float | None) -> list[Item]:
        """Waits for the first item or a wake-up, then takes all there are.

        Args:
            timeout_s: The longest wait; None: as long as it takes.
        """
        before_ns = None if timeout_s is None else time.monotonic_ns() + int(timeout_s * 1e9)
        self._is_idle = True
        self._wait_until(lambda: self._has_news, before_ns)
        self._is_idle = False
        if self._has_news:
            gathered_ns = self._taken_ns + _GATHER_NS
            before_ns = gathered_ns if before_ns is None else min(gathered_ns, before_ns)
            self._wait_until(lambda: self._is_urgent, before_ns)
        # Before the items are taken: what comes now is for the next time.
        self._has_news = self._is_urgent = False
        return self._take_all()

    def _wait_until(self, holds: Callable[[], bool], before_ns: int | None) -> None:
        """Waits for the bell, which may also ring for what was taken already."""
        while not holds():
            left_ns = None if before_ns is None else before_ns - time.monotonic_ns()
            if left_ns is not None and left_ns <= 0:
                return
            with contextlib.suppress(queue.Empty):
                self._bell.get(timeout=None if left_ns is None else left_ns / 1e9)

    def _take_all(self) -> list[Item]:
        taken: list[Item] = []
        self._oldest_ns = None
        while self._items:
            put_ns, item = self._items.popleft()
            taken.append(item)
            self._oldest_ns = self._oldest_ns or put_ns
        self._taken_ns = time.monotonic_ns()
        return taken

    def with_delay(self, events: list[_core.Event]) -> list[_core.Event]:
        """The events that follow from what was last taken.

        Before them, if it is long, how long the oldest news that could not wait has waited.
        """
        if self._oldest_ns is None or not events:
            return events
        by_us = (time.monotonic_ns() - self._oldest_ns) // 1000
        return [_core.Event.TurnDelayed(by_us), *events] if by_us >= _DELAY_MIN_US else events


#: How long news that can wait lies, at most, after the last was taken.
_GATHER_NS = 1_000_000
#: About what taking note of one report takes; less is no delay.
_DELAY_MIN_US = 100
