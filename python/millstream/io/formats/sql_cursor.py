"""Queries through cursors of Python's database interface (PEP 249).

Owns how a query is run. Must not know any database, nor what its values mean.
"""

from __future__ import annotations

from typing import Any

from millstream.errors import ReadError


def execute(cursor: Any, query: str, params: Any) -> None:
    """Runs a query, whose rows the cursor then gives.

    Args:
        cursor: Of a connection.
        query: In the dialect of the database.
        params: What its placeholders stand for; `None`: it has none, and a percent sign is one.

    Raises:
        ReadError: The statement gives no rows.
    """
    if params is None:
        cursor.execute(query)
    else:
        cursor.execute(query, params)
    if not cursor.description:
        raise ReadError("the statement gives no rows: read_sql takes a query")
