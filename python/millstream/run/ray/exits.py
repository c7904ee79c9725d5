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


class Exits:
    """The codes with which the workers of a run were ended."""

    def __init__(self) -> None:
        self._by_actor: dict[str, int] = {}

    def code_of(self, operator: str, actor: str | None) -> int | None:
        """The code with which a worker that died was ended; None if nobody ended it by a code.

        Args:
            operator: The key of its operator.
            actor: The hexadecimal id of the actor that it was, whose tasks each tell its death;
                None: it ran tasks, one at a time.
        """
        code = _last_code(operator)
        if actor is None:
            return code
        if code is not None:
            self._by_actor[actor] = code
        return self._by_actor.get(actor)


def _last_code(operator: str) -> int | None:
    notes = _notes.keys(f"{operator}/")
    for note in notes:
        _notes.remove(note)
    return max((int(note.rpartition("/")[2]) for note in notes), default=None)


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
