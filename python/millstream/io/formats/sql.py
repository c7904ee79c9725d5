"""Reading from databases: a query is a unit, or one of the parts that it is divided into.

Owns how a query is divided and how its result becomes tables, by Arrow where the connection hands
it over, else from Python rows. Must not know any database's address: a factory makes connections,
in the worker, and what the database says of them is told without passwords. `sql_sink` writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millstream.errors import MillstreamError, ReadError
from millstream.errors.checks import check_columns, check_count, require
from millstream.io.formats import sql_postgres
from millstream.io.formats.sql_cursor import execute
from millstream.io.formats.sql_values import check_values, column_of
from millstream.io.secrets import without_secrets
from millstream.io.source import Source, UnitOfNoFiles

#: Makes a connection: of DB-API 2, of DuckDB, or of ADBC.
Connect = Callable[[], Any]


def plan_sql(
    sql: str,
    connection_factory: Connect,
    *,
    sql_params: Any = None,
    shard_keys: Sequence[str] | None = None,
    shard_hash_fn: str = "MD5",
    blocks: int | None = None,
) -> Source:
    """Plans to run a query, as a whole or in parts.

    Args:
        sql: The query.
        connection_factory: Makes a connection; called in the workers.
        sql_params: Values that are bound to the placeholders of the query.
        shard_keys: The columns that decide which part a row is in.
        shard_hash_fn: The database's function that makes a number of them.
        blocks: How many parts; without `shard_keys`, the query is one.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    check_statement(sql, connection_factory)
    check_count("override_num_blocks", blocks)
    is_bindable = sql_params is None or isinstance(sql_params, (Mapping, Sequence))
    is_bindable = is_bindable and not isinstance(sql_params, (str, bytes))
    # The values themselves may be secrets.
    require(is_bindable, "sql_params", type(sql_params), "values in order or by name, or None")
    queries = [sql]
    if shard_keys is not None:
        queries = _parts(sql, check_columns("shard_keys", shard_keys), shard_hash_fn, blocks)
    units = [SqlUnit(query, sql_params, connection_factory) for query in queries]
    return Source("ReadSQL", units, None, None)


def check_statement(sql: Any, connection_factory: Any) -> None:
    """Checks what a database is asked.

    Raises:
        ArgumentError: It is no text, or nothing makes connections.
    """
    require(isinstance(sql, str) and bool(sql.strip()), "sql", sql, "a statement in SQL")
    is_factory = callable(connection_factory)
    # A connection that was passed in its place may show a password.
    kind = type(connection_factory)
    require(is_factory, "connection_factory", kind, "a function that returns a connection")


@dataclass(frozen=True)
class SqlUnit(UnitOfNoFiles):
    """A query.

    Args:
        query: Its text.
        params: The values that are bound to its placeholders.
        connect: Makes the connection.
    """

    query: str
    params: Any
    connect: Connect

    def read(self) -> Iterator[pa.Table]:
        """Yields the result in tables of bounded size.

        Raises:
            ReadError: The database refuses, or a value cannot be told as it is.
        """
        with (
            connected(self.connect, ReadError) as connection,
            telling(ReadError, "the query failed"),
        ):
            yield from _tables(connection, self.query, self.params)


@contextmanager
def connected(connect: Connect, kind: type[MillstreamError]) -> Iterator[Any]:
    """Makes a connection and closes it in the end.

    Args:
        connect: Makes it.
        kind: The error of what goes wrong with it.
    """
    with telling(kind, "connection_factory failed"):
        connection = connect()
    if not hasattr(connection, "cursor"):
        found = type(connection).__name__
        raise kind(f"connection_factory returned a {found}, which is no connection of DB-API 2")
    try:
        yield connection
    finally:
        with telling(kind, "the connection could not be closed"):
            connection.close()


