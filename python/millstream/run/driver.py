"""The driver: the only loop, and the only clock.

Owns the turn of the run (wait for events, step the scheduler, carry out its actions) on one thread,
and the iterator at which a consumer takes blocks. Must not know what a backend does, nor decide
what runs.
"""

from __future__ import annotations

import atexit
import contextlib
import queue
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

import pyarrow as pa

from millstream import _core
from millstream.blocks.block import concat
from millstream.errors import MillstreamError, RunStoppedError, UserCodeError, WorkerError
from millstream.observe.words import failure_text
from millstream.plan.physical import PhysicalOp
from millstream.run.lists import Lists
from millstream.run.protocol import Backend, BlockGoneError, BlockHandle

_Handles: TypeAlias = queue.SimpleQueue[BlockHandle | None]


class Run(Iterator[BlockHandle]):
    """A plan that runs; an iterator over the blocks of its output.

    The run starts at once, on a thread of its own. It ends when its last block has been taken, at
    the first error, which is raised at the consumer, or when the consumer leaves: by `close`, by
    Ctrl-C, or by dropping the iterator. Only a run whose last block has been taken ends the
    iteration; one that was stopped before raises, so that nobody takes a part of the rows for all.

    Asking for the next block tells the scheduler that the one before has been taken; so does its
    `release`. The handle itself stays valid until then, or until it is released, if the consumer
    keeps it.

    Args:
        ops: The operators; the backend has been opened with them.
        backend: What carries out the actions. The run closes it.
        scheduler: A fresh scheduler for the same operators.
        consumers: How many share the output; what is said here of the consumer is meant of the only
            one. Several have an outlet each (`outlets`).
    """

    def __init__(
        self,
        ops: list[PhysicalOp],
        backend: Backend,
        scheduler: _core.Scheduler,
        consumers: int = 1,
    ) -> None:
        self._loop = _Loop(ops, backend, scheduler, consumers)
        self.outlets = [Outlet(self._loop, consumer) for consumer in range(consumers)]
        # The thread knows the loop only, so that the run ends when its iterator is dropped.
        self._finalizer = weakref.finalize(self, self._loop.stop)
        self._finalizer.atexit = False
        _running.add(self._loop)
        # Again and last, so that it comes before what a backend does at exit.
        atexit.unregister(_stop_all)
        atexit.register(_stop_all)
        if _exit.is_set():
            _running.discard(self._loop)
            raise _cut_off(_BY_EXIT)
        self._loop.thread.start()

    def __iter__(self) -> Run:
        return self

    def __next__(self) -> BlockHandle:
        """Waits for the next block.

        Raises:
            RunStoppedError: The run was closed, or the program ended, before its last block.
            MillstreamError: The run failed.
        """
        try:
            handle = self.outlets[0].wait()
        except BaseException:
            # Ctrl-C: nothing of the run may be left when it reaches the caller.
            self.close()
            raise
        if handle is None:
            self._let_go()
            self.outlets[0].end()
            raise StopIteration
        return handle

    def close(self) -> None:
        """Stops the run and waits until nothing of it is left. Idempotent."""
        self._loop.stop()
        # A second Ctrl-C must not leave half of it behind.
        interrupted: KeyboardInterrupt | None = None
        while self._loop.is_alive():
            try:
                self._loop.join()
            except KeyboardInterrupt as error:
                interrupted = error
        self._let_go()
        if interrupted is not None:
            raise interrupted

    def _let_go(self) -> None:
        """Drops what would keep the loop alive, and with it errors whose frames keep this alive."""
        self._finalizer.detach()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Outlet:
    """Where one consumer takes its blocks. Used by one thread at a time.

    Args:
        loop: What drives the run.
        consumer: The number of the consumer.
    """

    def __init__(self, loop: _Loop, consumer: int) -> None:
        self._loop = loop
        self._consumer = consumer
        self._current: BlockHandle | None = None
        self._given = 0

    def wait(self) -> BlockHandle | None:
        """The next block, and `None` after the last. The one before is taken by this.

        `end` tells whether it was the last of all.
        """
        if self._current is not None:
            self._current.taken()
            self._current = None
        outputs = self._loop.outputs[self._consumer]
        handle = _first_of(outputs)
        if handle is None:
            outputs.put(None)
            self._loop.join()
        else:
            self._given += 1
        self._current = handle
        return handle

    def end(self) -> None:
        """Tells at the end how it came about.

        Raises:
            RunStoppedError: The run was closed, or the program ended, before its last block.
            MillstreamError: The run failed.
        """
        self._loop.raise_unfinished(self._consumer)

    def leave(self, received: int = 0) -> None:
        """Takes nothing more: what is here goes to the others.

        Args:
            received: Blocks that have reached the consumer; the last of these is taken too.
        """
        if self._current is not None and received >= self._given:
            self._current.taken()
        self._current = None
        self._loop.note_gone(self._consumer)


