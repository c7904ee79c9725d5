"""Backends driven by hand: each action has the effect that the core counts on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from pipelines import batches, calls, count_call, read

from millstream._core import Action, Event
from millstream.errors import MillstreamError

# Room for one of the blocks that `counting` makes.
ROOM = (2 << 20) + 4096


def launch(
    task, op=0, actor=None, units=(0, 1), blocks=(), rows_skipped=0, credit=ROOM, wanted=None
):
    first, count = units if not blocks else (None, 0)
    rows = (rows_skipped, wanted)
    return Action.LaunchTask(task, op, 0, 0, actor, first, count, blocks, None, *rows, credit)


def events_until(backend, is_last, within_s=60.0):
    """The events up to the first that is wanted."""
    deadline = time.monotonic() + within_s
    found = []
    while not any(is_last(event) for event in found):
        assert time.monotonic() < deadline, found
        events = backend.wait(deadline - time.monotonic())
        found += [event for event in events if not isinstance(event, Event.TurnDelayed)]
    return found


def blocks_of(backend, count):
    """The first so many blocks that are reported, as task to block."""
    made = []
    deadline = time.monotonic() + 60
    while len(made) < count:
        assert time.monotonic() < deadline, made
        made += produced(backend.wait(deadline - time.monotonic()))
    return {event.task: event.block for event in made}


def is_end(event):
    return isinstance(event, Event.TaskFinished | Event.TaskFailed)


def produced(events):
    return [event for event in events if isinstance(event, Event.BlockProduced)]


def counting(folder, outputs=5):
    """A function with several outputs, each a block of its own, which counts them."""

    def several(batch):
        for _ in range(outputs):
            count_call(folder, "made")
            yield {"data": np.zeros((1, 1 << 18))}

    return several


def test_a_task_reports_its_blocks_and_then_its_end(backend, tmp_path):
    backend.open([read(1, 1, *batches(counting(str(tmp_path))).stage.transforms)])
    backend.perform([launch(7, credit=10 * ROOM)])
    events = events_until(backend, is_end)
    assert [event.task for event in events] == [7] * 6
    assert len({event.block for event in produced(events)}) == 5
    assert all(event.rows == 1 and event.bytes >= 1 << 21 for event in produced(events))
    assert isinstance(events[-1], Event.TaskFinished)
    assert events[-1].busy_us > 0


def test_without_credit_a_worker_says_so_and_waits_with_its_next_block(backend, tmp_path):
    folder = str(tmp_path)
    backend.open([read(1, 1, *batches(counting(folder)).stage.transforms)])
    backend.perform([launch(1, credit=2 * ROOM)])
    events = events_until(backend, lambda event: isinstance(event, Event.BlockReady))
    assert len(produced(events)) == 2
    assert (events[-1].task, events[-1].bytes >= 2 << 20) == (1, True)
    # The fourth is begun only when the third has been handed over.
    assert backend.wait(0.5) == []
    assert calls(folder, "made") == 3
    backend.perform([Action.ResumeTask(1, 1000)])
    assert backend.wait(0.2) == []
    backend.perform([Action.ResumeTask(1, ROOM)])
    assert len(blocks_of(backend, 1)) == 1
    backend.perform([Action.ResumeTask(1, 10 * ROOM)])
    rest = events_until(backend, is_end)
    assert len(produced(rest)) == 2


def test_the_end_needs_no_credit(backend, tmp_path):
    backend.open([read(1, 1, *batches(counting(str(tmp_path), outputs=2)).stage.transforms)])
    backend.perform([launch(1, credit=2 * ROOM)])
    assert isinstance(events_until(backend, is_end)[-1], Event.TaskFinished)


def test_rows_that_were_handed_over_are_left_out(backend):
    backend.open([read(10, 1)])
    backend.perform([launch(1, rows_skipped=4)])
    block = produced(events_until(backend, is_end))[0]
    assert backend.output(block.block).fetch()["id"].to_pylist() == [4, 5, 6, 7, 8, 9]


def test_of_rows_that_were_lost_no_more_are_made_than_are_wanted(backend):
    backend.open([read(10, 1)])
    backend.perform([launch(1, rows_skipped=4, wanted=3)])
    events = events_until(backend, is_end)
    assert [event.rows for event in produced(events)] == [3]
    block = produced(events)[0].block
    assert backend.output(block).fetch()["id"].to_pylist() == [4, 5, 6]


def test_blocks_are_consumed_in_the_order_of_the_bundle(backend):
    def same(batch):
        return batch

    backend.open([read(6, 3), batches(same)])
    backend.perform([launch(task, units=(task, 1)) for task in range(3)])
    made = blocks_of(backend, 3)
    backend.perform([launch(9, op=1, blocks=[made[2], made[0], made[1]])])
    ends = events_until(backend, lambda event: is_end(event) and event.task == 9)
    block = next(event for event in produced(ends) if event.task == 9).block
    assert backend.output(block).fetch()["id"].to_pylist() == [4, 5, 0, 1, 2, 3]


def test_a_cancelled_task_is_answered_once_and_at_once(backend):
    def endless(batch):
        while True:
            time.sleep(0.01)

    backend.open([read(1, 1, *batches(endless).stage.transforms)])
    backend.perform([launch(3), launch(4)])
    backend.perform([Action.CancelTask(3)])
    events = events_until(backend, is_end)
    assert [(event.task, event.failure) for event in events] == [(3, "cancelled")]
    backend.perform([Action.CancelTask(3), Action.CancelTask(4)])
    ends = [event for event in events_until(backend, is_end) if is_end(event)]
    assert [(event.task, event.failure) for event in ends] == [(4, "cancelled")]
    assert backend.wait(0.2) == []


def test_a_paused_task_that_is_cancelled_ends(backend, tmp_path):
    folder = str(tmp_path)
    backend.open([read(1, 1, *batches(counting(folder, outputs=100)).stage.transforms)])
    backend.perform([launch(1, credit=ROOM)])
    events_until(backend, lambda event: isinstance(event, Event.BlockReady))
    backend.perform([Action.CancelTask(1)])
    assert [event.failure for event in events_until(backend, is_end)] == ["cancelled"]
    time.sleep(0.3)
    assert calls(folder, "made") <= 3


def test_an_actor_goes_on_after_its_paused_task_was_cancelled(backend, tmp_path):
    folder = str(tmp_path)
    several = counting(folder, outputs=1000)
    backend.open([read(2, 2), batches(several, kind="actors")])
    backend.perform([Action.StartActor(0, 1, 0), launch(0), launch(1, units=(1, 1))])
    made = blocks_of(backend, 2)
    backend.perform([launch(2, op=1, actor=0, blocks=[made[0]])])
    blocks_of(backend, 1)
    backend.perform([Action.CancelTask(2), launch(3, op=1, actor=0, blocks=[made[1]])])
    assert list(blocks_of(backend, 1)) == [3]
    assert calls(folder, "made") < 20


def test_an_actor_is_ready_when_it_has_loaded_and_runs_its_tasks_in_order(backend, tmp_path):
    folder = Path(tmp_path)

    class Noted:
        def __init__(self):
            (folder / "loaded").touch()

        def __call__(self, batch):
            with (folder / "order").open("a") as file:
                file.write(f"{batch['id'][0]} ")
            return batch

    backend.open([read(8, 8), batches(Noted, kind="actors")])
    backend.perform([Action.StartActor(5, 1, 0)])
    ready = events_until(backend, lambda event: isinstance(event, Event.ActorReady))[-1]
    assert (ready.actor, ready.node) == (5, 0)
    assert ready.load_us > 0
    assert (folder / "loaded").exists()
    backend.perform([launch(task, units=(task, 1)) for task in range(4)])
    made = blocks_of(backend, 4)
    backend.perform(
        [launch(10 + task, op=1, actor=5, blocks=[made[task]]) for task in (2, 0, 3, 1)]
    )
    events_until(backend, lambda event: is_end(event) and event.task == 11)
    assert (folder / "order").read_text().split() == ["2", "0", "3", "1"]
    backend.perform([Action.StopActor(5)])


def test_a_constructor_that_raises_loses_its_actor_for_good(backend):
    class Unloadable:
        def __init__(self):
            raise ValueError("no model")

        def __call__(self, batch):
            return batch

    backend.open([read(1, 1), batches(Unloadable, kind="actors")])
    backend.perform([Action.StartActor(0, 1, 0)])
    lost = events_until(backend, lambda event: isinstance(event, Event.ActorLost))[-1]
    assert (lost.actor, lost.user_code) == (0, True)
    assert "no model" in str(backend.error_of(None, 1))


def test_a_dropped_block_is_forgotten(backend):
    backend.open([read(10, 1)])
    backend.perform([launch(1)])
    block = produced(events_until(backend, is_end))[0].block
    backend.perform([Action.DropBlock(block), Action.DropBlock(block)])
    with pytest.raises(KeyError):
        backend.output(block)


def test_a_wait_ends_at_its_timeout_and_when_it_is_woken(backend):
    backend.open([read(1, 1)])
    assert backend.wait(0.0) == []
    started = time.monotonic()
    backend.wake()
    assert backend.wait(30) == []
    assert time.monotonic() - started < 10


def test_actions_for_what_is_gone_do_nothing(backend):
    backend.open([read(1, 1)])
    backend.perform(
        [
            Action.ResumeTask(99, 1),
            Action.CancelTask(99),
            Action.StopActor(99),
            Action.DropBlock(99),
        ]
    )
    assert backend.wait(0.1) == []


def test_each_action_is_carried_out_or_refused(backend):
    """No action is passed over: one that does nothing here is about what is gone already."""
    samples = {
        "LaunchTask": None,  # the other tests launch tasks
        "ResumeTask": Action.ResumeTask(99, 1),
        "CancelTask": Action.CancelTask(99),
        "StartActor": None,
        "StopActor": Action.StopActor(99),
        "EmitBlock": Action.EmitBlock(0),
        "DropBlock": Action.DropBlock(99),
        "ExtendSource": Action.ExtendSource(0, 0, 5),
        "CommitEpoch": Action.CommitEpoch(1),
        "FailRun": Action.FailRun(0, None, "nodes_gone", {}),
    }
    kinds = {name for name, kind in vars(Action).items() if isinstance(kind, type)}
    assert set(samples) == kinds
    # The driver's own.
    refused = {"EmitBlock", "ExtendSource", "CommitEpoch", "FailRun"}
    for name, action in samples.items():
        if name in refused:
            with pytest.raises(MillstreamError, match=name):
                backend.perform([action])
        elif action is not None:
            backend.perform([action])


def test_a_task_that_gives_fewer_rows_than_it_handed_over_before_is_an_error(backend):
    backend.open([read(10, 1)])
    backend.perform([launch(1, units=(0, 1), rows_skipped=10)])
    assert produced(events_until(backend, is_end)) == []
    backend.perform([launch(2, units=(0, 1), rows_skipped=11)])
    (event,) = [event for event in events_until(backend, is_end) if is_end(event)]
    assert event.failure == "user_code"
    told = str(backend.error_of(2, 0))
    assert "1 rows fewer" in told
    assert "operator: Read" in told
