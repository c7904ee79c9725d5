"""The physical plan: what runs, on what, and how the core is told of it.

Owns the shape of an operator as the backends and the core see it. Knows nothing of datasets, of
user functions (they are inside the stages), or of how a backend runs anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never

from millstream import _core
from millstream.context import DataContext
from millstream.errors import PlanError, ResourcesError
from millstream.io.source import OpenUnits, ReadUnit
from millstream.plan.resources import Resources
from millstream.plan.stage import Stage

Kind = Literal[
    "source", "tasks", "sink", "actors", "limit", "union", "zip", "scatter", "gather", "split"
]


@dataclass(frozen=True)
class PhysicalOp:
    """One operator as it runs.

    Args:
        name: What people call it: `"ReadVideo->MapBatches(preprocess)"`.
        kind: Tasks over source units, tasks over blocks, tasks that write blocks and put out
            reports of it, or a pool of actors over blocks; a limit and a union, which blocks pass;
            or tasks over rows of several inputs side by side; or one half of an exchange: tasks
            that deal their rows out to partitions, or one over each partition; or, at the end, a
            split of the blocks among consumers.
        stage: What a worker does.
        inputs: The positions in the plan of the operators that it reads; None: the one before it.
        units: What a source reads; empty for the others.
        limit_rows: For a limit, how many rows; None for the others.
        partitions: For a scatter, how many; 0 for the others.
        consumers: For a split, how many; 0 for the others.
        is_equal: Whether all of these get equally many rows.
        left_out: Rows that count as none, by the number of the first and that after the last.
        resources: What one task or actor holds.
        concurrency_max: Tasks at a time; 0: as many as there is room for.
        actors_min: The smallest pool, with which it starts.
        actors_least: What the user lets the smallest pool be where that does not fit.
        actors_max: The largest pool.
        tasks_in_flight_max: Tasks that run or wait at one actor.
        bundle_rows_min: Rows that a task wants in its input; 0: any number, and what takes long may
            be a call as well as a row. Of a source it says only that.
        rows_out: The rows that it will put out, if that is known before it runs.
        is_rows_out_certain: Whether that holds whatever the user's functions do.
        ray_remote_args: Further options of the Ray task or actor; the local backend ignores them.
    """

    name: str
    kind: Kind
    stage: Stage
    inputs: tuple[int, ...] | None = None
    units: Sequence[ReadUnit] = ()
    limit_rows: int | None = None
    partitions: int = 0
    consumers: int = 0
    is_equal: bool = False
    left_out: tuple[tuple[int, int], ...] = ()
    resources: Resources = field(default_factory=Resources)
    concurrency_max: int = 0
    actors_min: int = 1
    actors_least: int = 1
    actors_max: int = 1
    tasks_in_flight_max: int = 2
    bundle_rows_min: int = 0
    rows_out: int | None = None
    is_rows_out_certain: bool = True
    ray_remote_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The operator with its kind, as plans show it: `"TaskPoolMap[MapBatches(f)]"`."""
        return f"{_TITLES.get(self.kind, 'TaskPoolMap')}[{self.name}]"

    @property
    def is_listing(self) -> bool:
        """Whether more units of a source may be listed while it is read."""
        return isinstance(self.units, OpenUnits) and self.units.is_open

    def inputs_at(self, number: int) -> tuple[int, ...]:
        """The positions of the operators that it reads, if its own is `number`."""
        if self.kind == "source":
            return ()
        return (number - 1,) if self.inputs is None else self.inputs


