"""What a run waited for, what would help, and what holds each operator.

Owns the text of `Dataset.why`. Knows reports, and nothing of how they are gathered.
"""

from __future__ import annotations

from millstream._core import OpSnapshot
from millstream.observe.report import RunReport
from millstream.observe.text import share_text, span_text
from millstream.observe.words import BOTTLENECKS, held_text, reason_text, times_text
from millstream.plan.physical import PhysicalOp


def why(report: RunReport | None) -> str:
    """What the run waited for most, what would help, and what holds each operator."""
    if report is None:
        return "The dataset has not run yet."
    lines = [f"{report.outcome.capitalize()} after {span_text(report.wall_s)}."]
    lines += report.notes
    lines += _bottleneck(report)
    for op, counters in zip(report.plan.ops, report.snapshot.ops, strict=True):
        lines.append(f"{op.title}: {_verdict(report, op, counters)}")
    return "\n".join(lines)


def _bottleneck(report: RunReport) -> list[str]:
    finding = report.snapshot.bottleneck
    if finding is None:
        return []
    if report.outcome != "running" and report.wall_s < _ADVICE_FROM_S:
        return ["It was too short to say what would help."]
    title = "" if finding.op is None else report.plan.ops[finding.op].title
    what, help_ = (text.format(op=title) for text in BOTTLENECKS[finding.bottleneck])
    return [
        f"For {share_text(finding.share)} of the time it waited for {what}.",
        f"What would help: {help_}.",
    ]


def _verdict(report: RunReport, op: PhysicalOp, counters: OpSnapshot) -> str:
    held = held_text(counters.held_us, report.snapshot.elapsed_us)
    workers = "actors" if op.kind == "actors" else "tasks"
    if counters.state == "done":
        verdict = f"done; held {held}" if held else "done; nothing held it"
    else:
        verdict = reason_text(counters, [op.title for op in report.plan.ops]) or "nothing holds it"
    return f"{verdict}; its {workers}' time: {times_text(counters.times)}"


#: A run that took less has no part that is worth making faster.
_ADVICE_FROM_S = 1.0
