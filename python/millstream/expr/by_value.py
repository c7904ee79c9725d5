"""Comparisons of numbers with constants that are none of their type, decided by value.

Owns which comparison, with a constant of the type, says the same. Must not know Arrow.

No number is changed for it: 2.5 is no integer, but what is below it is at most 2; -1 is no unsigned
integer, but below all of them; 2**53 + 1 is no float, but lies between two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

#: The comparison when its sides change places.
SWAPPED = {
    "equal": "equal",
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}


def of_integers(function: str, number: float, low: int, high: int) -> tuple[str, int]:
    """The comparison of integers with a number.

    Args:
        function: The comparison, of `SWAPPED`; the integers are on its left.
        number: The number, an integer or a float.
        low: The least integer there is.
        high: The largest.

    Returns:
        The comparison, and an integer from `low` to `high`, that say the same of each integer.
    """
    never, always = ("less", low), ("greater_equal", low)
    if isinstance(number, float) and math.isnan(number):
        return never
    is_above, is_below = number > high, number < low
    if function in ("less", "less_equal") and (is_above or is_below):
        return always if is_above else never
    if function in ("greater", "greater_equal") and (is_above or is_below):
        return always if is_below else never
    if is_above or is_below:
        return never
    whole = math.floor(number)
    if whole == number:
        return function, whole
    if function == "equal":
        return never
    is_less = function in ("less", "less_equal")
    return ("less_equal", whole) if is_less else ("greater_equal", whole + 1)


def of_floats(function: str, number: int) -> tuple[str, float]:
    """The comparison of 64-bit floats with an integer.

    Args:
        function: The comparison, of `SWAPPED`; the floats are on its left.
        number: The integer, of 64 bits.

    Returns:
        The comparison, and a float, that say the same of each float.
    """
    near = float(number)
    if near == number:
        return function, near
    if function == "equal":
        return "less", -math.inf
    if function in ("less", "less_equal"):
        return "less_equal", near if near < number else math.nextafter(near, -math.inf)
    return "greater_equal", near if near > number else math.nextafter(near, math.inf)


def integers_among(values: Iterable[float | None], low: int, high: int) -> list[int | None]:
    """Those of some numbers that are integers from `low` to `high`, and null."""
    return [
        None if value is None else int(value)
        for value in values
        if value is None or (low <= value <= high and value == math.floor(value))
    ]


def floats_among(values: Iterable[int | None]) -> list[float | None]:
    """Those of some integers of 64 bits that are floats of as many, and null."""
    return [
        None if value is None else float(value)
        for value in values
        if value is None or float(value) == value
    ]
