"""Checks of what users pass to operators, at the call.

Owns the messages: each names the argument, its value, and what it should be. Knows nothing of
plans beyond the `Shape` that the arguments describe.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from millstream.blocks.batch import BatchFormat
from millstream.blocks.usercode import name_of
from millstream.compute import (
    ActorPoolStrategy,
    ComputeStrategy,
    TaskPoolStrategy,
    is_count,
)
from millstream.errors import ArgumentError
from millstream.plan.logical import Shape
from millstream.plan.resources import Resources

#: What `concurrency` may be.
Concurrency = int | tuple[int, int] | tuple[int, int, int] | None

BATCH_FORMATS = ("default", "numpy", "pandas", "pyarrow")


@dataclass(frozen=True)
class FunctionCall:
    """A user's function or class and what is passed to it besides the data."""

    fn: Any
    fn_args: Iterable[Any] | None = None
    fn_kwargs: Mapping[str, Any] | None = None
    fn_constructor_args: Iterable[Any] | None = None
    fn_constructor_kwargs: Mapping[str, Any] | None = None

    @property
    def fn_name(self) -> str:
        """What to call it in a message."""
        return name_of(self.fn)

    def check(self) -> bool:
        """Whether it is a class to construct (otherwise it is a function).

        Raises:
            ArgumentError: It cannot be called, or not like this.
        """
        is_class = check_function(self.fn)
        for name, given in [
            ("fn_args", self.fn_args),
            ("fn_constructor_args", self.fn_constructor_args),
        ]:
            if given is not None and not _is_sequence(given):
                raise ArgumentError(f"{name}={given!r} must be a list or tuple of arguments")
        for name, named in [
            ("fn_kwargs", self.fn_kwargs),
            ("fn_constructor_kwargs", self.fn_constructor_kwargs),
        ]:
            if named is not None and not _is_named(named):
                raise ArgumentError(f"{name}={named!r} must be a dict of arguments by name")
        for name, value in [
            ("fn_constructor_args", self.fn_constructor_args),
            ("fn_constructor_kwargs", self.fn_constructor_kwargs),
        ]:
            if value is not None and not is_class:
                raise ArgumentError(
                    f"{name}={value!r} needs a class to construct, but fn is the function "
                    f"{self.fn_name!r}: pass a class, or use fn_args and fn_kwargs"
                )
        return is_class

    def arguments(self) -> dict[str, Any]:
        """What is passed to the function, as the transforms take it."""
        return {
            "fn_args": tuple(self.fn_args or ()),
            "fn_kwargs": dict(self.fn_kwargs or {}),
            "fn_constructor_args": tuple(self.fn_constructor_args or ()),
            "fn_constructor_kwargs": dict(self.fn_constructor_kwargs or {}),
        }


@dataclass(frozen=True)
class Workers:
    """The workers that a user asks for, as arguments of an operator."""

    compute: ComputeStrategy | None
    concurrency: Concurrency
    num_cpus: float | None
    num_gpus: float | None
    memory: float | None
    ray_remote_args: Mapping[str, Any]

    def shape(self, call: FunctionCall) -> Shape:
        """The shape of an operator that runs `call`.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        is_class = call.check()
        if self.compute is not None and self.concurrency is not None:
            raise ArgumentError(
                f"compute={self.compute!r} and concurrency={self.concurrency!r} say the same: "
                "pass one of them"
            )
        compute = self.compute
        if compute is None:
            compute = _compute_of(is_class, self.concurrency, call.fn_name)
        _check_compute(compute, is_class, call.fn_name)
        return shape_of_resources(compute, self.resources())

    def resources(self) -> dict[str, Any]:
        """What each worker holds, by the names of the arguments."""
        return {
            **self.ray_remote_args,
            "num_cpus": self.num_cpus,
            "num_gpus": self.num_gpus,
            "memory": self.memory,
        }


def shape_of_read(concurrency: int | None, resources: Mapping[str, Any]) -> Shape:
    """The workers of a source or a sink.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    if concurrency is not None and not is_count(concurrency):
        raise ArgumentError(f"concurrency={concurrency!r} must be a whole number of at least 1")
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


def check_function(fn: Any) -> bool:
    """Whether `fn` is a class to construct (otherwise it is a function).

    Raises:
        ArgumentError: It cannot be called, or its instances cannot.
    """
    if inspect.isclass(fn):
        if not any("__call__" in vars(base) for base in fn.__mro__):
            raise ArgumentError(f"fn={fn.__qualname__} is a class without a __call__ method")
        return True
    if not callable(fn):
        raise ArgumentError(f"fn={fn!r} must be a function or a class, not {type(fn).__name__}")
    return False


