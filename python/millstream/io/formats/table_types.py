"""The types of tables that have a catalog or a log of their own, Delta Lake and Iceberg.

Owns which of their types holds the values of each Arrow type, and what is noted of types that they
have not, so that a column comes back as it was. Must not know files, logs or catalogs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from millstream.blocks import block, tensor
from millstream.blocks.common_type import common_type, is_bytes, is_list, is_text
from millstream.blocks.convert import convert
from millstream.errors import SchemaError

#: What a field's metadata says of a type that tables have not: see `noted`.
NOTE = b"millstream.type"


@dataclass(frozen=True)
class TableTypes:
    """The types that tables of one kind have.

    Args:
        kind: What people call them: `"Delta"`.
        integers: The type for each of Arrow's integers, by its name.
        has_time: Whether there is a time of day.
        has_fixed: Whether there are bytes of one length.
    """

    kind: str
    integers: Mapping[str, pa.DataType]
    has_time: bool = False
    has_fixed: bool = False

    def stored(self, name: str, type: pa.DataType) -> pa.DataType:
        """Returns the type for the values of a column; null where they are not known yet.

        Raises:
            SchemaError: There is none; names the column.
        """
        found = self._stored(type)
        if found is None:
            raise SchemaError(
                f"column {name!r} of type {type} cannot be written: {self.kind} tables have no "
                f"type for it; convert it before{_how(type)}"
            )
        return found

    def field(self, field: pa.Field) -> pa.Field:
        """Returns a new column of a table, which notes what the table cannot tell.

        Raises:
            SchemaError: There is no type for it.
        """
        stored = pa.field(field.name, self.stored(field.name, field.type))
        is_noted = tensor.is_tensor(field.type) or _has_zone(field.type)
        return stored.with_metadata({NOTE: packed(field.type)}) if is_noted else stored

    def require_fitting(self, field: pa.Field, wanted: pa.Field) -> None:
        """Refuses a column whose values are of another type than those of a table's column.

        Types that hold all values of the other are fine, and so are integers and times of other
        widths: their values are compared when they are written.

        Raises:
            SchemaError: Names the column and both types.
        """
        noted = noted_type(wanted)
        is_tensor = tensor.is_tensor(field.type)
        stored = self.stored(field.name, field.type)
        is_same = not is_tensor or (noted is not None and field.type.equals(noted))
        if not is_same or not _holds(wanted.type, stored, field.type):
            raise SchemaError(
                f"column {field.name!r} is {field.type}, but {noted or wanted.type} in the table: "
                "cast it to that before it is written, or write it under another name"
            )

    def _stored(self, type: pa.DataType) -> pa.DataType | None:
        types = pa.types
        if types.is_null(type) or types.is_boolean(type) or types.is_date32(type):
            return type
        if types.is_integer(type):
            return self.integers[str(type)]
        if types.is_floating(type):
            return pa.float64() if types.is_float64(type) else pa.float32()
        if is_text(type):
            return pa.string()
        if is_bytes(type):
            return type if self.has_fixed and types.is_fixed_size_binary(type) else pa.binary()
        if types.is_date(type):
            return pa.date32()
        if types.is_timestamp(type):
            return pa.timestamp("us", None if type.tz is None else "UTC")
        if types.is_time(type):
            return pa.time64("us") if self.has_time else None
        if types.is_decimal(type):
            is_held = 0 <= type.scale <= type.precision <= _DIGITS_MAX
            return pa.decimal128(type.precision, type.scale) if is_held else None
        if types.is_dictionary(type):
            return self._stored(type.value_type)
        return self._nested(type)

    def _nested(self, type: pa.DataType) -> pa.DataType | None:
        types = pa.types
        if isinstance(type, pa.FixedShapeTensorType):
            value = self._stored(type.value_type)
            return None if value is None else pa.list_(value)
        if is_list(type):
            value = self._stored(type.value_type)
            return None if value is None else pa.list_(value)
        if types.is_map(type):
            key, item = self._stored(type.key_type), self._stored(type.item_type)
            return None if key is None or item is None else pa.map_(key, item)
        if types.is_struct(type) and type.num_fields:
            fields = [(field.name, self._stored(field.type)) for field in type]
            known = [(name, found) for name, found in fields if found is not None]
            return pa.struct(known) if len(known) == len(fields) else None
        return None


@dataclass(frozen=True)
class StoreAs:
    """Gives blocks the types of a table, every value unchanged.

    Args:
        types: The types that such tables have.
        table: The columns of the table, if there is one.
        takes_more: Whether columns may come that the table has not.
        required: Columns that may have no nulls.
    """

    types: TableTypes
    table: pa.Schema
    takes_more: bool = True
    required: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"{self.types.kind}Types"

    def schema(self, found: pa.Schema) -> pa.Schema:
        """Returns the columns that are written of those that are there.

        Raises:
            SchemaError: One is of a type that the table cannot hold.
        """
        visible = block.visible_schema(found)
        _require_different(visible.names)
        further = [name for name in visible.names if name not in self.table.names]
        if further and not self.takes_more:
            raise SchemaError(
                f"the table has no column {', '.join(map(repr, further))}: its columns are "
                f"{', '.join(map(repr, self.table.names))}; choose with select_columns, or add "
                "columns with schema_mode='merge'"
            )
        absent = [name for name in self.required if name not in visible.names]
        if absent:
            raise SchemaError(f"the column {absent[0]!r} must be there, since it cannot be null")
        return pa.schema([self._field(field) for field in visible])

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Iterator[pa.Table]) -> Iterator[pa.Table]:
        known: list[pa.Schema] = []
        for table in blocks:
            schema = self.schema(block.plain_schema(table.schema))
            if schema not in known:
                known.append(schema)
                require_one_note(known)
            yield self._converted(table, schema)

    def _field(self, field: pa.Field) -> pa.Field:
        if field.name not in self.table.names:
            return self.types.field(field)
        wanted = self.table.field(field.name)
        self.types.require_fitting(field, wanted)
        return wanted.with_nullable(True)

    def _converted(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        plain = block.plain(table)
        columns = [_stored_column(plain.column(field.name), field) for field in schema]
        for name in self.required:
            if table.num_rows and columns[schema.get_field_index(name)].null_count:
                raise SchemaError(f"the column {name!r} has nulls, which the table does not take")
        if not columns:
            return table
        return pa.table(columns, schema=schema)


def packed(type: pa.DataType) -> bytes:
    """Returns a type as text that `unpacked` understands."""
    return base64.b64encode(pa.schema([("type", type)]).serialize().to_pybytes())


def unpacked(note: bytes | str) -> pa.DataType:
    """Returns the type of which `packed` made a text.

    Raises:
        SchemaError: It is no such text.
    """
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(note))).field(0).type
    except (pa.ArrowException, ValueError, OSError) as error:
        raise SchemaError(f"the note about a column's type cannot be read: {error}") from error


def noted_type(field: pa.Field) -> pa.DataType | None:
    """Returns the type that a column was written with, if the table cannot tell it."""
    note = (field.metadata or {}).get(NOTE)
    return None if note is None else unpacked(note)


def with_noted_types(schema: pa.Schema) -> pa.Schema:
    """Returns the columns of a table with the types that they were written with.

    A note that does not fit the type of its column, which others may have changed, is left alone.

    Raises:
        SchemaError: A note cannot be read.
    """
    fields = []
    for field in schema:
        noted = noted_type(field)
        fields.append(pa.field(field.name, _with_note(field.type, noted)))
    return pa.schema(fields)


def restored(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Gives rows of a table the types of `with_noted_types`.

    Raises:
        SchemaError: The values of a column are not as it was noted.
    """
    columns = []
    for found, wanted in zip(table.columns, schema, strict=True):
        try:
            columns.append(_as_noted(found, wanted.type))
        except (ValueError, pa.ArrowException) as error:
            raise SchemaError(
                f"column {wanted.name!r} was written as {wanted.type}, and has other values now: "
                f"{error}"
            ) from error
    return pa.table(columns, schema=schema)


