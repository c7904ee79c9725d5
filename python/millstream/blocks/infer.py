"""Python values into Arrow: of which type a column of them is.

Owns the rules for values whose types differ, at any depth: what goes together, and the error that
names both rows where nothing does. pyarrow lets the first value decide, which drops the time of
day of a datetime behind a date. Must not know columns' names, blocks or user code.
"""

from __future__ import annotations

import datetime
import decimal
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import primitive, tensor
from millstream.blocks.column_types import settle
from millstream.blocks.common_type import common_type, is_list
from millstream.blocks.convert import Column, nulls

Values = Sequence[Any] | np.ndarray[Any, Any]
RowOf = Callable[[int], int]


def array_of(values: Values, like: pa.DataType | None = None) -> Column:
    """Makes a column of Python values, None where null.

    Integers and floats take 64 bits, strings and bytes 64-bit offsets; dicts are structs, lists and
    arrays of one dimension are lists.

    Args:
        values: One for each row.
        like: What the column was before; decides what Python leaves open, if nothing is lost.

    Raises:
        TypeError: Two values do not go together, or there is no type for one; names the rows.
    """
    return _array(values, like, lambda index: index)


def _array(values: Values, like: pa.DataType | None, row_of: RowOf) -> Column:
    made = primitive.of_values(values)
    if made is not None:
        return settle(made, like)
    kinds = _kinds(values)
    if _UNUSUAL in kinds:
        return _array([_usual(value) for value in values], like, row_of)
    _require_together(kinds, row_of)
    if not kinds:
        return nulls(len(values), pa.null() if like is None else like)
    if like is not None and pa.types.is_map(like):
        return pa.array(values, like)
    if kinds.keys() <= {_LIST, _ARRAY}:
        return settle(_lists(values, like, row_of), like)
    if kinds.keys() == {_RECORD}:
        return settle(_structs(values, like, row_of), like)
    if kinds.keys() <= {_INTEGER, _FLOAT, _NUMPY}:
        return settle(_numbers(values, row_of), like)
    if kinds.keys() in ({_NUMPY_DATE}, {_NUMPY_DURATION}):
        first = values[next(iter(kinds.values()))]
        empty = type(first)("NaT")
        made = np.array([empty if value is None else value for value in values])
        return settle(pa.array(made.astype(tensor.arrow_dtype(made.dtype))), like, in_utc=True)
    return settle(_others(values, kinds, row_of), like)


def _kinds(values: Values) -> dict[str, int]:
    """The kinds of values that there are, each with where it is first."""
    kinds: dict[str, int] = {}
    known = _KNOWN.copy()
    for index, value in enumerate(values):
        kind = known.get(type(value))
        if kind is None and type(value) is np.ndarray and value.ndim:
            kind = _ARRAY
        if kind is None:
            kind = _kind_of(value)
            # Of these, values of one type are of several kinds.
            if not isinstance(value, (datetime.datetime, np.ndarray)):
                known[type(value)] = kind
        if kind not in kinds:
            kinds[kind] = index
    kinds.pop(_NULL, None)
    return kinds


def _kind_of(value: Any) -> str:
    if isinstance(value, datetime.datetime) and type(value).__name__ not in _PANDAS_NULLS:
        return _NAIVE if value.tzinfo is None else _ZONED
    if isinstance(value, np.generic):
        kind = _NUMPY if value.dtype.kind in "iuf" else _NUMPY_KINDS.get(value.dtype.kind)
        return kind or _named(value)
    if type(value).__name__ in _PANDAS_NULLS or (type(value) is np.ndarray and value.ndim == 0):
        return _UNUSUAL
    found = (kind for type, kind in _CLASSES if isinstance(value, type))
    return next(found, None) or _named(value)


def _named(value: Any) -> str:
    """The kind of values that only pyarrow may know, such as `uuid.UUID`."""
    return f"a value of type {type(value).__name__}"


def _usual(value: Any) -> Any:
    """Returns what pandas has for a null, and an array without dimensions, as Python has it."""
    if type(value).__name__ in _PANDAS_NULLS:
        return None
    return value[()] if type(value) is np.ndarray and value.ndim == 0 else value


