"""What the planner changes about a plan: columns are read only if wanted, equal shapes fuse.

Owns the rules. Knows nothing of the core or of backends.

Two neighbours fuse into one operator when

- both run on tasks, with the same resources and the same limit of tasks at a time; or the first
  runs on tasks and the second on actors, with the same resources, and the pool's maximum is the
  first one's limit (none: no maximum). Actors never fuse with what follows: a loaded model stays
  alone. A source never moves into a pool.
- the second does not want batches of a certain size when the first may change the number of rows
  (a read, `filter`, `flat_map`): its blocks are then bundled until a batch is full.

Limits, unions and zips fuse with nothing. The first half of an exchange, which deals rows out,
fuses with what comes before it, and the second with what follows, if they are tasks of its kind. No
more than `STEPS_MAX` steps become one operator.

Every row has every column, where the plan knows them all: what a source or an input of a union
leaves out is null there, before anything else sees it. That is a step of the operator that reads
or makes the rows, whatever that is, and has no name of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import and_
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.transforms import Complete, MapBatches, SelectColumns, Transform
from millstream.compute import ACTORS_UNBOUNDED, ActorPoolStrategy, TaskPoolStrategy
from millstream.io.source import ReadUnit
from millstream.plan import logical
from millstream.plan.columns import DropColumns, RenameColumns
from millstream.plan.expressions import FilterExpression, WithColumns
from millstream.plan.logical import (
    Exchange,
    Limit,
    LogicalPlan,
    Map,
    Phase,
    Read,
    Shape,
    Union,
    Zip,
)
from millstream.plan.physical import BLOCK_BYTES_MAX, PhysicalOp, PhysicalPlan
from millstream.plan.placing import is_placed, placed
from millstream.plan.resources import Resources
from millstream.plan.sampling import Draws, RandomSample
from millstream.plan.stage import Stage
from millstream.plan.units import FilteredUnit, with_units


@dataclass(frozen=True)
class Scatter:
    """The first half of an exchange: its rows are dealt out."""

    exchange: Exchange

    @property
    def name(self) -> str:
        """What plans call it."""
        return f"Scatter({self.exchange.name})"


@dataclass(frozen=True)
class Gather:
    """The second half: each partition is worked on as a whole."""

    exchange: Exchange

    @property
    def name(self) -> str:
        """What plans call it."""
        return self.exchange.name


Operator = Read | Map | Limit | Union | Zip | Scatter | Gather


def optimize(plan: LogicalPlan) -> LogicalPlan:
    """The same rows, read with less work: choices of rows and of columns move into the read."""
    optimized: LogicalPlan = plan.fold(partial(_optimized, Draws()))
    return optimized


def _optimized(draws: Draws, plan: LogicalPlan, inputs: list[LogicalPlan]) -> LogicalPlan:
    start, operators = plan.start, plan.operators
    if isinstance(start, Union) and not start.is_mixed:
        inputs = _alike(inputs)
    if not isinstance(start, Read):
        return LogicalPlan(replace(start, inputs=tuple(inputs)), operators)
    start, operators, told = _filters_read(start, operators)
    (samples, operators), *more = _parts(operators)
    source, name = start.source, start.source.name
    while operators and isinstance(operators[0], Map) and source.with_columns is not None:
        transform = operators[0].transform
        if not isinstance(transform, SelectColumns) or operators[0].shape != start.shape:
            break
        source = replace(source.with_columns(transform.columns), name=name)
        operators = operators[1:]
    if told is not None:
        source = with_units(source, partial(_filtered, told))
    source = draws.applied(source, samples)
    drawn = len(samples)
    for samples_after, following in more:
        source = draws.applied(placed(source, operators), samples_after, drawn)
        drawn += len(samples_after)
        operators = following
    return LogicalPlan(replace(start, source=source), operators)


def _parts(
    operators: Iterable[logical.Operator],
) -> list[tuple[list[RandomSample], tuple[logical.Operator, ...]]]:
    """The operators in parts, each with the draws that are done before it.

    All but the last end with values by place. A draw moves to the beginning of its part: past such
    values it would give rows other ones.
    """
    parts: list[tuple[list[RandomSample], list[logical.Operator]]] = [([], [])]
    for each in operators:
        if isinstance(each, Map) and isinstance(each.transform, RandomSample):
            parts[-1][0].append(each.transform)
            continue
        parts[-1][1].append(each)
        if is_placed(each):
            parts.append(([], []))
    return [(samples, tuple(following)) for samples, following in parts]


def _filtered(told: str, unit: ReadUnit, place: int) -> ReadUnit:
    return FilteredUnit(unit, told)


def _filters_read(
    start: Read, operators: tuple[logical.Operator, ...]
) -> tuple[Read, tuple[logical.Operator, ...], str | None]:
    """Moves filters into the read, past operators that only choose, name and make columns.

    The first one may be any that Arrow computes. Those after it see fewer rows, and so do columns
    that a filter moves past: these must have a value for every row, so that nobody can tell.

    Returns:
        The read, the operators that are left, and what errors call the filter, if there is one.
    """
    source, schema, left = start.source, start.source.schema, list(operators)
    passed: list[Map] = []
    conditions: list[Any] = []
    names: list[str] = []
    told: str | None = None
    while left and schema is not None and source.with_filter is not None:
        operator = left[0]
        if not isinstance(operator, Map) or operator.shape != start.shape:
            break
        transform = operator.transform
        if isinstance(transform, FilterExpression):
            before = _before(transform, passed)
            condition = None if before is None else before.condition(schema)
            is_first = not conditions or (before is not None and before.never_fails(schema))
            if before is None or condition is None or not is_first:
                break
            conditions.append(condition)
            names.append(f".{before.name.lower()}")
            told = told or repr(transform.expression)
        elif _can_be_passed(transform, passed, schema):
            passed.append(operator)
        else:
            break
        del left[0]
    if not conditions or source.with_filter is None:
        return start, operators, None
    source = source.with_filter(reduce(and_, conditions))
    source = replace(source, name=start.source.name + "".join(names))
    return replace(start, source=source), (*passed, *left), told


def _can_be_passed(transform: Transform, passed: list[Map], schema: pa.Schema) -> bool:
    """Whether rows may be left out before an operator, and nothing else would be another."""
    if isinstance(transform, WithColumns):
        for operator in passed:
            columns = operator.columns
            schema = schema if columns is None else columns(schema)
        return transform.never_fails(schema)
    return isinstance(transform, SelectColumns | DropColumns | RenameColumns)


def _before(transform: FilterExpression, passed: list[Map]) -> FilterExpression | None:
    """The filter as it is before what it passes; `None` if it cannot be there."""
    for operator in reversed(passed):
        made = operator.transform
        names: Mapping[str, str] = {}
        if isinstance(made, RenameColumns):
            if not isinstance(made.names, Mapping):
                return None
            names = {new: old for old, new in made.names.items()}
        elif isinstance(made, WithColumns):
            same = made.same
            if set(transform.columns) & ({name for name, _ in made.columns} - set(same)):
                return None
            names = same
        transform = transform.of_renamed(names)
    return transform


def _alike(inputs: list[LogicalPlan]) -> list[LogicalPlan]:
    """The inputs of a union, each with the columns of all, if they are known."""
    schemas = [schema for plan in inputs if (schema := plan.schema()) is not None]
    if len(schemas) < len(inputs):
        return inputs
    schema = block.unify_schemas(schemas)
    pairs = zip(inputs, schemas, strict=True)
    return [
        plan if own.names == schema.names else _with_all_columns(plan, schema)
        for plan, own in pairs
    ]


def _with_all_columns(plan: LogicalPlan, schema: pa.Schema) -> LogicalPlan:
    """The plan with further columns, of nulls, made where its rows are."""
    operators = list(plan.operators)
    place = len(operators)
    while place and isinstance(operators[place - 1], Limit):
        place -= 1
    maker = operators[place - 1] if place else plan.start
    shape = maker.shape if isinstance(maker, Read | Map | Exchange) else Shape()
    complete = Complete(schema, maker.name)
    added = Map(complete, shape, columns=partial(_completed_schema, schema))
    return replace(plan, operators=(*operators[:place], added, *operators[place:]))


def _completed_schema(known: pa.Schema, found: pa.Schema) -> pa.Schema:
    fields = [found.field(f.name) if f.name in found.names else f for f in known]
    return pa.schema(fields)


def fuse(plan: LogicalPlan) -> list[list[Operator]]:
    """The plan's own operators in groups, each of which runs in one worker."""
    assert not isinstance(plan.start, Phase), "phases have been planned"  # noqa: S101
    groups: list[list[Operator]] = [[plan.start]]
    for operator in _halves(plan.operators):
        if _fuses(groups[-1], operator):
            groups[-1].append(operator)
        else:
            groups.append([operator])
    return groups


