"""A block in the object store, as a consumer or a materialized dataset keeps it.

Owns where such a reference may go: with Ray, to tasks and actors of the same cluster. Must not know
what it is kept for.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import OwnerDiedError, RayError

from millstream.blocks import block
from millstream.errors import SerializationError
from millstream.run.protocol import BlockGoneError
from millstream.run.ray import compat
from millstream.run.ray.cluster import require_connection
from millstream.run.ray.remote import Block, Item, tables_of


class Contents:
    """The small blocks in an item that has come to this process; it is opened once for all of them.

    Args:
        item: The item.
    """

    def __init__(self, item: Item) -> None:
        self._item = item
        self._tables: list[pa.Table] | None = None

    def tables(self) -> list[pa.Table]:
        """The tables of the blocks."""
        if self._tables is None:
            self._tables = tables_of(self._item)
        return self._tables


class Reference:
    """A reference to a block, and the connection to Ray over which this process has it.

    Args:
        reference: Ray's own, to the object that the block is in.
        place: Its place among the blocks in that object.
        contents: The object, if it is in this process.
    """

    def __init__(
        self, reference: ray.ObjectRef[Block], place: int = 0, contents: Contents | None = None
    ) -> None:
        self._reference = reference
        self._place = place
        self._contents = contents
        self._connection = compat.connection()
        _register()

    def fetch(self) -> pa.Table:
        """The table of the block, in memory of this process.

        It is a copy: a consumer may keep it for as long as it likes, and Ray cannot take back the
        room of an object as long as a view of it is left.

        Raises:
            BlockGoneError: The block is lost.
        """
        self._require_connection()
        if self._contents is not None:
            return self._contents.tables()[self._place]
        try:
            found = ray.get(self._reference)
        except OwnerDiedError as error:
            raise BlockGoneError(
                "a block is gone with the program that made it, which has ended: write what is to "
                "last longer"
            ) from error
        except RayError as error:
            require_connection()
            raise BlockGoneError(
                f"a block of the output is lost: {error}; its node went away: run again"
            ) from error
        return tables_of(found)[self._place] if isinstance(found, Item) else block.copy(found)

    def sent(self) -> tuple[ray.ObjectRef[Block], int, str]:
        """What Ray sends in its place: its own reference, and which cluster that is for.

        Raises:
            BlockGoneError: Ray has been started anew since.
        """
        self._require_connection()
        return self._reference, self._place, compat.cluster()

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray has its own way, see `_register`.
        raise SerializationError(
            "the blocks of a materialized dataset are in Ray's object store: they can go to a task "
            "or an actor of the same cluster, as its argument, but not anywhere else. Write them, "
            "or send the dataset that was materialized"
        )

    def _require_connection(self) -> None:
        require_connection()
        if self._connection != compat.connection():
            raise BlockGoneError(
                "the blocks of a materialized dataset are gone: Ray has been shut down since and "
                "started anew. Materialize it again"
            )


@cache
def _register() -> None:
    ray.util.register_serializer(Reference, serializer=Reference.sent, deserializer=_arrived)


def _arrived(sent: tuple[ray.ObjectRef[Block], int, str]) -> Reference:
    reference, place, cluster = sent
    if not ray.is_initialized() or cluster != compat.cluster():
        raise SerializationError(
            "the blocks of a materialized dataset are in the object store of another Ray cluster "
            "than the one of this process, or this process has none"
        )
    return Reference(reference, place)
