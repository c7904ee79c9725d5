"""Columns of the types that tests go through: at least 40, with nulls and the values at the edges.

Owns the samples, and what makes two of their values the same.
"""

from __future__ import annotations

import datetime
import decimal
import math

import numpy as np
import pyarrow as pa

from millstream.blocks import tensor

UTC = datetime.UTC
LARGE = 2**53 + 1
DAY = datetime.date(2024, 2, 29)
NOON = datetime.datetime(2024, 2, 29, 12, 0, 0, 123456)
WORDS = ["a", "é€😀", None, ""]


def tensors(*rows):
    """A column of tensors; None is null."""
    column = tensor.from_ndarrays(list(rows))
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)


def words(index, values=tuple(WORDS), ordered=False):
    """A dictionary column of text."""
    found = [word for word in dict.fromkeys(values) if word is not None]
    codes = pa.array([None if word is None else found.index(word) for word in values], index)
    return pa.DictionaryArray.from_arrays(codes, pa.array(found), ordered=ordered)


COLUMNS = {
    "null": pa.nulls(3),
    "bool": pa.array([True, None, False]),
    "int8": pa.array([-128, None, 127], pa.int8()),
    "int32": pa.array([-(2**31), None, 2**31 - 1], pa.int32()),
    "int64": pa.array([LARGE, None, -(2**63)], pa.int64()),
    "small_int64": pa.array([5, None, 2**60], pa.int64()),
    "uint8": pa.array([0, None, 255], pa.uint8()),
    "uint16": pa.array([0, None, 2**16 - 1], pa.uint16()),
    "uint64": pa.array([LARGE, None, 2**64 - 1], pa.uint64()),
    "float16": pa.array([1.5, None, math.inf], pa.float16()),
    "float32": pa.array([0.5, None, math.nan], pa.float32()),
    "float64": pa.array([0.1, None, math.nan, -0.0]),
    "decimal32": pa.array([decimal.Decimal("1.25"), None], pa.decimal32(5, 2)),
    "decimal64": pa.array([decimal.Decimal("-1.2345"), None], pa.decimal64(14, 4)),
    "decimal128": pa.array([decimal.Decimal("1e30"), None], pa.decimal128(38, 4)),
    "decimal256": pa.array([decimal.Decimal("1e-20"), None], pa.decimal256(60, 20)),
    "date32": pa.array([DAY, None], pa.date32()),
    "date64": pa.array([DAY, None], pa.date64()),
    "time32": pa.array([datetime.time(1, 2, 3), None], pa.time32("s")),
    "time64": pa.array([datetime.time(1, 2, 3, 4), None], pa.time64("us")),
    "seconds": pa.array([0, None, 253370764800], pa.timestamp("s")),
    "microseconds": pa.array([NOON, None], pa.timestamp("us")),
    "nanoseconds": pa.array([1, None, LARGE], pa.timestamp("ns")),
    "zoned": pa.array([NOON.replace(tzinfo=UTC), None], pa.timestamp("us", "Europe/Berlin")),
    "zoned_utc": pa.array([1709208000123, None], pa.timestamp("ms", "UTC")),
    "duration": pa.array([datetime.timedelta(1, 2, 3), None], pa.duration("us")),
    "nano_duration": pa.array([1, None, LARGE], pa.duration("ns")),
    "interval": pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
    "string": pa.array(WORDS, pa.string()),
    "large_string": pa.array(WORDS, pa.large_string()),
    "string_view": pa.array([*WORDS, "longer than the twelve bytes of a view"], pa.string_view()),
    "binary": pa.array([b"\x00\xff", None, b""], pa.binary()),
    "fixed_binary": pa.array([b"ab", None], pa.binary(2)),
    "binary_view": pa.array([b"\x00\xff" * 20, None], pa.binary_view()),
    "words8": words(pa.int8()),
    "words32": words(pa.int32(), ["z", None, "a"]),
    "null_word": pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["a", None])),
    "numbered": pa.array([3, None, LARGE, 3]).dictionary_encode(),
    "list": pa.array([[1, None, LARGE], None, []]),
    "large_list": pa.array([["a", None], None], pa.large_list(pa.large_string())),
    "fixed_list": pa.array([[1, 2], None, [None, 4]], pa.list_(pa.int16(), 2)),
    "list_view": pa.array([[1, None], None, []], pa.list_view(pa.int64())),
    "list_of_floats": pa.array([[0.1, None, math.nan], None, [2.5]]),
    "list_of_short_floats": pa.array([[0.5, None], None], pa.list_(pa.float32())),
    "list_of_bools": pa.array([[True, None], [False], None]),
    "list_of_zoned": pa.array(
        [[NOON.replace(tzinfo=UTC), None], None], pa.list_(pa.timestamp("us", "Asia/Tokyo"))
    ),
    "list_of_codes": pa.array([["a", None], None], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    "list_of_lists": pa.array([[[1], None], None, [[]]], pa.list_(pa.list_(pa.int8()))),
    "list_of_words": pa.array([["a"], None, []], pa.list_(pa.string_view())),
    "struct": pa.array([{"a": LARGE, "b": "x"}, None, {"a": None, "b": None}]),
    "other_struct": pa.array([{"b": "y", "c": [DAY]}, None, {"b": None, "c": [None]}]),
    "empty_struct": pa.array([{}, None], pa.struct([])),
    "list_of_structs": pa.array([[{"a": 1, "t": NOON}, None], None, [{"a": None, "t": None}]]),
    "struct_of_zoned": pa.array(
        [{"t": NOON.replace(tzinfo=UTC)}, None], pa.struct({"t": pa.timestamp("us", "Asia/Tokyo")})
    ),
    "deep_struct": pa.array(
        [{"s": {"l": [LARGE, None], "n": 1001}, "u": 2**64 - 1}, None, {"s": None, "u": None}],
        pa.struct(
            {
                "s": pa.struct({"l": pa.large_list(pa.int64()), "n": pa.timestamp("ns")}),
                "u": pa.uint64(),
            }
        ),
    ),
    "map": pa.array([[("a", 1), ("b", None)], None, []], pa.map_(pa.string(), pa.int64())),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"x" * 16, None], pa.binary(16))),
    "tensor": tensors(np.arange(4).reshape(2, 2) + LARGE, None),
    "float_tensor": tensors(np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)),
    "ragged_tensor": tensors(np.ones((1, 2), np.uint8), np.zeros((3, 0), np.uint8), None),
    "any_tensor": tensors(np.ones(2, np.uint8), np.zeros((3, 1), np.uint8), None),
    "vector": tensors(np.ones(3, np.int16), np.zeros(3, np.int16)),
    "bool_tensor": tensors(np.ones((2, 2), bool), np.zeros((2, 2), bool)),
}


def values(column):
    """The values of a column as Python has them, tensors as arrays."""
    if tensor.is_tensor(column.type):
        return list(tensor.to_numpy(column))
    if pa.types.is_timestamp(column.type) or pa.types.is_duration(column.type):
        # As integers of nanoseconds, which Python's own types do not have.
        scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[column.type.unit]
        return [None if v is None else v * scale for v in column.cast(pa.int64()).to_pylist()]
    return column.to_pylist()


def same(left, right):
    """Tells whether two values are one: exact for numbers, by name for records."""
    if left is None or right is None:
        return left is right
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        left, right = np.asarray(left), np.asarray(right)
        return left.shape == right.shape and all(
            map(same, left.reshape(-1).tolist(), right.reshape(-1).tolist())
        )
    if isinstance(left, dict):
        names = {**left, **right}
        return all(same(left.get(name), right.get(name)) for name in names)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and math.isnan(left):
        return isinstance(right, float) and math.isnan(right)
    if isinstance(left, float) and isinstance(right, float):
        return math.copysign(1, left) == math.copysign(1, right) and left == right
    return isinstance(left, bool) == isinstance(right, bool) and left == right
