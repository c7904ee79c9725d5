"""A dataset in groups: what `Dataset.groupby` returns.

Owns the public names and the checks of their arguments. `millstream.aggregate` owns what groups
come to, `millstream.blocks.grouping` the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from millstream.aggregate import (
    AggregateFn,
    Count,
    First,
    Max,
    Mean,
    Min,
    Quantile,
    Std,
    Sum,
    Unique,
    check_aggregations,
)
from millstream.blocks import block
from millstream.compute import ActorPoolStrategy, TaskPoolStrategy
from millstream.errors.checks import check_columns, check_flag
from millstream.options import takes
from millstream.plan.arguments import FunctionOptions, check_batch_format
from millstream.plan.columns import select_schema
from millstream.plan.logical import Exchange, LogicalPlan

if TYPE_CHECKING:
    from millstream.blocks.partition import Partitioner
    from millstream.context import DataContext
    from millstream.dataset import Dataset


class GroupedData:
    """The rows of a dataset, by the values in some columns.

    There is one null, one NaN and one zero among keys. Groups come in the order of their keys
    within each block.

    Args:
        plan: The rows.
        context: How it runs.
        keys: The columns.
        num_partitions: By how many partitions the groups are exchanged; `None`: by the bytes of the
            sources.
    """

    def __init__(
        self,
        plan: LogicalPlan,
        context: DataContext,
        keys: tuple[str, ...],
        num_partitions: int | None = None,
    ) -> None:
        self._plan = plan
        self._context = context
        self._keys = keys
        self._num_partitions = num_partitions

    def __repr__(self) -> str:
        return f"GroupedData({self._plan.flow()}, key={list(self._keys)})"

    def aggregate(self, *aggs: AggregateFn) -> Dataset:
        """A row for each group: its keys, and what some aggregations come to.

        Args:
            *aggs: Of `millstream.aggregate`: `Count()`, `Sum("x")`, `Quantile("x", q=0.9)`.

        Raises:
            ArgumentError: There is none, or two have one name.
            SchemaError: A column does not exist, or has no such values.

        Example:
            >>> from millstream.aggregate import Max, Sum
            >>> ds = ms.from_items([{"k": 1, "x": 2}, {"k": 1, "x": 3}, {"k": 2, "x": 4}])
            >>> ds.groupby("k").aggregate(Sum("x"), Max("x")).take_all()
            [{'k': 1, 'sum(x)': 5, 'max(x)': 3}, {'k': 2, 'sum(x)': 4, 'max(x)': 4}]
        """
        from millstream.dataset import Dataset

        asked = check_aggregations(aggs, self._keys)
        return Dataset(self._plan.then(self._aggregation(asked)), self._context)

    def count(self) -> Dataset:
        """The number of rows of each group, in the column `count()`.

        Example:
            >>> ms.from_items([{"k": 1}, {"k": 1}, {"k": 2}]).groupby("k").count().take_all()
            [{'k': 1, 'count()': 2}, {'k': 2, 'count()': 1}]
        """
        return self.aggregate(Count())

    def sum(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset:
        """The sums of each group.

        Args:
            on: The column or columns; `None`: all but the keys.
            ignore_nulls: Whether nulls are left out; else one of them makes the sum null.
        """
        return self._each(Sum, on, ignore_nulls)

    def min(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset:
        """The least values of each group.

        Args:
            on: The column or columns; `None`: all but the keys.
            ignore_nulls: Whether nulls are left out; else one of them makes it null.
        """
        return self._each(Min, on, ignore_nulls)

    def max(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset:
        """The largest values of each group.

        Args:
            on: The column or columns; `None`: all but the keys.
            ignore_nulls: Whether nulls are left out; else one of them makes it null.
        """
        return self._each(Max, on, ignore_nulls)

    def mean(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset:
        """The means of each group.

        Args:
            on: The column or columns; `None`: all but the keys.
            ignore_nulls: Whether nulls are left out; else one of them makes it null.
        """
        return self._each(Mean, on, ignore_nulls)

    def std(
        self, on: str | Sequence[str] | None = None, ddof: int = 1, ignore_nulls: bool = True
    ) -> Dataset:
        """The standard deviations of each group.

        Args:
            on: The column or columns; `None`: all but the keys.
            ddof: The sum of squares is divided by the number of values less this.
            ignore_nulls: Whether nulls are left out; else one of them makes it null.
        """
        return self._each(partial(Std, ddof=ddof), on, ignore_nulls)

    def quantile(
        self, on: str | Sequence[str] | None = None, q: float = 0.5, ignore_nulls: bool = True
    ) -> Dataset:
        """A quantile of each group, interpolated between the two values next to it.

        Args:
            on: The column or columns; `None`: all but the keys.
            q: Which, from 0 to 1: 0.5 is the median.
            ignore_nulls: Whether nulls are left out; else one of them makes it null.
        """
        return self._each(partial(Quantile, q=q), on, ignore_nulls)

    def unique(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset:
        """The distinct values of each group in a list, as they first come.

        Args:
            on: The column or columns; `None`: all but the keys.
            ignore_nulls: Whether null is left out.
        """
        return self._each(Unique, on, ignore_nulls)

    def first(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Dataset:
        """The value of each group's first row.

        Args:
            on: The column or columns; `None`: all but the keys.
            ignore_nulls: Whether it is that of the first row that has one.
        """
        return self._each(First, on, ignore_nulls)

    @takes(options=FunctionOptions)
    def map_groups(
        self,
        fn: Callable[..., Any],
        *,
        batch_format: Literal["default", "numpy", "pandas", "pyarrow"] | None = "default",
        zero_copy_batch: bool = True,
        options: FunctionOptions,
    ) -> Dataset:
        """Calls `fn` with all rows of each group; it returns a batch, or yields any number of them.

        Groups run in tasks, each of which has many of them, in the order of their keys; a class is
        constructed once in each worker. The rows of a group keep their order, and must fit into
        memory together.

        Args:
            fn: Takes a batch, and returns one in any of the formats.
            batch_format: As in `map_batches`.
            zero_copy_batch: As in `map_batches`.
            options: What all operators on functions take.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: A key does not exist, or its values cannot be compared.

        Example:
            >>> ds = ms.from_items([{"k": 1, "x": 2}, {"k": 2, "x": 4}, {"k": 1, "x": 3}])
            >>> ds.groupby("k").map_groups(lambda group: {"all": [list(group["x"])]}).take_all()
            [{'all': [2, 3]}, {'all': [4]}]
        """
        from millstream.blocks.grouping import MapGroups
        from millstream.dataset import Dataset

        check_flag("zero_copy_batch", zero_copy_batch)
        function = options.function(fn)
        shape = options.shape(function)
        if isinstance(shape.compute, ActorPoolStrategy):
            shape = replace(shape, compute=TaskPoolStrategy(shape.compute.max_size))
        transform = MapGroups(
            self._keys,
            function,
            batch_format=check_batch_format(batch_format),
            zero_copy_batch=zero_copy_batch,
        )
        check_keys(self._plan, self._keys)
        exchange = Exchange(transform.name, self._partitioner(self._keys), transform, shape=shape)
        return Dataset(self._plan.then(exchange), self._context)

    def _each(self, kind: Callable[..., AggregateFn], on: Any, ignore_nulls: bool) -> Dataset:
        if on is None:
            from millstream.dataset import Dataset

            names = Dataset(self._plan, self._context).columns() or []
            columns = [name for name in names if name not in self._keys]
            if self._keys and not columns:
                return Dataset(self._plan.then(self._aggregation(())), self._context)
        else:
            columns = check_columns("on", on)
        return self.aggregate(*(kind(on=name, ignore_nulls=ignore_nulls) for name in columns))

    def _aggregation(self, asked: tuple[AggregateFn, ...]) -> Exchange:
        from millstream.blocks.grouping import Aggregated, GroupParts
        from millstream.blocks.transforms import SelectColumns

        check_keys(self._plan, self._keys)
        used = list(dict.fromkeys([*self._keys, *(each.on for each in asked if each.on)]))
        schema = self._plan.schema()
        if schema is not None:
            block.require_columns(schema, used)
            chosen = block.plain(select_schema(schema, columns=used).empty_table())
            GroupParts(self._keys, asked).of(chosen)
        is_partial = all(each.is_partial for each in asked)
        gather = Aggregated(self._keys, asked, is_partial)
        before = GroupParts(self._keys, asked) if is_partial else SelectColumns(used)
        return Exchange(gather.name, self._partitioner(self._keys), gather, before=before)

    def _partitioner(self, columns: tuple[str, ...]) -> Partitioner:
        from millstream.blocks.partition import ByHash
        from millstream.plan.sorting import OnePartition, partitions_for

        count = self._num_partitions or partitions_for(self._plan)
        return ByHash(columns, count) if columns and count > 1 else OnePartition()


def check_keys(plan: LogicalPlan, keys: tuple[str, ...]) -> None:
    """Checks the keys of groups, if the columns are known.

    Args:
        plan: The rows.
        keys: The columns.

    Raises:
        SchemaError: One does not exist, or its values cannot be compared.
    """
    from millstream.blocks.groups import Groups

    schema = plan.schema()
    if schema is not None:
        chosen = select_schema(schema, columns=list(keys))
        Groups(block.plain(chosen.empty_table()), keys)
