"""Batches for a consumer: sizes, order, shuffling, reading ahead."""

import gc
import itertools
import threading
import time
import weakref

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import feed
from millstream.blocks import block
from millstream.blocks.batch import rebatch, to_batch
from millstream.errors import ArgumentError
from millstream.feed.size import Measured


def blocks_of(*sizes):
    start = 0
    for size in sizes:
        yield pa.table({"id": pa.array(np.arange(start, start + size))})
        start += size


def sized(tables):
    return ((table, table.nbytes) for table in tables)


def ids(batches):
    return [int(value) for batch in batches for value in batch["id"]]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 9), max_size=6),
    st.none() | st.integers(1, 7),
    st.integers(0, 4),
    st.booleans(),
)
def test_order_never_depends_on_reading_ahead(sizes, batch_size, ahead, drop_last):
    batches = list(
        feed.iter_batches(blocks_of(*sizes), batch_size, "numpy", drop_last, prefetch_batches=ahead)
    )
    expected = list(range(sum(sizes)))
    if drop_last and batch_size:
        expected = expected[: len(expected) // batch_size * batch_size]
        assert all(len(batch["id"]) == batch_size for batch in batches)
    assert ids(batches) == expected


def test_a_batch_within_a_block_is_a_view():
    values = np.arange(10)
    batches = feed.iter_batches(iter([pa.table({"id": pa.array(values)})]), 5)
    assert all(np.shares_memory(batch["id"], values) for batch in batches)
    writable = feed.iter_batches(
        iter([pa.table({"id": pa.array(values)})]), 5, zero_copy_batch=False
    )
    assert not any(np.shares_memory(batch["id"], values) for batch in writable)


@pytest.mark.parametrize("format", ["pandas", "pyarrow"])
def test_formats(format):
    batches = feed.iter_batches(blocks_of(2, 3), 4, format)
    assert [len(batch) for batch in batches] == [4, 1]


@settings(deadline=None)
@given(st.lists(st.integers(0, 30)), st.integers(1, 9), st.integers(1, 40), st.integers(0, 3))
def test_shuffling_loses_and_repeats_no_row(sizes, batch_size, buffer, seed):
    def run():
        return ids(
            feed.iter_batches(
                blocks_of(*sizes),
                batch_size,
                local_shuffle_buffer_size=buffer,
                local_shuffle_seed=seed,
                prefetch_batches=0,
            )
        )

    first = run()
    assert sorted(first) == list(range(sum(sizes)))
    assert run() == first


def test_shuffling_draws_from_the_whole_buffer():
    def source():
        for table in blocks_of(*[10] * 100):
            taken.append(table.num_rows)
            yield table

    taken = []
    batches = feed.iter_batches(
        source(), 10, local_shuffle_buffer_size=200, local_shuffle_seed=1, prefetch_batches=0
    )
    first = next(batches)["id"]
    assert 200 <= sum(taken) <= 420
    assert max(first) > 100
    seen = ids([{"id": first}]) + ids(batches)
    displacement = np.abs(np.array(seen) - np.arange(1000))
    assert displacement.mean() > 50


def test_shuffled_rows_without_columns():
    batches = feed.iter_batches(
        iter([block.rows_only(5)]), 2, "pyarrow", local_shuffle_buffer_size=2
    )
    assert [batch.num_rows for batch in batches] == [2, 2, 1]


def test_a_thread_reads_ahead_as_far_as_asked_and_no_further():
    taken = []
    reached = threading.Event()

    def source():
        for index, table in enumerate(blocks_of(*[1] * 10)):
            taken.append(index)
            if len(taken) == 4:
                reached.set()
            yield table

    batches = feed.iter_batches(source(), 1, prefetch_batches=3)
    assert ids([next(batches)]) == [0]
    assert reached.wait(10)
    time.sleep(0.02)
    assert len(taken) == 4
    assert ids(batches) == list(range(1, 10))


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_an_error_comes_where_its_batch_would_have_been(ahead):
    def source():
        yield from blocks_of(2, 2)
        raise RuntimeError("broken")

    batches = feed.iter_batches(source(), 2, prefetch_batches=ahead)
    assert ids([next(batches), next(batches)]) == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="broken"):
        next(batches)
    assert list(batches) == []


class Source:
    """Blocks without end, that tell when they are closed."""

    def __init__(self, block):
        self.block = block
        self.closed = threading.Event()
        self.stopped = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        if self.stopped.wait(0.001):
            raise StopIteration
        return self.block

    def close(self):
        self.closed.set()


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("leave", ["close", "collect"])
def test_a_consumer_that_leaves_stops_the_source(ahead, leave):
    source = Source(pa.table({"id": [1]}))
    batches = feed.iter_batches(source, 1, prefetch_batches=ahead, stop=source.stopped.set)
    next(batches)
    if leave == "close":
        batches.close()
    else:
        gone = weakref.ref(batches)
        del batches
        gc.collect()
        assert gone() is None
    assert source.stopped.is_set()
    assert source.closed.wait(10)


def test_a_consumer_that_leaves_a_blocked_source_returns_at_once():
    blocked = threading.Event()

    def source():
        yield from blocks_of(1)
        blocked.wait(30)

    batches = feed.iter_batches(source(), 1, prefetch_batches=1)
    next(batches)
    started = time.monotonic()
    batches.close()
    assert time.monotonic() - started < 5
    blocked.set()


