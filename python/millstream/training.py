"""What Ray Train asks of the datasets that a trainer is given.

Owns these names. `streaming_split` and `iterator`, which it calls too, are in `millstream.splits`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from millstream.context import DataContext
from millstream.errors.checks import check_kind
from millstream.pipeline import Pipeline

if TYPE_CHECKING:
    from millstream.dataset import Dataset


class Training(Pipeline):
    """The part of a dataset that Ray Train uses: `DataParallelTrainer(datasets={"train": ds})`."""

    @property
    def name(self) -> str | None:
        """What `set_name` called it; `None`: nothing."""
        return self._name

    def set_name(self, name: str | None) -> None:
        """Gives it a name, which changes nothing else. Datasets made of it have none.

        Args:
            name: The name; `None`: none.

        Raises:
            ArgumentError: It is no text.
        """
        check_kind("name", name, str)
        self._name = name

    @property
    def context(self) -> DataContext:
        """The settings that it runs with: those of the moment when its source was made.

        What is changed here holds for it and for all that shares its source; `copy` has its own.
        """
        return self._context

    def copy(self, dataset: Any = None) -> Dataset:
        """The same dataset with settings of its own.

        Args:
            dataset: Which; `None`: this. Ray Train calls `ds.copy(ds)`.

        Example:
            >>> ds = ms.range(3)
            >>> other = ds.copy()
            >>> other.context.preserve_order = False
            >>> ds.context.preserve_order
            True
        """
        made: Any = copy.copy(self if dataset is None else dataset)
        made._context = made._context.copy()
        found: Dataset = made
        return found
