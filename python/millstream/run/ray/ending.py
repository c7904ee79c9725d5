"""Tasks that nobody wants any more, until their work has really ended.

Owns how they are told, and what is done if they do not end. Must not know why they are not wanted.

Ray forgets nothing of a stream whose handle is dropped: the task goes on to its end and fills the
store. So each is cancelled; where it is paused or between two blocks it ends at once.

A call of an actor that has not reached it must not be cancelled: Ray then holds back the next calls
from this process for 2 s, and now and then for ever. It is when its first object is there, or when
it was sent so long ago that it has reached the actor.
"""

from __future__ import annotations

from typing import Any

import ray

from millstream.run.ray.handles import Task


class Ending:
    """The tasks of a run that are to end."""

    def __init__(self) -> None:
        # Tasks without actors, whose workers may not have noticed yet.
        self._tasks: list[ray.ObjectRef[Any]] = []
        # Calls of actors that may not have been sent yet.
        self._calls: dict[int, Task] = {}

    def begin(self, task: Task) -> None:
        """Has a task end."""
        if task.actor is None:
            ray.cancel(task.stream.completed)
            self._tasks.append(task.stream.completed)
            _, self._tasks = ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)
        elif task.has_begun or task.is_old(_SENT_S):
            ray.cancel(task.stream.completed)
        else:
            self._calls[task.number] = task

    def heard(self, number: int) -> None:
        """Something was heard of a task: if it waits here to be told, it is there now."""
        task = self._calls.pop(number, None)
        if task is not None:
            ray.cancel(task.stream.completed)

    def tell_old(self) -> None:
        """Tells the calls that have been sent by now."""
        for number in [each for each, task in self._calls.items() if task.is_old(_SENT_S)]:
            self.heard(number)

    def finish(self) -> None:
        """Waits for tasks, and ends by force those that do not end. Actors have ended already."""
        self._calls.clear()
        left = _still_there(self._tasks, _TOLD_AGAIN_S)
        for ended in left:
            # Now and then the first time does nothing: `benches/early_breaks.py`, the longest.
            ray.cancel(ended)
        left = _still_there(left, _CANCEL_GRACE_S)
        for ended in left:
            ray.cancel(ended, force=True)
        _still_there(left, _FORCE_GRACE_S)
        self._tasks.clear()


def _still_there(tasks: list[ray.ObjectRef[Any]], grace_s: float) -> list[ray.ObjectRef[Any]]:
    """Those of the tasks that have not ended within a grace."""
    if not tasks:
        return []
    left: list[ray.ObjectRef[Any]]
    _, left = ray.wait(tasks, num_returns=len(tasks), timeout=grace_s, fetch_local=False)
    return left


# A call that was sent so long ago has reached its actor.
_SENT_S = 2.0
# A task that is told that it is cancelled has hardly ever ended later than this.
_TOLD_AGAIN_S = 0.2
# How long workers may take to leave Python code when they are interrupted.
_CANCEL_GRACE_S = 1.0
# How long Ray may take to kill them.
_FORCE_GRACE_S = 4.0
