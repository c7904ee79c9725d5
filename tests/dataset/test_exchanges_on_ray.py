"""Sort, shuffle, repartition, join and groups on Ray: what waits is in its object store."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

import millstream as ms
from millstream import aggregate
from millstream.context import DataContext
from millstream.plan import sorting

pytestmark = pytest.mark.ray

ROWS = 2000
KEYS = 7


@pytest.fixture(autouse=True)
def on_ray(ray_cluster, monkeypatch):
    context = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)
    monkeypatch.setattr(sorting, "PARTITION_BYTES", 4000)


@pytest.fixture
def ds():
    rows = ms.range(ROWS, override_num_blocks=6)
    return rows.map_batches(lambda batch: {"id": batch["id"], "k": batch["id"] % KEYS})


def ids(ds):
    return [row["id"] for row in ds.take_all()]


def test_rows_are_sorted_over_all_partitions(ds):
    found = [(row["k"], row["id"]) for row in ds.sort(["k", "id"], [True, False]).take_all()]
    assert found == sorted(found, key=lambda pair: (-pair[0], pair[1]))
    assert len(found) == ROWS
    assert ids(ds.random_shuffle(seed=1).sort("id")) == list(range(ROWS))


def test_a_seed_gives_the_same_order_in_each_run_and_on_both_backends(ds, monkeypatch):
    rows = ms.range(ROWS, override_num_blocks=6)
    first = ids(rows.random_shuffle(seed=3))
    assert ids(rows.random_shuffle(seed=3)) == first
    assert first != list(range(ROWS))
    assert sorted(first) == list(range(ROWS))
    assert ids(rows.random_shuffle(seed=4)) != first
    local = DataContext(backend="local", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", local)
    again = ms.range(ROWS, override_num_blocks=6).random_shuffle(seed=3)
    assert ids(again) == first


@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_come_in_another_number_of_blocks(ds, shuffle):
    made = ds.repartition(5, shuffle=shuffle).materialize()
    assert made.num_blocks() == 5
    found = ids(made)
    assert (sorted(found) if shuffle else found) == list(range(ROWS))


@pytest.mark.parametrize("how", [{"broadcast": True}, {"broadcast": False, "num_partitions": 4}])
def test_two_sides_are_joined(ds, how):
    names = ms.from_items([{"k": key, "name": f"key {key}"} for key in range(0, 10, 2)])
    made = ds.join(names, "left", on="k", **how)
    rows = made.take_all()
    assert sorted(row["id"] for row in rows) == list(range(ROWS))
    assert all(row["name"] == (None if row["k"] % 2 else f"key {row['k']}") for row in rows)
    assert made.filter(lambda row: row["name"] is None).count() == sum(
        row % KEYS % 2 for row in range(ROWS)
    )


def test_a_full_join_keeps_the_rows_of_both_sides(ds):
    other = ms.range(ROWS + 10, override_num_blocks=3).map_batches(
        lambda table: table.append_column("n", table["id"]), batch_format="pyarrow"
    )
    rows = ds.join(other, "full", 5).take_all()
    assert Counter(row["n"] for row in rows) == Counter(range(ROWS + 10))
    assert sum(row["k"] is None for row in rows) == 10


def test_groups_are_counted_and_summed(ds):
    found = ds.groupby("k", num_partitions=3).aggregate(
        aggregate.Count(), aggregate.Sum("id"), aggregate.Max("id")
    )
    rows = sorted(found.take_all(), key=lambda row: row["k"])
    for key, row in enumerate(rows):
        members = range(key, ROWS, KEYS)
        wanted = {
            "k": key,
            "count()": len(members),
            "sum(id)": sum(members),
            "max(id)": members[-1],
        }
        assert row == wanted
    assert ds.aggregate(aggregate.Sum("id")) == {"sum(id)": sum(range(ROWS))}


@pytest.mark.parametrize("batch_format", ["numpy", "pandas", "pyarrow"])
def test_each_group_goes_through_a_function_once(ds, batch_format):
    def size(group):
        keys = {int(key) for key in pa.array(group["k"]).to_pylist()}
        return {"k": sorted(keys), "rows": [len(group["k"])] * len(keys)}

    def arrow(group):
        return pa.table(size({"k": group["k"].combine_chunks()}))

    def pandas(group):
        import pandas as pd

        return pd.DataFrame(size(group))

    function = {"numpy": size, "pyarrow": arrow, "pandas": pandas}[batch_format]
    found = ds.groupby("k", 3).map_groups(function, batch_format=batch_format).take_all()
    assert {row["k"]: row["rows"] for row in found} == {
        key: len(range(key, ROWS, KEYS)) for key in range(KEYS)
    }
    assert len(found) == KEYS


def test_one_row_of_each_key_is_kept(ds):
    assert sorted(ids(ds.distinct("k"))) == list(range(KEYS))
    last = ds.distinct("k", keep="last")
    assert sorted(ids(last)) == list(range(ROWS - KEYS, ROWS))
    assert ds.union(ds).distinct().count() == ROWS


def test_exchanges_follow_each_other_and_what_they_make_is_written(ds, tmp_path):
    made = ds.random_shuffle(seed=1).groupby("k").count().sort("k", descending=True)
    made.write_parquet(str(tmp_path))
    back = ms.read_parquet(str(tmp_path)).sort("k").take_all()
    assert [row["k"] for row in back] == list(range(KEYS))
    assert sum(row["count()"] for row in back) == ROWS


def test_more_than_the_object_store_holds_is_sorted(monkeypatch):
    # 240 MB, with a store of 200 MiB.
    rows = 30_000
    monkeypatch.setattr(sorting, "PARTITION_BYTES", 8 * rows // 16)

    def widen(batch):
        numbers = batch["id"] * 7919 % rows
        return {"id": numbers, "text": [f"{number:08}" * 1000 for number in numbers]}

    seen = 0
    made = ms.range(rows, override_num_blocks=30).map_batches(widen).sort("id")
    for batch in made.iter_batches(batch_format="pyarrow"):
        numbers = batch["id"].to_pylist()
        assert numbers == list(range(seen, seen + len(numbers)))
        assert batch["text"][0].as_py() == f"{seen:08}" * 1000
        seen += len(numbers)
    assert seen == rows
