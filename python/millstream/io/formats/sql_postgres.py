"""What is PostgreSQL's own: results that stream, and values that its libraries change on the way.

Owns what psycopg and ADBC's driver make of PostgreSQL's types. `sql` owns queries and connections.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from millstream.errors import ReadError, WriteError
from millstream.io.formats.sql_cursor import execute
from millstream.io.formats.sql_values import check_values, column_of


def is_psycopg(connection: Any) -> bool:
    """Tells whether it is a connection of psycopg 3."""
    return any(base.__module__.partition(".")[0] == "psycopg" for base in type(connection).__mro__)


def is_postgres_of_adbc(connection: Any) -> bool:
    """Tells whether ADBC's connection is one to PostgreSQL."""
    return bool(connection.adbc_get_info().get("vendor_name") == "PostgreSQL")


def is_postgres(connection: Any, *, is_adbc: bool) -> bool:
    """Tells whether what is connected to is PostgreSQL, as far as its libraries are known here."""
    return is_postgres_of_adbc(connection) if is_adbc else is_psycopg(connection)


class Streamed:
    """A cursor of psycopg whose rows come as the server makes them.

    `execute` would hold all of them.

    Args:
        connection: The connection; JSON and intervals come as they are from now on.
    """

    def __init__(self, connection: Any) -> None:
        _keep_values(connection)
        self._cursor = connection.cursor()
        self._rows: Iterator[Any] = iter(())
        self.description: Any = None

    def execute(self, query: str, params: Any = None) -> None:
        """Runs a query up to its first row."""
        from psycopg import capabilities

        size = _ROWS if capabilities.has_stream_chunked() else 1
        self._rows = self._cursor.stream(query, params, size=size)
        first = list(islice(self._rows, 1))
        if not first:
            # Only then it tells nothing of the columns.
            self._cursor.execute(query, params)
        self._rows = chain(first, self._rows)
        self.description = self._cursor.description
        for column in self.description or ():
            if column.type_code in _REFUSED:
                raise _no_such(column.name, _REFUSED[column.type_code])

    def fetchmany(self, count: int) -> list[Any]:
        """Takes so many rows, or those that are left."""
        return list(islice(self._rows, count))

    def close(self) -> None:
        """Ends the query."""
        self._cursor.close()


def _keep_values(connection: Any) -> None:
    """Lets psycopg hand over text of JSON as text, and no months as 30 days."""
    from psycopg import DataError
    from psycopg.types.datetime import IntervalLoader
    from psycopg.types.json import set_json_loads

    class Interval(IntervalLoader):  # type: ignore[misc, unused-ignore]
        def load(self, data: Any) -> datetime.timedelta:
            text = bytes(data)
            if b"mon" in text or b"year" in text:
                raise DataError(
                    f"the interval {text.decode()!r} has months, which differ in length"
                )
            return super().load(data)

    connection.adapters.register_loader("interval", Interval)
    set_json_loads(lambda data: data if isinstance(data, str) else bytes(data).decode(), connection)


def from_adbc(connection: Any, query: str, params: Any) -> Iterator[pa.Table]:
    """Yields the result of a query, with PostgreSQL's values as they are.

    Raises:
        ReadError: A column is of a type that the driver hands over as bare bytes, or otherwise.
    """
    with closing(connection.cursor()) as cursor:
        arrays = _array_names(cursor, query, params)
        if arrays:
            # The driver tells the values of an array, and not its dimensions.
            told = ", ".join(f"array_ndims(T.{_quoted(name)})" for name in arrays)
            query = f"SELECT T.*, {told} FROM (\n{query.rstrip().rstrip(';')}\n) AS T"  # noqa: S608
        execute(cursor, query, params)
        with cursor.fetch_record_batch() as reader:
            yield from _tables(reader, arrays)


def for_postgres(table: pa.Table, *, by_arrow: bool) -> pa.Table:
    """Makes of rows what PostgreSQL stores without changing it.

    Args:
        table: The rows.
        by_arrow: Whether ADBC's driver takes them, which lets large unsigned integers wrap.

    Raises:
        WriteError: A value would be changed in silence.
    """
    for index, field in enumerate(table.schema):
        to = _held(field.type, by_arrow=by_arrow)
        if to == field.type:
            continue
        try:
            table = table.set_column(index, field.name, table.column(index).cast(to))
        except pa.ArrowInvalid as error:
            raise WriteError(
                f"the column {field.name!r} is {field.type}, and PostgreSQL would store another "
                f"value ({error}): make it {to} or text first"
            ) from error
    return table


def _held(type: pa.DataType, *, by_arrow: bool) -> pa.DataType:
    """The type of what PostgreSQL holds: it has microseconds, and no unsigned integers."""
    if by_arrow and pa.types.is_uint64(type):
        return pa.int64()
    if getattr(type, "unit", None) != "ns":
        return type
    if pa.types.is_timestamp(type):
        return pa.timestamp("us", type.tz)
    return pa.duration("us") if pa.types.is_duration(type) else pa.time64("us")


def column_blamed(error: BaseException) -> str:
    """Says in words which column PostgreSQL blames; "" if it does not say."""
    name = getattr(getattr(error, "diag", None), "column_name", None)
    return f", in the column {name!r}" if name else ""


