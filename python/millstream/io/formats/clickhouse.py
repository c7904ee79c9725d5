"""Reading from ClickHouse with clickhouse-connect, which hands over Arrow data.

Owns the query, and which Arrow types are right for those of the database: it hands over some values
as others, such as dates as numbers. What it says is told without passwords.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import ReadError
from millstream.errors.checks import check_columns, check_named, require
from millstream.errors.packages import require_package
from millstream.io.formats.sql import telling
from millstream.io.formats.typed_files import pieces_of
from millstream.io.source import Source, UnitOfNoFiles


def plan_clickhouse(
    *,
    table: Any,
    dsn: Any,
    columns: Any = None,
    filter: Any = None,
    order_by: Any = None,
    client_settings: Mapping[str, Any] | None = None,
    client_kwargs: Mapping[str, Any] | None = None,
) -> Source:
    """Plans to read a table; see `read_clickhouse`.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: clickhouse-connect is not installed.
    """
    require_package("clickhouse_connect", "read_clickhouse", "clickhouse-connect", "clickhouse")
    require(isinstance(table, str) and bool(table), "table", table, "the name of a table or view")
    # The address may show a password.
    is_dsn = isinstance(dsn, str) and "://" in dsn
    require(is_dsn, "dsn", type(dsn), "an address such as 'clickhouse+http://host:8123/default'")
    is_text = filter is None or (isinstance(filter, str) and bool(filter.strip()))
    require(is_text, "filter", filter, "a condition in SQL, or None")
    check_named("client_settings", client_settings)
    check_named("client_kwargs", client_kwargs)
    chosen = ["*"] if columns is None else check_columns("columns", columns)
    require(bool(chosen), "columns", columns, "at least one column, or None")
    query = f"SELECT {', '.join(chosen)} FROM {table}"  # noqa: S608 - it is the user's own
    query += "" if filter is None else f" WHERE (\n{filter}\n)"
    query += _order(order_by)
    unit = ClickhouseUnit(query, dsn, dict(client_settings or {}), dict(client_kwargs or {}))
    return Source("ReadClickhouse", [unit], None, None)


@dataclass(frozen=True)
class ClickhouseUnit(UnitOfNoFiles):
    """A query.

    Args:
        query: Its text.
        dsn: The address of the server, which may have a password.
        settings: Of the server, for this query.
        kwargs: For `clickhouse_connect.get_client`.
    """

    query: str
    dsn: str = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    kwargs: Mapping[str, Any] = field(repr=False)

    def read(self) -> Iterator[pa.Table]:
        """Yields the result in tables of bounded size.

        Raises:
            ReadError: The database refuses, or a column is of a type that it hands over as another.
        """
        import clickhouse_connect

        with telling(ReadError, "the query failed"):
            client = clickhouse_connect.get_client(
                dsn=self.dsn, settings=dict(self.settings), **self.kwargs
            )
            with closing(client):
                said = client.query(f"DESCRIBE TABLE ({self.query})").result_rows
                types = {str(name): str(type) for name, type, *_ in said}
                with client.query_arrow_stream(self.query, use_strings=True) as stream:
                    for found in stream:
                        yield from pieces_of(block.plain(_as_said(_table(found), types)))


def _order(order_by: Any) -> str:
    if order_by is None:
        return ""
    is_pair = isinstance(order_by, (tuple, list)) and len(order_by) == 2
    is_pair = is_pair and isinstance(order_by[1], bool)
    require(is_pair, "order_by", order_by, "(columns, whether it is descending), or None")
    names = check_columns("order_by", order_by[0])
    require(bool(names), "order_by", order_by, "at least one column")
    return " ORDER BY " + ", ".join(f"{name}{' DESC' * order_by[1]}" for name in names)


def _table(found: Any) -> pa.Table:
    return pa.Table.from_batches([found]) if isinstance(found, pa.RecordBatch) else found


def _as_said(table: pa.Table, types: Mapping[str, str]) -> pa.Table:
    """Gives columns the types that the database says they have.

    Raises:
        ReadError: There is no such type in Arrow, or the values are none of it.
    """
    for index, name in enumerate(table.column_names):
        said = types.get(name, "")
        column = table.column(index)
        try:
            made = _column(column, said)
            if made is None:
                raise TypeError(f"ClickHouse hands it over as {column.type}")
            made.validate(full=True)
        except (TypeError, pa.ArrowInvalid) as error:
            raise ReadError(f"the column {name!r} is {said}, but {error}; {_ADVICE}") from error
        table = table.set_column(index, name, made)
    return table


def _column(column: pa.ChunkedArray, said: str) -> pa.ChunkedArray | None:
    """The column as it is said to be; `None` if it cannot be."""
    found, types = column.type, pa.types
    plain = _plain(said)
    kind = plain.partition("(")[0]
    if kind == "Bool" and types.is_uint8(found):
        return column.cast(pa.bool_())
    if kind == "Date" and types.is_uint16(found):
        return column.cast(pa.int32()).cast(pa.date32())
    if kind == "DateTime" and types.is_uint32(found):
        zone = _ZONE.search(plain)
        return column.cast(pa.int64()).cast(pa.timestamp("s", zone[1] if zone else "UTC"))
    return column if _is_right(found, plain) else None


def _is_right(found: pa.DataType, said: str) -> bool:
    """Whether an Arrow type is the one for a type of ClickHouse."""
    plain = _plain(said)
    kind, _, inner = plain.partition("(")
    if pa.types.is_dictionary(found):
        return _is_right(found.value_type, plain)
    if kind == "Array" and (pa.types.is_list(found) or pa.types.is_large_list(found)):
        return _is_right(found.value_type, inner[:-1])
    if kind in _NUMBERS:
        return bool(found == _NUMBERS[kind])
    return kind in _KINDS and bool(_KINDS[kind](found))


def _plain(said: str) -> str:
    """A type without what it says of nulls and of storage."""
    while (outer := _WRAPPED.fullmatch(said)) is not None:
        said = outer[1]
    return said


def _is_text(type: pa.DataType) -> bool:
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type))


_ADVICE = "make another of it in the query, such as columns=['toString(x) AS x']"
_WRAPPED = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")
_ZONE = re.compile(r"'([^']+)'")
_NUMBERS = {
    **{"Int8": pa.int8(), "Int16": pa.int16(), "Int32": pa.int32(), "Int64": pa.int64()},
    **{"UInt8": pa.uint8(), "UInt16": pa.uint16(), "UInt32": pa.uint32(), "UInt64": pa.uint64()},
    **{"Float32": pa.float32(), "Float64": pa.float64(), "Bool": pa.bool_()},
    **{"Date": pa.date32(), "Date32": pa.date32()},
}
_KINDS = {
    "String": _is_text,
    "FixedString": pa.types.is_fixed_size_binary,
    "DateTime": pa.types.is_timestamp,
    "DateTime64": pa.types.is_timestamp,
    "Decimal": pa.types.is_decimal,
    "Nothing": pa.types.is_null,
}
