"""Objects in Ray's store as sources, and blocks as objects that other libraries take.

Owns what is in such objects: tables of Arrow, arrays of NumPy, frames of pandas. They go from
worker to worker, and never through the driver. Must not know who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError

from millstream.blocks import block
from millstream.blocks.batch import BatchFormat, to_batch
from millstream.errors import ArgumentError, MillstreamError, ReadError
from millstream.errors.checks import is_sequence, require
from millstream.io.foreign import plan_numpy, plan_pandas
from millstream.io.memory import plan_arrow
from millstream.io.source import ReadUnit, Source, UnitOfNoFiles
from millstream.run.ray.cluster import require_connection


def plan_refs(caller: str, refs: Any, kind: str) -> Source:
    """Plans to read objects of Ray's store, a unit each.

    Args:
        caller: The function that the user called.
        refs: One reference or a list of them.
        kind: What is in the objects: `"arrow"`, `"numpy"`, `"pandas"`.

    Raises:
        ArgumentError: Something else was passed.
    """
    listed = list(refs) if is_sequence(refs) else [refs]
    for each in listed:
        wanted = f"a reference to an object of Ray, or a list of them, for {caller}"
        require(isinstance(each, ray.ObjectRef), "refs", each, wanted)
    name = caller.title().replace("_", "")
    return Source(name, [RefUnit(each, kind, caller) for each in listed], None, None)


@dataclass(frozen=True)
class RefUnit(UnitOfNoFiles):
    """An object of Ray's store.

    Args:
        reference: To it.
        kind: What is in it.
        caller: The function that the user called.
    """

    reference: Any
    kind: str
    caller: str

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows.

        Raises:
            ReadError: The object is lost, its task failed, or something else is in it.
        """
        try:
            found = ray.get(self.reference)
        except RayError as error:
            raise ReadError(f"an object of {self.caller} cannot be had: {error}") from error
        try:
            units = _PLANS[self.kind](found).units
        except ArgumentError as error:
            raise ReadError(f"an object of {self.caller}: {error.message}") from error
        for unit in units:
            yield from unit.read()


def made_of(unit: ReadUnit, format: BatchFormat, column: str | None) -> Any:
    """Makes an object of a kept block, in a worker, and gives the reference to it.

    Args:
        unit: The block.
        format: Of `to_batch`.
        column: The one that is wanted of NumPy's arrays; `None`: all, by name.
    """
    require_connection()
    # It holds no CPU: a run that has all of them would keep it waiting.
    task: Any = ray.remote(_made).options(num_cpus=0)
    return task.remote(unit, format, column)


def _made(unit: ReadUnit, format: BatchFormat, column: str | None) -> Any:
    try:
        table = block.unseal(block.concat(list(unit.read())))
        made = to_batch(table, format, writable=False)
    except MillstreamError as error:
        raise RuntimeError(str(error)) from error
    return made if column is None else made[column]


_PLANS: dict[str, Callable[[Any], Source]] = {
    "arrow": plan_arrow,
    "numpy": plan_numpy,
    "pandas": plan_pandas,
}
