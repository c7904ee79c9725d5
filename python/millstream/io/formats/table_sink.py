"""Writing tables that have a log or a catalog of their own: Delta Lake and Iceberg.

Owns the order of things that both have: files are put beside those of the table, where no reader
sees them, then one step makes all of them count, and if that fails, they are removed. Must not know
how a table is told of its files.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import WriteError
from millstream.io.commit import FolderCommit, namer, unpacked_schema
from millstream.io.formats.parquet.writer import ParquetFormat
from millstream.io.formats.table_types import StoreAs, require_known_types, require_one_note
from millstream.io.partitioning import Partitioning, from_text
from millstream.io.rewrites import Rewrite
from millstream.io.sink import WriteFiles, plan_write_files
from millstream.io.sink_options import SinkOptions


@dataclass(frozen=True)
class TableWrite:
    """What a write into a table needs.

    Args:
        types: Gives blocks the types of the table.
        files: Writes them.
        commit: The driver's side of it.
        options: Where files go.
    """

    types: StoreAs
    files: WriteTable
    commit: TableCommit
    options: SinkOptions


def plan_table_files(
    types: StoreAs,
    commit: TableCommit,
    filesystem: pa_fs.FileSystem,
    partitions: Sequence[str],
    *,
    is_divided: bool,
) -> TableWrite:
    """Plans to write the files of a table.

    Args:
        types: Gives blocks the types of the table.
        commit: Makes the files count.
        filesystem: Where they are written.
        partitions: Columns whose values become folders.
        is_divided: Whether the user has said into how many blocks the rows are divided.
    """
    options = SinkOptions(partition_cols=list(partitions), filesystem=filesystem)
    format = ParquetFormat(name=types.types.kind)
    planned, _ = plan_write_files(commit.target, options, format, is_divided=is_divided)
    destination = replace(planned.destination, target=commit.target, staging=commit.staging)
    files = WriteTable(destination, planned.partition_cols, planned.sizes)
    return TableWrite(types, files, commit, options)


@dataclass(frozen=True)
class WriteTable(WriteFiles):
    """As `WriteFiles`, for blocks that have the types of a table."""

    def rewrites(self, reports: Sequence[pa.Table]) -> list[Rewrite]:
        """Finds which of the files that were reported must be written again.

        Raises:
            SchemaError: Columns of the files do not go together.
        """
        require_one_note(schemas_of(reports))
        return super().rewrites(reports)


@dataclass(frozen=True)
class TableFile:
    """A file that is in its place and does not count yet.

    Args:
        path: Where it is, on the file system.
        name: Where it is in the folder of the table's files.
        rows: How many it has.
        nbytes: Its size.
        values: The values of the columns that its folder tells.
    """

    path: str
    name: str
    rows: int
    nbytes: int
    values: Mapping[str, pa.Scalar]


class TableCommit(FolderCommit):
    """Makes the files of one run a part of a table.

    Args:
        kind: What people call such tables.
        filesystem: Where the files are.
        target: The folder of the table's files.
    """

    def __init__(self, kind: str, filesystem: pa_fs.FileSystem, target: str) -> None:
        super().__init__(
            filesystem,
            target,
            name_file=namer(None, "parquet"),
            write_empty=lambda path, schema: None,
        )
        self.kind = kind

    @abstractmethod
    def publish(self, schema: pa.Schema | None, files: Sequence[TableFile]) -> None:
        """Lets files count, in one step.

        Args:
            schema: The columns of all rows; `None` if there are neither rows nor columns.
            files: The files.

        Raises:
            WriteError: It did not work.
        """

    @abstractmethod
    def is_published(self) -> bool:
        """Looks whether the files of this run count, although an error came back."""

    def commit(self, tables: Iterable[pa.Table], schema: pa.Schema | None = None) -> list[str]:
        """Puts the files of the run in place, and lets them count.

        Args:
            tables: What the writing tasks yielded (`STAGED_SCHEMA`).
            schema: The columns of the dataset, if known, for a run that wrote no rows at all.

        Returns:
            The paths of the files.

        Raises:
            SchemaError: The type of a column is not known.
            WriteError: It did not work; the table is as it was before.
        """
        reports = list(tables)
        staged = [row for report in reports for row in report.to_pylist() if row["path"]]
        try:
            whole = self._whole(reports, schema)
        except BaseException:
            self.abort()
            raise
        if staged:
            paths = super().commit(reports)
        else:
            # A file without rows would only be one more to open.
            self.abort()
            paths = []
        files = [self._file(path, row) for path, row in zip(paths, staged, strict=True)]
        try:
            self.publish(whole, files)
        except BaseException as error:
            if not self._counts_nevertheless(str(error)):
                self._remove(paths)
                raise
        return paths

    def _whole(self, reports: Sequence[pa.Table], schema: pa.Schema | None) -> pa.Schema | None:
        """Returns the columns of all rows, in the order of the dataset."""
        found = block.unify_schemas(schemas_of(reports))
        order = [] if schema is None else block.visible_schema(schema).names
        if not found.names:
            found = pa.schema([]) if schema is None else block.visible_schema(schema)
        names = [name for name in order if name in found.names]
        names += [name for name in found.names if name not in names]
        whole = pa.schema([found.field(name) for name in names])
        self.check(whole)
        return whole if whole.names else None

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns of which nobody knows the type.

        Raises:
            SchemaError: Names the column.
        """
        require_known_types(schema, self.kind)

    def _file(self, path: str, row: Mapping[str, Any]) -> TableFile:
        schema = unpacked_schema(row["schema"])
        texts = Partitioning("hive").values(f"{row['folder']}/file") if row["folder"] else {}
        values = {name: from_text(text, schema.field(name).type) for name, text in texts.items()}
        name = path[len(self.target) + 1 :] if self.target else path
        return TableFile(path, name, row["rows"], row["bytes"], values)

    def _counts_nevertheless(self, problem: str) -> bool:
        """Tells whether the files of the run count, as if there had been no error.

        Raises:
            WriteError: Nobody can tell, so that they must stay.
        """
        try:
            return self.is_published()
        except Exception as error:
            raise WriteError(
                f"it is not known whether the rows are in the table now: {problem}; and then "
                f"{error}. The files of this run stay; their names begin with {self.run_id}",
                file=self.target,
            ) from error

    def _remove(self, paths: Sequence[str]) -> None:
        folders = {path.rpartition("/")[0] for path in paths} - {self.target}
        for path in paths:
            try:
                self._filesystem.delete_file(path)
            except (OSError, pa.ArrowException) as error:
                _log.warning("the file %s is left over: %s", path, error)
        while folders:
            for folder in folders:
                with suppress(OSError, pa.ArrowException):
                    self._remove_if_empty(folder)
            above = {folder.rpartition("/")[0] for folder in folders}
            folders = {folder for folder in above if len(folder) > len(self.target)}
        self._remove_made()


def schemas_of(reports: Iterable[pa.Table]) -> list[pa.Schema]:
    """Returns the columns of the files that were reported."""
    packed = {row for report in reports for row in report.column("schema").to_pylist()}
    return [unpacked_schema(each) for each in sorted(packed)]


_log = logging.getLogger(__name__)
