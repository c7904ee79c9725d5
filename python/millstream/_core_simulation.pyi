"""Traces, simulated runs, and what the scheduler costs."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal, final

from millstream._core_plan import Node, Plan

class ReplayError(ValueError):
    """A trace does not replay; the message has the first difference."""

class OracleError(AssertionError):
    """A simulated run violates an invariant; the message has the seed and the world."""

def replay_trace(trace: bytes) -> str:
    """Replays a trace in a new scheduler and compares its actions byte by byte.

    Returns:
        JSON: `turns`, `events`, `actions`, `is_done` and `is_cut` (the last line is incomplete).

    Raises:
        ReplayError: The first difference, or what is wrong with the trace.
    """

def describe_plan(plan: Plan) -> str:
    """A plan as JSON, as `simulate` wants it."""

def describe_nodes(nodes: Sequence[Node]) -> str:
    """Nodes as JSON, as `simulate` wants them."""

def learn_trace(trace: bytes) -> str:
    """Makes a scenario of what a trace teaches.

    Returns:
        JSON: `scenario`, as `simulate` wants it, and the recorded `makespan` (us).

    Raises:
        ReplayError: What is wrong with the trace.
    """

def simulate(scenario: str) -> tuple[str, bytes]:
    """Simulates a scenario that is described as JSON, under the oracles.

    Args:
        scenario: JSON: `seed`, `plan`, `nodes`, `unit_rows`, `models`, `consumer`, `delays`,
            `network`, `overheads` and `faults`. `millstream.sim.simulate` makes it.

    Returns:
        JSON: `ending`, `makespan` (us), `turns`, `events`, `rows_out`, `overshoots`, `nodes`,
            `ops`, `resources` and `holds`; and the trace.

    Raises:
        ValueError: The scenario is malformed.
        OracleError: It violates an invariant.
    """

def run_swarm(first: int, seeds: int) -> str:
    """Simulates the worlds of `seeds` seeds from `first` on, under the oracles.

    Returns:
        JSON: how many worlds `completed`, were `refused`, `failed` or were `stopped`, and `events`.

    Raises:
        OracleError: The first seed that violates an invariant.
    """

def run_seed(seed: int, *, trace: str | PathLike[str] | None = None) -> str:
    """Simulates the world of one seed, and writes its trace if there is a path for it.

    Returns:
        JSON: `ending`, `makespan` (us), `turns`, `events`, `rows_out`, `overshoots`, `nodes` and
        `ops`.

    Raises:
        OracleError: It violates an invariant; the trace ends there.
        OSError: The trace cannot be written.
    """

def run_workloads(
    memory: Literal["exact", "half", "least", "clusters", "scale"] = "exact",
) -> str:
    """Simulates the published scheduling workloads.

    Args:
        memory: The memory limits: those of the table, half of each, or for each pipeline the least
            in which it completes without passing its limit. `"clusters"`: the workloads on many
            nodes, or with pools that grow, instead. `"scale"`: those that ask what the scheduler
            costs, instead.

    Returns:
        JSON: a list of objects with `name`, `memory_bytes`, `makespan_s`, `bound_s`,
        `best_known_s`, `ratio`, `peak_over_limit_bytes`, `spilled_bytes`, `idle_cpu_s`,
        `idle_gpu_s`, `stalled_s`, `goals`, what else the row asks for, and the makespans of other
        policies, `greedy_s`, `static_s` and `published_s`, each null where it is stuck; with the
        least memory also `below`, what happens with one block less. A plan that is refused has no
        makespan.

    Raises:
        ValueError: `memory` is none of these words.
        OracleError: A run violates an invariant.
    """

def run_workloads_jittered(spread: int, seeds: int) -> str:
    """Simulates the published scheduling workloads with durations and sizes that vary.

    Args:
        spread: How far each duration and each size may be from the table's, in thousandths.
        seeds: How many seeds for each workload.

    Returns:
        JSON: a list of objects with `name`, `memory_bytes`, `spread`, `seeds`, `exact_s`,
        `makespan_mean_s`, `makespan_worst_s`, `seed_worst`, `bound_s`, `mean_over_exact`,
        `worst_over_bound`, `peak_over_limit_bytes` and `spilled_bytes`.

    Raises:
        OracleError: A run violates an invariant.
    """

def run_workloads_spread(seeds: int) -> str:
    """Simulates the published scheduling workloads on several nodes, with `seeds` seeds each.

    Together the nodes have the slots and the memory of the one.

    Args:
        seeds: How many seeds for each workload, memory limit and layout; durations and sizes vary
            by up to 3 %.

    Returns:
        JSON: a list of objects with `name`, `memory_bytes`, `nodes`, `in_order`, `seeds`,
        `one_node_s`, `makespan_s`, `mean_over_one_node`, `worst_over_one_node`,
        `peak_over_limit_bytes` and `spilled_bytes`.

    Raises:
        OracleError: A run violates an invariant.
    """

def measure_farm(nodes: int, blocks: int) -> str:
    """Runs the scheduler on a cluster that costs nothing, ten workers a node, and measures it.

    Returns:
        JSON: `events`, `turns`, `actions`, `blocks`, `busy_s`, `events_per_s`, `step_p50_us`,
            `step_p99_us`, `step_max_us`, `step_max_wall_us`, `late_over_early` and `makespan_s`.

    Raises:
        ValueError: There is no node, or no block for each operator.
    """

def measure_live_blocks(blocks: int) -> str | None:
    """Makes blocks that all wait, and measures how much memory the process grew by.

    Returns:
        JSON: `blocks`, `bytes_per_block` and `events_per_s`. None: the system does not tell.
    """

@final
class FarmTurns:
    """The turns of such a run, for a scheduler that is stepped from Python.

    An iterator over the time (us) and the events of each, an event as the name of its class and
    what that is made of.

    Raises:
        ValueError: There is no node, or no block for each operator.
    """

    def __new__(cls, nodes: int, blocks: int) -> FarmTurns: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def nodes(self) -> list[Node]: ...
    def __iter__(self) -> FarmTurns: ...
    def __next__(self) -> tuple[int, list[tuple[str, tuple[object, ...]]]]: ...
