"""What the scheduler costs: events a second in Rust and through Python, bytes for a live block.

Owns the run through Python's border. The cluster that it runs on, and what Rust alone costs, is
`rust/sim/src/cost.rs`. Times are those of the thread's processor, so that other programs on the
machine do not count.
"""

from __future__ import annotations

import json
import time
from typing import TypedDict

from millstream import _core

__all__ = ["Cost", "bench"]


class Cost(TypedDict):
    """What a scheduler of 10,000 workers on 1,000 nodes costs. Times on one core."""

    events_per_s_rust: float
    """Events that it handles a second, all actions included."""
    events_per_s_python: float
    """The same where Python makes each event's object and reads each field of each action."""
    step_p99_us: float
    """99 of 100 turns take no longer."""
    step_max_us: float
    """The longest turn."""
    bytes_per_block: int
    """Memory for each of a million blocks that exist at a time. 0: this system does not tell."""
    step_max_wall_us: float
    """The longest turn by the wall clock, other programs included."""
    growth_from_100_workers: float
    """Time per event, over that with 100 workers on 10 nodes."""
    late_over_early: float
    """Time per event towards the end of the run, over that at its beginning."""
    events: int
    """Events of the run in Rust."""


def bench(nodes: int = 1_000, blocks: int = 1_000_000) -> Cost:
    """Measures the scheduler on a cluster of ten workers a node, which costs nothing itself.

    Args:
        nodes: Nodes of the cluster.
        blocks: Blocks that its four operators make together.
    """
    small = json.loads(_core.measure_farm(10, max(blocks // 100, _BLOCKS_MIN)))
    large = json.loads(_core.measure_farm(nodes, blocks))
    live = _core.measure_live_blocks(blocks)
    return Cost(
        events_per_s_rust=large["events_per_s"],
        events_per_s_python=_events_per_s(nodes, max(blocks // 5, _BLOCKS_MIN)),
        step_p99_us=large["step_p99_us"],
        step_max_us=large["step_max_us"],
        bytes_per_block=0 if live is None else json.loads(live)["bytes_per_block"],
        step_max_wall_us=large["step_max_wall_us"],
        growth_from_100_workers=small["events_per_s"] / large["events_per_s"],
        late_over_early=large["late_over_early"],
        events=large["events"],
    )


def _events_per_s(nodes: int, blocks: int) -> float:
    """Events a second where each is an object that Python makes."""
    turns = _core.FarmTurns(nodes, blocks)
    scheduler = _core.Scheduler(turns.plan, turns.nodes)
    events = 0
    busy_ns = 0
    for now_us, facts in turns:
        begun_ns = time.thread_time_ns()
        made = [_EVENTS[name](*fields) for name, fields in facts]
        actions = scheduler.step(now_us, made)
        for action in actions:
            _read(action)
        busy_ns += time.thread_time_ns() - begun_ns
        events += len(facts)
    return events / (busy_ns / 1e9)


def _read(action: _core.Action) -> object:
    """Reads all that a backend would."""
    match action:
        case _core.Action.LaunchTask():
            return (
                action.task,
                action.op,
                action.attempt,
                action.node,
                action.actor,
                action.first_unit,
                action.unit_count,
                action.blocks,
                action.rows_skipped,
                action.credit,
            )
        case _core.Action.ResumeTask():
            return (action.task, action.credit)
        case _core.Action.EmitBlock() | _core.Action.DropBlock():
            return action.block
        case _:
            return None


_EVENTS = {
    "BlockProduced": _core.Event.BlockProduced,
    "BlockReady": _core.Event.BlockReady,
    "TaskFinished": _core.Event.TaskFinished,
    "TaskFailed": _core.Event.TaskFailed,
    "ActorReady": _core.Event.ActorReady,
    "OutputTaken": _core.Event.OutputTaken,
}
_BLOCKS_MIN = 10_000
