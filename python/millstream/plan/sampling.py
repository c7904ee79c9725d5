"""A random part of the rows, which is the same however they are cut into blocks.

Owns which rows are drawn. Knows nothing of plans or scheduling.

Where a block ends depends on how fast a run goes, so a sample cannot depend on it: what was lost is
made again, and must be the same rows. So a row is drawn by what it holds: its values are hashed
together with the seed. Of equal rows in a block, every how many-th is drawn.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.batch import join_small
from millstream.blocks.common_type import is_bytes, is_list, is_text
from millstream.blocks.convert import convert, offsets_of
from millstream.blocks.primitive import is_number, valid, view_all
from millstream.blocks.transforms import Blocks

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True)
class RandomSample:
    """Keeps a random part of the rows.

    Args:
        fraction: Which part, about.
        seed: Makes the choice; `None`: another one for each run.
    """

    fraction: float
    seed: int | None

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"RandomSample({self.fraction})"

    def redrawn(self) -> RandomSample:
        """The same for one run, with a seed in any case."""
        return self if self.seed is not None else replace(self, seed=secrets.randbits(63))

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema after it, which is that before."""
        return schema

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        empty: list[pa.Table] = []
        # Small ones joined, so that there are more equal rows to choose from.
        for table in join_small(_with_rows(blocks, empty)):
            keep = drawn(table, self.fraction, self.seed or 0)
            yield block.gatherable(table).filter(pa.array(keep))
        # They tell the columns.
        yield from empty[:1]


def _with_rows(blocks: Blocks, empty: list[pa.Table]) -> Iterator[pa.Table]:
    """Puts those without rows aside."""
    for table in blocks:
        if table.num_rows:
            yield table
        else:
            empty.append(table)


def drawn(table: pa.Table, fraction: float, seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tells for each row of a block whether it is drawn.

    Args:
        table: The block.
        fraction: From 0 to 1: the part of the rows that is drawn, about.
        seed: Makes the choice.
    """
    if fraction >= 1:
        return np.ones(table.num_rows, np.bool_)
    rows = np.zeros(table.num_rows, np.uint64)
    for name, column in zip(table.column_names, table.columns, strict=True):
        # The name, not the place, since a file may have its columns in another order.
        salt = _of_bytes(name.encode())
        chunks = [_hashes(chunk) for chunk in column.chunks]
        rows += _mixed((np.concatenate(chunks) if chunks else rows) + salt)
    luck = _mixed(_mixed(rows) + _of_bytes(str(seed).encode())) / 2.0**64
    # Equal rows have the same luck; of these, one is drawn whenever another one is due.
    before = luck + fraction * _places_among_equals(rows)
    return np.floor(before + fraction) > np.floor(before)


def _places_among_equals(hashes: Hashes) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Counts for each row the equal ones before it."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    begins = np.ones(len(ordered), np.bool_)
    begins[1:] = ordered[1:] != ordered[:-1]
    numbers = np.arange(len(ordered))
    places = np.empty(len(ordered), np.int64)
    places[order] = numbers - np.maximum.accumulate(np.where(begins, numbers, 0))
    return places


def _hashes(array: pa.Array) -> Hashes:
    """A number for each value; equal ones of one kind of type have the same."""
    if not len(array):
        return np.zeros(0, np.uint64)
    type, types = array.type, pa.types
    if isinstance(type, pa.BaseExtensionType):
        return _hashes(array.storage)
    if types.is_dictionary(type):
        return _hashes(convert(array, type.value_type))
    if types.is_null(type):
        return np.zeros(len(array), np.uint64)
    if is_text(type) or is_bytes(type):
        found = _of_words(array)
    elif is_list(type):
        found = _of_lists(array)
    elif types.is_map(type):
        pairs = pa.struct([type.key_field, type.item_field])
        found = _of_lists(array.cast(pa.list_(pairs)))
    elif types.is_struct(type):
        found = np.zeros(len(array), np.uint64)
        for field, child in zip(type, array.flatten(), strict=True):
            found += _mixed(_hashes(child) + _of_bytes(field.name.encode()))
    else:
        found = _of_numbers(array)
    return np.where(valid(array), _mixed(found + _STEP), np.uint64(0))


def _of_numbers(array: pa.Array) -> Hashes:
    type, types = array.type, pa.types
    if types.is_boolean(type):
        array, type = array.cast(pa.uint8()), pa.uint8()
    if is_number(type):
        numbers = view_all(array)
        if types.is_floating(type):
            # Equal floats of several widths, and zeros of both signs, are one value.
            return (numbers.astype(np.float64) + 0.0).view(np.uint64)
        return numbers.astype(np.int64).view(np.uint64)
    if types.is_decimal(type) or types.is_interval(type):
        return _of_words(pa.array([None if v is None else str(v) for v in array.to_pylist()]))
    # Dates, times and durations are integers within.
    whole = pa.int32() if type.bit_width == 32 else pa.int64()
    return _of_numbers(array.view(whole))


def _of_words(array: pa.Array) -> Hashes:
    words = array if is_bytes(array.type) else convert(array, pa.large_string())
    words = words.cast(pa.large_binary())
    offsets = np.frombuffer(words.buffers()[1], np.int64, len(words) + 1, words.offset * 8)
    data = memoryview(words.buffers()[2] or b"")
    bounds = offsets.tolist()
    pairs = pairwise(bounds)
    return np.fromiter(
        (_of_bytes(data[first:last]) for first, last in pairs), np.uint64, len(array)
    )


def _of_lists(array: pa.Array) -> Hashes:
    bounds = offsets_of(array).to_numpy()
    values = array.flatten()
    if is_number(values.type) and not values.null_count:
        # Tensors have many values, for which a number each would take much memory.
        data = view_all(values)
        pairs = pairwise(bounds.tolist())
        found = (_of_bytes(data[first:last].data) for first, last in pairs)
        return np.fromiter(found, np.uint64, len(array))
    hashes = _hashes(values)
    sizes = np.diff(bounds)
    places = np.arange(len(hashes), dtype=np.uint64)
    places -= np.repeat(bounds[:-1], sizes).astype(np.uint64)
    sums = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(_mixed(hashes + places * _STEP), out=sums[1:])
    within: Hashes = sums[bounds[1:]] - sums[bounds[:-1]] + sizes.astype(np.uint64)
    return within


def _of_bytes(data: bytes | memoryview) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little"))


def _mixed(numbers: Hashes) -> Hashes:
    """Spreads numbers over all 64 bits, so that close ones are far from each other."""
    with np.errstate(over="ignore"):
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return numbers ^ (numbers >> np.uint64(31))


#: An odd number without a pattern; what is added per place, so that equal values differ.
_STEP = np.uint64(0x9E3779B97F4A7C15)
