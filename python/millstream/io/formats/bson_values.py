"""Values of BSON as Arrow has them, and the other way: none becomes another.

Owns which type belongs to which: an ObjectId is 12 bytes of a fixed length, a UUID 16, a date an
instant in milliseconds, a decimal has up to 38 digits. Must not know databases.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from millstream.errors import SchemaError


def array_of(values: Sequence[Any]) -> pa.Array:
    """Makes a column of what pymongo gives, dates as `DatetimeMS`.

    Raises:
        TypeError: Values do not go together, or there is no type for one.
        ValueError: A number is not the same as one of the column's type.
    """
    type = _type_of(values)
    return pa.array([_stored(value, type) for value in values], type)


def check_types(schema: pa.Schema) -> None:
    """Refuses columns that would come back as others.

    Raises:
        SchemaError: There is one.
    """
    for each in schema:
        if not _is_held(each.type):
            raise SchemaError(
                f"column {each.name!r} of type {each.type} cannot be written to MongoDB, which has "
                "booleans, numbers, decimals, text, bytes, instants (timestamps with a zone), and "
                "lists and structs of these; convert or drop it"
            )


def documents_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as documents, for columns that `check_types` takes.

    Raises:
        SchemaError: BSON cannot hold a value.
    """
    found: dict[str, list[Any]] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        try:
            found[field.name] = [v for chunk in column.chunks for v in _values(chunk)]
        except (ValueError, ArithmeticError, pa.ArrowException) as error:
            raise SchemaError(
                f"column {field.name!r} of type {field.type} has a value that BSON cannot hold: "
                f"{error}"
            ) from error
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def _type_of(values: Sequence[Any]) -> pa.DataType:
    present = [value for value in values if value is not None]
    kinds = sorted({_kind(value) for value in present})
    if not kinds:
        return pa.null()
    if kinds == ["double", "int"]:
        # Which integers a float holds is seen where they are put in.
        return pa.float64()
    if len(kinds) > 1:
        raise TypeError(f"has values of the types {' and '.join(kinds)}")
    (kind,) = kinds
    if kind == "document":
        names = dict.fromkeys(name for value in present for name in value)
        return pa.struct([(n, _type_of([v.get(n) for v in present])) for n in names])
    if kind == "array":
        return pa.large_list(_type_of([item for value in present for item in value]))
    if kind == "decimal":
        return _decimal_type([value.to_decimal() for value in present])
    if kind not in _TYPES:
        raise TypeError(f"has a value of BSON's type {kind}, for which there is none in Arrow")
    return _TYPES[kind]


def _kind(value: Any) -> str:
    """The name of a value's type."""
    from bson import Binary, Code, Decimal128, ObjectId
    from bson.datetime_ms import DatetimeMS

    if isinstance(value, Binary):
        return f"binary of subtype {value.subtype}"
    if isinstance(value, bool):
        return "bool"
    known: dict[type, str] = {int: "int", float: "double", str: "string", bytes: "bytes"}
    known |= {uuid.UUID: "uuid", ObjectId: "objectId", DatetimeMS: "date", Decimal128: "decimal"}
    known |= {dict: "document", list: "array"}
    name = type(value).__name__
    if isinstance(value, Code):
        # It is a text to Python.
        return name
    return next((kind for base, kind in known.items() if isinstance(value, base)), name)


def _decimal_type(values: Sequence[Decimal]) -> pa.DataType:
    scale = whole = 0
    for value in values:
        _, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            raise TypeError(f"has the decimal {value}, which Arrow's decimals do not have")
        scale = max(scale, -exponent)
        whole = max(whole, len(digits) + exponent)
    if whole + scale > _DIGITS:
        raise TypeError(f"has decimals that take {whole + scale} digits, and Arrow has {_DIGITS}")
    return pa.decimal128(_DIGITS, scale)


def _stored(value: Any, type: pa.DataType) -> Any:
    """A value as pyarrow takes it for a type."""
    types = pa.types
    if value is None:
        return None
    if types.is_struct(type):
        return {each.name: _stored(value.get(each.name), each.type) for each in type}
    if types.is_large_list(type):
        return [_stored(item, type.value_type) for item in value]
    if types.is_timestamp(type):
        return int(value)
    if types.is_decimal(type):
        return value.to_decimal()
    if types.is_fixed_size_binary(type):
        return value.bytes if isinstance(value, uuid.UUID) else value.binary
    if types.is_floating(type):
        if float(value) != value and value == value:
            raise ValueError(f"has the integer {value} beside floats, which is none")
        return float(value)
    return value


def _is_held(type: pa.DataType) -> bool:
    types = pa.types
    if isinstance(type, pa.BaseExtensionType):
        return isinstance(type, pa.UuidType)
    if types.is_dictionary(type):
        return _is_held(type.value_type)
    if types.is_list(type) or types.is_large_list(type):
        return _is_held(type.value_type)
    if types.is_struct(type):
        return all(_is_held(each.type) for each in type)
    if types.is_timestamp(type):
        return type.tz is not None
    is_number = types.is_integer(type) or types.is_floating(type) or types.is_decimal(type)
    is_text = types.is_string(type) or types.is_large_string(type)
    is_bytes = types.is_binary(type) or types.is_large_binary(type)
    is_id = type in (_TYPES["objectId"], _TYPES["uuid"])
    is_other = types.is_boolean(type) or types.is_null(type)
    return bool(is_number or is_text or is_bytes or is_id or is_other)


def _values(array: pa.Array) -> list[Any]:
    """The values of an array as pymongo takes them."""
    from bson import Decimal128, ObjectId
    from bson.datetime_ms import DatetimeMS

    type, types = array.type, pa.types
    if isinstance(type, pa.BaseExtensionType):
        return _values(array.storage)
    if types.is_dictionary(type):
        return _values(array.dictionary_decode())
    if types.is_struct(type):
        parts = [_values(part) for part in array.flatten()]
        rows = zip(*parts, strict=True) if parts else ((),) * len(array)
        made = [dict(zip((each.name for each in type), row, strict=True)) for row in rows]
        return [row if valid else None for row, valid in zip(made, _valid(array), strict=True)]
    if types.is_list(type) or types.is_large_list(type):
        items = iter(_values(array.flatten()))
        lengths = array.value_lengths().to_pylist()
        return [None if n is None else [next(items) for _ in range(n)] for n in lengths]
    if types.is_timestamp(type):
        found = array.cast(pa.timestamp("ms", type.tz)).cast(pa.int64()).to_pylist()
        return [None if value is None else DatetimeMS(value) for value in found]
    if types.is_integer(type):
        return [_whole(value) for value in array.to_pylist()]
    changes: dict[pa.DataType, Any] = {_TYPES["objectId"]: ObjectId, _TYPES["uuid"]: _uuid}
    change = Decimal128 if types.is_decimal(type) else changes.get(type)
    found = array.to_pylist()
    return found if change is None else [None if v is None else change(v) for v in found]


def _valid(array: pa.Array) -> list[bool]:
    return list(array.is_valid().to_pylist())


def _whole(value: int | None) -> int | None:
    from bson import Int64

    if value is None:
        return None
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} takes more than 64 bits with a sign")
    return Int64(value)


def _uuid(value: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=value)


_TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "double": pa.float64(),
    "string": pa.large_string(),
    "bytes": pa.large_binary(),
    "objectId": pa.binary(12),
    "uuid": pa.binary(16),
    "date": pa.timestamp("ms", "UTC"),
}
_DIGITS = 38
