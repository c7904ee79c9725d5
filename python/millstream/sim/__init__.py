"""The door to the simulator: the scheduler on a virtual clock, with seeded faults and oracles.

Knows nothing of Ray, data or the wall clock: what is simulated, and how it is judged, is written in
Rust (rust/sim). `python -m millstream.sim` is its command line.
"""

from __future__ import annotations

import json
from collections import Counter

from millstream import _core
from millstream.sim.cost import Cost, bench
from millstream.sim.published import (
    Goal,
    JitteredOutcome,
    LeastOutcome,
    Memory,
    SpreadOutcome,
    WorkloadOutcome,
    cluster_workloads,
    jittered_workloads,
    least_workloads,
    scale_workloads,
    spread_workloads,
    workloads,
)
from millstream.sim.result import Hold, OperatorTime, Simulation, Trace
from millstream.sim.simulation import simulate
from millstream.sim.whatif import Prediction, Replayed, replay
from millstream.sim.world import Cluster, Consumer, Faults, Model, Node, Variation

__all__ = [
    "Cluster",
    "Consumer",
    "Cost",
    "Faults",
    "Goal",
    "Hold",
    "JitteredOutcome",
    "LeastOutcome",
    "Memory",
    "Model",
    "Node",
    "OperatorTime",
    "Prediction",
    "Replayed",
    "Simulation",
    "SpreadOutcome",
    "Trace",
    "Variation",
    "WorkloadOutcome",
    "bench",
    "cluster_workloads",
    "jittered_workloads",
    "least_workloads",
    "replay",
    "scale_workloads",
    "simulate",
    "spread_workloads",
    "swarm",
    "workloads",
]


def swarm(seeds: int, first: int = 0) -> dict[str, int]:
    """Simulates many small random worlds, each decided by its seed, and judges every turn of each.

    Args:
        seeds: How many seeds.
        first: The first one.

    Returns:
        How many worlds ended how (`completed`, `refused`, `failed`, `stopped`), the `events`, and
        how many seeds also had a world of several runs on one cluster (`shared`).

    Raises:
        millstream._core.OracleError: A seed violates an invariant. The message has the seed, the
            world and how to run it again.
    """
    summary: Counter[str] = Counter()
    for start in range(first, first + seeds, _CHUNK_SEEDS):
        # In portions, so that Ctrl-C is heard between them.
        count = min(_CHUNK_SEEDS, first + seeds - start)
        summary.update(json.loads(_core.run_swarm(start, count)))
    return dict(summary)


# A fraction of a second.
_CHUNK_SEEDS = 100
