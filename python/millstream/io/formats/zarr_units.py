"""How the units of a Zarr store read: chunks, chunks beside each other, or indices.

Owns the columns of each kind of row. Must not know how a store is divided into units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from millstream.blocks import columns, tensor
from millstream.io.formats.typed_files import TABLE_BYTES, pieces_of
from millstream.io.formats.zarr_arrays import (
    HELD_BYTES,
    Array,
    Grid,
    Region,
    StoredArrays,
    is_tensor,
)
from millstream.io.source import blaming

if TYPE_CHECKING:
    from millstream.io.formats.zarr_store import ArrowStore


class ZarrUnit:
    """What units have in common."""

    store: StoredArrays
    start: int
    stop: int

    @property
    def files(self) -> tuple[str, ...]:
        """The folder of the store."""
        return (self.store.root,)

    @property
    def nbytes(self) -> int:
        """About how many bytes its rows take in memory."""
        raise NotImplementedError

    @property
    def step(self) -> int:
        """So many rows are best read together."""
        return 1

    def schemas(self, store: ArrowStore) -> list[pa.Schema | None]:
        """The columns, as far as all rows have the same."""
        raise NotImplementedError

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows in tables of bounded size."""
        with blaming(self.store.root, "cannot read this Zarr store"), self.store.opened() as store:
            yield from self.tables(store)

    def tables(self, store: ArrowStore) -> Iterator[pa.Table]:
        """Yields the rows of an open store."""
        raise NotImplementedError


@dataclass(frozen=True)
class ChunkUnit(ZarrUnit):
    """Chunks of one array, a row each.

    Args:
        store: The store.
        grid: The array.
        start: The number of the first chunk.
        stop: And that after the last one.
    """

    store: StoredArrays
    grid: Grid
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """All bytes of the chunks."""
        chunk = self.grid.dtype.itemsize * math.prod(self.grid.chunks)
        return (self.stop - self.start) * chunk

    def schemas(self, store: ArrowStore) -> list[pa.Schema | None]:
        """The columns, if no chunk is smaller than others."""
        pairs = zip(self.grid.shape, self.grid.chunks, strict=True)
        is_even = all(length and length % chunk == 0 for length, chunk in pairs)
        empty = np.empty((0, *self.grid.chunks), self.grid.dtype)
        return [_chunks_of(self.grid, [], [], _tensors(empty)).schema if is_even else None]

    def tables(self, store: ArrowStore) -> Iterator[pa.Table]:
        """Yields the chunks in order."""
        reader = Region(store, self.grid)
        held: list[Array] = []
        indices: list[tuple[int, ...]] = []
        for number in range(self.start, self.stop):
            index = self.grid.index(number)
            held.append(reader.read(self.grid.slices(index)))
            indices.append(index)
            if sum(each.nbytes for each in held) >= _TABLE_BYTES:
                yield self._table(indices, held)
                held, indices = [], []
        if held or self.start == self.stop:
            yield self._table(indices, held)

    def _table(self, indices: list[tuple[int, ...]], held: list[Array]) -> pa.Table:
        places = [
            [[each.start, each.stop] for each in self.grid.slices(index)] for index in indices
        ]
        empty = np.empty((0, *self.grid.chunks), self.grid.dtype)
        made = tensor.from_ndarrays(held) if held else _tensors(empty)
        return _chunks_of(self.grid, indices, places, made)


@dataclass(frozen=True)
class AlignedUnit(ZarrUnit):
    """Chunks of several arrays along their first axis, a row each.

    Args:
        store: The store.
        grids: The arrays.
        overlap: By how many indices a row goes on into the next one.
        start: The number of the first row.
        stop: And that after the last one.
    """

    store: StoredArrays
    grids: tuple[Grid, ...]
    overlap: int
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """All bytes of the rows."""
        width = sum(grid.row_bytes for grid in self.grids)
        return (self.stop - self.start) * (self.grids[0].chunks[0] + self.overlap) * width

    def schemas(self, store: ArrowStore) -> list[pa.Schema | None]:
        """The columns, if no row is shorter than others."""
        length, chunk = self.grids[0].shape[0], self.grids[0].chunks[0]
        if self.overlap or length % chunk or not length:
            return [None]
        empty = [np.empty((0, chunk, *grid.shape[1:]), grid.dtype) for grid in self.grids]
        return [self._table([], [], list(map(_tensors, empty))).schema]

    def tables(self, store: ArrowStore) -> Iterator[pa.Table]:
        """Yields the rows in order."""
        length, chunk = self.grids[0].shape[0], self.grids[0].chunks[0]
        readers = [Region(store, grid) for grid in self.grids]
        ranges: list[tuple[int, int]] = []
        held: list[list[Array]] = []
        for number in range(self.start, self.stop):
            start, stop = number * chunk, min(length, (number + 1) * chunk)
            reach = slice(start, min(length, stop + self.overlap))
            held.append([reader.read_rows(reach) for reader in readers])
            ranges.append((start, stop))
            if sum(each.nbytes for each in chain(*held)) >= _TABLE_BYTES:
                yield self._made(ranges, held)
                ranges, held = [], []
        if held:
            yield self._made(ranges, held)

    def _made(self, ranges: list[tuple[int, int]], held: list[list[Array]]) -> pa.Table:
        starts, stops = map(list, zip(*ranges, strict=True))
        arrays = map(list, zip(*held, strict=True))
        return self._table(starts, stops, [tensor.from_ndarrays(each) for each in arrays])

    def _table(self, starts: list[int], stops: list[int], arrays: Sequence[Any]) -> pa.Table:
        numbers = [pa.array(starts, pa.int64()), pa.array(stops, pa.int64())]
        names = ["t_start", "t_stop", *(grid.name or _ROOT_NAME for grid in self.grids)]
        return pa.table([*numbers, *arrays], names=names)


