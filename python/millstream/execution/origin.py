"""Where in the order of all rows a run begins, and where its blocks belong there.

Owns which units a run that goes on from a state leaves out, how their border is recognised in
another run, and how many units are an epoch of the scheduler. Must not know who takes the rows.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from millstream.feed.progress import NO_MARK, Mark, Place, Start
from millstream.io.source import OpenUnits, ReadUnit
from millstream.plan.physical import PhysicalPlan
from millstream.plan.units import units_from


@dataclass
class Origin:
    """The beginning of a run.

    Args:
        units: The units that it reads; `None`: what comes of several sources, or in another order
            than theirs, is not told by units.
        mark: Which of all units is its first, and which of all rows is the first of this one.
        epoch_units: How many units are an epoch; 0: none is told.
    """

    units: Sequence[ReadUnit] | None = None
    mark: Mark = NO_MARK
    epoch_units: int = 0
    _border: dict[int, str] = field(default_factory=lambda: {0: ""})

    def place(self, action: tuple[int, int, int]) -> Place:
        """Where a block belongs of which the scheduler has told the place in this run.

        Args:
            action: The numbers of its first row, of its epoch, and of the first row of this.
        """
        row, epoch, epoch_row = action
        first = self.mark.row
        if self.units is None:
            return Place(first + row, NO_MARK)
        unit = epoch * self.epoch_units
        if unit not in self._border:
            # Blocks come in order, or nearly so.
            self._border = {0: self._border[0], unit: border(self.units, unit)}
        mark = Mark(self.mark.unit + unit, first + epoch_row, self._border[unit])
        return Place(first + row, mark)

    def left_out(self, start: Start) -> list[tuple[int, int]]:
        """The rows of this run that were had before."""
        first = self.mark.row
        return [(max(a - first, 0), b - first) for a, b in start.rows if b > first]


def begin(plan: PhysicalPlan, start: Start) -> tuple[PhysicalPlan, Origin]:
    """The plan from where a run begins that goes on from a state, and where that is.

    It begins with the last unit before which all rows were had, if that is known and the units are
    the same as then. Else it reads all of them again.

    Args:
        plan: The plan, split among its consumers.
        start: What was had before.
    """
    sources = [number for number, op in enumerate(plan.ops) if op.kind == "source"]
    follows = all(op.kind in _IN_ORDER_OF_UNITS for op in plan.ops)
    origin = Origin()
    if follows and len(sources) == 1:
        units = plan.ops[sources[0]].units
        mark = _found(units, start)
        if mark.unit:
            units = units_from(units, mark.unit)
            plan = _with_units(plan, sources[0], units)
        origin = Origin(units, mark, _epoch_units(units))
        origin._border[0] = mark.border
    split = replace(plan.ops[-1], left_out=tuple(origin.left_out(start)))
    return replace(plan, ops=[*plan.ops[:-1], split]), origin


def border(units: Sequence[ReadUnit], unit: int) -> str:
    """What tells the border before a unit from all others, by the two units that meet there.

    Before the first one, and if nothing tells it, it is empty.
    """
    if unit == 0:
        return ""
    try:
        both = pickle.dumps(list(units[unit - 1 : unit + 1]), protocol=4)
    except (pickle.PicklingError, TypeError, AttributeError):
        # Such as a function that only this program has.
        return ""
    return hashlib.blake2s(both, digest_size=8).hexdigest()


def _found(units: Sequence[ReadUnit], start: Start) -> Mark:
    """The last mark before which all rows were had, and which is there in these units."""
    had = start.had_first()
    for mark in sorted(start.marks, reverse=True):
        if mark.row <= had and mark.border and _has(units, mark):
            return mark
    return NO_MARK


def _has(units: Sequence[ReadUnit], mark: Mark) -> bool:
    if isinstance(units, OpenUnits):
        units.extend(mark.unit + 1)
    return mark.unit <= len(units) and border(units, mark.unit) == mark.border


def _with_units(plan: PhysicalPlan, source: int, units: Sequence[ReadUnit]) -> PhysicalPlan:
    ops = list(plan.ops)
    ops[source] = replace(ops[source], units=units, rows_out=None)
    return replace(plan, ops=ops)


def _epoch_units(units: Sequence[ReadUnit]) -> int:
    """So many that a run that goes on reads little again, and tasks are not cut short.

    Few are a part of all, if these are known.
    """
    known = [unit.nbytes for unit in units[:_LOOKED_AT]]
    mean = sum(known) // max(1, len(known))
    by_bytes = _EPOCH_BYTES // mean if mean else _LOOKED_AT
    is_open = isinstance(units, OpenUnits) and units.is_open
    return max(1, by_bytes if is_open else min(by_bytes, len(units) // _PARTS))


#: What keeps the rows in the order of the units, each in its place.
_IN_ORDER_OF_UNITS: tuple[str, ...] = ("source", "tasks", "actors", "split")
#: Bytes of an epoch in memory, about, and into how many all are divided at least.
_EPOCH_BYTES = 64 << 20
_PARTS = 50
#: Units of which the size is looked at.
_LOOKED_AT = 64
