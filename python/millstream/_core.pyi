"""The scheduler, written in Rust: plan in, events in, actions out.

The core decides what runs where and when. It knows no clock, no thread, no Ray and no data: time
is an argument, and blocks, tasks, actors and nodes are numbers. A driver by hand is four lines::

    scheduler = Scheduler(Plan([OpSpec(name="Read", kind=Kind.Source([0, 0]), cpu=1)], Config()),
                          [Node(node=0, cpu=2, store_bytes=1 << 30)])
    for action in scheduler.step(0, []):
        print(action)  # Action.LaunchTask(task=0, op=0, attempt=0, node=0, actor=None, ...)

and then: do what the actions say, report what happened as events, `step` again, until `is_done`.

Back-pressure is by credit. The blocks that a task hands over (`Event.BlockProduced`) may have at
most `credit` bytes in total; `Action.ResumeTask` raises that number. A worker whose next block is
larger than what is left keeps it in its own memory, not in the object store, reports it by
`Event.BlockReady` and waits. The ledger counts on exactly this.

Numbers: tasks and actors are numbered by the core, blocks and nodes by the driver; none is ever
used again. Rows and bytes are counts, times are microseconds since a start that the driver chose.
CPUs, GPUs and custom resources are floats here and multiples of 1/10000 inside, rounded to the
nearest, as in Ray.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Final, Literal, TypeAlias, final

from typing_extensions import disjoint_base

__all__ = [
    "BOTTLENECKS",
    "FAIL_CAUSES",
    "REASONS",
    "Action",
    "Arbiter",
    "Config",
    "Demand",
    "Event",
    "FarmTurns",
    "Finding",
    "Kind",
    "Node",
    "NodeSnapshot",
    "OpSnapshot",
    "OpSpec",
    "OracleError",
    "Plan",
    "ReplayError",
    "Scheduler",
    "Snapshot",
    "Standing",
    "SubmitError",
    "Times",
    "__version__",
    "build_profile",
    "describe_nodes",
    "describe_plan",
    "learn_trace",
    "measure_farm",
    "measure_live_blocks",
    "replay_trace",
    "run_seed",
    "run_swarm",
    "run_workloads",
    "run_workloads_jittered",
    "run_workloads_spread",
    "simulate",
]

__version__: Final[str]

build_profile: Final[Literal["debug", "release"]]
"""How the extension was compiled. A debug build warns on import."""

REASONS: Final[tuple[str, ...]]
"""The names of all reasons for which an operator may launch nothing (`OpSnapshot.reason`)."""

FAIL_CAUSES: Final[tuple[str, ...]]
"""The names of all causes for which a run may fail (`Action.FailRun.cause`)."""

BOTTLENECKS: Final[tuple[str, ...]]
"""The names of all that a run may have waited for most (`Finding.bottleneck`)."""

_Bottleneck: TypeAlias = Literal[
    "slow_read",
    "slow_listing",
    "cpu_short",
    "other_runs",
    "gpu_short",
    "store_full",
    "heap_full",
    "slow_consumer",
    "skewed_work",
    "slow_start",
    "slow_driver",
    "own_limit",
    "few_tasks",
    "slow_transfer",
]
_Failure: TypeAlias = Literal[
    "user_code", "worker_died", "worker_broken", "out_of_memory", "not_run", "cancelled"
]
_Cause: TypeAlias = Literal[
    "user_code",
    "actor_user_code",
    "task_deaths",
    "actor_deaths",
    "workers_broken",
    "out_of_memory",
    "block_lost",
    "no_such_partition",
    "nodes_gone",
    "rows_differ",
]

class SubmitError(ValueError):
    """The plan can never run on the nodes; the message has the arithmetic."""

class ReplayError(ValueError):
    """A trace does not replay; the message has the first difference."""

class OracleError(AssertionError):
    """A simulated run violates an invariant; the message has the seed and the world."""

@disjoint_base
class Kind:
    """What an operator is; each kind is a class of its own, for `isinstance` and `match`."""

    @final
    class Source(Kind):
        """Makes blocks out of units.

        Args:
            unit_bytes: Each unit's bytes in memory, in the order of the rows; 0: unknown. For an
                open one, those that are known at submit.
            is_open: Whether more units are listed while it is read (`Action.ExtendSource`).
        """

        __match_args__ = ("unit_bytes", "is_open")
        def __new__(cls, unit_bytes: Sequence[int], is_open: bool = False) -> Kind.Source: ...
        @property
        def unit_bytes(self) -> list[int]: ...
        @property
        def is_open(self) -> bool: ...

    @final
    class Tasks(Kind):
        """Stateless tasks."""

        __match_args__ = ()
        def __new__(cls) -> Kind.Tasks: ...

    @final
    class Actors(Kind):
        """A pool of workers with loaded state.

        Args:
            actors_min: Actors that it starts with.
            actors_max: Actors that it never exceeds.
            tasks_in_flight_max: Tasks that may be queued at or running on one actor.
        """

        __match_args__ = ("actors_min", "actors_max", "tasks_in_flight_max")
        def __new__(
            cls, actors_min: int, actors_max: int, tasks_in_flight_max: int = 2
        ) -> Kind.Actors: ...
        @property
        def actors_min(self) -> int: ...
        @property
        def actors_max(self) -> int: ...
        @property
        def tasks_in_flight_max(self) -> int: ...

    @final
    class Limit(Kind):
        """Lets the first rows pass, and ends what is above it.

        Args:
            rows: How many.
        """

        __match_args__ = ("rows",)
        def __new__(cls, rows: int) -> Kind.Limit: ...
        @property
        def rows(self) -> int: ...

    @final
    class Union(Kind):
        """Lets the blocks of its inputs pass, one input after the other."""

        __match_args__ = ()
        def __new__(cls) -> Kind.Union: ...

    @final
    class Zip(Kind):
        """Tasks over rows of all inputs side by side."""

        __match_args__ = ()
        def __new__(cls) -> Kind.Zip: ...

    @final
    class Sink(Kind):
        """The last tasks, which write and put out no more than reports of it."""

        __match_args__ = ()
        def __new__(cls) -> Kind.Sink: ...

    @final
    class Split(Kind):
        """At the end: gives each block to one of several consumers.

        Args:
            consumers: How many.
            equal: Whether all get exactly as many rows; what is left over is dropped.
        """

        __match_args__ = ("consumers", "equal")
        def __new__(cls, consumers: int, equal: bool = False) -> Kind.Split: ...
        @property
        def consumers(self) -> int: ...
        @property
        def equal(self) -> bool: ...

    @final
    class Scatter(Kind):
        """Deals its rows out to partitions.

        Args:
            partitions: How many.
        """

        __match_args__ = ("partitions",)
        def __new__(cls, partitions: int) -> Kind.Scatter: ...
        @property
        def partitions(self) -> int: ...

    @final
    class Gather(Kind):
        """Reads a scatter: has a task for each partition, once all of the scatter's have ended."""

        __match_args__ = ()
        def __new__(cls) -> Kind.Gather: ...

