"""What holds each operator, and what would help.

Owns the advice that goes with each reason. Knows reports, and nothing of how they are gathered.
"""

from __future__ import annotations

from collections import Counter

from millstream._core import OpSnapshot
from millstream.observe.report import RunReport, reason_of
from millstream.observe.text import span_text
from millstream.plan.physical import PhysicalOp

#: What would help, by a part of the scheduler's reason that no other reason has.
ADVICE = {
    "waits for input": "the operators before it are slower: give those more workers",
    "object store": "memory is full: what comes after it is slower, or the store is small",
    "next one in order": "blocks come out of order: DataContext.preserve_order = False ends this",
    "full batch": "small blocks are gathered: a smaller batch_size starts sooner",
    " free": "its resources are in use: add nodes, or ask for less per worker",
    "limit of": "its own limit: raise concurrency, or TaskPoolStrategy(size=...)",
    "slots are kept": "operators further down go first: more CPUs would help all of them",
    "the consumer": "the loop that takes the rows is slower than the pipeline",
    "next operator has enough": "nothing to do: it is faster than what comes after it",
    "actors are busy": "the pool is the limit: raise its maximum, or make calls faster",
    "loading": "its classes are being constructed: a faster __init__ would help",
    "before it to finish": "bulk execution: DataContext.execution = 'streaming' overlaps them",
}


def why(report: RunReport | None) -> str:
    """Which workers are the scarcest, what would help them, and what holds each operator."""
    if report is None:
        return "The dataset has not run yet."
    scarcest, share = busiest(report)
    lines = [
        f"{report.outcome.capitalize()} after {span_text(report.wall_s)}. The scarcest workers "
        f"are those of {scarcest.title}: {share:.0%} of them at work on average."
    ]
    if share < _SHARE_BUSY:
        lines[0] += " So no operator is short of them: starting up, or the consumer, takes longer."
    for op, counters, held in zip(report.plan.ops, report.snapshot.ops, report.held, strict=True):
        verdict = _verdict(report, counters, held)
        advice = _advice(verdict) if op is scarcest and share >= _SHARE_BUSY else ""
        lines.append(f"{op.title}: {verdict}{advice}")
    return "\n".join(lines)


def busiest(report: RunReport) -> tuple[PhysicalOp, float]:
    """The operator whose workers were at work for the largest part of the time they had.

    Returns:
        The operator and that part, between 0 and 1.
    """
    shares = [
        (_share_at_work(report, op, counters), number)
        for number, (op, counters) in enumerate(
            zip(report.plan.ops, report.snapshot.ops, strict=True)
        )
    ]
    share, number = max(shares)
    return report.plan.ops[number], share


def _verdict(report: RunReport, counters: OpSnapshot, held: Counter[str]) -> str:
    if counters.state != "done":
        return counters.verdict or "nothing holds it"
    told = [item for item in held.most_common(1) if item[1] >= report.wall_s * _SHARE_MIN]
    if not told:
        return "done; nothing held it"
    reason, seconds = told[0]
    return f"done; {seconds / report.wall_s:.0%} of the time held: {reason}"


def _advice(verdict: str) -> str:
    reason = reason_of(verdict)
    told = next((advice for part, advice in ADVICE.items() if part in reason), None)
    return "" if told is None else f" ({told})"


def _share_at_work(report: RunReport, op: PhysicalOp, counters: OpSnapshot) -> float:
    workers = _workers(report, op, counters)
    if report.wall_s <= 0 or workers <= 0:
        return 0.0
    return min(1.0, counters.busy_us / 1e6 / report.wall_s / workers)


def _workers(report: RunReport, op: PhysicalOp, counters: OpSnapshot) -> float:
    """How many workers the operator can have on the nodes, if it has them alone."""
    if op.kind == "actors":
        return max(1, min(op.actors_max, counters.actors_started))
    fits = []
    for node in report.snapshot.nodes:
        shares = [
            total / wanted
            for total, wanted in [(node.cpu_total, op.cpu), (node.gpu_total, op.gpu)]
            if wanted
        ]
        fits.append(int(min(shares)) if shares else 1)
    return min(sum(fits), op.concurrency_max or sum(fits))


#: Workers that are idle more than this are not what limits the run.
_SHARE_BUSY = 0.5
#: Shorter holds are noise.
_SHARE_MIN = 0.05
