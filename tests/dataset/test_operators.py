"""Each operator does to the rows what its name says, lazily, and leaves its input alone."""

from __future__ import annotations

import asyncio
import functools
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import millstream as ms


class Add:
    constructed = 0

    def __init__(self, amount=1, *, sign=1):
        type(self).constructed += 1
        self.amount = amount * sign

    def __call__(self, batch, factor=1):
        return {"id": (batch["id"] + self.amount) * factor}


class AsyncAdd:
    async def __call__(self, batch):
        await asyncio.sleep(0)
        return {"id": batch["id"] + 1}


def ids(dataset):
    return [row["id"] for row in dataset.take_all()]


def test_nothing_runs_before_it_is_asked_for():
    calls = []
    ds = ms.range(3).map(lambda row: calls.append(row) or row)
    assert calls == []
    ds.take_all()
    assert len(calls) == 3


def test_an_operator_leaves_its_input_as_it_was():
    base = ms.range(3)
    doubled = base.map(lambda row: {"id": 2 * row["id"]})
    evens = base.filter(lambda row: row["id"] % 2 == 0)
    assert (ids(base), ids(doubled), ids(evens)) == ([0, 1, 2], [0, 2, 4], [0, 2])


def test_flat_map_gives_any_number_of_rows():
    assert ids(ms.range(4).flat_map(lambda row: [row] * (row["id"] % 3))) == [1, 2, 2]

    def twice(row):
        yield row
        yield row

    assert ids(ms.range(2).flat_map(twice)) == [0, 0, 1, 1]


def test_a_class_is_constructed_once_per_actor():
    Add.constructed = 0
    ds = ms.range(500).map_batches(
        Add, fn_constructor_args=[10], fn_constructor_kwargs={"sign": -1}, concurrency=2
    )
    assert ids(ds) == [i - 10 for i in range(500)]
    assert 1 <= Add.constructed <= 2


def test_functions_get_further_arguments():
    def scale(batch, factor, *, offset):
        return {"id": batch["id"] * factor + offset}

    ds = ms.range(3).map_batches(scale, fn_args=[10], fn_kwargs={"offset": 1})
    assert ids(ds) == [1, 11, 21]
    assert ids(ms.range(2).map_batches(Add, fn_args=[10])) == [10, 20]


@pytest.mark.parametrize(
    ("batch_format", "kind"),
    [
        ("default", dict),
        ("numpy", dict),
        ("pandas", pd.DataFrame),
        ("pyarrow", pa.Table),
        (None, pa.Table),
    ],
)
def test_batches_come_in_the_format_that_was_asked_for(batch_format, kind):
    seen = []
    ms.range(3).map_batches(lambda b: seen.append(type(b)) or b, batch_format=batch_format).count()
    assert set(seen) == {kind}


def test_batches_are_full_though_blocks_are_small():
    sizes = []
    ds = ms.range(100, override_num_blocks=100)
    ds.map_batches(lambda b: sizes.append(len(b["id"])) or b, batch_size=10, num_cpus=2).count()
    assert max(sizes) == 10
    assert sum(sizes) / len(sizes) > 5, "without bundling, each block of one row is a batch"


def test_without_a_batch_size_whole_blocks_are_batches():
    sizes = []

    def measure(batch):
        sizes.append(len(batch["id"]))
        return batch

    for batch_size in (None, "auto"):
        sizes.clear()
        ms.range(100, override_num_blocks=4).map_batches(measure, batch_size=batch_size).count()
        assert sizes == [25] * 4


def test_batches_are_read_only_views_or_writable_copies():
    def flags(batch):
        return {"writable": np.array([batch["id"].flags.writeable])}

    ds = ms.range(3)
    assert ds.map_batches(flags).take(1) == [{"writable": False}]
    assert ds.map_batches(flags, zero_copy_batch=False).take(1) == [{"writable": True}]


def test_every_kind_of_function_works():
    async def later(batch):
        await asyncio.sleep(0)
        return {"id": batch["id"] + 1}

    def pieces(batch):
        for value in batch["id"]:
            yield {"id": np.array([value + 1])}

    async def later_pieces(batch):
        for value in batch["id"]:
            await asyncio.sleep(0)
            yield {"id": np.array([value + 1])}

    partial = functools.partial(lambda batch, by: {"id": batch["id"] + by}, by=1)
    for fn in [later, pieces, later_pieces, partial, Add(), AsyncAdd, Add]:
        assert ids(ms.range(20).map_batches(fn)) == list(range(1, 21)), fn