@final
class OpSpec:
    """One operator of a plan.

    Args:
        name: What people call it in reports and errors.
        kind: What it is.
        inputs: The positions in the plan of the operators whose blocks it consumes; none for a
            source.
        cpu: CPUs that one task holds while it runs, or one actor while it lives.
        gpu: GPUs, likewise.
        custom: Custom resources by name, likewise.
        heap_bytes: Bytes of memory beside the object store that it declares, likewise.
        concurrency_max: Tasks that may run at a time; 0: as many as there is room for.
        bundle_rows_min: Rows that a task wants as input. One with fewer is launched only when no
            more input comes. 0: any number, and nobody knows whether a call or a row of it takes
            long. A source takes units whatever it is, so of one it says only that.

    Raises:
        ValueError: An amount is negative, not a number, or smaller than 0.0001 but not 0.
    """

    def __new__(
        cls,
        *,
        name: str,
        kind: Kind,
        inputs: Sequence[int] = ...,
        cpu: float = 0.0,
        gpu: float = 0.0,
        custom: Mapping[str, float] = ...,
        heap_bytes: int = 0,
        concurrency_max: int = 0,
        bundle_rows_min: int = 0,
    ) -> OpSpec: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def inputs(self) -> list[int]: ...
    @property
    def cpu(self) -> float: ...
    @property
    def gpu(self) -> float: ...
    @property
    def custom(self) -> dict[str, float]: ...
    @property
    def heap_bytes(self) -> int: ...
    @property
    def concurrency_max(self) -> int: ...
    @property
    def bundle_rows_min(self) -> int: ...

@final
class Config:
    """The choices that hold for a whole run.

    Args:
        execution: `"streaming"` runs all operators at once within the memory of the nodes; `"bulk"`
            finishes each before the next starts, without regard to memory, for comparison.
        preserve_order: Whether blocks leave in the order of the source units.
        block_bytes_target: The size at which workers cut their output into blocks.
        task_span_target_us: Small units and blocks are bundled until a task is expected to take
            this long.
        deaths_max: A task whose worker died this many times fails the run; likewise a pool whose
            actors died this many times in a row while they were loading.
        epoch_units: Units of each source that are an epoch, which is committed
            (`Action.CommitEpoch`) when nothing is left to do for them. No task works on several.
            0: there are no epochs.
        strict_memory: Whether a plan is refused for which the nodes' stores have no room for one
            block of the target size of each operator.

    Raises:
        ValueError: An unknown `execution`.
    """

    def __new__(
        cls,
        *,
        execution: Literal["streaming", "bulk"] = "streaming",
        preserve_order: bool = True,
        block_bytes_target: int = ...,
        task_span_target_us: int = ...,
        deaths_max: int = ...,
        epoch_units: int = 0,
        strict_memory: bool = False,
    ) -> Config: ...
    @property
    def execution(self) -> Literal["streaming", "bulk"]: ...
    @property
    def preserve_order(self) -> bool: ...
    @property
    def block_bytes_target(self) -> int: ...
    @property
    def task_span_target_us(self) -> int: ...
    @property
    def deaths_max(self) -> int: ...
    @property
    def epoch_units(self) -> int: ...
    @property
    def strict_memory(self) -> bool: ...

@final
class Node:
    """A machine and what a run may use of it.

    Args:
        node: Its number, chosen by the driver and never used for another one.
        cpu: Its CPUs.
        store_bytes: The object-store bytes that the run may hold there.
        gpu: Its GPUs.
        custom: Its custom resources by name.
        heap_bytes: Its memory beside the object store; 0: unknown, and not watched.

    Raises:
        ValueError: An amount is negative, not a number, or smaller than 0.0001 but not 0.
    """

    def __new__(
        cls,
        *,
        node: int,
        cpu: float,
        store_bytes: int,
        gpu: float = 0.0,
        custom: Mapping[str, float] = ...,
        heap_bytes: int = 0,
    ) -> Node: ...
    @property
    def node(self) -> int: ...
    @property
    def cpu(self) -> float: ...
    @property
    def gpu(self) -> float: ...
    @property
    def custom(self) -> dict[str, float]: ...
    @property
    def heap_bytes(self) -> int: ...
    @property
    def store_bytes(self) -> int: ...

