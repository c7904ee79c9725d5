"""What is kept of a run for people: its last snapshot, its times, and what held it how long.

Owns the record and how it is gathered. Knows nothing of how it is shown.
"""

from __future__ import annotations

import re
from collections import Counter
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
        held: Per operator, for how many seconds it was held by which reason; sampled.
        outcome: `"running"`, `"finished"`, `"stopped"` (the consumer had enough) or `"failed"`.
    """

    plan: PhysicalPlan
    snapshot: Snapshot
    wall_s: float
    first_block_s: float | None
    held: tuple[Counter[str], ...]
    outcome: str


class HeldTimes:
    """Adds up for how long each operator was held by what, from samples of the verdicts."""

    def __init__(self, operators: int) -> None:
        self._seconds: tuple[Counter[str], ...] = tuple(Counter() for _ in range(operators))
        self._last_s = 0.0
        self._samples = 0

    def add(self, elapsed_s: float, snapshot: Snapshot) -> None:
        """Counts the time since the last sample for what holds each operator now."""
        span, self._last_s = elapsed_s - self._last_s, elapsed_s
        self._samples += 1
        for seconds, op in zip(self._seconds, snapshot.ops, strict=True):
            if op.state != "done" and op.verdict:
                seconds[reason_of(op.verdict)] += span  # type: ignore[assignment]

    def so_far(self) -> tuple[Counter[str], ...]:
        """A copy of what has been added up; nothing while there are too few samples to tell."""
        is_enough = self._samples >= _SAMPLES_MIN
        return tuple(Counter(seconds if is_enough else {}) for seconds in self._seconds)


def reason_of(verdict: str) -> str:
    """A verdict without its numbers, so that the same reason is the same text."""
    return _NUMBERS.sub("…", verdict)


#: Fewer samples of a short run would say more than is known.
_SAMPLES_MIN = 5
_NUMBERS = re.compile(r"\d[\d.,]*(?: ?(?:[KMGTP]i)?B\b)?(?: of \d[\d.,]*)?")
