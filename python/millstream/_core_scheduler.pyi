"""What decides: the scheduler of a run, and the arbiter of several."""

from collections.abc import Sequence
from os import PathLike
from typing import final

from millstream._core_plan import Node, Plan
from millstream._core_protocol import Action, Event
from millstream._core_snapshot import Snapshot

class SubmitError(ValueError):
    """The plan can never run on the nodes; the message has the arithmetic."""

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