@final
class Plan:
    """Operators that are known to be well formed.

    Args:
        ops: The operators, in the order of the flow; the last one's blocks are the output.
        config: The choices for the run.

    Raises:
        ValueError: The operators are not one chain from a source on, or a bound makes no sense.
    """

    def __new__(cls, ops: Sequence[OpSpec], config: Config) -> Plan: ...
    @property
    def ops(self) -> list[OpSpec]: ...
    @property
    def config(self) -> Config: ...

@disjoint_base
class Event:
    """A fact that a driver reports; each kind is a class of its own, for `isinstance` and `match`.

    Every task that was launched ends in exactly one `TaskFinished` or `TaskFailed`. Events of tasks
    that have ended, or of things that never were, change nothing but `Snapshot.stale_events`.
    """

    @final
    class BlockProduced(Event):
        """A task handed over its next block, using up credit of as many bytes.

        Args:
            task: The task.
            block: The block's new number.
            rows: Its rows.
            bytes: Its bytes in the object store.
            node: Where it lies.
            partition: That of its rows, if a scatter made it.
        """

        __match_args__ = ("task", "block", "rows", "bytes", "node", "partition")
        def __new__(
            cls, task: int, block: int, rows: int, bytes: int, node: int, partition: int = 0
        ) -> Event.BlockProduced: ...
        @property
        def partition(self) -> int: ...
        @property
        def task(self) -> int: ...
        @property
        def block(self) -> int: ...
        @property
        def rows(self) -> int: ...
        @property
        def bytes(self) -> int: ...
        @property
        def node(self) -> int: ...

    @final
    class BlockReady(Event):
        """A task waits with a finished block that is larger than its credit.

        Args:
            task: The task.
            ordinal: How many blocks this attempt handed over before.
            bytes: The bytes of the block.
        """

        __match_args__ = ("task", "ordinal", "bytes")
        def __new__(cls, task: int, ordinal: int, bytes: int) -> Event.BlockReady: ...
        @property
        def task(self) -> int: ...
        @property
        def ordinal(self) -> int: ...
        @property
        def bytes(self) -> int: ...

    @final
    class TaskFinished(Event):
        """A task ended well; all its blocks have been reported before.

        Args:
            task: The task.
            busy_us: How long it worked, waiting and pauses left out.
            heap_peak_bytes: The largest resident memory of its worker.
        """

        __match_args__ = ("task", "busy_us", "heap_peak_bytes")
        def __new__(
            cls, task: int, busy_us: int, heap_peak_bytes: int = 0
        ) -> Event.TaskFinished: ...
        @property
        def task(self) -> int: ...
        @property
        def busy_us(self) -> int: ...
        @property
        def heap_peak_bytes(self) -> int: ...

    @final
    class TaskFailed(Event):
        """A task ended badly, or was cancelled.

        Args:
            task: The task.
            failure: `"user_code"`: the user's code raised, which fails the run. `"worker_died"` and
                `"out_of_memory"`: its process is gone, which counts against the task.
                `"worker_broken"`: its process
                lives but cannot work, which counts likewise, but only for the first of several
                tasks that the same actor fails; the actor is then given up. `"not_run"`:
                its actor or node went before its turn, which does not count. `"cancelled"`: the
                answer to `Action.CancelTask`.

        Raises:
            ValueError: An unknown failure.
        """

        __match_args__ = ("task", "failure")
        def __new__(cls, task: int, failure: _Failure) -> Event.TaskFailed: ...
        @property
        def task(self) -> int: ...
        @property
        def failure(self) -> _Failure: ...

    @final
    class ActorReady(Event):
        """An actor has loaded and takes tasks.

        Args:
            actor: The actor.
            node: Where it runs.
            load_us: How long it took to start and load.
        """

        __match_args__ = ("actor", "node", "load_us")
        def __new__(cls, actor: int, node: int, load_us: int) -> Event.ActorReady: ...
        @property
        def actor(self) -> int: ...
        @property
        def node(self) -> int: ...
        @property
        def load_us(self) -> int: ...

    @final
    class ActorLost(Event):
        """An actor is gone. Report it before the failures of its tasks.

        Args:
            actor: The actor.
            user_code: Whether its constructor raised, which fails the run.
            out_of_memory: Whether it was killed because the node's memory ran out.
        """

        __match_args__ = ("actor", "user_code", "out_of_memory")
        def __new__(
            cls, actor: int, user_code: bool = False, out_of_memory: bool = False
        ) -> Event.ActorLost: ...
        @property
        def actor(self) -> int: ...
        @property
        def user_code(self) -> bool: ...
        @property
        def out_of_memory(self) -> bool: ...

    @final
    class NodeJoined(Event):
        """A node can be used.

        Args:
            node: The node.
        """

        __match_args__ = ("node",)
        def __new__(cls, node: Node) -> Event.NodeJoined: ...
        @property
        def node(self) -> Node: ...

    @final
    class ShareChanged(Event):
        """The run may use no more than this of a node, which it shares with other runs.

        What it holds beyond that it keeps until it is done with it.

        Args:
            share: The node, with what the run may use of it.
        """

        __match_args__ = ("share",)
        def __new__(cls, share: Node) -> Event.ShareChanged: ...
        @property
        def share(self) -> Node: ...

    @final
    class NodeDraining(Event):
        """A node will go; it gets no new work.

        Args:
            node: Its number.
        """

        __match_args__ = ("node",)
        def __new__(cls, node: int) -> Event.NodeDraining: ...
        @property
        def node(self) -> int: ...

    @final
    class NodeLost(Event):
        """A node is gone with all that was on it.

        Args:
            node: Its number.
        """

        __match_args__ = ("node",)
        def __new__(cls, node: int) -> Event.NodeLost: ...
        @property
        def node(self) -> int: ...

    @final
    class BlockLost(Event):
        """A block is gone though its node is not.

        Of a block that the consumer was given, only the consumer says so, and then waits for
        `Action.EmitBlock` with as many rows in its place.

        Args:
            block: The block.
        """

        __match_args__ = ("block",)
        def __new__(cls, block: int) -> Event.BlockLost: ...
        @property
        def block(self) -> int: ...

    @final
    class ConsumerGone(Event):
        """One of several consumers takes nothing more; comes after all else that it reports.

        Args:
            consumer: Which.
        """

        __match_args__ = ("consumer",)
        def __new__(cls, consumer: int) -> Event.ConsumerGone: ...
        @property
        def consumer(self) -> int: ...

    @final
    class OutputTaken(Event):
        """The consumer is done with a block that it got by `Action.EmitBlock`.

        Args:
            block: The block.
        """

        __match_args__ = ("block",)
        def __new__(cls, block: int) -> Event.OutputTaken: ...
        @property
        def block(self) -> int: ...

    @final
    class TurnDelayed(Event):
        """News waited so long for this turn, since the driver was busy. Comes with the news.

        Args:
            by_us: For how long, from when the oldest of it had come.
        """

        __match_args__ = ("by_us",)
        def __new__(cls, by_us: int) -> Event.TurnDelayed: ...
        @property
        def by_us(self) -> int: ...

    @final
    class SourceExtended(Event):
        """An open source has more units. They come in order, each once.

        Args:
            op: The position of the source in the plan.
            first: How many units it had before: what comes twice changes nothing.
            unit_bytes: Each unit's bytes in memory, one at least; 0: unknown.
        """

        __match_args__ = ("op", "first", "unit_bytes")
        def __new__(
            cls, op: int, first: int, unit_bytes: Sequence[int]
        ) -> Event.SourceExtended: ...
        @property
        def op(self) -> int: ...
        @property
        def first(self) -> int: ...
        @property
        def unit_bytes(self) -> list[int]: ...

    @final
    class SourceExhausted(Event):
        """An open source has no more units than those reported.

        Args:
            op: The position of the source in the plan.
        """

        __match_args__ = ("op",)
        def __new__(cls, op: int) -> Event.SourceExhausted: ...
        @property
        def op(self) -> int: ...

    @final
    class TimePassed(Event):
        """Nothing but time."""

        __match_args__ = ()
        def __new__(cls) -> Event.TimePassed: ...

    @final
    class StopRequested(Event):
        """The run must end now: cancelled, failed, or the consumer has enough."""

        __match_args__ = ()
        def __new__(cls) -> Event.StopRequested: ...

