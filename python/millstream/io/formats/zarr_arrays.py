"""The arrays of a Zarr store: their chunks, and how parts of them are read.

Owns what is read again and what is held. Must not know what becomes a row.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.fs as pa_fs

from millstream.blocks import tensor
from millstream.errors import SchemaError
from millstream.io.formats.typed_files import TABLE_BYTES

if TYPE_CHECKING:
    from millstream.io.formats.zarr_store import ArrowStore

Array = np.ndarray[Any, Any]
Slices = tuple[slice, ...]


@dataclass(frozen=True)
class StoredArrays:
    """A store, as it travels to the workers.

    Args:
        filesystem: Where it is.
        root: Its folder.
        refuses_missing: Whether a chunk that is not there is an error.
    """

    filesystem: pa_fs.FileSystem
    root: str
    refuses_missing: bool

    @contextmanager
    def opened(self) -> Iterator[ArrowStore]:
        """Opens it, and tells in the end which chunks were not there."""
        from millstream.io.formats.zarr_store import ArrowStore

        store = ArrowStore(self.filesystem, self.root, refuses_missing=self.refuses_missing)
        try:
            yield store
        finally:
            if store.missing:
                first = min(store.missing)
                _log.warning(
                    "read_zarr: %d chunks are not in %s, for instance %r, so that their values are "
                    "the fill value, as those of chunks that were lost would be; pass "
                    "missing_chunks='error' if all must be there",
                    len(store.missing),
                    self.root,
                    first,
                )


@dataclass(frozen=True)
class Grid:
    """An array, and the chunks in which it comes.

    Args:
        name: Its path in the store.
        shape: Its shape.
        chunks: The shape of the chunks.
        dtype: Of its values.
    """

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many chunks there are along each axis."""
        pairs = zip(self.shape, self.chunks, strict=True)
        return tuple(math.ceil(length / chunk) for length, chunk in pairs)

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return math.prod(self.counts)

    @property
    def row_bytes(self) -> int:
        """The bytes of one index of the first axis."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def index(self, number: int) -> tuple[int, ...]:
        """Where a chunk is among the others."""
        return tuple(int(each) for each in np.unravel_index(number, self.counts))

    def slices(self, index: Sequence[int]) -> Slices:
        """Where the values of a chunk are in the array."""
        trios = zip(index, self.chunks, self.shape, strict=True)
        return tuple(
            slice(at * chunk, min((at + 1) * chunk, length)) for at, chunk, length in trios
        )

    def check_numbers(self) -> None:
        """Refuses what is no tensor.

        Raises:
            SchemaError: It is none.
        """
        if not is_tensor(self.dtype):
            hint = "; read it with rows='indices'" if _is_text(self.dtype) else ""
            raise SchemaError(
                f"the array {self.name!r} is of dtype {self.dtype}, of which there are no "
                f"tensors{hint}, or name others with array_paths"
            )

    def check_values(self) -> None:
        """Refuses what no column holds.

        Raises:
            SchemaError: It does not.
        """
        if not is_tensor(self.dtype) and not _is_text(self.dtype):
            raise SchemaError(
                f"the array {self.name!r} is of dtype {self.dtype}, which no column holds; name "
                "others with array_paths"
            )


class Region:
    """An array of which the part that was read last is held, if it is not too large.

    Rows may be smaller than the chunks that are stored, each of which is to be read but once.

    Args:
        store: The store.
        grid: The array.
    """

    def __init__(self, store: ArrowStore, grid: Grid) -> None:
        import zarr

        self._name = grid.name
        self._array = zarr.open_array(store, path=grid.name.strip("/"), mode="r")
        length = _length_told(self._array)
        if length is not None:
            store.lengths[grid.name.strip("/")] = length
        self._chunks: tuple[int, ...] = tuple(max(1, each) for each in self._array.chunks)
        self._place: Slices | None = None
        self._held: Array = np.empty(0)

    def read_rows(self, rows: slice) -> Array:
        """Reads all of some indices of the first axis."""
        return self.read((rows, *(slice(0, length) for length in self._array.shape[1:])))

    def read(self, wanted: Slices) -> Array:
        """Reads a part.

        Raises:
            ValueError: It cannot be read; says where.
        """
        if self._place is None or not _contains(self._place, wanted):
            self._place = self._around(wanted)
            try:
                self._held = np.asarray(self._array[self._place])
            except Exception as error:
                where = ", ".join(f"{each.start}:{each.stop}" for each in self._place)
                raise ValueError(f"the array {self._name!r} at [{where}]: {error}") from error
        pairs = zip(wanted, self._place, strict=True)
        inner = tuple(slice(w.start - p.start, w.stop - p.start) for w, p in pairs)
        return self._held[inner]

    def _around(self, wanted: Slices) -> Slices:
        """Whole chunks, of the whole of all axes but the first, if these are not too large."""
        shape = self._array.shape
        trios = zip(wanted, self._chunks, shape, strict=True)
        chunks = tuple(
            slice(w.start // chunk * chunk, min(length, -(-w.stop // chunk) * chunk))
            for w, chunk, length in trios
        )
        rows = (chunks[0], *(slice(0, length) for length in shape[1:]))
        for region in (rows, chunks):
            items = math.prod(each.stop - each.start for each in region)
            if items * self._array.dtype.itemsize <= HELD_BYTES:
                return region
        return wanted


def _length_told(array: Any) -> Callable[[bytes], int] | None:
    """What says of the bytes of a chunk how many there must be, where no codec looks."""
    from zarr.codecs import ShardingCodec

    metadata = array.metadata
    last = metadata.compressor if metadata.zarr_format == _OLD_FORMAT else metadata.codecs[-1]
    if "blosc" in type(last).__name__.lower():
        return _frame_length
    if isinstance(last, ShardingCodec) and last.index_location.value == "start":
        pairs = zip(array.shards, array.chunks, strict=True)
        return partial(_shard_length, math.prod(shard // chunk for shard, chunk in pairs))
    # An index at the end has a checksum.
    return None


def _frame_length(data: bytes) -> int:
    """The length of a frame of Blosc, as it tells it itself."""
    return int.from_bytes(data[12:16], "little") if len(data) >= _FRAME_HEADER else _FRAME_HEADER


def _shard_length(count: int, data: bytes) -> int:
    """Where the last chunk in a shard ends, by the index at its beginning."""
    size = count * 16
    if len(data) < size:
        return size
    places = np.frombuffer(data, "<u8", 2 * count).reshape(count, 2)
    there = places[places[:, 0] != _NOT_THERE]
    return max((int(start) + int(length) for start, length in there), default=size)


def _contains(place: Slices, wanted: Slices) -> bool:
    pairs = zip(place, wanted, strict=True)
    return all(p.start <= w.start and w.stop <= p.stop for p, w in pairs)


def is_tensor(dtype: np.dtype[Any]) -> bool:
    """Tells whether values of such a dtype are tensors."""
    if dtype.kind in "mM":
        return np.datetime_data(dtype) in {(unit, 1) for unit in ("s", "ms", "us", "ns")}
    return dtype.kind in "biuf" and tensor.is_tensor_dtype(dtype)


def _is_text(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "STU"


_log = logging.getLogger(__name__)
_OLD_FORMAT = 2
_FRAME_HEADER = 16
_NOT_THERE = np.uint64(2**64 - 1)
#: A part of at most so many bytes is read at once.
HELD_BYTES = 4 * TABLE_BYTES
