"""Values that rows have by their places: unique, growing, in range, and the same when repeated."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.context import DataContext
from millstream.errors import ArgumentError, UserCodeError
from millstream.expr.drawn import RandomNumbers, RowIds
from millstream.expressions import col, download, lit, monotonically_increasing_id, random, udf
from millstream.plan.rules import optimize


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def backend(request, monkeypatch):
    """Runs a test on both backends."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    made = DataContext(backend=request.param, enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", made)
    return request.param


def both(ds, seed=3):
    return ds.with_columns({"key": monotonically_increasing_id(), "draw": random(seed=seed)})


def rows_of(ds):
    return sorted(ds.take_all(), key=lambda row: row["id"])


# Numbers that tell rows apart ---------------------------------------------------------------------


@given(rows=st.integers(1, 200), blocks=st.integers(1, 12), modulo=st.integers(1, 4))
def test_keys_are_unique_and_grow_with_the_order_of_the_source(rows, blocks, modulo):
    ds = ms.range(rows, override_num_blocks=blocks).filter(col("id") % modulo == 0)
    keys = [row["key"] for row in rows_of(both(ds))]
    assert len(keys) == -(-rows // modulo)
    assert all(first < second for first, second in pairwise(keys))
    assert all(0 <= key < 1 << 63 for key in keys)


def test_keys_have_the_unit_above_and_the_row_below(backend):
    ds = ms.range(5, override_num_blocks=2).with_column("key", monotonically_increasing_id())
    assert ds.schema().types == [pa.int64(), pa.int64()]
    assert [row["key"] for row in rows_of(ds)] == [0, 1, *(2**33 + row for row in range(3))]


def test_keys_end_where_their_bits_do():
    last = RowIds(2**30 - 1)(2**33 - 2, 2)
    assert last.to_pylist() == [2**63 - 2, 2**63 - 1]
    with pytest.raises(UserCodeError, match=r"monotonically_increasing_id\(\) has numbers for"):
        RowIds(0)(2**33 - 1, 2)
    with pytest.raises(UserCodeError, match=r"row 1 of unit 1073741824"):
        RowIds(2**30)(0, 1)


# Random numbers -----------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**70),
    unit=st.integers(0, 2**40),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    start=st.integers(0, 2**33),
)
def test_how_blocks_are_cut_changes_no_number(seed, unit, cuts, start):
    numbers = RandomNumbers(seed, unit=unit)
    bounds = sorted({0, 300, *cuts})
    parts = [numbers(start + first, last - first).to_numpy() for first, last in pairwise(bounds)]
    whole = numbers(start, 300).to_numpy()
    assert np.array_equal(np.concatenate(parts), whole)
    assert len(set(whole)) == 300
    assert whole.min() >= 0
    assert whole.max() < 1


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_random_numbers_are_spread_evenly_and_apart(seed):
    drawn = [RandomNumbers(seed + place % 2, unit=place // 2)(0, 10_000) for place in range(4)]
    for each in drawn:
        counts, _ = np.histogram(each, bins=10, range=(0, 1))
        assert abs(counts - 1000).max() < 200
    assert abs(np.corrcoef([each.to_numpy() for each in drawn]) - np.eye(4)).max() < 0.06


def test_a_seed_repeats_and_no_seed_does_not(backend):
    ds = ms.range(100, override_num_blocks=4)
    seeded = [row["draw"] for row in rows_of(both(ds))]
    assert seeded == [row["draw"] for row in rows_of(both(ds))]
    assert seeded != [row["draw"] for row in rows_of(both(ds, seed=4))]
    plain = ds.with_columns({"draw": random(), "other": random()})
    first, second = rows_of(plain), rows_of(plain)
    assert first != second
    assert all(row["draw"] != row["other"] for row in first)


def test_draws_are_apart_from_those_of_random_sample():
    ds = ms.range(2000, override_num_blocks=2).random_sample(0.5, seed=3)
    drawn = [row["draw"] for row in both(ds).take_all()]
    assert max(drawn) > 0.9


# Where they stand ---------------------------------------------------------------------------------


def test_what_comes_after_changes_no_value():
    ds = both(ms.range(200, override_num_blocks=3))
    wanted = {row["id"]: (row["key"], row["draw"]) for row in ds.take_all()}

    def same(changed, count):
        found = {row["id"]: (row["key"], row["draw"]) for row in changed.take_all()}
        assert 0 < len(found) <= count
        assert found.items() <= wanted.items()

    same(ds.filter(col("id") > 150), 49)
    same(ds.random_sample(0.2, seed=1), 80)
    same(ds.random_sample(0.5, seed=1).random_sample(0.5, seed=1), 90)
    same(ds.map(lambda row: row).random_sample(0.2, seed=1), 80)
    same(ds.filter(col("draw") < 0.5).random_shuffle(seed=1), 120)
    same(ds.limit(10), 10)
    same(ds.select_columns(["key", "draw", "id"]).repartition(2), 200)
    same(ds.sort("draw"), 200)
    same(ds.union(ds), 200)


def test_two_draws_of_one_seed_stay_apart_around_values():
    ds = ms.range(4000, override_num_blocks=1).random_sample(0.5, seed=1)
    count = ds.with_column("key", monotonically_increasing_id()).random_sample(0.5, seed=1).count()
    assert 800 < count < 1200


def test_a_split_by_random_numbers_is_whole(backend):
    ds = both(ms.range(1000, override_num_blocks=4))
    train, test = ds.filter(col("draw") < 0.8), ds.filter(col("draw") >= 0.8)
    found = sorted(row["id"] for row in [*train.take_all(), *test.take_all()])
    assert found == list(range(1000))
    assert 720 < train.count() < 880


def test_they_are_parts_of_expressions_and_conditions():
    ds = ms.range(1000, override_num_blocks=2)
    told = ds.with_column("even", (monotonically_increasing_id() % 2 == 0) & lit(True))
    assert [row["even"] for row in rows_of(told)] == [row % 2 == 0 for row in range(1000)]
    assert 400 < ds.filter(random(seed=1) < 0.5).count() < 600
    kept = ds.with_column("draw", random(seed=1)).filter(random(seed=1) < 0.5)
    assert max(row["draw"] for row in kept.take_all()) < 0.5

    @udf("int64")
    def doubled(numbers):
        return [2 * number.as_py() for number in numbers]

    made = ds.with_column("double", doubled(monotonically_increasing_id()))
    assert rows_of(made)[-1]["double"] == 2 * (2**33 + 499)
    both_same = ds.with_columns({"a": random(seed=1), "b": random(seed=1)}).take_all()
    assert all(row["a"] == row["b"] for row in both_same)


def test_random_numbers_are_the_same_in_all_phases_of_a_run():
    ds = ms.range(500, override_num_blocks=4).with_column("draw", random())
    pairs = ds.zip(ds.rename_columns({"id": "other", "draw": "again"})).take_all()
    assert all(row["draw"] == row["again"] for row in pairs)
    assert all(
        first["draw"] <= second["draw"] for first, second in pairwise(ds.sort("draw").take_all())
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ds: ds.map(lambda row: row), r"Map\(<lambda>\)"),
        (lambda ds: ds.filter(lambda row: True), "Filter"),
        (lambda ds: ds.union(ds), "union"),
        (lambda ds: ds.zip(ds.rename_columns({"id": "other"})), "zip"),
        (lambda ds: ds.limit(3), "limit=3"),
        (lambda ds: ds.random_shuffle(seed=1), "random"),
        (lambda ds: ds.select_columns("id", num_cpus=0.5), "Select"),
    ],
)
def test_where_rows_have_no_place_is_an_error(change, told):
    ds = change(ms.range(5))
    for expr in (monotonically_increasing_id(), 1 - random()):
        with pytest.raises(ArgumentError, match=rf"(id|random)\(\) after .*{told}.* materialize"):
            ds.with_column("x", expr)
        with pytest.raises(ArgumentError, match="after"):
            ds.filter(expr > 0)
    keys = [row["key"] for row in both(ds.materialize()).take_all()]
    assert len(set(keys)) == ds.count()


