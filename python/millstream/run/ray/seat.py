"""A run's seat at the table: its report, and what it is told.

Owns the conversion between a run's own numbers of nodes and their names in Ray, and what a run says
that has to wait. Must not know how reports and shares travel, nor how they are divided.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from millstream import _core
from millstream.errors import MillstreamError, ResourcesError
from millstream.run.ray.cluster import Cluster
from millstream.run.ray.table import Report, Share, Told


class Occupant(NamedTuple):
    """The run that has a seat.

    Args:
        name: What others call it.
        demand: What it holds, goes by and wants; called on any thread.
        weight: Of what several runs want, each gets in proportion to its weight.
        patience_s: How long it waits for its turn while nothing goes on in the runs before it;
            `None`: forever.
        hear: Takes new shares; called on any thread.
        fail: Ends it with an error; called on any thread.
    """

    name: str
    demand: Callable[[], _core.Demand]
    weight: int
    patience_s: float | None
    hear: Callable[[Sequence[_core.Node]], None]
    fail: Callable[[MillstreamError], None]


class Seat:
    """A run, as those that it shares with know it.

    Args:
        cluster: The nodes as the run numbers them.
        occupant: The run.
    """

    def __init__(self, cluster: Cluster, occupant: Occupant) -> None:
        self._cluster = cluster
        self._occupant = occupant
        self._told: Told | None = None
        self._waits_since_s: float | None = None
        self._stuck_since_s: float | None = None
        self._has_said = False

    def report(self) -> Report:
        """What the run says of itself."""
        total = {name: Share.of(node) for name, node in self._cluster.present().items()}
        demand = self._occupant.demand()
        next_task = demand.task_wanted
        return Report(
            weight=self._occupant.weight,
            total=total,
            held=self._by_name(demand.held),
            goes_by=self._by_name(demand.shares),
            wanted=Share.of(demand.wanted),
            name=f"'{self._occupant.name}' of process {os.getpid()}",
            seats=tuple(
                (Share.of(seat), None if node is None else self._cluster.id_of(node))
                for seat, node in demand.seats
            ),
            tasks=tuple(map(Share.of, demand.tasks)),
            task_wanted=None if next_task is None else Share.of(next_task),
            nodes_wanted=tuple(map(self._cluster.id_of, demand.nodes_wanted)),
            is_at_rest=demand.is_at_rest,
        )

    def tell(self, told: Told) -> None:
        """Tells the run new shares, and how it stands."""
        self._told = told
        if told.shares:
            shares = [share.at(self._cluster.number(name)) for name, share in told.shares.items()]
            self._occupant.hear(shares)
        now_s = time.monotonic()
        self._waits_since_s = _since(self._waits_since_s, now_s, is_so=not told.is_admitted)
        self._stuck_since_s = _since(self._stuck_since_s, now_s, is_so=told.is_stuck)
        if _lasts(self._waits_since_s, now_s, _SAID_AFTER_S) and not self._has_said:
            self._has_said = True
            _logger.warning("'%s': %s", self._occupant.name, self.notes()[0])
        if _lasts(self._stuck_since_s, now_s, self._occupant.patience_s):
            self._occupant.fail(self._stuck(told))

    def notes(self) -> list[str]:
        """What the run knows of those that it shares with, in words."""
        told = self._told
        if told is None or (told.is_admitted and not told.holders):
            return []
        holders = _holders_text(told)
        if told.is_admitted:
            return [f"Other runs share the cluster: {holders}."]
        return [
            "It waits for its turn: its smallest pools and one task of each operator do not fit "
            f"beside the runs that came before it: {holders}. If it is inside the loop over one of "
            f"those, {_WAYS_OUT}."
        ]

    def _stuck(self, told: Told) -> MillstreamError:
        return ResourcesError(
            f"'{self._occupant.name}' has waited for {self._occupant.patience_s:g} s for its turn, "
            "and none of the runs that hold what it lacks goes on before its consumer takes more: "
            f"{_holders_text(told)}; if one of those loops waits for this run, it does so forever. "
            f"End or close it first, {_WAYS_OUT}, or allow more time with "
            "`DataContext.admission_timeout_s`"
        )

    def _by_name(self, nodes: Iterable[_core.Node]) -> dict[str, Share]:
        return {self._cluster.id_of(node.node): Share.of(node) for node in nodes}


def no_share(node: _core.Node) -> _core.Event:
    """Tells a run that nothing of a node is its own yet."""
    return _core.Event.ShareChanged(_core.Node(node=node.node, cpu=0, store_bytes=0))


def _holders_text(told: Told) -> str:
    holders = [f"{name} holds {held}" for name, held in told.holders]
    return "; ".join(holders) or "none of them holds any slots now"


def _since(since_s: float | None, now_s: float, *, is_so: bool) -> float | None:
    """Since when something is so; `None`: it is not."""
    return (now_s if since_s is None else since_s) if is_so else None


def _lasts(since_s: float | None, now_s: float, span_s: float | None) -> bool:
    return since_s is not None and span_s is not None and now_s - since_s >= span_s


_logger = logging.getLogger(__name__)
#: What helps a run that waits for the loop that it is inside of.
_WAYS_OUT = (
    "`materialize()` what is needed inside of the loop before it, or use smaller pools or a "
    "smaller `num_cpus` or `num_gpus`"
)
#: A run that waits for its turn for less says nothing.
_SAID_AFTER_S = 2.0
