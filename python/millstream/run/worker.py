"""The worker body: runs the fused transforms of one operator over one task's input.

Used by every backend. Owns how input becomes blocks of the target size, how a task is measured,
and how its errors are told. Must not know Ray, threads, scheduling or where blocks are kept.
"""

from __future__ import annotations

import pickle
import resource
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, cast

import pyarrow as pa

from millstream.blocks import beside, block
from millstream.blocks.builder import BlockBuilder
from millstream.blocks.usercode import (
    ForeignError,
    RunEnded,
    internal_error,
    user_error,
    without_our_frames,
)
from millstream.errors import MillstreamError, ReadError, UserCodeError
from millstream.io.source import ReadUnit
from millstream.plan.stage import Stage

if TYPE_CHECKING:
    from millstream.blocks.partition import Partitioner


@dataclass(frozen=True)
class BlockMeta:
    """What travels beside a block.

    Attributes:
        rows: How many it has.
        nbytes: The bytes of what it shows.
        schema: With a task's first block, and whenever it changes; else None.
        is_last: Whether the task's end follows at once. If not, that cannot be known yet.
        partition: That of its rows, if they are dealt out; else zero.
    """

    rows: int
    nbytes: int
    schema: pa.Schema | None
    is_last: bool = False
    partition: int = 0

    def with_schema(self, schema: pa.Schema | None) -> BlockMeta:
        """The same of a block of which no more is known than that it is not the last."""
        return BlockMeta(self.rows, self.nbytes, schema, partition=self.partition)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle takes a schema field by field, which takes long if it has thousands.
        schema = None if self.schema is None else self.schema.serialize().to_pybytes()
        return _read_meta, (self.rows, self.nbytes, schema, self.is_last, self.partition)


def _read_meta(
    rows: int, nbytes: int, schema: bytes | None, is_last: bool, partition: int
) -> BlockMeta:
    known = None if schema is None else pa.ipc.read_schema(pa.py_buffer(schema))
    return BlockMeta(rows, nbytes, known, is_last, partition)


@dataclass(frozen=True)
class TaskEnd:
    """The last item of a task that succeeded.

    Attributes:
        busy_us: Time spent working, without the time that its blocks waited to be taken.
        input_us: Of that, the time spent reading; 0 if the input are blocks.
        heap_peak_bytes: The most memory that this process ever held.
    """

    busy_us: int
    input_us: int
    heap_peak_bytes: int


@dataclass(frozen=True)
class TaskError:
    """The last item of a task that failed in user code or at its input.

    Attributes:
        error: What happened; its cause is the user's exception or a stand-in for it.
    """

    error: MillstreamError


Output = tuple[BlockMeta, pa.Table] | TaskEnd | TaskError


@dataclass(frozen=True)
class Slices:
    """Rows of blocks, for each input of an operator; several inputs are put side by side.

    Args:
        inputs: For each input blocks, each with how many of its rows come before, and how many
            rows; in order. All inputs have equally many rows.
    """

    inputs: Sequence[Sequence[tuple[pa.Table, int, int]]]

    def tables(self) -> Iterator[pa.Table]:
        """The rows of the only input, or of all side by side."""
        cut = [[t.slice(first, rows) for t, first, rows in slices] for slices in self.inputs]
        if len(cut) == 1:
            yield from cut[0]
        else:
            yield beside.put([block.concat(tables) for tables in cut if tables])


def slices_of(
    blocks: Sequence[pa.Table], slices: Sequence[Sequence[tuple[int, int, int]]]
) -> Slices:
    """The parts of a task's blocks, as the scheduler orders them.

    Args:
        blocks: The blocks, in the order of the slices.
        slices: For each input the number of a block, how many of its rows come before, and how many
            rows.
    """
    tables = iter(blocks)
    return Slices([[(next(tables), first, rows) for _, first, rows in each] for each in slices])


