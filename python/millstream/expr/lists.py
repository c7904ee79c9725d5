"""What becomes of lists and maps where Arrow has no function for it.

Owns lists sorted and flattened, and the keys and values of maps. Where lists begin and end is taken
from their own offsets, since values may lie under null ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks.common_type import is_list
from millstream.blocks.convert import convert, nulls, offsets_of
from millstream.blocks.primitive import wrap

Order = Literal["ascending", "descending"]
Placement = Literal["at_start", "at_end"]


@dataclass(frozen=True)
class ListSort:
    """Sorts the values of each list.

    Args:
        order: Which way.
        null_placement: Where nulls go. NaN lies between them and the numbers.
    """

    order: Order
    null_placement: Placement
    __name__ = "list_sort"

    def type_of(self, type: pa.DataType) -> pa.DataType:
        """The same type.

        Raises:
            TypeError: It has no lists, or their values have no order.
        """
        value_type = _list_type(type)
        try:
            self._order(np.zeros(2, np.int64), nulls(2, value_type))
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise TypeError(f"values of {value_type} have no order") from error
        return type

    def __call__(self, lists: pa.Array) -> pa.Array:
        """The sorted lists."""
        if pa.types.is_null(lists.type):
            return lists
        values, offsets = lists.flatten(), offsets_of(lists)
        rows = np.repeat(np.arange(len(lists)), np.diff(offsets.to_numpy()))
        ordered = values.take(self._order(rows, values))
        return _lists(offsets, ordered, lists, lists.type)

    def _order(self, rows: np.ndarray, values: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        columns = {"row": wrap(rows), "is_null": values.is_null(), "value": values}
        if pa.types.is_floating(values.type):
            columns["is_nan"] = pc.is_nan(values)
        # Said by columns of their own, as versions of Arrow have different words for it.
        last = "ascending" if self.null_placement == "at_end" else "descending"
        keys = [("row", "ascending"), *((name, last) for name in ("is_null", "is_nan"))]
        keys = [key for key in keys if key[0] in columns]
        return pc.sort_indices(pa.table(columns), sort_keys=[*keys, ("value", self.order)])


@dataclass(frozen=True)
class ListFlatten:
    """Joins the lists within each list. A null one among them has no values."""

    __name__ = "list_flatten"

    def type_of(self, type: pa.DataType) -> pa.DataType:
        """The lists of what is in them.

        Raises:
            TypeError: It has no lists of lists.
        """
        inner = _list_type(type)
        if pa.types.is_null(inner):
            return type
        try:
            value_type = _list_type(inner)
        except TypeError as error:
            raise TypeError(f"{type} has no lists within lists") from error
        is_large = any(map(pa.types.is_large_list, (type, inner)))
        return pa.large_list(value_type) if is_large else pa.list_(value_type)

    def __call__(self, lists: pa.Array) -> pa.Array:
        """The joined lists."""
        type = self.type_of(lists.type)
        if type.equals(lists.type):
            return lists
        inner = lists.flatten()
        ends = offsets_of(inner).to_numpy()[offsets_of(lists).to_numpy()]
        return _lists(wrap(ends), inner.flatten(), lists, type)


@dataclass(frozen=True)
class MapPart:
    """Gives the keys or the values of each map as a list.

    Args:
        part: Which.
    """

    part: Literal["keys", "values"]

    @property
    def __name__(self) -> str:
        """What plans call it."""
        return f"map_{self.part}"

    def type_of(self, type: pa.DataType) -> pa.DataType:
        """The lists.

        Raises:
            TypeError: It has no maps.
        """
        if pa.types.is_null(type):
            return type
        if not pa.types.is_map(type):
            raise TypeError(f"{type} is no map")
        return pa.list_(type.key_type if self.part == "keys" else type.item_type)

    def __call__(self, maps: pa.Array) -> pa.Array:
        """The lists."""
        if pa.types.is_null(maps.type):
            return maps
        values = maps.keys if self.part == "keys" else maps.items
        offsets = maps.offsets.to_numpy()
        first, last = int(offsets[0]), int(offsets[-1])
        starts = wrap((offsets - first).astype(np.int64))
        return _lists(starts, values.slice(first, last - first), maps, self.type_of(maps.type))


@dataclass(frozen=True)
class ArrayToList:
    """Gives lists of one size as lists of any."""

    __name__ = "to_list"

    def type_of(self, type: pa.DataType) -> pa.DataType:
        """The type of lists of any size.

        Raises:
            TypeError: It has no lists.
        """
        value_type = _list_type(type)
        return pa.list_(value_type) if pa.types.is_fixed_size_list(type) else type

    def __call__(self, lists: pa.Array) -> pa.Array:
        """The lists."""
        return convert(lists, self.type_of(lists.type))


def _list_type(type: pa.DataType) -> pa.DataType:
    """The type of the values of lists; null for no lists at all.

    Raises:
        TypeError: They are no lists.
    """
    if pa.types.is_null(type):
        return type
    if not is_list(type):
        raise TypeError(f"{type} is no list")
    return type.value_type


def _lists(offsets: pa.Array, values: pa.Array, like: pa.Array, type: pa.DataType) -> pa.Array:
    """Lists that are null where others are."""
    mask = like.is_null() if like.null_count else None
    wide = pa.large_list(values.type)
    return convert(pa.LargeListArray.from_arrays(offsets, values, type=wide, mask=mask), type)