def without_names(type: pa.DataType) -> pa.DataType:
    """Returns a type with Arrow's usual names in lists and maps, all of it nullable."""
    types = pa.types
    if types.is_struct(type):
        return pa.struct([pa.field(field.name, without_names(field.type)) for field in type])
    if types.is_map(type):
        return pa.map_(without_names(type.key_type), without_names(type.item_type))
    if is_list(type):
        return pa.list_(without_names(type.value_type))
    if is_text(type):
        return pa.string()
    is_fixed = types.is_fixed_size_binary(type)
    return pa.binary() if is_bytes(type) and not is_fixed else type


def require_one_note(schemas: Iterable[pa.Schema]) -> None:
    """Refuses columns whose blocks have tensors of several shapes, or times of several zones.

    Raises:
        SchemaError: Names the column and two of its types.
    """
    known: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            if pa.types.is_null(field.type):
                continue
            type = noted_type(field) or field.type
            other = known.setdefault(field.name, type)
            if not other.equals(type) and not (_is_plain(other) and _is_plain(type)):
                raise SchemaError(
                    f"column {field.name!r} is {other} in some blocks and {type} in others, of "
                    "which a table can note one only: make all of them the same before"
                )


def require_known_types(schema: pa.Schema, kind: str) -> None:
    """Refuses columns of which nobody has seen a value, so that their type is not known.

    Raises:
        SchemaError: Names the column.
    """
    for field in schema:
        if _has_nulls_only(field.type):
            raise SchemaError(
                f"column {field.name!r} of type {field.type} has no values, so that nobody knows "
                f"which type it should have in the {kind} table: cast it to one, or leave it out"
            )


