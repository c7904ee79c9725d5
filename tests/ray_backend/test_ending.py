"""Streams that nobody reads any more end, and no later call of an actor waits for that."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from pipelines import calls, count_call, wait_until

import millstream as ms
from millstream.context import DataContext
from millstream.run.ray import ending

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("leaves_nothing")]


@pytest.fixture
def cancelled(monkeypatch):
    """The streams that Ray is told to cancel."""
    told = []
    fake = SimpleNamespace(
        cancel=lambda stream, force=False: told.append(stream),
        wait=lambda tasks, num_returns, timeout, fetch_local=True: ([], tasks),
    )
    monkeypatch.setattr(ending, "ray", fake)
    return told


def call(number, *, actor=0, has_begun=False, is_old=False):
    stream = SimpleNamespace(completed=number)
    return SimpleNamespace(
        number=number, actor=actor, has_begun=has_begun, is_old=lambda _: is_old, stream=stream
    )


def test_a_call_of_an_actor_is_cancelled_when_it_must_have_been_sent(cancelled):
    made = ending.Ending()
    made.begin(call(1, has_begun=True))
    made.begin(call(2, is_old=True))
    made.begin(call(3, actor=None))
    assert cancelled == [1, 2, 3]
    waits = call(4)
    made.begin(waits)
    made.begin(call(5))
    made.tell_old()
    assert cancelled == [1, 2, 3]
    made.heard(5)
    made.heard(5)
    made.heard(6)
    assert cancelled == [1, 2, 3, 5]
    waits.is_old = lambda _: True
    made.tell_old()
    made.tell_old()
    assert cancelled == [1, 2, 3, 5, 4]


@pytest.mark.parametrize("told_until_it_ends", [1, 2, 3])
def test_a_task_that_does_not_end_is_told_again_and_then_ended_by_force(
    monkeypatch, told_until_it_ends
):
    told = []

    def wait(tasks, num_returns, timeout, fetch_local=True):
        return ([], tasks) if len(told) < told_until_it_ends else (tasks, [])

    cancel = lambda stream, force=False: told.append(force)  # noqa: E731
    monkeypatch.setattr(ending, "ray", SimpleNamespace(cancel=cancel, wait=wait))
    made = ending.Ending()
    made.begin(call(1, actor=None))
    made.finish()
    assert told == [False, False, True][:told_until_it_ends]


@pytest.fixture
def quiet(monkeypatch):
    """Datasets on Ray without a display."""
    made = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", made)


def producing(folder):
    """A class whose calls yield many blocks, and count them."""

    class Producing:
        def __call__(self, batch):
            for _ in range(400):
                count_call(folder, "made")
                yield {"data": np.zeros((1, 1 << 17))}

    return Producing


def left_by(how, ds):
    """Leaves a loop over a dataset in a way."""
    if how == "limit":
        assert ds.limit(3).count() == 3
    elif how == "take":
        assert len(ds.take(3)) == 3
    elif how == "break":
        for _ in ds.iter_batches(batch_size=1):
            break
    elif how == "drop":
        next(iter(ds.iter_batches(batch_size=1)))
    else:
        with pytest.raises(ms.UserCodeError):
            ds.map_batches(lambda batch: 1 // 0).take()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("how", ["limit", "take", "break", "drop", "error"])
@pytest.mark.parametrize("pool", [False, True])
def test_a_producer_makes_hardly_more_once_nobody_takes(how, pool, tmp_path):
    folder = str(tmp_path)
    made = producing(folder)
    source = ms.range(4, override_num_blocks=2)
    if pool:
        ds = source.map_batches(made, concurrency=1, batch_size=None)
    else:
        ds = source.map_batches(lambda batch: made()(batch), batch_size=None)
    left_by(how, ds)
    before = calls(folder, "made")
    assert 0 < before < 300
    # What is under way may hand over one block more, and no stream goes on to its end.
    settled = settled_calls(folder)
    assert settled - before <= 8, (before, settled)


def settled_calls(folder):
    """How many calls there are when no more come."""
    counts = itertools.pairwise(iter(lambda: counted_after_a_while(folder), None))
    return next(later for earlier, later in counts if earlier == later)


def counted_after_a_while(folder):
    import time

    until = time.monotonic() + 0.5
    wait_until(lambda: time.monotonic() > until)
    return calls(folder, "made")
