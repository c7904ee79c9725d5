"""The Ray backend: carries out actions as Ray tasks and actors, and reports by events.

Owns what is sent to Ray, and the run from its opening to its end. What comes back is the matter of
`intake`, `losses` and `lateness`. Must not know scheduling, nor fetch a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ray

from millstream import _core
from millstream.errors import MillstreamError
from millstream.plan.physical import PhysicalOp
from millstream.run.protocol import BlockHandle, not_carried_out
from millstream.run.ray.closing import Closing
from millstream.run.ray.cluster import Connection, require_connection
from millstream.run.ray.exits import Exits
from millstream.run.ray.failures import Failure, read_failure
from millstream.run.ray.handles import Actor, Task
from millstream.run.ray.intake import Intake
from millstream.run.ray.lateness import Lateness
from millstream.run.ray.losses import Losses
from millstream.run.ray.operators import Operator
from millstream.run.ray.reference import Reference
from millstream.run.ray.remote import Call, pack
from millstream.run.ray.seat import Occupant, Seat, no_share
from millstream.run.ray.sharing import sharing
from millstream.run.ray.stream import open_stream
from millstream.run.ray.under_way import UnderWay


class RayBackend:
    """Runs operators on the Ray cluster that is initialised, or a new one on this machine.

    Args:
        weight: Of what several runs want, each gets in proportion to its weight.
        start_timeout_s: How long a run may wait of which nothing begins or is at work; None: for
            ever.
        patience_s: How long the run waits for its turn while nothing goes on in the runs that came
            before it; None: for ever.
    """

    def __init__(
        self,
        weight: int = 1,
        start_timeout_s: float | None = 60.0,
        patience_s: float | None = None,
    ) -> None:
        self._connection = Connection()
        self._run = UnderWay(start_timeout_s)
        self._cluster = self._run.cluster
        self._blocks = self._run.blocks
        self._tasks = self._run.tasks
        self._actors = self._run.actors
        self._starts = self._run.starts
        self._closing = Closing(self._run.report)
        self._exits = Exits()
        self._losses = Losses(self._run, self._read_failure)
        self._intake = Intake(self._run, self._losses.fail)
        self._lateness = Lateness(self._run)
        self._weight = weight
        self._patience_s = patience_s

    def nodes(self) -> list[_core.Node]:
        """The nodes of the cluster."""
        return self._cluster.nodes()

    def open(self, ops: Sequence[PhysicalOp]) -> list[_core.Node]:
        """Makes ready to run these operators."""
        self._run.operators.extend(map(Operator, ops))
        nodes = self.nodes()
        self._losses.begin_watch(self._look)
        return nodes

    def share(self, demand: Callable[[], _core.Demand]) -> list[_core.Event]:
        """Has the run share the nodes with all other runs in the cluster."""
        occupant = Occupant(
            name=" -> ".join(operator.name for operator in self._run.operators),
            demand=demand,
            weight=self._weight,
            patience_s=self._patience_s,
            hear=self._hear_shares,
            fail=lambda error: self._run.report(partial(_raise, error)),
        )
        self._run.seat = Seat(self._cluster, occupant)
        return [no_share(node) for node in self.nodes()] if sharing.begin(self._run.seat) else []

    def perform(self, actions: Sequence[_core.Action]) -> None:
        """Carries out actions.

        Raises:
            WorkerError: The program has shut Ray down.
        """
        require_connection()
        for action in actions:
            match action:
                case _core.Action.LaunchTask():
                    self._launch(action)
                case _core.Action.ResumeTask(task, credit):
                    self._resume(task, credit)
                case _core.Action.CancelTask(task):
                    self._cancel(task)
                case _core.Action.StartActor(actor, op, node):
                    self._start_actor(actor, op, node)
                case _core.Action.StopActor(actor):
                    self._stop_actor(actor)
                case _core.Action.DropBlock(number):
                    self._blocks.pop(number, None)
                    self._run.untaken.discard(number)
                case _:
                    raise not_carried_out(action)

    def wait(self, timeout_s: float | None) -> list[_core.Event]:
        """Waits until something happened."""
        self._run.hear(0 if self._run.has_news() else timeout_s)
        require_connection()
        return self._run.news()

    def wake(self, *, can_wait: bool = False) -> None:
        """Makes a `wait` return."""
        self._run.reports.wake(can_wait=can_wait)

    def output(self, number: int) -> BlockHandle:
        """The data of a block."""
        found = self._blocks[number]
        self._run.untaken.add(number)
        return BlockHandle(number, found.meta, found.kept(), Reference.fetch)

    def notes(self) -> list[str]:
        """What waits for Ray to begin it, and what the program itself and other runs hold."""
        seat = self._run.seat
        return [*self._lateness.notes(), *([] if seat is None else seat.notes())]

    def error_of(self, task: int | None, op: int) -> MillstreamError | None:
        """What a task or a constructor raised, or how its worker died."""
        return self._run.error_of(task, op)

    def close(self) -> None:
        """Ends all tasks and actors and forgets all blocks."""
        if self._run.is_closed:
            return
        self._run.is_closed = True
        self._losses.end_watch()
        try:
            if ray.is_initialized():
                self._end_all()
        finally:
            if self._run.seat is not None:
                sharing.end(self._run.seat)
                self._run.seat = None
            self._connection.release()
        self._run.forget()
        self._lateness.forget()

    # Actions --------------------------------------------------------------------------------

    def _launch(self, action: _core.Action.LaunchTask) -> None:
        operator = self._run.operators[action.op]
        # Several blocks may be in one object.
        objects: dict[ray.ObjectRef[Any], int] = {}
        places = []
        for number in action.blocks:
            held = self._blocks[number]
            places.append((objects.setdefault(held.reference, len(objects)), held.place))
        context = f"task {action.task}, attempt {action.attempt + 1}"
        if action.actor is None:
            function = operator.function(self._affinity(action.node))
            units = operator.units_of(action)
            # An object more costs a millisecond: only where no other has begun a moment ago.
            tells_start = not self._starts.is_lively(action.op)
            if tells_start:
                self._starts.sent("task", action.task, action.op, action.node)
            call = Call(
                action.rows_skipped,
                context,
                action.rows_wanted,
                tells_start,
                units,
                action.slices,
                places,
                operator.payload,
            )
            generator = function.remote(operator.packed(call), *objects)
        else:
            actor = self._actors.get(action.actor)
            if actor is None:
                # It was lost while this action was under way.
                self._run.tell(_core.Event.TaskFailed(action.task, "not_run"))
                return
            actor.tasks.append(action.task)
            call = Call(action.rows_skipped, context, action.rows_wanted, places=places)
            generator = actor.run.remote(operator.packed(call), *objects)
        task = Task(action, open_stream(generator))
        self._tasks[action.task] = task
        self._intake.watch(task)

    def _resume(self, number: int, credit: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            task.credit += credit
            self._intake.hand_over(task)

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            self._interrupt(task)
            # Its worker may be deep in user code: nobody waits for that.
            self._run.end(task, _core.Event.TaskFailed(number, "cancelled"))

    def _interrupt(self, task: Task) -> None:
        self._run.ending.begin(task)
        if task.actor in self._actors:
            self._actors[task.actor].is_interrupted = True

    def _start_actor(self, number: int, op: int, node: int) -> None:
        operator = self._run.operators[op]
        handle = operator.actor(self._affinity(node)).remote(operator.name)
        actor = Actor(op, operator.name, node, handle)
        self._actors[number] = actor
        self._starts.sent("actor", number, op, node)
        begun = actor.handle.begin.remote().future()
        begun.add_done_callback(
            lambda _: self._run.report(partial(self._starts.begun, "actor", number))
        )
        loaded = actor.handle.load.remote(pack(operator.payload)).future()
        loaded.add_done_callback(
            lambda done: self._run.report(
                partial(self._losses.actor_loaded, number, done.exception() or done.result())
            )
        )

    def _stop_actor(self, number: int) -> None:
        actor = self._actors.pop(number, None)
        self._starts.gone("actor", number)
        if actor is not None:
            self._closing.begin(number, actor, has_end=self._run.operators[actor.op].has_end)

    def _affinity(self, node: int) -> str | None:
        return None if self._cluster.is_one_node else self._cluster.id_of(node)

    # What comes of itself -------------------------------------------------------------------

    def _look(self) -> None:
        """Looks at the cluster, and for what takes too long. On the watcher's thread."""
        if not ray.is_initialized():
            self.wake()
            return
        self._losses.look()
        self._run.report(self._closing.end_late)
        self._run.report(self._run.ending.tell_old)
        self._run.report(self._lateness.look)

    def _hear_shares(self, shares: Sequence[_core.Node]) -> None:
        self._run.report(partial(self._run.tell, *map(_core.Event.ShareChanged, shares)))

    def _read_failure(self, raised: object, op: int, node: int) -> Failure:
        operator = self._run.operators[op]
        failure = read_failure(raised, operator.name, self._run.cluster.words_for(node))
        if failure.kind == "worker_died":
            code = self._exits.code_of(operator.payload.key, failure.actor)
            if code is not None:
                failure.error.message = f"user code ended its process by os._exit({code})"
        return failure

    # The end --------------------------------------------------------------------------------

    def _end_all(self) -> None:
        for task in self._tasks.values():
            # Calls of actors end with them.
            if task.actor is None:
                self._run.ending.begin(task)
        self._tasks.clear()
        for actor in self._actors.values():
            ray.kill(actor.handle)
        while (left_s := self._closing.seconds_left()) is not None:
            self._run.hear(left_s)
            self._closing.end_late()
        self._run.ending.finish()


def _raise(error: MillstreamError) -> None:
    raise error
