"""Which type holds the values of two: one rule for every pair, by the types alone.

Owns the table in docs/types.md, and which types a block may have at all. Must not know values
(`convert` checks and changes those), blocks, batches or user code.

A rule only ever widens. Where the wider type cannot hold every value of both, as float64 cannot
hold all of int64, `convert` checks the values, so that none is changed.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from millstream.blocks import tensor


def common_type(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """Returns the type that holds the values of both, or None if there is none.

    The order of the two decides nothing but the order of the fields of structs.
    """
    if left.equals(right) or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    if pa.types.is_dictionary(left) or pa.types.is_dictionary(right):
        return _common_dictionary(left, right)
    if isinstance(left, pa.BaseExtensionType) or isinstance(right, pa.BaseExtensionType):
        if tensor.is_tensor(left) and tensor.is_tensor(right):
            return _common_tensor(left, right)
        # What another extension type means is not known.
        return None
    for belongs, rule in _RULES:
        if belongs(left) and belongs(right):
            return rule(left, right)
    return None


def plain_type(type: pa.DataType) -> pa.DataType:
    """Returns the type that blocks have for this one: itself, except for views and runs.

    Views cannot be taken, filtered, sorted or joined, and slices of them point into all of their
    parent; run-end encoded columns likewise. Their values take the plain types of 64-bit offsets.
    """
    if type.id in _PLAIN:
        return type
    types = pa.types
    if types.is_string_view(type):
        return pa.large_string()
    if types.is_binary_view(type):
        return pa.large_binary()
    if types.is_run_end_encoded(type):
        return plain_type(type.value_type)
    if types.is_list_view(type) or types.is_large_list_view(type):
        return pa.large_list(_with_type(type.value_field, plain_type(type.value_type)))
    changed = _rebuilt(type, plain_type)
    return type if changed.equals(type) else changed


def is_simple(schema: pa.Schema) -> bool:
    """Tells whether no column of a schema has values within values, views or dictionaries."""
    return _PLAIN.issuperset([type.id for type in schema.types])


def wide_type(type: pa.DataType) -> pa.DataType:
    """Returns the type with 64-bit offsets, however deep; it holds any number of bytes."""
    types = pa.types
    if types.is_string(type):
        return pa.large_string()
    if types.is_binary(type):
        return pa.large_binary()
    if types.is_list(type):
        return pa.large_list(_with_type(type.value_field, wide_type(type.value_type)))
    return _rebuilt(type, wide_type)


def filled_type(type: pa.DataType) -> pa.DataType:
    """Returns the type with a field of nulls in each struct without fields, however deep."""
    if pa.types.is_struct(type) and type.num_fields == 0:
        return pa.struct([(_NO_FIELDS, pa.null())])
    return _rebuilt(type, filled_type)


def _rebuilt(type: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Returns the type with the types within it changed."""
    types = pa.types
    if types.is_struct(type):
        return pa.struct([_with_type(field, change(field.type)) for field in type])
    if types.is_list(type):
        return pa.list_(_with_type(type.value_field, change(type.value_type)))
    if types.is_large_list(type):
        return pa.large_list(_with_type(type.value_field, change(type.value_type)))
    if types.is_fixed_size_list(type):
        field = _with_type(type.value_field, change(type.value_type))
        return pa.list_(field, type.list_size)
    if types.is_map(type):
        key = _with_type(type.key_field, change(type.key_type))
        item = _with_type(type.item_field, change(type.item_type))
        return pa.map_(key, item, keys_sorted=type.keys_sorted)
    if types.is_dictionary(type):
        return pa.dictionary(type.index_type, change(type.value_type), type.ordered)
    return type


def _with_type(field: pa.Field, type: pa.DataType) -> pa.Field:
    return field if field.type.equals(type) else field.with_type(type)


def is_list(type: pa.DataType | None) -> bool:
    """Tells whether a column of this type holds lists, of any layout."""
    types = pa.types
    return type is not None and bool(
        types.is_list(type)
        or types.is_large_list(type)
        or types.is_fixed_size_list(type)
        or types.is_list_view(type)
        or types.is_large_list_view(type)
    )


def is_text(type: pa.DataType) -> bool:
    """Tells whether a column of this type holds text."""
    types = pa.types
    return bool(types.is_string(type) or types.is_large_string(type) or types.is_string_view(type))


def is_bytes(type: pa.DataType) -> bool:
    """Tells whether a column of this type holds bytes, of one length or of any."""
    types = pa.types
    return bool(
        types.is_binary(type)
        or types.is_large_binary(type)
        or types.is_fixed_size_binary(type)
        or types.is_binary_view(type)
    )


