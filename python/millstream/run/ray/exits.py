"""With which code user code ended its worker: Ray does not tell, so the worker leaves a note.

Owns the notes. Must not know what is made of them.
"""

from __future__ import annotations

import contextlib
import os
from typing import NoReturn

from millstream.run.ray import compat


def watch(operator: str) -> None:
    """Has this process leave a note if it is ended by `os._exit`.

    Args:
        operator: The key of the operator whose functions run from now on.
    """
    # What user code forks inherits this, but is no worker.
    _at_work[os.getpid()] = operator
    os._exit = _exit


def codes(operator: str) -> list[int]:
    """The codes with which workers of an operator were ended since the last call."""
    notes = _notes.keys(f"{operator}/")
    for note in notes:
        _notes.remove(note)
    return sorted({int(note.rpartition("/")[2]) for note in notes})


def _exit(status: int) -> NoReturn:
    operator = _at_work.get(os.getpid())
    if operator is not None:
        with contextlib.suppress(Exception):
            _notes.put(f"{operator}/{os.getpid()}/{int(status)}")
    _end(status)


_end = os._exit
_notes = compat.Notes("millstream-exits")
# The operator whose functions run, by process.
_at_work: dict[int, str] = {}
