"""Which partition of an exchange each row goes to.

Owns the partitioners, and how a table is dealt out. Must not know scheduling, nor what happens to a
partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millstream.blocks import block, order
from millstream.blocks.draw import numbers_for
from millstream.blocks.row_hash import hash_rows

Parts = npt.NDArray[np.int64]


class Partitioner(Protocol):
    """Says of each row which partition it is of; pickled, and sent to workers.

    It may have a `kind_of(table) -> int`: blocks of different kinds never become one.
    """

    @property
    def partitions(self) -> int:
        """How many there are."""

    def parts(self, table: pa.Table) -> Parts:
        """The partition of each row, shape (rows,)."""


def deal(tables: Sequence[pa.Table], partitioner: Partitioner) -> Iterator[tuple[int, pa.Table]]:
    """Gives the rows of each partition that has any, in the order in which they were.

    Args:
        tables: Blocks; which rows of one go where never depends on the others.
        partitioner: Says which rows are whose.
    """
    dealt = [_dealt(each, partitioner) for each in _kinds(tables, partitioner)]
    for partition in range(partitioner.partitions):
        for table, ends in dealt:
            start = ends[partition - 1] if partition else 0
            if ends[partition] > start:
                yield partition, table.slice(start, ends[partition] - start)


def _kinds(tables: Sequence[pa.Table], partitioner: Partitioner) -> list[list[pa.Table]]:
    """The blocks that may become one."""
    kind_of = getattr(partitioner, "kind_of", lambda _: 0)
    found: dict[int, list[pa.Table]] = {}
    for table in tables:
        found.setdefault(kind_of(table), []).append(table)
    return [found[kind] for kind in sorted(found)]


def _dealt(tables: list[pa.Table], partitioner: Partitioner) -> tuple[pa.Table, list[int]]:
    """The rows by partition, and where each partition ends."""
    table = block.concat(tables)
    if partitioner.partitions == 1:
        return table, [table.num_rows]
    parts = np.concatenate([partitioner.parts(each) for each in tables])
    rows = np.argsort(parts, kind="stable")
    dealt = block.gatherable(table).take(pa.array(rows))
    return dealt, np.cumsum(np.bincount(parts, minlength=partitioner.partitions)).tolist()


@dataclass(frozen=True)
class ByHash:
    """Rows whose values in some columns are equal meet in one partition.

    Args:
        columns: The columns.
        partitions: How many partitions.
    """

    columns: tuple[str, ...]
    partitions: int

    def parts(self, table: pa.Table) -> Parts:
        """The partition of each row."""
        hashes = hash_rows(table, self.columns)
        return (hashes % np.uint64(self.partitions)).astype(np.int64)


@dataclass(frozen=True)
class ByOrder:
    """Partitions follow each other in the order of some columns.

    Args:
        keys: The columns, and their order.
        bounds: A table of these columns: the row with which each partition but the first begins.
    """

    keys: order.Keys
    bounds: pa.Table

    @property
    def partitions(self) -> int:
        """One more than there are bounds."""
        return int(self.bounds.num_rows) + 1

    def parts(self, table: pa.Table) -> Parts:
        """The partition of each row: of equal ones the same."""
        columns = self.keys.columns
        block.require_columns(table.schema, columns)
        # In front, so that a bound comes before rows that are equal to it.
        both = block.concat([self.bounds, table.select(list(columns))])
        places = order.sort_indices(both, self.keys)
        is_bound = places < self.bounds.num_rows
        parts = np.empty(len(places), np.int64)
        parts[places] = np.cumsum(is_bound)
        return parts[self.bounds.num_rows :]


@dataclass(frozen=True)
class InTurn:
    """Each partition gets as many rows of a block as any other, but for one.

    Args:
        seed: With what a block holds, it decides which partitions get one more.
        partitions: How many partitions.
    """

    seed: int
    partitions: int

    def parts(self, table: pa.Table) -> Parts:
        """The partition of each row."""
        first = int(numbers_for(table, self.seed).integers(0, self.partitions))
        found: Parts = (first + np.arange(table.num_rows, dtype=np.int64)) % self.partitions
        return found


@dataclass(frozen=True)
class AtRandom:
    """Each row goes to any partition.

    Where it goes follows from the seed and from what some of the rows of its block hold, so that
    the same blocks are dealt out alike in each run.

    Args:
        seed: What the draw depends on.
        partitions: How many partitions.
    """

    seed: int
    partitions: int

    def parts(self, table: pa.Table) -> Parts:
        """The partition of each row."""
        numbers = numbers_for(table, self.seed)
        found: Parts = numbers.integers(0, self.partitions, table.num_rows, dtype=np.int64)
        return found
