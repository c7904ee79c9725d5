"""Expressions that give rows values by their places: where they are computed.

Owns where such an expression may stand in a plan, and the seeds of a run. Knows nothing of how they
are computed, nor of scheduling.

A row has a place in its unit of a source: a fact that does not change when a task is repeated, when
rows that were lost are made again, or when blocks are cut elsewhere. Rows of blocks have none. So
what gives values by place is done while a unit is read, with all that comes before it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.transforms import Complete, SelectColumns, Transform
from millstream.errors import ArgumentError, MillstreamError, ReadError
from millstream.expr.drawn import Placed, Places, RandomNumbers, placed_in, with_places
from millstream.io.source import ReadUnit, Source
from millstream.plan.columns import DropColumns, RenameColumns
from millstream.plan.expressions import FilterExpression, WithColumns, classes_of
from millstream.plan.logical import LogicalPlan, Map, Operator, Read, Shape
from millstream.plan.sampling import RandomSample
from millstream.plan.units import Changed, with_units


def check_places(plan: LogicalPlan, operator: Operator) -> None:
    """Checks that rows have places where an operator would give them values by these.

    Args:
        plan: What comes before it.
        operator: The operator.

    Raises:
        ArgumentError: They have none there, or it is to run elsewhere than where they are read.
    """
    found = _placed(operator)
    if not found or not isinstance(operator, Map):
        return
    told = found[0].values.told
    for each in (*plan.operators, operator):
        if isinstance(each, Map) and classes_of(_expressions_of(each)):
            raise ArgumentError(
                f"{told} is computed where rows are read, so that {each.name} cannot have a class, "
                "which needs actors: put the values into a column before it"
            )
    if operator.shape != Shape():
        raise ArgumentError(
            f"{told} is computed where rows are read, so that {operator.name} takes no options of "
            "tasks: give them to the reader"
        )
    start = plan.start
    problem = None if isinstance(start, Read) else start.name.lower()
    for each in plan.operators:
        if not _keeps_places(each, start):
            problem = problem or each.name
    if problem is not None:
        raise ArgumentError(
            f"{told} after {problem}: a row has its value by its place in what is read, and "
            f"{problem} does not keep it; put the values into a column before, or call "
            "materialize() first"
        )


def seeded(plan: LogicalPlan) -> LogicalPlan:
    """The plan of one run, whose random numbers have a seed; the same in all its phases."""
    if not any(map(_is_without_seed, _all_placed(plan))):
        return plan
    seeds: dict[int, int] = {}

    def seed(values: Places) -> Places:
        if not isinstance(values, RandomNumbers) or values.seed is not None:
            return values
        drawn = seeds.setdefault(id(values), secrets.randbits(63))
        return replace(values, seed=drawn, is_of_run=True)

    def change(each: LogicalPlan, inputs: list[LogicalPlan]) -> LogicalPlan:
        start: Any = each.start
        if inputs:
            start = replace(start, inputs=tuple(inputs))
        return LogicalPlan(start, tuple(_changed(own, seed) for own in each.operators))

    return plan.fold(change)


def is_drawn_anew(operator: Operator) -> bool:
    """Whether it has random numbers that are others in each run."""
    return any(map(_is_without_seed, _placed(operator)))


def is_placed(operator: Operator) -> bool:
    """Whether it gives values by place."""
    return bool(_placed(operator))


def placed(source: Source, operators: Sequence[Operator]) -> Source:
    """A source whose units do some operators too.

    Args:
        source: The source.
        operators: What follows it; `check_places` has allowed it.
    """
    maps = [each for each in operators if isinstance(each, Map)]
    steps: list[Transform] = [each.transform for each in maps]
    schema = source.schema
    if schema is not None and schema.names:
        steps.insert(0, Complete(schema, source.name))
    for each in maps:
        schema = None if schema is None or each.columns is None else each.columns(schema)
    return replace(
        with_units(source, partial(_placed_unit, tuple(steps))),
        name="->".join([source.name, *(each.name for each in maps)]),
        schema=schema,
        rows=source.rows if all(each.keeps_rows for each in maps) else None,
    )


@dataclass(frozen=True)
class PlacedUnit(Changed):
    """A unit whose rows are given values by their places in it.

    Args:
        unit: The unit.
        steps: What is done to its rows.
        number: Its place among the units of the source.
    """

    steps: tuple[Transform, ...]
    number: int

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows as the steps make them."""
        with closing(_sealed(self.unit)) as tables:
            stream: Iterator[pa.Table] = tables
            for step in self.steps:
                stream = _named(step.name, _at_unit(step, self.number).open()(stream))
            yield from stream


def _placed_unit(steps: tuple[Transform, ...], unit: ReadUnit, number: int) -> ReadUnit:
    return PlacedUnit(unit, steps, number)


def _sealed(unit: ReadUnit) -> Generator[pa.Table, None, None]:
    for table in unit.read():
        yield block.plain(block.seal(table))


def _named(name: str, stream: Iterator[pa.Table]) -> Iterator[pa.Table]:
    try:
        yield from stream
    except MillstreamError as error:
        if error.operator is None and not isinstance(error, ReadError):
            error.operator = name
        raise


def _at_unit(step: Transform, number: int) -> Transform:
    if not isinstance(step, FilterExpression | WithColumns):
        return step
    return step.changed(lambda node: with_places(node, lambda each: replace(each, unit=number)))


def _changed(operator: Operator, change: Callable[[Places], Places]) -> Operator:
    if not isinstance(operator, Map) or not _placed(operator):
        return operator
    step: Any = operator.transform
    return replace(operator, transform=step.changed(lambda node: with_places(node, change)))


def _all_placed(plan: LogicalPlan) -> list[Placed]:
    operators = [operator for each in plan.all() for operator in each.operators]
    return [found for each in operators for found in _placed(each)]


def _placed(operator: Operator) -> list[Placed]:
    return placed_in(_expressions_of(operator)) if isinstance(operator, Map) else []


def _expressions_of(operator: Map) -> list[Any]:
    step = operator.transform
    return step.expressions if isinstance(step, FilterExpression | WithColumns) else []


def _is_without_seed(node: Placed) -> bool:
    return isinstance(node.values, RandomNumbers) and node.values.seed is None


def _keeps_places(operator: Operator, start: Any) -> bool:
    """Whether rows that pass it still are rows of a unit, and it can run where these are read."""
    if not isinstance(operator, Map) or not isinstance(operator.transform, _KEEPING):
        return False
    return isinstance(start, Read) and operator.shape in (Shape(), start.shape)


_KEEPING = (
    *(FilterExpression, WithColumns, SelectColumns, DropColumns, RenameColumns),
    RandomSample,
)
