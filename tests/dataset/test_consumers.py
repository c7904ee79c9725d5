"""What runs a dataset: each consumer gets what it asked for, and the run ends when it has it."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

import millstream as ms
import millstream.feed


def threads_of_runs():
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("millstream-")]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    gc.collect()
    deadline = time.monotonic() + 5
    # Threads that a run has let go of end on their own.
    while threads_of_runs() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads_of_runs() == []


def counted(rows):
    seen = []
    return ms.range(rows, override_num_blocks=rows).map(lambda row: seen.append(row) or row), seen


def test_take_gives_the_first_rows_and_stops_the_run():
    ds, seen = counted(10_000)
    assert [row["id"] for row in ds.take(3)] == [0, 1, 2]
    assert len(seen) < 200


def test_take_of_a_huge_range_is_quick():
    started = time.monotonic()
    assert ms.range(10**12).take(3) == [{"id": 0}, {"id": 1}, {"id": 2}]
    assert time.monotonic() - started < 1


def test_take_of_more_than_there_is_gives_all():
    assert len(ms.range(3).take(10)) == 3
    assert ms.range(3).take(0) == []
    assert ms.range(0).take() == []


def test_take_all_refuses_more_rows_than_its_limit():
    assert len(ms.range(3).take_all(limit=3)) == 3
    with pytest.raises(ms.ArgumentError, match="limit=2"):
        ms.range(3).take_all(limit=2)


def test_take_batch_is_what_functions_get():
    assert ms.range(9).take_batch(4)["id"].tolist() == [0, 1, 2, 3]
    assert ms.range(9).take_batch(4, batch_format="pyarrow").num_rows == 4
    with pytest.raises(ms.ArgumentError, match="empty"):
        ms.range(0).take_batch()


def test_show_prints_rows(capsys):
    ms.range(5).show(2)
    assert capsys.readouterr().out == "{'id': 0}\n{'id': 1}\n"


def test_count_uses_what_the_source_knows():
    ds = ms.range(10**12)
    assert ds.rename_columns({"id": "x"}).count() == 10**12
    assert ds.report() is None, "nothing has run"


def test_count_runs_functions_since_they_may_drop_rows():
    assert ms.range(10).filter(lambda row: row["id"] > 6).count() == 3


def test_schema_is_known_without_running_where_no_function_is():
    ds = ms.range(3).rename_columns({"id": "x"})
    assert ds.schema(fetch_if_missing=False).names == ["x"]
    mapped = ds.map(lambda row: {"y": 0.5})
    assert mapped.schema(fetch_if_missing=False) is None
    assert mapped.columns(fetch_if_missing=False) is None


def test_schema_of_a_function_needs_one_block_only():
    ds, seen = counted(10_000)
    schema = ds.schema()
    assert (schema.names, schema.types) == (["id"], [pa.int64()])
    assert str(schema) == "Column  Type\n------  ----\nid      int64"
    assert len(seen) < 200
    count = len(seen)
    assert ds.columns() == ["id"]
    assert len(seen) == count, "it is kept"


def test_schema_is_kept_with_zero_rows():
    assert ms.range(0).schema().names == ["id"]
    assert ms.range(9).filter(lambda row: False).schema().names == ["id"]


def test_batches_have_the_size_that_was_asked_for():
    def sizes(**options):
        return [len(batch["id"]) for batch in ms.range(10).iter_batches(**options)]

    assert sizes(batch_size=4) == [4, 4, 2]
    assert sizes(batch_size=4, drop_last=True) == [4, 4]
    assert sizes() == [10]
    assert sum(sizes(batch_size=None)) == 10


@pytest.mark.parametrize("prefetch_batches", [0, 1, 5])
def test_prefetching_keeps_the_order(prefetch_batches):
    batches = ms.range(1000).iter_batches(batch_size=7, prefetch_batches=prefetch_batches)
    assert np.concatenate([batch["id"] for batch in batches]).tolist() == list(range(1000))


def test_a_local_shuffle_is_repeatable_and_loses_nothing():
    def drawn(seed):
        batches = ms.range(500).iter_batches(
            batch_size=50, local_shuffle_buffer_size=100, local_shuffle_seed=seed
        )
        return np.concatenate([batch["id"] for batch in batches]).tolist()

    assert drawn(1) == drawn(1) != drawn(2)
    assert sorted(drawn(1)) == list(range(500)) != drawn(1)


def test_iterables_can_be_iterated_again():
    rows = ms.range(3).iter_rows()
    assert [row["id"] for row in rows] == [row["id"] for row in rows] == [0, 1, 2]


@pytest.mark.parametrize("leave", ["break", "close", "drop", "drop at once"])
@pytest.mark.parametrize("prefetch_batches", [0, 2])
def test_leaving_an_iteration_ends_its_run(leave, prefetch_batches):
    ds, seen = counted(100_000)
    batches = iter(ds.iter_batches(batch_size=1, prefetch_batches=prefetch_batches))
    if leave != "drop at once":
        next(batches)
    if leave == "close":
        batches.close()
    elif leave == "break":
        for _ in batches:
            break
    del batches
    gc.collect()
    deadline = time.monotonic() + 5
    while threads_of_runs() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads_of_runs() == []
    assert len(seen) < 100_000


def test_materialized_blocks_are_used_again():
    ds, seen = counted(100)
    kept = ds.materialize()
    assert isinstance(kept, ms.MaterializedDataset)
    assert (kept.num_blocks(), kept.count(), kept.columns(), len(seen)) == (100, 100, ["id"], 100)
    doubled = kept.map(lambda row: {"id": 2 * row["id"]})
    assert [row["id"] for row in doubled.take(3)] == [0, 2, 4]
    assert len(kept.take_all()) == len(seen) == 100


def test_materialized_blocks_have_one_schema():
    ds = ms.range(2, override_num_blocks=2).map(lambda r: {f"c{r['id']}": r["id"]})
    kept = ds.materialize()
    assert kept.columns() == ["c0", "c1"]
    assert list(kept.iter_rows()) == [{"c0": 0, "c1": None}, {"c0": None, "c1": 1}]


def test_the_number_of_blocks_is_known_of_materialized_datasets_only():
    with pytest.raises(ms.ArgumentError, match="materialize"):
        ms.range(3).num_blocks()


def test_reports_tell_of_the_last_run(capsys):
    ds = ms.range(100).map(lambda row: row)
    assert (ds.report(), ds.stats()) == (None, "")
    assert ds.why() == "The dataset has not run yet."
    ds.take_all()
    assert "Finished after" in ds.stats()
    assert "100 rows" in ds.stats()
    assert ds.report().snapshot.output_rows == 100
    ds.take(1)
    assert "Stopped after" in ds.why()
    ds.explain()
    assert "Input -> TaskPoolMap[ReadRange->Map(<lambda>)]" in capsys.readouterr().out


def test_reports_of_a_run_under_way_show_it_as_it_is():
    ds, _ = counted(1000)
    rows = iter(ds.iter_rows())
    next(rows)
    assert "Running after" in ds.why()
    rows.close()
    assert "Stopped after" in ds.why()


def test_reports_of_a_failed_run_say_so():
    ds = ms.range(10).map(lambda row: 1 / 0)
    with pytest.raises(ms.UserCodeError):
        ds.take()
    assert "Failed after" in ds.stats()


def test_datasets_describe_themselves():
    assert repr(ms.range(3)) == "Dataset(ReadRange, rows=3, id: int64)"
    assert repr(ms.range(3).map(len)) == "Dataset(ReadRange -> Map(len), rows=3, ?)"


def test_a_dataset_with_a_pool_runs_inside_the_loop_over_another():
    class Double:
        def __call__(self, batch):
            return {"id": batch["id"] * 2}

    def doubled(rows):
        return ms.range(rows).map_batches(Double, batch_size=8, concurrency=1)

    for batch in doubled(16).iter_batches(batch_size=8):
        assert len(batch["id"]) == 8
        assert sorted(row["id"] for row in doubled(4).take_all()) == [0, 2, 4, 6]


@pytest.mark.parametrize(
    "source",
    [lambda ds: ds, lambda ds: ds.iterator(), lambda ds: ds.streaming_split(1)[0]],
    ids=["dataset", "iterator", "split"],
)
def test_batches_made_ahead_are_bounded_in_bytes(source, context, monkeypatch):
    asked = []

    def iter_batches(tables, **options):
        asked.append(options["prefetch_bytes"])
        return real(tables, **options)

    real = ms.feed.iter_batches
    monkeypatch.setattr(ms.feed, "iter_batches", iter_batches)
    context.prefetch_bytes = 10
    batches = source(ms.range(8)).iter_batches(batch_size=2, prefetch_batches=5)
    assert [list(batch["id"]) for batch in batches] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert asked == [10]