Work = Sequence[ReadUnit] | Sequence[pa.Table] | Slices
Dumps = Callable[[object], bytes]
Applied = Sequence[tuple[str, Callable[[Iterator[pa.Table]], Iterator[pa.Table]]]]
"""The opened transforms of a stage, each with its name."""


def open_stage(
    stage: Stage,
    *,
    dumps: Dumps | None = pickle.dumps,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> OpenStage:
    """Loads what a stage needs: classes are constructed here.

    Args:
        stage: What to run.
        dumps: How the backend pickles what it sends. Exceptions that do not survive it are replaced
            by a stand-in. None if errors stay in this process.
        is_cancelled: Whether the backend has cancelled the task that runs on this thread, so that
            an exception may be its own.

    Raises:
        MillstreamError: A constructor raised.
    """
    applied = []
    for transform in stage.transforms:
        try:
            applied.append((transform.name, transform.open()))
        except RunEnded:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is told
            told = _told(error, transform.name, None, None, dumps)
            raise told from told.__cause__
    return OpenStage(stage, applied, dumps, is_cancelled)


class OpenStage:
    """A stage that is loaded; runs any number of tasks, one after the other."""

    def __init__(
        self,
        stage: Stage,
        applied: Applied,
        dumps: Dumps | None,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._stage = stage
        self._applied = applied
        self._dumps = dumps
        self._is_cancelled = is_cancelled

    def close(self) -> list[str]:
        """Lets go of what has been loaded; no task can run after it.

        Returns:
            What user code raised meanwhile, in words: it comes too late to be an error.
        """
        applied, self._applied = self._applied, ()
        raised = []
        for name, apply in applied:
            close = getattr(apply, "close", None)
            try:
                if close is not None:
                    close()
            except RunEnded:
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                raised.append(f"{name}: {user_error(error, 'close()').message}")
        return raised

    def run(
        self, work: Work, rows_skipped: int, context: str, rows_wanted: int | None = None
    ) -> Generator[Output, None, None]:
        """Runs one task.

        Args:
            work: Units to read, blocks, or parts of blocks.
            rows_skipped: How many of the first rows of the output an earlier attempt handed over.
            context: The task attempt and where it runs, in words, for errors.
            rows_wanted: How many rows to make after those, since they were lost; None: all.

        Yields:
            Each block with what is known of it as soon as it is full, then one `TaskEnd` or
            `TaskError`. Errors of user code and input are never raised.
        """
        task = _Task(self._stage, work, context)
        started = time.perf_counter_ns()
        waited = 0
        try:
            for meta, table in task.blocks(self._applied, rows_skipped, rows_wanted):
                handed = time.perf_counter_ns()
                yield meta, table
                waited += time.perf_counter_ns() - handed
                del table
        except (GeneratorExit, RunEnded):
            raise
        except BaseException as error:
            if self._is_cancelled():
                raise
            yield TaskError(_told(error, self._stage.name, task.file, context, self._dumps))
            return
        busy = time.perf_counter_ns() - started - waited
        yield TaskEnd(busy // 1000, task.input_ns // 1000, heap_peak_bytes())


class _Task:
    """One run of a stage."""

    def __init__(self, stage: Stage, work: Work, context: str) -> None:
        self._stage = stage
        self._work = work
        self._context = context
        self.file: str | None = None
        self.input_ns = 0

    def blocks(
        self,
        applied: Applied,
        rows_skipped: int,
        rows_wanted: int | None,
    ) -> Iterator[tuple[BlockMeta, pa.Table]]:
        known: pa.Schema | None = None
        empty: pa.Schema | None = None
        for full, size, is_last, partition in self._full(applied, _Part(rows_skipped, rows_wanted)):
            if full.num_rows == 0:
                empty = full.schema if empty is None or not empty.names else empty
                continue
            changed = known is None or not known.equals(full.schema)
            known = full.schema if changed else known
            told = known if changed else None
            yield BlockMeta(full.num_rows, size, told, is_last, partition), full
        if known is None and empty is not None and rows_skipped == 0:
            yield BlockMeta(0, 0, empty, is_last=True), empty.empty_table()

    def _full(self, applied: Applied, part: _Part) -> Iterator[_Full]:
        stage = self._stage
        pieces = _pieces(self._work, stage.piece_rows)
        streams = (self._stream(piece, applied) for piece in pieces)
        if stage.partitioner is None:
            yield from _full(streams, stage.block_bytes_target, part, len(pieces))
            return
        tables = [table for stream in streams for table in stream]
        yield from _dealt(tables, stage.partitioner, stage.block_bytes_target, part)

    def _stream(self, work: Work, applied: Applied) -> Iterator[pa.Table]:
        stream = self._input(work)
        for name, apply in applied:
            stream = _named(name, apply(stream))
        return stream

    def _input(self, work: Work) -> Iterator[pa.Table]:
        if isinstance(work, Slices):
            yield from work.tables()
        elif _are_units(work):
            for unit in work:
                yield from self._read(unit)
        else:
            yield from work

    def _read(self, unit: ReadUnit) -> Iterator[pa.Table]:
        self.file = _files_told(unit.files)
        tables = None
        try:
            while True:
                started = time.perf_counter_ns()
                try:
                    tables = unit.read() if tables is None else tables
                    table = next(tables, None)
                except MillstreamError:
                    raise
                except Exception as error:
                    raise _read_error(error, self.file) from error
                finally:
                    self.input_ns += time.perf_counter_ns() - started
                if table is None:
                    return
                yield block.plain(block.seal(table))
        finally:
            close = getattr(tables, "close", None)
            if close is not None:
                close()


def heap_peak_bytes() -> int:
    """Returns the most memory that this process ever held, in bytes.

    Of shared memory, what it has mapped at the moment is left out: that is the object store's.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        return peak
    return max(0, peak - _shared_kib()) * 1024


def _shared_kib() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    shared = (line.split()[1] for line in lines if line.startswith("RssShmem:"))
    return int(next(shared, "0"))


@dataclass
class _Part:
    """The rows of a task's output that are still to be skipped, and then to be made; None: all."""

    rows_skipped: int
    rows_wanted: int | None

    def check_skipped(self) -> None:
        """Checks at the end that all rows came which were to be skipped.

        Raises:
            UserCodeError: They did not.
        """
        if self.rows_skipped:
            raise UserCodeError(
                f"a task that was run again gave {self.rows_skipped} rows fewer than it had handed "
                "over before: what lost rows are made of again must give the same rows each time"
            )


class _Full(NamedTuple):
    """A block that is handed over, or an empty table for the sake of its schema.

    Args:
        table: The block.
        nbytes: Its bytes.
        is_last: Whether it is known to be the last.
        partition: That of its rows, if they are dealt out.
    """

    table: pa.Table
    nbytes: int
    is_last: bool
    partition: int = 0


def _full(
    streams: Iterator[Iterator[pa.Table]], bytes_target: int, part: _Part, count: int
) -> Iterator[_Full]:
    """Yields blocks of the target size.

    No block has rows of two streams, of which there are `count`.
    """
    for number, stream in enumerate(streams, start=1):
        builder = BlockBuilder(bytes_target)
        for table in stream:
            skipped = min(part.rows_skipped, table.num_rows)
            part.rows_skipped -= skipped
            if table.num_rows == 0:
                yield _Full(table, 0, is_last=False)
            is_whole = not skipped and part.rows_wanted is None
            kept = table if is_whole else table.slice(skipped, part.rows_wanted)
            for full, size in builder.add(kept):
                yield _Full(full, size, is_last=False)
            if part.rows_wanted is not None:
                part.rows_wanted -= kept.num_rows
                if part.rows_wanted == 0:
                    break
        is_end = number == count or part.rows_wanted == 0
        if is_end:
            part.check_skipped()
        last = builder.finish()
        if last is not None:
            yield _Full(*last, is_end)
        if is_end:
            return


def _dealt(
    tables: Sequence[pa.Table], partitioner: Partitioner, bytes_target: int, part: _Part
) -> Iterator[_Full]:
    """Yields blocks of the target size, each of one partition, in the order of the partitions."""
    from millstream.blocks.partition import deal

    with_rows = [block.plain(table) for table in tables if table.num_rows]
    for table in tables if not with_rows else ():
        yield _Full(table, 0, is_last=False)
    for partition, rows in deal(with_rows, partitioner) if with_rows else ():
        skipped = min(part.rows_skipped, rows.num_rows)
        part.rows_skipped -= skipped
        kept = rows.slice(skipped, part.rows_wanted)
        if part.rows_wanted is not None:
            part.rows_wanted -= kept.num_rows
        builder = BlockBuilder(bytes_target)
        for full, size in builder.add(kept):
            yield _Full(full, size, is_last=False, partition=partition)
        last = builder.finish()
        if last is not None:
            yield _Full(*last, is_last=False, partition=partition)
        if part.rows_wanted == 0:
            return
    part.check_skipped()


def _pieces(work: Work, rows: int | None) -> list[Work]:
    """What is worked on without joining it: see `Stage.piece_rows`."""
    if isinstance(work, Slices) and len(work.inputs) == 1:
        work = list(work.tables())
    if rows is None or isinstance(work, Slices) or len(work) <= 1:
        return [work]
    if _are_units(work):
        return [[unit] for unit in work]
    pieces: list[list[pa.Table]] = [[]]
    for table in cast(Sequence[pa.Table], work):
        if sum(held.num_rows for held in pieces[-1]) >= max(1, rows):
            pieces.append([])
        pieces[-1].append(table)
    if len(pieces) > 1 and sum(held.num_rows for held in pieces[-1]) < rows:
        last = pieces.pop()
        pieces[-1] += last
    return list(pieces)


def _named(name: str, stream: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Says which transform an error comes from, unless one before it has said so."""
    try:
        yield from stream
    except MillstreamError as error:
        if error.operator is None and not isinstance(error, ReadError):
            error.operator = name
        raise
    except (Exception, SystemExit) as error:
        raise internal_error(error, name) from error


def _are_units(work: Work) -> TypeGuard[Sequence[ReadUnit]]:
    return not isinstance(work, Slices) and len(work) > 0 and not isinstance(work[0], pa.Table)


def _files_told(files: Sequence[str]) -> str | None:
    if not files:
        return None
    more = f" and {len(files) - _FILES_TOLD} more" if len(files) > _FILES_TOLD else ""
    return ", ".join(files[:_FILES_TOLD]) + more


def _read_error(error: Exception, file: str | None) -> ReadError:
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ReadError(f"cannot read the input: {told}", file=file)


def _told(
    error: BaseException,
    operator: str,
    file: str | None,
    context: str | None,
    dumps: Dumps | None,
) -> MillstreamError:
    """Completes an error with where it happened, and makes sure that it can be sent."""
    if isinstance(error, MillstreamError):
        told = error
    else:
        told = internal_error(error, operator)
        told.__cause__ = error
    told.operator = told.operator or operator
    told.file = told.file or file
    told.task = told.task or context
    cause = told.__cause__
    if cause is not None:
        without_our_frames(cause)
        if dumps is not None and not _survives(cause, dumps):
            cause = ForeignError(f"{type(cause).__module__}.{type(cause).__qualname__}: {cause}")
    # Where millstream itself raised it tells a user nothing.
    bare = told.with_traceback(None)
    bare.__cause__ = cause
    return bare


def _survives(error: BaseException, dumps: Dumps) -> bool:
    try:
        return type(pickle.loads(dumps(error))) is not None  # noqa: S301
    except Exception:  # noqa: BLE001
        # A user's exception may fail in any way when it is pickled.
        return False


# An error names no more files than fit in a line or two.
_FILES_TOLD = 3
