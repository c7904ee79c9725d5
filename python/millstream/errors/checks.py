"""Checks of what users pass, at the call.

Owns their messages, which have one form: the argument, its value, and what it must be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from millstream.errors import ArgumentError


def require(is_right: bool, name: str, value: Any, wanted: str) -> None:
    """Refuses an argument that is not what it must be.

    Args:
        is_right: Whether it is.
        name: The argument.
        value: What was passed.
        wanted: What it must be: `"True or False"`.

    Raises:
        ArgumentError: It is not.
    """
    if not is_right:
        raise ArgumentError(f"{name}={value!r} must be {wanted}")


def is_whole(value: Any, least: int) -> bool:
    """Whether something is a whole number of at least `least`, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> bool:
    """Whether something is a number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_count(name: str, value: Any, *, least: int = 1, optional: bool = True) -> None:
    """Whole numbers of at least `least` or, where that means something, `None`."""
    wanted = f"a whole number of at least {least}" + (", or None" if optional else "")
    is_absent = optional and value is None
    require(is_absent or is_whole(value, least), name, value, wanted)


def check_flag(name: str, value: Any) -> None:
    """True or false."""
    require(isinstance(value, bool), name, value, "True or False")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """One of a few words."""
    wanted = f"one of {', '.join(map(repr, choices))}"
    require(isinstance(value, str) and value in choices, name, value, wanted)


def check_named(name: str, value: Any, what: str = "values") -> None:
    """Values by name, or `None`."""
    require(value is None or is_named(value), name, value, f"a dict of {what} by name")


def check_function(name: str, value: Any, what: str) -> None:
    """Something to call, or `None`."""
    require(value is None or callable(value), name, value, what)


def check_kind(name: str, value: Any, kind: type, *, optional: bool = True) -> None:
    """An object of some class or, where that means something, `None`."""
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    wanted = f"{article} {kind.__name__}" + (", or None" if optional else "")
    require(isinstance(value, kind) or (optional and value is None), name, value, wanted)


def check_columns(name: str, value: Any) -> list[str]:
    """Column names as a list, each once; one name may stand alone."""
    listed = [value] if isinstance(value, str) else value
    is_list = isinstance(listed, (list, tuple)) and all(isinstance(c, str) for c in listed)
    require(is_list, name, value, "a column name or a list of them")
    twice = sorted({column for column in listed if listed.count(column) > 1})
    if twice:
        raise ArgumentError(f"{name}={value!r} names {', '.join(map(repr, twice))} more than once")
    return list(listed)


def is_named(value: Any) -> bool:
    """Whether something gives values by name."""
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def is_sequence(value: Any) -> bool:
    """Whether something holds values in order, and is no text."""
    return isinstance(value, Iterable) and not isinstance(value, (Mapping, str, bytes))
