"""Where the rows of a dataset go: other libraries, as Arrow data, and objects in Ray's store.

Owns the public names of these ways out and their arguments. `millstream.execution` owns runs, and
`millstream.run.ray`, the only place that imports Ray, what is in objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.batch import BatchFormat, to_batch
from millstream.blocks.common_type import common_type, wide_type
from millstream.errors import ArgumentError, SchemaError
from millstream.errors.checks import check_count
from millstream.errors.packages import require_package
from millstream.execution import consume
from millstream.execution.kept import keep_blocks
from millstream.pipeline import Pipeline


class Export(Pipeline):
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

    def to_polars(self) -> Any:
        """Runs the dataset and gives all rows as one `polars.DataFrame`.

        Raises:
            MissingPackageError: Polars is not installed.
        """
        require_package("polars", "to_polars", "Polars", "polars")
        import polars

        return polars.DataFrame(self)

    def to_arrow_refs(self) -> list[Any]:
        """Runs the dataset and gives its blocks as references to Arrow tables.

        Each is made in a worker; nothing goes through this process. Ray Data takes them:
        `ray.data.from_arrow_refs(dataset.to_arrow_refs())`.

        Raises:
            ArgumentError: The dataset does not run on Ray.
            SchemaError: It has rows and no columns.
        """
        return self._refs("pyarrow")

    def to_pandas_refs(self) -> list[Any]:
        """As `to_arrow_refs`, with DataFrames of pandas; integers with nulls stay integers.

        Raises:
            ArgumentError: The dataset does not run on Ray.
            SchemaError: It has rows and no columns.
        """
        return self._refs("pandas")

    def to_numpy_refs(self, *, column: str | None = None) -> list[Any]:
        """As `to_arrow_refs`, with a dict of arrays by column, or one column's array.

        Args:
            column: The one that is wanted; by default all.

        Raises:
            ArgumentError: The dataset does not run on Ray.
            SchemaError: There is no such column, or there are rows and no columns.
        """
        return self._refs("numpy", column)

    def _refs(self, format: BatchFormat, column: str | None = None) -> list[Any]:
        if self._context.backend != "ray":
            raise ArgumentError(
                f"the dataset runs on the backend {self._context.backend!r}, which has no object "
                "store: iterate over it with iter_batches(batch_size=None, "
                f"batch_format={format!r})"
            )
        from millstream.run.ray.refs import made_of

        kept = keep_blocks(self._execute(), self._schema or self._plan.schema())
        (read,) = kept.reads()
        schema = read.source.schema
        if column is not None and schema is not None:
            block.require_columns(schema, [column])
        if schema is not None and not block.visible_schema(schema).names and read.source.rows:
            raise SchemaError("rows without columns cannot be told by such objects")
        return [made_of(unit, format, column) for unit in read.source.units]


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
