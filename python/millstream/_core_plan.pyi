"""What the scheduler is given: a plan of operators, and machines."""

from collections.abc import Mapping, Sequence
from typing import Literal, final

from typing_extensions import disjoint_base

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
            left_out: Rows that consumers leave out, by the number of the first and that after the
                last: apart from each other, in order. Their blocks come as all others, but they
                count as no row.
        """

        __match_args__ = ("consumers", "equal", "left_out")
        def __new__(
            cls, consumers: int, equal: bool = False, left_out: Sequence[tuple[int, int]] = []
        ) -> Kind.Split: ...
        @property
        def consumers(self) -> int: ...
        @property
        def equal(self) -> bool: ...
        @property
        def left_out(self) -> list[tuple[int, int]]: ...

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
