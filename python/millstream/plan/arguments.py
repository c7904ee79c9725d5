"""What operators and readers take, and the workers that it asks for.

Owns what the arguments mean together. Knows nothing of plans beyond the `Shape` that they describe.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from millstream.blocks.batch import BatchFormat
from millstream.blocks.usercode import UserFunction, name_of
from millstream.compute import ActorPoolStrategy, ComputeStrategy, TaskPoolStrategy
from millstream.errors import ArgumentError
from millstream.errors.checks import (
    check_choice,
    check_count,
    check_named,
    is_named,
    is_number,
    is_sequence,
    is_whole,
    require,
)
from millstream.options import rest
from millstream.plan.logical import Shape
from millstream.plan.resources import Resources

#: What `concurrency` may be.
Concurrency = int | tuple[int, int] | tuple[int, int, int] | None

BATCH_FORMATS = ("default", "numpy", "pandas", "pyarrow")


@dataclass(frozen=True)
class FunctionOptions:
    """What operators on functions take besides the function.

    Args:
        compute: `TaskPoolStrategy(size)` for functions, `ActorPoolStrategy(...)` for classes. By
            default a function runs as tasks, as many as there is room for, and a class on a pool
            of actors from 1 to as many as there is room for.
        fn_args: Passed to `fn` after the data.
        fn_kwargs: Passed to `fn` as keywords.
        fn_constructor_args: Passed to the class.
        fn_constructor_kwargs: Passed to the class as keywords.
        num_cpus: CPUs that each task or actor holds. By default 1, or with GPUs none.
        num_gpus: GPUs that each holds; a part of one, or a whole number.
        memory: Bytes of memory that each holds.
        concurrency: The short form of `compute`: a number of workers, or `(min, max)` or
            `(min, max, initial)` actors.
        ray_remote_args: `resources` (amounts of custom resources by name), `accelerator_type`,
            `runtime_env`, `max_calls`.
    """

    compute: ComputeStrategy | None = None
    fn_args: Iterable[Any] | None = None
    fn_kwargs: Mapping[str, Any] | None = None
    fn_constructor_args: Iterable[Any] | None = None
    fn_constructor_kwargs: Mapping[str, Any] | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    concurrency: Concurrency = None
    ray_remote_args: Mapping[str, Any] = rest()

    def function(self, fn: Any) -> UserFunction:
        """The function or class with what is passed to it.

        Raises:
            ArgumentError: It cannot be called, or not like this.
        """
        is_class = check_callable(fn)
        for name in ("fn_args", "fn_constructor_args"):
            given = getattr(self, name)
            is_right = given is None or is_sequence(given)
            require(is_right, name, given, "a list or tuple of arguments")
        for name in ("fn_kwargs", "fn_constructor_kwargs"):
            check_named(name, getattr(self, name), "arguments")
        for name in ("fn_constructor_args", "fn_constructor_kwargs"):
            value = getattr(self, name)
            if value is not None and not is_class:
                raise ArgumentError(
                    f"{name}={value!r} needs a class to construct, but fn is the function "
                    f"{name_of(fn)!r}: pass a class, or use fn_args and fn_kwargs"
                )
        return UserFunction(
            fn,
            tuple(self.fn_args or ()),
            dict(self.fn_kwargs or {}),
            tuple(self.fn_constructor_args or ()),
            dict(self.fn_constructor_kwargs or {}),
        )

    def shape(self, function: UserFunction) -> Shape:
        """The shape of an operator that calls the function.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        is_class = inspect.isclass(function.function)
        if self.compute is not None and self.concurrency is not None:
            raise ArgumentError(
                f"compute={self.compute!r} and concurrency={self.concurrency!r} say the same: "
                "pass one of them"
            )
        compute = self.compute
        if compute is None:
            compute = _compute_of(is_class, self.concurrency, function.name)
        _check_compute(compute, is_class, function.name)
        return shape_of_resources(compute, _named_resources(self))


