"""What is done with a partition of an exchange when all its rows are there.

Owns these steps. Must not know how rows came to the partition, nor scheduling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from millstream.blocks import block, order
from millstream.blocks.draw import numbers_for
from millstream.blocks.transforms import Blocks


def whole(blocks: Blocks) -> pa.Table:
    """All rows of a partition in one table; without rows that of the first block.

    Raises:
        SchemaError: A column has types that no common type holds.
    """
    tables = list(blocks)
    with_rows: Sequence[pa.Table] = [table for table in tables if table.num_rows]
    return block.concat(with_rows or tables[:1]) if tables else pa.table({})


@dataclass(frozen=True)
class Sorted:
    """The rows of a partition in order.

    Args:
        keys: By what.
    """

    keys: order.Keys
    is_sort: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Sort({', '.join(self.keys.columns)})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        yield order.sorted_table(whole(blocks), self.keys)


@dataclass(frozen=True)
class Shuffled:
    """The rows of a partition in an order that follows from the seed and from the rows.

    Args:
        seed: What the draw depends on.
    """

    seed: int

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return "RandomShuffle"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        table = whole(blocks)
        places = numbers_for(table, self.seed).permutation(table.num_rows)
        yield block.gatherable(table).take(pa.array(places, pa.int64()))


@dataclass(frozen=True)
class Joined:
    """The rows of a partition as they are, in one table."""

    name: str = "Repartition"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        yield whole(blocks)
