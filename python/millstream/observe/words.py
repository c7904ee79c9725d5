"""The scheduler's names in plain words, and what would help.

Owns the words for bottlenecks, reasons and what workers' time goes to. Knows no run.
"""

from __future__ import annotations

from millstream._core import Times
from millstream.observe.text import share_text

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

#: What holds an operator, by the scheduler's name for the reason.
REASONS = {
    "input_empty": "no input",
    "listing": "more units are being listed",
    "order": "the next block in order is missing",
    "bundling": "no full batch yet",
    "no_free_slot": "no free CPU or GPU",
    "concurrency_reached": "its own limit of tasks",
    "slot_reserved": "the last slots are kept for later operators",
    "heap_reserved": "no node has the memory free",
    "memory_reserved": "no room in the object store",
    "output_full": "output waits for the consumer",
    "downstream_fed": "the next operator has enough",
    "actors_busy": "all actors are busy",
    "actor_starting": "its actors are loading",
    "upstream_running": "the operator before it must finish first",
    "barrier": "the map side of its exchange must finish first",
    "earlier_input": "the input before it comes first",
    "limit_covered": "enough rows for the limit are on their way",
    "limit_reached": "the limit has all its rows",
}

_ACTIVITIES = {
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
    """What workers' time went to, the longest first: `"82% compute, 11% waiting for input, …"`."""
    if times.total_s <= 0:
        return "no time yet"
    shares = [(getattr(times, name) / times.total_s, word) for name, word in _ACTIVITIES.items()]
    return shares_text(shares)


def held_text(held_us: dict[str, int], elapsed_us: int) -> str:
    """What held an operator, the longest first: `"41% no input, 12% …"`; empty if nothing did."""
    known = [(span, REASONS[name]) for name, span in held_us.items() if name in REASONS]
    return shares_text([(span / max(elapsed_us, 1), words) for span, words in known])


def shares_text(shares: list[tuple[float, str]]) -> str:
    """Shares with their names, the largest first, without those that round to nothing."""
    told = [(share, words) for share, words in shares if share >= _SHARE_MIN]
    return ", ".join(
        f"{share_text(share)} {words}" for share, words in sorted(told, key=lambda s: -s[0])
    )


#: Less is noise.
_SHARE_MIN = 0.005
