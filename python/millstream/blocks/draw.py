"""Random numbers that follow from a seed and from what a block holds.

Owns which of its values are looked at: few, and little of large ones. Must not know what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks.common_type import is_list
from millstream.blocks.row_hash import hash_rows
from millstream.errors import SchemaError


def numbers_for(table: pa.Table, seed: int) -> np.random.Generator:
    """Random numbers that are the same for the same rows, however they are cut."""
    digest = np.zeros(_VALUES_LOOKED_AT, np.uint64)
    for column in table.columns:
        for values in _looked_at(column):
            digest *= _ODD
            try:
                digest[: len(values)] += hash_rows(pa.table({"x": values}), ["x"])
            except SchemaError:
                # There is no hash for these; the others are enough.
                continue
    entropy = [seed, table.num_rows, *digest.tolist()]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def _looked_at(column: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    """Some values of a column, and of those within its values."""
    types, type = pa.types, column.type
    if isinstance(type, pa.BaseExtensionType):
        chunks = [chunk.storage for chunk in column.chunks]
        yield from _looked_at(pa.chunked_array(chunks, type.storage_type))
    elif types.is_struct(type):
        yield _some(column.is_null())
        for field in column.flatten():
            yield from _looked_at(field)
    elif types.is_map(type):
        entry = pa.struct([("key", type.key_type), ("value", type.item_type)])
        yield from _looked_at(column.cast(pa.list_(entry)))
    elif is_list(type):
        yield _some(pc.list_value_length(column))
        chunks = [chunk.flatten() for chunk in column.chunks]
        yield from _looked_at(pa.chunked_array(chunks, type.value_type))
    elif types.is_dictionary(type):
        chunks = [chunk.dictionary_decode() for chunk in _slices(column).chunks]
        yield from _looked_at(pa.chunked_array(chunks, type.value_type))
    elif types.is_string(type) or types.is_large_string(type):
        yield _ends(column.cast(pa.large_binary() if types.is_large_string(type) else pa.binary()))
    elif types.is_binary(type) or types.is_large_binary(type):
        yield _ends(column)
    else:
        yield _some(column)


def _ends(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The first and the last bytes of some values: files of one kind often begin alike."""
    some = _slices(column)
    places = ((0, _BYTES_LOOKED_AT), (-_BYTES_LOOKED_AT, None))
    ends = [pc.binary_slice(some, *each).cast(pa.binary()) for each in places]
    return pc.binary_join_element_wise(*ends, b"")


def _some(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.take(pa.array(_places(len(column))))


def _slices(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same without a copy of what may be large."""
    places = _places(len(column)).tolist()
    chunks = [chunk for place in places for chunk in column.slice(place, 1).chunks]
    return pa.chunked_array(chunks, column.type)


def _places(rows: int) -> npt.NDArray[np.int64]:
    count = min(rows, _VALUES_LOOKED_AT)
    return np.linspace(0, rows - 1, count).astype(np.int64)


_ODD = np.uint64(0x9E3779B97F4A7C15)
_VALUES_LOOKED_AT = 64
_BYTES_LOOKED_AT = 64