def check_batch_size(batch_size: Any, name: str = "batch_size", *, optional: bool = True) -> None:
    """Batch sizes are whole numbers of at least 1, or, where that means something, `None`."""
    if not (is_count(batch_size) or (optional and batch_size is None)):
        wanted = "a whole number of at least 1" + (", or None" if optional else "")
        raise ArgumentError(f"{name}={batch_size!r} must be {wanted}")


def check_batch_rows(batch_size: Any, num_gpus: float | None) -> int | None:
    """The rows of a batch of `map_batches`; `None`: whole blocks, which `"auto"` means too.

    Raises:
        ArgumentError: It is no size, or there is none though GPUs are asked for.
    """
    if batch_size == "auto":
        batch_size = None
    if not (batch_size is None or is_count(batch_size)):
        raise ArgumentError(
            f"batch_size={batch_size!r} must be a whole number of at least 1, 'auto', or None"
        )
    if batch_size is None and num_gpus:
        raise ArgumentError(
            f"batch_size must be a number of rows when num_gpus={num_gpus!r}: the best one is as "
            "large as the memory of the GPU allows"
        )
    return cast(int | None, batch_size)


def check_rows(name: str, rows: Any) -> None:
    """Limits on rows are whole numbers of at least 0."""
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
        raise ArgumentError(f"{name}={rows!r} must be a whole number of at least 0")


def check_flag(name: str, flag: Any) -> None:
    """Checks an argument that is true or false.

    Raises:
        ArgumentError: It is neither.
    """
    if not isinstance(flag, bool):
        raise ArgumentError(f"{name}={flag!r} must be True or False")


def check_named(name: str, given: Any) -> None:
    """Checks an argument that gives values by name, or nothing.

    Raises:
        ArgumentError: It is no dict with strings as keys.
    """
    if given is not None and not _is_named(given):
        raise ArgumentError(f"{name}={given!r} must be a dict of values by name")


def check_batch_format(batch_format: Any) -> BatchFormat:
    """The name of a batch format; `None` means what blocks are: Arrow tables.

    Raises:
        ArgumentError: There is no such format.
    """
    if batch_format is None:
        return "pyarrow"
    if batch_format not in BATCH_FORMATS:
        raise ArgumentError(
            f"batch_format={batch_format!r} must be one of {', '.join(map(repr, BATCH_FORMATS))}"
        )
    return cast(BatchFormat, batch_format)


def check_columns(name: str, columns: Any) -> list[str]:
    """Column names as a list; one name may stand alone.

    Raises:
        ArgumentError: They are no strings, or one comes twice.
    """
    listed = [columns] if isinstance(columns, str) else columns
    if not isinstance(listed, (list, tuple)) or not all(isinstance(c, str) for c in listed):
        raise ArgumentError(f"{name}={columns!r} must be a column name or a list of them")
    if len(set(listed)) < len(listed):
        raise ArgumentError(f"{name}={columns!r} names a column twice")
    return list(listed)


def _compute_of(is_class: bool, concurrency: Any, name: str) -> ComputeStrategy:
    if concurrency is None:
        return ActorPoolStrategy(min_size=1) if is_class else TaskPoolStrategy()
    is_bounds = isinstance(concurrency, tuple) and len(concurrency) in (2, 3)
    sizes = concurrency if is_bounds else (concurrency,)
    if not all(is_count(size) for size in sizes):
        raise ArgumentError(
            f"concurrency={concurrency!r} must be a whole number of at least 1, "
            "or (min, max), or (min, max, initial)"
        )
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
    if not isinstance(compute, (TaskPoolStrategy, ActorPoolStrategy)):
        raise ArgumentError(f"compute={compute!r} must be a TaskPoolStrategy or ActorPoolStrategy")
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
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise ArgumentError(f"{name}={value!r} must be a number of at least 0")
    if 0 < value < _AMOUNT_MIN:
        raise ArgumentError(f"{name}={value!r} must be 0 or at least {_AMOUNT_MIN}")
    return float(value)


def _custom(resources: Any) -> dict[str, float]:
    if not isinstance(resources, Mapping) or not all(isinstance(key, str) for key in resources):
        raise ArgumentError(f"resources={resources!r} must be a dict of amounts by name")
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


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (Mapping, str, bytes))


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


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
