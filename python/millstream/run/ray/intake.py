"""How blocks come in: the items of tasks, one after the other, as far as each has the credit.

Owns the numbers of blocks, and when the next item of a task is waited for. Must not know what is
done about a task that fails, nor fetch a block.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

from millstream import _core
from millstream.run.ray.handles import HeldBlock, Parked, Task
from millstream.run.ray.remote import Item
from millstream.run.ray.under_way import Report, UnderWay
from millstream.run.worker import BlockMeta, TaskEnd, TaskError


class Intake:
    """What the tasks of a run hand over.

    Args:
        run: What is under way.
        fail: Ends a task that Ray says has failed, given what came in place of an item, or None.
    """

    def __init__(self, run: UnderWay, fail: Callable[[Task, object], None]) -> None:
        self._run = run
        self._fail = fail
        self._numbers = itertools.count()

    def watch(self, task: Task) -> None:
        """Waits for the next item of a task."""
        number = task.number
        task.stream.watch_value(
            lambda value: self._run.report(partial(self._item_came, number, value))
        )

    def hand_over(self, task: Task) -> None:
        """Takes what a task waits with, as far as it has the credit."""
        parked = task.parked
        if parked is None:
            return
        item = parked.item
        for place in range(parked.handed_over, len(item.metas)):
            meta = item.metas[place]
            if meta.nbytes > task.credit:
                self._note_ready(task, parked, meta)
                return
            if parked.reference is None:
                parked.reference = task.stream.take()
            if parked.reference is None:
                task.parked = None
                self._fail(task, None)
                return
            if parked.contents is None:
                task.parked = None
                self._watch_block(task, partial(self._block_came, task.number, item, meta))
                return
            held = HeldBlock(parked.reference, meta, place, parked.contents)
            self._produce(task, held, meta, item.node)
            parked.handed_over = place + 1
        task.parked = None
        if parked.reference is None and task.stream.take() is None:
            self._fail(task, None)
            return
        self._go_on(task, item)

    def _item_came(self, number: int, item: object) -> None:
        self._run.ending.heard(number)
        self._run.starts.begun("task", number)
        task = self._run.tasks.get(number)
        if task is None:
            return
        task.has_begun = True
        if not isinstance(item, Item):
            self._fail(task, item)
            return
        task.parked = Parked(item)
        self.hand_over(task)

    def _note_ready(self, task: Task, parked: Parked, meta: BlockMeta) -> None:
        """Tells, once for each block, that a task waits with it for credit."""
        if parked.told < task.handed_over:
            parked.told = task.handed_over
            ready = _core.Event.BlockReady(task.number, task.handed_over, meta.nbytes)
            self._run.tell(ready)

    def _watch_block(self, task: Task, came: Report) -> None:
        task.stream.watch_presence(lambda _: self._run.report(came))

    def _block_came(self, number: int, item: Item, meta: BlockMeta) -> None:
        task = self._run.tasks.get(number)
        if task is None:
            return
        reference = task.stream.take()
        if reference is None:
            # Its worker died between the two objects.
            self._fail(task, None)
            return
        task.schema = meta.schema or task.schema
        meta = meta.with_schema(task.schema)
        self._produce(task, HeldBlock(reference, meta), meta, item.node)
        self._go_on(task, item)

    def _go_on(self, task: Task, item: Item) -> None:
        """Waits for the item after this one, unless this is the last."""
        if item.end is not None:
            self._finish(task, item.end)
        else:
            self.watch(task)

    def _produce(self, task: Task, held: HeldBlock, meta: BlockMeta, node_id: str) -> None:
        number = next(self._numbers)
        self._run.blocks[number] = held
        task.handed_over += 1
        task.credit -= meta.nbytes
        node = self._run.cluster.number(node_id)
        self._run.tell(
            _core.Event.BlockProduced(
                task.number, number, meta.rows, meta.nbytes, node, meta.partition
            )
        )

    def _finish(self, task: Task, end: TaskEnd | TaskError) -> None:
        if isinstance(end, TaskError):
            self._run.keep_error(task.number, task.op, end.error)
            self._run.end(task, _core.Event.TaskFailed(task.number, "user_code"))
        else:
            event = _core.Event.TaskFinished(task.number, end.busy_us, end.heap_peak_bytes)
            self._run.end(task, event)
