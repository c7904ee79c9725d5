"""The Ray backend: carries out actions as Ray tasks and actors, and reports by events.

Owns the references to blocks and the handles of tasks and actors. Must not know scheduling, nor
fetch a block.
"""

from __future__ import annotations

import itertools
import logging
import queue
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import ray

from millstream import _core
from millstream.errors import MillstreamError, WorkerError
from millstream.plan.physical import PhysicalOp
from millstream.run.inbox import Inbox
from millstream.run.protocol import BlockHandle, not_carried_out
from millstream.run.ray import compat, exits
from millstream.run.ray.closing import Closing
from millstream.run.ray.cluster import Cluster, Connection, Watcher, require_connection
from millstream.run.ray.ending import Ending
from millstream.run.ray.failures import Failure, Kind, read_failure
from millstream.run.ray.handles import Actor, HeldBlock, Parked, Task, are_left
from millstream.run.ray.operators import Operator
from millstream.run.ray.reference import Reference
from millstream.run.ray.remote import Call, Item, Loaded, pack
from millstream.run.ray.seat import Occupant, Seat, no_share
from millstream.run.ray.sharing import sharing
from millstream.run.ray.starts import Starts, Waiting, shortage
from millstream.run.ray.stream import open_stream
from millstream.run.worker import BlockMeta, TaskEnd, TaskError

