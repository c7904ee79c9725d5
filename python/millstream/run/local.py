"""The local backend: the worker body on threads of this process.

Owns the threads, the blocks and the hand-over by credit. Must not know scheduling or Ray.

Functions and classes are used as they are, not copied: what they change in this process stays
changed, and a function may run on several threads at a time.
"""

from __future__ import annotations

import ctypes
import itertools
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from millstream import _core
from millstream.blocks.usercode import RunEnded
from millstream.errors import MillstreamError, SerializationError, UserCodeError
from millstream.plan.physical import PhysicalOp
from millstream.plan.stage import Stage
from millstream.run import machine
from millstream.run.inbox import Inbox
from millstream.run.numerics import OneThread
from millstream.run.protocol import BlockHandle, not_carried_out, warn
from millstream.run.spill import Spill, SpilledBlock
from millstream.run.worker import (
    BlockMeta,
    OpenStage,
    TaskEnd,
    TaskError,
    Work,
    open_stage,
    slices_of,
)


class LocalBackend:
    """Runs operators on threads.

    Args:
        num_cpus: CPU slots; None: the CPUs that this process may use, or more if the plan could not
            run with so few.
        num_gpus: GPU slots, logical ones; None: the GPUs that are found.
        store_bytes: Bytes of blocks that may be held; None: a part of the memory.
    """

    def __init__(
        self,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        store_bytes: int | None = None,
    ) -> None:
        self._limit = num_cpus
        self._cpus = machine.cpus() if num_cpus is None else num_cpus
        self._gpus = machine.gpus() if num_gpus is None else num_gpus
        self._store_bytes = store_bytes or machine.store_bytes()
        self._ops: Sequence[PhysicalOp] = ()
        self._shared = _Shared(self._store_bytes)
        self._threads = _Threads()
        self._stages: list[_Stages] = []
        self._tasks: dict[int, _Task] = {}
        self._actors: dict[int, _Actor] = {}
        self._leaving: list[_Thread] = []
        self._closed = False
        self._one_thread: OneThread | None = None

    def nodes(self) -> list[_core.Node]:
        """The one node that this process is."""
        return [
            _core.Node(
                node=0,
                cpu=self._cpus,
                gpu=self._gpus,
                heap_bytes=machine.memory_bytes(),
                store_bytes=self._store_bytes,
            )
        ]

    def open(self, ops: Sequence[PhysicalOp]) -> list[_core.Node]:
        """Makes ready to run these operators."""
        self._ops = ops
        if self._limit is None:
            self._cpus = machine.slots_for(ops, self._cpus)
        self._stages = [_Stages(op.stage) for op in ops]
        if any(op.stage.has_functions for op in ops):
            self._one_thread = OneThread()
        return self.nodes()

    def share(self, demand: Callable[[], _core.Demand]) -> list[_core.Event]:
        """Nothing is shared: the node of each run is its own."""
        return []

    def perform(self, actions: Sequence[_core.Action]) -> None:
        """Carries out actions."""
        for action in actions:
            match action:
                case _core.Action.LaunchTask():
                    self._launch(action)
                case _core.Action.ResumeTask(task, credit):
                    if task in self._tasks:
                        self._tasks[task].add_credit(credit)
                case _core.Action.CancelTask(task):
                    self._cancel(task)
                case _core.Action.StartActor(actor, op):
                    self._actors[actor] = _Actor(actor, op, self._ops[op].stage, self._shared)
                case _core.Action.StopActor(actor):
                    self._stop_actor(actor)
                case _core.Action.DropBlock(block):
                    self._shared.drop(block)
                case _:
                    raise not_carried_out(action)

    def wait(self, timeout_s: float | None) -> list[_core.Event]:
        """Waits until something happened."""
        events: list[_core.Event] = []
        for event in self._shared.inbox.take(timeout_s):
            match event:
                case _core.Event.TaskFinished(task) | _core.Event.TaskFailed(task):
                    if self._tasks.pop(task, None) is None:
                        continue
            events.append(event)
        return self._shared.inbox.with_delay(events)

    def wake(self, *, can_wait: bool = False) -> None:
        """Makes a `wait` return."""
        self._shared.inbox.wake(can_wait=can_wait)

    def output(self, number: int) -> BlockHandle:
        """The data of a block."""
        meta = self._shared.blocks[number][0]
        table = self._shared.table(number)
        return BlockHandle(number, lambda: meta, _Held(table), _Held.fetch)

    def notes(self) -> list[str]:
        """Nothing: the scheduler sees all there is."""
        return []

    def error_of(self, task: int | None, op: int) -> MillstreamError | None:
        """What a task or a constructor raised."""
        return self._shared.errors.get((task, op)) or self._shared.errors.get((None, op))

    def close(self) -> None:
        """Ends all tasks and actors; those that do not end in time are left to their thread."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks.values():
            task.cancel()
        for actor in self._actors.values():
            actor.stop()
        self._threads.stop()
        actors = [actor.thread for actor in self._actors.values()]
        _end_threads([*self._threads.all, *actors, *self._leaving])
        for stages in self._stages:
            stages.close()
        self._shared.blocks.clear()
        self._shared.spill.close()
        self._tasks.clear()
        self._actors.clear()
        self._stages = []
        if self._one_thread is not None:
            self._one_thread.end()

    def _launch(self, action: _core.Action.LaunchTask) -> None:
        op = self._ops[action.op]
        work: Work
        if action.first_unit is not None:
            work = op.units[action.first_unit : action.first_unit + action.unit_count]
        else:
            blocks = [self._shared.table(block) for block in action.blocks]
            work = blocks if action.slices is None else slices_of(blocks, action.slices)
        task = _Task(action, work, self._shared, waits=op.kind == "scatter")
        self._tasks[action.task] = task
        if action.actor is None:
            stages = self._stages[action.op]
            self._threads.submit(lambda: stages.use(task.run, task.fail))
        else:
            self._actors[action.actor].submit(task)

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()
            # Its thread may be deep in user code: nobody waits for that.
            self._shared.tell(_core.Event.TaskFailed(number, "cancelled"))

    def _stop_actor(self, number: int) -> None:
        actor = self._actors.pop(number, None)
        if actor is not None:
            actor.stop()
            self._leaving = [thread for thread in self._leaving if thread.is_alive()]
            self._leaving.append(actor.thread)


class _Held:
    """A block in the memory of this process, which it does not leave."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def fetch(self) -> pa.Table:
        return self._table

    def __reduce__(self) -> tuple[Any, ...]:
        raise SerializationError(
            "the blocks of a dataset that was materialized on the local backend are in the memory "
            "of its process: they cannot go to another one, nor to Ray. Write them, or send the "
            "dataset that was materialized"
        )