@dataclass(frozen=True)
class IndexUnit(ZarrUnit):
    """Indices of the first axis of several arrays, a row each.

    Args:
        store: The store.
        grids: The arrays.
        start: The first index.
        stop: And that after the last one.
    """

    store: StoredArrays
    grids: tuple[Grid, ...]
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """All bytes of the rows."""
        return (self.stop - self.start) * sum(grid.row_bytes for grid in self.grids)

    @property
    def step(self) -> int:
        """The longest chunk."""
        return max(grid.chunks[0] for grid in self.grids)

    def schemas(self, store: ArrowStore) -> list[pa.Schema | None]:
        """The columns."""
        empty = [np.empty((0, *grid.shape[1:]), grid.dtype) for grid in self.grids]
        return [self._table(empty).schema]

    def tables(self, store: ArrowStore) -> Iterator[pa.Table]:
        """Yields the rows in order."""
        readers = [Region(store, grid) for grid in self.grids]
        rows = self._rows()
        start = self.start
        if start == self.stop:
            yield self._table([reader.read_rows(slice(start, start)) for reader in readers])
        while start < self.stop:
            end = min(self.stop, (start // rows + 1) * rows)
            yield from pieces_of(
                self._table([reader.read_rows(slice(start, end)) for reader in readers])
            )
            start = end

    def _rows(self) -> int:
        """How many rows are read at a time: whole chunks, if these are not too large."""
        width = max(1, sum(grid.row_bytes for grid in self.grids))
        rows, chunk = max(1, TABLE_BYTES // width), self.step
        if rows >= chunk:
            return rows // chunk * chunk
        return chunk if chunk * width <= HELD_BYTES else rows

    def _table(self, arrays: Sequence[Array]) -> pa.Table:
        pairs = zip(self.grids, arrays, strict=True)
        return pa.table({grid.name or _ROOT_NAME: _column(grid, array) for grid, array in pairs})


@dataclass(frozen=True)
class Several(ZarrUnit):
    """Units that one task reads."""

    units: tuple[ZarrUnit, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The folder of the store."""
        return self.units[0].files

    @property
    def nbytes(self) -> int:
        """Those of all."""
        return sum(unit.nbytes for unit in self.units)

    def schemas(self, store: ArrowStore) -> list[pa.Schema | None]:
        """Those of each."""
        return [schema for unit in self.units for schema in unit.schemas(store)]

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows of each."""
        return chain.from_iterable(unit.read() for unit in self.units)


def _chunks_of(grid: Grid, indices: Sequence[Any], places: Sequence[Any], chunks: Any) -> pa.Table:
    return pa.table(
        {
            "array": pa.array([grid.name] * len(indices), pa.string()),
            "chunk_index": pa.array(indices, pa.list_(pa.int64())),
            "chunk_slices": pa.array(places, pa.list_(pa.list_(pa.int64()))),
            "chunk": chunks,
        }
    )


def _tensors(array: Array) -> pa.Array:
    return tensor.from_ndarray(array)


def _column(grid: Grid, array: Array) -> Any:
    if is_tensor(grid.dtype):
        native = array.dtype.newbyteorder("=")
        return columns.from_ndarray(np.ascontiguousarray(array, native))
    type = pa.binary() if grid.dtype.kind == "S" else pa.string()
    for _ in array.shape[1:]:
        type = pa.list_(type)
    return pa.array(array.tolist(), type)


#: What the values of an array that is a store by itself are called.
_ROOT_NAME = "data"
_TABLE_BYTES = TABLE_BYTES // 2
