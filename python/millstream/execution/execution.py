"""From a logical plan to a run.

Owns the order of things: rules, nodes, physical plan, scheduler, backend, run, watch. Knows
nothing of what a backend does.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from millstream import _core
from millstream.context import DataContext, ExecutionResources
from millstream.errors import ArgumentError, RunStoppedError
from millstream.execution.origin import Origin, begin
from millstream.execution.refusal import refused
from millstream.feed.progress import Place, Start, fewer_rows
from millstream.observe.display import open_display
from millstream.observe.watch import Watch
from millstream.plan.logical import LogicalPlan, Map
from millstream.plan.physical import PhysicalPlan, block_bytes_target
from millstream.plan.placing import seeded
from millstream.plan.rules import to_physical
from millstream.run.driver import Outlet, Run
from millstream.run.protocol import Backend, BlockHandle


@dataclass(frozen=True)
class SplitOptions:
    """How the output of a run is divided.

    Args:
        consumers: Among how many.
        is_equal: Whether all get equally many rows.
    """

    consumers: int
    is_equal: bool = False


@dataclass(frozen=True)
class PlacedBlock:
    """A block of a split's output.

    Args:
        handle: It.
        place: Where it belongs among all rows of the dataset.
    """

    handle: BlockHandle
    place: Place


class Execution:
    """One run of a plan, and the watch over it. It has started when this is made.

    Args:
        plan: What to run.
        context: How.
        split: Among how many consumers the output is divided; `None`: there is one.
        start: What of a split's rows was had before; `None`: that is not told.

    Raises:
        ArgumentError: Workers cannot reach what it reads or writes.
        ResourcesError: No node can ever run it; nothing has been started.
        SerializationError: A function or its arguments cannot be sent to workers.
    """

    def __init__(
        self,
        plan: LogicalPlan,
        context: DataContext,
        split: SplitOptions | None = None,
        start: Start | None = None,
    ) -> None:
        started_s = time.monotonic()
        plan = seeded(plan.drawn()).planned(lambda first: Execution(first, context))
        _check_reach(plan, context)
        backend = open_backend(context)
        try:
            physical, scheduler, self._origin = _submit(plan, context, backend, split, start)
            run = Run(physical.ops, backend, scheduler, split.consumers if split else 1)
        except BaseException:
            backend.close()
            raise
        self._run = run
        self._start = start
        # The number of the row after the last that came.
        self._end = 0
        verbose = context.execution_options.verbose_progress
        display = partial(open_display, physical, operators=verbose)
        self.watch = Watch(
            physical,
            scheduler.snapshot,
            display if context.enable_progress_bars else None,
            started_s=started_s,
            notes=backend.notes,
        )
        # A run may be dropped before its first block is asked for.
        weakref.finalize(self, self.watch.end, "stopped").atexit = False

    def blocks(self) -> Iterator[BlockHandle]:
        """The blocks of the output. The run ends when this is exhausted, closed or dropped.

        Asking for the next block gives the one before back to the run's memory.

        Raises:
            RunStoppedError: `stop` was called meanwhile, or the program ended.
            MillstreamError: The run failed.
        """
        outcome = "stopped"
        try:
            for handle in self._run:
                self.watch.note_block()
                yield handle
            outcome = "finished"
        except (GeneratorExit, KeyboardInterrupt, RunStoppedError):
            raise
        except BaseException:
            outcome = "failed"
            raise
        finally:
            self._run.close()
            self.watch.end(outcome)

    def tables(self) -> Iterator[pa.Table]:
        """The data of the blocks, as `blocks` gives them."""
        for table, _ in self.sized_tables():
            yield table

    def sized_tables(self) -> Iterator[tuple[pa.Table, int]]:
        """The data of the blocks, as `blocks` gives them, each with its bytes."""
        for handle in self.blocks():
            yield handle.fetch(), handle.meta.nbytes

    def placed(self, handle: BlockHandle) -> PlacedBlock:
        """The block with its place among all rows."""
        place = self._origin.place(handle.place)
        self._end = max(self._end, place.row + handle.meta.rows)
        return PlacedBlock(handle, place)

    def check_end(self) -> None:
        """Checks at the end of a split's output that all was there that is said to have been had.

        Raises:
            ArgumentError: The dataset has fewer rows.
        """
        if self._start is not None and self._start.rows and self._start.rows[-1][1] > self._end:
            raise fewer_rows(self._start.rows[-1][1], self._end)

    @property
    def outlets(self) -> list[Outlet]:
        """Where several consumers take their blocks, each its own."""
        return self._run.outlets

    def stop(self) -> None:
        """Ends the run from any thread, and waits until nothing of it is left."""
        self._run.close()
        self.watch.end("stopped")


def open_backend(context: DataContext) -> Backend:
    """The backend that the settings name. Ray is imported for its own only.

    Raises:
        ArgumentError: Limits are set, but the backend takes none.
    """
    limits = context.execution_options.resource_limits
    if context.backend == "local":
        from millstream.run.local import LocalBackend

        store = limits.object_store_memory
        return LocalBackend(limits.cpu, limits.gpu, None if store is None else int(store))
    if limits != ExecutionResources():
        raise ArgumentError(
            f"resource_limits={limits!r} are for the local backend; on Ray, the cluster has what "
            "ray.init or `ray start` gave it"
        )
    from millstream.run.ray.backend import RayBackend

    return RayBackend(
        context.weight, context.start_timeout_s, patience_s=context.admission_timeout_s
    )


def plan_run(
    plan: LogicalPlan,
    context: DataContext,
    nodes: Sequence[_core.Node],
    split: SplitOptions | None = None,
) -> tuple[PhysicalPlan, _core.Plan]:
    """What would run on these nodes, for workers and in numbers for the scheduler.

    Raises:
        ResourcesError: An operator asks for more than any node could have.
    """
    target = block_bytes_target(context, [node.store_bytes for node in nodes])
    physical = to_physical(plan.drawn(), target)
    if split is not None:
        physical = physical.split(
            split.consumers, is_equal=split.is_equal, block_bytes_target=target
        )
    return physical, physical.to_core(context, target)


def _submit(
    plan: LogicalPlan,
    context: DataContext,
    backend: Backend,
    split: SplitOptions | None,
    start: Start | None,
) -> tuple[PhysicalPlan, _core.Scheduler, Origin]:
    physical, core_plan = plan_run(plan, context, backend.nodes(), split)
    origin = Origin()
    if start is not None:
        physical, origin = begin(physical, start)
        target = block_bytes_target(context, [node.store_bytes for node in backend.nodes()])
        core_plan = physical.to_core(context, target, origin.epoch_units)
    nodes = backend.open(physical.ops)
    try:
        return physical, _core.Scheduler(core_plan, nodes, trace=context.trace), origin
    except _core.SubmitError:
        # What a pool should start with may be more than there is.
        physical = physical.with_least_pools()
    target = block_bytes_target(context, [node.store_bytes for node in nodes])
    core_plan = physical.to_core(context, target, origin.epoch_units)
    try:
        return physical, _core.Scheduler(core_plan, nodes, trace=context.trace), origin
    except _core.SubmitError as error:
        raise refused(str(error), physical.ops, nodes, context, notes=backend.notes()) from None


def _check_reach(plan: LogicalPlan, context: DataContext) -> None:
    """Refuses files in the memory of this process, if workers are other processes."""
    here = [read.name for read in plan.reads() if read.source.is_of_one_process]
    maps = [operator for operator in plan.operators if isinstance(operator, Map)]
    here += [operator.name for operator in maps if operator.is_of_one_process]
    if here and context.backend != "local":
        raise ArgumentError(
            f"{here[0]} is on files in the memory of this process (memory://), which Ray's workers "
            "do not share: use files that all nodes reach, or the local backend "
            '(DataContext.get_current().backend = "local")'
        )
