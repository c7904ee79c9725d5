"""Snapshots and plans made by hand, for tests of what is shown of them."""

from __future__ import annotations

from types import SimpleNamespace

from millstream.observe.report import RunReport
from millstream.plan.physical import PhysicalOp, PhysicalPlan
from millstream.plan.resources import Resources

NUMBERS = [
    *("tasks_running", "tasks_paused", "tasks_finished", "tasks_failed", "tasks_retried"),
    *("tasks_preempted", "actors_starting", "actors_ready", "actors_started", "actors_lost"),
    *("queued_blocks", "queued_rows", "queued_bytes", "rows_in", "rows_out", "blocks_out"),
    *("bytes_out", "is_listing", "units_total", "units_done", "busy_us", "heap_peak_bytes"),
    *("heap_each_bytes", "memory_kills", "store_used", "store_reserved"),
]


ACTIVITIES = [
    *("compute_s", "input_wait_s", "output_blocked_s", "memory_held_s"),
    *("starting_s", "loading_s", "transfer_s", "idle_s"),
]


def times(**seconds):
    unknown = set(seconds) - set(ACTIVITIES)
    assert not unknown, unknown
    parts = dict.fromkeys(ACTIVITIES, 0.0) | seconds
    return SimpleNamespace(**parts, total_s=sum(parts.values()))


def finding(bottleneck, share, op=None):
    return SimpleNamespace(bottleneck=bottleneck, op=op, share=share)


def op(name="Op", state="running", reason=None, details=None, held_us=None, spent=None, **numbers):
    unknown = set(numbers) - set(NUMBERS)
    assert not unknown, unknown
    return SimpleNamespace(
        name=name,
        state=state,
        reason=reason,
        details=details or {},
        held_us=held_us or {},
        times=spent or times(),
        **dict.fromkeys(NUMBERS, 0) | numbers,
    )


def node(cpu=(1, 2), gpu=(0, 0), store=(0, 1 << 30), peak=0):
    return SimpleNamespace(
        node=0,
        cpu_used=cpu[0],
        cpu_total=cpu[1],
        gpu_used=gpu[0],
        gpu_total=gpu[1],
        store_used=store[0],
        store_total=store[1],
        store_reserved=0,
        store_peak=peak,
    )


def snapshot(*ops, nodes=(), **numbers):
    numbers = {
        "output_rows": 0,
        "stale_events": 0,
        "overshoots": 0,
        "heap_overshoots": 0,
        "bytes_set_aside": 0,
        "elapsed_us": 10_000_000,
        "cpu_times": times(),
        "gpu_times": times(),
        "bottleneck": None,
    } | numbers
    return SimpleNamespace(ops=list(ops), nodes=list(nodes) or [node()], **numbers)


def physical(name, kind="tasks", **options):
    held = Resources(options.pop("cpu", 1), options.pop("gpu", 0))
    return PhysicalOp(name=name, kind=kind, stage=None, resources=held, **options)


def plan(*ops, writes=False):
    return PhysicalPlan(list(ops), writes)


def report(made_plan, moment, wall_s=10.0, outcome="finished", first_block_s=0.5):
    return RunReport(made_plan, moment, wall_s, first_block_s, outcome)
