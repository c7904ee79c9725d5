"""The driver's turn, against a scheduler and a backend that follow a script."""

from __future__ import annotations

import queue
from types import SimpleNamespace

import pyarrow as pa
import pytest

from millstream._core import Action, Event, Node
from millstream.errors import RunStoppedError, UserCodeError, WorkerError
from millstream.run import driver
from millstream.run.driver import Run
from millstream.run.protocol import BlockGoneError, BlockHandle
from millstream.run.worker import BlockMeta

OPS = [SimpleNamespace(name="Read"), SimpleNamespace(name="Map(f)")]


class Script:
    """A scheduler and a backend: what they answer is given, what they are told is kept.

    Args:
        turns: The actions of each turn; then none.
        done_after: Whether the run is done, given all events so far.
        wakeup: The scheduler's next wake-up.
        errors: What the backend raises, by method.
    """

    def __init__(self, turns=(), done_after=lambda events: True, wakeup=None, errors=None):
        self.turns = [list(turn) for turn in turns]
        self.done_after = done_after
        self.wakeup = wakeup
        self.errors = errors or {}
        self.shares = []
        self.events = []
        self.times = []
        self.performed = []
        self.timeouts = []
        self.closed = 0
        self.happened = queue.SimpleQueue()
        self.worker_error = None

    def step(self, now_us, events):
        self.times.append(now_us)
        self.events += events
        return self.turns.pop(0) if self.turns else []

    def is_done(self):
        return not self.turns and self.done_after(self.events)

    def next_wakeup(self):
        return self.wakeup

    def run_demand(self):
        raise AssertionError("nobody shares with this run")

    def share(self, demand):
        return [Event.ShareChanged(share) for share in self.shares]

    def perform(self, actions):
        self.fail("perform")
        self.performed += actions

    def wait(self, timeout_s):
        self.fail("wait")
        self.timeouts.append(timeout_s)
        try:
            event = self.happened.get(timeout=timeout_s)
        except queue.Empty:
            return []
        return [] if event is None else [event]

    def wake(self, *, can_wait=False):
        self.happened.put(None)

    def output(self, number):
        table = pa.table({"id": [number]})
        return BlockHandle(number, lambda: BlockMeta(1, 8, table.schema), table, lambda it: it)

    def error_of(self, task, op):
        return self.worker_error

    def close(self):
        self.closed += 1
        self.fail("close")

    def fail(self, method):
        if method in self.errors:
            raise self.errors[method]


def run(script):
    return Run(OPS, script, script)


def taken(events):
    return [event.block for event in events if isinstance(event, Event.OutputTaken)]


def stopped(events):
    return any(isinstance(event, Event.StopRequested) for event in events)


def test_a_block_is_taken_when_the_next_is_asked_for():
    script = Script(
        [[Action.EmitBlock(0)], [Action.EmitBlock(1)]], lambda events: taken(events) == [0, 1]
    )
    script.happened.put(Event.TimePassed())
    blocks = run(script)
    first = next(blocks)
    assert taken(script.events) == []
    second = next(blocks)
    assert [first.block, second.block] == [0, 1]
    assert first.fetch()["id"].to_pylist() == [0]
    assert list(blocks) == []
    assert taken(script.events) == [0, 1]
    assert script.closed == 1


def test_shares_are_heard_before_the_first_turn():
    script = Script()
    script.shares = [Node(node=0, cpu=0, store_bytes=0)]
    assert list(run(script)) == []
    assert [event.share for event in script.events[1:2]] == script.shares


def test_a_released_block_is_taken_once():
    script = Script([[Action.EmitBlock(7)]], lambda events: taken(events) != [])
    blocks = run(script)
    handle = next(blocks)
    handle.release()
    handle.release()
    assert list(blocks) == []
    assert taken(script.events) == [7]


class Losing(Script):
    """A script whose block 0 is gone when it is fetched."""

    def output(self, number):
        handle = super().output(number)
        if number != 0:
            return handle

        def load(source):
            raise BlockGoneError("gone")

        return BlockHandle(0, lambda: BlockMeta(2, 8, None), handle.source, load)


def lost(events):
    return [event.block for event in events if isinstance(event, Event.BlockLost)]