def _require_together(kinds: Mapping[str, int], row_of: RowOf) -> None:
    complex_at = kinds.get(_COMPLEX)
    if complex_at is not None:
        raise TypeError(
            f"a complex number in row {row_of(complex_at)}, which Arrow has no type for"
        )
    groups: dict[str, str] = {}
    for kind in kinds:
        group = _GROUPS.get(kind, kind)
        groups.setdefault(group, kind)
    if _DECIMAL in kinds and (_FLOAT in kinds or _NUMPY in kinds):
        # A decimal goes with integers of Python only.
        groups = {_DECIMAL: _DECIMAL, _FLOAT: _FLOAT if _FLOAT in kinds else _NUMPY}
    if len(groups) > 1:
        told = list(groups.values())[:2]
        first, second = (f"{kind} in row {row_of(kinds[kind])}" for kind in told)
        raise TypeError(f"{first} and {second}, which no common type holds")


def _numbers(values: Values, row_of: RowOf) -> pa.Array:
    """Integers and floats of Python and NumPy, of which at least two are of different types."""
    _require_64_bits(values, row_of)
    types: dict[type, pa.DataType] = {}
    for value in values:
        if type(value) not in types and value is not None:
            types[type(value)] = _number_type(value, values)
    common: pa.DataType | None = None
    for found in types.values():
        common = found if common is None else common_type(common, found)
    if pa.types.is_floating(common):
        for index, value in enumerate(values):
            whole = isinstance(value, (int, np.integer))
            if whole and int(float(value)) != int(value):
                raise TypeError(f"{value} in row {row_of(index)}, which is no exact float64")
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, common)


def _require_64_bits(values: Values, row_of: RowOf) -> None:
    whole = [
        (int(value), index)
        for index, value in enumerate(values)
        if isinstance(value, (int, np.integer))
    ]
    if not whole:
        return
    (low, low_at), (high, high_at) = min(whole), max(whole)
    if low < -(2**63) or high >= 2**64:
        value, index = (high, high_at) if high >= 2**64 else (low, low_at)
        raise TypeError(f"{value} in row {row_of(index)}, which has more than 64 bits")
    if low < 0 and high >= 2**63:
        raise TypeError(
            f"{low} in row {row_of(low_at)} and {high} in row {row_of(high_at)}, which no integer "
            "of 64 bits holds"
        )


def _number_type(value: Any, values: Values) -> pa.DataType:
    if isinstance(value, np.generic):
        return pa.from_numpy_dtype(value.dtype)
    if isinstance(value, float):
        return pa.float64()
    large = any(isinstance(value, int) and value >= 2**63 for value in values)
    return pa.uint64() if large else pa.int64()


def _others(values: Values, kinds: Mapping[str, int], row_of: RowOf) -> pa.Array:
    """Values of one kind that pyarrow knows: dates, times, decimals and the like."""
    if kinds.keys() == {_TEXT}:
        return pa.array(values, pa.large_string())
    if kinds.keys() == {_BYTES}:
        return pa.array(values, pa.large_binary())
    if _DECIMAL in kinds:
        # pyarrow finds no room for an integer of more digits than the first decimal.
        whole = (int, np.integer)
        return pa.array([decimal.Decimal(int(v)) if isinstance(v, whole) else v for v in values])
    column = pa.array(values)
    if pa.types.is_timestamp(column.type) and any(hasattr(v, "nanosecond") for v in values):
        # Arrow takes timestamps of pandas for datetimes, which have no nanoseconds.
        return _typed(values, pa.timestamp("ns", column.type.tz), row_of)
    if pa.types.is_duration(column.type) and any(hasattr(v, "nanoseconds") for v in values):
        return _typed(values, pa.duration("ns"), row_of)
    return column


def _typed(values: Values, type: pa.DataType, row_of: RowOf) -> pa.Array:
    try:
        return pa.array(values, type)
    except pa.ArrowInvalid as error:
        for index, value in enumerate(values):
            try:
                pa.scalar(value, type)
            except pa.ArrowInvalid:
                raise TypeError(f"{value} in row {row_of(index)}, which is no {type}") from error
        raise


def _structs(values: Values, like: pa.DataType | None, row_of: RowOf) -> pa.Array:
    names = dict.fromkeys(chain.from_iterable(value for value in values if value is not None))
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise TypeError(f"a dict with the key {wrong!r}, which is no string")
    if not names:
        return pa.array(values, pa.struct([]))
    before = {} if like is None or not pa.types.is_struct(like) else {f.name: f.type for f in like}
    children = [
        _one_piece(
            _array(
                [v.get(name) if v is not None else None for v in values], before.get(name), row_of
            )
        )
        for name in names
    ]
    gone = [value is None for value in values]
    mask = pa.array(gone) if any(gone) else None
    fields = [pa.field(name, child.type) for name, child in zip(names, children, strict=True)]
    return pa.StructArray.from_arrays(children, fields=fields, mask=mask)


