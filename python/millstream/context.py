"""The settings that hold for all datasets of a process.

Owns names, defaults and checks of the settings. Knows nothing of what they switch.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from millstream.errors import ArgumentError
from millstream.errors.checks import is_number, is_sequence, is_whole, require


@dataclass
class ExecutionResources:
    """Amounts of what a cluster has; `None`: not limited.

    Args:
        cpu: CPUs.
        gpu: GPUs.
        object_store_memory: Bytes of blocks held in memory at a time.
    """

    cpu: float | None = None
    gpu: float | None = None
    object_store_memory: float | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        _check_name(self, name)
        is_right = value is None or (is_number(value) and value >= 0)
        require(is_right, name, value, "a number of at least 0, or None")
        object.__setattr__(self, name, value)


@dataclass
class ExecutionOptions:
    """How a run uses the cluster.

    Args:
        resource_limits: What the node of the local backend has; by default the CPUs and GPUs of
            this machine and a part of the memory. CPUs are shared where a plan could not run with
            so few; those that are set here are not. On Ray the cluster says it.
        preserve_order: Whether rows leave in the order of the input. On by default.
        verbose_progress: Whether the progress display has a line per operator. On by default.
        strict_memory: Whether a dataset is refused, when it is run, if the object stores have no
            room for one block of `target_max_block_size` of each operator. Off by default: it
            runs, since its blocks may be smaller; if not, it holds more than the store's limit.
    """

    resource_limits: ExecutionResources = field(default_factory=ExecutionResources)
    preserve_order: bool = True
    verbose_progress: bool = True
    strict_memory: bool = False

    def __setattr__(self, name: str, value: Any) -> None:
        _check_name(self, name)
        kind = ExecutionResources if name == "resource_limits" else bool
        require(isinstance(value, kind), name, value, f"of type {kind.__name__}")
        object.__setattr__(self, name, value)


@dataclass
class DataContext:
    """The settings of this process. A dataset keeps those of the moment it is created.

    Args:
        backend: `"ray"`: on the Ray cluster that is initialised, or a new local one; `"local"`:
            on threads of this process, without Ray. The environment variable
            `MILLSTREAM_BACKEND` sets the default.
        execution: `"streaming"`: all operators at once, in bounded memory; `"bulk"`: each
            operator finishes before the next starts, without regard to memory, for comparison.
        target_max_block_size: Bytes at which workers cut their output into blocks. `None`: a
            32nd of the smallest node's object store, between 1 MiB and 128 MiB.
        execution_options: What a run may use, and whether it keeps the order.
        max_task_deaths: A task whose worker died this many times fails the run.
        weight: Of what several runs on one Ray cluster want, in one process or in several, each
            gets in proportion to its weight; what one does not want, the others get.
        start_timeout_s: On Ray, how many seconds a run may wait for Ray to begin its tasks and
            actors while nothing of it is at work; then it is an error, which says what is missing.
            What waits is told after some seconds in any case. `None`: it waits as long as it takes.
        admission_timeout_s: On Ray, a run whose smallest pools do not fit beside those of runs that
            came before it waits for its turn. After so many seconds in which nothing goes on in
            any of those before their consumers take more, it is an error that says who holds what:
            one of those loops may wait for this very run. `None`: it waits on.
        retried_io_errors: Errors of object stores and of the web that say one of these texts are
            tried again, beside those that pass by what they are (lost connections, timeouts, HTTP
            429 and 5xx).
        prefetch_bytes: Once so many bytes of batches are ready ahead of a loop, no more are made,
            whatever `prefetch_batches` says; one always is. `None`: `prefetch_batches` alone
            decides.
        enable_progress_bars: Whether runs show their progress.
        trace: A file to which the scheduler's events and actions are written, as JSON lines.

    Raises:
        ArgumentError: A name is unknown, or a value makes no sense; at the assignment.

    Example:
        >>> import millstream as ms
        >>> ms.DataContext.get_current().backend = "local"
        >>> ms.range(3).take_all()
        [{'id': 0}, {'id': 1}, {'id': 2}]
    """

    backend: Literal["ray", "local"] = "ray"
    execution: Literal["streaming", "bulk"] = "streaming"
    target_max_block_size: int | None = None
    execution_options: ExecutionOptions = field(default_factory=ExecutionOptions)
    max_task_deaths: int = 4
    weight: int = 1
    start_timeout_s: float | None = 60.0
    admission_timeout_s: float | None = 300.0
    retried_io_errors: Sequence[str] = ()
    prefetch_bytes: int | None = 1 << 30
    enable_progress_bars: bool = True
    trace: str | None = None

    _current: ClassVar[DataContext | None] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @staticmethod
    def get_current() -> DataContext:
        """The settings of this process; changes to what it returns take effect for new datasets."""
        with DataContext._lock:
            if DataContext._current is None:
                DataContext._current = DataContext(**_from_environment())
            return DataContext._current

    @property
    def preserve_order(self) -> bool:
        """Whether rows leave in the order of the input."""
        return self.execution_options.preserve_order

    @preserve_order.setter
    def preserve_order(self, value: bool) -> None:
        self.execution_options.preserve_order = value

    def copy(self) -> DataContext:
        """The same settings, independent of these."""
        return copy.deepcopy(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "execution_options" and _is_of_ray(value):
            value = _from_ray(value, self.execution_options)
        if name != "preserve_order":
            _check_name(self, name)
            _check_setting(name, value)
        object.__setattr__(self, name, value)


_CHOICES = {"backend": ("ray", "local"), "execution": ("streaming", "bulk")}


def _check_name(settings: Any, name: str) -> None:
    known = [each.name for each in fields(settings)]
    if name not in known:
        kind = type(settings).__name__
        raise ArgumentError(f"{kind} has no setting {name!r}; it has {', '.join(known)}")


def _check_setting(name: str, value: Any) -> None:
    if name in _CHOICES:
        choices = _CHOICES[name]
        wanted = f"one of {', '.join(map(repr, choices))}"
        good = value in choices
    elif name == "enable_progress_bars":
        wanted, good = "True or False", isinstance(value, bool)
    elif name == "admission_timeout_s":
        wanted = "a number of seconds above 0, or None"
        good = value is None or (is_number(value) and value > 0)
    elif name == "retried_io_errors":
        wanted = "a list of texts"
        good = is_sequence(value) and all(isinstance(each, str) and each for each in value)
    elif name == "execution_options":
        wanted, good = "an ExecutionOptions", isinstance(value, ExecutionOptions)
    elif name == "start_timeout_s":
        wanted, good = (
            "a number above 0, or None",
            value is None or (is_number(value) and value > 0),
        )
    elif name == "trace":
        wanted, good = "a file name or None", value is None or isinstance(value, str)
    else:
        optional = name in ("target_max_block_size", "prefetch_bytes")
        wanted = "a whole number of at least 1" + (", or None" if optional else "")
        good = is_whole(value, 1) or (optional and value is None)
    require(good, f"DataContext.{name}", value, wanted)


def _is_of_ray(value: Any) -> bool:
    """Whether it is an `ExecutionOptions` of Ray Data, as Ray Train assigns it."""
    return type(value).__name__ == "ExecutionOptions" and type(value).__module__.startswith("ray.")


def _from_ray(value: Any, own: ExecutionOptions) -> ExecutionOptions:
    """What options of Ray Data change of these: they can ask for the order, no more.

    Raises:
        ArgumentError: They ask for what is not offered.
    """
    asked = {
        "exclude_resources": any(value.exclude_resources.to_resource_dict().values()),
        "label_selector": bool(value.label_selector),
    }
    wanted = [name for name, is_asked in asked.items() if is_asked]
    if wanted:
        raise ArgumentError(
            f"DataContext.execution_options: {', '.join(wanted)} of Ray Data's ExecutionOptions "
            "is not offered: leave it out"
        )
    made = copy.deepcopy(own)
    made.preserve_order = own.preserve_order or bool(value.preserve_order)
    return made


def _from_environment() -> dict[str, Any]:
    backend = os.environ.get("MILLSTREAM_BACKEND")
    return {"backend": backend} if backend else {}
