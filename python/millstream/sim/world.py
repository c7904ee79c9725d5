"""What is simulated: machines, models of operators, a consumer, and what goes wrong.

Owns these descriptions and their checks, and how they are told to Rust. Knows nothing of plans or
of how anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from millstream import _core
from millstream.errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine.

    Args:
        cpu: Its CPUs.
        gpu: Its GPUs.
        custom: Its custom resources by name.
        store_bytes: The object-store bytes that the run may hold there.
        slowness: The factor of all durations there; 2.0: everything takes twice as long.
    """

    cpu: float = 1
    gpu: float = 0
    custom: Mapping[str, float] = field(default_factory=dict)
    store_bytes: int = 2 << 30
    slowness: float = 1.0

    def to_core(self, number: int) -> _core.Node:
        """The machine as the scheduler sees it."""
        return _core.Node(
            node=number,
            cpu=self.cpu,
            gpu=self.gpu,
            custom=dict(self.custom),
            store_bytes=self.store_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Machines, the network between them, and what running something costs there.

    Args:
        nodes: The machines; they are numbered in this order, from 0.
        network_bytes_per_s: What one machine sends, and what it receives, at a time. 0: any number.
        network_latency_s: How long the first byte takes.
        worker_start_s: How long a worker process takes to start: once for each slot that tasks use
            on a machine, and once for each actor.
        call_s: What a task takes beyond its work.
        order_s: How long an order of the driver takes to a worker.
        event_s: How long news takes to the driver, at most; drawn for each.
        turn_s: How long the driver is busy with one turn.
    """

    nodes: Sequence[Node]
    network_bytes_per_s: int = 0
    network_latency_s: float = 0.0
    worker_start_s: float = 0.0
    call_s: float = 0.0
    order_s: float = 0.0
    event_s: float = 0.0
    turn_s: float = 0.0

    def to_core(self) -> list[_core.Node]:
        """The machines as the scheduler sees them."""
        return [node.to_core(number) for number, node in enumerate(self.nodes)]

    def to_json(self) -> dict[str, Any]:
        """What Rust wants to know beside the machines."""
        return {
            "network": {
                "bytes_per_second": self.network_bytes_per_s,
                "latency": us("network_latency_s", self.network_latency_s),
            },
            "overheads": {
                "worker_start": us("worker_start_s", self.worker_start_s),
                "call": us("call_s", self.call_s),
            },
            "delays": {
                "order": us("order_s", self.order_s),
                "event_max": us("event_s", self.event_s),
                "turn": us("turn_s", self.turn_s),
            },
        }


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How a duration or a size varies from task to task; all factors multiply.

    Args:
        spread: Evenly drawn from this part less to this part more: 0.2 is from 0.8 to 1.2.
        tail: This part of the draws is in a tail, which makes the distribution a skewed one.
        tail_factor: There the factor is evenly drawn from 1 to this.
        drift: The factor at and after item `drift_items`, reached in a straight line from 1.
        drift_items: How many items the drift takes; 0: there is none.
        alike_items: So many neighbours draw alike.
    """

    spread: float = 0.0
    tail: float = 0.0
    tail_factor: float = 1.0
    drift: float = 1.0
    drift_items: int = 0
    alike_items: int = 1

    def to_json(self) -> dict[str, Any]:
        """The same for Rust."""
        return {
            "spread": per_mille("spread", self.spread, most=1.0),
            "tail": per_mille("tail", self.tail, most=1.0),
            "tail_factor": per_mille("tail_factor", self.tail_factor, least=1.0),
            "drift": per_mille("drift", self.drift),
            "drift_items": self.drift_items,
            "alike_items": self.alike_items,
        }


@dataclass(frozen=True, kw_only=True)
class Model:
    """How the tasks of an operator behave.

    Args:
        item_s: How long a task works on an item: a unit of a source, else a row of its input.
        task_s: How long it works beside that.
        pace: How that varies, by the first item of a task.
        unit_rows: The rows of each unit of a source, or one number for all. None: as many as the
            dataset knows of, else one. Not used by other operators.
        rows_out: Rows out for each row in. Not used by a source.
        row_bytes: Bytes of a row in the object store.
        block_rows: Rows of a full block. None: as many as fit into the plan's block size.
        size: How the bytes of a block vary.
        is_correlated: Whether slow tasks put out large blocks.
        emits_at_end: Whether a task finishes all its blocks at its end, not one after the other.
        load_s: How long an actor takes to load, beside the start of its process.
        heap_bytes: The resident memory of a worker.
    """

    item_s: float = 0.01
    task_s: float = 0.0
    pace: Variation = field(default_factory=Variation)
    unit_rows: int | Sequence[int] | None = None
    rows_out: float | Fraction = 1
    row_bytes: int = 1 << 20
    block_rows: int | None = None
    size: Variation = field(default_factory=Variation)
    is_correlated: bool = False
    emits_at_end: bool = False
    load_s: float = 0.0
    heap_bytes: int = 0

    def to_json(self, block_bytes_target: int) -> dict[str, Any]:
        """The same for Rust."""
        ratio = Fraction(self.rows_out).limit_denominator(10_000)
        if ratio < 0:
            raise ArgumentError(f"rows_out must not be negative but is {self.rows_out}")
        fitting = max(1, block_bytes_target // max(1, self.row_bytes))
        return {
            "ratio": {"out": ratio.numerator, "per": ratio.denominator},
            "pace": {
                "Even": {"task": us("task_s", self.task_s), "item": us("item_s", self.item_s)}
            },
            "pace_variation": self.pace.to_json(),
            "block_rows": fitting if self.block_rows is None else self.block_rows,
            "row_bytes": self.row_bytes,
            "bytes_variation": self.size.to_json(),
            "is_correlated": self.is_correlated,
            "emission": "AtEnd" if self.emits_at_end else "Streamed",
            "emits_empty": False,
            "load": us("load_s", self.load_s),
            "heap": self.heap_bytes,
        }


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """Who takes the output.

    Args:
        block_s: How long it works on a block.
        blocks_max: After so many blocks it has enough, and stops the run. None: never.
        rest_after_blocks: After so many blocks it rests once. None: never.
        rest_s: For so long.
    """

    block_s: float = 0.0
    blocks_max: int | None = None
    rest_after_blocks: int | None = None
    rest_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The same for Rust."""
        rest = None
        if self.rest_after_blocks is not None:
            rest = [self.rest_after_blocks, us("rest_s", self.rest_s)]
        return {
            "block": us("block_s", self.block_s),
            "blocks_max": self.blocks_max,
            "rest": rest,
        }


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong. Chances are from 0 to 1; times are seconds from the start.

    Args:
        task_death: An attempt's worker dies.
        out_of_memory: An attempt is killed because memory ran out.
        user_error: The user's code raises, at every attempt at the same work.
        actor_death: An actor dies while it runs a task.
        load_death: An actor dies while it loads.
        load_error: An actor's constructor raises.
        stale_event: After a turn, something out of date is reported.
        duplicate_event: An event is reported twice.
        idle_turn: After a turn, the driver wakes up for nothing.
        calm_at_s: From then on nothing goes wrong by chance any more. None: never.
        joins: Machines that join: when, and what they are.
        drains: Machines that are told to drain: when, and their numbers.
        losses: Machines that are lost with all that is on them: when, and their numbers.
        stop_at_s: When the run is stopped from outside. None: never.
    """

    task_death: float = 0.0
    out_of_memory: float = 0.0
    user_error: float = 0.0
    actor_death: float = 0.0
    load_death: float = 0.0
    load_error: float = 0.0
    stale_event: float = 0.0
    duplicate_event: float = 0.0
    idle_turn: float = 0.0
    calm_at_s: float | None = None
    joins: Sequence[tuple[float, Node]] = ()
    drains: Sequence[tuple[float, int]] = ()
    losses: Sequence[tuple[float, int]] = ()
    stop_at_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The same for Rust, without the machines that join and those that are slow."""
        chances = {name: per_mille(name, getattr(self, name), most=1.0) for name in _CHANCES}
        return {
            **chances,
            "calm_at": _maybe_us("calm_at_s", self.calm_at_s),
            "drains": [[us("drains", at_s), node] for at_s, node in self.drains],
            "losses": [[us("losses", at_s), node] for at_s, node in self.losses],
            "stop_at": _maybe_us("stop_at_s", self.stop_at_s),
        }


def us(name: str, seconds: float) -> int:
    """Microseconds.

    Raises:
        ArgumentError: It is negative or no number.
    """
    if not 0 <= seconds < _SECONDS_MAX:
        raise ArgumentError(f"{name} must be at least 0 and finite but is {seconds}")
    return round(seconds * 1e6)


def per_mille(name: str, factor: float, *, least: float = 0.0, most: float = 1_000.0) -> int:
    """Thousandths.

    Raises:
        ArgumentError: It is not between the two.
    """
    if not least <= factor <= most:
        raise ArgumentError(f"{name} must be from {least:g} to {most:g} but is {factor}")
    return round(factor * 1000)


def _maybe_us(name: str, seconds: float | None) -> int | None:
    return None if seconds is None else us(name, seconds)


_CHANCES = (
    "task_death",
    "out_of_memory",
    "user_error",
    "actor_death",
    "load_death",
    "load_error",
    "stale_event",
    "duplicate_event",
    "idle_turn",
)
#: Some thirty years.
_SECONDS_MAX = 1e9