@dataclass(frozen=True)
class ReadOptions:
    """What readers take besides what they read.

    Args:
        num_cpus: CPUs per task; default 1.
        num_gpus: GPUs per task; default 0.
        memory: Bytes of memory per task.
        concurrency: Tasks at a time; default as many as there is room for.
        override_num_blocks: Into how many units the source is divided, as far as it has rows. Each
            is then a task and a block of its own. By default there are enough for a cluster, and
            the scheduler bundles what is too small to be worth a task.
        ray_remote_args: `resources` (amounts of custom resources by name), `accelerator_type`,
            `runtime_env`, `max_calls`.
    """

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    concurrency: int | None = None
    override_num_blocks: int | None = None
    ray_remote_args: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_count("override_num_blocks", self.override_num_blocks)
        check_named("ray_remote_args", self.ray_remote_args)

    def shape(self) -> Shape:
        """The shape of the source.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        return shape_of_tasks(self.concurrency, _named_resources(self))


@dataclass(frozen=True)
class TaskOptions:
    """What operators on columns take besides the columns.

    Args:
        concurrency: Tasks at a time; default as many as there is room for.
        resources: `num_cpus`, `num_gpus`, `memory` and the like, as in `map_batches`.
    """

    concurrency: int | None = None
    resources: Mapping[str, Any] = rest()

    def shape(self) -> Shape:
        """The shape of the operator.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        return shape_of_tasks(self.concurrency, self.resources)


@dataclass(frozen=True)
class SinkTasks:
    """The tasks of a writer.

    Args:
        ray_remote_args: `num_cpus`, `num_gpus`, `memory`, `resources` and the like, as in
            `map_batches`.
        concurrency: Tasks at a time; default as many as there is room for.
    """

    ray_remote_args: Mapping[str, Any] | None = None
    concurrency: int | None = None

    def shape(self) -> Shape:
        """The shape of the sink.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        return shape_of_tasks(self.concurrency, self.ray_remote_args or {})


def shape_of_tasks(concurrency: int | None, resources: Mapping[str, Any]) -> Shape:
    """The shape of an operator that runs as tasks.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    check_count("concurrency", concurrency)
    return shape_of_resources(TaskPoolStrategy(concurrency), resources)


def shape_of_resources(compute: ComputeStrategy, given: Mapping[str, Any]) -> Shape:
    """What each worker of `compute` holds.

    Raises:
        ArgumentError: An amount is negative or no number, or an option is unknown.
    """
    check_named("ray_remote_args", given)
    options = {name: value for name, value in given.items() if value is not None}
    gpu = _amount("num_gpus", options.pop("num_gpus", 0))
    if gpu > 1 and gpu != int(gpu):
        raise ArgumentError(f"num_gpus={gpu!r} must be a whole number when it is more than 1")
    cpu = _amount("num_cpus", options.pop("num_cpus", 0 if gpu else 1))
    custom = _custom(options.pop("resources", {}))
    memory = math.ceil(_amount("memory", options.pop("memory", 0)))
    if "accelerator_type" in options:
        # This is how Ray itself expresses the wish: nodes have one of it per type.
        custom[f"accelerator_type:{options.pop('accelerator_type')}"] = 0.001
    for name, value in options.items():
        _check_remote_option(name, value, compute)
    resources = Resources(cpu, gpu, memory, dict(sorted(custom.items())))
    return Shape(compute, resources, options)


def check_callable(fn: Any) -> bool:
    """Whether `fn` is a class to construct (otherwise it is a function).

    Raises:
        ArgumentError: It cannot be called, or its instances cannot.
    """
    if inspect.isclass(fn):
        if not any("__call__" in vars(base) for base in fn.__mro__):
            raise ArgumentError(f"fn={fn.__qualname__} is a class without a __call__ method")
        return True
    require(callable(fn), "fn", fn, f"a function or a class, not {type(fn).__name__}")
    return False


def check_batch_rows(batch_size: Any, num_gpus: float | None) -> int | None:
    """The rows of a batch of `map_batches`; `None`: whole blocks, which `"auto"` means too.

    Raises:
        ArgumentError: It is no size, or there is none though GPUs are asked for.
    """
    if batch_size == "auto":
        batch_size = None
    is_right = batch_size is None or is_whole(batch_size, 1)
    require(is_right, "batch_size", batch_size, "a whole number of at least 1, 'auto', or None")
    if batch_size is None and num_gpus:
        raise ArgumentError(
            f"batch_size must be a number of rows when num_gpus={num_gpus!r}: the best one is as "
            "large as the memory of the GPU allows"
        )
    return cast(int | None, batch_size)


def check_batch_format(batch_format: Any) -> BatchFormat:
    """The name of a batch format; `None` means what blocks are: Arrow tables.

    Raises:
        ArgumentError: There is no such format.
    """
    if batch_format is None:
        return "pyarrow"
    check_choice("batch_format", batch_format, BATCH_FORMATS)
    return cast(BatchFormat, batch_format)


def _named_resources(options: FunctionOptions | ReadOptions) -> dict[str, Any]:
    """What each worker holds, by the names of the arguments."""
    return {
        **(options.ray_remote_args or {}),
        "num_cpus": options.num_cpus,
        "num_gpus": options.num_gpus,
        "memory": options.memory,
    }


