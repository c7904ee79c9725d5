"""A dataset in parts: by positions of rows, by proportions, for training and tests.

Owns the public names and the checks of their arguments. `millstream.execution.kept` owns how kept
blocks are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from millstream.errors import ArgumentError
from millstream.errors.checks import check_count, check_flag, is_number, is_sequence, require
from millstream.execution.kept import cut, keep_blocks
from millstream.execution.split import open_owner
from millstream.plan.repeatable import what_differs
from millstream.schema import Schema
from millstream.training import Training

if TYPE_CHECKING:
    from millstream.context import DataContext
    from millstream.data_iterator import DataIterator, PlacedStream
    from millstream.dataset import Dataset, MaterializedDataset
    from millstream.feed.progress import Start
    from millstream.plan.logical import LogicalPlan


class Splits(Training):
    """The part of a dataset that runs it, keeps its blocks, and divides its rows.

    The parts share the blocks, which are kept where they are as long as one of the parts is.
    """

    def split_at_indices(self, indices: Sequence[int]) -> list[MaterializedDataset]:
        """Divides the rows before those at some positions.

        Args:
            indices: The positions, in order; one beyond the last row leaves a part empty.

        Returns:
            One part more than there are positions.

        Raises:
            ArgumentError: The positions are not in order, or there is none.

        Example:
            >>> [part.take_all() for part in ms.range(3).split_at_indices([1])]
            [[{'id': 0}], [{'id': 1}, {'id': 2}]]
        """
        if isinstance(indices, np.ndarray):
            indices = indices.tolist()
        require(is_sequence(indices) and len(indices) > 0, "indices", indices, "positions of rows")
        indices = [int(index) if isinstance(index, np.integer) else index for index in indices]
        for place, index in enumerate(indices):
            check_count(f"indices[{place}]", index, least=0, optional=False)
        if indices != sorted(indices):
            raise ArgumentError(f"indices={indices!r} must be in order")
        return self._cut(lambda rows: [min(index, rows) for index in indices])

    def split_proportionately(self, proportions: Sequence[float]) -> list[MaterializedDataset]:
        """Divides the rows by proportions, in order.

        Args:
            proportions: Of each part but the last, which gets the rest: together below 1.

        Raises:
            ArgumentError: One is not above 0, or all are not below 1; or a part would be empty.
        """
        is_right = is_sequence(proportions) and len(proportions) > 0
        is_right = is_right and all(is_number(each) and each > 0 for each in proportions)
        is_right = is_right and sum(proportions) < 1
        require(is_right, "proportions", proportions, "numbers above 0, together below 1")
        before = list(accumulate(proportions))
        return self._cut(
            lambda rows: [int(rows * part) for part in before],
            none_empty=f"proportions={list(proportions)!r}",
        )

    def split(
        self, n: int, *, equal: bool = False, locality_hints: Sequence[Any] | None = None
    ) -> list[MaterializedDataset]:
        """Divides the rows into parts of the same size, but for one row.

        Args:
            n: How many parts.
            equal: Whether all have exactly as many rows; at most `n - 1` rows are left out then.
            locality_hints: Taken, but without effect: the blocks stay where they are.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        check_count("n", n, optional=False)
        check_flag("equal", equal)

        def bounds(rows: int) -> list[int]:
            if equal:
                return [rows // n * part for part in range(1, n + 1)]
            return [rows * part // n for part in range(1, n)]

        return self._cut(bounds)[:n]

    def train_test_split(
        self, test_size: int | float, *, shuffle: bool = False, seed: int | None = None
    ) -> tuple[MaterializedDataset, MaterializedDataset]:
        """Divides the rows into those for training and those, after them, for tests.

        Args:
            test_size: How many are for tests: a number of rows, or a part of them below 1.
            shuffle: Whether rows are shuffled before.
            seed: That of the shuffle; see `random_shuffle`.

        Raises:
            ArgumentError: An argument makes no sense, or one of the parts would be empty.

        Example:
            >>> train, test = ms.range(10).train_test_split(0.3)
            >>> train.count(), test.count()
            (7, 3)
        """
        check_flag("shuffle", shuffle)
        if seed is not None and not shuffle:
            raise ArgumentError(f"seed={seed!r} is that of a shuffle: pass shuffle=True with it")
        if shuffle:
            shuffled: Any = self
            halves: tuple[MaterializedDataset, MaterializedDataset]
            halves = shuffled.random_shuffle(seed=seed).train_test_split(test_size)
            return halves
        is_part = isinstance(test_size, float)
        is_right = is_number(test_size) and (0 < test_size < 1 if is_part else test_size >= 1)
        wanted = "a number of rows, or a part above 0 and below 1"
        require(is_right, "test_size", test_size, wanted)

        def bound(rows: int) -> list[int]:
            return [rows - int(rows * test_size if is_part else test_size)]

        train, test = self._cut(bound, none_empty=f"test_size={test_size!r}")
        return train, test

    def streaming_split(
        self, n: int, *, equal: bool = False, locality_hints: Sequence[Any] | None = None
    ) -> list[DataIterator]:
        """Divides the rows among consumers that take them while the dataset runs.

        One run feeds all of them: each block goes, as soon as it is there, to the consumer with the
        fewest rows. On Ray it lives in an actor, the iterators may go to other actors and tasks,
        and blocks go from where they were made to where they are taken. It ends with this program,
        or when all iterators are gone; if an actor or a task made it, also some seconds after all
        consumers are.

        Args:
            n: How many consumers.
            equal: Whether all get equally many rows; fewer than `n` are left out then.
            locality_hints: Taken, but without effect.

        Returns:
            An iterator for each. Each iteration over all of them is an epoch: a run of its own.

        Raises:
            ArgumentError: An argument makes no sense.

        Example:
            >>> from concurrent.futures import ThreadPoolExecutor
            >>> first, second = ms.range(100).streaming_split(2, equal=True)
            >>> with ThreadPoolExecutor(2) as pool:
            ...     rows = list(pool.map(lambda part: list(part.iter_rows()), [first, second]))
            >>> [len(each) for each in rows]
            [50, 50]
        """
        from millstream.data_iterator import DataIterator, SplitPart
        from millstream.execution.execution import SplitOptions

        check_count("n", n, optional=False)
        check_flag("equal", equal)
        owner = open_owner(self._plan, self._context, SplitOptions(n, equal))
        schema = partial(_known, self._plan.schema())
        differs = partial(_what_differs, self._plan, self._context)
        parts = [SplitPart(owner, consumer) for consumer in range(n)]
        ahead = self._context.prefetch_bytes
        return [
            DataIterator(
                part, schema, part.stats, f"{number + 1} of {n}", differs, (number, n), ahead
            )
            for number, part in enumerate(parts)
        ]

    def iterator(self) -> DataIterator:
        """An iterator over all rows, as a training loop takes it; it can be pickled.

        Example:
            >>> for batch in ms.range(3).iterator().iter_batches(batch_size=2):
            ...     print(batch["id"])
            [0 1]
            [2]
        """
        from millstream.data_iterator import DataIterator

        whole = _Whole(self)
        differs = partial(_what_differs, self._plan, self._context)
        ahead = self._context.prefetch_bytes
        return DataIterator(
            whole, whole.schema, whole.stats, self._plan.flow(), differs, prefetch_bytes=ahead
        )

    def _for_loader(self) -> tuple[DataIterator, Dataset | None]:
        whole: Any = self
        return self.iterator(), whole

    def _cut(
        self, bounds: Callable[[int], Sequence[int]], none_empty: str | None = None
    ) -> list[MaterializedDataset]:
        """Runs the dataset and divides its rows.

        Args:
            bounds: The positions where further parts begin, for a number of rows.
            none_empty: What the user has said, if a part without rows is an error.
        """
        from millstream.dataset import MaterializedDataset

        execution = self._execute()
        kept = keep_blocks(execution, self._plan.schema())
        rows = kept.rows() or 0
        ends = [0, *bounds(rows), rows]
        if none_empty is not None and any(last <= first for first, last in pairwise(ends)):
            raise ArgumentError(f"{none_empty} leaves a part of {rows} rows empty")
        parts = [MaterializedDataset(plan, self._context) for plan in cut(kept, ends)]
        for part in parts:
            part._watch = execution.watch
        return parts


class _Whole:
    """All rows of a dataset, for a `DataIterator`."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __call__(self, epoch: int, start: Start | None) -> PlacedStream:
        from millstream.data_iterator import WholeStream

        return WholeStream(self.dataset._execute(start=start))

    def schema(self) -> Schema | None:
        found: Schema | None = self.dataset.schema()
        return found

    def stats(self) -> str:
        return str(self.dataset.stats())


def _what_differs(plan: LogicalPlan, context: DataContext) -> str | None:
    """What keeps an iterator from going on where another stopped, and what to do."""
    if not context.preserve_order:
        return "preserve_order is off, so the order is another in each run: switch it on"
    return what_differs(plan)


def _known(schema: Any) -> Schema | None:
    return None if schema is None else Schema(schema)
