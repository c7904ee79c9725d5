"""How a dataset is run to be written: what all its writers have in common.

Owns the order of things on the way from a dataset to its files. Must not know any format.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from millstream.blocks.transforms import SelectColumns
from millstream.execution.execution import Execution
from millstream.execution.write import write
from millstream.pipeline import Pipeline
from millstream.plan.arguments import SinkTasks
from millstream.plan.columns import select_schema
from millstream.plan.logical import LogicalPlan, Map, Read

if TYPE_CHECKING:
    from millstream.io.commit import FolderCommit
    from millstream.io.file_format import FileFormat
    from millstream.io.formats.table_sink import TableWrite
    from millstream.io.row_file_options import RowFileOptions
    from millstream.io.row_files import RowFormat, WriteRowFiles
    from millstream.io.sink import WriteFiles
    from millstream.io.sink_options import SinkOptions


class FileWriting(Pipeline):
    """The part of a dataset that runs it and puts files in place."""

    def _is_divided(self) -> bool:
        """Whether the user has said into how many blocks the rows are divided."""
        return any(read.is_divided for read in self._plan.reads())

    def _write_as(
        self,
        format: FileFormat,
        path: str | os.PathLike[str],
        options: SinkOptions,
        tasks: SinkTasks,
        first: Map | None = None,
    ) -> None:
        from millstream.io.sink import plan_write_files

        planned = plan_write_files(path, options, format, is_divided=self._is_divided())
        self._write_files(*planned, options, tasks, first)

    def _write_files(
        self,
        transform: WriteFiles | WriteRowFiles,
        commit: FolderCommit,
        options: SinkOptions | RowFileOptions,
        tasks: SinkTasks,
        first: Map | None = None,
    ) -> None:
        """Runs the dataset, with one operator more perhaps, and puts its files in place."""
        before = self._plan if first is None else self._plan.then(first)
        schema = (self._schema if first is None else None) or before.schema()
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
        plan = before.then(operator)
        write(
            lambda: self._execute(plan),
            lambda source: Execution(LogicalPlan(Read(source, shape)), self._context),
            transform,
            commit,
            schema,
        )

    def _write_rows(
        self,
        format: RowFormat,
        path: str | os.PathLike[str],
        options: RowFileOptions,
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes a file for each row."""
        from millstream.io.row_files import columns_of, plan_write_rows

        names = list(columns_of(format, options))
        columns = partial(select_schema, columns=names)
        first = Map(SelectColumns(names), tasks.shape(), columns=columns)
        self._write_files(*plan_write_rows(path, options, format), options, tasks, first)

    def _write_table(self, planned: TableWrite, tasks: SinkTasks) -> None:
        """Runs the dataset, with blocks in the types of a table, and lets its files count."""
        types = planned.types
        first = Map(types, tasks.shape(), columns=types.schema)
        self._write_files(planned.files, planned.commit, planned.options, tasks, first)