def _array_names(cursor: Any, query: str, params: Any) -> list[str]:
    """Finds the columns of arrays; asks with no rows, since a query of parameters has no schema."""
    if params is None:
        schema = cursor.adbc_execute_schema(query)
    else:
        rows = f"SELECT * FROM (\n{query.rstrip().rstrip(';')}\n) AS T LIMIT 0"  # noqa: S608
        cursor.execute(rows, params)
        schema = cursor.fetch_record_batch().schema
    if schema is None:
        return []
    names = [field.name for field in schema]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ReadError(
            f"the result has the column {twice!r} more than once: name its columns with AS"
        )
    return [field.name for field in schema if pa.types.is_list(field.type)]


def _tables(reader: pa.RecordBatchReader, arrays: list[str]) -> Iterator[pa.Table]:
    fields = list(reader.schema)[: len(reader.schema) - len(arrays)]
    for field in fields:
        if _type_of(field) in _REFUSED_BY_NAME or _is_opaque(field):
            raise _no_such(field.name, _type_of(field))
    types: dict[str, pa.DataType] = {}
    first = next(iter(reader), None)
    if first is None:
        first = _no_rows(reader.schema)
    for batch in chain([first], reader):
        _check_dimensions(batch, arrays)
        made = {}
        for index, field in enumerate(fields):
            made[field.name] = _value_of(field, batch.column(index), types)
        yield pa.table(made)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, type) for type in schema.types], schema=schema)


def _check_dimensions(batch: pa.RecordBatch, arrays: list[str]) -> None:
    from pyarrow import compute

    for offset, name in enumerate(reversed(arrays), start=1):
        most = compute.max(batch.column(batch.num_columns - offset)).as_py()
        if most is not None and most > 1:
            raise ReadError(
                f"the column {name!r} has arrays of {most} dimensions, which the driver of ADBC "
                "hands over as flat ones: read it with psycopg, or as CAST(… AS TEXT)"
            )


def _value_of(field: pa.Field, column: pa.Array, types: dict[str, pa.DataType]) -> Any:
    """Makes of a column what PostgreSQL means.

    Args:
        field: What the driver says of it.
        column: It.
        types: The types of decimals so far.
    """
    kind = _type_of(field)
    if kind == "numeric":
        return _decimals(field, column, types)
    if kind == "oid":
        # They are unsigned, and come as signed ones.
        return column.view(pa.uint32())
    if kind in ("json", "jsonb"):
        return column.storage if isinstance(column, pa.ExtensionArray) else column
    check_values(field, column)
    _check_finite(field, column)
    return column


def _decimals(field: pa.Field, column: pa.Array, types: dict[str, pa.DataType]) -> Any:
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    text = storage.to_pylist()
    values = [None if value is None else Decimal(value) for value in text]
    made = column_of(field.name, values, types.get(field.name, _declared(field)), 0)
    types[field.name] = made.type
    return made


def _declared(field: pa.Field) -> pa.DataType:
    """The type of `numeric(precision, scale)`; null where neither was said."""
    noted = (field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1")
    modifier = int(noted) - 4
    precision, scale = (modifier >> 16) & 0xFFFF, modifier & 0x7FF
    if modifier < 0 or not scale <= precision <= 76:
        return pa.null()
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _check_finite(field: pa.Field, column: pa.Array) -> None:
    """Refuses infinite days and times, which wrap around where the driver counts from 1970."""
    from pyarrow import compute

    type = field.type
    if pa.types.is_date32(type):
        least = compute.min(column.view(pa.int32())).as_py()
        is_infinite = least is not None and least < _DAY_MIN
    elif pa.types.is_timestamp(type):
        least = compute.min(column.view(pa.int64())).as_py()
        is_infinite = least is not None and least < _MICROSECOND_MIN
    else:
        return
    if is_infinite:
        raise ReadError(
            f"the column {field.name!r} has the value infinity, which {type} does not have; cast "
            "it in the query, such as CAST(… AS TEXT)"
        )


def _type_of(field: pa.Field) -> str:
    return bytes((field.metadata or {}).get(b"POSTGRESQL:type", b"")).decode()


def _is_opaque(field: pa.Field) -> bool:
    """Tells whether the driver gives what it does not understand: bytes, as they came."""
    is_opaque = getattr(field.type, "extension_name", "") == "arrow.opaque"
    inner = [field.type.field(index) for index in range(field.type.num_fields)]
    return (is_opaque and _type_of(field) != "numeric") or any(map(_is_strange, inner))


def _is_strange(field: pa.Field) -> bool:
    is_opaque = getattr(field.type, "extension_name", "") == "arrow.opaque"
    inner = [field.type.field(index) for index in range(field.type.num_fields)]
    return is_opaque or _type_of(field) in _REFUSED_BY_NAME or any(map(_is_strange, inner))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _no_such(name: str, kind: str) -> ReadError:
    return ReadError(
        f"the column {name!r} is of PostgreSQL's type {kind}, which does not come as it is: "
        "cast it in the query, such as CAST(… AS TEXT)"
    )


# As much at a time as one round trip is worth.
_ROWS = 1000
# By their numbers in PostgreSQL. Their parts come as text, or with the sign of a currency.
_REFUSED = {2249: "record", 790: "money"}
_REFUSED_BY_NAME = ("money", "record")
# The first day that PostgreSQL knows is 4713 BC, as days and microseconds from 1970.
_DAY_MIN = -2_441_000
_MICROSECOND_MIN = _DAY_MIN * 86_400_000_000
