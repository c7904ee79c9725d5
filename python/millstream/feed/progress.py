"""How far consumers have come in an epoch: what is counted, stored, and gone on from.

Owns the form of the states that `DataIterator.state_dict` gives. Must not know where rows come
from.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from millstream.blocks.block import completed
from millstream.errors import ArgumentError
from millstream.errors.checks import is_whole

#: Rows by their numbers in the order of the dataset: the first, and the one after the last.
Rows = tuple[int, int]


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


class Mark(NamedTuple):
    """Where the rows of a unit of the source begin.

    Args:
        unit: The number of the unit; 0 with an empty border: nothing is known.
        row: The number of its first row.
        border: What tells the border before it from others.
    """

    unit: int
    row: int
    border: str


NO_MARK = Mark(0, 0, "")


class Place(NamedTuple):
    """Where a block belongs.

    Args:
        row: The number of its first row.
        mark: A unit that begins there or before.
    """

    row: int
    mark: Mark


@dataclass(frozen=True)
class Start:
    """Where an epoch begins of which some rows were had before.

    Args:
        rows: Those rows: in order, apart from each other.
        marks: Units that may begin where they end.
    """

    rows: tuple[Rows, ...] = ()
    marks: tuple[Mark, ...] = ()

    def had_first(self) -> int:
        """How many of the first rows were had."""
        return self.rows[0][1] if self.rows and self.rows[0][0] == 0 else 0

    def missing(self, first: int, end: int) -> Iterator[Rows]:
        """Which of the rows from one on were not had."""
        for had, until in self.rows:
            if until <= first:
                continue
            if had >= end:
                break
            if had > first:
                yield first, had
            first = until
        if first < end:
            yield first, end


class Progress:
    """The rows of one epoch that a consumer has got.

    Without a local shuffle it is known which rows: by their numbers in the order of the dataset.
    With one, how many: it draws the same again from all of them.

    Args:
        epoch: The number of the epoch.
        start: What was had before, by this consumer or others, and does not come again.
        skip_rows: Rows to draw again and leave out.
        shuffle: In which order they come; `None`: in that of the dataset.
        schema: The columns that rows before had.
    """

    def __init__(
        self,
        epoch: int = 0,
        start: Start | None = None,
        skip_rows: int = 0,
        shuffle: Shuffle | None = None,
        schema: pa.Schema | None = None,
    ) -> None:
        self.epoch = epoch
        self.start = Start() if start is None else start
        self.skip_rows = skip_rows
        self.shuffle = shuffle
        self._rows = skip_rows
        # Whether the epoch is through.
        self._is_over = False
        # Whether it is told which rows come.
        self._is_told = False
        # Rows that have come and that the consumer has not got, with the mark of their block.
        self._ahead: deque[tuple[int, int, Mark]] = deque()
        self._had: list[Rows] = []
        self._mark: Mark | None = None
        self._schemas = [] if schema is None else [schema]

    @property
    def has_begun(self) -> bool:
        """Whether the consumer has got any row, in this iteration or before."""
        return bool(self._rows or self._had or self.start.rows)

    def tables(
        self, placed: Iterable[tuple[pa.Table, Place, int]]
    ) -> Iterator[tuple[pa.Table, int]]:
        """What comes to the consumer of blocks: rows that were not had, each with its bytes.

        Args:
            placed: Blocks, each with its place and its bytes.
        """
        self._is_told = self.shuffle is None
        if self._schemas:
            # What is made of later rows has these columns, too.
            yield self._schemas[0].empty_table(), 0
        for table, place, size in placed:
            if table.num_rows and not any(table.schema.equals(known) for known in self._schemas):
                self._schemas.append(table.schema)
            for first, end in self.start.missing(place.row, place.row + table.num_rows):
                if self._is_told:
                    self._ahead.append((first, end, place.mark))
                yield table.slice(first - place.row, end - first), size
            if not table.num_rows:
                yield table, size

    def note(self, rows: int) -> None:
        """Notes that the consumer gets so many more rows."""
        self._rows += rows
        while rows and self._is_told:
            first, end, self._mark = self._ahead.popleft()
            got = min(end - first, rows)
            if got < end - first:
                self._ahead.appendleft((first + got, end, self._mark))
            if self._had and self._had[-1][1] == first:
                self._had[-1] = (self._had[-1][0], first + got)
            else:
                self._had.append((first, first + got))
            rows -= got

    def end(self) -> None:
        """Notes that the epoch is through: what comes next is the next one."""
        self._is_over = True

    def state(self, consumer: int = 0, consumers: int = 1) -> dict[str, Any]:
        """It as JSON can hold it.

        One of several consumers may be through while the others are not, so it still tells what it
        has had.

        Args:
            consumer: Whose it is.
            consumers: Of how many.
        """
        if self._is_over and consumers == 1:
            return Progress(self.epoch + 1).state()
        shuffle = None
        if self.shuffle is not None and self._rows:
            shuffle = {**asdict(self.shuffle), "rows": self._rows}
        rows = united([*self.start.rows, *self._had]) if shuffle is None else ()
        marks = [*self.start.marks, *filter(None, [self._mark])]
        return {
            "version": _VERSION,
            "epoch": self.epoch,
            "consumer": consumer,
            "consumers": consumers,
            "rows": [list(each) for each in rows],
            "unit": list(max(marks)) if marks and rows else None,
            "schema": self._schema() if rows and self._schemas else None,
            "is_over": self._is_over,
            "shuffle": shuffle,
        }

    def _schema(self) -> str | None:
        *_, last = completed(schema.empty_table() for schema in self._schemas)
        return base64.b64encode(last.schema.serialize()).decode()


def progress_of(state: Any) -> Progress:
    """The progress that a state tells of, or those of all consumers of a split together.

    Args:
        state: What `Progress.state` gave, or a list of that.

    Raises:
        ArgumentError: It is none, or the list is not that of all consumers at one time.
    """
    given = list(state) if isinstance(state, list | tuple) else [state]
    states = [_State.of(each) for each in given]
    _check_together(states)
    if all(each.is_over for each in states):
        return Progress(states[0].epoch + 1)
    shuffles = [each.shuffle for each in states if each.shuffle is not None]
    rows = united(each for state in states for each in state.rows)
    marks = tuple(sorted({each.mark for each in states if each.mark is not None}))
    schemas = [each.schema for each in states if each.schema is not None]
    whole = list(completed(schema.empty_table() for schema in schemas))
    return Progress(
        states[0].epoch,
        Start(rows, marks),
        states[0].shuffled_rows,
        shuffles[0] if shuffles else None,
        whole[-1].schema if whole else None,
    )


def united(rows: Iterable[Rows]) -> tuple[Rows, ...]:
    """Ranges of rows in order, apart from each other."""
    found: list[Rows] = []
    for first, end in sorted(rows):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((first, end))
    return tuple(found)


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
        raise fewer_rows(rows, rows - left)


def fewer_rows(had: int, there: int) -> ArgumentError:
    """What is said of a dataset that has fewer rows than a state tells of."""
    return ArgumentError(
        f"load_state_dict: the state is of consumers that had rows up to number {had} of the "
        f"epoch, and the dataset has {there}: it is not that of this dataset, or its files changed"
    )


@dataclass(frozen=True)
class _State:
    """A state, checked."""

    epoch: int
    consumer: int
    consumers: int
    rows: list[Rows]
    mark: Mark | None
    schema: pa.Schema | None
    is_over: bool
    shuffle: Shuffle | None
    shuffled_rows: int

    @classmethod
    def of(cls, state: Any) -> _State:
        """The state that a dict tells of.

        Raises:
            ArgumentError: It is none.
        """
        if not isinstance(state, Mapping) or state.get("version") != _VERSION:
            raise ArgumentError(
                f"load_state_dict: {_short(state)} is no state that state_dict() of this version "
                "gave"
            )
        shuffle, shuffled_rows = _shuffle_of(state.get("shuffle"))
        return cls(
            _number(state, "epoch"),
            _number(state, "consumer"),
            _number(state, "consumers"),
            _rows(state.get("rows")),
            _mark(state.get("unit")),
            _schema(state.get("schema")),
            state.get("is_over") is True,
            shuffle,
            shuffled_rows,
        )


def _check_together(states: Sequence[_State]) -> None:
    wanted = states[0].consumers if states else 1
    consumers = sorted(each.consumer for each in states)
    if consumers != list(range(wanted)) or any(each.consumers != wanted for each in states):
        raise ArgumentError(
            f"load_state_dict: the states of consumers {consumers} were passed, and {wanted} "
            "consumers had the rows: pass a list of the states of all, taken at the same step"
        )
    epochs = sorted({each.epoch for each in states})
    if len(epochs) > 1:
        raise ArgumentError(
            f"load_state_dict: the states are of epochs {epochs}: take those of all consumers at "
            "the same step"
        )


def _number(state: Mapping[str, Any], name: str) -> int:
    value: Any = state.get(name)
    if not is_whole(value, 0):
        raise ArgumentError(f"load_state_dict: {name}={_short(value)} must be a number from 0")
    return int(value)


def _rows(told: Any) -> list[Rows]:
    is_list = isinstance(told, list | tuple)
    pairs = [tuple(each) for each in told if isinstance(each, list | tuple)] if is_list else []
    are_right = all(
        len(each) == 2 and all(is_whole(number, 0) for number in each) and each[0] < each[1]
        for each in pairs
    )
    if not is_list or len(pairs) != len(told) or not are_right:
        raise ArgumentError(f"load_state_dict: rows={_short(told)} must be ranges of rows")
    return [(int(first), int(end)) for first, end in pairs]


def _mark(told: Any) -> Mark | None:
    if told is None:
        return None
    is_right = isinstance(told, list | tuple) and len(told) == len(Mark._fields)
    if not (is_right and all(is_whole(each, 0) for each in told[:2]) and isinstance(told[2], str)):
        raise ArgumentError(f"load_state_dict: unit={_short(told)} is none that it gave")
    return Mark(*told)


def _schema(told: Any) -> pa.Schema | None:
    if told is None:
        return None
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(told, validate=True)))
    except (TypeError, ValueError, OSError) as error:
        raise ArgumentError(
            f"load_state_dict: schema={_short(told)} is none that it gave"
        ) from error


def _shuffle_of(told: Any) -> tuple[Shuffle | None, int]:
    if told is None:
        return None, 0
    names = ("buffer_rows", "batch_rows", "seed", "rows")
    if not isinstance(told, Mapping) or set(told) != set(names):
        raise ArgumentError(f"load_state_dict: shuffle={_short(told)} is none that it gave")
    if not all(
        is_whole(told[name], least) for name, least in zip(names, (1, 1, 0, 0), strict=True)
    ):
        raise ArgumentError(f"load_state_dict: shuffle={_short(told)} must be whole numbers")
    return Shuffle(*(told[name] for name in names[:3])), told["rows"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


#: Of the form of states.
_VERSION = 2
#: Characters of a wrong value that an error shows.
_SHOWN_MAX = 80
