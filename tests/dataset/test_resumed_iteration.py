"""Iterations that go on where another one stopped: each row once in all, in the same order."""

from __future__ import annotations

import json
import pickle

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.context import DataContext
from millstream.errors import ArgumentError
from millstream.expressions import col


def ids(batches):
    return [int(value) for batch in batches for value in batch["id"]]


def first_batches(iterator, count, **options):
    """The first batches of the next iteration, and the state after them."""
    found = []
    for batch in iterator.iter_batches(**options):
        found.append(batch)
        if len(found) == count:
            return ids(found), iterator.state_dict()
    return ids(found), iterator.state_dict()


def restored(make, state):
    iterator = make()
    iterator.load_state_dict(json.loads(json.dumps(state)))
    return iterator


def state(epoch, rows=0):
    """One of one consumer without a shuffle, which has had the first rows."""
    had = [[0, rows]] if rows else []
    whole = {"version": 2, "epoch": epoch, "consumer": 0, "consumers": 1, "rows": had}
    return {**whole, "unit": None, "schema": None, "is_over": False, "shuffle": None}


class Twice:
    def __call__(self, batch):
        return {"id": batch["id"] * 2}


def pipeline(rows=60, blocks=7):
    numbers = ms.range(rows, override_num_blocks=blocks)
    pieces = numbers.flat_map(lambda row: [row] * (row["id"] % 3)).filter(lambda r: r["id"] % 5)
    return pieces.map_batches(Twice, concurrency=2, batch_size=4)


@settings(deadline=None, max_examples=12)
@given(st.integers(1, 9), st.sampled_from([None, 1, 10]), st.lists(st.integers(1, 4), max_size=3))
def test_each_row_comes_once_however_often_it_is_resumed(batch_size, buffer, stops):
    options = {
        "batch_size": batch_size,
        "local_shuffle_buffer_size": buffer,
        "local_shuffle_seed": 3 if buffer else None,
    }
    whole = ids(pipeline().iterator().iter_batches(**options))
    assert sorted(whole) == sorted(row["id"] for row in pipeline().take_all())
    found = []
    iterator = pipeline().iterator()
    for stop in stops:
        rows, state = first_batches(iterator, stop, **options)
        found += rows
        if state["epoch"]:
            assert found == whole
            return
        iterator = restored(pipeline().iterator, state)
    assert found + ids(iterator.iter_batches(**options)) == whole


def test_rows_are_counted_one_by_one():
    iterator = ms.range(100, override_num_blocks=9).iterator()
    rows = iter(iterator.iter_rows())
    found = [next(rows)["id"] for _ in range(37)]
    found_state = iterator.state_dict()
    assert found_state["rows"] == [[0, 37]]
    # The first three of nine units were had.
    assert found_state["unit"][:2] == [3, 33]
    again = restored(ms.range(100, override_num_blocks=3).iterator, iterator.state_dict())
    assert found + ids(again.iter_batches(batch_size=8)) == list(range(100))


def test_what_is_only_made_ready_is_not_counted():
    iterator = ms.range(100).iterator()
    _, state = first_batches(iterator, 2, batch_size=10, prefetch_batches=5)
    assert state["rows"] == [[0, 20]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ms.range(50, override_num_blocks=6).random_shuffle(seed=4),
        lambda: ms.range(50, override_num_blocks=6).with_column("key", col("id") % 3).sort("key"),
        lambda: ms.range(50, override_num_blocks=6).randomize_block_order(seed=2),
        lambda: ms.range(50, override_num_blocks=6).random_sample(0.5, seed=2),
        lambda: ms.range(50, override_num_blocks=6).repartition(4),
        lambda: ms.range(20).union(ms.range(30).limit(11)),
        lambda: ms.range(90, override_num_blocks=6).limit(50),
        lambda: ms.range(20).zip(ms.range(20).rename_columns({"id": "other"})),
    ],
    ids=["shuffle", "sort", "order", "sample", "repartition", "union", "limit", "zip"],
)
def test_orders_that_are_the_same_in_each_run(make):
    whole = ids(make().iterator().iter_batches(batch_size=3))
    for count in (1, 3):
        rows, state = first_batches(make().iterator(), count, batch_size=3)
        again = restored(make().iterator, state)
        assert rows + ids(again.iter_batches(batch_size=3)) == whole


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ms.range(9).random_shuffle().iterator(), "random_shuffle.*seed"),
        (lambda: ms.range(9).random_sample(0.5).iterator(), "random_sample.*seed"),
        (lambda: ms.range(9).randomize_block_order().iterator(), "order in each run.*seed"),
        (lambda: ms.range(9).groupby("id").count().iterator(), "materialize"),
        (lambda: ms.range(9).repartition(2, shuffle=True).iterator(), "materialize"),
        (lambda: ms.range(9).join(ms.range(9), "inner", 2, on=("id",)).iterator(), "materialize"),
        (lambda: ms.range(9).random_shuffle().streaming_split(2)[1], "random_shuffle.*seed"),
    ],
    ids=["shuffle", "sample", "order", "groupby", "repartition", "join", "split"],
)
def test_orders_that_differ_are_refused(make, said):
    iterator = make()
    with pytest.raises(ArgumentError, match=f"state_dict: .*{said}"):
        iterator.state_dict()
    with pytest.raises(ArgumentError, match=f"load_state_dict: .*{said}"):
        iterator.load_state_dict(ms.range(9).iterator().state_dict())