def _halves(operators: Iterable[logical.Operator]) -> Iterator[Operator]:
    """The operators, with both halves of exchanges."""
    for operator in operators:
        if isinstance(operator, Exchange):
            yield Scatter(operator)
            yield Gather(operator)
        else:
            yield operator


def to_physical(plan: LogicalPlan, block_bytes_target: int = BLOCK_BYTES_MAX) -> PhysicalPlan:
    """The plan as it runs, after all rules."""
    plan = plan.assumed()
    ops: list[PhysicalOp] = []
    _add(ops, optimize(plan), block_bytes_target)
    writes = any(isinstance(each, Map) and each.writes for each in plan.operators)
    if any(read.is_divided for read in plan.reads()) or _needs_pieces(plan):
        ops = [_in_pieces(op) for op in ops]
    return PhysicalPlan(ops, writes)


def _add(ops: list[PhysicalOp], plan: LogicalPlan, block_bytes_target: int) -> None:
    """Adds the operators of a plan, after those of its inputs, however deep these lie."""
    last_ones: list[int] = []
    left = [(plan, False)]
    while left:
        each, has_inputs = left.pop()
        if not has_inputs:
            left.append((each, True))
            left += [(below, False) for below in reversed(each.inputs)]
            continue
        first = len(last_ones) - len(each.inputs)
        inputs = tuple(last_ones[first:])
        for group in fuse(each):
            ops.append(replace(_physical(group, block_bytes_target), inputs=inputs))
            inputs = (len(ops) - 1,)
        last_ones[first:] = inputs


