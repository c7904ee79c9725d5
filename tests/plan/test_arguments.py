"""What users pass to operators is checked at the call, and the message names it."""

from __future__ import annotations

import math

import pytest

import millstream as ms
from millstream.compute import ActorPoolStrategy, TaskPoolStrategy
from millstream.errors import ArgumentError
from millstream.errors.checks import check_columns
from millstream.plan.arguments import FunctionOptions
from millstream.plan.resources import Resources


class Model:
    def __init__(self, path=None):
        self.path = path

    def __call__(self, batch):
        return batch


class NotCallable:
    pass


def identity(batch):
    return batch


def shape(
    fn=identity, compute=None, concurrency=None, cpus=None, gpus=None, memory=None, **options
):
    given = FunctionOptions(
        compute=compute,
        concurrency=concurrency,
        num_cpus=cpus,
        num_gpus=gpus,
        memory=memory,
        ray_remote_args=options,
    )
    return given.shape(given.function(fn))


def refused(*texts, **arguments):
    with pytest.raises(ArgumentError) as caught:
        shape(**arguments)
    for text in texts:
        assert text in str(caught.value)


def test_a_function_runs_as_tasks_with_one_cpu():
    made = shape()
    assert (made.compute, made.resources) == (TaskPoolStrategy(), Resources(cpu=1))


def test_a_class_runs_on_a_pool_that_grows():
    assert shape(fn=Model).compute == ActorPoolStrategy(min_size=1)


def test_a_callable_object_is_a_function():
    assert shape(fn=Model()).compute == TaskPoolStrategy()


def test_with_gpus_no_cpu_is_held_unless_asked_for():
    assert shape(fn=Model, gpus=1).resources == Resources(cpu=0, gpu=1)
    assert shape(fn=Model, gpus=1, cpus=2).resources == Resources(cpu=2, gpu=1)


@pytest.mark.parametrize(
    ("concurrency", "pool"),
    [
        (3, ActorPoolStrategy(size=3)),
        ((1, 4), ActorPoolStrategy(min_size=1, max_size=4)),
        ((1, 4, 2), ActorPoolStrategy(min_size=1, max_size=4, initial_size=2)),
    ],
)
def test_concurrency_of_a_class_is_its_pool(concurrency, pool):
    assert shape(fn=Model, concurrency=concurrency).compute == pool


def test_concurrency_of_a_function_is_its_limit():
    assert shape(concurrency=3).compute == TaskPoolStrategy(3)


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, "2", (1,), (0, 2), (1, 2, 3, 4)])
def test_concurrency_must_be_counts(concurrency):
    fn = Model if isinstance(concurrency, tuple) else identity
    refused(f"concurrency={concurrency!r}", fn=fn, concurrency=concurrency)


def test_the_least_of_a_pool_is_not_above_its_most():
    refused("concurrency=(4, 2)", "min_size=4", "max_size=2", fn=Model, concurrency=(4, 2))


def test_a_function_takes_no_bounds_of_a_pool():
    refused("concurrency=(1, 2)", "'identity'", concurrency=(1, 2))


def test_compute_and_concurrency_together_are_refused():
    refused("compute=", "concurrency=2", compute=TaskPoolStrategy(2), concurrency=2)


def test_a_class_needs_actors_and_a_function_tasks():
    refused("TaskPoolStrategy", "'Model'", fn=Model, compute=TaskPoolStrategy())
    refused("ActorPoolStrategy", "'identity'", compute=ActorPoolStrategy(size=1))
    refused("compute='actors'", compute="actors")


@pytest.mark.parametrize("amount", [-1, math.nan, math.inf, "1", True, 0.00001])
@pytest.mark.parametrize(
    ("argument", "name"), [("cpus", "num_cpus"), ("gpus", "num_gpus"), ("memory", "memory")]
)
def test_amounts_are_finite_and_not_negative(argument, name, amount):
    refused(f"{name}={amount!r}", **{argument: amount})


def test_more_than_one_gpu_is_a_whole_number():
    refused("num_gpus=1.5", fn=Model, gpus=1.5)


def test_custom_resources_memory_and_accelerators_are_amounts_by_name():
    made = shape(memory=1 << 30, resources={"tpu": 2, "none": 0}, accelerator_type="A100")
    custom = {"accelerator_type:A100": 0.001, "tpu": 2}
    assert made.resources == Resources(cpu=1, memory=1 << 30, custom=custom)


@pytest.mark.parametrize("resources", [{"tpu": -1}, {"CPU": 1}, {1: 1}, ["tpu"], {"tpu": "many"}])
def test_custom_resources_must_make_sense(resources):
    refused("resources", resources=resources)


def test_options_for_ray_are_passed_on():
    assert shape(runtime_env={"pip": []}).remote_args == {"runtime_env": {"pip": []}}


def test_unknown_options_are_refused_with_those_that_exist():
    refused("'num_cpu'", "num_cpus", num_cpu=1)


@pytest.mark.parametrize("option", ["max_retries", "scheduling_strategy", "ray_remote_args_fn"])
def test_options_that_work_against_the_scheduler_are_refused_with_the_way_to_go(option):
    refused(option, "scheduler" if option != "ray_remote_args_fn" else "alike", **{option: 1})


def test_max_calls_is_for_tasks_only():
    refused("max_calls=1", fn=Model, max_calls=1)


@pytest.mark.parametrize("fn", [NotCallable, NotCallable(), None, 3])
def test_what_cannot_be_called_is_no_function(fn):
    refused("fn=", fn=fn)


@pytest.mark.parametrize("name", ["fn_constructor_args", "fn_constructor_kwargs"])
def test_functions_are_not_constructed(name):
    value = [1] if name.endswith("_args") else {"path": 1}
    with pytest.raises(ArgumentError, match=f"{name}=.*'identity'"):
        FunctionOptions(**{name: value}).function(identity)


@pytest.mark.parametrize(
    ("name", "value"),
    [("fn_args", 3), ("fn_args", "abc"), ("fn_kwargs", [1]), ("fn_kwargs", {1: 2})],
)
def test_arguments_of_functions_are_sequences_and_mappings(name, value):
    with pytest.raises(ArgumentError, match=name):
        FunctionOptions(**{name: value}).function(identity)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"])
@pytest.mark.parametrize(
    "name", ["size", "min_size", "max_size", "initial_size", "max_tasks_in_flight_per_actor"]
)
def test_sizes_of_pools_are_counts(name, value):
    with pytest.raises(ArgumentError, match=f"{name}="):
        ms.ActorPoolStrategy(**{name: value})


@pytest.mark.parametrize(
    "sizes",
    [
        {"size": 2, "max_size": 3},
        {"min_size": 3, "max_size": 2},
        {"min_size": 2, "initial_size": 1},
        {"max_size": 2, "initial_size": 3},
    ],
)
def test_sizes_of_pools_do_not_contradict_each_other(sizes):
    with pytest.raises(ArgumentError):
        ms.ActorPoolStrategy(**sizes)


def test_column_names_are_a_name_or_a_list():
    assert (check_columns("cols", "a"), check_columns("cols", ("a", "b"))) == (["a"], ["a", "b"])
    for wrong in [1, ["a", 1], {"a"}, ["a", "a"]]:
        with pytest.raises(ArgumentError, match="cols="):
            check_columns("cols", wrong)
