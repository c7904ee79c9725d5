"""The scheduler, written in Rust: plan in, events in, actions out.

The core decides what runs where and when. It knows no clock, no thread, no Ray and no data: time
is an argument, and blocks, tasks, actors and nodes are numbers. A driver by hand is four lines::

    scheduler = Scheduler(Plan([OpSpec(name="Read", kind=Kind.Source([0, 0]), cpu=1)], Config()),
                          [Node(node=0, cpu=2, store_bytes=1 << 30)])
    for action in scheduler.step(0, []):
        print(action)  # Action.LaunchTask(task=0, op=0, attempt=0, node=0, actor=None, ...)

and then: do what the actions say, report what happened as events, `step` again, until `is_done`.

Back-pressure is by credit. The blocks that a task hands over (`Event.BlockProduced`) may have at
most `credit` bytes in total; `Action.ResumeTask` raises that number. A worker whose next block is
larger than what is left keeps it in its own memory, not in the object store, reports it by
`Event.BlockReady` and waits. The ledger counts on exactly this.

Numbers: tasks and actors are numbered by the core, blocks and nodes by the driver; none is ever
used again. Rows and bytes are counts, times are microseconds since a start that the driver chose.
CPUs, GPUs and custom resources are floats here and multiples of 1/10000 inside, rounded to the
nearest, as in Ray.

This stub gathers those of its parts, `_core_*.pyi`, which exist for type checkers only.
"""

from typing import Final, Literal, TypeAlias

from millstream._core_plan import Config, Kind, Node, OpSpec, Plan
from millstream._core_protocol import Action, Event
from millstream._core_scheduler import Arbiter, Demand, Scheduler, Standing, SubmitError
from millstream._core_simulation import (
    FarmTurns,
    OracleError,
    ReplayError,
    describe_nodes,
    describe_plan,
    learn_trace,
    measure_farm,
    measure_live_blocks,
    replay_trace,
    run_seed,
    run_swarm,
    run_workloads,
    run_workloads_jittered,
    run_workloads_spread,
    simulate,
)
from millstream._core_snapshot import Finding, NodeSnapshot, OpSnapshot, Snapshot, Times

__all__ = [
    "BOTTLENECKS",
    "FAIL_CAUSES",
    "REASONS",
    "Action",
    "Arbiter",
    "Config",
    "Demand",
    "Event",
    "FarmTurns",
    "Finding",
    "Kind",
    "Node",
    "NodeSnapshot",
    "OpSnapshot",
    "OpSpec",
    "OracleError",
    "Plan",
    "ReplayError",
    "Scheduler",
    "Snapshot",
    "Standing",
    "SubmitError",
    "Times",
    "__version__",
    "build_profile",
    "describe_nodes",
    "describe_plan",
    "learn_trace",
    "measure_farm",
    "measure_live_blocks",
    "replay_trace",
    "run_seed",
    "run_swarm",
    "run_workloads",
    "run_workloads_jittered",
    "run_workloads_spread",
    "simulate",
]

__version__: Final[str]

build_profile: Final[Literal["debug", "release"]]
"""How the extension was compiled. A debug build warns on import."""

REASONS: Final[tuple[str, ...]]
"""The names of all reasons for which an operator may launch nothing (`OpSnapshot.reason`)."""

FAIL_CAUSES: Final[tuple[str, ...]]
"""The names of all causes for which a run may fail (`Action.FailRun.cause`)."""

BOTTLENECKS: Final[tuple[str, ...]]
"""The names of all that a run may have waited for most (`Finding.bottleneck`)."""

_Bottleneck: TypeAlias = Literal[
    "slow_read",
    "slow_listing",
    "cpu_short",
    "other_runs",
    "gpu_short",
    "store_full",
    "heap_full",
    "slow_consumer",
    "skewed_work",
    "slow_start",
    "slow_driver",
    "own_limit",
    "few_tasks",
    "slow_transfer",
]
_Cause: TypeAlias = Literal[
    "user_code",
    "actor_user_code",
    "task_deaths",
    "actor_deaths",
    "workers_broken",
    "out_of_memory",
    "block_lost",
    "no_such_partition",
    "nodes_gone",
    "rows_differ",
]