def _in_pieces(op: PhysicalOp) -> PhysicalOp:
    if op.kind == "gather":
        return op
    return replace(op, stage=replace(op.stage, piece_rows=op.bundle_rows_min))


def _needs_pieces(plan: LogicalPlan) -> bool:
    """Whether an exchange wants blocks that do not depend on how tasks came about."""
    operators = [operator for each in plan.all() for operator in each.operators]
    exchanges = [each for each in operators if isinstance(each, Exchange)]
    return any(each.is_divided or each.is_repeatable for each in exchanges)


def _keeps_rows(maps: list[Map]) -> tuple[bool, bool]:
    """Whether a source probably puts out as many rows as it reads, and whether it surely does."""
    certain = all(each.keeps_rows for each in maps)
    return not any(each.changes_rows or each.writes for each in maps), certain


def _fuses(group: list[Operator], operator: Operator) -> bool:
    last = group[-1]
    if isinstance(operator, Scatter) and isinstance(last, Map):
        # A source stays one, and so does the other half of an exchange.
        return isinstance(group[0], Map) and last.shape == operator.exchange.shape
    if isinstance(operator, Map) and isinstance(last, Gather):
        is_plain = not operator.writes and not operator.batch_rows
        return is_plain and operator.shape == last.exchange.shape
    if not isinstance(operator, Map) or not isinstance(last, (Read, Map)):
        return False
    if isinstance(group[0], Gather) and operator.writes:
        return False
    if _is_hidden(operator):
        return True
    if len(group) >= STEPS_MAX:
        return False
    first, second = last.shape, operator.shape
    if not first.same_resources(second) or isinstance(first.compute, ActorPoolStrategy):
        return False
    if isinstance(second.compute, ActorPoolStrategy):
        wide = second.compute.max_size
        if isinstance(group[0], Read | Gather) or first.compute.size != wide:
            return False
    elif first.compute.size != second.compute.size:
        return False
    return operator.batch_rows is None or not any(map(_changes_rows, group))


def _is_hidden(operator: Map) -> bool:
    """Whether it is a step that nobody asked for."""
    return isinstance(operator.transform, Complete)