def _stored_column(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Converts a column.

    Raises:
        SchemaError: A value would not be the same.
    """
    found = column.type
    if isinstance(found, pa.FixedShapeTensorType):
        chunks = [tensor.storage_like(chunk, found) for chunk in column.chunks]
        storage = pa.list_(found.value_type, found.storage_type.list_size)
        column = pa.chunked_array(chunks, type=storage)
    try:
        return convert(column, field.type)
    except (ValueError, pa.ArrowException) as error:
        raise SchemaError(
            f"column {field.name!r} is {found}, and not every value would be the same as "
            f"{field.type}, which the table has: {error}; convert it before"
        ) from error


def _as_noted(column: pa.ChunkedArray, type: pa.DataType) -> pa.ChunkedArray:
    if not isinstance(type, pa.BaseExtensionType) or column.type.equals(type):
        return convert(column, type)
    storage = convert(column, type.storage_type)
    chunks = [pa.ExtensionArray.from_storage(type, chunk) for chunk in storage.chunks]
    return pa.chunked_array(chunks, type=type)


def _holds(wanted: pa.DataType, stored: pa.DataType, found: pa.DataType) -> bool:
    """Tells whether a column of a table may take values; narrower types are compared by value."""
    types = pa.types
    if wanted.equals(stored) or wanted.equals(found):
        return True
    if types.is_integer(wanted) and types.is_integer(stored):
        return True
    if types.is_timestamp(wanted) and types.is_timestamp(found):
        return (wanted.tz is None) == (found.tz is None)
    common = common_type(wanted, stored)
    return common is not None and bool(common.equals(wanted))


def _with_note(type: pa.DataType, noted: pa.DataType | None) -> pa.DataType:
    if noted is None:
        return type
    if tensor.is_tensor(noted) and is_list(type):
        return noted
    if _has_zone(noted) and pa.types.is_timestamp(type) and type.tz is not None:
        return pa.timestamp(type.unit, noted.tz)
    return type


def _is_plain(type: pa.DataType) -> bool:
    return not tensor.is_tensor(type) and not _has_zone(type)


def _has_zone(type: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(type)) and type.tz not in (None, "UTC")


def _has_nulls_only(type: pa.DataType) -> bool:
    inner = (type.field(index).type for index in range(type.num_fields))
    return bool(pa.types.is_null(type)) or any(map(_has_nulls_only, inner))


def _how(type: pa.DataType) -> str:
    if tensor.is_tensor(type):
        return ", to lists or to tensors of one shape"
    if pa.types.is_time(type) or pa.types.is_duration(type):
        return ", to integers or to text"
    return ""


def _require_different(names: Iterable[str]) -> None:
    """Refuses names that differ in capitals only.

    Raises:
        SchemaError: There are two.
    """
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.lower(), name)
        if other != name:
            raise SchemaError(
                f"the columns {other!r} and {name!r} differ in capitals only, which is one name "
                "in a table: rename one of them"
            )


# Of a decimal.
_DIGITS_MAX = 38
