"""What Ray calls in a worker. It travels by value, so that it runs where millstream is missing.

Owns the look for millstream in a worker, and what is told if it is not there or is another version.
Must import nothing of millstream before that look, nor be given anything that does when Ray
unpickles it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

import ray

Packed: TypeAlias = tuple[tuple[str, str], bytes, list[Any]]
"""The versions that the driver has; what it sends, pickled; and the references in that."""


def run_task(packed: Packed, *blocks: Any) -> Iterator[Any]:
    """Runs one task on the stage that it comes with; see `remote.run_task`."""
    told = unfit(packed[0])
    if told is not None:
        yield told
        return
    from millstream.run.ray import remote

    yield from remote.run_task(packed, blocks)


class StageActor:
    """A process that loads a stage and runs tasks on it."""

    def __init__(self, operator: str) -> None:
        self._operator = operator
        self._stage: Any = None

    def __repr__(self) -> str:
        # What Ray puts before the lines that user code prints.
        return self._operator

    def begin(self) -> None:
        """Tells by its end that the process is there."""

    def load(self, packed: Packed) -> Any:
        """Constructs the user's classes; see `remote.load`."""
        told = unfit(packed[0])
        if told is not None:
            return told
        from millstream.run.ray import remote

        self._stage, answer = remote.load(packed)
        return answer

    def close(self) -> list[str]:
        """Lets go of what has been loaded; tells what went wrong with that."""
        stage, self._stage = self._stage, None
        return [] if stage is None else list(stage.close())

    def run(self, packed: Packed, *blocks: Any) -> Iterator[Any]:
        """Runs one task."""
        from millstream.run.ray import remote

        yield from remote.run_loaded(self._stage, packed, blocks)


def unfit(wanted: tuple[str, str]) -> dict[str, str] | None:
    """What is told if this process cannot run what the driver sends: plain words for plain names.

    Args:
        wanted: The versions that the driver has, of millstream and of its core.
    """
    try:
        import millstream
        from millstream import _core
        from millstream.run.ray import remote  # noqa: F401 - with it come all that tasks need

        found = (millstream.__version__, _core.__version__)
    except Exception as error:  # noqa: BLE001 - whatever an import raises is told
        named = error.name if isinstance(error, ImportError) else None
        told = {"module": named or "millstream", "why": f"{type(error).__name__}: {error}"}
    else:
        if found == wanted:
            return None
        told = {"module": "millstream", "version": " with core ".join(dict.fromkeys(found))}
    return {UNFIT: "yes", **told, "python": sys.executable}


#: The key by which the driver knows that a worker is unfit.
UNFIT = "this worker cannot run millstream's tasks"

# Pickle names what a module holds, and the worker would import it; this one is taken along.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
