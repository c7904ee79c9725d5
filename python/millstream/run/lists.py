"""The lists of sources that are listed while they are read.

Owns the threads that wait for them. Must not know how anything is listed, nor decide how far.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from millstream import _core
from millstream.io.source import OpenUnits
from millstream.plan.physical import PhysicalOp


class Lists:
    """Lists units as the scheduler asks for them (`Action.ExtendSource`), each request on a thread.

    Args:
        ops: The operators.
        wake: Tells the driver that there is news; called on any thread.
    """

    def __init__(self, ops: Sequence[PhysicalOp], wake: Callable[[], None]) -> None:
        self._ops = ops
        self._wake = wake
        self._news: deque[_core.Event | BaseException] = deque()

    def extend(self, action: _core.Action.ExtendSource) -> None:
        """Has more units of a source listed, and returns at once."""
        op = self._ops[action.op]
        units = op.units
        assert isinstance(units, OpenUnits), f"{op.name} is not listed"  # noqa: S101 - the core's
        arguments = (action.op, units, action.first, action.first + action.units)
        # Nobody waits for a store that does not answer.
        threading.Thread(
            target=self._list, args=arguments, name="millstream-list", daemon=True
        ).start()

    def take(self) -> list[_core.Event]:
        """What has been listed since the last time.

        Raises:
            ReadError: A list cannot be made.
        """
        events: list[_core.Event] = []
        while self._news:
            news = self._news.popleft()
            if isinstance(news, BaseException):
                raise news
            events.append(news)
        return events

    def _list(self, op: int, units: OpenUnits, first: int, until: int) -> None:
        try:
            end = units.extend(until)
            found = [unit.nbytes for unit in units[first:end]]
            self._news.append(_core.Event.SourceExtended(op, first, found))
            if not units.is_open and end == len(units):
                self._news.append(_core.Event.SourceExhausted(op))
        except BaseException as error:  # noqa: BLE001 - it is raised on the driver's thread
            self._news.append(error)
        self._wake()