def _common_dictionary(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """Two dictionaries give one with indices for both; a dictionary and values give values."""
    both = pa.types.is_dictionary(left) and pa.types.is_dictionary(right)
    values = [t.value_type if pa.types.is_dictionary(t) else t for t in (left, right)]
    value_type = common_type(*values)
    if value_type is None or not both:
        return value_type
    index_type = left.index_type
    if not index_type.equals(right.index_type):
        long = any(
            t.bit_width == 64 or t.equals(pa.uint32()) for t in (index_type, right.index_type)
        )
        index_type = pa.int64() if long else pa.int32()
    return pa.dictionary(index_type, value_type, left.ordered and right.ordered)


def _common_number(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_decimal(left) or types.is_decimal(right):
        return _common_decimal(left, right)
    floats = [t for t in (left, right) if types.is_floating(t)]
    if len(floats) == 2:
        return max(floats, key=lambda t: int(t.bit_width))
    if floats:
        integer = right if floats[0] is left else left
        short = floats[0].bit_width < 64 and integer.bit_width <= 16
        return pa.float32() if short else pa.float64()
    if types.is_signed_integer(left) == types.is_signed_integer(right):
        return max(left, right, key=lambda t: int(t.bit_width))
    signed, unsigned = (left, right) if types.is_signed_integer(left) else (right, left)
    if unsigned.bit_width == 64:
        # What is 64 bits wide and may be negative holds no large hash; `convert` checks the sign.
        return unsigned
    return _SIGNED[max(signed.bit_width, 2 * unsigned.bit_width)]


def _common_decimal(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if pa.types.is_floating(left) or pa.types.is_floating(right):
        # Neither holds the other: 0.1 is no float64, and 1e300 no decimal.
        return None
    sizes = [
        (t.precision - t.scale, t.scale) if pa.types.is_decimal(t) else (_DIGITS, 0)
        for t in (left, right)
    ]
    scale = max(scale for _, scale in sizes)
    precision = max(whole for whole, _ in sizes) + scale
    width = max(t.bit_width for t in (left, right) if pa.types.is_decimal(t))
    for bits, most, make in _DECIMALS:
        if width <= bits and precision <= most:
            return make(precision, scale)
    return None


def _common_timestamp(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if (left.tz is None) != (right.tz is None):
        return None
    return pa.timestamp(_finest(left, right), left.tz if left.tz == right.tz else "UTC")


def _common_date(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    return pa.date64()


def _common_time(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    unit = _finest(left, right)
    return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)


def _common_duration(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    return pa.duration(_finest(left, right))


def _common_text(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    return pa.large_string()


def _common_bytes(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    short = all(pa.types.is_binary(t) or pa.types.is_fixed_size_binary(t) for t in (left, right))
    return pa.binary() if short else pa.large_binary()


def _common_list(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    value = _common_field(left.value_field, right.value_field)
    if value is None:
        return None
    types = pa.types
    if all(map(types.is_fixed_size_list, (left, right))) and left.list_size == right.list_size:
        return pa.list_(value, left.list_size)
    short = all(types.is_list(t) or types.is_fixed_size_list(t) for t in (left, right))
    return pa.list_(value) if short else pa.large_list(value)


def _common_map(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    key = _common_field(left.key_field, right.key_field)
    item = _common_field(left.item_field, right.item_field)
    if key is None or item is None:
        return None
    return pa.map_(key, item, keys_sorted=left.keys_sorted and right.keys_sorted)


def _common_struct(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The fields of both, in the order in which they first appear; null where one lacks them."""
    for type in (left, right):
        if len({field.name for field in type}) < type.num_fields:
            return None
    theirs = {field.name: field for field in right}
    fields = []
    for field in left:
        other = theirs.pop(field.name, None)
        common = field.with_nullable(True) if other is None else _common_field(field, other)
        if common is None:
            return None
        fields.append(common)
    return pa.struct([*fields, *(field.with_nullable(True) for field in theirs.values())])


def _common_field(left: pa.Field, right: pa.Field) -> pa.Field | None:
    type = common_type(left.type, right.type)
    if type is None:
        return None
    return left.with_type(type).with_nullable(left.nullable or right.nullable)


def _common_tensor(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    value_type = common_type(left.value_type, right.value_type)
    if value_type is None:
        return None
    return tensor.common_shape(left, right, value_type)


def _finest(left: pa.DataType, right: pa.DataType) -> str:
    return _UNITS[min(_UNITS.index(left.unit), _UNITS.index(right.unit))]


def _is_number(type: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(type) or types.is_floating(type) or types.is_decimal(type))


_Test = Callable[[pa.DataType], bool]
_Rule = Callable[[pa.DataType, pa.DataType], pa.DataType | None]
_RULES: tuple[tuple[_Test, _Rule], ...] = (
    (_is_number, _common_number),
    (is_text, _common_text),
    (is_bytes, _common_bytes),
    (pa.types.is_timestamp, _common_timestamp),
    (pa.types.is_date, _common_date),
    (pa.types.is_time, _common_time),
    (pa.types.is_duration, _common_duration),
    (is_list, _common_list),
    (pa.types.is_map, _common_map),
    (pa.types.is_struct, _common_struct),
)
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
# The decimal digits of the largest integer of any width.
_DIGITS = 20
_DECIMALS: tuple[tuple[int, int, Callable[[int, int], pa.DataType]], ...] = (
    (32, 9, pa.decimal32),
    (64, 18, pa.decimal64),
    (128, 38, pa.decimal128),
    (256, 76, pa.decimal256),
)
# Finest first.
_UNITS = ["ns", "us", "ms", "s"]
# The field in place of none.
_NO_FIELDS = "__millstream_no_fields__"
# Types that need not be looked into.
_PLAIN = frozenset(
    type.id
    for type in (
        *_SIGNED.values(),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.null()),
        *(pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(1)),
        *(pa.date32(), pa.date64(), pa.timestamp("s"), pa.time32("s"), pa.time64("us")),
        *(pa.duration("s"), pa.decimal128(1), pa.decimal256(1)),
    )
)