def _compute_of(is_class: bool, concurrency: Any, name: str) -> ComputeStrategy:
    if concurrency is None:
        return ActorPoolStrategy(min_size=1) if is_class else TaskPoolStrategy()
    is_bounds = isinstance(concurrency, tuple) and len(concurrency) in (2, 3)
    sizes = concurrency if is_bounds else (concurrency,)
    is_right = all(is_whole(size, 1) for size in sizes)
    wanted = "a whole number of at least 1, or (min, max), or (min, max, initial)"
    require(is_right, "concurrency", concurrency, wanted)
    if is_bounds and not is_class:
        raise ArgumentError(
            f"concurrency={concurrency!r} is for pools of actors, but fn is the function "
            f"{name!r}: pass one number"
        )
    try:
        if not is_bounds:
            return (
                ActorPoolStrategy(size=concurrency) if is_class else TaskPoolStrategy(concurrency)
            )
        return ActorPoolStrategy(
            **dict(zip(("min_size", "max_size", "initial_size"), concurrency, strict=False))
        )
    except ArgumentError as error:
        raise ArgumentError(f"concurrency={concurrency!r}: {error.message}") from None


def _check_compute(compute: Any, is_class: bool, name: str) -> None:
    is_right = isinstance(compute, (TaskPoolStrategy, ActorPoolStrategy))
    require(is_right, "compute", compute, "a TaskPoolStrategy or ActorPoolStrategy")
    if is_class and isinstance(compute, TaskPoolStrategy):
        raise ArgumentError(
            f"compute={compute!r} runs stateless tasks, but fn is the class {name!r}: "
            "pass an ActorPoolStrategy, or no compute"
        )
    if not is_class and isinstance(compute, ActorPoolStrategy):
        raise ArgumentError(
            f"compute={compute!r} constructs classes, but fn is the function {name!r}: "
            "pass a class, a TaskPoolStrategy, or no compute"
        )


def _amount(name: str, value: Any) -> float:
    is_right = is_number(value) and math.isfinite(value) and value >= 0
    require(is_right, name, value, "a number of at least 0")
    require(not 0 < value < _AMOUNT_MIN, name, value, f"0 or at least {_AMOUNT_MIN}")
    return float(value)


def _custom(resources: Any) -> dict[str, float]:
    require(is_named(resources), "resources", resources, "a dict of amounts by name")
    for name, argument in [("CPU", "num_cpus"), ("GPU", "num_gpus"), ("memory", "memory")]:
        if name in resources:
            raise ArgumentError(f"resources={resources!r} names {name!r}: use {argument}= for it")
    amounts = {name: _amount(f"resources[{name!r}]", value) for name, value in resources.items()}
    return {name: amount for name, amount in amounts.items() if amount}


def _check_remote_option(name: str, value: Any, compute: ComputeStrategy) -> None:
    if name in _REFUSED:
        raise ArgumentError(f"{name}={value!r} is not for users of millstream: {_REFUSED[name]}")
    if name not in _PASSED_ON:
        known = ["num_cpus", "num_gpus", "memory", "resources", "accelerator_type", *_PASSED_ON]
        raise ArgumentError(
            f"there is no option {name!r} (its value was {value!r}); there are {', '.join(known)}"
        )
    if name == "runtime_env":
        check_named(name, value)
    if name == "max_calls" and isinstance(compute, ActorPoolStrategy):
        raise ArgumentError(f"max_calls={value!r} is for tasks, but this operator runs on actors")


#: Ray counts resources in this unit.
_AMOUNT_MIN = 0.0001
#: Options that go to Ray as they are.
_PASSED_ON = ("runtime_env", "max_calls")
_RETRIES = "the scheduler makes lost work again (DataContext.max_task_deaths)"
_PLACEMENT = "the scheduler chooses the node; ask for a custom resource with resources={...}"
#: Options of Ray that would work against the scheduler, and why.
_REFUSED = {
    "max_retries": _RETRIES,
    "max_restarts": _RETRIES,
    "max_task_retries": _RETRIES,
    "retry_exceptions": _RETRIES,
    "scheduling_strategy": _PLACEMENT,
    "label_selector": _PLACEMENT,
    "fallback_strategy": _PLACEMENT,
    "max_concurrency": "set ActorPoolStrategy(max_tasks_in_flight_per_actor=...)",
    "ray_remote_args_fn": "all workers of an operator are alike; pass the options themselves",
}
