"""Which columns other libraries can make tensors of, and how an error says that they cannot.

Owns the rule and its sentences. Knows none of those libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from millstream.errors import SchemaError

Array = np.ndarray[Any, Any]
_COLLATE = "pass collate_fn"


def is_numeric(values: Any) -> bool:
    """Whether it is an array of numbers or booleans."""
    return isinstance(values, np.ndarray) and values.dtype.kind in "biufc"


def are_tensors(values: Array) -> bool:
    """Whether the values of a column are arrays of numbers, of several shapes."""
    return values.dtype == object and len(values) > 0 and all(map(is_numeric, values))


def of_column(given: Any, name: str) -> Any:
    """What an option says of a column: the same for all columns, or by their names."""
    return given.get(name) if isinstance(given, Mapping) else given


def check_numeric(name: str, values: Any, library: str, way: str = _COLLATE) -> None:
    """Checks that a column has numbers or booleans only.

    Args:
        name: The column.
        values: Its values.
        library: What would make a tensor of them.
        way: What else can be done.

    Raises:
        SchemaError: It has others.
    """
    if not is_numeric(values):
        raise SchemaError(unfit(name, values, library, way))


def unfit(name: str, values: Array, library: str, way: str = _COLLATE) -> str:
    """Says what a column has of which a library makes no tensor, and what to do.

    Args:
        name: The column.
        values: Its values.
        library: What would make a tensor of them.
        way: What else can be done.
    """
    kinds = {"M": "times", "m": "durations", "U": "text", "S": "bytes", "T": "text"}
    kind = kinds.get(values.dtype.kind)
    if kind is None:
        types = {type(each).__name__ for each in values[:100] if each is not None}
        kind = f"values of type {' and '.join(sorted(types)) or 'null'}"
        if any(each is None for each in values):
            kind += " and nulls"
    return (
        f"column {name!r} has {kind}, of which {library} makes no tensor: drop it, make numbers of "
        f"it (fill_null, cast), or {way}"
    )


def check_range(name: str, values: Array, lowest: int, highest: int, use: str) -> None:
    """Checks that integers stay what they are in a narrower type.

    Args:
        name: The column.
        values: Its values.
        lowest: The least that the type holds.
        highest: The most that it holds.
        use: What to do if it does not hold one.

    Raises:
        SchemaError: It does not hold one of them.
    """
    if values.dtype.kind not in "iu" or not values.size:
        return
    held = np.iinfo(values.dtype)
    if lowest <= held.min and held.max <= highest:
        return
    least, most = int(values.min()), int(values.max())
    if least < lowest or most > highest:
        beyond = least if least < lowest else most
        raise SchemaError(
            f"column {name!r} has the integer {beyond}, which its tensor of {lowest} to {highest} "
            f"would change: {use}"
        )