def test_batches_never_taken_start_no_thread():
    before = threading.active_count()
    batches = feed.iter_batches(blocks_of(1), 1, prefetch_batches=1)
    del batches
    gc.collect()
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 must be a whole number of at least 1"),
        ({"prefetch_batches": -1}, "prefetch_batches=-1 must be a whole number of at least 0"),
        ({"batch_format": "torch"}, "batch_format must be one of"),
        ({"local_shuffle_buffer_size": 0}, "local_shuffle_buffer_size=0 must be a whole number"),
        ({"local_shuffle_buffer_size": 9, "batch_size": None}, "needs a batch_size"),
    ],
)
def test_arguments_without_sense_are_refused_at_the_call(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        feed.iter_batches(blocks_of(1), **arguments)


@pytest.mark.parametrize("ahead", [0, 1])
def test_rows_come_in_order(ahead):
    rows = list(feed.iter_rows(sized(blocks_of(2, 0, 3)), prefetch_blocks=ahead))
    assert rows == [{"id": value} for value in range(5)]


def test_rows_stop_the_source_when_left():
    source = Source((pa.table({"id": [1]}), 8))
    rows = feed.iter_rows(source, stop=source.stopped.set)
    assert next(rows) == {"id": 1}
    rows.close()
    assert source.closed.wait(10)


@pytest.mark.parametrize(("nbytes", "ahead"), [(8, 2 * 64), (1 << 20, 2)])
def test_of_tiny_blocks_many_are_read_ahead(nbytes, ahead):
    made, all_made = [], threading.Event()

    def source():
        while True:
            made.append(None)
            if len(made) == 1 + ahead:
                all_made.set()
            yield pa.table({"id": [1]}), nbytes

    rows = feed.iter_rows(source(), prefetch_blocks=2)
    next(rows)
    assert all_made.wait(10)
    rows.close()
    assert len(made) == 1 + ahead


def test_later_rows_have_the_columns_of_those_before():
    def tables():
        yield pa.table({"a": [1]})
        yield pa.table({"b": ["x"]})
        yield block.rows_only(1)
        yield pa.table({"b": ["y"], "a": [2]})

    assert list(feed.iter_rows(sized(tables()))) == [
        {"a": 1},
        {"a": None, "b": "x"},
        {"a": None, "b": None},
        {"a": 2, "b": "y"},
    ]
    batches = list(feed.iter_batches(tables(), None, "pyarrow"))
    assert [batch.column_names for batch in batches[1:]] == [["a", "b"]] * 3
    assert batches[2].schema.types == [pa.int64(), pa.string()]


COLUMNS = {
    "int": pa.array(range(40), pa.int32()),
    "float": pa.array([number / 3 for number in range(40)]),
    "gap": pa.array([None if number % 7 == 3 else number for number in range(40)]),
    "text": pa.array([str(number) for number in range(40)]),
    "flag": pa.array([number % 3 == 0 for number in range(40)]),
}


@settings(deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    rows=st.integers(1, 15),
    drop_last=st.booleans(),
)
def test_views_of_blocks_are_the_batches_of_their_rows(names, cuts, rows, drop_last):
    table = pa.table({name: COLUMNS[name] for name in names})
    ends = [0, *sorted(cuts), 40]
    blocks = [table.slice(start, end - start) for start, end in itertools.pairwise(ends)]
    found = list(feed.iter_batches(iter(blocks), rows, drop_last=drop_last))
    expected = [to_batch(each, "numpy") for each in rebatch(iter(blocks), rows)]
    if drop_last and 40 % rows:
        expected.pop()
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other) == names
        for name in names:
            assert one[name].dtype == other[name].dtype
            assert one[name].flags.writeable == other[name].flags.writeable
            assert list(one[name]) == list(other[name])


def counted_ahead(blocks, **options):
    """The bytes of numbers that had been made and not taken, each time when one more was wanted."""
    sizes, taken, seen = [], [], []

    def convert(batch):
        sizes.append(batch["x"].nbytes)
        return batch

    def source():
        for block_ in blocks:
            # The consumer may be about to note the one that it has just got.
            seen.append(sum(sizes) - sum(taken))
            yield block_

    for batch in feed.iter_batches(source(), None, convert=convert, **options):
        taken.append(batch["x"].nbytes)
        # It is slow: the thread makes all that it may before the next one is taken.
        while len(seen) < len(blocks) and sum(sizes) - sum(taken) < options["prefetch_bytes"]:
            pass
    return seen


def test_a_thread_reads_ahead_as_many_bytes_as_asked():
    blocks = [pa.table({"x": np.zeros(1000)}) for _ in range(40)]
    seen = counted_ahead(blocks, prefetch_batches=100, prefetch_bytes=20_000)
    assert 16_000 <= max(seen) <= 20_000 + 2 * 8000


def test_a_batch_that_is_larger_than_all_bytes_ahead_is_made():
    blocks = [pa.table({"x": np.zeros(1000)}) for _ in range(5)]
    seen = counted_ahead(blocks, prefetch_batches=100, prefetch_bytes=1)
    assert len(seen) == 5
    assert max(seen) <= 2 * 8000


def test_batches_of_objects_count_as_what_their_rows_take():
    text = "x" * 1000
    measured = Measured(iter([pa.table({"s": [text] * 10})]))
    table = next(measured)
    assert measured.bytes_of((10, to_batch(table, "numpy"))) >= 10_000
    assert 4000 <= measured.bytes_of((4, {"s": [text] * 4})) < 10_000
    floats = {"f": np.zeros(1000), "all": [np.zeros(10), np.zeros(5)]}
    assert measured.bytes_of((1, floats)) == 8 * 1015