@contextmanager
def telling(kind: type[MillstreamError], problem: str) -> Iterator[None]:
    """Turns whatever a database raises into one of our errors, without what is secret in it."""
    try:
        yield
    except (MillstreamError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - each database has errors of its own
        # Its cause would show the text that has been changed here.
        raise kind(f"{problem}: {type(error).__name__}: {without_secrets(str(error))}") from None


def is_duckdb(connection: Any) -> bool:
    """Tells whether it is a connection of DuckDB, which is its own cursor."""
    return type(connection).__module__.partition(".")[0] in ("duckdb", "_duckdb")


def is_adbc(connection: Any) -> bool:
    """Tells whether it is a connection of ADBC, which takes and gives Arrow data."""
    return hasattr(connection, "adbc_connection")


def is_sqlite(connection: Any) -> bool:
    """Tells whether the database is SQLite, whose values have types and whose columns have none."""
    if is_adbc(connection):
        return bool(connection.adbc_get_info().get("vendor_name") == "SQLite")
    return type(connection).__module__.partition(".")[0] == "sqlite3" or any(
        base.__module__ == "sqlite3" for base in type(connection).__mro__
    )


def _parts(sql: str, keys: list[str], hash_fn: Any, parts: int | None) -> list[str]:
    """The queries of the parts; each row is in one of them, whatever the function makes of it."""
    require(bool(keys), "shard_keys", keys, "at least one column")
    for name in keys:
        require(_NAME.fullmatch(name) is not None, "shard_keys", keys, _NAME_WANTED)
    is_name = isinstance(hash_fn, str) and _NAME.fullmatch(hash_fn) is not None
    require(is_name, "shard_hash_fn", hash_fn, "the name of a function of the database")
    count = _PARTS if parts is None else parts
    if count == 1:
        return [sql]
    key = keys[0] if len(keys) == 1 else f"CONCAT({', '.join(keys)})"
    # A query may end in a comment.
    rows = f"SELECT * FROM (\n{_stripped(sql)}\n) AS T WHERE "  # noqa: S608 - names are checked
    # The sign of a remainder is that of the hash, and the least integer has no absolute value.
    part = f"MOD(MOD({hash_fn}({key}), {count}) + {count}, {count})"
    others = ", ".join(map(str, range(1, count)))
    # What is no such number, for instance where the key is null, is in the first part.
    first = f"{rows}COALESCE({part}, 0) NOT IN ({others})"
    return [first, *(f"{rows}{part} = {number}" for number in range(1, count))]


def _stripped(sql: str) -> str:
    return sql.rstrip().rstrip(";")


def _tables(connection: Any, query: str, params: Any) -> Iterator[pa.Table]:
    if is_duckdb(connection):
        yield from _from_duckdb(connection, query, params)
    elif is_adbc(connection):
        is_postgres = sql_postgres.is_postgres_of_adbc(connection)
        yield from (sql_postgres.from_adbc if is_postgres else _from_adbc)(
            connection, query, params
        )
    else:
        is_streamed = sql_postgres.is_psycopg(connection)
        cursor = sql_postgres.Streamed(connection) if is_streamed else connection.cursor()
        with closing(cursor):
            execute(cursor, query, params)
            yield from _from_rows(cursor)


def _names(description: Sequence[Any]) -> list[str]:
    """The names of the columns.

    Raises:
        ReadError: One comes twice.
    """
    names = [str(column[0]) for column in description]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ReadError(
            f"the result has the column {twice!r} more than once: name its columns with AS"
        )
    return names


# By Arrow -----------------------------------------------------------------------------------


def _from_duckdb(connection: Any, query: str, params: Any) -> Iterator[pa.Table]:
    # `execute` would hold the whole result, which a relation makes bit by bit.
    relation = connection.sql(query, params=params)
    if relation is None:
        raise ReadError("the statement gives no rows: read_sql takes a query")
    names = _names([(name,) for name in relation.columns])
    for name, found in zip(names, map(str, relation.types), strict=True):
        wrong = _DUCKDB_WRONG.search(found)
        if wrong is not None:
            raise ReadError(
                f"the column {name!r} is {found}: DuckDB hands over other values for "
                f"{wrong.group()}; cast it in the query, such as CAST(… AS VARCHAR)"
            )
    open_reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    yield from _checked(open_reader(_ARROW_ROWS))


def _from_adbc(connection: Any, query: str, params: Any) -> Iterator[pa.Table]:
    with closing(connection.cursor()) as cursor:
        if not is_sqlite(connection):
            execute(cursor, query, params)
            _names(cursor.description)
            yield from _checked(cursor.fetch_record_batch())
            return
        rows = f"FROM (\n{_stripped(query)}\n) AS T"
        execute(cursor, f"SELECT * {rows} LIMIT 0", params)
        # SQLite numbers those that come twice in a subquery.
        _names([(_NUMBERED.sub("", name),) for name, *_ in cursor.description])
        names = _names(cursor.description)
        kinds = ", ".join(f'typeof("{name.replace(chr(34), chr(34) * 2)}")' for name in names)
        execute(cursor, f"SELECT T.*, {kinds} {rows}", params)
        yield from _of_one_kind(names, _checked(cursor.fetch_record_batch()))


def _checked(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The batches as tables, after a look for values that are none of their type."""
    has_rows = False
    with reader:
        for batch in reader:
            for field, column in zip(batch.schema, batch.columns, strict=True):
                check_values(field, column)
            has_rows = has_rows or batch.num_rows > 0
            yield pa.Table.from_batches([batch])
        if not has_rows:
            yield reader.schema.empty_table()


def _of_one_kind(names: list[str], tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Takes the kinds of values, which the driver does not tell and makes alike, off the tables."""
    known: dict[str, str] = {}
    for table in tables:
        for index, name in enumerate(names):
            for kind in table.column(len(names) + index).unique().to_pylist():
                if kind != "null" and known.setdefault(name, kind) != kind:
                    raise ReadError(
                        f"the column {name!r} has values of the types {known[name]} and {kind}; "
                        "cast it in the query, such as CAST(… AS TEXT)"
                    )
        yield table.select(range(len(names))).rename_columns(names)


# From Python rows ---------------------------------------------------------------------------


def _from_rows(cursor: Any) -> Iterator[pa.Table]:
    names = _names(cursor.description)
    types: dict[str, pa.DataType] = dict.fromkeys(names, pa.null())
    start, count = 0, _ROWS_FIRST
    while rows := cursor.fetchmany(count):
        values = dict(zip(names, zip(*rows, strict=True), strict=True))
        made = {name: column_of(name, values[name], types[name], start) for name in names}
        table = pa.table(made)
        types = dict(zip(names, table.schema.types, strict=True))
        yield table
        start += len(rows)
        row_bytes = max(1, table.nbytes // len(rows))
        count = max(1, min(_ROWS_MAX, _BYTES // row_bytes, count * _GROWTH))
    if not start:
        yield pa.table({name: pa.nulls(0) for name in names})


# Rows of Python objects take many times the memory of their columns.
_BYTES = 8 << 20
_ROWS_FIRST = 64
_ROWS_MAX = 1 << 14
_GROWTH = 8
# What DuckDB makes at a time; a batch of more would hold more of wide rows.
_ARROW_ROWS = 2048
_PARTS = 8
_NUMBERED = re.compile(r":\d+$")
_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_NAME_WANTED = "plain names; give other columns one with AS in a subquery"
# Types that become others through Arrow: zones are dropped, 128 bits wrap, bits are padded.
_DUCKDB_WRONG = re.compile(r"\bTIME WITH TIME ZONE|\bUHUGEINT\b|\bBIT\b")
