"""What runs in Ray's workers, once `entry` has found it there: tasks over the common worker body.

Owns the form in which blocks and what is known of them travel. Must not know the driver's side.

A task is a stream of objects. What is known of a block comes first, as an `Item`, and small blocks
come inside it, several if they are made fast; a larger one follows as an object of its own, which
the driver passes on without ever fetching it: a table or, if its columns are small, an item with
it. The last item carries the task's end, whether or not a block follows it.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pyarrow as pa
import ray
from ray import cloudpickle

import millstream
from millstream import _core
from millstream.errors import MillstreamError, UserCodeError
from millstream.io.source import ReadUnit
from millstream.run.ray import exits
from millstream.run.worker import (
    BlockMeta,
    OpenStage,
    Output,
    TaskEnd,
    TaskError,
    Work,
    open_stage,
    slices_of,
)

if TYPE_CHECKING:
    from millstream.run.ray.entry import Packed


class Payload(NamedTuple):
    """An operator's stage, pickled.

    Args:
        key: Names the stage in the whole cluster.
        operator: Its name.
        data: The pickled stage, or a list of the reference to it if it is large.
        hides_gpus: Whether it asks for none, so that it must see none.
    """

    key: str
    operator: str
    data: bytes | list[ray.ObjectRef[bytes]]
    hides_gpus: bool = False


class Call(NamedTuple):
    """All arguments of a task but its blocks, in one object since Ray pickles each on its own.

    Args:
        rows_skipped: Rows of its output that an earlier attempt has handed over.
        context: The task and the attempt, in words.
        rows_wanted: Rows of its output to hand over after those; None: all.
        tells_start: Whether the task says that it has begun, by an item of its own.
        units: What a task of a source reads; None for any other.
        slices: The parts of the blocks that it reads, by input; None: whole blocks.
        places: For each block of its input, in which of the objects that the task is called with it
            is, and at which place in that.
        payload: The stage; None for a task on an actor, which has loaded it.
    """

    rows_skipped: int
    context: str
    rows_wanted: int | None
    tells_start: bool = False
    units: Sequence[ReadUnit] | None = None
    slices: Sequence[Sequence[tuple[int, int, int]]] | None = None
    places: Sequence[tuple[int, int]] = ()
    payload: Payload | None = None


class Item(NamedTuple):
    """One element of a task's stream.

    Args:
        node: The Ray id of the node that it comes from.
        metas: What is known of its blocks; none if there is only an end, or, without one,
            if the task has just begun.
        data: The blocks, as an Arrow IPC stream, if they are small; else the only one follows.
        end: The task's end, if this is the last item.
    """

    node: str
    metas: Sequence[BlockMeta]
    data: bytes | None = None
    end: TaskEnd | TaskError | None = None


class Loaded(NamedTuple):
    """An actor has loaded its stage.

    Args:
        node: The Ray id of its node.
    """

    node: str


# A block as an object of its own, or inside an item.
Block: TypeAlias = pa.Table | Item


def tables_of(found: Block) -> list[pa.Table]:
    """The tables of the blocks in an object, however they travelled."""
    if not isinstance(found, Item):
        return [found]
    with pa.ipc.open_stream(found.data) as reader:
        if len(found.metas) == 1:
            return [reader.read_all()]
        return [pa.Table.from_batches([batch]) for batch in reader]


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles, and puts references aside: Ray must see them to keep what they refer to."""

    def __init__(self, sink: io.BytesIO, references: list[ray.ObjectRef[Any]]) -> None:
        super().__init__(sink)
        self._references = references

    def persistent_id(self, value: object) -> int | None:
        """The place of a reference among them; None for all else."""
        if not isinstance(value, ray.ObjectRef):
            return None
        self._references.append(value)
        return len(self._references) - 1


class _Unpacker(pickle.Unpickler):
    def __init__(self, source: io.BytesIO, references: list[ray.ObjectRef[Any]]) -> None:
        super().__init__(source)
        self._references = references

    def persistent_load(self, place: int) -> ray.ObjectRef[Any]:
        return self._references[place]