Report = Callable[[], None]
"""What is to be done on the driver's thread about something that Ray has told."""


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
        self._cluster = Cluster()
        self._operators: list[Operator] = []
        self._blocks: dict[int, HeldBlock] = {}
        self._numbers = itertools.count()
        self._tasks: dict[int, Task] = {}
        self._actors: dict[int, Actor] = {}
        self._ending = Ending()
        self._starts = Starts(start_timeout_s)
        # Blocks that the consumer has not taken yet, and what is told of operators that wait.
        self._untaken: set[int] = set()
        self._late: dict[int, str] = {}
        self._errors: OrderedDict[tuple[int | None, int], MillstreamError] = OrderedDict()
        self._reports: Inbox[Report] = Inbox()
        self._closing = Closing(self._report)
        self._events: list[_core.Event] = []
        self._exits = exits.Exits()
        # What died, on which node, and what is to be done about it.
        self._suspects: queue.SimpleQueue[tuple[int, Report]] = queue.SimpleQueue()
        self._watcher: Watcher | None = None
        self._weight = weight
        self._patience_s = patience_s
        self._seat: Seat | None = None
        self._closed = False

    def nodes(self) -> list[_core.Node]:
        """The nodes of the cluster."""
        return self._cluster.nodes()

    def open(self, ops: Sequence[PhysicalOp]) -> list[_core.Node]:
        """Makes ready to run these operators."""
        self._operators = [Operator(op) for op in ops]
        nodes = self.nodes()
        self._watcher = Watcher(self._look)
        return nodes

    def share(self, demand: Callable[[], _core.Demand]) -> list[_core.Event]:
        """Has the run share the nodes with all other runs in the cluster."""
        occupant = Occupant(
            name=" -> ".join(operator.name for operator in self._operators),
            demand=demand,
            weight=self._weight,
            patience_s=self._patience_s,
            hear=self._hear_shares,
            fail=lambda error: self._report(partial(_raise, error)),
        )
        self._seat = Seat(self._cluster, occupant)
        return [no_share(node) for node in self.nodes()] if sharing.begin(self._seat) else []

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
                    self._untaken.discard(number)
                case _:
                    raise not_carried_out(action)

    def wait(self, timeout_s: float | None) -> list[_core.Event]:
        """Waits until something happened."""
        self._hear(0 if self._events else timeout_s)
        require_connection()
        events, self._events = self._events, []
        return self._reports.with_delay(events)

    def wake(self, *, can_wait: bool = False) -> None:
        """Makes a `wait` return."""
        self._reports.wake(can_wait=can_wait)

    def output(self, number: int) -> BlockHandle:
        """The data of a block."""
        found = self._blocks[number]
        self._untaken.add(number)
        return BlockHandle(number, found.meta, found.kept(), Reference.fetch)

    def notes(self) -> list[str]:
        """What waits for Ray to begin it, and what the program itself and other runs hold."""
        seat = self._seat
        around = [] if seat is None else seat.notes()
        return [*self._late.values(), *([] if self._late else self._cluster.notes()), *around]

    def error_of(self, task: int | None, op: int) -> MillstreamError | None:
        """What a task or a constructor raised, or how its worker died."""
        return self._errors.get((task, op)) or self._errors.get((None, op))

    def close(self) -> None:
        """Ends all tasks and actors and forgets all blocks."""
        if self._closed:
            return
        self._closed = True
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        try:
            if ray.is_initialized():
                self._end_all()
        finally:
            if self._seat is not None:
                sharing.end(self._seat)
                self._seat = None
            self._connection.release()
        self._tasks.clear()
        self._actors.clear()
        self._blocks.clear()
        self._operators.clear()
        self._late = {}

    # Actions --------------------------------------------------------------------------------

    def _launch(self, action: _core.Action.LaunchTask) -> None:
        operator = self._operators[action.op]
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
                self._events.append(_core.Event.TaskFailed(action.task, "not_run"))
                return
            actor.tasks.append(action.task)
            call = Call(action.rows_skipped, context, action.rows_wanted, places=places)
            generator = actor.run.remote(operator.packed(call), *objects)
        task = Task(action, open_stream(generator))
        self._tasks[action.task] = task
        self._watch(task)

    def _resume(self, number: int, credit: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            task.credit += credit
            self._hand_over(task)

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            self._interrupt(task)
            # Its worker may be deep in user code: nobody waits for that.
            self._end(task, _core.Event.TaskFailed(number, "cancelled"))

    def _interrupt(self, task: Task) -> None:
        self._ending.begin(task)
        if task.actor in self._actors:
            self._actors[task.actor].is_interrupted = True

    def _start_actor(self, number: int, op: int, node: int) -> None:
        operator = self._operators[op]
        handle = operator.actor(self._affinity(node)).remote(operator.name)
        actor = Actor(op, operator.name, node, handle)
        self._actors[number] = actor
        self._starts.sent("actor", number, op, node)
        begun = actor.handle.begin.remote().future()
        begun.add_done_callback(
            lambda _: self._report(partial(self._starts.begun, "actor", number))
        )
        loaded = actor.handle.load.remote(pack(operator.payload)).future()
        loaded.add_done_callback(
            lambda done: self._report(
                partial(self._actor_loaded, number, done.exception() or done.result())
            )
        )

    def _stop_actor(self, number: int) -> None:
        actor = self._actors.pop(number, None)
        self._starts.gone("actor", number)
        if actor is not None:
            self._closing.begin(number, actor, has_end=self._operators[actor.op].has_end)

    def _affinity(self, node: int) -> str | None:
        return None if self._cluster.is_one_node else self._cluster.id_of(node)

    # What Ray tells -------------------------------------------------------------------------

    def _report(self, report: Report) -> None:
        """Has something done on the driver's thread; called on any."""
        self._reports.put(report)

    def _hear(self, timeout_s: float | None) -> None:
        """Waits for a report, and takes note of all that there are."""
        for report in self._reports.take(timeout_s):
            report()

    def _watch(self, task: Task) -> None:
        number = task.number
        task.stream.watch_value(lambda value: self._report(partial(self._item_came, number, value)))

    def _watch_block(self, task: Task, came: Report) -> None:
        task.stream.watch_presence(lambda _: self._report(came))

    def _item_came(self, number: int, item: object) -> None:
        self._ending.heard(number)
        self._starts.begun("task", number)
        task = self._tasks.get(number)
        if task is None:
            return
        task.has_begun = True
        if not isinstance(item, Item):
            self._fail(task, item)
            return
        task.parked = Parked(item)
        self._hand_over(task)

    def _hand_over(self, task: Task) -> None:
        """Takes what a task waits with, as far as it has the credit."""
        parked = task.parked
        if parked is None:
            return
        item = parked.item
        for place in range(parked.handed_over, len(item.metas)):
            meta = item.metas[place]
            if meta.nbytes > task.credit:
                self._note_ready(task, parked, meta)
                return
            if parked.reference is None:
                parked.reference = task.stream.take()
            if parked.reference is None:
                task.parked = None
                self._fail(task)
                return
            if parked.contents is None:
                task.parked = None
                self._watch_block(task, partial(self._block_came, task.number, item, meta))
                return
            held = HeldBlock(parked.reference, meta, place, parked.contents)
            self._produce(task, held, meta, item.node)
            parked.handed_over = place + 1
        task.parked = None
        if parked.reference is None and task.stream.take() is None:
            self._fail(task)
            return
        self._go_on(task, item)

    def _note_ready(self, task: Task, parked: Parked, meta: BlockMeta) -> None:
        """Tells, once for each block, that a task waits with it for credit."""
        if parked.told < task.handed_over:
            parked.told = task.handed_over
            ready = _core.Event.BlockReady(task.number, task.handed_over, meta.nbytes)
            self._events.append(ready)

    def _block_came(self, number: int, item: Item, meta: BlockMeta) -> None:
        task = self._tasks.get(number)
        if task is None:
            return
        reference = task.stream.take()
        if reference is None:
            # Its worker died between the two objects.
            self._fail(task)
            return
        task.schema = meta.schema or task.schema
        meta = meta.with_schema(task.schema)
        self._produce(task, HeldBlock(reference, meta), meta, item.node)
        self._go_on(task, item)

    def _go_on(self, task: Task, item: Item) -> None:
        """Waits for the item after this one, unless this is the last."""
        if item.end is not None:
            self._finish(task, item.end)
        else:
            self._watch(task)

    def _produce(self, task: Task, held: HeldBlock, meta: BlockMeta, node_id: str) -> None:
        number = next(self._numbers)
        self._blocks[number] = held
        task.handed_over += 1
        task.credit -= meta.nbytes
        node = self._cluster.number(node_id)
        self._events.append(
            _core.Event.BlockProduced(
                task.number, number, meta.rows, meta.nbytes, node, meta.partition
            )
        )

    def _finish(self, task: Task, end: TaskEnd | TaskError) -> None:
        if isinstance(end, TaskError):
            self._keep_error(task.number, task.op, end.error)
            self._end(task, _core.Event.TaskFailed(task.number, "user_code"))
        else:
            event = _core.Event.TaskFinished(task.number, end.busy_us, end.heap_peak_bytes)
            self._end(task, event)

    def _fail(self, task: Task, told: object = None) -> None:
        """Ends a task that Ray says has failed."""
        # A worker that tells by itself what is wrong has not failed.
        raised = told if isinstance(told, dict) else task.stream.failure() or told
        failure = self._read_failure(raised, task.op, task.node)
        self._keep_error(task.number, task.op, failure.error)
        if failure.object_lost is not None:
            self._lose_block(failure.object_lost)
        if failure.may_be_its_node:
            self._suspect(task.node, partial(self._end_failed, task.number, failure))
        else:
            self._end_failed(task.number, failure)

    def _read_failure(self, raised: object, op: int, node: int) -> Failure:
        operator = self._operators[op]
        failure = read_failure(raised, operator.name, self._cluster.words_for(node))
        if failure.kind == "worker_died":
            code = self._exits.code_of(operator.payload.key, failure.actor)
            if code is not None:
                failure.error.message = f"user code ended its process by os._exit({code})"
        return failure

    def _end_failed(self, number: int, failure: Failure) -> None:
        task = self._tasks.get(number)
        if task is None:
            return
        if failure.actor_lost and task.actor is not None:
            self._lose_actor(task.actor, kind=failure.kind)
        self._end(task, _core.Event.TaskFailed(number, failure.kind))

    def _end(self, task: Task, event: _core.Event) -> None:
        del self._tasks[task.number]
        self._starts.gone("task", task.number)
        actor = self._actors.get(task.actor) if task.actor is not None else None
        if actor is not None:
            actor.tasks.remove(task.number)
        self._events.append(event)

    def _actor_loaded(self, number: int, told: object) -> None:
        actor = self._actors.get(number)
        if actor is None:
            return
        match told:
            case Loaded(node):
                actor.is_loaded = True
                at = self._cluster.number(node)
                self._events.append(_core.Event.ActorReady(number, at, actor.age_us()))
            case TaskError(error):
                self._keep_error(None, actor.op, error)
                self._lose_actor(number, kind="user_code")
            case _:
                failure = self._read_failure(told, actor.op, actor.node)
                self._keep_error(None, actor.op, failure.error)
                lose = partial(self._lose_actor, number, kind=failure.kind)
                self._suspect(actor.node, lose)

    def _lose_actor(self, number: int, *, kind: Kind = "worker_died") -> None:
        """Reports that an actor is gone, once; its tasks report themselves afterwards."""
        actor = self._actors.pop(number, None)
        self._starts.gone("actor", number)
        if actor is None:
            return
        # It may be out of reach only, and must not go on.
        ray.kill(actor.handle)
        lost = _core.Event.ActorLost(
            number, user_code=kind == "user_code", out_of_memory=kind == "out_of_memory"
        )
        self._events.append(lost)

    def _lose_block(self, object_id: str) -> None:
        for number, held in self._blocks.items():
            if held.reference.hex() == object_id:
                self._events.append(_core.Event.BlockLost(number))

    def _keep_error(self, task: int | None, op: int, error: MillstreamError) -> None:
        self._errors[task, op] = error
        while len(self._errors) > _ERRORS_MAX:
            self._errors.popitem(last=False)

    # Nodes that come and go -------------------------------------------------------------------

    def _suspect(self, node: int, report: Report) -> None:
        """Reports a death after a look whether its node died, which would be nobody's fault."""
        self._suspects.put((node, report))
        if self._watcher is not None:
            self._watcher.look_now()

    def _look(self) -> None:
        """Looks for nodes that come and go, and for actors that died while they had no task.

        On the watcher's thread.
        """
        if not ray.is_initialized():
            self.wake()
            return
        suspects = [self._suspects.get() for _ in range(self._suspects.qsize())]
        try:
            changes = self._cluster.changes({node for node, _ in suspects})
            if changes:
                self._report(partial(self._note_changes, changes))
        finally:
            for _, report in suspects:
                self._report(report)
        for number, actor in list(self._actors.items()):
            if compat.is_dead(actor.handle):
                self._report(partial(self._lose_actor, number))
        self._report(self._closing.end_late)
        self._report(self._ending.tell_old)
        self._report(self._look_at_starts)

    def _hear_shares(self, shares: Sequence[_core.Node]) -> None:
        self._report(partial(self._events.extend, map(_core.Event.ShareChanged, shares)))

    def _note_changes(self, changes: Sequence[_core.Event]) -> None:
        self._events.extend(changes)
        joined = [event.node for event in changes if isinstance(event, _core.Event.NodeJoined)]
        if self._seat is not None and sharing.is_dividing:
            self._events.extend(map(no_share, joined))
        lost = [event.node for event in changes if isinstance(event, _core.Event.NodeLost)]
        for node in lost:
            self._leave(node)
        if lost:
            self._end_without_input()

    def _leave(self, node: int) -> None:
        """Ends what was sent to a node that is lost: Ray might yet run it elsewhere."""
        for task in [task for task in self._tasks.values() if task.node == node]:
            # Calls of actors end with them.
            if task.actor is None:
                self._ending.begin(task)
            self._starts.gone("task", task.number)
            del self._tasks[task.number]
        for number in [number for number, actor in self._actors.items() if actor.node == node]:
            self._starts.gone("actor", number)
            ray.kill(self._actors.pop(number).handle)

    def _end_without_input(self) -> None:
        """Ends the tasks whose input was lost before they had it. Ray tells it a minute later."""
        lost = self._cluster.lost_ids()
        for task in list(self._tasks.values()):
            if not are_left([self._blocks[number] for number in task.blocks], lost):
                # A call of an actor that waits for its input has not been sent, nor can it be.
                if task.actor is None:
                    self._ending.begin(task)
                self._end(task, _core.Event.TaskFailed(task.number, "not_run"))

    # What does not begin ----------------------------------------------------------------------

    def _look_at_starts(self) -> None:
        """Tells what has not begun for some time.

        Raises:
            WorkerError: Nothing of the run has begun or was at work for the longest time allowed.
        """
        if self._closed:
            return
        late = self._starts.late()
        self._late = {
            waiting.op: self._late.get(waiting.op) or self._tell(waiting) for waiting in late
        }
        overdue = self._starts.overdue(is_at_work=self._is_at_work())
        if overdue is not None:
            raise WorkerError(
                f"nothing of the run has begun for {overdue.for_s:.0f} s: "
                f"{self._why_late(overdue)}. It waits no longer than "
                "DataContext.start_timeout_s, and for ever if that is None",
                operator=self._operators[overdue.op].name,
            )

    def _is_at_work(self) -> bool:
        """Whether something of the run works, or it is the consumer's turn."""
        works = any(
            task.parked is None and not self._starts.is_waiting("task", task.number)
            for task in self._tasks.values()
        )
        loads = any(
            not actor.is_loaded and not self._starts.is_waiting("actor", number)
            for number, actor in self._actors.items()
        )
        return works or loads or bool(self._untaken)

    def _tell(self, waiting: Waiting) -> str:
        name = self._operators[waiting.op].name
        told = f"{name} waits for Ray to begin it: {self._why_late(waiting)}"
        _logger.warning("%s", told)
        return told

    def _why_late(self, waiting: Waiting) -> str:
        has, free = self._cluster.resources_of(waiting.node)
        held = self._wanted_at(waiting.node, self._begun())
        sent = self._wanted_at(waiting.node, ((op, at) for op, at, _ in self._starts.waiting()))
        body, at = self._operators[waiting.op].body, self._cluster.words_for(waiting.node)
        told = shortage(body, at, has=has, free=free, held=held, sent=sent)
        return "; ".join([told, *self._cluster.notes()])

    def _wanted_at(self, node: int, works: Iterable[tuple[int, int]]) -> dict[str, float]:
        """What is asked for at a node by works, given by their operators and nodes."""
        wanted: dict[str, float] = {}
        for op, at in works:
            amounts = self._operators[op].body.resources.amounts()
            for name, amount in amounts.items() if at == node else ():
                wanted[name] = wanted.get(name, 0.0) + amount
        return wanted

    def _begun(self) -> Iterator[tuple[int, int]]:
        """The operators and nodes of what holds resources."""
        for task in self._tasks.values():
            if task.actor is None and not self._starts.is_waiting("task", task.number):
                yield task.op, task.node
        for number, actor in self._actors.items():
            if not self._starts.is_waiting("actor", number):
                yield actor.op, actor.node

    # The end --------------------------------------------------------------------------------

    def _end_all(self) -> None:
        for task in self._tasks.values():
            # Calls of actors end with them.
            if task.actor is None:
                self._ending.begin(task)
        self._tasks.clear()
        for actor in self._actors.values():
            ray.kill(actor.handle)
        while (left_s := self._closing.seconds_left()) is not None:
            self._hear(left_s)
            self._closing.end_late()
        self._ending.finish()


def _raise(error: MillstreamError) -> None:
    raise error


_logger = logging.getLogger(__name__)
# A run fails at its first error; what is kept beyond it are the deaths that were survived.
_ERRORS_MAX = 100
