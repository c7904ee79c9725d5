"""What is kept of a run for people: its last snapshot and its times.

Owns the record. Knows nothing of how it is gathered or shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from millstream._core import Snapshot
from millstream.observe.text import plural, span_text
from millstream.plan.physical import PhysicalPlan


@dataclass(frozen=True, repr=False)
class RunReport:
    """A run, as it is or as it ended.

    Args:
        plan: What ran.
        snapshot: The scheduler's counters, at last.
        wall_s: Seconds since the start, or from start to end.
        first_block_s: Seconds from the start until the consumer had its first block.
        outcome: `"running"`, `"finished"`, `"stopped"` (the consumer had enough) or `"failed"`.
        rows_written: The rows that a write put in place; None if it was no write, or has not ended.
        files_written: The files that they are in; likewise.
        notes: What is known beside the snapshot, such as work that Ray does not begin.
    """

    plan: PhysicalPlan
    snapshot: Snapshot
    wall_s: float
    first_block_s: float | None
    outcome: str
    rows_written: int | None = None
    files_written: int | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        operators = plural(len(self.plan.ops), "operator")
        return f"<RunReport {self.outcome} after {span_text(self.wall_s)}: {operators}>"
