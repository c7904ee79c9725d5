"""Values of JSON: where they end in a stream, and which types hold them.

Owns the types of columns of JSON objects, and what is said of an object that does not fit. Must not
know files or plans.

Text stays text, also where it looks like a time. Integers are int64 or uint64; beside numbers with
a point, they are float64 as long as each is exact.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks.common_type import is_list, is_text


class Values:
    """The values of a stream one by one: the elements of an array, or values one after another.

    Args:
        file: The stream, at its beginning.
        is_array: Whether the values are in an array.
        size: How many bytes are read at a time.
    """

    def __init__(self, file: pa.NativeFile, is_array: bool, size: int) -> None:
        self._file = file
        self._is_array = is_array
        self._size = size
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._place, self._line, self._is_all = "", 0, 1, False

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yields each value as text, with the line in which it begins.

        Raises:
            ValueError: It is no JSON; says the line.
        """
        if self._is_array:
            self._take("[")
        is_first = True
        while mark := self._peek():
            if self._is_array and is_first and mark == "]":
                break
            is_first = False
            line = self._line
            yield line, self._value()
            if self._is_array and self._peek() == "]":
                break
            if self._is_array:
                self._take(",")
        if self._is_array:
            self._take("]")
            if self._peek():
                raise ValueError(f"line {self._line}: something comes after the end of the array")

    def _value(self) -> str:
        while True:
            try:
                end = _DECODER.raw_decode(self._text, self._place)[1]
            except json.JSONDecodeError as error:
                if self._is_all or not _may_be_cut(error):
                    line = self._line + self._text.count("\n", self._place, error.pos)
                    raise ValueError(f"line {line}: {error.msg}") from error
                self._fill()
                continue
            found = self._text[self._place : end]
            self._move(end)
            return found

    def _peek(self) -> str:
        """Goes to the next character that is no white space; "" at the end."""
        while True:
            blank = _BLANK.match(self._text, self._place)
            self._move(blank.end() if blank else self._place)
            if self._place < len(self._text) or self._is_all:
                return self._text[self._place : self._place + 1]
            self._fill()

    def _take(self, mark: str) -> None:
        found = self._peek()
        if found != mark:
            what = f"{found!r} stands" if found else "the file ends"
            raise ValueError(f"line {self._line}: {what} where {mark!r} should be")
        self._move(self._place + 1)

    def _move(self, place: int) -> None:
        self._line += self._text.count("\n", self._place, place)
        self._place = place

    def _fill(self) -> None:
        rest = self._text[self._place :]
        if len(rest) > _VALUE_MAX:
            raise ValueError(f"line {self._line}: no value ends within {len(rest)} characters")
        data = self._file.read(max(self._size, len(rest)))
        self._is_all = not data
        self._text, self._place = rest + self._utf8.decode(data, final=not data), 0


def _may_be_cut(error: json.JSONDecodeError) -> bool:
    """Tells whether more text may make right what is no JSON."""
    is_string = error.msg.startswith("Unterminated string")
    return is_string or error.pos >= len(error.doc) - _TOKEN_MAX


def objects_in(text: str) -> Iterator[Any]:
    """Yields the values of a text that stand one after another."""
    place = 0
    while True:
        blank = _BLANK.match(text, place)
        place = blank.end() if blank else place
        if place >= len(text):
            return
        value, place = _DECODER.raw_decode(text, place)
        yield value


def fields_of(objects: Sequence[dict[str, Any]], name: str = "") -> list[pa.Field]:
    """Finds the keys of objects, in the order in which they come, and the types of their values.

    Where there are no values, the type is null.

    Raises:
        ValueError: A key has values that no type holds; says which.
    """
    values: dict[str, list[Any]] = {}
    for each in objects:
        for key, value in each.items():
            values.setdefault(key, []).append(value)
    return [pa.field(key, _type_of(found, f"{name}{key}")) for key, found in values.items()]


