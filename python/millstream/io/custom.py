"""Sources and sinks that users write: what they derive from, and how these become units and tasks.

Owns the classes, which have the names and methods of Ray Data's. Knows no format.
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.batch import from_batch
from millstream.errors import ArgumentError, MillstreamError, ReadError, UserCodeError
from millstream.errors.checks import is_sequence, require
from millstream.io.source import Source

#: What a task of a sink returns.
R = TypeVar("R")


@dataclass(frozen=True)
class BlockMetadata:
    """What a read task knows of its rows before it runs. All of it may be unknown.

    Args:
        num_rows: How many there are.
        size_bytes: About how many bytes they take in memory.
        exec_stats: For Ray Data's sake; not looked at.
        input_files: The paths that it reads from.
    """

    num_rows: int | None = None
    size_bytes: int | None = None
    exec_stats: Any = None
    input_files: tuple[str, ...] | None = None


class ReadTask:
    """A part of a source that one worker reads.

    Args:
        read_fn: Yields the rows in tables, `pandas.DataFrame`s or dicts of arrays; called in a
            worker, and again if that is lost: it must give the same rows in the same order.
        metadata: What is known before.
        schema: The columns, if they are known.
    """

    def __init__(
        self,
        read_fn: Callable[[], Iterable[Any]],
        metadata: BlockMetadata | None = None,
        schema: pa.Schema | None = None,
    ) -> None:
        require(callable(read_fn), "read_fn", read_fn, "a function without arguments")
        self.read_fn = read_fn
        self.metadata = metadata if metadata is not None else BlockMetadata()
        self.schema = schema


class Datasource(ABC):
    """A source of your own: derive from it, and pass an object to `read_datasource`."""

    def get_name(self) -> str:
        """What plans and reports call it: the name of the class by default."""
        return type(self).__name__.removesuffix("Datasource") or "Datasource"

    @abstractmethod
    def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
        """Divides the source into tasks, in the order of the rows.

        Args:
            parallelism: How many tasks are wanted; more or fewer will do.
        """


@dataclass(frozen=True)
class TaskContext:
    """Which task of a sink is at work.

    Args:
        op_name: What the plan calls the operator.
    """

    op_name: str


@dataclass(frozen=True)
class WriteResult(Generic[R]):
    """What all tasks of a sink have written.

    Args:
        num_rows: The rows.
        size_bytes: Their bytes in memory.
        write_returns: What `write` returned, in the order of the rows.
    """

    num_rows: int
    size_bytes: int
    write_returns: list[R] = field(default_factory=list)


class Datasink(ABC, Generic[R]):
    """A sink of your own: derive from it, and pass an object to `Dataset.write_datasink`.

    `on_write_start`, `on_write_complete` and `on_write_failed` are called in your program, `write`
    in the workers, once for each task, and again if a worker is lost: what the task before had
    written may be there already. So let tasks stage what they write, and `on_write_complete` make
    it count.
    """

    def get_name(self) -> str:
        """What plans and reports call it: the name of the class by default."""
        return type(self).__name__.removesuffix("Datasink").lstrip("_") or "Datasink"

    @property
    def min_rows_per_write(self) -> int | None:
        """The rows that a call of `write` should get at least; `None`: any number."""
        return None

    def on_write_start(self, schema: pa.Schema | None = None) -> None:
        """Is called before anything runs.

        Args:
            schema: The columns, if they are known.
        """

    @abstractmethod
    def write(self, blocks: Iterable[pa.Table], ctx: TaskContext) -> R:
        """Writes the rows of one task. What it returns is pickled and comes back in `WriteResult`.

        Args:
            blocks: The rows; they stream, and can be gone through once.
            ctx: Which task it is.
        """

    def on_write_complete(self, write_result: WriteResult[R]) -> None:
        """Is called when all tasks have written.

        Args:
            write_result: What they have written.
        """

    def on_write_failed(self, error: Exception) -> None:
        """Is called when the run, or `on_write_complete`, has failed with this error."""


def plan_datasource(datasource: Datasource, blocks: int | None) -> Source:
    """Plans to read a source of the user's.

    Args:
        datasource: The source.
        blocks: How many tasks the user wants; `None`: `PARALLELISM`.

    Raises:
        ArgumentError: It is none, or does not give read tasks.
    """
    require(isinstance(datasource, Datasource), "datasource", datasource, "a Datasource")
    tasks = datasource.get_read_tasks(blocks or PARALLELISM)
    name = datasource.get_name()
    is_right = is_sequence(tasks) and all(isinstance(each, ReadTask) for each in tasks)
    if not is_right:
        raise ArgumentError(
            f"get_read_tasks of {name} must return a list of ReadTask, not {tasks!r}"
        )
    known = [task.metadata.num_rows for task in tasks]
    rows = None if None in known else sum(count or 0 for count in known)
    schemas = [task.schema for task in tasks if task.schema is not None]
    schema = block.unify_schemas(schemas) if schemas and len(schemas) == len(tasks) else None
    files = [path for task in tasks for path in task.metadata.input_files or ()]
    return Source(f"Read{name}", [TaskUnit(name, task) for task in tasks], schema, rows, files)


@dataclass(frozen=True)
class TaskUnit:
    """A read task of the user's.

    Args:
        name: What the source is called.
        task: The task.
    """

    name: str
    task: ReadTask

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""
        return self.task.metadata.input_files or ()

    @property
    def nbytes(self) -> int:
        """About how many bytes its rows take in memory; 0 if unknown."""
        return self.task.metadata.size_bytes or 0

    def read(self) -> Iterator[pa.Table]:
        """Yields the tables that the function of the task gives.

        Raises:
            ReadError: It raised, or gave something else.
        """
        try:
            for batch in self.task.read_fn():
                yield from_batch(batch)
        except (MillstreamError, MemoryError) as error:
            if isinstance(error, UserCodeError):
                raise ReadError(f"a read task of {self.name} failed: {error.message}") from error
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise ReadError(f"a read task of {self.name} raised {told}") from error


@dataclass(frozen=True)
class WriteBlocks:
    """Gives the rows of a task to a sink of the user's, and yields one row of `REPORT_SCHEMA`.

    Args:
        sink: The sink.
    """

    sink: Datasink[Any]

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Write{self.sink.get_name()}"

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Needs nothing to be loaded."""
        return self._write

    def _write(self, blocks: Iterator[pa.Table]) -> Iterator[pa.Table]:
        counted = _Counted(blocks)
        try:
            returned = self.sink.write(counted, TaskContext(self.name))
            for _ in counted:
                raise ValueError("it returned before it had gone through all blocks")
            packed = pickle.dumps(returned)
        except (MillstreamError, MemoryError):
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise UserCodeError(f"write of {self.sink.get_name()} raised {told}") from error
        report = {"rows": counted.rows, "bytes": counted.nbytes, "returned": packed}
        yield pa.Table.from_pylist([report], schema=REPORT_SCHEMA)


class _Counted(Iterator[pa.Table]):
    """Blocks that have rows, counted as they are taken."""

    def __init__(self, blocks: Iterator[pa.Table]) -> None:
        self.rows = 0
        self.nbytes = 0
        self._blocks = blocks

    def __next__(self) -> pa.Table:
        for table in self._blocks:
            if table.num_rows:
                self.rows += table.num_rows
                self.nbytes += block.nbytes(table)
                return table
        raise StopIteration


def result_of(reports: Iterable[pa.Table]) -> WriteResult[Any]:
    """What all tasks have written, of what they reported. They are our own workers."""
    rows = [row for report in reports for row in report.to_pylist()]
    returns = [pickle.loads(row["returned"]) for row in rows]  # noqa: S301 - no data of a file
    return WriteResult(sum(row["rows"] for row in rows), sum(row["bytes"] for row in rows), returns)


#: One row for each task of a sink.
REPORT_SCHEMA = pa.schema([("rows", pa.int64()), ("bytes", pa.int64()), ("returned", pa.binary())])
#: How many tasks a source is asked for, if nobody says how many.
PARALLELISM = 64
