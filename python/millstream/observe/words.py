"""The scheduler's names in plain words, and what would help.

Owns all words for what the scheduler has names for: bottlenecks, reasons, causes of failure, and
what workers' time goes to. Each table is complete, which tests compare with the scheduler's own
lists. Knows no run.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from millstream._core import OpSnapshot, Times
from millstream.observe.text import bytes_text, count_text, share_text

Details: TypeAlias = Mapping[str, int | str]
"""The numbers that belong to a reason or a cause, by name."""

#: What each bottleneck is, and what would help, by the scheduler's name for it.
BOTTLENECKS = {
    "slow_read": (
        "reading: what comes after {op} had workers to spare",
        "read in more, smaller files or row groups, from faster storage, or with a higher "
        "`concurrency`; a read that mostly waits needs less than one CPU (`num_cpus=0.25`)",
    ),
    "slow_listing": (
        "the list of what {op} is to read",
        "fewer, larger files; or a list of them that is kept, instead of one made anew",
    ),
    "cpu_short": (
        "CPUs: all were taken, most of them by {op}",
        "more CPUs or nodes, or a faster {op}; less of `num_cpus` if its tasks mostly wait",
    ),
    "other_runs": (
        "slots for {op} that were the share of other runs on the cluster",
        "more nodes, smaller pools in those runs, or a larger `DataContext.weight` for this one",
    ),
    "gpu_short": (
        "GPUs: all were taken, most of them by {op}",
        "more GPUs, a larger `batch_size`, or a smaller or faster model in {op}",
    ),
    "store_full": (
        "room in the object store, which {op} lacked",
        "more object-store memory or nodes, smaller outputs (fewer or smaller columns), or "
        "`preserve_order=False`, which lets blocks leave as they come",
    ),
    "heap_full": (
        "memory for one more worker of {op}",
        "more memory or nodes, a smaller `batch_size`, or less of `memory` where that is more than "
        "its workers need",
    ),
    "slow_consumer": (
        "the consumer: the loop that takes the rows was slower than the pipeline",
        "nothing in the pipeline; a faster loop, or several of them",
    ),
    "skewed_work": (
        "one piece of work of {op} that took many times longer than the others",
        "split it: smaller files, row groups or rows; or put the largest first",
    ),
    "slow_start": (
        "workers of {op} that started or loaded",
        "a faster constructor, weights near the nodes, fewer and longer-lived workers, or a "
        "smaller smallest pool",
    ),
    "slow_driver": (
        "the driver: news waited before it was acted upon",
        "fewer and larger blocks or tasks (a larger `batch_size`), or less other work in the "
        "process that runs the pipeline",
    ),
    "own_limit": (
        "{op}, which ran as many tasks or actors as its own limit allows",
        "a higher `concurrency` or pool size",
    ),
    "few_tasks": (
        "the last tasks of {op}: there was less work than workers",
        "smaller blocks would spread it; longer runs do not have it",
    ),
    "slow_transfer": (
        "input of {op} on its way from other nodes",
        "a faster network, or fewer, larger nodes",
    ),
}

#: What holds an operator, by the scheduler's name for the reason: in short, for shares of time, and
#: at the moment, with its numbers.
REASONS = {
    "done": ("done", "done"),
    "input_empty": ("no input", "waits for input"),
    "listing": (
        "more units are being listed",
        "waits for its list: {waiting:count} units are there, {awaited:count} are awaited",
    ),
    "order": (
        "the next block in order is missing",
        "{blocks:count} blocks wait for the next one in order",
    ),
    "bundling": (
        "no full batch yet",
        "waits for a full batch: {rows:count} of {wanted:count} rows",
    ),
    "no_free_slot": ("no free CPU or GPU", "no node has {needs} free"),
    "share_held": (
        "other runs have the slots",
        "needs {needs}, which is the share of other runs on the cluster",
    ),
    "concurrency_reached": ("its own limit of tasks", "runs its limit of {limit:count} tasks"),
    "slot_reserved": (
        "the last slots are kept for later operators",
        "the last slots are kept for {by:operator}",
    ),
    "heap_reserved": (
        "no node has the memory free",
        "needs {needs:bytes} of heap, which none of {nodes:count} nodes with slots has free",
    ),
    "nodes_quarantined": (
        "the nodes on which its workers kept failing are left alone",
        "its workers kept failing on {nodes:count} nodes, which it leaves alone for a time",
    ),
    "memory_reserved": (
        "no room in the object store",
        "needs {needs:bytes} of object store, {free:bytes} is free",
    ),
    "memory_ahead": (
        "no room in the object store by the time a task would end",
        "will need {needs:bytes} of object store when its next task ends, {room:bytes} will be "
        "free",
    ),
    "output_full": (
        "output waits for the consumer",
        "{bytes:bytes} of output wait for the consumer",
    ),
    "consumers_uneven": (
        "one consumer would get ahead of the others",
        "{rows:count} of the {wanted:count} rows wait with which each consumer could have equally "
        "many",
    ),
    "downstream_fed": (
        "the next operator has enough",
        "the next operator has enough: {rows:count} of {wanted:count} rows",
    ),
    "actors_busy": ("all actors are busy", "all {actors:count} actors are busy"),
    "actor_starting": ("its actors are loading", "{actors:count} actors are loading"),
    "upstream_running": (
        "the operator before it must finish first",
        "waits for the operator before it to finish",
    ),
    "barrier": (
        "the map side of its exchange must finish first",
        "waits for the end of the exchange's map side: {bytes:bytes} so far, {aside:bytes} of them "
        "beyond what the stores have room for",
    ),
    "earlier_input": (
        "the input before it comes first",
        "comes after {first:operator}, which has work left",
    ),
    "limit_covered": (
        "enough rows for the limit are on their way",
        "{rows:count} rows are on their way to a limit that wants {wanted:count}",
    ),
    "limit_reached": (
        "the limit has all its rows",
        "the limit of {rows:count} rows is reached",
    ),
    "stopping": ("the run was ending", "the run is ending"),
}

#: Why a run failed and what to do about it, by the scheduler's name for the cause.
FAILURES = {
    "user_code": (
        "the user's code raised in a task",
        "see the exception that is the cause of this error",
    ),
    "actor_user_code": (
        "the user's constructor raised in an actor",
        "see the exception that is the cause of this error",
    ),
    "task_deaths": (
        "the worker of one task died at each of its {count:count} attempts",
        "the user code may crash its process or need too much memory: try smaller batches, or more "
        "`num_cpus` or `memory` per task so that fewer run side by side",
    ),
    "actor_deaths": (
        "{count:count} actors died one after the other while they were loading",
        "the class's constructor may crash its process or need more memory than a node has: "
        "construct it alone in a process to see why",
    ),
    "workers_broken": (
        "{count:count} actors were given up one after the other, since they lived but failed their "
        "tasks",
        "what the class loaded, or a device of its node, may be broken: look at the node's devices "
        "and logs, and construct the class anew in its function when its device fails",
    ),
    "out_of_memory": (
        "a worker was killed for lack of memory though nothing more could be reserved for it: it "
        "had {reserved:bytes}, the largest node has {largest:bytes}; deaths that count: "
        "{count:count}",
        "use smaller batches (`batch_size`) or smaller rows, a smaller model, or nodes with more "
        "memory",
    ),
    "block_lost": (
        "{rows:count} rows were lost, and the second time they did not come out again",
        "rows that are lost are made again from their input, so the functions must give the same "
        "rows each time: run again, or remove what makes them differ",
    ),
    "no_such_partition": (
        "a block was said to be of partition {partition:count}, but there are {partitions:count}",
        "this is a bug of millstream: please report it with the plan (`explain()`)",
    ),
    "nodes_gone": (
        "no node is left on which the operator could run",
        "the nodes that could run it have left the cluster: add one and run again",
    ),
    "rows_differ": (
        "its inputs have different numbers of rows: input {ended} has {rows}, input {longer} has "
        "{rows_longer}{is_open:or_more}",
        "only inputs of equally many rows can be put side by side",
    ),
}

#: What workers' time goes to, by the name of its field in `Times`.
ACTIVITIES = {
    "compute_s": "compute",
    "input_wait_s": "waiting for input",
    "output_blocked_s": "output blocked",
    "memory_held_s": "held by memory",
    "starting_s": "starting",
    "loading_s": "loading",
    "transfer_s": "transfer",
    "idle_s": "idle",
}


def times_text(times: Times) -> str:
    """What workers' time went to, the longest first: `"82% compute, 11% waiting for input, …"`.

    The shares add up to 100%: what rounding leaves over goes to those that lost most by it.
    """
    if times.total_s <= 0:
        return "no time yet"
    exact = {name: 100 * getattr(times, name) / times.total_s for name in ACTIVITIES}
    whole = {name: int(share) for name, share in exact.items()}
    by_loss = sorted(exact, key=lambda name: (whole[name] - exact[name], -exact[name]))
    for name in by_loss[: 100 - sum(whole.values())]:
        whole[name] += 1
    told = sorted((name for name in whole if whole[name]), key=lambda name: -exact[name])
    return ", ".join(f"{whole[name]}% {ACTIVITIES[name]}" for name in told)


def held_text(held_us: Mapping[str, int], elapsed_us: int, rest: str = "") -> str:
    """What held an operator, the longest first: `"41% no input, 12% …"`; empty if nothing did.

    Args:
        held_us: How long each reason held it.
        elapsed_us: How long the run has lasted.
        rest: What the rest of the time is called; by default it is left out.
    """
    held = [(span, REASONS[name][0]) for name, span in held_us.items() if name not in _ENDS]
    # A run of no time at all is told by its last turn, which may be longer.
    elapsed_us = max(elapsed_us, sum(held_us.values()), 1)
    shares = [(span / elapsed_us, words) for span, words in held]
    told = sorted((it for it in shares if it[0] >= _SHARE_MIN), key=lambda it: -it[0])
    left = 1 - sum(share for share, _ in told)
    if told and rest and left >= _SHARE_MIN:
        told.append((left, rest))
    return ", ".join(f"{share_text(share)} {words}" for share, words in told)


def reason_text(op: OpSnapshot, names: Sequence[str]) -> str:
    """Why an operator launches nothing at the moment, with the numbers; empty if it just could.

    Args:
        op: The operator at that moment.
        names: What people call the operators of the plan, by their positions.
    """
    return "" if op.reason is None else _filled(REASONS[op.reason][1], op.details, names)


def failure_text(cause: str, details: Details) -> str:
    """Why a run failed, and what to do about it."""
    what, advice = FAILURES[cause]
    return f"{_filled(what, details)}; {advice}"


def _filled(template: str, details: Details, names: Sequence[str] = ()) -> str:
    return _Words(names).vformat(template, (), details)


class _Words(string.Formatter):
    """Fills in numbers as people read them: `{needs:bytes}`, `{rows:count}`, `{by:operator}`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def format_field(self, value: Any, format_spec: str) -> str:
        """One number, or a text that stands for several."""
        match format_spec:
            case "bytes":
                return bytes_text(value)
            case "count":
                return count_text(value)
            case "operator":
                return str(self._names[value])
            case "or_more":
                return " or more" if value else ""
        return str(value)


#: Reasons that hold nothing back.
_ENDS = ("done", "stopping")
#: Less is noise.
_SHARE_MIN = 0.005
