"""Writing to databases: each task runs a statement with its rows, in one transaction.

Owns the transaction and what is bound. `sql` owns connections and what is told of their errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from millstream.blocks import block, rows, tensor
from millstream.errors import SchemaError, WriteError
from millstream.io.formats import sql_postgres
from millstream.io.formats.sql import (
    Connect,
    connected,
    is_adbc,
    is_duckdb,
    is_sqlite,
    telling,
)


@dataclass(frozen=True)
class WriteSql:
    """Runs a statement with the rows of a task, and yields one row: how many there were.

    Args:
        sql: The statement.
        connect: Makes the connection.
        names: The columns, in the order of the placeholders.
    """

    sql: str
    connect: Connect
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return "WriteSQL"

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Needs nothing to be loaded."""
        return self._write

    def _write(self, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        written = 0
        with ExitStack() as stack:
            target: _Target | None = None
            for table in blocks:
                if not table.num_rows:
                    continue
                if target is None:
                    target = stack.enter_context(_transaction(self.connect))
                target.write(self.sql, self._in_order(table), written)
                written += table.num_rows
        yield pa.table({"rows": [written]})

    def _in_order(self, table: pa.Table) -> pa.Table:
        """The columns as the placeholders want them; null where the block lacks one.

        Raises:
            SchemaError: There is a column that has no placeholder.
        """
        found = block.visible_schema(table.schema).names
        further = [name for name in found if name not in self.names]
        if further:
            raise SchemaError(
                f"the columns {', '.join(map(repr, self.names))} are written, but some rows have "
                f"{', '.join(map(repr, further))} too: choose with select_columns"
            )
        absent = pa.nulls(table.num_rows)
        return pa.table(
            {name: table.column(name) if name in found else absent for name in self.names}
        )


@dataclass(frozen=True)
class _Target:
    """A cursor in a transaction.

    Args:
        cursor: Takes the statement.
        takes_arrow: Whether it takes tables.
        is_sqlite: Whether the database is SQLite, which changes some values in silence.
        is_postgres: Whether it is PostgreSQL, which does so with others.
    """

    cursor: Any
    takes_arrow: bool
    is_sqlite: bool
    is_postgres: bool

    def write(self, sql: str, table: pa.Table, start: int) -> None:
        """Runs the statement with each row.

        Args:
            sql: The statement.
            table: The rows.
            start: Which row of the task the first is.

        Raises:
            WriteError: The database refuses, or would store other values.
        """
        if self.is_sqlite:
            _refuse_changed(table)
        if self.is_postgres:
            table = sql_postgres.for_postgres(table, by_arrow=self.takes_arrow)
        if self.takes_arrow:
            with _placing(start, table.num_rows):
                self.cursor.executemany(sql, table)
            return
        values = (tuple(row.values()) for row in rows.iter_rows(table))
        while some := list(islice(values, _ROWS)):
            with _placing(start, len(some)):
                self.cursor.executemany(sql, some)
            start += len(some)


@contextmanager
def _placing(start: int, count: int) -> Iterator[None]:
    """Says in which rows an error of the database is, and in which column if that is known."""
    try:
        yield
    except Exception as error:
        place = f"within rows {start} to {start + count - 1} of its task (counted from 0)"
        place += sql_postgres.column_blamed(error)
        with telling(WriteError, f"the statement failed {place}"):
            raise


@contextmanager
def _transaction(connect: Connect) -> Iterator[_Target]:
    """Commits what is written if all goes well, else takes it back."""
    with connected(connect, WriteError) as connection:
        cursor = connection if is_duckdb(connection) else connection.cursor()
        if is_duckdb(connection):
            connection.begin()
        elif _commits_itself(connection):
            raise WriteError(
                "the connection commits each statement by itself, so that a task that fails would "
                "leave some of its rows: let connection_factory switch autocommit off"
            )
        with closing(cursor):
            try:
                takes_arrow = is_adbc(connection)
                is_postgres = sql_postgres.is_postgres(connection, is_adbc=takes_arrow)
                yield _Target(cursor, takes_arrow, is_sqlite(connection), is_postgres)
                with telling(WriteError, "the rows could not be committed"):
                    connection.commit()
            except BaseException:
                # What has gone wrong is told, not what follows from it.
                with suppress(Exception):
                    connection.rollback()
                raise


def _commits_itself(connection: Any) -> bool:
    if is_adbc(connection):
        option = "adbc.connection.autocommit"
        return bool(connection.adbc_connection.get_option(option) == "true")
    if is_sqlite(connection) and connection.isolation_level is None:
        return getattr(connection, "autocommit", None) is not False
    return getattr(connection, "autocommit", None) is True


def _refuse_changed(table: pa.Table) -> None:
    """Refuses what SQLite stores as something else: NaN as null, tensors as bare bytes."""
    from pyarrow import compute

    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_floating(column.type) and compute.any(compute.is_nan(column)).as_py():
            raise WriteError(
                f"the column {name!r} has NaN, which SQLite would store as NULL: replace it first"
            )
        if tensor.is_tensor(column.type):
            raise WriteError(
                f"the column {name!r} has tensors, of which SQLite would store the bytes only"
            )


# So many rows are Python objects at a time.
_ROWS = 1024