@disjoint_base
class Action:
    """An order to the driver; each kind is a class of its own, for `isinstance` and `match`."""

    @final
    class LaunchTask(Action):
        """Run a task.

        Attributes:
            task: The number of this attempt.
            op: The position of its operator in the plan.
            attempt: 0 at first, then one more for each attempt at the same work.
            node: Where.
            actor: On which actor; None for a stateless task.
            first_unit: For a source, the first of the units to read; else None.
            unit_count: For a source, how many units; else 0.
            blocks: For any other operator, the blocks to consume, in order; else empty.
            slices: For a limit and for rows put side by side, the parts of blocks to consume, for
                each input: a block, how many of its rows come before, and how many rows; else None.
            rows_skipped: Rows of its output that an earlier attempt has handed over and this one
                must leave out.
            rows_wanted: Rows that it hands over after those, since they were lost; None: all.
            credit: Bytes that it may hand over before it must wait for `ResumeTask`.
            heap: Bytes of memory that are reserved for it, or by its actor.
        """

        __match_args__ = (
            "task",
            "op",
            "attempt",
            "node",
            "actor",
            "first_unit",
            "unit_count",
            "blocks",
            "slices",
            "rows_skipped",
            "rows_wanted",
            "credit",
            "heap",
        )
        def __new__(
            cls,
            task: int,
            op: int,
            attempt: int,
            node: int,
            actor: int | None,
            first_unit: int | None,
            unit_count: int,
            blocks: Sequence[int],
            slices: Sequence[Sequence[tuple[int, int, int]]] | None,
            rows_skipped: int,
            rows_wanted: int | None,
            credit: int,
            heap: int = 0,
        ) -> Action.LaunchTask: ...
        @property
        def task(self) -> int: ...
        @property
        def op(self) -> int: ...
        @property
        def attempt(self) -> int: ...
        @property
        def node(self) -> int: ...
        @property
        def actor(self) -> int | None: ...
        @property
        def first_unit(self) -> int | None: ...
        @property
        def unit_count(self) -> int: ...
        @property
        def blocks(self) -> list[int]: ...
        @property
        def slices(self) -> list[list[tuple[int, int, int]]] | None: ...
        @property
        def rows_skipped(self) -> int: ...
        @property
        def rows_wanted(self) -> int | None: ...
        @property
        def credit(self) -> int: ...
        @property
        def heap(self) -> int: ...

    @final
    class ResumeTask(Action):
        """Let a task hand over `credit` more bytes."""

        __match_args__ = ("task", "credit")
        def __new__(cls, task: int, credit: int) -> Action.ResumeTask: ...
        @property
        def task(self) -> int: ...
        @property
        def credit(self) -> int: ...

    @final
    class CancelTask(Action):
        """End a task; answered by `TaskFailed("cancelled")`, or by its end if it was quicker."""

        __match_args__ = ("task",)
        def __new__(cls, task: int) -> Action.CancelTask: ...
        @property
        def task(self) -> int: ...

    @final
    class StartActor(Action):
        """Start an actor of the operator `op` on `node` and load its state.

        Of the node's memory `heap` bytes are reserved for it.
        """

        __match_args__ = ("actor", "op", "node", "heap")
        def __new__(cls, actor: int, op: int, node: int, heap: int = 0) -> Action.StartActor: ...
        @property
        def actor(self) -> int: ...
        @property
        def op(self) -> int: ...
        @property
        def node(self) -> int: ...
        @property
        def heap(self) -> int: ...

    @final
    class StopActor(Action):
        """End an actor. It has no tasks, or tasks that are being cancelled. Needs no answer."""

        __match_args__ = ("actor",)
        def __new__(cls, actor: int) -> Action.StopActor: ...
        @property
        def actor(self) -> int: ...

    @final
    class EmitBlock(Action):
        """Give a block to the consumer.

        Answered by `Event.OutputTaken`, or by `Event.BlockLost` if it is gone.

        Attributes:
            block: The block.
            instead_of: The lost block whose rows, or some of them, it has; else None.
            consumer: Which consumer, where there are several; else 0.
        """

        __match_args__ = ("block", "instead_of", "consumer")
        def __new__(
            cls, block: int, instead_of: int | None = None, consumer: int = 0
        ) -> Action.EmitBlock: ...
        @property
        def block(self) -> int: ...
        @property
        def instead_of(self) -> int | None: ...
        @property
        def consumer(self) -> int: ...

    @final
    class DropBlock(Action):
        """Forget a block: nobody will ask for it again."""

        __match_args__ = ("block",)
        def __new__(cls, block: int) -> Action.DropBlock: ...
        @property
        def block(self) -> int: ...

    @final
    class ExtendSource(Action):
        """List more units of an open source.

        Answered by `Event.SourceExtended`, by several if it must, until there are as many, or by
        `Event.SourceExhausted` before. More than that may come.

        Attributes:
            op: The position of the source in the plan.
            first: The number of the first one, which is how many there are.
            units: How many.
        """

        __match_args__ = ("op", "first", "units")
        def __new__(cls, op: int, first: int, units: int) -> Action.ExtendSource: ...
        @property
        def op(self) -> int: ...
        @property
        def first(self) -> int: ...
        @property
        def units(self) -> int: ...

    @final
    class CommitEpoch(Action):
        """All that follows from the units of an epoch is written, or taken, for good.

        Comes once for each epoch, in order, and never after a stop.

        Attributes:
            epoch: The epoch: units of each source from `epoch * epoch_units` on.
        """

        __match_args__ = ("epoch",)
        def __new__(cls, epoch: int) -> Action.CommitEpoch: ...
        @property
        def epoch(self) -> int: ...

    @final
    class FailRun(Action):
        """The run cannot go on. The driver raises an error and answers `Event.StopRequested`.

        Attributes:
            op: The operator in which it happened.
            task: The task, if it was one.
            cause: Why: one of `FAIL_CAUSES`.
            details: The numbers that belong to it, by name.
        """

        __match_args__ = ("op", "task", "cause", "details")
        def __new__(
            cls, op: int, task: int | None, cause: str, details: dict[str, int | str]
        ) -> Action.FailRun: ...
        @property
        def op(self) -> int: ...
        @property
        def task(self) -> int | None: ...
        @property
        def cause(self) -> _Cause: ...
        @property
        def details(self) -> dict[str, int | str]: ...