def _lists(values: Values, like: pa.DataType | None, row_of: RowOf) -> pa.Array:
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([0 if value is None else len(value) for value in values], out=offsets[1:])
    there = [value for value in values if value is not None]
    has_arrays = any(isinstance(value, np.ndarray) for value in there)
    inner = like.value_type if like is not None and is_list(like) else None
    child = _array_elements(there, inner) if has_arrays else None
    if child is None:
        starts = offsets.tolist()
        lists = map(_listed, there) if has_arrays else there
        flat = list(chain.from_iterable(lists))
        child = _one_piece(
            _array(flat, inner, lambda index: row_of(bisect_right(starts, index) - 1))
        )
    mask = pa.array([value is None for value in values]) if len(there) < len(values) else None
    if offsets[-1] > _OFFSET_MAX:
        return pa.LargeListArray.from_arrays(primitive.wrap(offsets), child, mask=mask)
    return pa.ListArray.from_arrays(primitive.wrap(offsets.astype(np.int32)), child, mask=mask)


def _array_elements(rows: list[Any], inner: pa.DataType | None) -> pa.Array | None:
    """The elements of arrays of one dimension and one dtype that Arrow has, or None."""
    if not rows or not all(type(row) is np.ndarray and row.ndim == 1 for row in rows):
        return None
    dtype = rows[0].dtype
    if dtype.kind not in "iufmM" or any(row.dtype != dtype for row in rows):
        return None
    flat = np.concatenate(rows)
    made = primitive.wrap(flat) if dtype.kind in "iuf" else pa.array(flat)
    return settle(made, inner, in_utc=True)


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _one_piece(column: Column) -> pa.Array:
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)


_UNUSUAL = "an unusual form"
_PANDAS_NULLS = ("NaTType", "NAType")
_NULL = "null"
_INTEGER = "an integer"
_FLOAT = "a float"
_NUMPY = "a number of NumPy"
_BOOL = "a bool"
_DECIMAL = "a decimal"
_COMPLEX = "a complex number"
_TEXT = "text"
_BYTES = "bytes"
_DATE = "a date"
_NAIVE = "a datetime without a zone"
_ZONED = "a datetime with a zone"
_TIME = "a time"
_DURATION = "a timedelta"
_RECORD = "a dict"
_LIST = "a list"
_ARRAY = "an array"
_NUMPY_DATE = "a datetime64"
_NUMPY_DURATION = "a timedelta64"
# Kinds of one group go together.
_GROUPS = {
    _INTEGER: _FLOAT,
    _NUMPY: _FLOAT,
    _DECIMAL: _FLOAT,
    _ARRAY: _LIST,
    _NUMPY_DURATION: _DURATION,
}
_NUMPY_KINDS = {
    "b": _BOOL,
    "c": _COMPLEX,
    "U": _TEXT,
    "S": _BYTES,
    "M": _NUMPY_DATE,
    "m": _NUMPY_DURATION,
}
# The first that fits: a bool is an integer, and a datetime a date.
_CLASSES: tuple[tuple[Any, str], ...] = (
    (bool, _BOOL),
    (int, _INTEGER),
    (float, _FLOAT),
    (complex, _COMPLEX),
    (decimal.Decimal, _DECIMAL),
    (str, _TEXT),
    ((bytes, bytearray, memoryview), _BYTES),
    (datetime.date, _DATE),
    (datetime.time, _TIME),
    (datetime.timedelta, _DURATION),
    (Mapping, _RECORD),
    (np.ndarray, _ARRAY),
    # It is a tuple too.
    (pa.MonthDayNano, "an interval"),
    ((list, tuple, range), _LIST),
)
_KNOWN: dict[type, str] = {
    type(None): _NULL,
    bool: _BOOL,
    int: _INTEGER,
    float: _FLOAT,
    str: _TEXT,
    bytes: _BYTES,
    dict: _RECORD,
    list: _LIST,
    tuple: _LIST,
}
# The largest offset of 32 bits.
_OFFSET_MAX = 2**31 - 1
