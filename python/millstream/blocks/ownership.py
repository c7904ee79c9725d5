"""Arrays that user code may still write to after it has handed them over.

Owns the decision which arrays must be copied. A block is made of several results, without copying,
while the function goes on; a function that fills the same buffer at each call would
change the results of the calls before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def own(
    values: Mapping[str, Any], is_ours: Callable[[Array], bool] | None = None
) -> dict[str, Any]:
    """Returns the items of a mapping, with copies of the arrays that others can still write to.

    Nobody can write to a fresh array: only the mapping refers to it. Arrays that are read-only
    are taken as they are.

    Args:
        values: What user code returned.
        is_ours: Tells arrays that need no copy whoever refers to them.
    """
    owned = {}
    for name in values:
        # Counted before a variable of this function adds to it.
        references = _references(values, name)
        value = values[name]
        if (
            isinstance(value, np.ndarray)
            and value.flags.writeable
            and (references > _ALONE or not _owns_memory(value))
            and not (is_ours is not None and is_ours(value))
        ):
            value = value.copy()
        owned[name] = value
    return owned


def _references(values: Mapping[str, Any], name: str) -> int:
    return sys.getrefcount(values[name])


def _base_references(array: Array) -> int:
    return sys.getrefcount(array.base)


def _owns_memory(array: Array) -> bool:
    """Tells whether the memory is the array's, or that of an array which only it refers to."""
    return array.base is None or (
        isinstance(array.base, np.ndarray)
        and array.base.base is None
        and _base_references(array) <= _BASE_ALONE
    )


# How many references Python itself counts differs between its versions, so it is measured.
_ALONE = _references({"fresh": np.empty(1)}, "fresh")
_BASE_ALONE = _base_references(np.empty(2)[:1])