def _type_of(values: list[Any], name: str) -> pa.DataType:
    found = [value for value in values if value is not None]
    kinds = {type(value) for value in found}
    if kinds == {int}:
        if min(found) >= -(2**63) and max(found) < 2**63:
            return pa.int64()
        if min(found) >= 0 and max(found) < 2**64:
            return pa.uint64()
        large = next(value for value in found if not -(2**63) <= value < 2**63)
        raise ValueError(f"column {name!r}: no type of 64 bits holds {large} and the others{_HINT}")
    if kinds == {list}:
        return pa.list_(_type_of([item for value in found for item in value], f"{name}[]"))
    if kinds == {dict}:
        return pa.struct(fields_of(found, f"{name}."))
    if kinds <= {int, float} and kinds:
        return pa.float64()
    if len(kinds) > 1:
        named = " and ".join(sorted(_WORDS[kind] for kind in kinds))
        raise ValueError(f"column {name!r} has {named}, which no type holds together{_HINT}")
    if not kinds:
        return pa.null()
    return pa.bool_() if kinds == {bool} else pa.string()


def settled(type: pa.DataType) -> pa.DataType:
    """Returns the type with text where no value has been seen."""
    if pa.types.is_struct(type):
        return pa.struct([field.with_type(settled(field.type)) for field in type])
    if pa.types.is_list(type):
        return pa.list_(settled(type.value_type))
    return pa.string() if pa.types.is_null(type) else type


def problem_of(value: Any, schema: pa.Schema) -> str | None:
    """Says in words why a value is no row; `None`: as far as is known, it is one."""
    if not isinstance(value, dict):
        return f"this is no object but {_WORDS[type(value)]}"
    return _misfit(value, pa.struct(list(schema)), "")


def _misfit(value: Any, type: pa.DataType, name: str) -> str | None:
    if value is None:
        return None
    if pa.types.is_struct(type) and isinstance(value, dict):
        known = {field.name: field.type for field in type}
        for key, inner in value.items():
            path = f"{name}.{key}" if name else key
            if key not in known:
                return f"the key {path!r} is not among those of the sample{_HINT}"
            if found := _misfit(inner, known[key], path):
                return found
        return None
    if is_list(type) and isinstance(value, list):
        problems = (_misfit(item, type.value_type, f"{name}[]") for item in value)
        return next((each for each in problems if each), None)
    if _fits(value, type):
        return None
    text = json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
    return f"column {name!r}: {shown} is no exact {type}{_HINT}"


def _fits(value: Any, type: pa.DataType) -> bool:
    types = pa.types
    if types.is_floating(type):
        if isinstance(value, float):
            return type.bit_width == 64 or value != value or abs(value) < 2.0**128
        return isinstance(value, int) and not isinstance(value, bool) and int(float(value)) == value
    if types.is_integer(type):
        bits = type.bit_width - types.is_signed_integer(type)
        least = -(2**bits) if types.is_signed_integer(type) else 0
        return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**bits
    if types.is_boolean(type):
        return isinstance(value, bool)
    if is_text(type):
        return isinstance(value, str)
    return not (types.is_struct(type) or is_list(type))


def has_large_floats(column: pa.Array | pa.ChunkedArray) -> bool:
    """Tells whether there are floats that may not be what was written, however deep."""
    type = column.type
    if pa.types.is_floating(type):
        return bool(pc.any(pc.greater_equal(pc.abs(column), _EXACT[type.bit_width])).as_py())
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if pa.types.is_struct(type):
        return any(has_large_floats(inner) for chunk in chunks for inner in chunk.flatten())
    return is_list(type) and any(has_large_floats(chunk.flatten()) for chunk in chunks)


_DECODER = json.JSONDecoder(strict=False)
_BLANK = re.compile(r"[ \t\r\n]*")
_WORDS: dict[type, str] = {
    dict: "objects",
    list: "lists",
    str: "text",
    bool: "true or false",
    int: "numbers",
    float: "numbers",
    type(None): "null",
}
_HINT = (
    "; give the types with "
    "parse_options=pyarrow.json.ParseOptions(explicit_schema=pyarrow.schema(...))"
)
#: Up to here, each integer is a float of its own.
_EXACT = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}
# The longest word of JSON, "-Infinity", and a \\u escape with its pair.
_TOKEN_MAX = 16
_VALUE_MAX = 1 << 30
_SHOWN_MAX = 80