def _changes_rows(operator: Operator) -> bool:
    return not isinstance(operator, Map) or operator.changes_rows


def _takes_any_batch(operator: Map) -> bool:
    """Whether nobody has said how many rows a call of it gets. It may take long; so may a file."""
    transform = operator.transform
    takes_any = isinstance(transform, MapBatches) and transform.batch_size is None
    return takes_any or operator.writes


def _physical(group: list[Operator], block_bytes_target: int) -> PhysicalOp:
    named = [each for each in group if not (isinstance(each, Map) and _is_hidden(each))]
    name = "->".join(operator.name for operator in named or group)
    first, last = group[0], group[-1]
    maps = [operator for operator in group if isinstance(operator, Map)]
    transforms = tuple(operator.transform for operator in maps)
    if isinstance(first, Read) and first.source.schema is not None and first.source.schema.names:
        transforms = (Complete(first.source.schema, first.name), *transforms)
    stage = Stage(name, transforms, block_bytes_target)
    if isinstance(last, Limit):
        return PhysicalOp(name, "limit", stage, limit_rows=last.rows, resources=Resources(cpu=0))
    if isinstance(last, Union):
        return PhysicalOp(name, "union", stage, resources=Resources(cpu=0))
    if isinstance(last, Zip):
        return PhysicalOp(name, "zip", stage)
    if isinstance(last, Scatter):
        return _scatter(name, transforms, last.exchange, block_bytes_target)
    if isinstance(first, Gather):
        return _gather(name, transforms, first.exchange, block_bytes_target)
    assert isinstance(last, Read | Map)  # noqa: S101 - all others have been dealt with
    shape = last.shape
    op = PhysicalOp(
        name=name,
        kind="sink" if any(operator.writes for operator in maps) else "tasks",
        stage=stage,
        resources=shape.resources,
        ray_remote_args=shape.remote_args,
        bundle_rows_min=max((operator.batch_rows or 0 for operator in maps), default=0),
    )
    if isinstance(first, Read):
        rows_min = 0 if any(map(_takes_any_batch, maps)) else 1
        op = replace(op, kind="source", units=first.source.units, bundle_rows_min=rows_min)
        keeps_rows, is_certain = _keeps_rows(maps)
        if keeps_rows:
            op = replace(op, rows_out=first.source.rows, is_rows_out_certain=is_certain)
    return _with_compute(op, shape)


def _scatter(
    name: str, transforms: tuple[Transform, ...], exchange: Exchange, block_bytes_target: int
) -> PhysicalOp:
    before = () if exchange.before is None else (exchange.before,)
    stage = Stage(
        name, (*transforms, *before), block_bytes_target, partitioner=exchange.partitioner
    )
    op = PhysicalOp(
        name,
        "scatter",
        stage,
        partitions=exchange.partitioner.partitions,
        resources=exchange.shape.resources,
        ray_remote_args=exchange.shape.remote_args,
    )
    return _with_compute(op, exchange.shape)


def _gather(
    name: str, transforms: tuple[Transform, ...], exchange: Exchange, block_bytes_target: int
) -> PhysicalOp:
    target = _WHOLE if exchange.is_divided else block_bytes_target
    op = PhysicalOp(
        name,
        "gather",
        Stage(name, (exchange.gather, *transforms), target),
        resources=exchange.shape.resources,
        ray_remote_args=exchange.shape.remote_args,
    )
    return _with_compute(op, exchange.shape)


def _with_compute(op: PhysicalOp, shape: Shape) -> PhysicalOp:
    compute = shape.compute
    if isinstance(compute, TaskPoolStrategy):
        return replace(op, concurrency_max=compute.size or 0)
    return replace(
        op,
        kind="actors",
        actors_min=compute.initial_size,
        actors_least=compute.min_size,
        actors_max=compute.max_size or ACTORS_UNBOUNDED,
        tasks_in_flight_max=compute.max_tasks_in_flight_per_actor,
    )


#: The steps of one operator pull from each other, at up to five Python calls a step; Python allows
#: a thousand, and a user's function needs some too.
STEPS_MAX = 64
#: A block of more bytes than there are.
_WHOLE = 1 << 62
