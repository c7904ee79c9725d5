"""A number for each row, the same for equal values on every machine, in every process and version.

Owns which values count as equal: by value, not by type, so that where a block ends, and with it the
type of a column in that block, decides nothing. There is one null, one NaN and one zero; 5 and 5.0
are equal, and so are 0.3 and 0.30 as decimals, the same text in a dictionary and outside, and the
same moment in other units.

The mixing is splitmix64's (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
OOPSLA 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks import block
from millstream.errors import SchemaError

Hashes = npt.NDArray[np.uint64]


def hash_rows(table: pa.Table, columns: Sequence[str], *, seed: int = 0) -> Hashes:
    """A number for each row, that follows from its values in some columns.

    Args:
        table: A block.
        columns: The columns, in their order.
        seed: Other numbers for another seed.

    Returns:
        Numbers of 64 bits, shape (rows,).

    Raises:
        SchemaError: A column has no such values, or does not exist.
    """
    block.require_columns(table.schema, columns)
    total = np.full(table.num_rows, seed, np.uint64)
    for name in columns:
        column = table.column(name)
        try:
            chunks = [hash_array(chunk) for chunk in column.chunks]
        except NotImplementedError as error:
            raise SchemaError(f"rows cannot be told apart by column {name!r}: {error}") from None
        hashes = np.concatenate(chunks) if chunks else np.empty(0, np.uint64)
        total = _mix(total + _STEP) ^ hashes
    return _mix(total)


def hash_array(array: pa.Array) -> Hashes:
    """A number for each value of an array, shape (values,).

    Raises:
        NotImplementedError: There is none for the type.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        return _hash_dictionary(array)
    hashes = _hasher(array.type)(array)
    if array.null_count:
        hashes = np.where(_is_null(array), _NULL, hashes)
    return hashes


def _hasher(type: pa.DataType) -> Callable[[Any], Hashes]:
    types = pa.types
    if types.is_null(type):
        return lambda array: np.full(len(array), _NULL)
    if types.is_boolean(type) or types.is_integer(type):
        return _hash_integers
    if types.is_floating(type):
        return _hash_floats
    if types.is_decimal(type):
        return _hash_decimals
    if types.is_interval(type):
        return _hash_intervals
    if types.is_temporal(type):
        return _hash_times
    if types.is_string(type) or types.is_binary(type):
        return _hash_bytes
    if types.is_large_string(type) or types.is_large_binary(type):
        return _hash_bytes
    if types.is_fixed_size_binary(type):
        return lambda array: _hash_bytes(array.cast(pa.large_binary()))
    if types.is_struct(type):
        return _hash_structs
    if types.is_list(type) or types.is_large_list(type) or types.is_map(type):
        return _hash_lists
    if types.is_fixed_size_list(type):
        return _hash_fixed_lists
    raise NotImplementedError(f"values of type {type} have no hash")


def _hash_integers(array: pa.Array) -> Hashes:
    if pa.types.is_uint64(array.type):
        return _mix(_filled(array, 0))
    values = _filled(array.cast(pa.int64()), 0)
    return _mix(values.astype(np.int64).view(np.uint64))


def _hash_floats(array: pa.Array) -> Hashes:
    values = _filled(array.cast(pa.float64()), 0.0).astype(np.float64)
    is_nan = np.isnan(values)
    values = np.where(is_nan, 0.0, values)
    # What is a whole number is that number; -0.0 is zero.
    is_whole = np.trunc(values) == values
    is_signed = is_whole & (values >= -(2.0**63)) & (values < 2.0**63)
    is_unsigned = is_whole & (values >= 2.0**63) & (values < 2.0**64)
    signed = np.where(is_signed, values, 0).astype(np.int64).view(np.uint64)
    whole = np.where(is_unsigned, np.where(is_unsigned, values, 0).astype(np.uint64), signed)
    hashes = _mix(np.where(is_signed | is_unsigned, whole, values.view(np.uint64) ^ _FLOATS))
    return np.where(is_nan, _NAN, hashes)


