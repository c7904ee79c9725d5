"""What the planner changes about a plan: columns are read only if wanted, equal shapes fuse.

Owns the rules. Knows nothing of the core or of backends.

Two neighbours fuse into one operator when

- both run on tasks, with the same resources and the same limit of tasks at a time; or the first
  runs on tasks and the second on actors, with the same resources, and the pool's maximum is the
  first one's limit (none: no maximum). Actors never fuse with what follows: a loaded model stays
  alone. A source never moves into a pool.
- the second does not want batches of a certain size when the first may change the number of rows
  (a read, `filter`, `flat_map`): its blocks are then bundled until a batch is full.
"""

from __future__ import annotations

from dataclasses import replace

from millstream.blocks.transforms import MapRows, SelectColumns
from millstream.compute import ACTORS_UNBOUNDED, ActorPoolStrategy, TaskPoolStrategy
from millstream.plan.logical import LogicalPlan, Map, Read, Shape
from millstream.plan.physical import BLOCK_BYTES_MAX, PhysicalOp, PhysicalPlan
from millstream.run.worker import Stage


def optimize(plan: LogicalPlan) -> LogicalPlan:
    """The same rows, read with less work: a selection of columns moves into the read."""
    read, maps = plan.read, plan.maps
    while maps and isinstance(maps[0].transform, SelectColumns) and maps[0].shape == read.shape:
        if read.source.with_columns is None:
            break
        source = read.source.with_columns(maps[0].transform.columns)
        read, maps = replace(read, source=source), maps[1:]
    return LogicalPlan(read, maps)


def fuse(plan: LogicalPlan) -> list[list[Read | Map]]:
    """The operators in groups, each of which runs in one worker."""
    groups: list[list[Read | Map]] = [[plan.read]]
    for operator in plan.maps:
        if _fuses(groups[-1], operator):
            groups[-1].append(operator)
        else:
            groups.append([operator])
    return groups


def to_physical(plan: LogicalPlan, block_bytes_target: int = BLOCK_BYTES_MAX) -> PhysicalPlan:
    """The plan as it runs, after all rules."""
    optimized = optimize(plan)
    groups = fuse(optimized)
    ops = [_physical(group, block_bytes_target) for group in groups]
    keeps_rows, is_certain = _keeps_rows(groups[0])
    if keeps_rows:
        rows = optimized.read.source.rows
        ops[0] = replace(ops[0], rows_out=rows, is_rows_out_certain=is_certain)
    writes = any(operator.writes for operator in plan.maps)
    return PhysicalPlan(ops, writes, bundles=not plan.read.is_divided)


def _keeps_rows(group: list[Read | Map]) -> tuple[bool, bool]:
    """Whether a source probably puts out as many rows as it reads, and whether it surely does."""
    maps = [operator for operator in group if isinstance(operator, Map)]
    certain = [isinstance(each.transform, MapRows) or each.columns is not None for each in maps]
    return not any(each.changes_rows or each.writes for each in maps), all(certain)


def _fuses(group: list[Read | Map], operator: Map) -> bool:
    first, second = group[-1].shape, operator.shape
    if not first.same_resources(second) or isinstance(first.compute, ActorPoolStrategy):
        return False
    if isinstance(second.compute, ActorPoolStrategy):
        wide = second.compute.max_size
        if isinstance(group[0], Read) or first.compute.size != wide:
            return False
    elif first.compute.size != second.compute.size:
        return False
    return operator.batch_rows is None or not any(map(_changes_rows, group))


def _changes_rows(operator: Read | Map) -> bool:
    return isinstance(operator, Read) or operator.changes_rows


def _physical(group: list[Read | Map], block_bytes_target: int) -> PhysicalOp:
    name = "->".join(operator.name for operator in group)
    maps = [operator for operator in group if isinstance(operator, Map)]
    transforms = tuple(operator.transform for operator in maps)
    shape = group[-1].shape
    op = PhysicalOp(
        name=name,
        kind="tasks",
        stage=Stage(name, transforms, block_bytes_target),
        cpu=shape.cpu,
        gpu=shape.gpu,
        custom=shape.custom,
        ray_remote_args=shape.remote_args,
        bundle_rows_min=max((operator.batch_rows or 0 for operator in maps), default=0),
    )
    if isinstance(group[0], Read):
        op = replace(op, kind="source", units=group[0].source.units, bundle_rows_min=0)
    return _with_compute(op, shape)


def _with_compute(op: PhysicalOp, shape: Shape) -> PhysicalOp:
    compute = shape.compute
    if isinstance(compute, TaskPoolStrategy):
        return replace(op, concurrency_max=compute.size or 0)
    return replace(
        op,
        kind="actors",
        actors_min=compute.initial_size,
        actors_max=compute.max_size or ACTORS_UNBOUNDED,
        tasks_in_flight_max=compute.max_tasks_in_flight_per_actor,
    )
