"""What fails and what is lost: tasks, actors, blocks, and the nodes that they were on.

Owns what follows from a death, and when its node is looked at first. Must not know how Ray tells
it, nor what is done next.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from functools import partial

import ray

from millstream import _core
from millstream.run.ray import compat
from millstream.run.ray.cluster import Watcher
from millstream.run.ray.failures import Failure, Kind
from millstream.run.ray.handles import Task, are_left
from millstream.run.ray.remote import Loaded
from millstream.run.ray.seat import no_share
from millstream.run.ray.sharing import sharing
from millstream.run.ray.under_way import Report, UnderWay
from millstream.run.worker import TaskError


class Losses:
    """The deaths of a run.

    Args:
        run: What is under way.
        read: What has failed, given what Ray told, the operator, and the node.
    """

    def __init__(self, run: UnderWay, read: Callable[[object, int, int], Failure]) -> None:
        self._run = run
        self._read = read
        # What died, on which node, and what is to be done about it.
        self._suspects: queue.SimpleQueue[tuple[int, Report]] = queue.SimpleQueue()
        self._watcher: Watcher | None = None

    def begin_watch(self, look: Callable[[], None]) -> None:
        """Has something done every few seconds, and at once where something is amiss.

        Args:
            look: What is done, on a thread of its own; it calls `look`.
        """
        self._watcher = Watcher(look)

    def end_watch(self) -> None:
        """Has it done no more."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def fail(self, task: Task, told: object) -> None:
        """Ends a task that Ray says has failed."""
        # A worker that tells by itself what is wrong has not failed.
        raised = told if isinstance(told, dict) else task.stream.failure() or told
        failure = self._read(raised, task.op, task.node)
        self._run.keep_error(task.number, task.op, failure.error)
        if failure.object_lost is not None:
            self._lose_block(failure.object_lost)
        if failure.may_be_its_node:
            self._suspect(task.node, partial(self._end_failed, task.number, failure))
        else:
            self._end_failed(task.number, failure)

    def actor_loaded(self, number: int, told: object) -> None:
        """Reports an actor that has loaded, or what Ray or its constructor told instead."""
        actor = self._run.actors.get(number)
        if actor is None:
            return
        match told:
            case Loaded(node):
                actor.is_loaded = True
                at = self._run.cluster.number(node)
                self._run.tell(_core.Event.ActorReady(number, at, actor.age_us()))
            case TaskError(error):
                self._run.keep_error(None, actor.op, error)
                self._lose_actor(number, kind="user_code")
            case _:
                failure = self._read(told, actor.op, actor.node)
                self._run.keep_error(None, actor.op, failure.error)
                lose = partial(self._lose_actor, number, kind=failure.kind)
                self._suspect(actor.node, lose)

    def look(self) -> None:
        """Looks for nodes that come and go, and for actors that died while they had no task.

        On the watcher's thread.
        """
        suspects = [self._suspects.get() for _ in range(self._suspects.qsize())]
        try:
            changes = self._run.cluster.changes({node for node, _ in suspects})
            if changes:
                self._run.report(partial(self._note_changes, changes))
        finally:
            for _, report in suspects:
                self._run.report(report)
        for number, actor in list(self._run.actors.items()):
            if compat.is_dead(actor.handle):
                self._run.report(partial(self._lose_actor, number))

    def _end_failed(self, number: int, failure: Failure) -> None:
        task = self._run.tasks.get(number)
        if task is None:
            return
        if failure.actor_lost and task.actor is not None:
            self._lose_actor(task.actor, kind=failure.kind)
        self._run.end(task, _core.Event.TaskFailed(number, failure.kind))

    def _lose_actor(self, number: int, *, kind: Kind = "worker_died") -> None:
        """Reports that an actor is gone, once; its tasks report themselves afterwards."""
        actor = self._run.actors.pop(number, None)
        self._run.starts.gone("actor", number)
        if actor is None:
            return
        # It may be out of reach only, and must not go on.
        ray.kill(actor.handle)
        lost = _core.Event.ActorLost(
            number, user_code=kind == "user_code", out_of_memory=kind == "out_of_memory"
        )
        self._run.tell(lost)

    def _lose_block(self, object_id: str) -> None:
        for number, held in self._run.blocks.items():
            if held.reference.hex() == object_id:
                self._run.tell(_core.Event.BlockLost(number))

    def _suspect(self, node: int, report: Report) -> None:
        """Reports a death after a look whether its node died, which would be nobody's fault."""
        self._suspects.put((node, report))
        if self._watcher is not None:
            self._watcher.look_now()

    def _note_changes(self, changes: Sequence[_core.Event]) -> None:
        self._run.tell(*changes)
        joined = [event.node for event in changes if isinstance(event, _core.Event.NodeJoined)]
        if self._run.seat is not None and sharing.is_dividing:
            self._run.tell(*map(no_share, joined))
        lost = [event.node for event in changes if isinstance(event, _core.Event.NodeLost)]
        for node in lost:
            self._leave(node)
        if lost:
            self._end_without_input()

    def _leave(self, node: int) -> None:
        """Ends what was sent to a node that is lost: Ray might yet run it elsewhere."""
        for task in [task for task in self._run.tasks.values() if task.node == node]:
            # Calls of actors end with them.
            if task.actor is None:
                self._run.ending.begin(task)
            self._run.starts.gone("task", task.number)
            del self._run.tasks[task.number]
        for number in [number for number, actor in self._run.actors.items() if actor.node == node]:
            self._run.starts.gone("actor", number)
            ray.kill(self._run.actors.pop(number).handle)

    def _end_without_input(self) -> None:
        """Ends the tasks whose input was lost before they had it. Ray tells it a minute later."""
        lost = self._run.cluster.lost_ids()
        for task in list(self._run.tasks.values()):
            if not are_left([self._run.blocks[number] for number in task.blocks], lost):
                # A call of an actor that waits for its input has not been sent, nor can it be.
                if task.actor is None:
                    self._run.ending.begin(task)
                self._run.end(task, _core.Event.TaskFailed(task.number, "not_run"))