class _Loop:
    """The thread that drives one run."""

    def __init__(
        self,
        ops: list[PhysicalOp],
        backend: Backend,
        scheduler: _core.Scheduler,
        consumers: int,
    ) -> None:
        self._names = [op.name for op in ops]
        self._backend = backend
        self._lists = Lists(ops, self._wake)
        self._scheduler = scheduler
        self._started_ns = time.monotonic_ns()
        self._taken: deque[int] = deque()
        self._gone: deque[int] = deque()
        # Blocks that the consumer found gone, and what comes in their place.
        self._lost: deque[int] = deque()
        self._replacements: dict[int, _Handles] = {}
        self._has_ended = False
        self._stop_wanted = False
        self._ended_by: str | None = None
        # Whether the consumer has all there is, or will have it.
        self._is_finished = False
        self._stop_told = False
        self._stop_before_ns: int | None = None
        self._error: BaseException | None = None
        # The consumers that have not heard of it.
        self._unaware = set(range(consumers))
        self.outputs: list[_Handles] = [queue.SimpleQueue() for _ in range(consumers)]
        self.thread = threading.Thread(target=self._run, name="millstream-driver", daemon=True)

    def stop(self, by: str = "it was closed") -> None:
        """Asks the loop to end, from any thread.

        Args:
            by: Who or what ends it, for a consumer that still waits.
        """
        self._ended_by = self._ended_by or by
        self._stop_wanted = True
        self._wake()

    def join(self) -> None:
        """Waits until the run and all that belonged to it are gone."""
        self.thread.join()

    def is_alive(self) -> bool:
        """Whether anything of the run may be left."""
        return self.thread.is_alive()

    def raise_unfinished(self, consumer: int) -> None:
        """Raises what the run failed of, once; from then on, and if it was stopped, that it was."""
        error = self._error if consumer in self._unaware else None
        self._unaware.discard(consumer)
        if not self._unaware:
            self._error = None
        if error is not None:
            self._ended_by = "it failed"
            raise error
        if not self._is_finished:
            raise _cut_off(self._ended_by or "it was closed")

    def _run(self) -> None:
        try:
            self._turns()
        except BaseException as error:  # noqa: BLE001 - it is raised at the consumer
            self._fail(error)
        try:
            self._backend.close()
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail(error)
        if self._stop_told:
            self._drop_outputs()
        self._is_finished = self._scheduler.is_done() and not self._stop_told
        self._has_ended = True
        for waiting in [*self._replacements.values(), *self.outputs]:
            waiting.put(None)
        _running.discard(self)

    def _turns(self) -> None:
        shares = self._backend.share(self._scheduler.run_demand)
        events = [_core.Event.TimePassed(), *shares]
        while True:
            actions = self._scheduler.step(self._now_us(), events)
            failed = self._carry_out(actions)
            if self._scheduler.is_done() or self._is_late():
                return
            events = [] if failed else self._backend.wait(self._timeout_s())
            events += self._own_events()

    def _carry_out(self, actions: list[_core.Action]) -> bool:
        """Sends actions to the backend and blocks to the consumer; tells if the run failed."""
        orders = []
        outputs = []
        failed = False
        for action in actions:
            match action:
                case _core.Action.EmitBlock():
                    outputs.append(action)
                case _core.Action.CommitEpoch():
                    # Consumers count their rows themselves.
                    pass
                case _core.Action.ExtendSource():
                    self._lists.extend(action)
                case _core.Action.FailRun():
                    self._fail(self._told(action))
                    self._stop_wanted = failed = True
                case _:
                    orders.append(action)
        for output in outputs:
            self._emit(output)
        self._backend.perform(orders)
        return failed

    def _emit(self, action: _core.Action.EmitBlock) -> None:
        handle = self._backend.output(action.block)
        handle.place = (action.row, action.epoch, action.epoch_row)
        handle.on_release(self._note_taken)
        handle.on_lost(self._make_again)
        if action.instead_of is None:
            self.outputs[action.consumer].put(handle)
        else:
            self._replacements[action.instead_of].put(handle)

    def _make_again(self, lost: BlockHandle) -> pa.Table:
        """Waits for rows in the place of a block that is gone; called on the consumer's thread."""
        meta = lost.meta
        if meta.rows == 0 and meta.schema is not None:
            self._note_lost(lost.block)
            return meta.schema.empty_table()
        handles: _Handles = queue.SimpleQueue()
        self._replacements[lost.block] = handles
        self._note_lost(lost.block)
        tables: list[pa.Table] = []
        rows = 0
        while rows < meta.rows:
            handle = None if self._has_ended else _first_of(handles)
            if handle is None:
                raise BlockGoneError("a block of the output is lost, and the run has ended")
            tables.append(handle.fetch())
            rows += tables[-1].num_rows
            handle.taken()
        del self._replacements[lost.block]
        return concat(tables)

    def _note_lost(self, block: int) -> None:
        self._lost.append(block)
        self._wake()

    def _drop_outputs(self) -> None:
        """Forgets what consumers have not taken: an error must not wait behind it."""
        for outputs in self.outputs:
            with contextlib.suppress(queue.Empty):
                while True:
                    outputs.get_nowait()

    def _note_taken(self, block: int) -> None:
        self._taken.append(block)
        self._wake(can_wait=True)

    def note_gone(self, consumer: int) -> None:
        """Takes note that a consumer takes nothing more, from any thread."""
        self._gone.append(consumer)
        self._wake()

    def _wake(self, *, can_wait: bool = False) -> None:
        with contextlib.suppress(RuntimeError):
            self._backend.wake(can_wait=can_wait)

    def _own_events(self) -> list[_core.Event]:
        events = self._lists.take()
        # What a consumer took before it went is told before that it went.
        gone = [self._gone.popleft() for _ in range(len(self._gone))]
        while self._taken:
            events.append(_core.Event.OutputTaken(self._taken.popleft()))
        while self._lost:
            events.append(_core.Event.BlockLost(self._lost.popleft()))
        events += [_core.Event.ConsumerGone(consumer) for consumer in gone]
        if self._stop_wanted and not self._stop_told:
            self._stop_told = True
            self._stop_before_ns = time.monotonic_ns() + _STOP_GRACE_NS
            events.append(_core.Event.StopRequested())
        return events

    def _is_late(self) -> bool:
        return self._stop_before_ns is not None and time.monotonic_ns() >= self._stop_before_ns

    def _timeout_s(self) -> float | None:
        """How long to wait for events: to the scheduler's next wake-up, or the end of the grace."""
        wakeup = self._scheduler.next_wakeup()
        limits = [] if wakeup is None else [(wakeup - self._now_us()) / 1e6]
        if self._stop_before_ns is not None:
            limits.append((self._stop_before_ns - time.monotonic_ns()) / 1e9)
        return max(0.0, min(limits)) if limits else None

    def _now_us(self) -> int:
        return (time.monotonic_ns() - self._started_ns) // 1000

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error

    def _told(self, action: _core.Action.FailRun) -> MillstreamError:
        """The error of a failed run: the worker's own if it sent one."""
        operator = self._names[action.op]
        cause = self._backend.error_of(action.task, action.op)
        told = failure_text(action.cause, action.details)
        if action.cause in ("user_code", "actor_user_code"):
            return cause or UserCodeError(told, operator=operator)
        if cause is not None:
            told = f"{told}. The last time: {cause.message.partition(chr(10))[0]}"
        error = WorkerError(told, operator=operator)
        error.__cause__ = cause
        return error


