"""Datasets of what a database answers.

Owns the public name of the reader and its arguments. How databases are asked is in
`millstream.io.formats.sql`, which is imported when a source is planned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from millstream.dataset import Dataset, dataset_of
from millstream.options import takes
from millstream.plan.arguments import ReadOptions


@takes(options=ReadOptions)
def read_sql(
    sql: str,
    connection_factory: Callable[[], Any],
    *,
    sql_params: Any = None,
    shard_keys: Sequence[str] | None = None,
    shard_hash_fn: str = "MD5",
    options: ReadOptions,
) -> Dataset:
    """The rows of a query to a database, as they stream out of it.

    Connections of DuckDB and ADBC hand over Arrow data with the database's types. Those of other
    DB-API 2 libraries give Python objects, whose types decide. A column of values that do not go
    together is an error, and so is a value that Arrow's type does not have, such as DuckDB's
    infinite dates or sums of more than 38 digits: cast it in the query. What the database itself
    changed cannot be told: SQLite makes integers beyond 64 bits floats.

    If a worker is lost, its query runs again and leaves out as many rows as it had given: let the
    query end in ORDER BY over unique columns if the database does not keep an order by itself.
    Whether rows stream depends on the library too: psycopg needs a cursor of the server. Nothing
    is committed.

    Args:
        sql: The query. Its columns need different names.
        connection_factory: Returns a connection; called in the workers, once for each query.
        sql_params: Values for the placeholders of the query, in order or by name, as the library
            takes them. They are bound, never put into the text.
        shard_keys: Columns by which the query is divided into `override_num_blocks` (8) queries
            that run side by side, each row in exactly one, also where a key is null; plain names
            only. The database needs `MOD`, `ABS`, `COALESCE` and, for several keys, `CONCAT`.
            `None`: one query, which is one task.
        shard_hash_fn: The database's function that makes a number of the keys: `"hash"` in DuckDB.
            Ray Data reads in one task if the database does not have it; here that is an error.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.

    When it runs, what the database or `connection_factory` raises becomes `ReadError`, with
    passwords blotted out.
    """
    from millstream.io.formats.sql import plan_sql

    source = plan_sql(
        sql,
        connection_factory,
        sql_params=sql_params,
        shard_keys=shard_keys,
        shard_hash_fn=shard_hash_fn,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)