def test_the_order_of_the_input_is_kept():
    slow = threading.Event()

    def sometimes_slow(batch):
        if batch["id"][0] % 3 == 0:
            slow.wait(0.01)
        return batch

    ds = ms.range(60, override_num_blocks=30).map_batches(sometimes_slow)
    assert ids(ds.map_batches(Add, concurrency=2)) == list(range(1, 61))


def test_columns_are_chosen_left_out_renamed_and_added():
    ds = ms.from_items([{"a": 1, "b": 2, "c": 3}])
    assert ds.select_columns(["c", "a"]).take() == [{"c": 3, "a": 1}]
    assert ds.select_columns("b").columns() == ["b"]
    assert ds.drop_columns(["a", "c"]).take() == [{"b": 2}]
    assert ds.rename_columns({"a": "b", "b": "a"}).take() == [{"b": 1, "a": 2, "c": 3}]
    assert ds.rename_columns(["x", "y", "z"]).columns() == ["x", "y", "z"]
    assert ds.add_column("d", lambda df: df["a"] + df["b"]).take()[0]["d"] == 3
    assert ds.add_column("a", lambda b: b["c"], batch_format="numpy").take()[0]["a"] == 3
    assert ds.add_column("a", lambda b: b["c"], batch_format="pyarrow").take()[0]["a"] == 3


def test_rows_stay_when_no_column_does():
    assert ms.range(5).select_columns([]).take_all() == [{}] * 5
    assert ms.range(5).drop_columns("id").count() == 5
    assert ms.range(5).map(lambda row: row).drop_columns("id").count() == 5


def test_rows_of_different_blocks_have_the_same_columns():
    ds = ms.range(4, override_num_blocks=4).map(lambda r: {f"c{r['id'] % 2}": r["id"]})
    assert ds.take_all()[:2] == [{"c0": 0, "c1": None}, {"c0": None, "c1": 1}]


def test_datasets_keep_the_settings_they_were_made_under(context):
    ds = ms.range(3)
    context.execution_options.resource_limits.cpu = 0.5
    assert ids(ds) == [0, 1, 2]
    with pytest.raises(ms.ResourcesError):
        ms.range(3).take()


def test_bulk_execution_gives_the_same_rows(context):
    context.execution = "bulk"
    assert ids(ms.range(50).map_batches(Add, concurrency=2)) == list(range(1, 51))


@pytest.mark.parametrize("rows", [100, 1000])
def test_small_rows_take_few_calls_where_nobody_said_how_many_each_gets(context, rows):
    context.execution_options.resource_limits.cpu = 2

    def tell_call(batch):
        return {"rows": [len(batch["id"])]}

    sizes = [row["rows"] for row in ms.range(rows).map_batches(tell_call).take_all()]
    assert (sum(sizes), len(sizes) <= 30) == (rows, True), sizes


def never(data):
    raise AssertionError("this must not run")


def test_count_runs_nothing_where_all_operators_keep_the_rows():
    ds = ms.range(7).map(never).add_column("b", never).rename_columns({"id": "a"})
    kept = ds.map_batches(never, udf_modifying_row_count=False)
    assert kept.count() == 7
    assert kept.limit(3).union(ms.range(2).map(never)).count() == 5
    assert kept.zip(ms.range(7)).count() == 7


@pytest.mark.parametrize("operator", ["map_batches", "flat_map", "filter"])
def test_count_runs_what_may_change_the_rows(operator):
    seen = []

    def note(data):
        seen.append(data)
        return [data] if operator == "flat_map" else data

    assert getattr(ms.range(3), operator)(note).count() == 3
    assert seen


@pytest.mark.parametrize(
    "uneven",
    [
        lambda batch: {"id": batch["id"][:-1]},
        lambda batch: {"id": [*batch["id"], 0]},
        lambda batch: iter([batch, batch]),
        lambda batch: iter([]),
    ],
)
def test_a_function_that_breaks_its_promise_to_keep_the_rows_is_an_error(uneven):
    ds = ms.range(8).map_batches(uneven, batch_size=4, udf_modifying_row_count=False)
    with pytest.raises(ms.UserCodeError, match="udf_modifying_row_count=False") as caught:
        ds.materialize()
    assert "MapBatches" in caught.value.operator


def test_a_batch_in_parts_keeps_its_rows():
    def halves(batch):
        yield {"id": batch["id"][:1]}
        yield {"id": batch["id"][1:]}

    ds = ms.range(8).map_batches(halves, batch_size=4, udf_modifying_row_count=False)
    assert [row["id"] for row in ds.take_all()] == list(range(8))
