"""Where the time of a run went, as text.

Owns the text of `Dataset.stats`. Knows reports, and nothing of how they are gathered.
"""

from __future__ import annotations

from millstream._core import OpSnapshot, Snapshot
from millstream.observe.explain import flow_text, resources_text
from millstream.observe.report import RunReport
from millstream.observe.text import bytes_text, count_text, plural, rate_text, span_text
from millstream.observe.words import held_text, times_text
from millstream.plan.physical import PhysicalOp


def stats(report: RunReport) -> str:
    """The run as a whole, then a paragraph per operator."""
    lines = [flow_text(report.plan), _run_line(report), _store_line(report.snapshot)]
    lines += _slot_lines(report.snapshot)
    lines += _trouble(report.snapshot)
    last = len(report.plan.ops) - 1
    operators = zip(report.plan.ops, report.snapshot.ops, strict=True)
    for number, (op, counters) in enumerate(operators):
        lines += ["", f"{op.title} ({resources_text(op)} each)"]
        writes = report.plan.writes and number == last
        lines += [f"  {line}" for line in _operator_lines(report, op, counters, writes=writes)]
    return "\n".join(lines)


def peak_store_bytes(snapshot: Snapshot) -> int:
    """The most bytes of blocks that ever lay on one node."""
    return max((node.store_peak for node in snapshot.nodes), default=0)


def _run_line(report: RunReport) -> str:
    snapshot = report.snapshot
    rows = _rows_done(report)
    line = f"{report.outcome.capitalize()} after {span_text(report.wall_s)}: {plural(rows, 'row')}"
    if report.wall_s > 0:
        line += f", {rate_text(rows / report.wall_s)} rows/s"
    if report.files_written is not None:
        line += f", {plural(report.files_written, 'file')}"
    elif not report.plan.writes:
        line += f", {bytes_text(snapshot.ops[-1].bytes_out)} out"
    if report.first_block_s is not None:
        line += f"; first block after {span_text(report.first_block_s)}"
    return line


def _rows_done(report: RunReport) -> int:
    """The rows of the dataset; what a write puts out are reports of its files."""
    if not report.plan.writes:
        return report.snapshot.output_rows
    if report.rows_written is not None:
        return report.rows_written
    last = report.snapshot.ops[-1]
    return 0 if last.is_source else last.rows_in


def _store_line(snapshot: Snapshot) -> str:
    fullest = max(snapshot.nodes, key=lambda node: node.store_peak, default=None)
    if fullest is None:
        return "No node is left."
    share = fullest.store_peak / fullest.store_total if fullest.store_total else 0.0
    nodes = f" on the fullest of {len(snapshot.nodes)} nodes" if len(snapshot.nodes) > 1 else ""
    return (
        f"Object store: at most {bytes_text(fullest.store_peak)} of "
        f"{bytes_text(fullest.store_total)} ({share:.0%}){nodes}{_aside(snapshot)}"
    )


def _aside(snapshot: Snapshot) -> str:
    """What exchanges have set aside, which is on disk where memory does not hold it."""
    aside = snapshot.bytes_set_aside
    return f"; {bytes_text(aside)} set aside behind exchanges" if aside else ""


def _slot_lines(snapshot: Snapshot) -> list[str]:
    kinds = [("CPUs", snapshot.cpu_times), ("GPUs", snapshot.gpu_times)]
    return [f"{name}: {times_text(times)}" for name, times in kinds if times.total_s > 0]


def _trouble(snapshot: Snapshot) -> list[str]:
    counts = {
        "task retried": sum(op.tasks_retried for op in snapshot.ops),
        "actor lost": sum(op.actors_lost for op in snapshot.ops),
        "worker killed for lack of memory": sum(op.memory_kills for op in snapshot.ops),
        "launch beyond the memory limit, since nothing else could run": snapshot.overshoots,
        "worker started with less memory than it is thought to need": snapshot.heap_overshoots,
        "late event of a lost attempt, ignored": snapshot.stale_events,
    }
    told = [f"{count_text(count)} x {what}" for what, count in counts.items() if count]
    return [f"Trouble: {'; '.join(told)}"] if told else []


def _rows_line(report: RunReport, op: PhysicalOp, counters: OpSnapshot, *, writes: bool) -> str:
    if op.kind == "source":
        line = f"Read: {count_text(counters.units_done)} of {plural(counters.units_total, 'unit')}"
        line += " listed so far; " if counters.is_listing else "; "
    else:
        line = f"Rows: {count_text(counters.rows_in)} in, "
    if writes:
        return line + f"{plural(_rows_done(report), 'row')} written"
    rows = (
        plural(counters.rows_out, "row") if op.kind == "source" else count_text(counters.rows_out)
    )
    line += rows if op.kind == "source" else f"{rows} out"
    return line + f" in {plural(counters.blocks_out, 'block')}, {bytes_text(counters.bytes_out)}"


def _operator_lines(
    report: RunReport, op: PhysicalOp, counters: OpSnapshot, *, writes: bool
) -> list[str]:
    finished = counters.tasks_finished
    busy_s = counters.busy_us / 1e6
    time = f"Time: {span_text(busy_s)} of work in {plural(finished, 'task')}"
    if finished:
        time += f", {span_text(busy_s / finished)} each"
    if report.wall_s > 0:
        time += f"; {busy_s / report.wall_s:.2f} at work on average"
    if op.kind == "actors":
        time += f", of {plural(counters.actors_started, 'actor')} started"
    lines = [time, _rows_line(report, op, counters, writes=writes)]
    if counters.heap_peak_bytes:
        lines.append(f"Heap: at most {bytes_text(counters.heap_peak_bytes)} in one worker")
    workers = "Actors" if op.kind == "actors" else "Tasks"
    lines.append(f"{workers}: {times_text(counters.times)}")
    reasons = held_text(counters.held_us, report.snapshot.elapsed_us, rest="not held")
    if reasons:
        lines.append(f"Held: {reasons}")
    return lines