class _Shared:
    """What the threads and the driver share: the blocks, the errors, and what happened.

    Args:
        store_bytes: Bytes of blocks that may be held.
    """

    def __init__(self, store_bytes: int) -> None:
        self.blocks: dict[int, tuple[BlockMeta, pa.Table | SpilledBlock]] = {}
        # The core holds as much of what waits behind exchanges to be in memory.
        self.spill = Spill(store_bytes // 2)
        self._waiting: set[int] = set()
        self.errors: dict[tuple[int | None, int], MillstreamError] = {}
        self._numbers = itertools.count()
        self.inbox: Inbox[_core.Event] = Inbox()

    def tell(self, event: _core.Event, *, can_wait: bool = False) -> None:
        """Reports an event."""
        self.inbox.put(event, can_wait=can_wait)

    def add(self, task: int, meta: BlockMeta, table: pa.Table, *, waits: bool) -> None:
        """Keeps a block and reports it.

        Args:
            task: The number of the task that made it.
            meta: What is known of it.
            table: Its data.
            waits: Whether it waits behind an exchange, if need be on disk.
        """
        block = next(self._numbers)
        if waits:
            self._waiting.add(block)
        self.blocks[block] = (meta, self.spill.keep(table, meta.nbytes) if waits else table)
        produced = _core.Event.BlockProduced(task, block, meta.rows, meta.nbytes, 0, meta.partition)
        self.tell(produced, can_wait=True)

    def table(self, block: int) -> pa.Table:
        """The data of a block."""
        found = self.blocks[block][1]
        return found.table() if isinstance(found, SpilledBlock) else found

    def drop(self, block: int) -> None:
        """Forgets a block."""
        found = self.blocks.pop(block, None)
        if found is not None and block in self._waiting:
            self._waiting.discard(block)
            self.spill.drop(found[1], found[0].nbytes)


class _Task:
    """One task: its work, its credit, and whether it is still wanted."""

    def __init__(
        self, action: _core.Action.LaunchTask, work: Work, shared: _Shared, *, waits: bool
    ) -> None:
        self._number = action.task
        self._op = action.op
        self._attempt = action.attempt
        self._rows_skipped = action.rows_skipped
        self._rows_wanted = action.rows_wanted
        self._work: Work = work
        self._shared = shared
        self._waits = waits
        self._credit = action.credit
        self._handed_over = 0
        self._cancelled = False
        self._changed = threading.Condition()

    def add_credit(self, credit: int) -> None:
        """Lets it hand over blocks of so many more bytes."""
        with self._changed:
            self._credit += credit
            self._changed.notify()

    def cancel(self) -> None:
        """Ends it at its next block."""
        with self._changed:
            self._cancelled = True
            self._changed.notify()

    def run(self, stage: OpenStage) -> None:
        """Runs it on the calling thread."""
        context = f"task {self._number}, attempt {self._attempt + 1}, in this process"
        outputs = stage.run(self._work, self._rows_skipped, context, self._rows_wanted)
        self._work = ()
        try:
            if self._cancelled:
                return
            for output in outputs:
                match output:
                    case TaskEnd():
                        # All workers are one process, so what one of them uses is not known.
                        self._shared.tell(_core.Event.TaskFinished(self._number, output.busy_us))
                    case TaskError():
                        self.fail(output.error)
                    case (meta, table):
                        if not self._hand_over(meta, table):
                            return
                        del table
        except RunEnded:
            raise
        except BaseException as error:  # noqa: BLE001 - nothing that user code raises may be lost
            told = f"the user code raised {type(error).__name__}"
            failure = UserCodeError(told, task=context)
            failure.__cause__ = error
            self.fail(failure)
        finally:
            outputs.close()

    def fail(self, error: MillstreamError) -> None:
        """Reports that user code raised."""
        self._shared.errors[self._number, self._op] = error
        self._shared.tell(_core.Event.TaskFailed(self._number, "user_code"))

    def _hand_over(self, meta: BlockMeta, table: pa.Table) -> bool:
        with self._changed:
            if self._credit < meta.nbytes:
                self._shared.tell(
                    _core.Event.BlockReady(self._number, self._handed_over, meta.nbytes)
                )
            self._changed.wait_for(lambda: self._credit >= meta.nbytes or self._cancelled)
            if self._cancelled:
                return False
            self._credit -= meta.nbytes
            self._handed_over += 1
            self._shared.add(self._number, meta, table, waits=self._waits)
            return True


class _Stages:
    """The loaded stages of an operator without actors; each is used by one task at a time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._free: list[OpenStage] = []

    def use(
        self, run: Callable[[OpenStage], None], fail: Callable[[MillstreamError], None]
    ) -> None:
        """Calls `run` with a loaded stage, or `fail` with why there is none."""
        try:
            stage = self._free.pop() if self._free else open_stage(self._stage, dumps=None)
        except MillstreamError as error:
            fail(error)
            return
        run(stage)
        self._free.append(stage)

    def close(self) -> None:
        """Lets go of what was loaded, except what a task that did not end still has."""
        while self._free:
            _close_stage(self._free.pop())


class _Actor:
    """A thread that loads a stage and runs tasks on it, in order."""

    def __init__(self, number: int, op: int, stage: Stage, shared: _Shared) -> None:
        self._number = number
        self._op = op
        self._stage = stage
        self._shared = shared
        self._started_ns = time.monotonic_ns()
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self.thread = _Thread(self._run, f"millstream-actor-{number}")

    def submit(self, task: _Task) -> None:
        """Queues a task."""
        self._tasks.put(task)

    def stop(self) -> None:
        """Ends the thread when its queue is done."""
        self._tasks.put(None)

    def _run(self) -> None:
        try:
            opened = open_stage(self._stage, dumps=None)
        except MillstreamError as error:
            self._shared.errors[None, self._op] = error
            self._shared.tell(_core.Event.ActorLost(self._number, user_code=True))
            return
        load_us = (time.monotonic_ns() - self._started_ns) // 1000
        self._shared.tell(_core.Event.ActorReady(self._number, 0, load_us))
        try:
            while (task := self._tasks.get()) is not None:
                task.run(opened)
        finally:
            self.thread.is_closing = True
            _close_stage(opened)


class _Threads:
    """Threads for tasks without actors; one that is idle takes the next task."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self.all: list[_Thread] = []

    def submit(self, job: Callable[[], None]) -> None:
        """Runs a job on an idle thread, or on a new one."""
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False):
            self.all.append(_Thread(self._run, f"millstream-task-{len(self.all)}"))

    def stop(self) -> None:
        """Ends the threads when they are idle."""
        for _ in self.all:
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job
            self._idle.release()


