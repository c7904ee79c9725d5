"""A dataset as torch's `DataLoader` takes it: divided among the loader's workers, with a state.

Owns the class, and how its rows are divided. Loads torch: import it only where torch is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.utils.data

from millstream.blocks.rows import iter_rows as rows_of
from millstream.errors import ArgumentError
from millstream.feed.arrays import is_numeric
from millstream.plan.dividing import Share, can_be_divided, divided
from millstream.plan.repeatable import what_differs
from millstream.run import machine

if TYPE_CHECKING:
    from millstream.data_iterator import DataIterator
    from millstream.plan.logical import LogicalPlan


class TorchDataset(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """Gives rows, or batches, again and again; made by `to_torch_dataset`.

    Each worker of a `DataLoader` gives its own part of the rows. `state_dict` and `load_state_dict`
    are those that torchdata's `StatefulDataLoader` and Lightning look for.

    Args:
        source: Gives the rows in a process without workers.
        dataset: What a worker runs its part of; `None`: there can be no workers.
        elements: Gives the elements of an iterator.
        batch_rows: How many rows an element has.
        drops_last: Whether a last element that has fewer is left out.
        draws_anew: Whether the elements have another order each time that they are made.
    """

    def __init__(
        self,
        source: DataIterator,
        dataset: Any,
        elements: Callable[[DataIterator], Iterable[Any]],
        batch_rows: int = 1,
        *,
        drops_last: bool = False,
        draws_anew: bool = False,
    ) -> None:
        super().__init__()
        self._source = source
        self._dataset = dataset
        self._elements = elements
        self._batch_rows = batch_rows
        self._drops_last = drops_last
        self._draws_anew = draws_anew
        self._epoch: int | None = None
        self._part: _Part | None = None

    def __iter__(self) -> Iterator[Any]:
        """The elements of the next epoch. It begins when the first is asked for."""
        return self._here().begin()

    def __len__(self) -> int:
        """How many elements there are, without workers of a loader.

        Raises:
            TypeError: It is not known without running.
        """
        rows: int | None = None if self._dataset is None else self._dataset._plan.rows()
        if rows is None:
            raise TypeError("the number of rows is not known without running the dataset")
        whole, rest = divmod(rows, self._batch_rows)
        return whole + (rest > 0 and not self._drops_last)

    def __getstate__(self) -> dict[str, Any]:
        # Another process has a part of its own.
        return {**self.__dict__, "_part": None}

    def set_epoch(self, epoch: int) -> None:
        """Has the next iteration be that of an epoch; see `DataIterator.set_epoch`.

        Args:
            epoch: Its number, from 0.

        Raises:
            ArgumentError: It is no number of an epoch.
        """
        self._source.set_epoch(epoch)
        self._epoch = epoch
        if self._part is not None:
            self._part.iterator.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """How far the present iteration has come, in this process; see `DataIterator.state_dict`.

        Raises:
            ArgumentError: An iteration cannot go on from a state.
        """
        return self._here().state()

    def load_state_dict(self, state: Any) -> None:
        """Has the next iteration, in this process, go on where another one stopped.

        Args:
            state: What `state_dict` gave, in the same worker of as many.

        Raises:
            ArgumentError: It is none, or of another worker, or the iteration cannot go on from one.
        """
        self._here().load(state)

    def _here(self) -> _Part:
        """The part of this process."""
        worker = torch.utils.data.get_worker_info()
        share = None if worker is None else Share(worker.id, worker.num_workers)
        if self._part is None or self._part.share != share:
            self._part = self._part_of(share)
        return self._part

    def _part_of(self, share: Share | None) -> _Part:
        if share is None:
            return _Part(self._source, self._elements, None, is_divided=True)
        if self._dataset is None:
            raise ArgumentError(
                "num_workers: a part of a split has one consumer, and it makes batches ready ahead "
                "by itself: pass num_workers=0 to the DataLoader"
            )
        iterator, is_divided = iterator_of(self._dataset, share)
        if self._draws_anew and not is_divided:
            raise ArgumentError(
                f"num_workers: {share.count} workers cannot divide the rows, since a local shuffle "
                "without a seed draws otherwise in each: pass local_shuffle_seed, or num_workers=0"
            )
        if self._epoch is not None:
            iterator.set_epoch(self._epoch)
        return _Part(iterator, self._elements, share, is_divided=is_divided)


class _Part:
    """What one process gives.

    Args:
        iterator: Its rows, or all of them if these are not divided.
        make: Gives the elements of an iterator.
        share: Which of the loader's workers it is; `None`: there are none.
        is_divided: Whether the iterator has the rows of this part only.
    """

    def __init__(
        self,
        iterator: DataIterator,
        make: Callable[[DataIterator], Iterable[Any]],
        share: Share | None,
        *,
        is_divided: bool,
    ) -> None:
        self.iterator = iterator
        self.share = share
        self._make = make
        self._is_divided = is_divided
        # Of all elements, where they are not divided.
        self._position = 0
        self._is_over = False
        self._gives_nothing = False

    def begin(self) -> Iterator[Any]:
        """The elements of an epoch."""
        self._is_over = False
        return self._iterate()

    def _iterate(self) -> Iterator[Any]:
        if self._gives_nothing:
            # This worker had given all of its part when the state was taken.
            self._gives_nothing, self._is_over = False, True
            return
        for element in self._make(self.iterator):
            is_own = self._is_own(self._position)
            self._position += 1
            if is_own:
                yield element
        self._position, self._is_over = 0, True

    def _is_own(self, position: int) -> bool:
        if self._is_divided or self.share is None:
            return True
        return position % self.share.count == self.share.index

    def state(self) -> dict[str, Any]:
        """How far it has come."""
        worker = None if self.share is None else [self.share.index, self.share.count]
        # Without workers, the loader itself knows that an epoch is over.
        is_over = worker is not None and (self._is_over or self._gives_nothing)
        return {
            "worker": worker,
            "is_over": is_over,
            "position": self._position,
            "iterator": self.iterator.state_dict(),
        }

    def load(self, state: Any) -> None:
        """Goes on from there."""
        names = {"worker", "is_over", "position", "iterator"}
        if not isinstance(state, Mapping) or set(state) != names:
            raise ArgumentError("load_state_dict: it is no state that state_dict() gave")
        worker = None if self.share is None else [self.share.index, self.share.count]
        if state["worker"] != worker:
            raise ArgumentError(
                f"load_state_dict: the state is of {_told(state['worker'])}, and this is "
                f"{_told(worker)}: pass the same num_workers to the DataLoader"
            )
        self.iterator.load_state_dict(state["iterator"])
        self._position, self._gives_nothing = state["position"], state["is_over"]
        self._is_over = False


def torch_rows(iterator: DataIterator, shuffle: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows, in which arrays of numbers are tensors.

    Args:
        iterator: Gives them.
        shuffle: The options of a local shuffle.
    """
    rows: Iterable[dict[str, Any]] = iterator.iter_rows()
    if shuffle["local_shuffle_buffer_size"] is not None:
        batches = iterator.iter_batches(batch_size=1, batch_format="pyarrow", **shuffle)
        rows = (row for batch in batches for row in rows_of(batch))
    for row in rows:
        yield {name: _in_torch(value) for name, value in row.items()}


