"""Progress in words: a line for the run and one per operator.

Owns what is said of a moment of a run. Knows nothing of where it is shown (`display`), nor of how
a run works: it is given snapshots.
"""

from __future__ import annotations

from collections.abc import Sequence

from millstream._core import OpSnapshot, Snapshot
from millstream.observe.estimate import Progress, Rate, Total, progress_of, total_rows
from millstream.observe.text import (
    bar_text,
    bytes_text,
    clock_text,
    count_text,
    plural,
    rate_text,
)
from millstream.observe.words import reason_text
from millstream.plan.physical import PhysicalPlan


class Lines:
    """The lines of a display, from one moment to the next."""

    def __init__(self, plan: PhysicalPlan, operators: bool) -> None:
        self._plan = plan
        self._operators = operators
        self._rate = Rate()

    def at(
        self, elapsed_s: float, snapshot: Snapshot, outcome: str = "running"
    ) -> tuple[tuple[str, str], list[tuple[str, str]]]:
        """The line of the run in two parts, and for each operator its counts and what holds it."""
        progress = progress_of(self._plan, snapshot)
        self._rate.add(elapsed_s, progress.done)
        head = (
            usage_text(snapshot, outcome),
            meter_text(progress, self._rate, elapsed_s, outcome),
        )
        if not self._operators:
            return head, []
        totals = total_rows(self._plan, snapshot)
        titles = [_short(op.title) for op in self._plan.ops]
        rows = zip(titles, snapshot.ops, totals, strict=True)
        return head, [operator_line(title, op, total, titles) for title, op, total in rows]

    def text(self, elapsed_s: float, snapshot: Snapshot, outcome: str = "running") -> str:
        """The lines as plain text."""
        head, operators = self.at(elapsed_s, snapshot, outcome)
        lines = [f"  {line}{f' · {verdict}' if verdict else ''}" for line, verdict in operators]
        return "\n".join([" ".join(head), *lines])


def usage_text(snapshot: Snapshot, outcome: str) -> str:
    """What a run uses of the cluster; when it is over, the most that it held in memory."""
    nodes = snapshot.nodes
    store_total = bytes_text(sum(node.store_total for node in nodes))
    if outcome != "running":
        peak = bytes_text(sum(node.store_peak for node in nodes))
        return f"{outcome.capitalize()}: at most {peak}/{store_total} object_store_memory:"
    used = [f"{_used([(node.cpu_used, node.cpu_total) for node in nodes])} CPU"]
    if any(node.gpu_total for node in nodes):
        used.append(f"{_used([(node.gpu_used, node.gpu_total) for node in nodes])} GPU")
    store_used = bytes_text(sum(node.store_used for node in nodes))
    used.append(f"{store_used}/{store_total} object_store_memory")
    return f"Running: {', '.join(used)}:"


def meter_text(progress: Progress, rate: Rate, elapsed_s: float, outcome: str) -> str:
    """How far a run is, how fast, and when it will end; what is not known is a question mark."""
    share, per_second = progress.share, rate.per_second()
    if outcome != "running":
        per_second = progress.done / elapsed_s if elapsed_s > 0 else None
    speed = "?" if per_second is None else rate_text(per_second)
    clock = clock_text(elapsed_s)
    counts = _of(progress.done, progress.total)
    if share is None or outcome not in ("running", "finished"):
        return f"{counts} [{clock}, {speed}{progress.unit}/s]"
    left = "?"
    if progress.total and per_second:
        left = clock_text((progress.total.count - progress.done) / per_second)
    times = clock if outcome == "finished" else f"{clock}<{left}"
    bar = bar_text(share, _BAR_WIDTH)
    return f"{int(share * 100)}%|{bar}| {counts} [{times}, {speed}{progress.unit}/s]"


def operator_line(
    title: str, op: OpSnapshot, total: Total | None, titles: Sequence[str]
) -> tuple[str, str]:
    """The line of an operator: what it does, and why it does not do more (empty: nothing)."""
    parts = []
    if op.state == "done":
        parts.append("done")
    else:
        parts.append(plural(op.tasks_running, "task"))
        if op.tasks_paused:
            parts[-1] += f" ({op.tasks_paused} paused)"
        if op.actors_ready or op.actors_starting:
            loading = f" ({op.actors_starting} loading)" if op.actors_starting else ""
            parts.append(plural(op.actors_ready + op.actors_starting, "actor") + loading)
        if op.queued_blocks:
            queued = plural(op.queued_blocks, "block")
            parts.append(f"{queued} queued ({bytes_text(op.queued_bytes)})")
    parts.append(f"{_of(op.rows_out, total)} rows")
    if op.tasks_retried:
        parts.append(f"{count_text(op.tasks_retried)} retried")
    return f"{title}: {', '.join(parts)}", "" if op.state == "done" else reason_text(op, titles)


def _of(done: int, total: Total | None) -> str:
    if total is None:
        return f"{count_text(done)}/?"
    return f"{count_text(done)}/{'' if total.is_exact else '~'}{count_text(total.count)}"


def _used(amounts: list[tuple[float, float]]) -> str:
    used, total = sum(each[0] for each in amounts), sum(each[1] for each in amounts)
    return f"{used:.1f}/{total:.1f}"


def _short(title: str) -> str:
    if len(title) <= _TITLE_WIDTH:
        return title
    head = _TITLE_WIDTH // 2
    return f"{title[:head]}…{title[head + 1 - _TITLE_WIDTH :]}"


_BAR_WIDTH = 10
#: Longer titles, of many fused operators, would push the counts off the screen.
_TITLE_WIDTH = 60
