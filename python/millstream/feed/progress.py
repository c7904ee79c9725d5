"""How far a consumer has come in an epoch: what is counted, stored, and gone on from.

Owns the form of the states that `DataIterator.state_dict` gives. Must not know where rows come
from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from millstream.errors import ArgumentError
from millstream.errors.checks import is_whole


@dataclass(frozen=True)
class Shuffle:
    """A local shuffle: the same one draws the same rows in the same order.

    Args:
        buffer_rows: Rows from which batches are drawn.
        batch_rows: Rows of a batch.
        seed: What the draw depends on; `None`: another one each time.
    """

    buffer_rows: int
    batch_rows: int
    seed: int | None


class Progress:
    """The rows of one epoch that a consumer has got.

    Args:
        epoch: The number of the epoch.
        rows: Rows that it had before, which do not come again.
        shuffle: In which order they come; `None`: in that of the dataset.
    """

    def __init__(self, epoch: int = 0, rows: int = 0, shuffle: Shuffle | None = None) -> None:
        self.epoch = epoch
        self.rows = rows
        self.skip_rows = rows
        self.shuffle = shuffle

    def note(self, rows: int) -> None:
        """Notes that the consumer gets so many more rows."""
        self.rows += rows

    def end(self) -> None:
        """Notes that the epoch is through: what comes next is the next one."""
        self.epoch, self.rows = self.epoch + 1, 0

    def state(self) -> dict[str, Any]:
        """It as JSON can hold it."""
        shuffle = None if self.shuffle is None or not self.rows else asdict(self.shuffle)
        return {"version": _VERSION, "epoch": self.epoch, "rows": self.rows, "shuffle": shuffle}


def progress_of(state: Any) -> Progress:
    """The progress that a state tells of.

    Args:
        state: What `Progress.state` gave, or a list that has only this.

    Raises:
        ArgumentError: It is none.
    """
    if isinstance(state, list | tuple):
        if len(state) != 1:
            raise ArgumentError(
                f"load_state_dict: {len(state)} states were passed, and one consumer had them all: "
                "pass the state that its iterator gave"
            )
        (state,) = state
    if not isinstance(state, Mapping) or state.get("version") != _VERSION:
        raise ArgumentError(
            f"load_state_dict: {_short(state)} is no state that state_dict() of this version gave"
        )
    epoch: Any = state.get("epoch")
    rows: Any = state.get("rows")
    if not is_whole(epoch, 0) or not is_whole(rows, 0):
        raise ArgumentError(
            f"load_state_dict: epoch={_short(epoch)} and rows={_short(rows)} must be whole numbers "
            "from 0"
        )
    return Progress(epoch, rows, _shuffle_of(state.get("shuffle")))


def without_first(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The tables without their first rows.

    Raises:
        ArgumentError: There are fewer.
    """
    left = rows
    for table in tables:
        if table.num_rows > left or not left:
            yield table.slice(left) if left else table
        left = max(left - table.num_rows, 0)
    if left:
        raise ArgumentError(
            f"load_state_dict: the state is of a consumer that had {rows} rows of the epoch, and "
            f"the dataset has {rows - left}: it is not that of this dataset, or its files changed"
        )


def _shuffle_of(told: Any) -> Shuffle | None:
    if told is None:
        return None
    names = ("buffer_rows", "batch_rows", "seed")
    if not isinstance(told, Mapping) or set(told) != set(names):
        raise ArgumentError(f"load_state_dict: shuffle={_short(told)} is none that it gave")
    if not all(is_whole(told[name], least) for name, least in zip(names, (1, 1, 0), strict=True)):
        raise ArgumentError(f"load_state_dict: shuffle={_short(told)} must be whole numbers")
    return Shuffle(**told)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


#: Of the form of states.
_VERSION = 1
#: Characters of a wrong value that an error shows.
_SHOWN_MAX = 80