def test_options_and_classes_have_no_place_beside_them():
    @udf("int64")
    class Adds:
        def __call__(self, numbers):
            return numbers

    with pytest.raises(ArgumentError, match=r"WithColumns\(x\) takes no options of tasks"):
        ms.range(3).with_column("x", random(), num_cpus=0.5)
    with pytest.raises(ArgumentError, match=r"WithColumns\(x\) cannot have a class"):
        ms.range(3).with_column("x", Adds()(monotonically_increasing_id()))
    with pytest.raises(ArgumentError, match="seed=-1 must be a whole number"):
        random(seed=-1)


def test_errors_name_the_operator():
    ds = ms.range(3).with_column("key", monotonically_increasing_id())
    with pytest.raises(UserCodeError) as caught:
        ds.filter(1 // col("id") > random()).take_all()
    assert "Filter(" in str(caught.value)


def test_plans_say_what_is_known(tmp_path):
    pq.write_table(pa.table({"id": range(10), "x": range(10)}), tmp_path / "a.parquet")
    ds = ms.read_parquet(tmp_path).select_columns("id").filter(col("id") > 3)
    made = both(ds)
    assert made.schema().names == ["id", "key", "draw"]
    assert both(ms.range(7)).count() == 7
    told = repr(random(seed=2) * monotonically_increasing_id() + random())
    assert told == "((random(seed=2) * monotonically_increasing_id()) + random())"
    plan = optimize(made.filter(col("id") > 5)._plan)
    assert [type(each).__name__ for each in plan.operators] == ["Map"]
    assert plan.start.source.schema.names == ["id", "key", "draw"]
    assert [row["key"] for row in made.take_all()] == list(range(6))


def test_iteration_that_goes_on_needs_a_seed():
    ds = ms.range(10)
    ds.with_column("x", random(seed=1)).iterator().state_dict()
    with pytest.raises(ArgumentError, match=r"random\(\) gives other numbers in each run"):
        ds.with_column("x", random()).iterator().state_dict()


@pytest.mark.ray
def test_a_task_that_is_repeated_gives_the_same(ray_cluster, monkeypatch, tmp_path):
    made = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", made)
    ds = ms.range(400, override_num_blocks=4).filter(col("id") % 3 > 0)
    wanted = rows_of(both(ds))

    def dies_once(batch, folder=str(tmp_path)):
        mark = Path(folder, "died")
        if batch["id"][0] > 100 and not mark.exists():
            mark.touch()
            os._exit(1)
        return batch

    plain = both(ds).with_column("free", random())
    found = rows_of(plain.map_batches(dies_once, batch_size=10))
    assert (tmp_path / "died").exists()
    assert [{name: row[name] for name in ("id", "key", "draw")} for row in found] == wanted
    assert len({row["free"] for row in found}) == len(wanted)


def test_downloads_before_them_come_in_portions(tmp_path):
    for number in range(4):
        (tmp_path / str(number)).write_bytes(bytes(1000))
    rows = [{"id": number, "at": str(tmp_path / str(number % 4))} for number in range(40)]
    ds = ms.from_items(rows, override_num_blocks=1)
    keys = rows_of(both(ds.with_column("data", download("at"))))
    assert [row["key"] for row in keys] == list(range(40))
