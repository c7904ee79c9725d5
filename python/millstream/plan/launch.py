"""From a logical plan to a run, and what consumers commonly want of one.

Owns the order of things: rules, nodes, physical plan, scheduler, backend, run, watch. Knows
nothing of what a backend does.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from millstream import _core
from millstream.blocks import block
from millstream.context import DataContext, ExecutionResources
from millstream.errors import ArgumentError, RunStoppedError
from millstream.io.source import ReadUnit, Source
from millstream.observe.display import open_display
from millstream.observe.watch import Watch
from millstream.plan.kept import KeptBlock
from millstream.plan.logical import LogicalPlan, Map, Read
from millstream.plan.physical import PhysicalPlan, block_bytes_target
from millstream.plan.resources import refused
from millstream.plan.rules import to_physical
from millstream.run.driver import Run, before_exit
from millstream.run.protocol import Backend, BlockHandle, OpBody

if TYPE_CHECKING:
    from millstream.io.commit import FolderCommit
    from millstream.io.parquet_sink import WriteParquet


class Execution:
    """One run of a plan, and the watch over it. It has started when this is made.

    Args:
        plan: What to run.
        context: How.

    Raises:
        ArgumentError: Workers cannot reach what it reads or writes.
        ResourcesError: No node can ever run it; nothing has been started.
        SerializationError: A function or its arguments cannot be sent to workers.
    """

    def __init__(self, plan: LogicalPlan, context: DataContext) -> None:
        started_s = time.monotonic()
        _check_reach(plan, context)
        backend = open_backend(context)
        try:
            physical, scheduler = _submit(plan, context, backend)
            run = Run(cast(list[OpBody], physical.ops), backend, scheduler)
        except BaseException:
            backend.close()
            raise
        self._run = run
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
    plan: LogicalPlan, context: DataContext, nodes: Sequence[_core.Node]
) -> tuple[PhysicalPlan, _core.Plan]:
    """What would run on these nodes, for workers and in numbers for the scheduler.

    Raises:
        ResourcesError: An operator asks for more than any node could have.
    """
    target = block_bytes_target(context, [node.store_bytes for node in nodes])
    physical = to_physical(plan.drawn(), target)
    return physical, physical.to_core(context, target)


def first_rows(execution: Execution, limit: int | None) -> pa.Table:
    """The first `limit` rows as one table (all rows: `None`); stops the run when it has them."""
    tables: list[pa.Table] = []
    rows = 0
    stream = execution.tables()
    for table in stream:
        tables.append(table)
        rows += table.num_rows
        if limit is not None and rows >= limit:
            break
    _close(stream)
    if not tables:
        return pa.table({})
    return block.concat(tables).slice(0, limit)


def count_rows(execution: Execution) -> int:
    """The number of rows; no data is moved for it."""
    return sum(handle.meta.rows for handle in execution.blocks())


def first_schema(execution: Execution) -> pa.Schema:
    """The schema of the first block that has rows; stops the run when it has one.

    Without any rows it is that of the empty blocks. Tensors have no shape in it if there are
    further blocks, which may have others.
    """
    empty = pa.schema([])
    first: pa.Schema | None = None
    stream = execution.blocks()
    for handle in stream:
        meta = handle.meta
        if first is not None and meta.rows:
            _close(stream)
            return block.without_shapes(first)
        if meta.schema is not None and meta.rows:
            first = block.visible_schema(meta.schema)
            if block.without_shapes(first).equals(first):
                _close(stream)
                return first
        if meta.schema is not None and not empty.names:
            empty = block.visible_schema(meta.schema)
    return empty if first is None else first


def keep_blocks(execution: Execution, known: pa.Schema | None) -> LogicalPlan:
    """Runs to the end and keeps all blocks where they are; gives a plan that reads them.

    Args:
        execution: The run.
        known: The columns, if they are known without it: there may be no block that tells.
    """
    handles = list(execution.blocks())
    metas = [handle.meta for handle in handles]
    told = [meta.schema for meta in metas if meta.schema is not None]
    schema = block.unify_schemas(told) if told or known is None else known
    units: list[ReadUnit] = [KeptBlock(handle, schema) for handle in handles]
    return LogicalPlan(Read(Source("Kept", units, schema, sum(meta.rows for meta in metas))))


def write(
    start: Callable[[], Execution],
    again: Callable[[Source], Execution],
    transform: WriteParquet,
    commit: FolderCommit,
    schema: pa.Schema | None,
) -> list[str]:
    """Runs a plan that ends in a write, and puts its files in place.

    Args:
        start: Starts the run.
        again: Starts a run that only writes some of the files again.
        transform: What the tasks do.
        commit: The driver's side of the write.
        schema: The columns that are written, if they are known.

    Returns:
        The paths of the files.

    Raises:
        SchemaError: A column has types that no common type holds.
        WriteError: It did not work; in either case the target is as it was before.
    """
    from millstream.io.parquet_merge import in_order

    with before_exit():
        if not commit.prepare():
            return []
        try:
            execution = start()
            reports = list(execution.tables())
            rewrites = transform.rewrites(reports)
            if rewrites:
                run = again(Source("RewriteParquet", rewrites, None, None))
                reports = in_order(reports, rewrites, list(run.tables()))
        except BaseException:
            commit.abort()
            raise
        files = commit.commit(reports, schema)
        rows = sum(sum(report["rows"].to_pylist()) for report in reports)
        execution.watch.note_written(rows, len(files))
        return files


def _submit(
    plan: LogicalPlan, context: DataContext, backend: Backend
) -> tuple[PhysicalPlan, _core.Scheduler]:
    physical, core_plan = plan_run(plan, context, backend.nodes())
    nodes = backend.open(cast(list[OpBody], physical.ops))
    try:
        return physical, _core.Scheduler(core_plan, nodes, trace=context.trace)
    except _core.SubmitError:
        # What a pool should start with may be more than there is.
        physical = physical.with_least_pools()
    target = block_bytes_target(context, [node.store_bytes for node in nodes])
    core_plan = physical.to_core(context, target)
    try:
        return physical, _core.Scheduler(core_plan, nodes, trace=context.trace)
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


def _close(stream: Iterator[object]) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()
