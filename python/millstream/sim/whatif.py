"""What a recorded run would have done elsewhere.

Owns the changes to what a trace teaches. How it is learned and run is Rust's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict, overload

from millstream import _core
from millstream.errors import ArgumentError
from millstream.sim.result import Simulation, Trace
from millstream.sim.simulation import faults_json, node_specs, run
from millstream.sim.world import Cluster, Faults, Node

PoolSize = int | tuple[int, int]


class Replayed(TypedDict):
    """What a replay that agreed with its trace went through."""

    turns: int
    events: int
    actions: int
    is_done: bool
    is_cut: bool


@dataclass(frozen=True)
class Prediction:
    """What a recorded run would have done.

    Attributes:
        recorded_makespan_s: How long it took.
        simulation: How it would have gone.
    """

    recorded_makespan_s: float
    simulation: Simulation

    @property
    def makespan_s(self) -> float:
        """How long it would have taken."""
        return self.simulation.makespan_s

    def __repr__(self) -> str:
        return (
            f"<Prediction {self.makespan_s:.3f} s, recorded {self.recorded_makespan_s:.3f} s: "
            f"{self.simulation!r}>"
        )


@overload
def replay(trace: str | PathLike[str] | Trace) -> Replayed: ...
@overload
def replay(
    trace: str | PathLike[str] | Trace,
    *,
    cluster: Cluster | Sequence[Node] | Literal["recorded"] = ...,
    pools: Mapping[str, PoolSize] = ...,
    limit: int | None = ...,
) -> Prediction: ...
def replay(
    trace: str | PathLike[str] | Trace,
    *,
    cluster: Cluster | Sequence[Node] | Literal["recorded"] | None = None,
    pools: Mapping[str, PoolSize] | None = None,
    limit: int | None = None,
) -> Replayed | Prediction:
    """Replays a recorded trace, or tells what its run would have done elsewhere.

    With the trace alone its events are fed to a new scheduler, whose actions are compared byte by
    byte. With any other argument the trace teaches how long and how large everything was, each
    piece of work by itself, and the same plan is simulated with that.

    Args:
        trace: A file that `DataContext.trace` or `swarm --trace` wrote, or the trace of a
            `Simulation`.
        cluster: Other machines; `"recorded"`: those of the trace.
        pools: For actors, by the operator's name or a part of it, the size of the pool, or its
            smallest and its largest.
        limit: The object-store bytes that the run may hold on each machine.

    Returns:
        What was replayed, or what the run would have done.

    Raises:
        ArgumentError: A pool does not exist or has an impossible size.
        ResourcesError: The plan can never run there.
        millstream._core.ReplayError: The first difference, or what is wrong with the trace.
        OSError: The trace cannot be read.

    Example:
        >>> ms.sim.replay("run.jsonl", pools={"Classifier": 8}).makespan_s
    """
    lines = trace.lines if isinstance(trace, Trace) else Path(trace).read_bytes()
    if cluster is None and pools is None and limit is None:
        replayed: Replayed = json.loads(_core.replay_trace(lines))
        return replayed
    lesson = json.loads(_core.learn_trace(lines))
    scenario = lesson["scenario"]
    if cluster is not None and cluster != "recorded":
        _move(scenario, cluster if isinstance(cluster, Cluster) else Cluster(nodes=cluster))
    for name, size in (pools or {}).items():
        _resize(scenario["plan"]["ops"], name, size)
    if limit is not None:
        for node in scenario["nodes"]:
            node["store"] = limit
    return Prediction(lesson["makespan"] / 1e6, run(scenario))


def _move(scenario: dict[str, Any], cluster: Cluster) -> None:
    """Puts other machines in the place of those recorded, and forgets what befell these."""
    scenario["nodes"] = node_specs(cluster.to_core())
    scenario["faults"] = faults_json(Faults(), cluster)
    costs = cluster.to_json()
    scenario["network"] = costs["network"]
    for name, cost in costs["overheads"].items():
        scenario["overheads"][name] += cost
    for name, delay in costs["delays"].items():
        scenario["delays"][name] += delay


def _resize(ops: list[dict[str, Any]], name: str, size: PoolSize) -> None:
    pools = [op for op in ops if "Actors" in op["kind"]]
    fitting = [op for op in pools if op["name"] == name] or [
        op for op in pools if name in op["name"]
    ]
    if len(fitting) != 1:
        known = ", ".join(repr(op["name"]) for op in pools) or "none"
        raise ArgumentError(f"the pool {name!r} fits {len(fitting)} operators; pools are: {known}")
    least, most = (size, size) if isinstance(size, int) else size
    if not 1 <= least <= most:
        raise ArgumentError(f"the pool {name!r} needs 1 <= min <= max, not {size!r}")
    fitting[0]["kind"]["Actors"] |= {"actors_min": least, "actors_max": most}
