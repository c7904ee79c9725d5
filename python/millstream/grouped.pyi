# Made by tools/stubs.py of grouped.py: change that, and run `make stubs`.
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from millstream.aggregate import AggregateFn
from millstream.compute import ComputeStrategy
from millstream.context import DataContext
from millstream.dataset import Dataset
from millstream.plan.arguments import Concurrency
from millstream.plan.logical import LogicalPlan

class GroupedData:
    def __init__(
        self,
        plan: LogicalPlan,
        context: DataContext,
        keys: tuple[str, ...],
        num_partitions: int | None = None,
    ) -> None: ...
    def aggregate(self, *aggs: AggregateFn) -> Dataset: ...
    def count(self) -> Dataset: ...
    def sum(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset: ...
    def min(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset: ...
    def max(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset: ...
    def mean(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset: ...
    def std(
        self, on: str | Sequence[str] | None = None, ddof: int = 1, ignore_nulls: bool = True
    ) -> Dataset: ...
    def quantile(
        self, on: str | Sequence[str] | None = None, q: float = 0.5, ignore_nulls: bool = True
    ) -> Dataset: ...
    def unique(
        self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True
    ) -> Dataset: ...
    def first(
        self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True
    ) -> Dataset: ...
    def map_groups(
        self,
        fn: Callable[..., Any],
        *,
        batch_format: Literal["default", "numpy", "pandas", "pyarrow"] | None = "default",
        zero_copy_batch: bool = True,
        compute: ComputeStrategy | None = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset: ...

def check_keys(plan: LogicalPlan, keys: tuple[str, ...]) -> None: ...
