"""How far a run is, out of what its operators have counted.

Owns the estimates of totals, rates and remaining time. Knows nothing of how they are shown.
Whatever is not known is `None`; an estimate says that it is one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from millstream._core import OpSnapshot, Snapshot
from millstream.plan.physical import PhysicalOp, PhysicalPlan


@dataclass(frozen=True)
class Total:
    """How many there will be in the end.

    Args:
        count: How many.
        is_exact: Whether that is certain, or extrapolated from what has been done.
    """

    count: int
    is_exact: bool


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Args:
        done: What is done, in `unit`s.
        total: What there will be, if anything is known of it.
        unit: What is counted: `"row"`, or `"file"`, ….
    """

    done: int
    total: Total | None
    unit: str

    @property
    def share(self) -> float | None:
        """The part that is done, between 0 and 1, if it is known."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total.count) if self.total.count else 1.0


def progress_of(plan: PhysicalPlan, snapshot: Snapshot) -> Progress:
    """How far the run is, in rows that reached its end.

    A run that writes counts the rows that are written; where reading, transforming and writing are
    one operator, whose rows nobody counts, it counts the units of the source.
    """
    last = snapshot.ops[-1]
    if not plan.writes:
        return Progress(snapshot.output_rows, total_rows(plan, snapshot)[-1], "row")
    if len(snapshot.ops) > 1:
        (before,) = plan.ops[-1].inputs_at(len(plan.ops) - 1)
        return Progress(last.rows_in, total_rows(plan, snapshot)[before], "row")
    units = None if last.is_listing else Total(last.units_total, is_exact=True)
    return Progress(last.units_done, units, "unit")


def total_rows(plan: PhysicalPlan, snapshot: Snapshot) -> list[Total | None]:
    """The rows that each operator will have put out, as far as is known."""
    totals: list[Total | None] = []
    for number, op in enumerate(snapshot.ops):
        if op.state == "done":
            totals.append(Total(op.rows_out, is_exact=True))
        else:
            planned = plan.ops[number]
            above = [totals[position] for position in planned.inputs_at(number)]
            totals.append(_total(planned, above, op))
    return totals


def _total(planned: PhysicalOp, above: list[Total | None], op: OpSnapshot) -> Total | None:
    match planned.kind:
        case "source":
            return _source_total(planned, op)
        case "union":
            known = [total for total in above if total is not None]
            if len(known) < len(above):
                return None
            return Total(sum(t.count for t in known), all(t.is_exact for t in known))
        case "limit":
            limit = Total(planned.limit_rows or 0, is_exact=False)
            return min(limit, above[0] or limit, key=lambda total: total.count)
        case "zip":
            return next((total for total in above if total is not None), None)
        case _:
            return _extrapolated(above[0], op)


def _source_total(planned: PhysicalOp, op: OpSnapshot) -> Total | None:
    if planned.rows_out is not None and planned.is_rows_out_certain:
        return Total(planned.rows_out, is_exact=True)
    if op.is_listing or op.units_done < max(_UNITS_TELLING, op.tasks_running):
        rows = planned.rows_out
        return None if rows is None else Total(max(op.rows_out, rows), is_exact=False)
    # The rows of tasks under way are counted too: on average they are half done.
    reached = op.units_done + op.tasks_running / 2
    return Total(max(op.rows_out, round(op.rows_out * op.units_total / reached)), is_exact=False)


def _extrapolated(rows_in_total: Total | None, op: OpSnapshot) -> Total | None:
    if rows_in_total is None or not op.rows_in:
        return None
    count = round(rows_in_total.count * op.rows_out / op.rows_in)
    return Total(max(op.rows_out, count), is_exact=False)


class Rate:
    """Items per second: over the last seconds while it runs, so that it shows what is now."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque([(0.0, 0)])

    def add(self, elapsed_s: float, done: int) -> None:
        """Notes how many were done at a moment."""
        self._samples.append((elapsed_s, done))
        while len(self._samples) > 2 and elapsed_s - self._samples[1][0] >= _WINDOW_S:
            self._samples.popleft()

    def per_second(self) -> float | None:
        """The rate, or `None` while nothing is done."""
        (start_s, before), (end_s, after) = self._samples[0], self._samples[-1]
        if after == 0 or end_s <= start_s:
            return None
        return (after - before) / (end_s - start_s)


#: Fewer units than this, or than there are tasks under way, tell little of the others.
_UNITS_TELLING = 4
#: Long enough to hold several tasks of every operator, short enough to show a change.
_WINDOW_S = 30.0