def pack(value: Payload | Call) -> Packed:
    """Packs what is sent, so that Ray can unpickle it where millstream is missing."""
    sink = io.BytesIO()
    references: list[ray.ObjectRef[Any]] = []
    _Packer(sink, references).dump(value)
    return _VERSIONS, sink.getvalue(), references


def _unpack(packed: Packed) -> Any:
    _, data, references = packed
    try:
        return _Unpacker(io.BytesIO(data), references).load()
    except Exception as error:
        raise _unloadable(None, error) from error


def run_task(packed: Packed, blocks: Sequence[Block]) -> Iterator[Block]:
    """Runs one task on the stage of its payload, which is opened once per process."""
    try:
        call: Call = _unpack(packed)
        if call.tells_start:
            yield Item(_node(), ())
        with _gpus_hidden(call.payload):
            yield from _run(_open(call), call, blocks)
    except MillstreamError as error:
        yield Item(_node(), (), None, TaskError(error))


def load(packed: Packed) -> tuple[OpenStage | None, Loaded | TaskError]:
    """Constructs the user's classes, in an actor."""
    try:
        payload: Payload = _unpack(packed)
        exits.watch(payload.key)
        if payload.hides_gpus:
            # For as long as the process lives, which is this actor's own.
            os.environ[_VISIBLE] = ""
        return _load(payload), Loaded(_node())
    except MillstreamError as error:
        return None, TaskError(error)


def run_loaded(stage: OpenStage | None, packed: Packed, blocks: Sequence[Block]) -> Iterator[Block]:
    """Runs one task on the stage that an actor has loaded."""
    if stage is None:
        raise RuntimeError("the actor was given a task before it was loaded")
    yield from _run(stage, _unpack(packed), blocks)


def _run(stage: OpenStage, call: Call, blocks: Sequence[Block]) -> Iterator[Block]:
    work: Work
    if call.units is not None:
        work = call.units
    else:
        found = [tables_of(block) for block in blocks]
        tables = [found[number][place] for number, place in call.places]
        work = tables if call.slices is None else slices_of(tables, call.slices)
    where = f"{call.context}, on {_address()}, process {os.getpid()}"
    return _items(stage.run(work, call.rows_skipped, where, call.rows_wanted))


def _items(outputs: Iterator[Output]) -> Iterator[Block]:
    """Gives outputs the form in which they travel.

    The end of a task comes with its last block, and small blocks come together as long as none of
    them has to wait for it: each object of a stream costs the worker and the driver milliseconds.
    """
    node = _node()
    sent: pa.Schema | None = None
    parcel = Parcel(node)
    asked_s = time.perf_counter()
    for output in outputs:
        if isinstance(output, (TaskEnd, TaskError)):
            yield parcel.take(output)
            return
        meta, table = output
        del output
        end = _end(outputs) if meta.is_last else None
        is_small = meta.nbytes <= INLINE_BYTES_MAX
        if parcel.metas and not (is_small and parcel.fits(table)):
            yield parcel.take()
        if is_small:
            parcel.add(meta, table)
            is_slow = time.perf_counter() - asked_s > _PROMPT_S
            if is_slow or end is not None or parcel.is_old():
                yield parcel.take(end)
        else:
            is_sent = sent is not None and sent.equals(table.schema)
            sent = table.schema
            about = meta.with_schema(None if is_sent else sent)
            yield Item(node, [about], None, end)
            yield _block(node, meta, table)
        del table
        asked_s = time.perf_counter()