@final
class Scheduler:
    """Decides, event by event, what runs where.

    It may be shared by threads: a snapshot asked for during a step waits for its end, and no call
    holds the GIL while Rust works.

    Args:
        plan: What to run.
        nodes: The machines to run on.
        trace: A file to which every step is written as a JSON line, for `millstream.sim`.

    Raises:
        SubmitError: The plan can never run on these nodes.
        OSError: The trace cannot be written.
    """

    def __new__(
        cls, plan: Plan, nodes: Sequence[Node], *, trace: str | PathLike[str] | None = None
    ) -> Scheduler: ...
    def step(self, now_us: int, events: Sequence[Event]) -> list[Action]:
        """Takes what has happened and answers what to do now, in order.

        Args:
            now_us: The time, never less than at the last call.
            events: What has happened since; empty if nothing but time has passed.

        Returns:
            The orders. The same plan, nodes and steps give the same orders.

        Raises:
            OSError: The trace cannot be written.
        """
    def next_wakeup(self) -> int | None:
        """The time at which to step even if nothing happens, if any."""
    def is_done(self) -> bool:
        """Whether nothing is left to run, to deliver or to cancel."""
    def run_demand(self) -> Demand:
        """What the run holds, goes by and wants, for an `Arbiter` of several runs.

        Costs time in proportion to operators and nodes, not to blocks.
        """

    def snapshot(self) -> Snapshot:
        """The state of the run. Costs time in proportion to operators and nodes, not to blocks."""

