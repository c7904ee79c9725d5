"""What the user holds: a lazy, immutable pipeline, and the ways to run it.

Owns the public names of operators and of consumption. Knows nothing of how a plan is made to run
(`millstream.plan`), of scheduling or of backends.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import pyarrow as pa

from millstream import feed
from millstream.absent import absent_text
from millstream.blocks import rows, transforms
from millstream.blocks.batch import to_batch
from millstream.compute import ComputeStrategy
from millstream.context import DataContext
from millstream.errors import ArgumentError
from millstream.execution import consume
from millstream.execution.execution import Execution
from millstream.execution.kept import keep_blocks
from millstream.execution.write import write
from millstream.observe import explain, stats, why
from millstream.observe.report import RunReport
from millstream.observe.watch import Watch
from millstream.plan import columns as column_operators
from millstream.plan.arguments import (
    Concurrency,
    FunctionCall,
    Workers,
    check_batch_format,
    check_batch_rows,
    check_batch_size,
    check_columns,
    check_flag,
    check_function,
    check_named,
    check_rows,
    shape_of_read,
)
from millstream.plan.logical import Limit, LogicalPlan, Map, Read, Union, Zip, joined
from millstream.plan.rules import to_physical
from millstream.schema import Schema

Row = dict[str, Any]


class Dataset:
    """A pipeline over rows: lazy, immutable, run again by each consumer.

    Made by `millstream.read_parquet`, `millstream.range` and the like, not by this class. Each
    operator returns a new dataset and runs nothing. Rows are dicts of column name to value.

    **Arguments that all operators on functions take** (`map`, `map_batches`, `flat_map`,
    `filter`):

    - `fn`: a function, a generator function, an `async` function, or a class with `__call__`,
      which is constructed once per actor. It must pickle on the Ray backend. An instance that is
      no longer needed has its `close()` called, if it has one, and is dropped; the end of a run
      waits for that, up to 10 s, and what `close()` raises is logged as a warning.
    - `compute`: `TaskPoolStrategy(size)` for functions, `ActorPoolStrategy(...)` for classes.
      By default a function runs as tasks, as many as there is room for, and a class on a pool of
      actors from 1 to as many as there is room for.
    - `concurrency`: the short form: a number of workers, or `(min, max)` or
      `(min, max, initial)` actors.
    - `fn_args`, `fn_kwargs`: passed to `fn` after the data.
    - `fn_constructor_args`, `fn_constructor_kwargs`: passed to the class.
    - `num_cpus`, `num_gpus`, `memory` (bytes): what each task or actor holds. By default 1 CPU,
      or with GPUs none.
    - `resources` (custom resources by name), `accelerator_type`, `runtime_env`, `max_calls`.

    Neighbours with equal resources fuse into one operator (see `explain`).

    An argument that makes no sense raises `ArgumentError` at the call. When the dataset runs: a
    request that no node can fulfil raises `ResourcesError` before anything starts, a function that
    cannot be pickled `SerializationError`, and one that raises, `UserCodeError` from its
    exception.
    """

    def __init__(self, plan: LogicalPlan, context: DataContext) -> None:
        self._plan = plan
        self._context = context
        self._schema: pa.Schema | None = None
        self._watch: Watch | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A dataset is a recipe: what watches its last run stays here.
        return {**self.__dict__, "_watch": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Dataset:
        # It never changes, so that there is nothing to keep apart.
        return copy.copy(self)

    # Operators ------------------------------------------------------------------------------

    def map(
        self,
        fn: Callable[..., Any],
        *,
        compute: ComputeStrategy | None = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset:
        """Calls `fn` with each row; it returns the new row. `map_batches` is faster.

        Args:
            fn: Takes a row as a dict of column name to value, and returns one.
            compute: For this and all further arguments see `Dataset`.
            fn_args: See `Dataset`.
            fn_kwargs: See `Dataset`.
            fn_constructor_args: See `Dataset`.
            fn_constructor_kwargs: See `Dataset`.
            num_cpus: See `Dataset`.
            num_gpus: See `Dataset`.
            memory: See `Dataset`.
            concurrency: See `Dataset`.
            **ray_remote_args: See `Dataset`.

        Example:
            >>> ms.range(2).map(lambda row: {"double": row["id"] * 2}).take_all()
            [{'double': 0}, {'double': 2}]
        """
        call = FunctionCall(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        workers = Workers(compute, concurrency, num_cpus, num_gpus, memory, ray_remote_args)
        return self._then(transforms.MapRows, call, workers)

    def map_batches(
        self,
        fn: Callable[..., Any],
        *,
        batch_size: int | Literal["auto"] | None = None,
        compute: ComputeStrategy | None = None,
        batch_format: str | None = "default",
        zero_copy_batch: bool = True,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Concurrency = None,
        udf_modifying_row_count: bool = True,
        **ray_remote_args: Any,
    ) -> Dataset:
        """Calls `fn` with batches of rows; it returns a batch, or yields any number of them.

        Args:
            fn: Takes a batch, and returns one in any of the formats. What it yields comes out as
                soon as it fills a block, and at the end.
            batch_size: Rows per batch. Small blocks are bundled until a batch is full, so that
                only the last one is smaller, or the last of a task. `None` and `"auto"`: whole
                blocks, whose sizes are bounded in bytes, with the small ones that one task gets
                joined up to 1 MiB. Required when `num_gpus` is set.
            compute: For this and all further arguments not named here see `Dataset`.
            batch_format: `"numpy"` and `"default"`: a dict of column name to array of shape
                (rows, …); `"pandas"`: a `DataFrame`; `"pyarrow"` and `None`: a `pyarrow.Table`.
                Integers with nulls stay integers: None where null in NumPy, nullable in pandas.
            zero_copy_batch: Whether `fn` may get read-only views of shared memory. `False`: its
                own, writable copy.
            fn_args: See `Dataset`.
            fn_kwargs: See `Dataset`.
            fn_constructor_args: See `Dataset`.
            fn_constructor_kwargs: See `Dataset`.
            num_cpus: See `Dataset`.
            num_gpus: See `Dataset`.
            memory: See `Dataset`.
            concurrency: See `Dataset`.
            udf_modifying_row_count: `False` promises that `fn` returns as many rows as it gets, so
                that `count` need not run it; other numbers are an error then.
            **ray_remote_args: See `Dataset`.

        Example:
            >>> ms.range(3).map_batches(lambda batch: {"half": batch["id"] / 2}).take_all()
            [{'half': 0.0}, {'half': 0.5}, {'half': 1.0}]
        """
        batch_rows = check_batch_rows(batch_size, num_gpus)
        check_flag("zero_copy_batch", zero_copy_batch)
        call = FunctionCall(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        workers = Workers(compute, concurrency, num_cpus, num_gpus, memory, ray_remote_args)
        return self._then(
            transforms.MapBatches,
            call,
            workers,
            batch_rows=batch_rows,
            batch_size=batch_rows,
            batch_format=check_batch_format(batch_format),
            zero_copy_batch=zero_copy_batch,
            keeps_rows=not udf_modifying_row_count,
        )

    def flat_map(
        self,
        fn: Callable[..., Any],
        *,
        compute: ComputeStrategy | None = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset:
        """Calls `fn` with each row; it returns a list of rows, or yields rows.

        Args:
            fn: Takes a row as a dict, and returns any number of them.
            compute: For this and all further arguments see `Dataset`.
            fn_args: See `Dataset`.
            fn_kwargs: See `Dataset`.
            fn_constructor_args: See `Dataset`.
            fn_constructor_kwargs: See `Dataset`.
            num_cpus: See `Dataset`.
            num_gpus: See `Dataset`.
            memory: See `Dataset`.
            concurrency: See `Dataset`.
            **ray_remote_args: See `Dataset`.

        Example:
            >>> ms.range(3).flat_map(lambda row: [row] * row["id"]).take_all()
            [{'id': 1}, {'id': 2}, {'id': 2}]
        """
        call = FunctionCall(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        workers = Workers(compute, concurrency, num_cpus, num_gpus, memory, ray_remote_args)
        return self._then(transforms.FlatMap, call, workers, changes_rows=True)

    def filter(
        self,
        fn: Callable[..., Any],
        *,
        compute: ComputeStrategy | None = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset:
        """Keeps the rows for which `fn` returns true.

        Args:
            fn: Takes a row as a dict, and returns whether it stays.
            compute: For this and all further arguments see `Dataset`.
            fn_args: See `Dataset`.
            fn_kwargs: See `Dataset`.
            fn_constructor_args: See `Dataset`.
            fn_constructor_kwargs: See `Dataset`.
            num_cpus: See `Dataset`.
            num_gpus: See `Dataset`.
            memory: See `Dataset`.
            concurrency: See `Dataset`.
            **ray_remote_args: See `Dataset`.

        Example:
            >>> ms.range(4).filter(lambda row: row["id"] % 2).take_all()
            [{'id': 1}, {'id': 3}]
        """
        call = FunctionCall(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        workers = Workers(compute, concurrency, num_cpus, num_gpus, memory, ray_remote_args)
        return self._then(transforms.FilterRows, call, workers, changes_rows=True)

    def select_columns(
        self, cols: str | Sequence[str], *, concurrency: int | None = None, **resources: Any
    ) -> Dataset:
        """Keeps some columns, in the order given. Files are then read without the others.

        Args:
            cols: Their names. With none, the rows stay, without columns.
            concurrency: Tasks at a time; default as many as there is room for.
            **resources: `num_cpus` and the like, as in `Dataset`.

        Raises:
            ArgumentError: A name comes twice.
            SchemaError: A column does not exist; at the call, if the columns are known then.
        """
        wanted = check_columns("cols", cols)
        return self._with_columns(
            transforms.SelectColumns(tuple(wanted)),
            partial(column_operators.select_schema, columns=wanted),
            concurrency,
            resources,
        )

    def drop_columns(
        self, cols: str | Sequence[str], *, concurrency: int | None = None, **resources: Any
    ) -> Dataset:
        """Leaves out some columns. The rows stay, even if no column does.

        Args:
            cols: Their names.
            concurrency: Tasks at a time; default as many as there is room for.
            **resources: `num_cpus` and the like, as in `Dataset`.

        Raises:
            ArgumentError: A name comes twice.
            SchemaError: A column does not exist; at the call, if the columns are known then.
        """
        drop = column_operators.DropColumns(tuple(check_columns("cols", cols)))
        return self._with_columns(drop, drop.schema, concurrency, resources)

    def rename_columns(
        self,
        names: Mapping[str, str] | Sequence[str],
        *,
        concurrency: int | None = None,
        **resources: Any,
    ) -> Dataset:
        """Gives columns new names.

        Args:
            names: The new names by the old ones, or all new names in order.
            concurrency: Tasks at a time; default as many as there is room for.
            **resources: `num_cpus` and the like, as in `Dataset`.

        Raises:
            ArgumentError: Two columns would have one name.
            SchemaError: A column does not exist; both at the call, if the columns are known then.
        """
        rename = column_operators.rename(names)
        return self._with_columns(rename, rename.schema, concurrency, resources)

    def add_column(
        self,
        col: str,
        fn: Callable[[Any], Any],
        *,
        batch_format: str | None = "pandas",
        concurrency: int | None = None,
        **resources: Any,
    ) -> Dataset:
        """Adds a column, or replaces the one of that name.

        Args:
            col: Its name.
            fn: Takes a batch and returns the column's values: a series or array of as many rows.
            batch_format: As in `map_batches`.
            concurrency: Tasks at a time; default as many as there is room for.
            **resources: `num_cpus` and the like, as in `Dataset`.

        Raises:
            ArgumentError: `col` is no name, or `fn` no function.
        """
        check_columns("col", [col])
        if check_function(fn):
            raise ArgumentError(f"fn={fn!r} must be a function, not a class")
        return self.map_batches(
            column_operators.AddColumn(col, fn),
            batch_format=batch_format,
            zero_copy_batch=False,
            concurrency=concurrency,
            udf_modifying_row_count=False,
            **resources,
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
        check_rows("limit", limit)
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

    # Consumption ----------------------------------------------------------------------------

    def iter_rows(self) -> Iterable[Row]:
        """Runs the dataset and gives its rows, one after the other, as they come.

        Returns:
            An iterable; each iteration is a run of its own, and ends when it is left.
        """
        return _Again(self, _iter_rows)

    def iter_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        batch_format: str | None = "default",
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        zero_copy_batch: bool = True,
    ) -> Iterable[Any]:
        """Runs the dataset and gives its rows in batches.

        Args:
            prefetch_batches: Batches that are made ready ahead of the consumer, on a thread. The
                order never depends on it.
            batch_size: Rows per batch; only the last has fewer. `None`: whole blocks.
            batch_format: As in `map_batches`.
            drop_last: Whether a last batch that is not full is left out.
            local_shuffle_buffer_size: Rows from which batches are drawn at random; `None`: in
                order.
            local_shuffle_seed: Makes that order repeatable.
            zero_copy_batch: As in `map_batches`.

        Returns:
            An iterable; each iteration is a run of its own, and ends when it is left.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        check_batch_size(batch_size)
        check_flag("zero_copy_batch", zero_copy_batch)
        check_flag("drop_last", drop_last)
        if local_shuffle_seed is not None:
            check_rows("local_shuffle_seed", local_shuffle_seed)
        check_rows("prefetch_batches", prefetch_batches)
        check_batch_size(local_shuffle_buffer_size, "local_shuffle_buffer_size")
        batches = partial(
            _iter_batches,
            batch_size=batch_size,
            batch_format=check_batch_format(batch_format),
            drop_last=drop_last,
            prefetch_batches=prefetch_batches,
            local_shuffle_buffer_size=local_shuffle_buffer_size,
            local_shuffle_seed=local_shuffle_seed,
            zero_copy_batch=zero_copy_batch,
        )
        return _Again(self, batches)

    def take(self, limit: int = 20) -> list[Row]:
        """The first rows. The run stops as soon as it has them.

        Args:
            limit: How many, at most.

        Raises:
            ArgumentError: `limit` is negative.
        """
        check_rows("limit", limit)
        if limit == 0:
            return []
        return list(rows.iter_rows(consume.first_rows(self._execute(), limit)))

    def take_all(self, limit: int | None = None) -> list[Row]:
        """All rows.

        Args:
            limit: More rows than this are an error.

        Raises:
            ArgumentError: `limit` is negative, or there are more rows.
        """
        if limit is not None:
            check_rows("limit", limit)
        table = consume.first_rows(self._execute(), None if limit is None else limit + 1)
        if limit is not None and table.num_rows > limit:
            raise ArgumentError(f"the dataset has more rows than limit={limit}")
        return list(rows.iter_rows(table))

    def take_batch(self, batch_size: int = 20, *, batch_format: str | None = "default") -> Any:
        """The first rows as one batch, as `map_batches` would pass them.

        Args:
            batch_size: How many rows, at most.
            batch_format: As in `map_batches`.

        Raises:
            ArgumentError: An argument makes no sense, or there are no rows.
        """
        check_batch_size(batch_size, optional=False)
        format_name = check_batch_format(batch_format)
        table = consume.first_rows(self._execute(), batch_size)
        if not table.num_rows:
            raise ArgumentError("the dataset is empty: there are no rows for a batch")
        return to_batch(table, format_name)

    def show(self, limit: int = 20) -> None:
        """Prints the first rows.

        Args:
            limit: How many, at most.
        """
        for row in self.take(limit):
            print(row)  # noqa: T201 This is what it is for.

    def count(self) -> int:
        """The number of rows: from what is known of the sources if that says it, else by running.

        Nothing runs, and so no function can raise, if the rows of all sources are known and all
        operators keep their number: `map`, those on columns, `limit`, `union`, `zip`, and
        `map_batches` with `udf_modifying_row_count=False`.
        """
        known = self._plan.rows()
        return consume.count_rows(self._execute()) if known is None else known

    def schema(self, fetch_if_missing: bool = True) -> Schema | None:
        """The columns and their types.

        What the sources do not tell is found by running until the first block that has rows. It
        does not tell the shape of tensors in blocks after it, so that a shape is shown only if
        there is no other block.

        Args:
            fetch_if_missing: Whether to run if need be.

        Returns:
            The schema; `None` if it is not known and must not be fetched.
        """
        check_flag("fetch_if_missing", fetch_if_missing)
        if self._schema is None:
            self._schema = self._plan.schema()
        if self._schema is None and fetch_if_missing:
            self._schema = consume.first_schema(self._execute())
        return None if self._schema is None else Schema(self._schema)

    def columns(self, fetch_if_missing: bool = True) -> list[str] | None:
        """The names of the columns.

        Args:
            fetch_if_missing: Whether to run if need be.
        """
        schema = self.schema(fetch_if_missing)
        return None if schema is None else schema.names

    def materialize(self) -> MaterializedDataset:
        """Runs the dataset and keeps its blocks where they are, for use in further datasets."""
        execution = self._execute()
        made = MaterializedDataset(keep_blocks(execution, self._plan.schema()), self._context)
        made._watch = execution.watch
        return made

    def write_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        partition_cols: Sequence[str] | None = None,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: Mapping[str, Any] | None = None,
        filename_provider: Any = None,
        arrow_parquet_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        min_rows_per_file: int | None = None,
        max_rows_per_file: int | None = None,
        min_bytes_per_file: int | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
        mode: str = "append",
        **arrow_parquet_args: Any,
    ) -> None:
        """Runs the dataset and writes its rows as Parquet files into a folder.

        Files appear when all of them are written: a run that fails leaves nothing behind, and what
        was there before is still there.

        Args:
            path: The folder. A relative one is that of the caller.
            partition_cols: Columns whose values become folders (`year=2024/`), not columns. The
                files note their types, so that `read_parquet` gives them back.
            filesystem: From `pyarrow.fs` or fsspec; by default the path tells.
            try_create_dir: Whether the folder is made if it does not exist.
            arrow_open_stream_args: Passed to `open_output_stream` of the file system.
            filename_provider: Its `get_filename_for_task(run_id, index)` names the files.
            arrow_parquet_args_fn: Gives further `arrow_parquet_args`, called in the workers.
            min_rows_per_file: Small blocks are bundled until a file has as many rows, also with
                `partition_cols`; the last file, of each folder, may have fewer.
            max_rows_per_file: Rows that a file has at most.
            min_bytes_per_file: Files are put together until they have as many bytes; the last file,
                of each folder, may have fewer. Unless this, `min_rows_per_file` or
                `override_num_blocks` of the source is given, files below 1 MiB are put together
                until they have 16 MiB, if they have at most 200 columns.
            ray_remote_args: `num_cpus`, `resources` and the like, as in `Dataset`.
            concurrency: Tasks at a time; default as many as there is room for.
            mode: `"append"` adds files, `"overwrite"` replaces what is there, `"ignore"` writes
                nothing if there is data, `"error"` raises then.
            **arrow_parquet_args: For `pyarrow.parquet.ParquetWriter`, and `row_group_size`.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: A partition column does not exist, or a column has types that no common
                type holds: all files get one schema, so that they are one dataset for any reader.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.parquet_sink import plan_write_parquet

        check_flag("try_create_dir", try_create_dir)
        check_named("arrow_open_stream_args", arrow_open_stream_args)
        transform, commit = plan_write_parquet(
            path,
            partition_cols=partition_cols,
            filesystem=filesystem,
            try_create_dir=try_create_dir,
            arrow_open_stream_args=arrow_open_stream_args,
            filename_provider=filename_provider,
            arrow_parquet_args_fn=arrow_parquet_args_fn,
            min_rows_per_file=min_rows_per_file,
            max_rows_per_file=max_rows_per_file,
            min_bytes_per_file=min_bytes_per_file,
            mode=mode,
            is_divided=any(read.is_divided for read in self._plan.reads()),
            **arrow_parquet_args,
        )
        shape = shape_of_read(concurrency, ray_remote_args or {})
        schema = self.schema(fetch_if_missing=False)
        # Without any rows, there may be no columns.
        if schema is not None and schema.names:
            transform.check(schema.base_schema)
        operator = Map(
            transform,
            shape,
            batch_rows=min_rows_per_file,
            writes=True,
            is_of_one_process=transform.is_of_one_process,
        )
        plan = self._plan.then(operator)
        write(
            lambda: self._execute(plan),
            lambda source: Execution(LogicalPlan(Read(source, shape)), self._context),
            transform,
            commit,
            self._schema,
        )

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
        return [file for read in self._plan.reads() for file in read.source.files]

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
        call: FunctionCall,
        workers: Workers,
        *,
        batch_rows: int | None = None,
        changes_rows: bool = False,
        **options: Any,
    ) -> Dataset:
        shape = workers.shape(call)
        made = transform(call.fn, **call.arguments(), **options)
        operator = Map(made, shape, batch_rows=batch_rows, changes_rows=changes_rows)
        return Dataset(self._plan.then(operator), self._context)

    def _joined(self, kind: type[Union | Zip], other: Sequence[Dataset]) -> Dataset:
        for dataset in other:
            if not isinstance(dataset, Dataset):
                raise ArgumentError(f"other={dataset!r} must be a Dataset")
        if not other:
            return Dataset(self._plan, self._context)
        plan = joined(kind, [self._plan, *(dataset._plan for dataset in other)])
        plan.schema()  # Raises for types that do not fit, if the columns are known.
        return Dataset(plan, self._context)

    def _with_columns(
        self,
        transform: transforms.Transform,
        schema_of: Callable[[pa.Schema], pa.Schema],
        concurrency: int | None,
        resources: Mapping[str, Any],
    ) -> Dataset:
        operator = Map(transform, shape_of_read(concurrency, resources), columns=schema_of)
        plan = self._plan.then(operator)
        plan.schema()  # Raises for unknown columns, if the columns are known.
        return Dataset(plan, self._context)

    def _execute(self, plan: LogicalPlan | None = None) -> Execution:
        execution = Execution(plan or self._plan, self._context)
        self._watch = execution.watch
        return execution


class MaterializedDataset(Dataset):
    """A dataset whose blocks exist already. They are kept as long as it is, or one made of it."""

    def num_blocks(self) -> int:
        """The number of blocks."""
        return sum(len(read.source.units) for read in self._plan.reads())


def _iter_rows(run: Execution) -> Iterator[Row]:
    return feed.iter_rows(run.sized_tables(), stop=run.stop)


def _iter_batches(run: Execution, **options: Any) -> Iterator[Any]:
    return feed.iter_batches(run.tables(), stop=run.stop, **options)


class _Again(Iterable[Any]):
    """Runs a dataset anew each time it is iterated over."""

    def __init__(self, dataset: Dataset, iterate: Callable[[Execution], Iterator[Any]]) -> None:
        self._dataset = dataset
        self._iterate = iterate

    def __iter__(self) -> Iterator[Any]:
        return self._iterate(self._dataset._execute())
