"""The outcomes of the published workloads as lines of text."""

from __future__ import annotations

from millstream.sim.cost import Cost
from millstream.sim.published import (
    Goal,
    JitteredOutcome,
    LeastOutcome,
    SpreadOutcome,
    WorkloadOutcome,
)

__all__ = [
    "HEADER",
    "JITTERED_HEADER",
    "SPREAD_HEADER",
    "cluster_lines",
    "cost_lines",
    "jittered_line",
    "least_lines",
    "spread_line",
    "workload_line",
]


def cost_lines(cost: Cost) -> list[str]:
    """The measurements, each beside what is to be reached on one core."""
    growth = cost["growth_from_100_workers"]
    late = cost["late_over_early"]
    rows = [
        ("events/s in Rust", f"{cost['events_per_s_rust']:,.0f}", ">= 500,000"),
        ("events/s through Python", f"{cost['events_per_s_python']:,.0f}", ">= 150,000"),
        ("99 of 100 turns within", f"{cost['step_p99_us']:,.0f} us", "< 1,000 us"),
        ("longest turn", f"{cost['step_max_us']:,.0f} us", "< 10,000 us"),
        ("    by the wall clock", f"{cost['step_max_wall_us']:,.0f} us", ""),
        ("memory of a live block", f"{cost['bytes_per_block']} B", "<= 512 B"),
        ("an event, over 100 workers", f"{growth:.2f}", "<= 2"),
        ("a late event, over an early", f"{late:.2f}", "1"),
    ]
    return [f"{name:28} {value:>14}   {goal}".rstrip() for name, value, goal in rows]


def workload_line(outcome: WorkloadOutcome) -> str:
    """One row: the makespan beside its bound, and where the slots' time went."""
    return (
        f"{outcome['name']:26} {outcome['memory_bytes'] / _GB:5.2f} GB "
        f"{_seconds(outcome['makespan_s'])} s {outcome['bound_s']:7.1f} "
        f"{_seconds(outcome['best_known_s'])} {_ratio(outcome['ratio'])} "
        f"{_seconds(outcome['greedy_s'])} {_seconds(outcome['static_s'])} "
        f"{_seconds(outcome['published_s'])} "
        f"{outcome['peak_over_limit_bytes'] / _GB:7.1f} GB "
        f"{outcome['spilled_bytes'] / _GB:5.1f} GB {outcome['idle_cpu_s']:7.1f} s "
        f"{outcome['idle_gpu_s']:7.1f} s {outcome['stalled_s']:7.1f} s"
    )


def cluster_lines(outcome: WorkloadOutcome) -> list[str]:
    """One row, and what else it asks for."""
    return [workload_line(outcome), *(f"    {_goal_text(goal)}" for goal in outcome["goals"])]


def least_lines(outcome: LeastOutcome) -> list[str]:
    """One row, and what happens with one block less."""
    return [workload_line(outcome), f"    with one block less: {outcome['below']}"]


def jittered_line(outcome: JitteredOutcome) -> str:
    """One row: the mean beside the exact run, and the worst beside the bound."""
    return (
        f"{outcome['name']:26} {outcome['memory_bytes'] / _GB:5.2f} GB "
        f"{outcome['spread']:6.1%} {outcome['exact_s']:7.1f} s "
        f"{outcome['makespan_mean_s']:7.1f} s {outcome['mean_over_exact']:6.3f} "
        f"{outcome['makespan_worst_s']:7.1f} s {outcome['seed_worst']:4} "
        f"{outcome['bound_s']:7.1f} {outcome['worst_over_bound']:6.3f} "
        f"{outcome['peak_over_limit_bytes'] / _GB:7.1f} GB"
    )


def spread_line(outcome: SpreadOutcome) -> str:
    """One row: the makespan on several nodes beside that on one."""
    return (
        f"{outcome['name']:26} {outcome['memory_bytes'] / _GB:5.2f} GB "
        f"{outcome['nodes']:31} {'yes' if outcome['in_order'] else 'no':>8} "
        f"{outcome['one_node_s']:7.1f} s {outcome['makespan_s']:7.1f} s "
        f"{outcome['mean_over_one_node']:6.3f} {outcome['worst_over_one_node']:6.3f} "
        f"{outcome['peak_over_limit_bytes'] / _GB:7.1f} GB "
        f"{outcome['spilled_bytes'] / _GB:5.1f} GB"
    )


def _goal_text(goal: Goal) -> str:
    sign = "<=" if goal["is_most"] else ">="
    verdict = "" if goal["is_reached"] else "   MISSED"
    wanted = f"(to reach: {sign} {goal['wanted']:,.2f})"
    return f"{goal['what']}: {goal['measured']:,.3f} {wanted}{verdict}"


def _ratio(ratio: float | None) -> str:
    return f"{'-':>6}" if ratio is None else f"{ratio:6.3f}"


def _seconds(span_s: float | None) -> str:
    return f"{'-':>7}" if span_s is None else f"{span_s:7.1f}"


HEADER = (
    f"{'workload':26} {'memory':>8} {'makespan':>9} {'bound':>7} {'best':>7} {'ratio':>6} "
    f"{'greedy':>7} {'static':>7} {'publ.':>7} {'over limit':>10} {'spilled':>8} "
    f"{'idle CPU':>9} {'idle GPU':>9} {'stalled':>9}"
)
JITTERED_HEADER = (
    f"{'workload':26} {'memory':>8} {'spread':>6} {'exact':>9} {'mean':>9} {'/exact':>6} "
    f"{'worst':>9} {'seed':>4} {'bound':>7} {'/bound':>6} {'over limit':>10}"
)
SPREAD_HEADER = (
    f"{'workload':26} {'memory':>8} {'CPUs+GPUs of each node':31} {'in order':>8} {'one node':>9} "
    f"{'makespan':>9} {'ratio':>6} {'worst':>6} {'over limit':>10} {'spilled':>8}"
)
_GB = 1e9
