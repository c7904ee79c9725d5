"""The progress display: a line for the run and one per operator, live or as plain log lines.

Owns how a moment of a run is shown. Knows nothing of how a run works: it is given snapshots.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, TextIO

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
from millstream.plan.physical import PhysicalPlan

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text


class Display(Protocol):
    """Something that shows how a run goes."""

    def show(self, elapsed_s: float, snapshot: Snapshot) -> None:
        """Shows a moment."""

    def end(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> None:
        """Shows the last moment, and is done."""


def open_display(plan: PhysicalPlan, *, operators: bool, stream: TextIO | None = None) -> Display:
    """The display that fits where the output goes: live on a terminal, else log lines.

    Args:
        plan: What runs.
        operators: Whether each operator has a line.
        stream: Where to write; by default standard error.
    """
    from rich.console import Console

    console = Console(file=stream, stderr=stream is None)
    if console.is_terminal:
        return LiveDisplay(plan, operators, stream)
    return LogDisplay(plan, operators, stream or sys.stderr)


class Lines:
    """The lines of a display, from one moment to the next."""

    def __init__(self, plan: PhysicalPlan, operators: bool) -> None:
        self._plan = plan
        self._operators = operators
        self._rate = Rate()

    def at(
        self, elapsed_s: float, snapshot: Snapshot, outcome: str = "running"
    ) -> tuple[str, list[tuple[str, str]]]:
        """The line of the run, and for each operator its counts and what holds it."""
        progress = progress_of(self._plan, snapshot)
        self._rate.add(elapsed_s, progress.done)
        head = run_line(progress, self._rate, elapsed_s, snapshot, outcome)
        if not self._operators:
            return head, []
        totals = total_rows(self._plan, snapshot)
        titles = [op.title for op in self._plan.ops]
        rows = zip(titles, snapshot.ops, totals, strict=True)
        return head, [operator_line(title, op, total) for title, op, total in rows]


def run_line(
    progress: Progress, rate: Rate, elapsed_s: float, snapshot: Snapshot, outcome: str
) -> str:
    """The line of the run: what it uses of the cluster, how far it is, and when it will end."""
    nodes = snapshot.nodes
    store = [sum(node.store_used for node in nodes), sum(node.store_total for node in nodes)]
    used = [f"{_used([(node.cpu_used, node.cpu_total) for node in nodes])} CPU"]
    if any(node.gpu_total for node in nodes):
        used.append(f"{_used([(node.gpu_used, node.gpu_total) for node in nodes])} GPU")
    used.append(f"{bytes_text(store[0])}/{bytes_text(store[1])} object_store_memory")
    return f"{outcome.capitalize()}: {', '.join(used)}: " + _meter(
        progress, rate, elapsed_s, outcome
    )


def operator_line(title: str, op: OpSnapshot, total: Total | None) -> tuple[str, str]:
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
    return f"{title}: {', '.join(parts)}", "" if op.state == "done" else op.verdict


class LiveDisplay:
    """Lines on a terminal that are drawn over and stay when the run ends."""

    def __init__(self, plan: PhysicalPlan, operators: bool, stream: TextIO | None = None) -> None:
        self._lines = Lines(plan, operators)
        self._stream = stream
        self._live: Live | None = None

    def show(self, elapsed_s: float, snapshot: Snapshot) -> None:
        """Draws a moment."""
        if self._live is None:
            self._live = self._opened()
        self._live.update(self._drawn(elapsed_s, snapshot, "running"), refresh=True)

    def end(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> None:
        """Draws the last moment."""
        if self._live is None:
            return
        self._live.update(self._drawn(elapsed_s, snapshot, outcome), refresh=True)
        self._live.stop()

    def _opened(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream, stderr=self._stream is None)
        live = Live(console=console, auto_refresh=False)
        live.start()
        return live

    def _drawn(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> Text:
        from rich.text import Text

        head, operators = self._lines.at(elapsed_s, snapshot, outcome)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(head, "bold")
        for line, verdict in operators:
            text.append(f"\n  {line}")
            if verdict:
                text.append(f" · {verdict}", "dim")
        return text


class LogDisplay:
    """Plain lines, now and then, for output that nobody draws over."""

    def __init__(self, plan: PhysicalPlan, operators: bool, stream: TextIO) -> None:
        self._lines = Lines(plan, operators)
        self._stream = stream
        self._next_s = _LOG_EVERY_S

    def show(self, elapsed_s: float, snapshot: Snapshot) -> None:
        """Writes a moment, if it is time for one."""
        head, operators = self._lines.at(elapsed_s, snapshot)
        if elapsed_s >= self._next_s:
            self._next_s = elapsed_s + _LOG_EVERY_S
            self._write(head, operators)

    def end(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> None:
        """Writes the last moment, if there was one before."""
        if self._next_s > _LOG_EVERY_S:
            self._write(*self._lines.at(elapsed_s, snapshot, outcome))

    def _write(self, head: str, operators: list[tuple[str, str]]) -> None:
        lines = [head]
        lines += [f"  {line}{f' · {verdict}' if verdict else ''}" for line, verdict in operators]
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()


def _meter(progress: Progress, rate: Rate, elapsed_s: float, outcome: str) -> str:
    share, per_second = progress.share, rate.per_second()
    if outcome != "running":
        per_second = progress.done / elapsed_s if elapsed_s > 0 else None
    speed = "?" if per_second is None else rate_text(per_second)
    clock = clock_text(elapsed_s)
    if share is None or outcome not in ("running", "finished"):
        return f"{_of(progress.done, progress.total)} [{clock}, {speed}{progress.unit}/s]"
    left = "?"
    if outcome == "running" and progress.total and per_second:
        left = clock_text((progress.total.count - progress.done) / per_second)
    times = clock if outcome == "finished" else f"{clock}<{left}"
    percent = int(share * 100) if outcome == "running" else 100
    return (
        f"{percent}%|{bar_text(share, _BAR_WIDTH)}| {_of(progress.done, progress.total)} "
        f"[{times}, {speed}{progress.unit}/s]"
    )


def _of(done: int, total: Total | None) -> str:
    if total is None:
        return f"{count_text(done)}/?"
    return f"{count_text(done)}/{'' if total.is_exact else '~'}{count_text(total.count)}"


def _used(amounts: list[tuple[float, float]]) -> str:
    used, total = sum(each[0] for each in amounts), sum(each[1] for each in amounts)
    return f"{used:.1f}/{total:.1f}"


#: Log lines stay, so there are few of them.
_LOG_EVERY_S = 10.0
_BAR_WIDTH = 10
