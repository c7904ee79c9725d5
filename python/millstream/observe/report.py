"""What is kept of a run for people: its last snapshot and its times.

Owns the record. Knows nothing of how it is gathered or shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from millstream._core import Snapshot
from millstream.plan.physical import PhysicalPlan


@dataclass(frozen=True)
class RunReport:
    """A run, as it is or as it ended.

    Args:
        plan: What ran.
        snapshot: The scheduler's counters, at last.
        wall_s: Seconds since the start, or from start to end.
        first_block_s: Seconds from the start until the consumer had its first block.
        outcome: `"running"`, `"finished"`, `"stopped"` (the consumer had enough) or `"failed"`.
    """

    plan: PhysicalPlan
    snapshot: Snapshot
    wall_s: float
    first_block_s: float | None
    outcome: str
