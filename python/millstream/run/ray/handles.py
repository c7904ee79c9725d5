"""What the backend holds: the handles of tasks and actors, and the references to blocks.

Owns what one handle knows. Must not know the cluster, nor what is done with a handle.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa
import ray

from millstream import _core
from millstream.run.ray import compat
from millstream.run.ray.operators import STREAMING
from millstream.run.ray.reference import Contents, Reference
from millstream.run.ray.remote import Item
from millstream.run.ray.stream import Stream
from millstream.run.worker import BlockMeta


def are_left(blocks: Sequence[HeldBlock], lost: Collection[str]) -> bool:
    """Whether of each block there is a copy elsewhere than on the lost nodes. Asks nobody.

    Where this Ray cannot tell, they count as left: what reads one then fails some time.

    Args:
        blocks: The blocks.
        lost: The Ray ids of the nodes.
    """
    found = compat.places([held.reference for held in blocks if held.is_stored]).values()
    return all(set(place["node_ids"]).difference(lost) or place["did_spill"] for place in found)


class Task:
    """One task that runs, and how far its stream has been read."""

    def __init__(self, action: _core.Action.LaunchTask, stream: Stream) -> None:
        self.number = action.task
        self.op = action.op
        self.node = action.node
        self.actor = action.actor
        self.blocks = action.blocks
        self.credit = action.credit
        self.stream = stream
        self.parked: Parked | None = None
        self.schema: pa.Schema | None = None
        self.handed_over = 0
        self.has_begun = False
        self._sent_ns = time.monotonic_ns()

    def is_old(self, age_s: float) -> bool:
        """Whether it was sent at least so long ago."""
        return time.monotonic_ns() - self._sent_ns >= age_s * 1e9


class Actor:
    """One actor and its tasks, in the order in which it runs them."""

    def __init__(
        self, op: int, operator: str, node: int, handle: ray.actor.ActorHandle[Any]
    ) -> None:
        self.op = op
        self.operator = operator
        self.is_loaded = False
        self.is_interrupted = False
        self.node = node
        self.handle = handle
        self.run = handle.run.options(**STREAMING)
        self.tasks: list[int] = []
        self._started_ns = time.monotonic_ns()

    def age_us(self) -> int:
        """How long ago it was ordered."""
        return (time.monotonic_ns() - self._started_ns) // 1000


class Parked:
    """An item that has come, how many of its blocks are handed over, and which is told to wait.

    Args:
        item: The item.
    """

    def __init__(self, item: Item) -> None:
        self.item = item
        self.contents = None if item.data is None else Contents(item)
        self.handed_over = 0
        self.told = -1
        self.reference: ray.ObjectRef[Any] | None = None


class HeldBlock:
    """One block.

    Args:
        reference: To the object that it is in.
        meta: What is known of it.
        place: Its place among the blocks in that object.
        contents: The object, if it is in this process; else it lies in an object store.
    """

    def __init__(
        self,
        reference: ray.ObjectRef[Any],
        meta: BlockMeta,
        place: int = 0,
        contents: Contents | None = None,
    ) -> None:
        self.reference = reference
        self.place = place
        self.is_stored = contents is None
        self._contents = contents
        self._meta = meta

    def kept(self) -> Reference:
        """The block as a consumer keeps it."""
        return Reference(self.reference, self.place, self._contents)

    def meta(self) -> BlockMeta:
        """What is known of it; the schema of a small one is in its data only."""
        if self._meta.schema is not None:
            return self._meta
        return self._meta.with_schema(self.kept().fetch().schema)
