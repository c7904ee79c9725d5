"""The ways out that the error of a plan tells which asks for more than the nodes have."""

from __future__ import annotations

import pytest

import millstream as ms
from millstream import _core
from millstream.context import DataContext
from millstream.execution.execution import plan_run
from millstream.execution.refusal import refused


class Model:
    def __call__(self, batch):
        return batch


def told(backend="local", cpu=2, gpu=0, custom=None, **options):
    """What is told of a pool with these options on one node."""
    context = DataContext(backend=backend)
    node = _core.Node(node=0, cpu=cpu, gpu=gpu, custom=custom or {}, store_bytes=1 << 30)
    ds = ms.range(10).map_batches(Model, batch_size=2, **{"concurrency": 1, **options})
    physical, plan = plan_run(ds._plan, context, [node])
    with pytest.raises(_core.SubmitError) as why:
        _core.Scheduler(plan, [node])
    return str(refused(str(why.value), physical.ops, [node], context))


@pytest.mark.parametrize("backend", ["local", "ray"])
def test_without_a_gpu_it_says_how_logical_ones_are_declared(backend):
    way = {"local": "resource_limits = ExecutionResources(gpu=", "ray": "ray.init(num_gpus="}
    assert way[backend] in told(backend, num_gpus=1)


def test_too_much_for_one_actor():
    assert "num_gpus=" in told(gpu=1, num_gpus=2)
    assert "num_cpus=" in told(num_cpus=8)


@pytest.mark.parametrize("backend", ["local", "ray"])
def test_a_custom_resource_that_no_node_has(backend):
    message = told(backend, resources={"tpu": 1})
    assert "'tpu'" in message
    assert ("ray.init(resources={'tpu': …})" in message) == (backend == "ray")


def test_a_pool_that_does_not_fit_may_be_smaller_or_have_smaller_actors():
    message = told(concurrency=3, num_cpus=1)
    assert "concurrency=(1, 3)" in message
    assert "num_cpus=0.5" in message
    assert "num_gpus=0.5" in told(gpu=2, concurrency=3, num_gpus=1)


def test_a_pool_that_leaves_no_room_to_read():
    message = told(concurrency=2, num_cpus=1)
    assert "leave no node with that much" in message
    assert "concurrency=(1, 2)" in message


def test_no_way_out_is_told_that_is_not_one():
    assert "concurrency=(1" not in told(cpu=1, concurrency=1, num_cpus=1)
