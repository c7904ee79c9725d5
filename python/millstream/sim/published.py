"""The published scheduling workloads, as they are and made harder.

Owns how their outcomes read and print. What they are is written in Rust (rust/sim).
"""

from __future__ import annotations

import json
from typing import Literal, TypeAlias, TypedDict

from millstream import _core

__all__ = [
    "Goal",
    "JitteredOutcome",
    "LeastOutcome",
    "Memory",
    "SpreadOutcome",
    "WorkloadOutcome",
    "cluster_workloads",
    "jittered_workloads",
    "least_workloads",
    "scale_workloads",
    "spread_workloads",
    "workloads",
]

Memory: TypeAlias = Literal["exact", "half"]


class Goal(TypedDict):
    """Something that a workload asks for beside its ratio."""

    what: str
    """What is measured, and its unit."""
    measured: float
    wanted: float
    is_most: bool
    """Whether `wanted` is the most that it should be, else it is the least."""
    is_reached: bool


class WorkloadOutcome(TypedDict):
    """How the scheduler did on a published workload. Times in seconds, sizes in bytes.

    A plan that is refused has no makespan and no ratio.
    Beside it stand the makespans of plain greed, of the best static split of the CPU slots and of
    the policy of arXiv 2501.12407; None where a policy is stuck for ever, or is not compared.
    """

    name: str
    memory_bytes: int
    makespan_s: float | None
    bound_s: float
    best_known_s: float | None
    ratio: float | None
    peak_over_limit_bytes: int
    spilled_bytes: int
    idle_cpu_s: float
    idle_gpu_s: float
    stalled_s: float
    goals: list[Goal]
    greedy_s: float | None
    static_s: float | None
    published_s: float | None


class LeastOutcome(WorkloadOutcome):
    """How it did in the least memory in which it completes without passing its limit."""

    below: str
    """What happens with one block less."""


class JitteredOutcome(TypedDict):
    """How it did over many seeds with durations and sizes that vary by up to `spread`."""

    name: str
    memory_bytes: int
    spread: float
    seeds: int
    exact_s: float
    makespan_mean_s: float
    makespan_worst_s: float
    seed_worst: int
    bound_s: float
    mean_over_exact: float
    worst_over_bound: float
    peak_over_limit_bytes: int
    spilled_bytes: int


class SpreadOutcome(TypedDict):
    """How it did on several nodes, beside one that has their slots and memory together."""

    name: str
    memory_bytes: int
    nodes: str
    """The CPUs and GPUs of each node: `"6+0 2+4"`."""
    in_order: bool
    """Whether rows leave in the order of the input."""
    seeds: int
    one_node_s: float
    makespan_s: float
    mean_over_one_node: float
    worst_over_one_node: float
    peak_over_limit_bytes: int
    spilled_bytes: int


def workloads(memory: Memory = "exact") -> list[WorkloadOutcome]:
    """Simulates the published scheduling workloads: 8 CPU and 4 GPU slots, 100 MB blocks.

    Args:
        memory: The memory limits of the table, or half of each.

    Returns:
        One outcome for each workload and memory limit.

    Raises:
        millstream._core.OracleError: A run violates an invariant.
    """
    outcomes: list[WorkloadOutcome] = json.loads(_core.run_workloads(memory))
    return outcomes


def cluster_workloads() -> list[WorkloadOutcome]:
    """Simulates the workloads on clusters: many nodes, pools that grow, nodes that go.

    It takes half a minute.

    Returns:
        One outcome for each.

    Raises:
        millstream._core.OracleError: A run violates an invariant.
    """
    outcomes: list[WorkloadOutcome] = json.loads(_core.run_workloads("clusters"))
    return outcomes


def scale_workloads() -> list[WorkloadOutcome]:
    """Measures what the scheduler costs with 10 M listed files, and with up to 10,000 workers.

    It takes half a minute. Its goals are times on one core, which a busy machine may miss.

    Returns:
        One outcome for each.
    """
    outcomes: list[WorkloadOutcome] = json.loads(_core.run_workloads("scale"))
    return outcomes


def least_workloads() -> list[LeastOutcome]:
    """Simulates each published workload in the least memory in which it can drain.

    Returns:
        One outcome for each workload.

    Raises:
        millstream._core.OracleError: A run violates an invariant.
    """
    outcomes: list[LeastOutcome] = json.loads(_core.run_workloads("least"))
    return outcomes


def jittered_workloads(spread: float, seeds: int = 20) -> list[JitteredOutcome]:
    """Simulates the published workloads with durations and block sizes that vary at random.

    Args:
        spread: How far each may be from the table's, up or down: 0.03 for 3 %.
        seeds: How many seeds for each workload.

    Returns:
        One outcome for each workload and memory limit.

    Raises:
        millstream._core.OracleError: A run violates an invariant.
    """
    thousandths = round(spread * 1_000)
    outcomes: list[JitteredOutcome] = json.loads(_core.run_workloads_jittered(thousandths, seeds))
    return outcomes


def spread_workloads(seeds: int = 5) -> list[SpreadOutcome]:
    """Simulates the published workloads on several nodes: two, four and eight, alike and not.

    Durations and block sizes vary by up to 3 %. The memory is the smallest of the table for each
    workload, and 8 GB; each node has an equal part of it. Each of them in order and not.

    Args:
        seeds: How many seeds for each workload, memory limit and set of nodes.

    Returns:
        One outcome for each workload, memory limit, set of nodes, and order.

    Raises:
        millstream._core.OracleError: A run violates an invariant.
    """
    outcomes: list[SpreadOutcome] = json.loads(_core.run_workloads_spread(seeds))
    return outcomes
