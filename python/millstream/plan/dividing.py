"""A plan in parts: which rows each of several runs of it reads, so that together they read all.

Owns the rule. Knows nothing of who runs the parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from millstream.io.source import Source
from millstream.plan.logical import LogicalPlan, Map, Phase, Read, Union, Zip


@dataclass(frozen=True)
class Share:
    """One of several equal parts.

    Args:
        index: Which, from 0.
        count: Of how many.
    """

    index: int
    count: int


def can_be_divided(plan: LogicalPlan) -> bool:
    """Whether the rows of a plan are those of its parts: what is done to one needs no others."""
    for each in plan.all():
        if isinstance(each.start, Zip | Phase):
            return False
        if not all(isinstance(it, Map) and not it.writes for it in each.operators):
            return False
    return True


def divided(plan: LogicalPlan, share: Share) -> LogicalPlan:
    """The plan over its share of the units of each source; see `can_be_divided`."""

    def change(plan: LogicalPlan, inputs: list[LogicalPlan]) -> LogicalPlan:
        start = plan.start
        if isinstance(start, Union):
            return LogicalPlan(replace(start, inputs=tuple(inputs)), plan.operators)
        assert isinstance(start, Read)  # noqa: S101 - nothing else can be divided
        source = _divided(start.source, share)
        return LogicalPlan(replace(start, source=source), plan.operators)

    return plan.fold(change)


def _divided(source: Source, share: Share) -> Source:
    """The source with each unit whose place is that of the share, whatever is asked of it."""
    if source.redrawn is not None:
        source = source.redrawn()
    if source.completed is not None:
        source = source.completed()
    return replace(
        source,
        units=source.units[share.index :: share.count],
        rows=source.rows if share.count == 1 else None,
        redrawn=None,
        completed=None,
        with_columns=_again(source.with_columns, share),
        with_filter=_again(source.with_filter, share),
    )


def _again(make: Callable[..., Source] | None, share: Share) -> Any:
    return None if make is None else partial(_made, make, share)


def _made(make: Callable[..., Source], share: Share, *args: Any) -> Source:
    return _divided(make(*args), share)