@final
class Snapshot:
    """A run at a moment: all that progress, statistics and reports read."""

    @property
    def ops(self) -> list[OpSnapshot]:
        """The operators, in the order of the flow."""
    @property
    def nodes(self) -> list[NodeSnapshot]:
        """The nodes, by number."""
    @property
    def stale_events(self) -> int:
        """Events of dead attempts and unknown things, which changed nothing."""
    @property
    def overshoots(self) -> int:
        """Launches and resumptions let past the memory limit, since nothing else could run."""
    @property
    def heap_overshoots(self) -> int:
        """Workers started with less memory than they are thought to need, for the same reason."""
    @property
    def bytes_set_aside(self) -> int:
        """Bytes ever set aside at the barrier of an exchange, beyond what the stores hold."""
    @property
    def output_rows(self) -> int:
        """Rows given to the consumer."""
    @property
    def output_blocks(self) -> int:
        """Blocks given to the consumer."""
    @property
    def consumer_rows(self) -> list[int]:
        """Rows that each of several consumers was given, or is meant to get; else nothing."""
    @property
    def rows_dropped(self) -> int:
        """Rows that none of several consumers got, or that one had not taken when it went."""
    @property
    def epochs_committed(self) -> int:
        """Epochs that were committed."""
    @property
    def output_bytes(self) -> int:
        """Bytes that wait for or are with the consumer."""
    @property
    def blocks(self) -> int:
        """Blocks that exist."""
    @property
    def elapsed_us(self) -> int:
        """How long the run has gone on, up to the last event."""
    @property
    def cpu_times(self) -> Times:
        """The time of all CPUs, free ones too, in CPU-seconds."""
    @property
    def gpu_times(self) -> Times:
        """The time of all GPUs, free ones too, in GPU-seconds."""
    @property
    def driver_delay_us(self) -> int:
        """For how long news waited for the driver."""
    @property
    def bottleneck(self) -> Finding | None:
        """What the run waited for most so far; None before any time has passed."""

@final
class Times:
    """Time by what it went to, in seconds of workers, CPUs or GPUs.

    The parts add up to the whole. A free CPU or GPU waits for what holds the operators that could
    use it: of several, memory first, then the output, then input.
    """

    @property
    def compute_s(self) -> float:
        """Work, as finished tasks report it, and all that tasks under way do while not paused."""
    @property
    def input_wait_s(self) -> float:
        """There was nothing to work on."""
    @property
    def output_blocked_s(self) -> float:
        """A block could not be handed over, or the store was full of blocks for the consumer."""
    @property
    def memory_held_s(self) -> float:
        """There was work, but no room for what it would put out."""
    @property
    def starting_s(self) -> float:
        """A task was ordered and not at work yet, or through and not noticed yet."""
    @property
    def loading_s(self) -> float:
        """An actor started and loaded its state."""
    @property
    def transfer_s(self) -> float:
        """The same as starting, of tasks whose input lay on other nodes."""
    @property
    def idle_s(self) -> float:
        """No operator wanted the worker."""
    @property
    def total_s(self) -> float:
        """All of it."""

@final
class Finding:
    """What a run waited for most.

    Attributes:
        bottleneck: What.
        op: The operator that it is about; None where it is the driver or the consumer.
        share: For how much of the run's time, between 0 and 1.
    """

    @property
    def bottleneck(self) -> _Bottleneck: ...
    @property
    def op(self) -> int | None: ...
    @property
    def share(self) -> float: ...

@final
class Demand:
    """What a run holds, goes by and wants.

    Args:
        held: What its tasks, actors and blocks hold, by node.
        shares: What it goes by: its share of each node; all of it as long as it was told none.
        wanted: What one more task would ask for, of each resource the most; nothing if it wants
            none. The number of this node means nothing.
        seats: The actors of the smallest sizes of its pools: what each asks for, and the node where
            it is, if it has started. They are the run's own as long as it runs.
        tasks: What a task of each operator without a pool asks for. One of them at a time must have
            a place beside all seats of all runs.
        task_wanted: What its next task asks for; `None` if it would start none though it had the
            slots.
        nodes_wanted: The nodes where it would start that task if it had the slots there; none: at
            any.
        is_at_rest: Whether nothing goes on in it before its consumer takes what it was given.
    """

    def __new__(
        cls,
        *,
        held: Sequence[Node],
        shares: Sequence[Node],
        wanted: Node,
        seats: Sequence[tuple[Node, int | None]] = ...,
        tasks: Sequence[Node] = ...,
        task_wanted: Node | None = None,
        nodes_wanted: Sequence[int] = ...,
        is_at_rest: bool = False,
    ) -> Demand: ...
    @property
    def held(self) -> list[Node]: ...
    @property
    def shares(self) -> list[Node]: ...
    @property
    def wanted(self) -> Node: ...
    @property
    def seats(self) -> list[tuple[Node, int | None]]: ...
    @property
    def tasks(self) -> list[Node]: ...
    @property
    def task_wanted(self) -> Node | None: ...
    @property
    def nodes_wanted(self) -> list[int]: ...
    @property
    def is_at_rest(self) -> bool: ...

@final
class Standing:
    """How a run stands among the others."""

    @property
    def is_admitted(self) -> bool:
        """Whether it was admitted. Until then its share is nothing."""
    @property
    def is_stuck(self) -> bool:
        """Whether it waits for runs that all wait for their consumers, and came last of these."""
    @property
    def holders(self) -> list[tuple[int, Node]]:
        """The other runs that hold slots, and how many."""

