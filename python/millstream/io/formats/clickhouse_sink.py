"""Writing to ClickHouse with clickhouse-connect, which takes Arrow data.

Owns which types columns have there, how a table is made, and what the server would change in
silence, which is refused before it is sent: what is null in a column without nulls, or of another
type than the column, or a time out of its range.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millstream.blocks import block
from millstream.blocks.convert import convert, nulls
from millstream.errors import ArgumentError, SchemaError, WriteError
from millstream.errors.checks import check_choice, check_count, check_kind, check_named, require
from millstream.errors.packages import require_package
from millstream.io.formats.sql import telling


@dataclass(frozen=True)
class Server:
    """Where a table is.

    Args:
        table: Its name.
        dsn: The address of the server, which may have a password.
        settings: Of the server.
        kwargs: For `clickhouse_connect.get_client`.
    """

    table: str
    dsn: str = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    kwargs: Mapping[str, Any] = field(repr=False)

    def connect(self) -> Any:
        """A client, to be closed."""
        import clickhouse_connect

        return clickhouse_connect.get_client(
            dsn=self.dsn, settings=dict(self.settings), **self.kwargs
        )


@dataclass(frozen=True)
class ClickhouseTarget:
    """What is written how; see `write_clickhouse`.

    Args:
        server: Where the table is.
        mode: `"create"`, `"append"` or `"overwrite"`.
        clauses: Of the statement that makes the table.
        insert_rows: Rows that are sent at a time; `None`: a block.
    """

    server: Server
    mode: str
    clauses: Mapping[str, str]
    insert_rows: int | None

    def prepare(self, schema: pa.Schema) -> WriteClickhouse:
        """Makes the table if it is to be made, and looks at its columns.

        Raises:
            SchemaError: ClickHouse cannot hold a column, or the table has it otherwise.
            WriteError: The database refuses, or there is a table and `mode="create"`.
        """
        types = {each.name: _type_of(each) for each in schema}
        table = self.server.table
        with (
            telling(WriteError, f"cannot write to {table}"),
            closing(self.server.connect()) as client,
        ):
            is_there = bool(client.query(f"EXISTS TABLE {table}").result_rows[0][0])
            if is_there and self.mode == "create":
                raise WriteError(f"there is a table {table}: say mode='append' or 'overwrite'")
            if is_there and self.mode == "overwrite":
                client.command(f"DROP TABLE {table}")
            if not is_there or self.mode == "overwrite":
                client.command(self._statement(types))
            said = client.query(f"DESCRIBE TABLE {table}").result_rows
        found = {str(name): str(type) for name, type, *_ in said}
        for name, type in types.items():
            if name not in found:
                raise SchemaError(f"the table {table} has no column {name!r}")
            if _bare(found[name]) != _bare(type):
                raise SchemaError(
                    f"the column {name!r} is {schema.field(name).type}, which is {type} in "
                    f"ClickHouse, and {table} has {found[name]}: cast one of them"
                )
        filled = frozenset(name for name in types if "Nullable(" not in found[name])
        return WriteClickhouse(self.server, schema, filled, self.insert_rows)

    def _statement(self, types: Mapping[str, str]) -> str:
        columns = ", ".join(f"{_quoted(name)} {type}" for name, type in types.items())
        said = {"engine": "MergeTree()", "order_by": "tuple()", **self.clauses}
        parts = [f"CREATE TABLE {self.server.table} ({columns})"]
        parts += [f"{word}{said[name]}" for name, word in _CLAUSES.items() if name in said]
        return " ".join(parts)


@dataclass(frozen=True)
class WriteClickhouse:
    """Inserts the rows of a task, and yields one row: how many there were.

    Args:
        server: Where the table is.
        schema: The columns that are written.
        filled: Those that have no nulls there.
        insert_rows: Rows that are sent at a time; `None`: a block.
    """

    server: Server
    schema: pa.Schema
    filled: frozenset[str]
    insert_rows: int | None

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return "WriteClickhouse"

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Needs nothing to be loaded."""
        return self._write

    def _write(self, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        written = 0
        table = self.server.table
        with (
            telling(WriteError, f"cannot write to {table}"),
            closing(self.server.connect()) as client,
        ):
            for each in blocks:
                made = self._fitted(each)
                step = self.insert_rows or max(1, made.num_rows)
                for start in range(0, made.num_rows, step):
                    client.insert_arrow(table, made.slice(start, step))
                written += made.num_rows
        yield pa.table({"rows": [written]})

    def _fitted(self, table: pa.Table) -> pa.Table:
        """The rows with the columns of the table.

        Raises:
            SchemaError: There are further columns, or values that a column does not hold.
        """
        found = block.visible_schema(table.schema).names
        further = [name for name in found if name not in self.schema.names]
        if further:
            raise SchemaError(
                f"the columns {', '.join(map(repr, self.schema.names))} are written, but some rows "
                f"have {', '.join(map(repr, further))} too: choose with select_columns"
            )
        columns = {}
        for wanted in self.schema:
            is_there = wanted.name in found
            column = table[wanted.name] if is_there else nulls(table.num_rows, wanted.type)
            try:
                made = convert(column, wanted.type)
            except ValueError as error:
                raise SchemaError(f"the column {wanted.name!r}: {error}") from error
            _check_values(wanted.name, made, may_be_null=wanted.name not in self.filled)
            columns[wanted.name] = made
        return pa.table(columns)


def clickhouse_target(
    table: Any, dsn: Any, mode: Any, settings: Any, kwargs: Any, clauses: Any, insert_rows: Any
) -> ClickhouseTarget:
    """Checks the arguments of `write_clickhouse`.

    Raises:
        ArgumentError: One makes no sense.
        MissingPackageError: clickhouse-connect is not installed.
    """
    require_package("clickhouse_connect", "write_clickhouse", "clickhouse-connect", "clickhouse")
    require(isinstance(table, str) and bool(table), "table", table, "the name of a table")
    # The address may show a password.
    is_dsn = isinstance(dsn, str) and "://" in dsn
    require(is_dsn, "dsn", type(dsn), "an address such as 'clickhouse+http://host:8123/default'")
    check_choice("mode", mode, ("create", "append", "overwrite"))
    check_named("client_settings", settings)
    check_named("client_kwargs", kwargs)
    check_named("table_settings", clauses)
    check_count("max_insert_block_rows", insert_rows)
    for name, value in (clauses or {}).items():
        check_choice("table_settings", name, tuple(_CLAUSES))
        check_kind(f"table_settings[{name!r}]", value, str, optional=False)
    server = Server(table, dsn, dict(settings or {}), dict(kwargs or {}))
    return ClickhouseTarget(server, mode, dict(clauses or {}), insert_rows)


def clickhouse_type(name: str, type: pa.DataType) -> str:
    """The type of ClickHouse that holds what an Arrow type does, and nulls.

    Args:
        name: The column, for errors.
        type: Its type.

    Raises:
        SchemaError: There is none.
    """
    types = pa.types
    if types.is_dictionary(type):
        return clickhouse_type(name, type.value_type)
    if types.is_list(type) or types.is_large_list(type):
        return f"Array({clickhouse_type(name, type.value_type)})"
    made = _NAMES.get(type)
    if types.is_fixed_size_binary(type):
        made = f"FixedString({type.byte_width})"
    elif types.is_decimal128(type) and 0 <= type.scale <= type.precision:
        made = f"Decimal({type.precision}, {type.scale})"
    elif types.is_timestamp(type) and type.tz is not None and "'" not in type.tz:
        made = f"DateTime64({_DIGITS[type.unit]}, '{type.tz}')"
    if made is None:
        raise SchemaError(
            f"the column {name!r} is {type}, for which ClickHouse has no type: cast it or leave it "
            "out (timestamps need a time zone)"
        )
    return f"Nullable({made})"


def _type_of(field: pa.Field) -> str:
    """The type of a column of ClickHouse; one without nulls where the schema says it."""
    made = clickhouse_type(field.name, field.type)
    inner = None if field.nullable else re.fullmatch(r"Nullable\((.*)\)", made)
    return made if inner is None else inner[1]


def _check_values(name: str, column: Any, *, may_be_null: bool) -> None:
    """Refuses values that the server would change.

    Raises:
        SchemaError: There are some.
    """
    types = pa.types
    if types.is_list(column.type) or types.is_large_list(column.type):
        if column.null_count:
            raise SchemaError(f"the column {name!r} has null for a list, which would become empty")
        _check_values(name, pc.list_flatten(column), may_be_null=may_be_null)
        return
    if column.null_count and not may_be_null:
        raise SchemaError(f"the column {name!r} has nulls, and that of the table has none")
    if types.is_date(column.type) or types.is_timestamp(column.type):
        ends = pc.min_max(column.cast(pa.timestamp("s"), safe=False))
        low, high = ends["min"], ends["max"]
        if low.is_valid and (low.value < _FIRST or high.value >= _END):
            raise SchemaError(
                f"the column {name!r} has {low} to {high}, and ClickHouse holds 1900 to 2299"
            )


def _bare(said: str) -> str:
    """A type without what it says of nulls at its outside, of storage and of time zones."""
    inner = re.fullmatch(r"(?:Nullable|LowCardinality)\((.*)\)", said)
    if inner is not None:
        return _bare(inner[1])
    listed = re.fullmatch(r"Array\((.*)\)", said)
    if listed is not None:
        return f"Array({_bare(listed[1])})"
    return re.sub(r", '[^']*'", "", said)


def _quoted(name: str) -> str:
    if not name:
        raise ArgumentError("a column of ClickHouse needs a name: rename ''")
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _seconds(year: int) -> int:
    return int(datetime.datetime(year, 1, 1, tzinfo=datetime.UTC).timestamp())


_FIRST, _END = _seconds(1900), _seconds(2300)
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_NAMES = {
    **{pa.int8(): "Int8", pa.int16(): "Int16", pa.int32(): "Int32", pa.int64(): "Int64"},
    **{pa.uint8(): "UInt8", pa.uint16(): "UInt16", pa.uint32(): "UInt32", pa.uint64(): "UInt64"},
    **{pa.float32(): "Float32", pa.float64(): "Float64", pa.bool_(): "Bool"},
    **{pa.string(): "String", pa.large_string(): "String", pa.date32(): "Date32"},
}
#: The clauses of the statement that makes a table, in its order.
_CLAUSES = {
    "engine": "ENGINE = ",
    "partition_by": "PARTITION BY ",
    "primary_key": "PRIMARY KEY ",
    "order_by": "ORDER BY ",
    "settings": "SETTINGS ",
}