def _hash_decimals(array: pa.Array) -> Hashes:
    """Numbers of the value alone, whatever its digits behind the point: 0.3 is 0.30."""
    if array.type.scale < 0:
        array = array.cast(pa.decimal256(_DIGITS_MAX, 0))
    words = _words(array)
    is_negative = words[:, -1] < 0
    halves = _magnitudes(words, is_negative)
    scales = np.full(len(array), array.type.scale, np.int64)
    for digits in _DIGITS_CUT:
        _cut_zeros(halves, scales, digits)
    low = halves[:, 0] | halves[:, 1] << _HALF
    # Whole numbers that integers can hold have the hash of those.
    is_integer = (scales == 0) & (halves[:, 2:] == 0).all(axis=1)
    is_integer &= ~is_negative | (low <= np.uint64(2**63))
    total = _DECIMALS + scales.view(np.uint64) + is_negative * _STEP
    for place in range(0, halves.shape[1], 2):
        word = halves[:, place] | halves[:, place + 1] << _HALF
        # What shorter decimals have no place for changes nothing.
        total = np.where(word > 0, _mix(total + _STEP) ^ _mix(word + np.uint64(place)), total)
    return np.where(is_integer, _mix(np.where(is_negative, ~low + _ONE, low)), _mix(total))


def _magnitudes(words: npt.NDArray[np.int64], is_negative: npt.NDArray[np.bool_]) -> Hashes:
    """Numbers without their sign in halves of words, the lowest first, shape (values, halves)."""
    both = np.stack([words.view(np.uint64) & _LOW, words.view(np.uint64) >> _HALF], axis=2)
    halves = both.reshape(len(words), 2 * words.shape[1])
    carry = is_negative.astype(np.uint64)
    flipped = np.where(is_negative, _LOW, np.uint64(0))
    for place in range(halves.shape[1]):
        raised = (halves[:, place] ^ flipped) + carry
        halves[:, place], carry = raised & _LOW, raised >> _HALF
    used = np.flatnonzero(halves.any(axis=0))
    # Pairs, since two of them are a word.
    return halves[:, : max(2, (int(used.max(initial=0)) // 2 + 1) * 2)]


def _cut_zeros(halves: Hashes, scales: npt.NDArray[np.int64], digits: int) -> None:
    """Divides those numbers that have so many zeros at the end of what is behind the point."""
    divisor = np.uint64(10**digits)
    rows = np.flatnonzero(scales >= digits)
    if not len(rows):
        return
    numbers = halves[rows]
    left = np.zeros(len(rows), np.uint64)
    for place in range(halves.shape[1] - 1, -1, -1):
        whole = left << _HALF | numbers[:, place]
        numbers[:, place] = whole // divisor
        left = whole - numbers[:, place] * divisor
    is_exact = left == 0
    halves[rows[is_exact]] = numbers[is_exact]
    scales[rows[is_exact]] -= digits


def _hash_intervals(array: pa.Array) -> Hashes:
    months_and_days, rest = _words(array).view(np.uint64).T
    return _mix(_mix(months_and_days) + rest)


def _words(array: pa.Array) -> npt.NDArray[np.int64]:
    """Values of a fixed width in words of 64 bits, shape (values, words); zeros for nulls."""
    width = array.type.bit_width // 8
    type = np.int64 if width >= 8 else np.int32
    size = width // type().itemsize
    data = array.buffers()[1]
    if not len(array) or data is None:
        return np.zeros((len(array), size), np.int64)
    cells = np.frombuffer(data, type, size * len(array), array.offset * width)
    words = cells.reshape(len(array), size).astype(np.int64)
    return np.where(_is_null(array)[:, None], 0, words) if array.null_count else words


def _hash_times(array: pa.Array) -> Hashes:
    types, type = pa.types, array.type
    if types.is_date32(type):
        unit, numbers = 86_400, array.cast(pa.int32())
    else:
        unit = 1
        numbers = array.cast(pa.int32() if types.is_time32(type) else pa.int64())
    values = _filled(numbers, 0).astype(np.int64)
    if types.is_date32(type):
        seconds, rest = values * unit, np.zeros_like(values)
    else:
        parts = _PARTS["ms" if types.is_date64(type) else type.unit]
        seconds, rest = np.divmod(values, parts)
        rest = rest * (_PARTS["ns"] // parts)
    return _mix(_mix(seconds.view(np.uint64)) + rest.view(np.uint64))


def _hash_bytes(array: pa.Array) -> Hashes:
    is_large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    if not len(array):
        return np.empty(0, np.uint64)
    _, offsets, data = array.buffers()
    type = np.int64 if is_large else np.int32
    ends = np.frombuffer(offsets, type, len(array) + 1, array.offset * type().itemsize)
    starts, lengths = ends[:-1].astype(np.int64), np.diff(ends).astype(np.int64)
    hashes = _mix(lengths.view(np.uint64) + _STEP)
    if data is None or not lengths.any():
        return _mix(hashes)
    return _hash_words(np.frombuffer(data, np.uint8), starts, lengths, hashes)


def _hash_words(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    hashes: Hashes,
) -> Hashes:
    """Mixes in eight bytes of each value at a time, as long as it has any."""
    low, high = int(starts[0]), int(starts[-1] + lengths[-1])
    padded = np.zeros(high - low + 8, np.uint8)
    padded[: high - low] = data[low:high]
    # At each byte the eight bytes from there on; nothing is copied before they are asked for.
    words = np.ndarray((high - low + 1,), np.dtype("<u8"), padded, strides=(1,))
    left = np.flatnonzero(lengths)
    at = 0
    while len(left):
        found = words[starts[left] - low + at]
        short = np.maximum(0, 8 - (lengths[left] - at)).astype(np.uint64) * np.uint64(8)
        found = found & (_ALL >> short)
        hashes[left] = _mix(hashes[left] + _STEP) ^ _mix(found)
        at += 8
        left = left[lengths[left] > at]
    return _mix(hashes)


def _hash_structs(array: pa.StructArray) -> Hashes:
    total = np.full(len(array), _STRUCTS)
    for field in array.flatten():
        total = _mix(total + _STEP) ^ hash_array(field)
    return _mix(total)


def _hash_lists(array: Any) -> Hashes:
    if pa.types.is_map(array.type):
        entry = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
        array = array.cast(pa.list_(entry))
    lengths = np.asarray(_filled(pc.list_value_length(array), 0), np.int64)
    return _hash_runs(hash_array(array.flatten()), lengths)


def _hash_fixed_lists(array: pa.FixedSizeListArray) -> Hashes:
    lengths = np.full(len(array), array.type.list_size, np.int64)
    lengths[_is_null(array)] = 0
    return _hash_runs(hash_array(array.flatten()), lengths)


def _hash_runs(values: Hashes, lengths: npt.NDArray[np.int64]) -> Hashes:
    """One number for each run of values."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    places = np.arange(len(values), dtype=np.int64) - np.repeat(starts, lengths)
    mixed = _mix(values ^ _mix(places.view(np.uint64) + _STEP))
    # Sums wrap around, so those of runs are differences of sums.
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    return _mix(sums[ends] - sums[starts] + _mix(lengths.view(np.uint64) + _STEP))


def _hash_dictionary(array: pa.DictionaryArray) -> Hashes:
    of_values = hash_array(array.dictionary)
    codes = _filled(array.indices.cast(pa.int64()), 0)
    hashes = of_values[codes] if len(of_values) else np.zeros(len(array), np.uint64)
    return np.where(_is_null(array), _NULL, hashes)


def _filled(array: pa.Array, value: Any) -> npt.NDArray[Any]:
    """The values as NumPy has them, with another where there is none."""
    if array.null_count:
        array = pc.fill_null(array, value)
    found: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return found


def _is_null(array: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return found


def _mix(values: Hashes) -> Hashes:
    """Spreads what differs in one bit over all bits."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


_STEP = np.uint64(0x9E3779B97F4A7C15)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
# Each stands for one value, or keeps apart what is of another kind.
_NULL = np.uint64(0x5BD1E9955BD1E995)
_NAN = np.uint64(0xC2B2AE3D27D4EB4F)
_FLOATS = np.uint64(0x165667B19E3779F9)
_STRUCTS = np.uint64(0x27D4EB2F165667C5)
_DECIMALS = np.uint64(0xD6E8FEB86659FD93)
#: Parts of a second.
_PARTS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
#: Of the longest decimals.
_DIGITS_MAX = 76
#: So many zeros are cut at a time, as often as the longest decimals have them; less than 32 bits.
_DIGITS_CUT = (*(8,) * 9, 4, 2, 1)
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)
_ONE = np.uint64(1)
