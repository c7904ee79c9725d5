"""What expressions do with dates and timestamps.

Owns `Expr.dt`. Arrow computes it.
"""

from __future__ import annotations

from typing import Any, Literal

from millstream.errors.checks import check_choice, check_kind
from millstream.expr.nodes import Call, Expr

Unit = Literal[
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "hour",
    "minute",
    "second",
    "millisecond",
    "microsecond",
    "nanosecond",
]


class Times:
    """Dates and timestamps. Those with a zone are taken as clocks there show them.

    Args:
        expr: What gives them.
    """

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def year(self) -> Expr:
        """The year."""
        return Call("year", self._expr)

    def month(self) -> Expr:
        """The month, from 1."""
        return Call("month", self._expr)

    def day(self) -> Expr:
        """The day of the month, from 1."""
        return Call("day", self._expr)

    def hour(self) -> Expr:
        """The hour, from 0."""
        return Call("hour", self._expr)

    def minute(self) -> Expr:
        """The minute, from 0."""
        return Call("minute", self._expr)

    def second(self) -> Expr:
        """The second, from 0, without its fraction."""
        return Call("second", self._expr)

    def strftime(self, fmt: str) -> Expr:
        """As text.

        Args:
            fmt: As in C, such as `"%Y-%m-%d"`. `%S` has the fraction, as far as the type does.
        """
        check_kind("fmt", fmt, str, optional=False)
        return Call("strftime", self._expr, format=fmt)

    def ceil(self, unit: Unit) -> Expr:
        """The next beginning of a unit; itself, if it is one.

        Args:
            unit: `"year"`, `"quarter"`, `"month"`, `"week"`, `"day"`, `"hour"` and shorter ones.
        """
        return self._to_unit("ceil_temporal", unit)

    def floor(self, unit: Unit) -> Expr:
        """The beginning of the unit that it is in.

        Args:
            unit: As in `ceil`.
        """
        return self._to_unit("floor_temporal", unit)

    def round(self, unit: Unit) -> Expr:
        """The nearest beginning of a unit.

        Args:
            unit: As in `ceil`.
        """
        return self._to_unit("round_temporal", unit)

    def _to_unit(self, function: str, unit: Any) -> Expr:
        check_choice("unit", unit, Unit.__args__)  # type: ignore[attr-defined]
        return Call(function, self._expr, multiple=1, unit=unit)
