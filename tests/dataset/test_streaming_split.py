"""One run that feeds several consumers, epoch by epoch."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

import millstream as ms
from millstream.context import DataContext
from millstream.errors import ArgumentError, RunStoppedError, UserCodeError
from millstream.execution.execution import SplitOptions
from millstream.execution.split import SplitOwner


def on_threads(parts, consume):
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(consume, parts))


def rows(part):
    return [row["id"] for row in part.iter_rows()]


def dataset(count=1003, blocks=40):
    return ms.range(count, override_num_blocks=blocks)


@pytest.mark.parametrize("consumers", [1, 2, 5])
def test_each_row_comes_to_one_consumer_in_each_epoch(consumers):
    parts = dataset().streaming_split(consumers)
    for _ in range(3):
        found = on_threads(parts, rows)
        assert sorted(chain(*found)) == list(range(1003))
        for each in found:
            assert each == sorted(each)


@pytest.mark.parametrize(("count", "consumers"), [(1003, 3), (10, 4), (2, 3), (0, 2)])
def test_equal_parts_leave_out_fewer_rows_than_there_are_consumers(count, consumers):
    parts = dataset(count, None).streaming_split(consumers, equal=True)
    found = on_threads(parts, rows)
    assert [len(each) for each in found] == [count // consumers] * consumers
    together = list(chain(*found))
    assert len(set(together)) == len(together)


def test_who_leaves_gives_what_it_has_not_taken_to_the_others():
    # Of blocks that are no smaller only one is made ready ahead.
    parts = dataset(100_000, 40).streaming_split(2)

    def consume(part):
        found = []
        for row in part.iter_rows():
            found.append(row["id"])
            if part is parts[0] and len(found) == 3:
                break
        return found

    left, stayed = on_threads(parts, consume)
    assert len(left) == 3
    # The block that it was in, and the one that was made ready, are gone with it.
    assert len(set(stayed)) == len(stayed) >= 100_000 - 2 * 2_500
    assert not set(left) & set(stayed)


def test_an_error_comes_to_each_consumer():
    def fail(row):
        raise ValueError("no")

    def consume(part):
        with pytest.raises(UserCodeError, match="no"):
            rows(part)
        return True

    assert on_threads(dataset().map(fail).streaming_split(3), consume) == [True] * 3


def test_batches_are_those_of_datasets():
    first, second = dataset(10, 2).streaming_split(2, equal=True)
    batches = on_threads([first, second], lambda part: list(part.iter_batches(batch_size=2)))
    assert [[len(batch["id"]) for batch in each] for each in batches] == [[2, 2, 1]] * 2
    assert first.schema().names == ["id"]
    assert "1 of 2" in repr(first)


def test_an_iterator_has_all_rows_in_each_epoch_and_pickles():
    whole = pickle.loads(pickle.dumps(ms.range(5).iterator()))
    assert [rows(whole), rows(whole)] == [list(range(5))] * 2
    assert whole.materialize().num_rows == 5
    assert "ReadRange" in whole.stats()
    assert whole.schema().names == ["id"]


@pytest.mark.parametrize("arguments", [{"n": 0}, {"n": 1.5}, {"n": 2, "equal": "yes"}])
def test_wrong_arguments(arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments)) + "|equal"):
        ms.range(3).streaming_split(**arguments)


class Owner(SplitOwner):
    """One whose processes live as long as the test says."""

    def __init__(self, ds, consumers):
        self.processes = {"a", "b"}
        self.ends, self.time = 0, 0.0
        options, alive = SplitOptions(consumers), lambda: self.processes
        deserted, now = self.end, lambda: self.time
        super().__init__(ds._plan, DataContext.get_current(), options, alive, deserted, now)

    def end(self):
        self.ends += 1

    def look_at(self, time):
        self.time = time
        self.look()
        return self.ends


def taken(owner, consumer, caller):
    found = []
    while (block := owner.take(consumer, 0, caller)) is not None:
        found += block.handle.fetch()["id"].to_pylist()
    return found


def test_a_slow_consumer_keeps_nobody_waiting():
    owner = Owner(dataset(), 2)
    held = owner.take(0, 0, "a").handle.fetch()["id"].to_pylist()
    others = []
    # All but the block that the first one works on, and the one that waits for it.
    while len(others) < 1003 - 2 * 27:
        others += owner.take(1, 0, "b").handle.fetch()["id"].to_pylist()
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(taken, owner, 1, "b")
        held += taken(owner, 0, "a")
        others += rest.result()
    assert sorted(held + others) == list(range(1003))
    owner.close()


def test_a_consumer_whose_process_dies_has_left():
    owner = Owner(dataset(), 2)
    owner.take(0, 0, "a")
    owner.look()
    owner.processes = {"b"}
    owner.look()
    assert len(taken(owner, 1, "b")) == 1003
    owner.close()


def test_it_ends_when_all_consumers_are_gone():
    owner = Owner(dataset(), 2)
    owner.take(0, 0, "a")
    owner.take(1, 0, "b")
    owner.processes = {"b"}
    assert owner.look_at(0) == owner.look_at(100) == 0
    owner.processes = set()
    assert owner.look_at(200) == owner.look_at(204) == 0
    # One of them came back, somewhere else.
    owner.processes = {"c"}
    owner.take(0, 1, "c")
    assert owner.look_at(206) == 0
    owner.processes = set()
    assert owner.look_at(300) == 0
    assert owner.look_at(306) == owner.look_at(400) == 1
    with pytest.raises(RunStoppedError):
        owner.take(0, 2, "d")


def test_it_waits_longer_for_consumers_that_never_came():
    owner = Owner(dataset(), 3)
    owner.take(0, 0, "a")
    assert owner.look_at(0) == 0
    owner.processes = set()
    assert owner.look_at(1) == owner.look_at(50) == 0
    assert owner.look_at(62) == 1


def test_a_process_that_was_never_told_of_is_not_dead():
    owner = Owner(dataset(), 2)
    first = owner.take(0, 0, "a driver").handle.fetch()["id"].to_pylist()
    owner.look()
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(taken, owner, 1, "b")
        first += taken(owner, 0, "a driver")
        assert sorted(first + rest.result()) == list(range(1003))
    owner.close()


def test_no_consumer_is_more_than_one_epoch_ahead():
    owner = Owner(dataset(), 2)
    for epoch in range(2):
        owner.take(0, epoch, "a")
    with pytest.raises(ArgumentError, match=r"epoch 2 while consumers \[0, 1\].* epoch 0"):
        owner.take(0, 2, "a")
    owner.close()
    with pytest.raises(RunStoppedError):
        owner.take(0, 3, "a")