class _Thread(threading.Thread):
    """A thread of user code.

    Attributes:
        is_closing: Whether it lets go of what user code holds, for which there is more time.
    """

    def __init__(self, run: Callable[[], None], name: str) -> None:
        # A stuck user function must not keep the process from ending.
        super().__init__(target=_until_ended, args=(run,), name=name, daemon=True)
        self.is_closing = False
        self.start()


def _until_ended(run: Callable[[], None]) -> None:
    try:
        run()
    except RunEnded:
        return


def _close_stage(stage: OpenStage) -> None:
    for raised in stage.close():
        warn(raised)


def _end_threads(threads: Sequence[_Thread]) -> None:
    """Waits for threads; after a grace, raises in those that are in Python code of the user."""
    _join(threads, _END_GRACE_S)
    _raise_in([thread for thread in threads if not thread.is_closing])
    _join(threads, _FORCE_GRACE_S)
    closing = [thread for thread in threads if thread.is_closing]
    if not _join(closing, _CLOSE_GRACE_S):
        warn(f"close() of a class has not ended within {_CLOSE_GRACE_S:g} s: it is left")
        _raise_in(closing)


def _join(threads: Sequence[_Thread], grace_s: float) -> bool:
    """Waits for threads for a time; tells whether all of them have ended."""
    before = time.monotonic() + grace_s
    others = [thread for thread in threads if thread is not threading.current_thread()]
    for thread in others:
        thread.join(max(0.0, before - time.monotonic()))
    return not any(thread.is_alive() for thread in others)


def _raise_in(threads: Sequence[_Thread]) -> None:
    for thread in threads:
        if thread.is_alive() and not _is_importing(thread):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(RunEnded)
            )


def _is_importing(thread: threading.Thread) -> bool:
    """Whether a thread is inside an import, where an exception could leave a lock held for ever."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if "importlib" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


#: How long tasks may take to notice that their run has ended.
_END_GRACE_S = 1.0
#: How long tasks may take to end after something was raised in them.
_FORCE_GRACE_S = 2.0
#: How long classes may take after that to let go of what they hold.
_CLOSE_GRACE_S = 10.0
