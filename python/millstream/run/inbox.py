"""Where other threads leave news for the driver's thread.

Owns the queue, and how long the news in it has waited. Knows nothing of what the news is about.
"""

from __future__ import annotations

import queue
import time
from typing import Generic, TypeVar

from millstream import _core

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """A queue that the driver empties; any thread may put something in."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[tuple[int, Item] | None] = queue.SimpleQueue()
        self._oldest_ns: int | None = None

    def put(self, item: Item) -> None:
        """Leaves an item, from any thread."""
        self._items.put((time.monotonic_ns(), item))

    def wake(self) -> None:
        """Makes a `take`, the present or else the next, return."""
        self._items.put(None)

    def take(self, timeout_s: float | None) -> list[Item]:
        """Waits for the first item or a wake-up, then takes all there are.

        Args:
            timeout_s: The longest wait; None: as long as it takes.
        """
        taken: list[Item] = []
        self._oldest_ns = None
        try:
            entry = self._items.get(timeout=timeout_s)
            while True:
                if entry is not None:
                    put_ns, item = entry
                    taken.append(item)
                    if self._oldest_ns is None:
                        self._oldest_ns = put_ns
                entry = self._items.get_nowait()
        except queue.Empty:
            return taken

    def with_delay(self, events: list[_core.Event]) -> list[_core.Event]:
        """The events that follow from what was last taken, and how long it has waited, if long."""
        if self._oldest_ns is None or not events:
            return events
        by_us = (time.monotonic_ns() - self._oldest_ns) // 1000
        return [_core.Event.TurnDelayed(by_us), *events] if by_us >= _DELAY_MIN_US else events


#: About what taking note of one report takes; less is no delay.
_DELAY_MIN_US = 100
