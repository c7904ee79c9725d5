"""What does not begin: who is told of it, why it is, and when the run fails for it.

Owns the words. Must not know how anything is sent to Ray.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from millstream.errors import WorkerError
from millstream.run.ray.starts import Waiting, shortage
from millstream.run.ray.under_way import UnderWay


class Lateness:
    """What of a run waits for Ray to begin it.

    Args:
        run: What is under way.
    """

    def __init__(self, run: UnderWay) -> None:
        self._run = run
        # What is told of operators that wait.
        self._late: dict[int, str] = {}

    def notes(self) -> list[str]:
        """What waits; if nothing does, what the program itself holds."""
        return [*self._late.values(), *([] if self._late else self._run.cluster.notes())]

    def forget(self) -> None:
        """Nothing waits any more."""
        self._late = {}

    def look(self) -> None:
        """Tells what has not begun for some time.

        Raises:
            WorkerError: Nothing of the run has begun or was at work for the longest time allowed.
        """
        if self._run.is_closed:
            return
        late = self._run.starts.late()
        self._late = {
            waiting.op: self._late.get(waiting.op) or self._tell(waiting) for waiting in late
        }
        overdue = self._run.starts.overdue(is_at_work=self._is_at_work())
        if overdue is not None:
            raise WorkerError(
                f"nothing of the run has begun for {overdue.for_s:.0f} s: "
                f"{self._why_late(overdue)}. It waits no longer than "
                "DataContext.start_timeout_s, and for ever if that is None",
                operator=self._run.operators[overdue.op].name,
            )

    def _is_at_work(self) -> bool:
        """Whether something of the run works, or it is the consumer's turn."""
        works = any(
            task.parked is None and not self._run.starts.is_waiting("task", task.number)
            for task in self._run.tasks.values()
        )
        loads = any(
            not actor.is_loaded and not self._run.starts.is_waiting("actor", number)
            for number, actor in self._run.actors.items()
        )
        return works or loads or bool(self._run.untaken)

    def _tell(self, waiting: Waiting) -> str:
        name = self._run.operators[waiting.op].name
        told = f"{name} waits for Ray to begin it: {self._why_late(waiting)}"
        _logger.warning("%s", told)
        return told

    def _why_late(self, waiting: Waiting) -> str:
        has, free = self._run.cluster.resources_of(waiting.node)
        held = self._wanted_at(waiting.node, self._run.begun())
        sent = self._wanted_at(waiting.node, ((op, at) for op, at, _ in self._run.starts.waiting()))
        body, at = self._run.operators[waiting.op].body, self._run.cluster.words_for(waiting.node)
        told = shortage(body, at, has=has, free=free, held=held, sent=sent)
        return "; ".join([told, *self._run.cluster.notes()])

    def _wanted_at(self, node: int, works: Iterable[tuple[int, int]]) -> dict[str, float]:
        """What is asked for at a node by works, given by their operators and nodes."""
        wanted: dict[str, float] = {}
        for op, at in works:
            amounts = self._run.operators[op].body.resources.amounts()
            for name, amount in amounts.items() if at == node else ():
                wanted[name] = wanted.get(name, 0.0) + amount
        return wanted


_logger = logging.getLogger(__name__)