class Parcel:
    """Small blocks of one schema that will travel in one item.

    Args:
        node: The Ray id of the node.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._batches: list[pa.RecordBatch] = []
        self._schema: pa.Schema | None = None
        self._size = 0
        self._began_s = 0.0
        self.metas: list[BlockMeta] = []

    def fits(self, table: pa.Table) -> bool:
        """Whether another block may go with those that are there."""
        batches = table.to_batches()
        return (
            len(batches) == 1
            and len(self._batches) == len(self.metas) < _TOGETHER_MAX
            and self._size + pa.ipc.get_record_batch_size(batches[0]) <= INLINE_BYTES_MAX
            and table.schema.equals(self._schema, check_metadata=True)
        )

    def add(self, meta: BlockMeta, table: pa.Table) -> None:
        """Puts a block in."""
        if not self.metas:
            self._began_s = time.perf_counter()
            self._schema = table.schema
        # What comes in other than one piece stays alone, and so does a block without rows.
        for batch in table.to_batches():
            self._batches.append(batch)
            self._size += pa.ipc.get_record_batch_size(batch)
        self.metas.append(meta.with_schema(None))

    def is_old(self) -> bool:
        """Whether its first block has waited long enough."""
        return time.perf_counter() - self._began_s > _PROMPT_S

    def take(self, end: TaskEnd | TaskError | None = None) -> Item:
        """What is in it, with the task's end if that has come; it is empty then."""
        metas, batches, self.metas, self._batches = self.metas, self._batches, [], []
        self._size = 0
        data = None if self._schema is None or not metas else _ipc(self._schema, batches)
        return Item(self._node, metas, data, end)


def _block(node: str, meta: BlockMeta, table: pa.Table) -> Block:
    """Gives a block of small columns the form of a small one: Ray pickles a table by columns."""
    if meta.nbytes >= table.num_columns * COLUMN_BYTES_MIN:
        return table
    about = meta.with_schema(None)
    return Item(node, [about], _ipc(table.schema, table.to_batches()))


def _end(outputs: Iterator[Output]) -> TaskEnd | TaskError:
    end = next(outputs)
    if isinstance(end, tuple):
        raise RuntimeError("a block came after a task's last block")
    return end


def _ipc(schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


@contextlib.contextmanager
def _gpus_hidden(payload: Payload | None) -> Iterator[None]:
    """Hides the node's GPUs from a stage that asks for none; Ray shows them all to it.

    The process may be given to tasks that are not ours afterwards.
    """
    if payload is None or not payload.hides_gpus:
        yield
        return
    before = os.environ.get(_VISIBLE)
    os.environ[_VISIBLE] = ""
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VISIBLE, None)
        else:
            os.environ[_VISIBLE] = before


def _open(call: Call) -> OpenStage:
    """The opened stage of a call's payload, kept for the next task of this process."""
    payload = call.payload
    if payload is None:
        raise RuntimeError("a task without an actor came without its stage")
    exits.watch(payload.key)
    with _lock:
        stage = _opened.pop(payload.key, None)
        if stage is None:
            stage = _load(payload)
        _opened[payload.key] = stage
        while len(_opened) > _OPENED_MAX:
            _opened.popitem(last=False)
        return stage


def _load(payload: Payload) -> OpenStage:
    try:
        data = payload.data if isinstance(payload.data, bytes) else ray.get(payload.data[0])
        stage = pickle.loads(data)  # noqa: S301 - the driver's own
    except Exception as error:
        raise _unloadable(payload.operator, error) from error
    return open_stage(stage, dumps=cloudpickle.dumps, is_cancelled=_is_cancelled)


def _unloadable(operator: str | None, error: Exception) -> UserCodeError:
    return UserCodeError(
        f"a worker cannot load the operator's functions: {type(error).__name__}: {error}; "
        "modules that they import must be installed on all nodes, or be beside the script",
        operator=operator,
    )


def _is_cancelled() -> bool:
    return bool(ray.get_runtime_context().is_canceled())


@cache
def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


@cache
def _address() -> str:
    return f"node {ray.util.get_node_ip_address()}"


_VISIBLE = "CUDA_VISIBLE_DEVICES"
_VERSIONS = (millstream.__version__, _core.__version__)

#: Up to this a block travels inside its item. Ray keeps objects below 100 KiB out of the store.
INLINE_BYTES_MAX = 64 * 1024
#: Columns of fewer bytes are copied in less time than Ray takes for each of them.
COLUMN_BYTES_MIN = 32 * 1024
#: Blocks that an item holds at most.
_TOGETHER_MAX = 256
#: A block is handed over at once if it took longer than this, and waits no longer for others.
_PROMPT_S = 0.01

#: The stages that this process has opened, the latest last.
_opened: OrderedDict[str, OpenStage] = OrderedDict()
_lock = threading.Lock()
#: Enough for all operators of a run; what is left of earlier runs goes.
_OPENED_MAX = 32
