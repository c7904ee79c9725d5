"""What the planner changes about a plan: columns are read only if wanted, equal shapes fuse.

Owns the rules. Knows nothing of the core or of backends.

Two neighbours fuse into one operator when

- both run on tasks, with the same resources and the same limit of tasks at a time; or the first
  runs on tasks and the second on actors, with the same resources, and the pool's maximum is the
  first one's limit (none: no maximum). Actors never fuse with what follows: a loaded model stays
  alone. A source never moves into a pool.
- the second does not want batches of a certain size when the first may change the number of rows
  (a read, `filter`, `flat_map`): its blocks are then bundled until a batch is full.

Limits, unions and zips fuse with nothing. No more than `STEPS_MAX` steps become one operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from millstream.blocks.transforms import MapBatches, SelectColumns, Transform
from millstream.compute import ACTORS_UNBOUNDED, ActorPoolStrategy, TaskPoolStrategy
from millstream.plan.columns import DropColumns, RenameColumns
from millstream.plan.expressions import FilterExpression
from millstream.plan.logical import Limit, LogicalPlan, Map, Read, Shape, Union, Zip
from millstream.plan.physical import BLOCK_BYTES_MAX, PhysicalOp, PhysicalPlan
from millstream.plan.resources import Resources
from millstream.plan.stage import Stage

Operator = Read | Map | Limit | Union | Zip


def optimize(plan: LogicalPlan) -> LogicalPlan:
    """The same rows, read with less work: choices of rows and of columns move into the read."""
    return plan.fold(_optimized)


def _optimized(plan: LogicalPlan, inputs: list[LogicalPlan]) -> LogicalPlan:
    start, operators = plan.start, plan.operators
    if not isinstance(start, Read):
        return LogicalPlan(replace(start, inputs=tuple(inputs)), operators)
    start, operators = _filters_read(start, operators)
    name = start.source.name
    while operators and isinstance(operators[0], Map) and start.source.with_columns is not None:
        transform = operators[0].transform
        if not isinstance(transform, SelectColumns) or operators[0].shape != start.shape:
            break
        source = replace(start.source.with_columns(transform.columns), name=name)
        start = replace(start, source=source)
        operators = operators[1:]
    return LogicalPlan(start, operators)


def _filters_read(
    start: Read, operators: tuple[Map | Limit, ...]
) -> tuple[Read, tuple[Map | Limit, ...]]:
    """Moves filters into the read, past operators that only choose and name columns."""
    passed: list[Map] = []
    pushed: list[str] = []
    source, left = start.source, list(operators)
    while left:
        operator = left[0]
        if not isinstance(operator, Map) or operator.shape != start.shape:
            break
        chosen = _before(operator.transform, passed)
        condition = None
        if chosen and source.with_filter is not None and source.schema is not None:
            condition = chosen.condition(source.schema)
        if condition is not None and source.with_filter is not None:
            source = source.with_filter(condition)
            pushed.append(f".{chosen.name.lower()}" if chosen else "")
        elif isinstance(operator.transform, SelectColumns | DropColumns | RenameColumns):
            passed.append(operator)
        else:
            break
        del left[0]
    if not pushed:
        return start, operators
    source = replace(source, name=start.source.name + "".join(pushed))
    return replace(start, source=source), (*passed, *left)


def _before(transform: Transform, passed: list[Map]) -> FilterExpression | None:
    """The filter as it is before what it passes; `None` if it is none, or cannot."""
    if not isinstance(transform, FilterExpression):
        return None
    for operator in reversed(passed):
        if isinstance(operator.transform, RenameColumns):
            names = operator.transform.names
            if not isinstance(names, Mapping):
                return None
            transform = transform.of_renamed({new: old for old, new in names.items()})
    return transform


def fuse(plan: LogicalPlan) -> list[list[Operator]]:
    """The plan's own operators in groups, each of which runs in one worker."""
    groups: list[list[Operator]] = [[plan.start]]
    for operator in plan.operators:
        if _fuses(groups[-1], operator):
            groups[-1].append(operator)
        else:
            groups.append([operator])
    return groups


def to_physical(plan: LogicalPlan, block_bytes_target: int = BLOCK_BYTES_MAX) -> PhysicalPlan:
    """The plan as it runs, after all rules."""
    ops: list[PhysicalOp] = []
    _add(ops, optimize(plan), block_bytes_target)
    writes = any(isinstance(each, Map) and each.writes for each in plan.operators)
    if any(read.is_divided for read in plan.reads()):
        ops = [replace(op, stage=replace(op.stage, piece_rows=op.bundle_rows_min)) for op in ops]
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


def _keeps_rows(maps: list[Map]) -> tuple[bool, bool]:
    """Whether a source probably puts out as many rows as it reads, and whether it surely does."""
    certain = all(each.keeps_rows for each in maps)
    return not any(each.changes_rows or each.writes for each in maps), certain


def _fuses(group: list[Operator], operator: Operator) -> bool:
    last = group[-1]
    if len(group) == STEPS_MAX:
        return False
    if not isinstance(operator, Map) or not isinstance(last, (Read, Map)):
        return False
    first, second = last.shape, operator.shape
    if not first.same_resources(second) or isinstance(first.compute, ActorPoolStrategy):
        return False
    if isinstance(second.compute, ActorPoolStrategy):
        wide = second.compute.max_size
        if isinstance(group[0], Read) or first.compute.size != wide:
            return False
    elif first.compute.size != second.compute.size:
        return False
    return operator.batch_rows is None or not any(map(_changes_rows, group))


def _changes_rows(operator: Operator) -> bool:
    return not isinstance(operator, Map) or operator.changes_rows


def _takes_any_batch(operator: Map) -> bool:
    """Whether nobody has said how many rows a call of it gets. It may take long; so may a file."""
    transform = operator.transform
    takes_any = isinstance(transform, MapBatches) and transform.batch_size is None
    return takes_any or operator.writes


def _physical(group: list[Operator], block_bytes_target: int) -> PhysicalOp:
    name = "->".join(operator.name for operator in group)
    first, last = group[0], group[-1]
    maps = [operator for operator in group if isinstance(operator, Map)]
    transforms = tuple(operator.transform for operator in maps)
    stage = Stage(name, transforms, block_bytes_target)
    if isinstance(last, Limit):
        return PhysicalOp(name, "limit", stage, limit_rows=last.rows, resources=Resources(cpu=0))
    if isinstance(last, Union):
        return PhysicalOp(name, "union", stage, resources=Resources(cpu=0))
    if isinstance(last, Zip):
        return PhysicalOp(name, "zip", stage)
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