@final
class Arbiter:
    """Divides the nodes of a cluster between runs, by weight and without idle slots.

    A run is admitted as a whole or waits, in the order of the numbers: the actors of its smallest
    pools are its own as long as it runs.

    What all runs together may hold on a node is never more than it has, even while they have not
    yet heard of their shares. Threads may share it.
    """

    def __new__(cls) -> Arbiter: ...
    def join(self, node: Node) -> None:
        """A node can be used, or has more than was known."""

    def lose(self, node: int) -> None:
        """A node is gone."""

    def begin(self, run: int, weight: int) -> None:
        """A run begins. Unless it is the only one, it must go by a share of nothing until told.

        Args:
            run: Its number, chosen by the caller.
            weight: Of what several runs want, each gets in proportion to its weight.
        """

    def end(self, run: int) -> None:
        """A run has ended; what it held is free."""

    def report(self, run: int, demand: Demand) -> None:
        """Notes what a run holds, goes by and wants now."""

    def standing(self, run: int) -> Standing:
        """How a run stands since the last division."""

    def divide(self) -> list[tuple[int, Node]]:
        """Divides anew: the runs to be told, each with its new share of a node."""

@final
class OpSnapshot:
    """One operator at a moment."""

    @property
    def name(self) -> str:
        """Its name in the plan."""
    @property
    def state(self) -> Literal["running", "waiting", "done"]:
        """Whether something runs, or nothing at present, or nothing ever again."""
    @property
    def reason(self) -> str | None:
        """Why it launches nothing at present: one of `REASONS`; None if it just could."""
    @property
    def details(self) -> dict[str, int | str]:
        """The numbers that belong to the reason, by name."""
    @property
    def tasks_running(self) -> int:
        """Tasks that run."""
    @property
    def tasks_paused(self) -> int:
        """Tasks that wait for room to hand over a block."""
    @property
    def tasks_finished(self) -> int:
        """Tasks that ended well."""
    @property
    def tasks_failed(self) -> int:
        """Attempts that ended badly."""
    @property
    def tasks_retried(self) -> int:
        """Attempts after the first."""
    @property
    def tasks_preempted(self) -> int:
        """Paused tasks that were cancelled to free their slots, and run again later."""
    @property
    def actors_starting(self) -> int:
        """Actors that are loading."""
    @property
    def actors_ready(self) -> int:
        """Actors that take tasks."""
    @property
    def actors_started(self) -> int:
        """Actors started since the beginning."""
    @property
    def actors_lost(self) -> int:
        """Actors that died."""
    @property
    def actors_given_up(self) -> int:
        """Actors that were stopped, since they lived but failed their tasks."""
    @property
    def nodes_quarantined(self) -> list[int]:
        """Nodes that get no work of it at present, since its workers kept failing there."""
    @property
    def quarantines(self) -> int:
        """How often it began to leave a node alone for that."""
    @property
    def queued_blocks(self) -> int:
        """Blocks that wait for it."""
    @property
    def queued_rows(self) -> int:
        """Rows that wait for it."""
    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for it."""
    @property
    def rows_in(self) -> int:
        """Rows that its finished tasks consumed."""
    @property
    def rows_out(self) -> int:
        """Rows that it put out."""
    @property
    def blocks_out(self) -> int:
        """Blocks that it put out."""
    @property
    def bytes_out(self) -> int:
        """Bytes that it put out."""
    @property
    def blocks_lost(self) -> int:
        """Blocks of its output that were lost."""
    @property
    def blocks_remade(self) -> int:
        """Blocks that it made in their place."""
    @property
    def is_source(self) -> bool:
        """Whether it is a source."""
    @property
    def units_total(self) -> int:
        """Units of a source, as far as they are known."""
    @property
    def is_listing(self) -> bool:
        """Whether more units of it may be listed."""
    @property
    def units_done(self) -> int:
        """Units of a source that are done."""
    @property
    def busy_us(self) -> int:
        """Time that its finished tasks worked."""
    @property
    def heap_peak_bytes(self) -> int:
        """The largest resident memory of one of its workers."""
    @property
    def heap_each_bytes(self) -> int:
        """What each of its tasks or actors is thought to need; 0 where memory is not watched."""
    @property
    def memory_kills(self) -> int:
        """Workers of it that were killed since a node's memory ran out."""
    @property
    def store_used(self) -> int:
        """Bytes of its output that exist now."""
    @property
    def store_reserved(self) -> int:
        """Bytes promised to its tasks now."""
    @property
    def times(self) -> Times:
        """The time of its workers, in worker-seconds: of its tasks, or of its actors."""
    @property
    def held_us(self) -> dict[str, int]:
        """For how long it launched nothing, by the name of the reason, such as `"input_empty"`."""
    @property
    def constraints_us(self) -> dict[str, int]:
        """For how long it was what kept the run from being faster, by what it lacked."""

@final
class NodeSnapshot:
    """One node at a moment."""

    @property
    def node(self) -> int:
        """Its number."""
    @property
    def cpu_total(self) -> float:
        """Its CPUs."""
    @property
    def cpu_used(self) -> float:
        """CPUs that tasks and actors of the run hold."""
    @property
    def gpu_total(self) -> float:
        """Its GPUs."""
    @property
    def gpu_used(self) -> float:
        """GPUs that tasks and actors of the run hold."""
    @property
    def store_total(self) -> int:
        """Bytes that the run may hold there."""
    @property
    def store_used(self) -> int:
        """Bytes of blocks that lie there."""
    @property
    def store_aside(self) -> int:
        """Those of them set aside at the barrier of an exchange, beyond what the store holds."""
    @property
    def store_reserved(self) -> int:
        """Bytes promised there."""
    @property
    def store_peak(self) -> int:
        """The most bytes of blocks that ever lay there."""
    @property
    def heap_total(self) -> int:
        """Its memory beside the object store; 0: unknown, and not watched."""
    @property
    def heap_reserved(self) -> int:
        """What of that the run's tasks and actors hold."""

def replay_trace(trace: bytes) -> str:
    """Replays a trace in a new scheduler and compares its actions byte by byte.

    Returns:
        JSON: `turns`, `events`, `actions`, `is_done` and `is_cut` (the last line is incomplete).

    Raises:
        ReplayError: The first difference, or what is wrong with the trace.
    """

