"""How many bytes batches take that are ready ahead of their consumer.

Owns the measure. Must not know what libraries batches are made for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block


class Measured:
    """Blocks on their way, and what their rows take.

    Args:
        tables: The blocks. Closed with this if they have a `close`.
    """

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables = tables
        self._iterator = iter(tables)
        self._rows = self._bytes = 0
        self._last_bytes_per_row = 0.0

    def __iter__(self) -> Iterator[pa.Table]:
        return self

    def __next__(self) -> pa.Table:
        table = next(self._iterator)
        if table.num_rows:
            size = block.nbytes(table)
            self._rows += table.num_rows
            self._bytes += size
            self._last_bytes_per_row = size / table.num_rows
        return table

    def close(self) -> None:
        """Closes the blocks."""
        close = getattr(self._tables, "close", None)
        if close is not None:
            close()

    def bytes_of(self, counted: tuple[int, Any]) -> int:
        """What a batch takes, given after its rows.

        What it shows of its size, or what so many rows of a block take, if that is more.
        """
        rows, batch = counted
        if not self._rows:
            return _shown(batch)
        per_row = max(self._last_bytes_per_row, self._bytes / self._rows)
        return max(_shown(batch), round(rows * per_row))


def _shown(batch: Any) -> int:
    """The bytes of all arrays, tables and tensors in it."""
    if isinstance(batch, Mapping):
        return sum(map(_shown, batch.values()))
    if isinstance(batch, list | tuple):
        return sum(map(_shown, batch))
    if isinstance(batch, np.ndarray) and batch.dtype == object:
        return 0  # What it refers to is not known.
    size = getattr(batch, "nbytes", 0)
    return size if isinstance(size, int) else 0
