"""What a backend is to the driver, and what the driver gives to a consumer.

Owns the border between the driver and the backends. Must not know Ray, threads or scheduling.
A backend holds block numbers with their data and task numbers with their handles, and no more.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pyarrow as pa

from millstream import _core
from millstream.errors import MillstreamError, WorkerError
from millstream.plan.physical import PhysicalOp
from millstream.run.worker import BlockMeta


class Backend(Protocol):
    """Carries out the scheduler's actions and tells what came of them.

    The driver calls all methods from one thread, but `nodes` and `open`, which come first, and
    `wake`, which any thread may call.
    """

    def nodes(self) -> list[_core.Node]:
        """The nodes and what a run may use of them. Starts what the backend needs to know them."""

    def open(self, ops: Sequence[PhysicalOp]) -> list[_core.Node]:
        """Makes ready to run these operators, and returns the nodes again.

        Raises:
            SerializationError: An operator's functions or arguments cannot be sent to workers.
        """

    def share(self, demand: Callable[[], _core.Demand]) -> list[_core.Event]:
        """Has the run share its nodes with other runs, where there are any; before all actions.

        Args:
            demand: What the run holds, goes by and wants; may be called on any thread.

        Returns:
            What the scheduler must hear before its first turn.
        """

    def perform(self, actions: Sequence[_core.Action]) -> None:
        """Carries out actions, in order, without waiting for their outcome."""

    def wait(self, timeout_s: float | None) -> list[_core.Event]:
        """Waits until something happened; returns at once what has.

        Args:
            timeout_s: The longest wait; None: until something happens or `wake` is called.
        """

    def wake(self, *, can_wait: bool = False) -> None:
        """Makes a `wait`, the present or else the next, return; from any thread.

        Args:
            can_wait: A moment later will do, if more is likely to come.
        """

    def output(self, number: int) -> BlockHandle:
        """The data of a block, for the consumer."""

    def notes(self) -> list[str]:
        """What the scheduler cannot see and a user should know; called on any thread."""

    def error_of(self, task: int | None, op: int) -> MillstreamError | None:
        """What is known of why a task, or else an operator's last actor, failed."""

    def close(self) -> None:
        """Ends all that this run still has: tasks, actors, blocks. Idempotent, bounded in time."""


def not_carried_out(action: _core.Action) -> MillstreamError:
    """The error of a backend that is given an action which it has no way to carry out."""
    return MillstreamError(
        f"this backend cannot carry out {action!r}, which is a bug of millstream; please report it "
        "with the plan (`explain()`)"
    )


class BlockGoneError(WorkerError):
    """The data of a block is lost."""


class BlockHandle:
    """One block of the output: its data stays alive until it is released or collected.

    Args:
        block: Its number.
        meta: What is known of it; called at most once.
        source: What holds the data, such as an object reference.
        load: Makes a table of `source`.
    """

    def __init__(
        self,
        block: int,
        meta: Callable[[], BlockMeta],
        source: Any,
        load: Callable[[Any], pa.Table],
    ) -> None:
        self.block = block
        self._find_meta: Callable[[], BlockMeta] | None = meta
        self._meta: BlockMeta | None = None
        self._source = source
        self._load = load
        #: Where it belongs in the output: `row`, `epoch` and `epoch_row` of `Action.EmitBlock`.
        self.place: tuple[int, int, int] = (0, 0, 0)
        self._on_release: Callable[[int], None] | None = None
        self._on_lost: Callable[[BlockHandle], pa.Table] | None = None

    @property
    def meta(self) -> BlockMeta:
        """Rows, bytes and schema of the block.

        Raises:
            RuntimeError: The block was released before anybody asked.
        """
        if self._find_meta is not None:
            self._meta = self._find_meta()
            self._find_meta = None
        if self._meta is None:
            raise self._released()
        return self._meta

    @property
    def source(self) -> Any:
        """What holds the data, such as an object reference; None after `release`."""
        return self._source

    def fetch(self) -> pa.Table:
        """The data. Where that is lost, waits until the run has made the rows again.

        Raises:
            BlockGoneError: The data is lost, and the run has ended, or knows it as taken.
            RuntimeError: The block has been released.
        """
        if self._source is None:
            raise self._released()
        try:
            return self._load(self._source)
        except BlockGoneError:
            make_again, self._on_lost = self._on_lost, None
            if make_again is None:
                raise
            # What comes in its place is taken on its own.
            self._on_release = None
            self._source = make_again(self)
            self._load = _as_it_is
            return self._source

    def release(self) -> None:
        """Lets go of the data, and tells the run that there is room again. Idempotent."""
        self._source = None
        # It knows the data too.
        self._find_meta = None
        self.taken()

    def taken(self) -> None:
        """Tells the run that the consumer has the block, which it may keep. Idempotent."""
        self._on_lost = None
        tell, self._on_release = self._on_release, None
        if tell is not None:
            tell(self.block)

    def on_release(self, tell: Callable[[int], None]) -> None:
        """Sets what is called with the block's number, once, when the consumer is done with it."""
        self._on_release = tell

    def on_lost(self, make_again: Callable[[BlockHandle], pa.Table]) -> None:
        """Sets what gets the rows once more if they are lost before the consumer has them."""
        self._on_lost = make_again

    def __getstate__(self) -> dict[str, Any]:
        # Where it goes, there is no run; whether its data can go along, the source knows.
        gone = {"_find_meta": None, "_on_release": None, "_on_lost": None}
        return {**self.__dict__, **gone, "_meta": self.meta}

    def _released(self) -> RuntimeError:
        return RuntimeError(f"block {self.block} has been released")


def warn(text: str) -> None:
    """Logs what costs no result; nor may it where the log goes nowhere, such as a closed stderr."""
    with contextlib.suppress(Exception):
        _logger.warning("%s", text)


def _as_it_is(table: pa.Table) -> pa.Table:
    return table


_logger = logging.getLogger(__name__)
