"""Which operators share a worker, and what a read leaves out."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millstream as ms
from millstream import _core
from millstream.compute import ACTORS_UNBOUNDED
from millstream.io.formats.parquet.writer import plan_write_parquet
from millstream.io.sink_options import SinkOptions
from millstream.plan.logical import Map
from millstream.plan.physical import core_spec
from millstream.plan.rules import optimize, to_physical


class Model:
    def __call__(self, batch):
        return batch


def f(batch):
    return batch


def g(batch):
    return batch


def names(dataset):
    return [op.title for op in to_physical(dataset._plan, 1 << 20).ops]


def ops(dataset):
    return to_physical(dataset._plan, 1 << 20).ops


def test_equal_tasks_fuse_with_the_read():
    ds = ms.range(9).map_batches(f).map(g).filter(f)
    assert names(ds) == ["TaskPoolMap[ReadRange->MapBatches(f)->Map(g)->Filter(f)]"]


def test_actors_stay_apart_from_tasks_before_and_after():
    ds = ms.range(9).map_batches(f).map_batches(Model, concurrency=2).map_batches(g)
    assert names(ds) == [
        "TaskPoolMap[ReadRange->MapBatches(f)]",
        "ActorPoolMap[MapBatches(Model)]",
        "TaskPoolMap[MapBatches(g)]",
    ]


def test_two_pools_stay_apart():
    ds = ms.range(9).map_batches(Model, concurrency=2).map_batches(Model, concurrency=2)
    assert len(names(ds)) == 3


def test_other_resources_stay_apart():
    assert len(names(ms.range(9).map_batches(f, num_cpus=2))) == 2
    assert len(names(ms.range(9).map_batches(f, resources={"disk": 1}))) == 2
    assert len(names(ms.range(9).map_batches(f, num_gpus=1, batch_size=8))) == 2
    assert len(names(ms.range(9).map_batches(f, memory=1 << 20))) == 2


def test_the_default_said_aloud_is_the_default():
    assert len(names(ms.range(9).map_batches(f, num_cpus=1, num_gpus=0))) == 1


def test_other_limits_stay_apart():
    assert len(names(ms.range(9).map_batches(f, concurrency=2))) == 2
    assert len(names(ms.range(9, concurrency=2).map_batches(f, concurrency=2))) == 1


def test_tasks_join_a_pool_of_the_same_width_and_resources():
    ds = ms.range(9).map_batches(Model, concurrency=2).map_batches(f, concurrency=3)
    joined = ds.map_batches(Model, concurrency=3)
    assert names(joined)[2:] == ["ActorPoolMap[MapBatches(f)->MapBatches(Model)]"]
    assert len(names(ds.map_batches(Model, concurrency=2))) == 4
    assert len(names(ds.map_batches(Model, concurrency=3, num_gpus=1, batch_size=1))) == 4


def test_a_batch_size_after_what_changes_rows_stays_apart():
    assert len(names(ms.range(9).map_batches(f, batch_size=4))) == 2
    filtered = ms.range(9).map_batches(f, batch_size=4).filter(g)
    assert len(names(filtered)) == 2
    assert len(names(filtered.map_batches(f, batch_size=4))) == 3


def test_batches_are_bundled_to_the_largest_batch_of_the_operator():
    ds = ms.range(9).map_batches(f, batch_size=4).map_batches(g, batch_size=6)
    assert [op.bundle_rows_min for op in ops(ds)] == [1, 6]


def test_only_where_a_function_takes_any_batch_may_its_call_be_what_takes_long():
    reads = [ms.range(9), ms.range(9).map(f), ms.range(9).map_batches(f).map(g)]
    assert [op.bundle_rows_min for ds in reads for op in ops(ds)] == [1, 1, 0]


def test_a_file_is_a_call_that_may_take_long():
    plan = ms.range(9).map(f)._plan
    write = replace(plan.operators[-1], writes=True)
    assert [op.bundle_rows_min for op in to_physical(plan.then(write)).ops] == [0]


def test_what_writes_blocks_is_the_sink_of_the_core(tmp_path):
    ds = ms.range(9).map_batches(Model, concurrency=1).map_batches(f)
    transform, _ = plan_write_parquet(str(tmp_path), SinkOptions())
    plan = to_physical(ds._plan.then(Map(transform, writes=True)))
    assert [op.kind for op in plan.ops] == ["source", "actors", "sink"]
    assert isinstance(core_spec(plan.ops[-1], 2).kind, _core.Kind.Sink)
    assert plan.writes


def test_pools_have_the_bounds_that_were_asked_for():
    strategy = ms.ActorPoolStrategy(min_size=2, max_size=5, max_tasks_in_flight_per_actor=3)
    op = ops(ms.range(9).map_batches(Model, compute=strategy))[1]
    assert (op.actors_min, op.actors_max, op.tasks_in_flight_max) == (2, 5, 3)
    assert ops(ms.range(9).map_batches(Model))[1].actors_max == ACTORS_UNBOUNDED


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"], "c": [0.5, 1.5]}), path)
    return ms.read_parquet(path)


def test_a_selection_moves_into_the_read(parquet):
    plan = optimize(parquet.select_columns(["c", "a"])._plan)
    assert (plan.operators, plan.start.source.schema.names) == ((), ["c", "a"])


def test_a_selection_of_a_selection_moves_too(parquet):
    plan = optimize(parquet.select_columns(["c", "a"]).select_columns("a")._plan)
    assert (plan.operators, plan.start.source.schema.names) == ((), ["a"])


def test_a_selection_after_a_function_stays(parquet):
    plan = optimize(parquet.map_batches(f).select_columns(["a"])._plan)
    assert len(plan.operators) == 2


def test_a_column_that_the_selection_before_left_out_is_unknown(parquet):
    with pytest.raises(ms.SchemaError, match=r"'b'.*'a'"):
        parquet.select_columns("a").select_columns("b")
