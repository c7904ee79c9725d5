"""Splits whose consumers are other processes."""

from __future__ import annotations

import os
import signal
from itertools import chain

import pytest
import ray

import millstream as ms
from millstream.context import DataContext
from millstream.errors import UserCodeError

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def on_ray(ray_cluster, monkeypatch):
    context = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)


@ray.remote(num_cpus=0, max_concurrency=2)
class Consumer:
    def __init__(self, part):
        self.part = part
        self.found = []

    def epoch(self):
        return [row["id"] for row in self.part.iter_rows()]

    def begin(self):
        self.stream = iter(self.part.iter_rows())
        return next(self.stream)["id"]

    def process(self):
        return os.getpid()


def test_actors_share_the_rows_of_each_epoch():
    parts = ms.range(1003, override_num_blocks=20).streaming_split(3)
    consumers = [Consumer.remote(part) for part in parts]
    for _ in range(2):
        found = ray.get([each.epoch.remote() for each in consumers])
        assert sorted(chain(*found)) == list(range(1003))


def test_equal_parts_have_equally_many_rows():
    parts = ms.range(1000, override_num_blocks=7).streaming_split(3, equal=True)
    found = ray.get([Consumer.remote(part).epoch.remote() for part in parts])
    assert [len(each) for each in found] == [333] * 3


def test_the_others_go_on_when_a_consumer_is_killed():
    first, second = ms.range(1003, override_num_blocks=40).streaming_split(2)
    one, other = Consumer.remote(first), Consumer.remote(second)
    begun = ray.get(one.begin.remote())
    os.kill(ray.get(one.process.remote()), signal.SIGKILL)
    rows = ray.get(other.epoch.remote(), timeout=60)
    assert begun not in rows
    assert len(set(rows)) == len(rows)
    # What the other one had taken is gone with it.
    assert len(rows) >= 500


def test_an_error_of_the_run_comes_to_the_consumer():
    def fail(row):
        raise ValueError("no good")

    (part,) = ms.range(3).map(fail).streaming_split(1)
    with pytest.raises(UserCodeError, match="no good"):
        list(part.iter_rows())
    with pytest.raises(ray.exceptions.RayTaskError, match="no good"):
        ray.get(Consumer.remote(part).epoch.remote())


@ray.remote(num_cpus=0)
class Trainer:
    """Trains a few steps, and tells its state after each."""

    def __init__(self, iterator, state):
        self.iterator = iterator
        if state is not None:
            iterator.load_state_dict(state)

    def train(self, steps, seen):
        for batch in self.iterator.iter_batches(batch_size=10):
            seen = seen + batch["id"].tolist()
            steps -= 1
            if not steps:
                break
        return seen, self.iterator.state_dict(), os.getpid()


def test_a_trainer_that_is_killed_goes_on_where_its_state_was_taken():
    numbers = ms.range(200, override_num_blocks=9).filter(lambda row: row["id"] % 3)
    seen, state = [], None
    for _ in range(3):
        trainer = Trainer.remote(numbers.iterator(), state)
        seen, state, process = ray.get(trainer.train.remote(4, seen))
        os.kill(process, signal.SIGKILL)
    last = Trainer.remote(numbers.iterator(), state)
    seen, state, _ = ray.get(last.train.remote(1000, seen))
    assert seen == [number for number in range(200) if number % 3]
    assert state["epoch"] == 1


@ray.remote(num_cpus=0)
class Worker:
    """One of several trainers: notes what it has seen, and its state, after each step."""

    def __init__(self, part, states):
        self.part = part
        if states is not None:
            part.load_state_dict(states)

    def train(self, steps):
        notes = []
        for batch in self.part.iter_batches(batch_size=7):
            notes.append((batch["id"].tolist(), self.part.state_dict()))
            if len(notes) == steps:
                break
        return notes, self.part.state_dict(), os.getpid()


@pytest.mark.parametrize("is_equal", [False, True])
def test_trainers_that_are_killed_are_followed_by_others_of_another_number(is_equal):
    numbers = ms.range(600, override_num_blocks=30).filter(lambda row: row["id"] % 3)
    seen, states = [], None
    for workers, at in ((3, 6), (1, 9), (2, 4)):
        parts = numbers.streaming_split(workers, equal=is_equal)
        trainers = [Worker.remote(part, states) for part in parts]
        found = ray.get([each.train.remote(at + 3) for each in trainers])
        for _, _, process in found:
            os.kill(process, signal.SIGKILL)
        # The checkpoint is of an earlier step than they came to.
        checkpoint = [notes[:at] for notes, _, _ in found]
        seen += chain(*(rows for notes in checkpoint for rows, _ in notes))
        states = [notes[-1][1] for notes in checkpoint]
    trainers = [Worker.remote(part, states) for part in numbers.streaming_split(3, equal=is_equal)]
    found = ray.get([each.train.remote(1000) for each in trainers])
    rest = [[row for rows, _ in notes for row in rows] for notes, _, _ in found]
    whole = [number for number in range(600) if number % 3]
    assert len({len(each) for each in rest}) == 1 or not is_equal
    together = sorted([*seen, *chain(*rest)])
    assert len(together) == len(set(together))
    assert set(together) <= set(whole)
    assert len(whole) - len(together) <= (2 if is_equal else 0)
    assert all(state["is_over"] for _, state, _ in found)
