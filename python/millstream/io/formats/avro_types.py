"""What an Avro file can hold of a table, so that it comes back as it was.

Owns the types of both sides, and how values are stored. Must not know files, nor how Avro writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Context, Decimal
from itertools import count
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import SchemaError

#: Makes what is stored of a value of Python.
Convert = Callable[[Any], Any]


def plain_type(type: pa.DataType) -> pa.DataType:
    """The type of those that come back which holds the same values."""
    types = pa.types
    if types.is_dictionary(type):
        return plain_type(type.value_type)
    if types.is_large_string(type) or types.is_string_view(type):
        return pa.string()
    if types.is_large_binary(type) or types.is_binary_view(type):
        return pa.binary()
    if types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type):
        return pa.list_(_plain_field(type.value_field))
    if types.is_struct(type):
        return pa.struct([_plain_field(each) for each in type])
    if types.is_map(type):
        return pa.map_(plain_type(type.key_type), _plain_field(type.item_field))
    return type


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(plain_type(field.type))


def avro_schema(schema: pa.Schema) -> Any:
    """The record of a row.

    Raises:
        SchemaError: Avro cannot hold a column.
    """
    numbers = count()
    fields: list[Any] = []
    for each in block.visible_schema(schema):
        if each.name in (known["name"] for known in fields):
            raise SchemaError(f"the column {each.name!r} is there twice; rename one of them")
        try:
            # Other blocks may have nulls.
            fields.append(_avro_field(each.with_nullable(True), numbers))
        except _NotHeldError as error:
            raise SchemaError(
                f"column {each.name!r} of type {each.type} cannot be written as Avro: {error}"
            ) from None
    return _record("row", fields)


def as_stored(type: pa.DataType) -> tuple[pa.DataType, Convert | None]:
    """How values are stored: the type whose Python values are taken, and what is made of them."""
    types = pa.types
    if type in _LOGICAL:
        return (pa.int32() if _LOGICAL[type][0] == "int" else pa.int64()), None
    if types.is_decimal(type):
        return type, _unscaled(type.scale)
    if type == pa.month_day_nano_interval():
        return type, _duration
    if types.is_list(type):
        inner, convert = as_stored(type.value_type)
        return pa.list_(type.value_field.with_type(inner)), convert and _each(convert)
    if types.is_map(type):
        inner, convert = as_stored(type.item_type)
        return pa.map_(type.key_type, type.item_field.with_type(inner)), _mapping(convert)
    if types.is_struct(type):
        parts = {each.name: as_stored(each.type) for each in type}
        fields = [each.with_type(parts[each.name][0]) for each in type]
        converts = {name: convert for name, (_, convert) in parts.items() if convert}
        return pa.struct(fields), _fields(converts) if converts else None
    return type, None


class _NotHeldError(Exception):
    """Avro has no such type; says why, and what to do."""


def _record(name: str, fields: list[Any]) -> Any:
    return {"type": "record", "name": name, "fields": fields}


def _avro_field(field: pa.Field, numbers: Iterator[int]) -> Any:
    if _NAME.fullmatch(field.name) is None:
        raise _NotHeldError(
            f"the name {field.name!r} has characters other than letters, digits and _; rename it"
        )
    return {"name": field.name, "type": _avro_value(field, numbers)}


def _avro_value(field: pa.Field, numbers: Iterator[int]) -> Any:
    made = _avro_type(plain_type(field.type), numbers)
    return ["null", made] if field.nullable and made != "null" else made


def _avro_type(type: pa.DataType, numbers: Iterator[int]) -> Any:
    """The Avro type.

    Args:
        type: A plain one.
        numbers: For the names of types that have one.
    """
    types = pa.types
    if isinstance(type, pa.BaseExtensionType):
        raise _not_held(type)
    if type in _PRIMITIVE:
        return _PRIMITIVE[type]
    if type in _LOGICAL:
        stored, meaning = _LOGICAL[type]
        return {"type": stored, "logicalType": meaning}
    if types.is_decimal128(type) or types.is_decimal256(type):
        return _avro_decimal(type)
    if types.is_fixed_size_binary(type):
        return {"type": "fixed", "name": f"fixed_{next(numbers)}", "size": type.byte_width}
    if type == pa.month_day_nano_interval():
        name = f"duration_{next(numbers)}"
        return {"type": "fixed", "name": name, "size": 12, "logicalType": "duration"}
    if types.is_list(type):
        return {"type": "array", "items": _avro_value(type.value_field, numbers)}
    if types.is_map(type) and type.key_type == pa.string():
        return {"type": "map", "values": _avro_value(type.item_field, numbers)}
    if types.is_struct(type):
        if len({each.name for each in type}) < type.num_fields:
            raise _NotHeldError("it has two fields of one name; rename one of them")
        name = f"record_{next(numbers)}"
        return _record(name, [_avro_field(each, numbers) for each in type])
    raise _not_held(type)


def _avro_decimal(type: pa.DataType) -> Any:
    is_wide = pa.types.is_decimal256(type)
    if not 0 <= type.scale <= type.precision or is_wide != (type.precision > _SHORT_DIGITS_MAX):
        raise _NotHeldError(
            "its decimals have as many digits after the point as they have in all, at most, and "
            "those of up to 38 digits come back as decimal128; cast it"
        )
    return {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": type.precision,
        "scale": type.scale,
    }


def _not_held(type: pa.DataType) -> _NotHeldError:
    return _NotHeldError(f"it has nothing for {type}, but {_HELD}; convert or drop it")


def _unscaled(scale: int) -> Convert:
    def convert(value: Decimal) -> bytes:
        whole = int(value.scaleb(scale, _EXACT))
        return whole.to_bytes(whole.bit_length() // 8 + 1, "big", signed=True)

    return convert


def _duration(value: Any) -> bytes:
    milliseconds, rest = divmod(value.nanoseconds, 1_000_000)
    parts = (value.months, value.days, milliseconds)
    if rest or not all(0 <= part < 1 << 32 for part in parts):
        raise ValueError(
            f"an Avro duration has no negative parts and whole milliseconds, and this is {value}"
        )
    return b"".join(part.to_bytes(4, "little") for part in parts)


def _each(convert: Convert) -> Convert:
    return lambda values: [None if value is None else convert(value) for value in values]


def _mapping(convert: Convert | None) -> Convert:
    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key of a map is there twice")
        if convert is None:
            return found
        return {key: None if value is None else convert(value) for key, value in found.items()}

    return made


def _fields(converts: dict[str, Convert]) -> Convert:
    def made(record: dict[str, Any]) -> dict[str, Any]:
        for name, convert in converts.items():
            if record[name] is not None:
                record[name] = convert(record[name])
        return record

    return made


_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_HELD = (
    "integers of 32 and 64 bits, floats of 32 and 64 bits, booleans, text, bytes, dates, times in "
    "milliseconds or microseconds, timestamps of these or nanoseconds in UTC or without a zone, "
    "decimals, and lists, structs, and maps from text of these"
)
_PRIMITIVE = {
    pa.null(): "null",
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.binary(): "bytes",
    pa.string(): "string",
}
_UNITS = {"ms": "millis", "us": "micros", "ns": "nanos"}
_LOGICAL = {
    pa.date32(): ("int", "date"),
    pa.time32("ms"): ("int", "time-millis"),
    pa.time64("us"): ("long", "time-micros"),
    **{pa.timestamp(u, "UTC"): ("long", f"timestamp-{name}") for u, name in _UNITS.items()},
    **{pa.timestamp(u): ("long", f"local-timestamp-{name}") for u, name in _UNITS.items()},
}
_SHORT_DIGITS_MAX = 38
_EXACT = Context(prec=1000)