def _in_torch(value: Any) -> Any:
    # Blocks are read-only, and a loop may write to its tensors.
    return torch.from_numpy(np.array(value)) if is_numeric(value) else value


def torch_batches(iterator: DataIterator, options: Mapping[str, Any]) -> Iterable[Any]:
    """Batches of tensors.

    Args:
        iterator: Gives them.
        options: Of `iter_torch_batches`.
    """
    return iterator.iter_torch_batches(device="cpu", **options)


def iterator_of(dataset: Any, share: Share) -> tuple[DataIterator, bool]:
    """An iterator for a worker of a loader, which runs on the threads of its process.

    Args:
        dataset: The dataset.
        share: Which worker.

    Returns:
        It, and whether it has only the rows of this worker; else it has all, in an order that is
        the same in all workers.

    Raises:
        ArgumentError: The rows cannot be divided, or are where a worker cannot reach them.
    """
    plan: LogicalPlan = dataset._plan
    _check_reach(plan)
    context = dataset._context.copy()
    context.backend = "local"
    context.enable_progress_bars = False
    limits = context.execution_options.resource_limits
    if limits.object_store_memory is None:
        limits.object_store_memory = machine.store_bytes() // share.count
    is_divided = can_be_divided(plan)
    problem = what_differs(plan) if context.preserve_order else _UNORDERED
    reads_alike = all(
        read.source.redrawn is None or read.source.repeats_order for read in plan.reads()
    )
    if problem is not None and not (is_divided and reads_alike):
        raise ArgumentError(
            f"num_workers: {share.count} workers cannot divide the rows, since each would see them "
            f"in another order: {problem}; or pass num_workers=0"
        )
    made = type(dataset)(divided(plan, share) if is_divided else plan, context)
    return made.iterator(), is_divided


def _check_reach(plan: LogicalPlan) -> None:
    for read in plan.reads():
        for unit in read.source.units[:1]:
            # A block that was kept, or an object of Ray.
            kept = getattr(getattr(unit, "handle", None), "source", unit)
            if type(kept).__module__.startswith("millstream.run.ray"):
                raise ArgumentError(
                    f"num_workers: {read.name} is in Ray's object store, which the workers of a "
                    "DataLoader do not reach: pass num_workers=0"
                )


def _told(worker: Any) -> str:
    return "a loader without workers" if worker is None else f"worker {worker[0]} of {worker[1]}"


_UNORDERED = "preserve_order is off: switch it on"
