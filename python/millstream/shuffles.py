"""Operators that bring rows of all blocks together: sort, shuffle, repartition.

Owns the public names and the checks of their arguments. `millstream.plan.sorting` owns how many
partitions there are, `millstream.blocks.gather` what is done with each.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from millstream.errors import ArgumentError
from millstream.errors.checks import check_choice, check_columns, check_count, check_flag, require
from millstream.pipeline import Pipeline
from millstream.plan.logical import Exchange, LogicalPlan, Phase, same_columns

if TYPE_CHECKING:
    from millstream.aggregate import AggregateFn
    from millstream.blocks.order import Nulls
    from millstream.dataset import Dataset
    from millstream.grouped import GroupedData


class Shuffles(Pipeline):
    """The part of a dataset that brings rows of all blocks together.

    Each of these is a barrier: what follows begins when all rows are there. They wait in the object
    store, as far as it has room, and beyond that on disk.
    """

    def sort(
        self,
        key: str | Sequence[str],
        descending: bool | Sequence[bool] = False,
        *,
        nulls: Nulls = "at_end",
    ) -> Dataset:
        """The rows in order. Equal ones stay as they were, if the order of rows is preserved.

        Where there is much to sort, some of it is read before, to see where partitions begin: what
        comes before runs twice for that part.

        Args:
            key: The column, or columns, the first the most important.
            descending: Whether the largest comes first; for all columns, or for each.
            nulls: Whether nulls come `"at_end"` or `"at_start"`, whatever the order of the others.
                NaN comes beside them.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: A column does not exist, or its values have no order.

        Example:
            >>> ms.from_items([{"x": 2}, {"x": None}, {"x": 1}]).sort("x").take_all()
            [{'x': 1}, {'x': 2}, {'x': None}]
        """
        from millstream.blocks import order
        from millstream.plan.sorting import SortStep, partitions_for

        columns = tuple(check_columns("key", key))
        require(bool(columns), "key", key, "a column, or a list of columns")
        check_choice("nulls", nulls, ("at_end", "at_start"))
        keys = order.Keys(columns, _sides(descending, len(columns)), nulls)
        schema = self._plan.schema()
        if schema is not None:
            order.check_sortable(schema, keys)
        step = SortStep(keys, partitions_for(self._plan))
        phase = Phase((self._plan,), f"Sort({', '.join(columns)})", step, columns=same_columns)
        return _dataset(self, LogicalPlan(phase))

    def random_shuffle(self, *, seed: int | None = None) -> Dataset:
        """The rows in a random order.

        Args:
            seed: The same seed gives the same order in each run, as long as the sources and
                `DataContext.target_max_block_size` are the same and the order of rows is preserved.
                `None`: each run has its own.

        Raises:
            ArgumentError: `seed` is no whole number.
        """
        from millstream.plan.shuffling import ShuffleStep
        from millstream.plan.sorting import partitions_for

        check_count("seed", seed, least=0)
        step = ShuffleStep(seed, partitions_for(self._plan))
        phase = Phase((self._plan,), "RandomShuffle", step, columns=same_columns)
        return _dataset(self, LogicalPlan(phase))

    def repartition(self, num_blocks: int, *, shuffle: bool = False) -> Dataset:
        """The same rows in another number of blocks of about as many rows each.

        Args:
            num_blocks: How many blocks. With fewer rows than that, some are empty and left out.
            shuffle: Whether rows may go anywhere. If not, they keep their order, and are kept until
                all are there.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        from millstream.blocks.gather import Joined
        from millstream.blocks.partition import InTurn
        from millstream.execution.repartition import RepartitionStep

        check_count("num_blocks", num_blocks, optional=False)
        check_flag("shuffle", shuffle)
        if not shuffle:
            step = RepartitionStep(num_blocks)
            name = f"Repartition({num_blocks})"
            return _dataset(
                self, LogicalPlan(Phase((self._plan,), name, step, columns=same_columns))
            )
        spread = InTurn(secrets.randbits(32), num_blocks)
        exchange = Exchange(
            f"Repartition({num_blocks})",
            spread,
            Joined(),
            columns=same_columns,
            keeps_rows=True,
            is_divided=True,
        )
        return _dataset(self, self._plan.then(exchange))

    def groupby(
        self, key: str | Sequence[str] | None, num_partitions: int | None = None
    ) -> GroupedData:
        """The rows in groups, by the values in some columns.

        Args:
            key: The column or columns; `None`: all rows are one group.
            num_partitions: By how many partitions the groups are exchanged; `None`: by the bytes of
                the sources.

        Raises:
            ArgumentError: An argument makes no sense.

        Example:
            >>> ds = ms.from_items([{"k": "a", "x": 1}, {"k": "b", "x": 2}, {"k": "a", "x": 3}])
            >>> ds.groupby("k").sum("x").take_all()
            [{'k': 'a', 'sum(x)': 4}, {'k': 'b', 'sum(x)': 2}]
        """
        from millstream.grouped import GroupedData

        keys = () if key is None else tuple(check_columns("key", key))
        check_count("num_partitions", num_partitions)
        return GroupedData(self._plan, self._context, keys, num_partitions)

    def aggregate(self, *aggs: AggregateFn) -> dict[str, Any]:
        """What some aggregations come to over all rows.

        Args:
            *aggs: Of `millstream.aggregate`.

        Returns:
            The values, by the names of the aggregations; without rows `None`, and 0 for numbers of
            rows.

        Raises:
            ArgumentError: There is none, or two have one name.
            SchemaError: A column does not exist, or has no such values.

        Example:
            >>> from millstream.aggregate import Max, Mean
            >>> ms.range(5).aggregate(Max("id"), Mean("id"))
            {'max(id)': 4, 'mean(id)': 2.0}
        """
        from millstream.aggregate import Count, CountDistinct

        rows = self.groupby(None).aggregate(*aggs).take_all()
        nothing = {
            each.name: 0 if isinstance(each, Count | CountDistinct) else None for each in aggs
        }
        return rows[0] if rows else nothing

    def distinct(
        self, keys: str | Sequence[str] | None = None, *, keep: Literal["first", "last"] = "first"
    ) -> Dataset:
        """One row of all whose values are equal.

        Args:
            keys: The columns that are compared; `None`: all. No lists or structs.
            keep: Which of them, in the order of the rows.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: A column does not exist, or its values cannot be compared.

        Example:
            >>> ms.from_items([{"x": 1}, {"x": 2}, {"x": 1}]).distinct().take_all()
            [{'x': 1}, {'x': 2}]
        """
        from millstream.blocks.grouping import DistinctRows
        from millstream.blocks.partition import ByHash
        from millstream.grouped import check_keys
        from millstream.plan.sorting import partitions_for

        check_choice("keep", keep, ("first", "last"))
        if keys is None:
            from millstream.dataset import Dataset

            columns = tuple(Dataset(self._plan, self._context).columns() or ())
            if not columns:
                # Rows without columns are all equal.
                return _dataset(self, self._plan).limit(1)
        else:
            columns = tuple(check_columns("keys", keys))
        require(bool(columns), "keys", keys, "a column, or a list of columns")
        check_keys(self._plan, columns)
        gather = DistinctRows(columns, keep)
        partitioner = ByHash(columns, partitions_for(self._plan))
        exchange = Exchange(gather.name, partitioner, gather, columns=same_columns)
        return _dataset(self, self._plan.then(exchange))


def _sides(descending: Any, columns: int) -> tuple[bool, ...]:
    if isinstance(descending, bool):
        return (descending,) * columns
    is_right = isinstance(descending, (list, tuple)) and len(descending) == columns
    is_right = is_right and all(isinstance(each, bool) for each in descending)
    if not is_right:
        raise ArgumentError(
            f"descending={descending!r} must be True, False, or one of them for each column of key"
        )
    return tuple(descending)


def _dataset(pipeline: Pipeline, plan: LogicalPlan) -> Dataset:
    from millstream.dataset import Dataset

    return Dataset(plan, pipeline._context)