def _first_of(handles: _Handles) -> BlockHandle | None:
    """Waits for the first of them.

    In short waits: one that begins just as Ctrl-C is pressed would not be ended by it.
    """
    while True:
        with contextlib.suppress(queue.Empty):
            return handles.get(timeout=_WAIT_S)


def _cut_off(by: str) -> RunStoppedError:
    return RunStoppedError(
        f"the run was cut off before its last row: {by}. What it gave before is not all of it"
    )


@contextlib.contextmanager
def before_exit() -> Iterator[None]:
    """The end of the program waits, for a time, until what is inside has ended.

    What a run has left on a disk is removed on the consumer's thread. If that is a daemon thread,
    nobody else waits for it; if it is the main thread, SIGTERM would end it there and then, so it
    raises `SystemExit` meanwhile, unless the program has set what it does.
    """
    inside = threading.Event()
    _unfinished.add(inside)
    before = _handle_terminations()
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
        _unfinished.discard(inside)
        inside.set()


def _handle_terminations() -> signal.Handlers | None:
    """Lets SIGTERM raise where it is not handled yet; gives what to set again."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None
    signal.signal(signal.SIGTERM, _terminate)
    return signal.SIG_DFL


def _terminate(number: int, _frame: object) -> None:
    # The status that shells give to what a signal has ended.
    raise SystemExit(128 + number)


def _stop_all() -> None:
    """Ends the runs that a program leaves behind when it exits."""
    _exit.set()
    before = time.monotonic() + _EXIT_GRACE_S
    loops = list(_running)
    for loop in loops:
        loop.stop(_BY_EXIT)
    for loop in loops:
        loop.thread.join(timeout=max(0.0, before - time.monotonic()))
    for inside in list(_unfinished):
        inside.wait(timeout=max(0.0, before - time.monotonic()))


#: The loops whose threads run.
_running: weakref.WeakSet[_Loop] = weakref.WeakSet()
#: What the end of the program waits for besides.
_unfinished: set[threading.Event] = set()
#: Whether the program is ending.
_exit = threading.Event()
_BY_EXIT = (
    "the program ended while it was under way; let the main thread wait for the thread that takes "
    "its rows"
)
#: How long a stopped run may take to cancel its tasks before the backend ends them by force.
_STOP_GRACE_NS = 2_000_000_000
#: How long a consumer waits before it looks whether it was interrupted.
_WAIT_S = 0.2
#: How long a program's exit may wait for its runs.
_EXIT_GRACE_S = 10.0
