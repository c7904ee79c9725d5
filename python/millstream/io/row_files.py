"""Writing a file for each row: pictures, sounds, videos.

Owns what these have in common: the names of the files, and how tasks stage them.
`millstream.io.commit` owns when they become visible. Knows no format.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block, tensor
from millstream.blocks.common_type import is_text
from millstream.errors import SchemaError, WriteError
from millstream.io.addresses import Path, is_of_one_process, resolve
from millstream.io.commit import STAGED_SCHEMA, FolderCommit, namer, patiently, writing
from millstream.io.row_file_options import RowFileOptions


class RowFormat(Protocol):
    """A format of files that hold a row each; travels to the workers."""

    @property
    def name(self) -> str:
        """What people call it, and plans: `"Images"`."""

    @property
    def endings(self) -> tuple[str, ...]:
        """How the names of files may end; the first is added to names that do not."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What it takes of a row; the first is what a file holds, for messages."""

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that the format cannot hold.

        Raises:
            SchemaError: It names the column and its type.
        """

    def encode(self, values: Sequence[Any]) -> Any:
        """Returns the bytes of a file.

        Args:
            values: Those of the `columns`, tensors as NumPy's arrays; none is null.

        Raises:
            ValueError: The format cannot hold it; says what to do.
        """


def columns_of(format: RowFormat, options: RowFileOptions) -> tuple[str, ...]:
    """Returns the columns that a write takes, each once."""
    names = [*format.columns, options.filename_column]
    return tuple(dict.fromkeys(name for name in names if name is not None))


def plan_write_rows(
    path: Path, options: RowFileOptions, format: RowFormat
) -> tuple[WriteRowFiles, RowFilesCommit]:
    """Plans to write a file for each row into a folder.

    Args:
        path: The folder.
        options: What all such writers take.
        format: What is in the files.

    Returns:
        What the tasks do, and the driver's side of it.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    filesystem, (target,) = resolve([path], options.filesystem)
    commit = RowFilesCommit(filesystem, target, options, format)
    transform = WriteRowFiles(
        filesystem,
        target,
        commit.staging,
        format,
        dict(options.arrow_open_stream_args or {}),
        options.filename_column,
    )
    return transform, commit


