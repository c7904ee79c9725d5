"""Where the rows of a dataset go: other libraries, as Arrow data, and databases.

Owns the public names of these ways out and their arguments. `millstream.execution` owns runs, and
`millstream.io` how databases are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.batch import to_batch
from millstream.blocks.common_type import common_type, wide_type
from millstream.blocks.transforms import SelectColumns
from millstream.errors import ArgumentError, SchemaError
from millstream.errors.checks import check_count
from millstream.execution import consume
from millstream.options import takes
from millstream.pipeline import Pipeline
from millstream.plan.arguments import SinkTasks
from millstream.plan.logical import Map


class Exchange(Pipeline):
    """The part of a dataset that runs it and hands what comes out to other libraries."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Runs the dataset and gives its rows to whatever takes an Arrow stream.

        So `polars.DataFrame(dataset)`, `pyarrow.table(dataset)` and, for DuckDB,
        `pyarrow.RecordBatchReader.from_stream(dataset)` take a dataset as it is. Blocks come as
        they are asked for, so that a consumer that takes them one by one stays within the run's
        memory. The run ends when the stream is used up or released. DuckDB asks a dataset itself
        for several streams, each of which is a run; a reader is one.

        A stream has one schema: the one that is known without running, else that of the first
        block. Blocks of other types are widened to it, and those that do not fit are an error. What
        goes wrong once the stream is there comes out as the consumer's own error, with our text.

        Args:
            requested_schema: A schema, in a capsule, that values are cast to if they stay the same.
        """
        execution = self._execute()
        tables = execution.tables()
        first = next(tables, None)
        schema = self._schema or self._plan.schema()
        if schema is None:
            schema = pa.schema([]) if first is None else block.visible_schema(first.schema)
        # Views and runs are the first thing that other libraries stumble over.
        fields = [field.with_nullable(True) for field in block.plain_schema(schema)]
        known = pa.schema(fields)
        batches = _batches(first, tables, known)
        reader = pa.RecordBatchReader.from_batches(known, batches)
        return reader.__arrow_c_stream__(requested_schema)

    def to_pandas(self, limit: int | None = None) -> Any:
        """Runs the dataset and gives all rows as one `pandas.DataFrame`.

        Integers with nulls are nullable integers, as in batches; see `map_batches`.

        Args:
            limit: More rows than this are an error.

        Raises:
            ArgumentError: `limit` is negative, or there are more rows.
            MissingPackageError: pandas is not installed.
        """
        check_count("limit", limit, least=0)
        table = consume.first_rows(self._execute(), None if limit is None else limit + 1)
        if limit is not None and table.num_rows > limit:
            raise ArgumentError(f"the dataset has more rows than limit={limit}")
        if not table.num_columns and not table.num_rows:
            schema = self._schema or self._plan.schema()
            table = table if schema is None else schema.empty_table()
        return to_batch(table, "pandas", writable=True)

    @takes(tasks=SinkTasks)
    def write_sql(
        self, sql: str, connection_factory: Callable[[], Any], *, tasks: SinkTasks
    ) -> None:
        """Runs the dataset and runs a statement with each of its rows in a database.

        Each task has a connection and one transaction, which is committed when all its rows are
        in: a run that fails leaves the rows of the tasks that ended before. A task whose worker is
        lost around its commit is repeated, so that its rows may be written twice, unless the
        statement itself says that they are not: `INSERT ... ON CONFLICT DO NOTHING`.

        Where the columns are not known, the dataset runs until its first block to find them, since
        values go to placeholders by the order of the columns; `select_columns` as the last
        operator says it too.

        Args:
            sql: A statement with a placeholder for each column, as the library writes them:
                `"INSERT INTO t VALUES (?, ?)"`. Values are bound, never put into the text.
            connection_factory: Returns a connection of DB-API 2 that does not commit by itself;
                called in the workers. Databases of one writer (SQLite) want `concurrency=1`.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: There are no columns, or some blocks have further ones.
            WriteError: The database refuses, or `connection_factory` fails; passwords are blotted
                out.
        """
        from millstream.io.formats.sql import check_statement
        from millstream.io.formats.sql_sink import WriteSql

        check_statement(sql, connection_factory)
        shape = tasks.shape()
        transform = WriteSql(sql, connection_factory, tuple(self._columns_in_order()))
        run = self._execute(self._plan.then(Map(transform, shape, writes=True)))
        rows = sum(sum(report["rows"].to_pylist()) for report in run.tables())
        run.watch.note_written(rows, 0)

    def _columns_in_order(self) -> list[str]:
        last = self._plan.operators[-1] if self._plan.operators else None
        if isinstance(last, Map) and isinstance(last.transform, SelectColumns):
            names = list(last.transform.columns)
        else:
            schema = self._schema or self._plan.schema()
            names = list((schema or consume.first_schema(self._execute())).names)
        if not names:
            raise SchemaError("the dataset has no columns to write")
        return names


def _batches(
    first: pa.Table | None, rest: Iterator[pa.Table], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The blocks as batches of one schema. The run ends when this is dropped."""
    if first is not None:
        yield from _fitted(first, schema)
        del first
    for table in rest:
        yield from _fitted(table, schema)


def _fitted(table: pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    found = block.visible_schema(table.schema)
    if not schema.names and not found.names and table.num_rows:
        raise SchemaError("rows without columns cannot go through an Arrow stream")
    for field in found:
        index = schema.get_field_index(field.name)
        known = schema.field(index).type if index >= 0 else None
        common = None if known is None else common_type(known, field.type)
        # Layouts of 32 and 64 bits hold the same values.
        if common is None or not wide_type(common).equals(wide_type(known)):
            raise SchemaError(
                f"the column {field.name!r} is {known or 'absent'} in the stream's schema, but "
                f"{field.type} in a later block: materialize the dataset first, or convert it"
            )
    if table.num_rows:
        aligned = block.align(table, schema) if schema.names else table
        made = pa.Table.from_arrays(aligned.columns, schema=schema)
        yield from made.to_batches()
