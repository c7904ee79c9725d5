"""The source lines of functions that are in no file, such as those of a notebook's cells.

Owns which lines travel with a function to its workers, so that a traceback shows them there as
it would in the notebook. Must not know how functions are called.
"""

from __future__ import annotations

import functools
import linecache
import os
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any


def sources_of(function: Callable[..., Any]) -> dict[str, str]:
    """The text of each cell that a function, or what it calls by name, was written in.

    Args:
        function: A function, class, method, partial or callable object.

    Returns:
        By the name that a traceback gives the cell. What is in a file, or was never known to
        Python's `linecache`, is not there.
    """
    names = {code.co_filename for code in _codes(function)}
    found = {name: linecache.getlines(name) for name in names if not os.path.exists(name)}
    return {name: "".join(lines) for name, lines in found.items() if lines}


def remember(sources: dict[str, str]) -> None:
    """Makes tracebacks in this process show the lines of cells."""
    for name, text in sources.items():
        # Without a time of change it is never looked for on disk.
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def _codes(function: Callable[..., Any]) -> Iterator[CodeType]:
    """The code of a function, of what is nested in it, and of what it names."""
    seen: set[int] = set()
    waiting: list[Any] = [function]
    while waiting and len(seen) < _LOOKED_AT_MAX:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, functools.partial):
            waiting.append(item.func)
        elif isinstance(item, CodeType):
            yield item
            waiting += [constant for constant in item.co_consts if isinstance(constant, CodeType)]
        elif isinstance(item, FunctionType):
            waiting += [item.__code__, *_named_in(item)]
        elif isinstance(item, type):
            waiting += [value for value in vars(item).values() if callable(value)]
        elif hasattr(item, "__func__") or callable(item):
            waiting.append(getattr(item, "__func__", type(item)))


def _named_in(function: FunctionType) -> Iterator[Any]:
    """The functions and classes that a function may call by their names."""
    known = function.__globals__
    named = [known[name] for name in function.__code__.co_names if name in known]
    closed_over = [cell.cell_contents for cell in function.__closure__ or () if _is_set(cell)]
    for value in [*named, *closed_over]:
        if isinstance(value, (FunctionType, type)) and value.__module__ == function.__module__:
            yield value


def _is_set(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - it raises if there is none
    except ValueError:
        return False
    return True


#: Enough for a notebook; a bound on what a strange object graph may cost.
_LOOKED_AT_MAX = 1000
