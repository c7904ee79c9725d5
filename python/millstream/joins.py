"""Joins: rows of two datasets beside each other, where their keys are equal.

Owns the public name and the checks of its arguments, and when a side is small enough to go to each
worker. `millstream.blocks.join` owns which rows meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import ArgumentError
from millstream.errors.checks import check_choice, check_columns, check_count, check_kind, require
from millstream.pipeline import Pipeline
from millstream.plan.logical import Exchange, Limit, LogicalPlan, Map, Phase, Union

if TYPE_CHECKING:
    from millstream.blocks.join import JoinPlan
    from millstream.dataset import Dataset


class Joins(Pipeline):
    """The part of a dataset that brings its rows together with those of another."""

    def join(
        self,
        ds: Dataset,
        join_type: str = "inner",
        num_partitions: int | None = None,
        on: str | Sequence[str] = ("id",),
        right_on: str | Sequence[str] | None = None,
        left_suffix: str | None = None,
        right_suffix: str | None = None,
        *,
        broadcast: bool | None = None,
    ) -> Dataset:
        """The rows of this dataset and of another beside each other, where their keys are equal.

        A null equals nothing, NaN equals NaN. Keys come out once, under the names of this side.
        Rows come in the order of this side where the other is small, else by partition.

        Args:
            ds: The other, right side.
            join_type: `"inner"`, `"left_outer"`, `"right_outer"`, `"full_outer"`, `"left_semi"`,
                `"right_semi"`, `"left_anti"`, `"right_anti"`; or `"left"`, `"right"`, `"full"`,
                `"semi"`, `"anti"` for short.
            num_partitions: By how many partitions rows are exchanged; `None`: by the bytes of the
                sources.
            on: The keys.
            right_on: Those of the other side, if they have other names.
            left_suffix: Added to the names of columns of this side that the other has too.
            right_suffix: Likewise.
            broadcast: Whether the other side goes to each worker, so that the rows of this one need
                not be exchanged. `None`: if its sources are known to have no more than 32 MiB, and
                no row of it comes out on its own.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: A key does not exist, keys cannot be compared, or a column would be there
                twice; at the call, if the columns are known then.

        Example:
            >>> people = ms.from_items([{"id": 1, "name": "Ada"}, {"id": 2, "name": "Alan"}])
            >>> ms.range(3).join(people, "left").take_all()
            [{'id': 0, 'name': None}, {'id': 1, 'name': 'Ada'}, {'id': 2, 'name': 'Alan'}]
        """
        from millstream.blocks.join import KINDS, JoinPlan
        from millstream.dataset import Dataset

        check_kind("ds", ds, Dataset, optional=False)
        check_choice("join_type", join_type, tuple(KINDS))
        check_count("num_partitions", num_partitions)
        check_kind("left_suffix", left_suffix, str)
        check_kind("right_suffix", right_suffix, str)
        check_kind("broadcast", broadcast, bool)
        ours = tuple(check_columns("on", on))
        theirs = ours if right_on is None else tuple(check_columns("right_on", right_on))
        require(bool(ours), "on", on, "a column, or a list of columns")
        if len(ours) != len(theirs):
            raise ArgumentError(f"on={on!r} and right_on={right_on!r} must have as many columns")
        plan = JoinPlan(KINDS[join_type], ours, theirs, left_suffix, right_suffix)
        is_small = _goes_to_all(plan, ds._plan, broadcast)
        make = _broadcast if is_small else partial(_exchanged, partitions=num_partitions)
        return Dataset(make(plan, self._plan, ds._plan), self._context)


def _goes_to_all(plan: JoinPlan, right: LogicalPlan, broadcast: bool | None) -> bool:
    is_possible = plan.kind in ("inner", "left_outer", "left_semi", "left_anti")
    if broadcast and not is_possible:
        raise ArgumentError(
            f"broadcast=True with join_type={plan.kind!r}: rows of the right side that meet no "
            "other would come out of each task; leave broadcast out, or swap the sides"
        )
    if broadcast is not None:
        return broadcast
    sizes = [unit.nbytes for read in right.reads() for unit in read.source.units]
    return is_possible and all(sizes) and sum(sizes) <= BROADCAST_BYTES_MAX


def _broadcast(plan: JoinPlan, left: LogicalPlan, right: LogicalPlan) -> LogicalPlan:
    step = BroadcastStep(plan, right)
    schema = right.schema()
    columns = None if schema is None else partial(_joined_schema, plan, schema)
    known = left.schema()
    if known is not None and columns is not None:
        columns(known)
    name = f"Broadcast{plan.name}"
    return LogicalPlan(Phase((left,), name, step, columns=columns, keeps_rows=False))


def _exchanged(
    plan: JoinPlan, left: LogicalPlan, right: LogicalPlan, partitions: int | None
) -> LogicalPlan:
    from millstream.blocks.join import Side
    from millstream.plan.sorting import partitions_for

    schemas = left.schema(), right.schema()
    count = partitions or max(partitions_for(left), partitions_for(right))
    sides = tuple(
        each.then(Map(Side(number), columns=None)) for number, each in enumerate((left, right))
    )
    together = LogicalPlan(Union(sides, name="JoinSides", is_mixed=True))
    step = ExchangeStep(plan, schemas, count)
    if not any(plan.needs(side) and schemas[side] is None for side in (0, 1)):
        return step.assumed(together)
    return LogicalPlan(Phase((together,), plan.name, step, keeps_rows=False))


@dataclass(frozen=True)
class ExchangeStep:
    """Exchanges the rows of both sides, and joins each partition.

    Where a partition has no rows of a side, its columns must be known all the same: the first row
    is looked at for them.

    Args:
        plan: How.
        schemas: The columns of both sides, if they are known.
        partitions: By how many partitions.
    """

    plan: JoinPlan
    schemas: tuple[pa.Schema | None, pa.Schema | None]
    partitions: int

    @property
    def repeats_order(self) -> bool:
        """Not on another cluster: it depends on the partitions."""
        return False

    def planned(self, plan: LogicalPlan, run: Callable[[LogicalPlan], Any]) -> LogicalPlan:
        """The plan, whose inputs are the sides, with the join behind it."""
        left, right = (self._schema(side, plan.inputs[side], run) for side in (0, 1))
        return replace(self, schemas=(left, right)).assumed(plan)

    def _schema(
        self, side: int, plan: LogicalPlan, run: Callable[[LogicalPlan], Any]
    ) -> pa.Schema | None:
        from millstream.blocks.join import unmarked
        from millstream.execution.consume import first_rows

        if self.schemas[side] is not None or not self.plan.needs(side):
            return self.schemas[side]
        table = first_rows(run(plan.then(Limit(1))), 1)
        shown = unmarked(table) if table.num_columns else table
        return block.visible_schema(shown.schema) if shown.num_columns else None

    def assumed(self, plan: LogicalPlan) -> LogicalPlan:
        """The same, as far as the columns are known."""
        from millstream.blocks.join import ByJoinKeys, JoinedSides

        gather = JoinedSides(self.plan, self.schemas)
        dealt = ByJoinKeys(self.plan, self.partitions)
        known = _known_schema(self.plan, self.schemas)
        return plan.then(Exchange(self.plan.name, dealt, gather, schema=known))


@dataclass(frozen=True)
class BroadcastStep:
    """Runs the right side, and has each task of the left one join with all of it.

    Args:
        plan: How.
        right: The right side.
    """

    plan: JoinPlan
    right: LogicalPlan

    @property
    def repeats_order(self) -> bool:
        """Not on another cluster: it depends on the partitions."""
        return False

    def planned(self, plan: LogicalPlan, run: Callable[[LogicalPlan], Any]) -> LogicalPlan:
        """The plan with the join behind it."""
        from millstream.execution.consume import first_rows

        table = first_rows(run(self.right.planned(run)), None)
        return self._with(plan, table) if table.num_columns else self.assumed(plan)

    def assumed(self, plan: LogicalPlan) -> LogicalPlan:
        """The plan with a join with nothing."""
        schema = self.right.schema()
        nothing = self.plan.nothing(1) if schema is None else schema.empty_table()
        return self._with(plan, nothing)

    def _with(self, plan: LogicalPlan, table: pa.Table) -> LogicalPlan:
        from millstream.blocks.join import JoinedWith

        columns = partial(_joined_schema, self.plan, table.schema)
        return plan.then(Map(JoinedWith(self.plan, table), changes_rows=True, columns=columns))


def _known_schema(
    plan: JoinPlan, sides: tuple[pa.Schema | None, pa.Schema | None]
) -> pa.Schema | None:
    """The columns of a join, if those of both sides are known.

    Raises:
        SchemaError: A key does not exist, or a column would be there twice.
    """
    left, right = sides
    return None if left is None or right is None else plan.schema(left, right)


def _joined_schema(plan: JoinPlan, right: pa.Schema, left: pa.Schema) -> pa.Schema:
    return plan.schema(left, right)


#: A right side of no more bytes goes to each worker.
BROADCAST_BYTES_MAX = 32 << 20
