"""Where the rows of a dataset go: files.

Owns the public names of the sinks and their arguments. The formats themselves are in
`millstream.io`, which is imported when something is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from millstream.execution.execution import Execution
from millstream.execution.write import write
from millstream.io.sink_options import SinkOptions
from millstream.options import takes
from millstream.pipeline import Pipeline
from millstream.plan.arguments import SinkTasks
from millstream.plan.logical import LogicalPlan, Map, Read


class Writing(Pipeline):
    """The part of a dataset that runs it and writes what comes out."""

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        arrow_parquet_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        options: SinkOptions,
        tasks: SinkTasks,
        **arrow_parquet_args: Any,
    ) -> None:
        """Runs the dataset and writes its rows as Parquet files into a folder.

        Files appear when all of them are written: a run that fails leaves nothing behind, and what
        was there before is still there.

        Args:
            path: The folder. A relative one is that of the caller.
            arrow_parquet_args_fn: Gives further `arrow_parquet_args`, called in the workers.
            options: What all writers of files take.
            tasks: How they run.
            **arrow_parquet_args: For `pyarrow.parquet.ParquetWriter`, and `row_group_size`.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: A partition column does not exist, or a column has types that no common
                type holds: all files get one schema, so that they are one dataset for any reader.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.parquet.writer import plan_write_parquet

        is_divided = any(read.is_divided for read in self._plan.reads())
        transform, commit = plan_write_parquet(
            path,
            options,
            arrow_parquet_args_fn=arrow_parquet_args_fn,
            is_divided=is_divided,
            **arrow_parquet_args,
        )
        schema = self._schema or self._plan.schema()
        # Without any rows, there may be no columns.
        if schema is not None and schema.names:
            transform.check(schema, is_whole=True)
        shape = tasks.shape()
        operator = Map(
            transform,
            shape,
            batch_rows=options.min_rows_per_file,
            writes=True,
            is_of_one_process=transform.is_of_one_process,
        )
        plan = self._plan.then(operator)
        write(
            lambda: self._execute(plan),
            lambda source: Execution(LogicalPlan(Read(source, shape)), self._context),
            transform,
            commit,
            schema,
        )