@dataclass(frozen=True)
class PhysicalPlan:
    """Operators that run. Each is read by one other, but the last one.

    Args:
        ops: The operators, each after those that it reads.
        writes: Whether the last one writes files, so that its output are reports of them.
    """

    ops: list[PhysicalOp]
    writes: bool = False

    def split(self, consumers: int, *, is_equal: bool, block_bytes_target: int) -> PhysicalPlan:
        """The same, with its output divided among several consumers."""
        stage = Stage("Split", (), block_bytes_target)
        last = PhysicalOp(
            "Split",
            "split",
            stage,
            resources=Resources(cpu=0),
            consumers=consumers,
            is_equal=is_equal,
        )
        return replace(self, ops=[*self.ops, last])

    def with_least_pools(self) -> PhysicalPlan:
        """The same with each pool as small as the user lets it be."""
        ops = [replace(op, actors_min=min(op.actors_min, op.actors_least)) for op in self.ops]
        return replace(self, ops=ops)

    def to_core(
        self, context: DataContext, block_bytes_target: int, epoch_units: int = 0
    ) -> _core.Plan:
        """The plan in numbers, for the scheduler.

        Args:
            context: How to run it.
            block_bytes_target: The bytes at which workers cut blocks.
            epoch_units: Units that are an epoch; 0: there are none.

        Raises:
            ResourcesError: An operator asks for more than any node could have.
            PlanError: The plan or a setting is none that the scheduler can run.
        """
        specs = [core_spec(op, number) for number, op in enumerate(self.ops)]
        # What has been sorted comes in its order, whatever else may come as it likes.
        steps = [each for op in self.ops for each in op.stage.transforms]
        is_sorted = any(getattr(each, "is_sort", False) for each in steps)
        try:
            config = _core.Config(
                execution=context.execution,
                preserve_order=context.preserve_order or is_sorted,
                block_bytes_target=block_bytes_target,
                deaths_max=context.max_task_deaths,
                strict_memory=context.execution_options.strict_memory,
                epoch_units=epoch_units,
            )
            return _core.Plan(specs, config)
        except (ValueError, OverflowError) as error:
            raise PlanError(f"the scheduler refuses the plan: {error}") from None


def block_bytes_target(context: DataContext, stores: Sequence[int]) -> int:
    """The bytes at which workers cut blocks, given each node's object-store bytes.

    A block must be small beside the store, since operators hold several at a time and each
    has a window of its own.
    """
    if context.target_max_block_size is not None:
        return context.target_max_block_size
    smallest = min(stores, default=BLOCK_BYTES_MAX * STORE_BLOCKS)
    return max(BLOCK_BYTES_MIN, min(BLOCK_BYTES_MAX, smallest // STORE_BLOCKS))


def core_spec(op: PhysicalOp, number: int) -> _core.OpSpec:
    """The operator at position `number` of a plan, in numbers, for the scheduler."""
    held = op.resources
    try:
        return _core.OpSpec(
            name=op.name,
            kind=_core_kind(op),
            inputs=op.inputs_at(number),
            cpu=held.cpu,
            gpu=held.gpu,
            custom=held.custom,
            heap_bytes=min(held.memory, _HEAP_BYTES_MAX),
            concurrency_max=op.concurrency_max,
            bundle_rows_min=op.bundle_rows_min,
        )
    except (ValueError, OverflowError) as error:
        # It asks for more than any node could have.
        raise ResourcesError(str(error), operator=op.name) from None


def _core_kind(op: PhysicalOp) -> _core.Kind:
    match op.kind:
        case "source":
            # Before they are counted: the list may go on meanwhile.
            is_open = op.is_listing
            return _core.Kind.Source([unit.nbytes for unit in op.units], is_open)
        case "tasks":
            return _core.Kind.Tasks()
        case "sink":
            return _core.Kind.Sink()
        case "actors":
            return _core.Kind.Actors(op.actors_min, op.actors_max, op.tasks_in_flight_max)
        case "limit":
            return _core.Kind.Limit(op.limit_rows or 0)
        case "union":
            return _core.Kind.Union()
        case "zip":
            return _core.Kind.Zip()
        case "scatter":
            return _core.Kind.Scatter(op.partitions)
        case "gather":
            return _core.Kind.Gather()
        case "split":
            return _core.Kind.Split(op.consumers, op.is_equal, op.left_out)
        case _:
            assert_never(op.kind)


#: What plans call operators of a kind.
_TITLES = {
    "actors": "ActorPoolMap",
    "limit": "LimitOperator",
    "union": "UnionOperator",
    "zip": "ZipOperator",
    "split": "SplitOperator",
}
#: More than any node has; a request for more is refused like one for this much.
_HEAP_BYTES_MAX = (1 << 64) - 1
#: Below this the fixed cost of a block shows.
BLOCK_BYTES_MIN = 1 << 20
#: Above this larger blocks gain nothing.
BLOCK_BYTES_MAX = 128 << 20
#: How many blocks the smallest node's store should have room for.
STORE_BLOCKS = 32