def test_what_takes_the_place_of_a_lost_block_is_fetched_as_that_block():
    again = [Action.EmitBlock(1, instead_of=0), Action.EmitBlock(2, instead_of=0)]
    script = Losing([[Action.EmitBlock(0)], again], lambda events: len(taken(events)) >= 2)
    blocks = run(script)
    handle = next(blocks)
    assert [handle.fetch()["id"].to_pylist() for _ in range(2)] == [[1, 2], [1, 2]]
    assert lost(script.events) == [0]
    assert list(blocks) == []
    assert taken(script.events) == [1, 2]


def test_a_block_that_is_lost_when_the_run_has_ended_is_an_error():
    script = Losing([[Action.EmitBlock(0)]], lambda events: False)
    blocks = run(script)
    handle = next(blocks)
    blocks.close()
    with pytest.raises(BlockGoneError, match="the run has ended"):
        handle.fetch()


def test_orders_go_to_the_backend_and_outputs_to_the_consumer():
    orders = [Action.DropBlock(3), Action.StopActor(1)]
    script = Script([[orders[0], Action.EmitBlock(0), orders[1]]], lambda events: taken(events))
    assert [handle.block for handle in run(script)] == [0]
    assert script.performed == orders


def test_time_starts_at_zero_and_never_goes_back():
    script = Script([[]] * 5, wakeup=0)
    list(run(script))
    assert script.times == sorted(script.times)
    assert 0 <= script.times[0] < 5_000_000


def test_a_wait_ends_at_the_next_wake_up_and_else_only_by_events():
    script = Script([[], []], wakeup=50_000)
    list(run(script))
    assert 0 <= script.timeouts[0] <= 0.05
    script = Script([[], []])
    script.happened.put(Event.TimePassed())
    list(run(script))
    assert script.timeouts == [None]


@pytest.mark.parametrize("method", ["perform", "wait", "close"])
def test_an_error_of_the_backend_reaches_the_consumer(method):
    script = Script([[], []], errors={method: OSError("broken")}, wakeup=0)
    with pytest.raises(OSError, match="broken"):
        list(run(script))
    assert script.closed == 1


def test_a_failed_run_raises_the_workers_own_error_and_asks_to_stop():
    script = Script([[Action.FailRun(1, 5, "user_code", {})]], stopped)
    script.worker_error = UserCodeError("row 3 is bad", operator="Map(f)")
    blocks = run(script)
    with pytest.raises(UserCodeError, match="row 3 is bad"):
        next(blocks)
    assert stopped(script.events)
    with pytest.raises(RunStoppedError, match="it failed"):
        next(blocks)


def test_deaths_are_told_with_what_to_do_and_the_last_as_the_cause():
    script = Script([[Action.FailRun(1, 5, "task_deaths", {"count": 4})]], stopped)
    script.worker_error = WorkerError("killed")
    with pytest.raises(WorkerError, match=r"died at each of its 4 attempts.*num_cpus") as caught:
        next(run(script))
    assert caught.value.operator == "Map(f)"
    assert caught.value.__cause__ is script.worker_error


def test_an_error_does_not_wait_behind_blocks_that_nobody_has_taken():
    script = Script(
        [[Action.EmitBlock(0), Action.EmitBlock(1)], [Action.FailRun(0, 1, "user_code", {})]],
        stopped,
        wakeup=0,
    )
    blocks = run(script)
    blocks._loop.join()
    with pytest.raises(UserCodeError, match="raised in a task"):
        next(blocks)


def test_a_scheduler_that_does_not_finish_after_a_stop_is_left(monkeypatch):
    monkeypatch.setattr(driver, "_STOP_GRACE_NS", 50_000_000)
    script = Script(done_after=lambda events: False)
    blocks = run(script)
    blocks.close()
    assert stopped(script.events)
    assert script.closed == 1
    with pytest.raises(RunStoppedError, match="it was closed"):
        next(blocks)


def test_a_run_that_is_stopped_when_all_is_taken_has_ended_well():
    script = Script([[Action.EmitBlock(0)]], taken)
    blocks = run(script)
    assert [handle.block for handle in blocks] == [0]
    blocks.close()
    assert list(blocks) == []
