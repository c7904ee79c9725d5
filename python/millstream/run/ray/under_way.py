"""What a run has under way on Ray: what the parts of the backend share.

Owns the tasks, actors and blocks by their numbers, and the events that are still to be told. Must
not know why something is begun or ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from millstream import _core
from millstream.errors import MillstreamError
from millstream.run.inbox import Inbox
from millstream.run.ray.cluster import Cluster
from millstream.run.ray.ending import Ending
from millstream.run.ray.handles import Actor, HeldBlock, Task
from millstream.run.ray.operators import Operator
from millstream.run.ray.seat import Seat
from millstream.run.ray.starts import Starts

Report = Callable[[], None]
"""What is to be done on the driver's thread about something that Ray has told."""


class UnderWay:
    """The operators, tasks, actors and blocks of a run, and what is to be told of them.

    Args:
        start_timeout_s: How long the run may wait of which nothing begins or is at work; None: for
            ever.
    """

    def __init__(self, start_timeout_s: float | None) -> None:
        self.cluster = Cluster()
        self.operators: list[Operator] = []
        self.blocks: dict[int, HeldBlock] = {}
        self.tasks: dict[int, Task] = {}
        self.actors: dict[int, Actor] = {}
        self.ending = Ending()
        self.starts = Starts(start_timeout_s)
        # Blocks that the consumer has not taken yet.
        self.untaken: set[int] = set()
        self.seat: Seat | None = None
        self.is_closed = False
        self.reports: Inbox[Report] = Inbox()
        self._events: list[_core.Event] = []
        self._errors: OrderedDict[tuple[int | None, int], MillstreamError] = OrderedDict()

    def report(self, report: Report) -> None:
        """Has something done on the driver's thread; called on any."""
        self.reports.put(report)

    def hear(self, timeout_s: float | None) -> None:
        """Waits for a report, and takes note of all that there are."""
        for report in self.reports.take(timeout_s):
            report()

    def tell(self, *events: _core.Event) -> None:
        """Has events told to the scheduler by the next `wait`."""
        self._events.extend(events)

    def has_news(self) -> bool:
        """Whether events are to be told."""
        return bool(self._events)

    def news(self) -> list[_core.Event]:
        """The events that are to be told, once."""
        events, self._events = self._events, []
        return self.reports.with_delay(events)

    def end(self, task: Task, event: _core.Event) -> None:
        """Forgets a task, which ends with an event."""
        del self.tasks[task.number]
        self.starts.gone("task", task.number)
        actor = self.actors.get(task.actor) if task.actor is not None else None
        if actor is not None:
            actor.tasks.remove(task.number)
        self.tell(event)

    def keep_error(self, task: int | None, op: int, error: MillstreamError) -> None:
        """Keeps what a task or a constructor raised, or how its worker died."""
        self._errors[task, op] = error
        while len(self._errors) > _ERRORS_MAX:
            self._errors.popitem(last=False)

    def error_of(self, task: int | None, op: int) -> MillstreamError | None:
        """What was kept of a task, or else of the actors of its operator."""
        return self._errors.get((task, op)) or self._errors.get((None, op))

    def begun(self) -> Iterator[tuple[int, int]]:
        """The operators and nodes of what holds resources."""
        for task in self.tasks.values():
            if task.actor is None and not self.starts.is_waiting("task", task.number):
                yield task.op, task.node
        for number, actor in self.actors.items():
            if not self.starts.is_waiting("actor", number):
                yield actor.op, actor.node

    def forget(self) -> None:
        """Forgets all tasks, actors, blocks and operators."""
        self.tasks.clear()
        self.actors.clear()
        self.blocks.clear()
        self.operators.clear()


# A run fails at its first error; what is kept beyond it are the deaths that were survived.
_ERRORS_MAX = 100
