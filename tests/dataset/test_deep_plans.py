"""Plans of hundreds of steps: programs make them in loops. Python's own limit is not theirs."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest

import millstream as ms
from millstream.context import DataContext
from millstream.plan.rules import STEPS_MAX, to_physical


def grown(batch):
    return {"id": batch["id"] + 1}


def chain(steps, function=grown):
    ds = ms.range(3)
    for _ in range(steps):
        ds = ds.map_batches(function)
    return ds


def unions(steps):
    ds = ms.range(2)
    for _ in range(steps):
        ds = ds.union(ms.range(1)).rename_columns({"id": "id"})
    return ds


def zips(steps):
    ds = ms.range(2)
    for _ in range(steps):
        ds = ds.zip(ms.range(2)).select_columns(["id"])
    return ds


DEEP = [chain, unions, zips]


@pytest.mark.parametrize("steps", [STEPS_MAX - 1, STEPS_MAX, 400, 2000])
def test_a_chain_of_steps_runs(steps):
    assert [row["id"] for row in chain(steps).take_all()] == [steps, steps + 1, steps + 2]


@pytest.mark.ray
def test_a_chain_of_steps_runs_on_ray(ray_cluster, monkeypatch):
    context = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)
    steps = chain(400, lambda batch: {"id": batch["id"] + 1})
    assert [row["id"] for row in steps.take_all()] == [400, 401, 402]


@pytest.mark.parametrize("step", ["map", "flat_map", "filter"])
def test_a_chain_of_steps_over_rows_runs(step):
    functions = {
        "map": lambda row: row,
        "flat_map": lambda row: [row],
        "filter": lambda row: True,
    }
    ds = ms.range(3)
    for _ in range(400):
        ds = getattr(ds, step)(functions[step])
    assert [row["id"] for row in ds.take_all()] == [0, 1, 2]


def test_a_function_at_the_end_of_a_chain_may_still_call_itself():
    def down(depth):
        return 0 if depth == 0 else down(depth - 1)

    def deep(batch):
        return {"id": batch["id"] + down(sys.getrecursionlimit() // 2)}

    assert chain(400).map_batches(deep).take_all()[0] == {"id": 400}


def test_steps_become_no_more_operators_than_needed():
    assert len(to_physical(chain(STEPS_MAX - 1)._plan).ops) == 1
    assert len(to_physical(chain(STEPS_MAX)._plan).ops) == 2


def test_unions_in_a_loop_are_one_union():
    ds = ms.range(2)
    for _ in range(400):
        ds = ds.union(ms.range(1))
    assert [op.kind for op in to_physical(ds._plan).ops].count("union") == 1
    assert ds.count() == 402
    assert len(ds.map(lambda row: row).take_all()) == 402


@pytest.mark.parametrize(("deep", "rows"), [(unions, 42), (zips, 2)])
def test_a_deep_plan_of_several_inputs_runs(deep, rows):
    ds = deep(40).map(lambda row: row)
    assert len(ds.take_all()) == rows
    assert ds.why().startswith("Finished")


@pytest.mark.parametrize("deep", DEEP)
def test_a_deep_plan_is_described_and_copied(deep, capsys):
    ds = deep(600)
    assert repr(ds).startswith("Dataset(")
    assert ds.schema(fetch_if_missing=False) is None or ds.columns() == ["id"]
    ds.explain()
    assert capsys.readouterr().out.startswith("Logical plan")
    for other in (copy.copy(ds), copy.deepcopy(ds), pickle.loads(pickle.dumps(ds))):
        assert repr(other) == repr(ds)