def test_files_in_another_order_in_each_run_are_refused(tmp_path):
    ms.range(9, override_num_blocks=3).write_parquet(tmp_path / "parquet", min_rows_per_file=3)
    ms.range(9, override_num_blocks=3).write_csv(tmp_path / "csv", min_rows_per_file=3)
    for read, path in ((ms.read_parquet, tmp_path / "parquet"), (ms.read_csv, tmp_path / "csv")):
        with pytest.raises(ArgumentError, match=r"order in each run.*FileShuffleConfig\(seed"):
            read(path, shuffle="files").iterator().state_dict()
        seeded = read(path, shuffle=ms.FileShuffleConfig(5))
        whole = ids(seeded.iterator().iter_batches(batch_size=2))
        rows, state = first_batches(seeded.iterator(), 2, batch_size=2)
        again = restored(seeded.iterator, state)
        assert rows + ids(again.iter_batches(batch_size=2)) == whole


def test_without_order_there_is_no_state(monkeypatch):
    context = DataContext(backend="local", enable_progress_bars=False)
    context.preserve_order = False
    monkeypatch.setattr(DataContext, "_current", context)
    with pytest.raises(ArgumentError, match="state_dict: preserve_order is off"):
        ms.range(9).iterator().state_dict()


def test_a_local_shuffle_must_be_the_same():
    options = {"batch_size": 4, "local_shuffle_buffer_size": 8, "local_shuffle_seed": 1}
    _, state = first_batches(ms.range(40).iterator(), 2, **options)
    for change in ({"batch_size": 5}, {"local_shuffle_seed": 2}, {"local_shuffle_buffer_size": 9}):
        again = restored(ms.range(40).iterator, state)
        with pytest.raises(ArgumentError, match=r"local_shuffle_seed=1.* would come in another"):
            next(iter(again.iter_batches(**{**options, **change})))
    again = restored(ms.range(40).iterator, state)
    with pytest.raises(ArgumentError, match="this one has no local shuffle"):
        next(iter(again.iter_rows()))


def test_a_local_shuffle_without_a_seed_has_no_state():
    iterator = ms.range(40).iterator()
    with pytest.raises(ArgumentError, match="pass local_shuffle_seed"):
        first_batches(iterator, 1, local_shuffle_buffer_size=8)


def test_epochs():
    iterator = ms.range(10).iterator()
    options = {"batch_size": 4, "local_shuffle_buffer_size": 4, "local_shuffle_seed": 1}
    epochs = [ids(iterator.iter_batches(**options)) for _ in range(3)]
    assert iterator.state_dict() == state(3)
    assert epochs[0] == ids(ms.range(10).iter_batches(**options))
    assert len({tuple(each) for each in epochs}) == 3
    iterator.set_epoch(1)
    assert ids(iterator.iter_batches(**options)) == epochs[1]
    rows, left = first_batches(iterator, 1, **options)
    again = restored(ms.range(10).iterator, left)
    # As a training loop calls it at the beginning of each epoch.
    again.set_epoch(2)
    assert rows + ids(again.iter_batches(**options)) == epochs[2]
    assert again.state_dict()["epoch"] == 3


def test_an_iteration_that_is_left_is_followed_by_the_next_epoch():
    iterator = ms.range(10).iterator()
    first_batches(iterator, 1, batch_size=4)
    assert ids(iterator.iter_batches(batch_size=4)) == list(range(10))
    assert iterator.state_dict()["epoch"] == 2


def test_a_state_that_was_loaded_is_the_state():
    iterator = restored(ms.range(10).iterator, [state(2, 5)])
    assert iterator.state_dict() == state(2, 5)
    again = pickle.loads(pickle.dumps(iterator))
    assert again.materialize() == pa.table({"id": pa.array(range(5, 10))})
    assert again.state_dict()["epoch"] == 3


def test_a_state_at_the_end_of_the_rows():
    assert ids(restored(ms.range(10).iterator, state(0, 10)).iter_batches()) == []
    for iterate in ("iter_batches", "iter_rows", "materialize"):
        again = restored(ms.range(10).iterator, state(0, 11))
        with pytest.raises(ArgumentError, match="up to number 11 of the epoch, and the dataset"):
            list(getattr(again, iterate)())


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {**state(0), "version": 1},
        state(-1),
        {**state(0), "consumer": 1},
        {**state(0), "consumers": 2},
        {**state(0), "rows": 1},
        {**state(0), "rows": [[0, 0.5]]},
        {**state(0), "rows": [[0, True]]},
        {**state(0), "rows": [[3, 3]]},
        {**state(0), "rows": [[0, 3], 4]},
        {**state(0), "unit": [1, 2]},
        {**state(0), "unit": [1, 2, 3]},
        {**state(0), "schema": "no"},
        {**state(0), "shuffle": 3},
        {**state(0), "shuffle": {"seed": 1}},
        [],
        [state(0)] * 2,
    ],
)
def test_what_is_no_state_is_an_error(told):
    with pytest.raises(ArgumentError, match="load_state_dict: "):
        ms.range(10).iterator().load_state_dict(told)
    with pytest.raises(ArgumentError, match="epoch"):
        ms.range(10).iterator().set_epoch(-1)


def test_one_part_of_a_split_goes_on():
    (part,) = ms.range(100, override_num_blocks=9).streaming_split(1, equal=True)
    rows, state = first_batches(part, 3, batch_size=7)
    (again,) = ms.range(100, override_num_blocks=9).streaming_split(1, equal=True)
    again.load_state_dict(state)
    assert rows + ids(again.iter_batches(batch_size=7)) == list(range(100))


def test_batches_of_rows_without_columns_are_counted():
    iterator = ms.range(10).select_columns([]).iterator()
    for batch in iterator.iter_batches(batch_size=4, batch_format="pyarrow"):
        assert batch.num_rows == 4
        break
    assert iterator.state_dict()["rows"] == [[0, 4]]
