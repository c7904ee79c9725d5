"""What runs in Ray's workers, once `entry` has found it there: tasks over the common worker body.

Owns the form in which blocks and what is known of them travel. Must not know the driver's side.

A task is a stream of objects. What is known of a block comes first, as an `Item`, and a small
block comes inside it; a larger one follows as an object of its own, which the driver passes on
without ever fetching it. The last item carries the task's end, whether or not a block follows it.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import threading
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
from millstream.run.ray import exits
from millstream.run.worker import (
    BlockMeta,
    OpenStage,
    Output,
    ReadUnit,
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
        payload: The stage; None for a task on an actor, which has loaded it.
    """

    rows_skipped: int
    context: str
    rows_wanted: int | None
    tells_start: bool = False
    units: Sequence[ReadUnit] | None = None
    slices: Sequence[Sequence[tuple[int, int, int]]] | None = None
    payload: Payload | None = None


class Item(NamedTuple):
    """One element of a task's stream.

    Args:
        node: The Ray id of the node that it comes from.
        meta: What is known of a block; None if there is only an end, or, without one, if the task
            has just begun.
        data: The block itself, as an Arrow IPC stream, if it is small; else it follows.
        end: The task's end, if this is the last item.
    """

    node: str
    meta: BlockMeta | None
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


def table_of(found: Block) -> pa.Table:
    """The table of a block, however it travelled."""
    if isinstance(found, Item):
        return pa.ipc.open_stream(found.data).read_all()
    return found


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


def run_task(packed: Packed, blocks: Sequence[Block]) -> Iterator[Item | pa.Table]:
    """Runs one task on the stage of its payload, which is opened once per process."""
    try:
        call: Call = _unpack(packed)
        if call.tells_start:
            yield Item(_node(), None)
        with _gpus_hidden(call.payload):
            yield from _run(_open(call), call, blocks)
    except MillstreamError as error:
        yield Item(_node(), None, None, TaskError(error))


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


def run_loaded(
    stage: OpenStage | None, packed: Packed, blocks: Sequence[Block]
) -> Iterator[Item | pa.Table]:
    """Runs one task on the stage that an actor has loaded."""
    if stage is None:
        raise RuntimeError("the actor was given a task before it was loaded")
    yield from _run(stage, _unpack(packed), blocks)


def _run(stage: OpenStage, call: Call, blocks: Sequence[Block]) -> Iterator[Item | pa.Table]:
    work: Work = [table_of(block) for block in blocks] if call.units is None else call.units
    if call.slices is not None:
        work = slices_of([table_of(block) for block in blocks], call.slices)
    where = f"{call.context}, on {_address()}, process {os.getpid()}"
    return _items(stage.run(work, call.rows_skipped, where, call.rows_wanted))


def _items(outputs: Iterator[Output]) -> Iterator[Item | pa.Table]:
    """Gives outputs the form in which they travel.

    The end of a task comes with its last block: each object of a stream costs the worker and the
    driver about a millisecond.
    """
    node = _node()
    sent: pa.Schema | None = None
    for output in outputs:
        if isinstance(output, (TaskEnd, TaskError)):
            yield Item(node, None, None, output)
            return
        meta, table = output
        del output
        end = _end(outputs) if meta.is_last else None
        if meta.nbytes <= INLINE_BYTES_MAX:
            yield Item(node, BlockMeta(meta.rows, meta.nbytes, None), _ipc(table), end)
            continue
        is_sent = sent is not None and sent.equals(table.schema)
        sent = table.schema
        yield Item(node, BlockMeta(meta.rows, meta.nbytes, None if is_sent else sent), None, end)
        yield table
        del table


def _end(outputs: Iterator[Output]) -> TaskEnd | TaskError:
    end = next(outputs)
    if isinstance(end, tuple):
        raise RuntimeError("a block came after a task's last block")
    return end


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
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

#: The stages that this process has opened, the latest last.
_opened: OrderedDict[str, OpenStage] = OrderedDict()
_lock = threading.Lock()
#: Enough for all operators of a run; what is left of earlier runs goes.
_OPENED_MAX = 32