@dataclass(frozen=True)
class WriteRowFiles:
    """Writes each row of a task to a staged file, and yields a row for each (`ROWS_SCHEMA`).

    Args:
        filesystem: Where to.
        target: The folder, for messages.
        staging: The folder that tasks write to.
        format: What is in the files.
        stream_args: For `open_output_stream`.
        filename_column: The column that names the files, if there is one.
    """

    filesystem: pa_fs.FileSystem
    target: str
    staging: str
    format: RowFormat
    stream_args: Mapping[str, Any]
    filename_column: str | None = None

    @property
    def name(self) -> str:
        """What plans and reports call it: `"WriteImages"`."""
        return f"Write{self.format.name}"

    @property
    def is_of_one_process(self) -> bool:
        """Whether only this process will see what is written."""
        return is_of_one_process(self.filesystem)

    def check(self, schema: pa.Schema, *, is_whole: bool = False) -> None:
        """Refuses columns that cannot be written so.

        Args:
            schema: Those of a block, or of the whole dataset.
            is_whole: Which of them; it makes no difference here.

        Raises:
            SchemaError: A column does not exist, or the format cannot hold it.
        """
        named = () if self.filename_column is None else (self.filename_column,)
        block.require_columns(schema, (*self.format.columns, *named))
        for name in named:
            if not is_text(schema.field(name).type):
                type = schema.field(name).type
                raise SchemaError(f"column {name!r} is {type}, and the names of files are text")
        self.format.check(schema)

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Makes it ready."""
        return self._write

    def rewrites(self, reports: Sequence[pa.Table]) -> list[Any]:
        """Finds which files must be written again: none."""
        return []

    def _write(self, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        rows = 0
        for table in blocks:
            if not table.num_rows:
                continue
            self.check(table.schema)
            plain = block.plain(table)
            for start in range(0, plain.num_rows, _ROWS_AT_ONCE):
                part = plain.slice(start, _ROWS_AT_ONCE)
                yield self._stage(part, rows)
                rows += part.num_rows

    def _stage(self, table: pa.Table, first: int) -> pa.Table:
        """Writes each row of a table to a file.

        Args:
            table: The rows.
            first: The number of the first one among those of the task, for messages.
        """
        columns = [_values(table.column(name)) for name in self.format.columns]
        names: list[str | None] = [None] * table.num_rows
        if self.filename_column is not None:
            names = table.column(self.filename_column).to_pylist()
        staged = []
        for index, (given, *values) in enumerate(zip(names, *columns, strict=True)):
            place = f"in row {first + index} of its task (counted from 0)"
            name = None
            if self.filename_column is not None:
                name = _checked_name(given, self.filename_column, self.format.endings, place)
                place += f", for the file {name!r}"
            staged.append({**self._write_file(values, place), "name": name})
        return pa.Table.from_pylist(staged, schema=ROWS_SCHEMA)

    def _write_file(self, values: Sequence[Any], place: str) -> dict[str, Any]:
        for name, value in zip(self.format.columns, values, strict=True):
            if value is None:
                raise SchemaError(f"column {name!r} is null {place}: drop such rows, or fill them")
        try:
            data = self.format.encode(values)
        except ValueError as error:
            raise SchemaError(f"column {self.format.columns[0]!r} {place}: {error}") from error
        path = f"{self.staging}/{uuid.uuid4().hex}"
        opened = partial(self.filesystem.open_output_stream, path, **self.stream_args)
        with writing(self.target, "a file cannot be written"), patiently(opened) as stream:
            stream.write(data)
        return {"path": path, "folder": "", "rows": 1, "bytes": memoryview(data).nbytes}


class RowFilesCommit(FolderCommit):
    """Makes the files of one run visible in a folder, by the names that their rows gave them.

    Args:
        filesystem: Where the target is.
        target: The folder.
        options: What happens to what is there, and what names the files.
        format: What is in the files.
    """

    def __init__(
        self,
        filesystem: pa_fs.FileSystem,
        target: str,
        options: RowFileOptions,
        format: RowFormat,
    ) -> None:
        super().__init__(
            filesystem,
            target,
            mode=options.mode,
            try_create_dir=options.try_create_dir,
            name_file=self._name,
            write_empty=_write_none,
        )
        self._by_number = namer(options.filename_provider, format.endings[0])
        self._column = options.filename_column
        self._given: list[str | None] = []

    def commit(self, tables: Iterable[pa.Table], schema: pa.Schema | None = None) -> list[str]:
        """Puts the files of the run in place, in the order of the rows of `tables`.

        Args:
            tables: What the writing tasks yielded (`ROWS_SCHEMA`).
            schema: The columns of the dataset; without rows there are no files.

        Returns:
            The paths of the files.

        Raises:
            WriteError: It did not work; what was there before is still there, and nothing else.
        """
        reports = list(tables)
        self._given = [name for table in reports for name in table.column("name").to_pylist()]
        try:
            self._require_once()
        except WriteError:
            self.abort()
            raise
        return super().commit(reports)

    def _require_once(self) -> None:
        seen: set[str] = set()
        for name in self._given:
            if name is not None and name in seen:
                raise WriteError(
                    f"column {self._column!r} has {name!r} twice, and a file holds one row: make "
                    "the names different",
                    file=self.target,
                )
            if name is not None:
                seen.add(name)

    def _name(self, run_id: str, index: int) -> str:
        return self._given[index] or self._by_number(run_id, index)


def _checked_name(name: str | None, column: str, endings: tuple[str, ...], place: str) -> str:
    """Returns the name of a file with its ending.

    Raises:
        SchemaError: It would lead out of the folder, or readers would leave the file out.
    """
    parts = (name or "").split("/")
    problem = None
    if not name:
        problem = "no name"
    elif name.startswith("/"):
        problem = "an address of its own, not a name in the folder that is written"
    elif "\0" in name or any(part in ("", ".", "..") for part in parts):
        problem = "no plain name"
    elif any(part.startswith((".", "_")) for part in parts):
        problem = "a name with a part that begins with '.' or '_', which readers leave out"
    if name is None or problem is not None:
        raise SchemaError(f"column {column!r} has {name!r} {place}: {problem}")
    is_whole = name.lower().endswith(tuple(f".{ending}" for ending in endings))
    return name if is_whole else f"{name}.{endings[0]}"


def _values(column: pa.ChunkedArray) -> Any:
    """The values of a column as Python's own, tensors as arrays; None where null."""
    return tensor.to_numpy(column) if tensor.is_tensor(column.type) else column.to_pylist()


def _write_none(path: str, schema: pa.Schema) -> None:
    """Without rows there are no files."""


#: One row for each staged file. `name` is where it goes, if a column says so.
ROWS_SCHEMA = STAGED_SCHEMA.append(pa.field("name", pa.string()))
# So many are told of at once; more would only hold back what is known of them.
_ROWS_AT_ONCE = 64
