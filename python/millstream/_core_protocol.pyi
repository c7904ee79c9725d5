"""What a driver tells the scheduler, and what that orders."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, final

from typing_extensions import disjoint_base

from millstream._core import _Cause
from millstream._core_plan import Node

_Failure: TypeAlias = Literal[
    "user_code", "worker_died", "worker_broken", "out_of_memory", "not_run", "cancelled"
]

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
            row: Of a split's output, the number of its first row among all that come to it; else 0.
            epoch: The epoch of the units that they follow from; likewise.
            epoch_row: The number of the first row of this epoch; likewise.
        """

        __match_args__ = ("block", "instead_of", "consumer", "row", "epoch", "epoch_row")
        def __new__(
            cls,
            block: int,
            instead_of: int | None = None,
            consumer: int = 0,
            row: int = 0,
            epoch: int = 0,
            epoch_row: int = 0,
        ) -> Action.EmitBlock: ...
        @property
        def block(self) -> int: ...
        @property
        def instead_of(self) -> int | None: ...
        @property
        def consumer(self) -> int: ...
        @property
        def row(self) -> int: ...
        @property
        def epoch(self) -> int: ...
        @property
        def epoch_row(self) -> int: ...

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
