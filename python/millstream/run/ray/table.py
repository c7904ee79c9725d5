"""The table at which runs meet that share a cluster: what each reports, and what it is told.

Owns the names of nodes and runs of several drivers, around the core's arbiter, which decides. It
lives in a driver, or in an actor if there are several. Must not know Ray, nor how runs hear of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from millstream import _core


class Share(NamedTuple):
    """An amount of what a node has.

    Args:
        cpu: CPUs.
        gpu: GPUs.
        custom: Custom resources by name.
        store_bytes: Bytes of its object store.
        heap_bytes: Bytes of memory beside it.
    """

    cpu: float
    gpu: float
    custom: dict[str, float]
    store_bytes: int
    heap_bytes: int = 0

    @staticmethod
    def of(node: _core.Node) -> Share:
        """What a node of the core says."""
        return Share(node.cpu, node.gpu, node.custom, node.store_bytes, node.heap_bytes)

    def at(self, number: int) -> _core.Node:
        """The same as a node of the core."""
        return _core.Node(node=number, **self._asdict())

    def __str__(self) -> str:
        """Its slots in words, such as `"3 CPU, 0.5 GPU"`."""
        slots = {"CPU": self.cpu, "GPU": self.gpu, **self.custom}
        return ", ".join(f"{amount:g} {name}" for name, amount in slots.items() if amount)


Shares: TypeAlias = Mapping[str, Share]
"""What is whose, by the Ray id of the node."""


class Report(NamedTuple):
    """What a run says of itself.

    Args:
        weight: Of what several runs want, each gets in proportion to its weight.
        total: What it knows its nodes to have.
        held: What its tasks, actors and blocks hold.
        goes_by: The shares that it knows of.
        wanted: What one more of its tasks would ask for.
        name: What others call it.
        seats: What each actor of the smallest sizes of its pools asks for, and where it is, if it
            has started.
        tasks: What a task of each operator without a pool asks for.
        task_wanted: What its next task asks for, if it would start one.
        nodes_wanted: The nodes where it would start that task if it had the slots there; none: at
            any.
        is_at_rest: Whether nothing goes on in it before its consumer takes what it was given.
    """

    weight: int
    total: Shares
    held: Shares
    goes_by: Shares
    wanted: Share
    name: str = "a run"
    seats: tuple[tuple[Share, str | None], ...] = ()
    tasks: tuple[Share, ...] = ()
    task_wanted: Share | None = None
    nodes_wanted: tuple[str, ...] = ()
    is_at_rest: bool = False


class Told(NamedTuple):
    """What a run is told.

    Args:
        shares: Those that it does not go by yet.
        is_admitted: Whether the smallest sizes of its pools are its own; until then its share is
            nothing, and it waits for its turn.
        is_stuck: Whether it waits for runs that all wait for their consumers.
        holders: What the other runs hold, by their names.
    """

    shares: dict[str, Share]
    is_admitted: bool = True
    is_stuck: bool = False
    holders: tuple[tuple[str, Share], ...] = ()


Answer: TypeAlias = dict[int, Told]
"""For each run of a driver, what it is told."""


class Table:
    """Divides the nodes between the runs of all drivers that come to it.

    Args:
        drivers: Tells which drivers have runs now. Nothing is divided before all have reported.
    """

    def __init__(self, drivers: Callable[[], set[str]]) -> None:
        self._drivers = drivers
        self._arbiter = _core.Arbiter()
        self._counter = itertools.count()
        self._reports: dict[tuple[str, int], Report] = {}
        self._runs: dict[tuple[str, int], int] = {}
        self._told: dict[int, dict[str, Share]] = {}
        self._nodes: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._totals: dict[str, Share] = {}

    def exchange(self, driver: str, reports: dict[int, Report]) -> Answer:
        """Takes the reports of all runs of a driver, and tells their new shares.

        What is told is told again until a report says that the run goes by it.
        """
        drivers = self._drivers() | {driver}
        others = {
            key: report
            for key, report in self._reports.items()
            if key[0] in drivers and key[0] != driver
        }
        self._reports = others | {(driver, run): report for run, report in reports.items()}
        self._note_runs()
        self._note_nodes()
        for run in reports:
            self._arbiter.report(self._runs[driver, run], self._demand((driver, run)))
        if drivers <= {key[0] for key in self._reports}:
            for number, share in self._arbiter.divide():
                self._told[number][self._names[share.node]] = Share.of(share)
        return {run: self._news((driver, run)) for run in reports}

    def _note_runs(self) -> None:
        for key in sorted(self._runs.keys() - self._reports.keys()):
            number = self._runs.pop(key)
            del self._told[number]
            self._arbiter.end(number)
        # Who comes first is admitted first.
        for key in sorted(self._reports.keys() - self._runs.keys()):
            number = self._runs[key] = next(self._counter)
            self._told[number] = {}
            self._arbiter.begin(number, self._reports[key].weight)

    def _note_nodes(self) -> None:
        """A node has what the run says that knows of most: blocks of others took from the rest."""
        known = {node for report in self._reports.values() for node in report.total}
        for node in self._totals.keys() - known:
            del self._totals[node]
            self._arbiter.lose(self._nodes[node])
            for told in self._told.values():
                told.pop(node, None)
        for report in self._reports.values():
            for node, total in report.total.items():
                before = self._totals.get(node)
                if before is None or before.store_bytes < total.store_bytes:
                    self._totals[node] = total
                    self._arbiter.join(total.at(self._number(node)))

    def _number(self, node: str) -> int:
        if node not in self._nodes:
            self._nodes[node] = len(self._nodes)
            self._names[self._nodes[node]] = node
        return self._nodes[node]

    def _demand(self, key: tuple[str, int]) -> _core.Demand:
        report = self._reports[key]
        return _core.Demand(
            held=[share.at(self._number(node)) for node, share in report.held.items()],
            shares=[share.at(self._number(node)) for node, share in report.goes_by.items()],
            wanted=report.wanted.at(0),
            seats=[(seat.at(0), self._nodes.get(at or "")) for seat, at in report.seats],
            tasks=[task.at(0) for task in report.tasks],
            task_wanted=report.task_wanted and report.task_wanted.at(0),
            nodes_wanted=[self._number(node) for node in report.nodes_wanted],
            is_at_rest=report.is_at_rest,
        )

    def _news(self, key: tuple[str, int]) -> Told:
        goes_by = self._reports[key].goes_by
        told = self._told[self._runs[key]]
        news = {node: share for node, share in told.items() if goes_by.get(node, share) != share}
        standing = self._arbiter.standing(self._runs[key])
        names = {number: self._reports[key].name for key, number in self._runs.items()}
        holders = tuple((names[run], Share.of(held)) for run, held in standing.holders)
        return Told(news, standing.is_admitted, standing.is_stuck, holders)