def describe_plan(plan: Plan) -> str:
    """A plan as JSON, as `simulate` wants it."""

def describe_nodes(nodes: Sequence[Node]) -> str:
    """Nodes as JSON, as `simulate` wants them."""

def learn_trace(trace: bytes) -> str:
    """Makes a scenario of what a trace teaches.

    Returns:
        JSON: `scenario`, as `simulate` wants it, and the recorded `makespan` (us).

    Raises:
        ReplayError: What is wrong with the trace.
    """

def simulate(scenario: str) -> tuple[str, bytes]:
    """Simulates a scenario that is described as JSON, under the oracles.

    Args:
        scenario: JSON: `seed`, `plan`, `nodes`, `unit_rows`, `models`, `consumer`, `delays`,
            `network`, `overheads` and `faults`. `millstream.sim.simulate` makes it.

    Returns:
        JSON: `ending`, `makespan` (us), `turns`, `events`, `rows_out`, `overshoots`, `nodes`,
            `ops`, `resources` and `holds`; and the trace.

    Raises:
        ValueError: The scenario is malformed.
        OracleError: It violates an invariant.
    """

def run_swarm(first: int, seeds: int) -> str:
    """Simulates the worlds of `seeds` seeds from `first` on, under the oracles.

    Returns:
        JSON: how many worlds `completed`, were `refused`, `failed` or were `stopped`, and `events`.

    Raises:
        OracleError: The first seed that violates an invariant.
    """

def run_seed(seed: int, *, trace: str | PathLike[str] | None = None) -> str:
    """Simulates the world of one seed, and writes its trace if there is a path for it.

    Returns:
        JSON: `ending`, `makespan` (us), `turns`, `events`, `rows_out`, `overshoots`, `nodes` and
        `ops`.

    Raises:
        OracleError: It violates an invariant; the trace ends there.
        OSError: The trace cannot be written.
    """

def run_workloads(
    memory: Literal["exact", "half", "least", "clusters", "scale"] = "exact",
) -> str:
    """Simulates the published scheduling workloads.

    Args:
        memory: The memory limits: those of the table, half of each, or for each pipeline the least
            in which it completes without passing its limit. `"clusters"`: the workloads on many
            nodes, or with pools that grow, instead. `"scale"`: those that ask what the scheduler
            costs, instead.

    Returns:
        JSON: a list of objects with `name`, `memory_bytes`, `makespan_s`, `bound_s`,
        `best_known_s`, `ratio`, `peak_over_limit_bytes`, `spilled_bytes`, `idle_cpu_s`,
        `idle_gpu_s`, `stalled_s`, `goals`, what else the row asks for, and the makespans of other
        policies, `greedy_s`, `static_s` and `published_s`, each null where it is stuck; with the
        least memory also `below`, what happens with one block less. A plan that is refused has no
        makespan.

    Raises:
        ValueError: `memory` is none of these words.
        OracleError: A run violates an invariant.
    """

def run_workloads_jittered(spread: int, seeds: int) -> str:
    """Simulates the published scheduling workloads with durations and sizes that vary.

    Args:
        spread: How far each duration and each size may be from the table's, in thousandths.
        seeds: How many seeds for each workload.

    Returns:
        JSON: a list of objects with `name`, `memory_bytes`, `spread`, `seeds`, `exact_s`,
        `makespan_mean_s`, `makespan_worst_s`, `seed_worst`, `bound_s`, `mean_over_exact`,
        `worst_over_bound`, `peak_over_limit_bytes` and `spilled_bytes`.

    Raises:
        OracleError: A run violates an invariant.
    """

def run_workloads_spread(seeds: int) -> str:
    """Simulates the published scheduling workloads on several nodes, with `seeds` seeds each.

    Together the nodes have the slots and the memory of the one.

    Args:
        seeds: How many seeds for each workload, memory limit and layout; durations and sizes vary
            by up to 3 %.

    Returns:
        JSON: a list of objects with `name`, `memory_bytes`, `nodes`, `in_order`, `seeds`,
        `one_node_s`, `makespan_s`, `mean_over_one_node`, `worst_over_one_node`,
        `peak_over_limit_bytes` and `spilled_bytes`.

    Raises:
        OracleError: A run violates an invariant.
    """

def measure_farm(nodes: int, blocks: int) -> str:
    """Runs the scheduler on a cluster that costs nothing, ten workers a node, and measures it.

    Returns:
        JSON: `events`, `turns`, `actions`, `blocks`, `busy_s`, `events_per_s`, `step_p50_us`,
            `step_p99_us`, `step_max_us`, `step_max_wall_us`, `late_over_early` and `makespan_s`.

    Raises:
        ValueError: There is no node, or no block for each operator.
    """

def measure_live_blocks(blocks: int) -> str | None:
    """Makes blocks that all wait, and measures how much memory the process grew by.

    Returns:
        JSON: `blocks`, `bytes_per_block` and `events_per_s`. None: the system does not tell.
    """

@final
class FarmTurns:
    """The turns of such a run, for a scheduler that is stepped from Python.

    An iterator over the time (us) and the events of each, an event as the name of its class and
    what that is made of.

    Raises:
        ValueError: There is no node, or no block for each operator.
    """

    def __new__(cls, nodes: int, blocks: int) -> FarmTurns: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def nodes(self) -> list[Node]: ...
    def __iter__(self) -> FarmTurns: ...
    def __next__(self) -> tuple[int, list[tuple[str, tuple[object, ...]]]]: ...
