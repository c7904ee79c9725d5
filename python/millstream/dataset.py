"""What the user holds: a lazy, immutable pipeline.

Owns the public names of operators and of reports. What comes out is in `millstream.consumption`,
where it goes in `millstream.write`. Knows nothing of how a plan is made to run (`millstream.plan`),
of scheduling or of backends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import pyarrow as pa

from millstream.absent import absent_text
from millstream.aggregates import Aggregates
from millstream.blocks import transforms
from millstream.columns import Columns
from millstream.context import DataContext
from millstream.errors import ArgumentError
from millstream.errors.checks import check_columns, check_count, check_flag, check_kind
from millstream.execution.kept import keep_blocks
from millstream.export import Export
from millstream.expr.nodes import Expr
from millstream.io.source import Source
from millstream.joins import Joins
from millstream.observe import explain, stats, why
from millstream.observe.report import RunReport
from millstream.options import takes
from millstream.plan import columns as column_operators
from millstream.plan.arguments import (
    FunctionOptions,
    ReadOptions,
    TaskOptions,
    check_batch_format,
    check_batch_rows,
    check_callable,
)
from millstream.plan.logical import Limit, LogicalPlan, Map, Read, Union, Zip, joined
from millstream.plan.rules import to_physical
from millstream.shuffles import Shuffles
from millstream.splits import Splits
from millstream.write_databases import DatabaseWriting
from millstream.write_media import MediaWriting
from millstream.write_tables import TableWriting


class Dataset(
    Columns,
    Aggregates,
    Shuffles,
    Joins,
    Splits,
    Export,
    DatabaseWriting,
    MediaWriting,
    TableWriting,
):
    """A pipeline over rows: lazy, immutable, run again by each consumer.

    Made by `millstream.read_parquet`, `millstream.range` and the like, not by this class. Each
    operator returns a new dataset and runs nothing. Rows are dicts of column name to value.

    Operators on functions (`map`, `map_batches`, `flat_map`, `filter`) take a function, a generator
    function, an `async` function, or a class with `__call__`, which is constructed once per actor.
    It must pickle on the Ray backend. An instance that is no longer needed has its `close()`
    called, if it has one, and is dropped; the end of a run waits for that, up to 10 s, and what
    `close()` raises is logged as a warning.

    Neighbours with equal resources fuse into one operator (see `explain`).

    An argument that makes no sense raises `ArgumentError` at the call. When the dataset runs: a
    request that no node can fulfil raises `ResourcesError` before anything starts, a function that
    cannot be pickled `SerializationError`, and one that raises, `UserCodeError` from its
    exception.
    """

    # Operators ------------------------------------------------------------------------------

    @takes(options=FunctionOptions)
    def map(
        self,
        fn: Callable[..., Any],
        *,
        options: FunctionOptions,
    ) -> Dataset:
        """Calls `fn` with each row; it returns the new row. `map_batches` is faster.

        Args:
            fn: Takes a row as a dict of column name to value, and returns one.
            options: What all operators on functions take.

        Example:
            >>> ms.range(2).map(lambda row: {"double": row["id"] * 2}).take_all()
            [{'double': 0}, {'double': 2}]
        """
        return self._then(transforms.MapRows, fn, options)

    @takes(options=FunctionOptions)
    def map_batches(
        self,
        fn: Callable[..., Any],
        *,
        batch_size: int | Literal["auto"] | None = None,
        batch_format: str | None = "default",
        zero_copy_batch: bool = True,
        udf_modifying_row_count: bool = True,
        options: FunctionOptions,
    ) -> Dataset:
        """Calls `fn` with batches of rows; it returns a batch, or yields any number of them.

        Args:
            fn: Takes a batch, and returns one in any of the formats. What it yields comes out as
                soon as it fills a block, and at the end.
            batch_size: Rows per batch. Small blocks are bundled until a batch is full, so that
                only the last one is smaller, or the last of a task. `None` and `"auto"`: whole
                blocks, whose sizes are bounded in bytes, with the small ones that one task gets
                joined up to 1 MiB. Required when `num_gpus` is set.
            batch_format: `"numpy"` and `"default"`: a dict of column name to array of shape
                (rows, …); `"pandas"`: a `DataFrame`; `"pyarrow"` and `None`: a `pyarrow.Table`.
                Integers with nulls stay integers: None where null in NumPy, nullable in pandas.
            zero_copy_batch: Whether `fn` may get read-only views of shared memory. `False`: its
                own, writable copy.
            udf_modifying_row_count: `False` promises that `fn` returns as many rows as it gets, so
                that `count` need not run it; other numbers are an error then.
            options: What all operators on functions take.

        Example:
            >>> ms.range(3).map_batches(lambda batch: {"half": batch["id"] / 2}).take_all()
            [{'half': 0.0}, {'half': 0.5}, {'half': 1.0}]
        """
        batch_rows = check_batch_rows(batch_size, options.num_gpus)
        check_flag("zero_copy_batch", zero_copy_batch)
        return self._then(
            transforms.MapBatches,
            fn,
            options,
            batch_rows=batch_rows,
            batch_size=batch_rows,
            batch_format=check_batch_format(batch_format),
            zero_copy_batch=zero_copy_batch,
            keeps_rows=not udf_modifying_row_count,
        )

    @takes(options=FunctionOptions)
    def flat_map(
        self,
        fn: Callable[..., Any],
        *,
        options: FunctionOptions,
    ) -> Dataset:
        """Calls `fn` with each row; it returns a list of rows, or yields rows.

        Args:
            fn: Takes a row as a dict, and returns any number of them.
            options: What all operators on functions take.

        Example:
            >>> ms.range(3).flat_map(lambda row: [row] * row["id"]).take_all()
            [{'id': 1}, {'id': 2}, {'id': 2}]
        """
        return self._then(transforms.FlatMap, fn, options, changes_rows=True)

    @takes(options=FunctionOptions)
    def filter(
        self,
        fn: Callable[..., Any] | Expr | None = None,
        expr: Expr | None = None,
        *,
        options: FunctionOptions,
    ) -> Dataset:
        """Keeps the rows for which a function or an expression is true.

        An expression is faster. Directly after `read_parquet`, or with only selected, dropped or
        renamed columns between, it is given to the reader (see `explain`).

        Args:
            fn: Takes a row as a dict, and returns whether it stays; or an expression.
            expr: A bool for each row, such as `col("id") > 1`; where it is null, the row goes.
            options: What all operators on functions take.

        Raises:
            SchemaError: The expression does not fit the columns; at the call, if they are known.

        Example:
            >>> ms.range(4).filter(lambda row: row["id"] % 2).take_all()
            [{'id': 1}, {'id': 3}]
        """
        if (fn is None) == (expr is None):
            raise ArgumentError("filter takes a function or an expression, and one of them only")
        if fn is None or isinstance(fn, Expr):
            return self._filtered(expr if fn is None else fn, options)
        return self._then(transforms.FilterRows, fn, options, changes_rows=True)

    @takes(options=TaskOptions)
    def select_columns(self, cols: str | Sequence[str], *, options: TaskOptions) -> Dataset:
        """Keeps some columns, in the order given. Files are then read without the others.

        Args:
            cols: Their names. With none, the rows stay, without columns.
            options: What all operators on columns take.

        Raises:
            ArgumentError: A name comes twice.
            SchemaError: A column does not exist; at the call, if the columns are known then.
        """
        wanted = check_columns("cols", cols)
        return self._with_columns(
            transforms.SelectColumns(tuple(wanted)),
            partial(column_operators.select_schema, columns=wanted),
            options,
        )

    @takes(options=TaskOptions)
    def drop_columns(self, cols: str | Sequence[str], *, options: TaskOptions) -> Dataset:
        """Leaves out some columns. The rows stay, even if no column does.

        Args:
            cols: Their names.
            options: What all operators on columns take.

        Raises:
            ArgumentError: A name comes twice.
            SchemaError: A column does not exist; at the call, if the columns are known then.
        """
        drop = column_operators.DropColumns(tuple(check_columns("cols", cols)))
        return self._with_columns(drop, drop.schema, options)

    @takes(options=TaskOptions)
    def rename_columns(
        self,
        names: Mapping[str, str] | Sequence[str],
        *,
        options: TaskOptions,
    ) -> Dataset:
        """Gives columns new names.

        Args:
            names: The new names by the old ones, or all new names in order.
            options: What all operators on columns take.

        Raises:
            ArgumentError: Two columns would have one name.
            SchemaError: A column does not exist; both at the call, if the columns are known then.
        """
        rename = column_operators.rename(names)
        return self._with_columns(rename, rename.schema, options)

    @takes(options=TaskOptions)
    def add_column(
        self,
        col: str,
        fn: Callable[[Any], Any],
        *,
        batch_format: str | None = "pandas",
        options: TaskOptions,
    ) -> Dataset:
        """Adds a column, or replaces the one of that name.

        Args:
            col: Its name.
            fn: Takes a batch and returns the column's values: a series or array of as many rows.
            batch_format: As in `map_batches`.
            options: What all operators on columns take.

        Raises:
            ArgumentError: `col` is no name, or `fn` no function.
        """
        check_columns("col", [col])
        if check_callable(fn):
            raise ArgumentError(f"fn={fn!r} must be a function, not a class")
        return self.map_batches(
            column_operators.AddColumn(col, fn),
            batch_format=batch_format,
            zero_copy_batch=False,
            concurrency=options.concurrency,
            udf_modifying_row_count=False,
            **options.resources,
        )

    def limit(self, limit: int) -> Dataset:
        """Keeps the first rows. As soon as they are there, what makes further ones is stopped.

        Args:
            limit: How many, at most. Without `preserve_order` they are those that come first.

        Raises:
            ArgumentError: `limit` is negative.

        Example:
            >>> ms.range(1_000_000).limit(2).take_all()
            [{'id': 0}, {'id': 1}]
        """
        check_count("limit", limit, least=0, optional=False)
        return Dataset(self._plan.then(Limit(limit)), self._context)

    def union(self, *other: Dataset) -> Dataset:
        """Puts the rows of other datasets behind those of this one; no data is moved for it.

        Columns that a block lacks stay absent there; where blocks meet, they are null. Without
        `preserve_order` the rows of all datasets come as they are made.

        Args:
            *other: The datasets, in the order of their rows. With none, the rows stay as they are.

        Raises:
            ArgumentError: One is no dataset.
            SchemaError: A column has types that no common type holds, if they are known.

        Example:
            >>> ms.range(2).union(ms.range(1)).take_all()
            [{'id': 0}, {'id': 1}, {'id': 0}]
        """
        return self._joined(Union, other)

    def zip(self, *other: Dataset) -> Dataset:
        """Puts the columns of other datasets beside those of this one, row by row.

        The rows of all datasets are taken in order, with or without `preserve_order`. A column
        whose name is there already gets the suffix `_1`, the next one `_2`.

        Args:
            *other: The datasets, in the order of their columns. With none, the columns stay as they
                are.

        Raises:
            ArgumentError: One is no dataset.

        When it runs, different numbers of rows raise `WorkerError`.

        Example:
            >>> ms.range(2).zip(ms.range(2)).take_all()
            [{'id': 0, 'id_1': 0}, {'id': 1, 'id_1': 1}]
        """
        return self._joined(Zip, other)

    # Runs -----------------------------------------------------------------------------------

    def materialize(self) -> MaterializedDataset:
        """Runs the dataset and keeps its blocks where they are, for use in further datasets."""
        execution = self._execute()
        made = MaterializedDataset(keep_blocks(execution, self._plan.schema()), self._context)
        made._watch = execution.watch
        return made

    # Reports --------------------------------------------------------------------------------

    def explain(self) -> None:
        """Prints the logical and the physical plan, with what each operator holds."""
        print(explain.explain(self._plan, to_physical(self._plan)))  # noqa: T201 As above.

    def stats(self) -> str:
        """Where the time of the last run went: time, rows, bytes and what held each operator.

        Returns:
            The report; an empty string if the dataset has not run.
        """
        report = self.report()
        return "" if report is None else stats.stats(report)

    def report(self) -> RunReport | None:
        """The last run in numbers, as it is or as it ended; `None` if the dataset has not run.

        What `stats` and `why` say is made of it.
        """
        return None if self._watch is None else self._watch.report()

    def why(self) -> str:
        """What holds, or held, each operator of the last run, and what would help."""
        return why.why(self.report())

    def input_files(self) -> list[str]:
        """The files that the dataset reads; what is listed twice is there twice."""
        return [file for read in self._plan.completed().reads() for file in read.source.files]

    def num_blocks(self) -> int:
        """The number of blocks, which is known of materialized datasets only.

        Raises:
            ArgumentError: The dataset is not materialized.
        """
        raise ArgumentError(
            "the number of blocks is decided while a dataset runs: call materialize() first"
        )

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(absent_text("Dataset", name), name=name, obj=self)

    def __repr__(self) -> str:
        schema = self._schema or self._plan.schema()
        columns = "?" if schema is None else ", ".join(f"{f.name}: {f.type}" for f in schema)
        known = self._plan.rows()
        flow = self._plan.flow()
        return f"{type(self).__name__}({flow}, rows={'?' if known is None else known}, {columns})"

    # Helpers --------------------------------------------------------------------------------

    def _then(
        self,
        transform: Callable[..., transforms.Transform],
        fn: Callable[..., Any],
        options: FunctionOptions,
        *,
        batch_rows: int | None = None,
        changes_rows: bool = False,
        **how: Any,
    ) -> Dataset:
        function = options.function(fn)
        made = transform(function, **how)
        shape = options.shape(function)
        operator = Map(made, shape, batch_rows=batch_rows, changes_rows=changes_rows)
        return Dataset(self._plan.then(operator), self._context)

    def _joined(self, kind: type[Union | Zip], other: Sequence[Dataset]) -> Dataset:
        for dataset in other:
            check_kind("other", dataset, Dataset, optional=False)
        if not other:
            return Dataset(self._plan, self._context)
        plan = joined(kind, [self._plan, *(dataset._plan for dataset in other)])
        plan.schema()  # Raises for types that do not fit, if the columns are known.
        return Dataset(plan, self._context)

    def _with_columns(
        self,
        transform: transforms.Transform,
        schema_of: Callable[[pa.Schema], pa.Schema],
        options: TaskOptions,
    ) -> Dataset:
        return self._mapped(Map(transform, options.shape(), columns=schema_of))


class MaterializedDataset(Dataset):
    """A dataset whose blocks exist already. They are kept as long as it is, or one made of it."""

    def num_blocks(self) -> int:
        """The number of blocks."""
        return sum(len(read.source.units) for read in self._plan.reads())


def dataset_of(source: Source, options: ReadOptions) -> Dataset:
    """The dataset of a source, with the settings of this moment.

    Raises:
        ArgumentError: An option makes no sense.
    """
    is_divided = options.override_num_blocks is not None
    read = Read(source, options.shape(), is_divided=is_divided)
    return Dataset(LogicalPlan(read), DataContext.get_current().copy())
