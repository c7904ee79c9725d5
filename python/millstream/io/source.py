"""What a reader plans: units of work for the workers, and what is known before they run.

Owns the shape of sources and how work is divided into units. Must not know any format, nor who
reads the units.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Protocol

import pyarrow as pa

from millstream.errors import MillstreamError, ReadError


class ReadUnit(Protocol):
    """A part of a source that one worker reads: tiny, and picklable."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""

    @property
    def nbytes(self) -> int:
        """About how many bytes its rows take in memory; 0 if unknown."""

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows in tables of bounded size.

        Raises:
            ReadError: A file is missing or broken; the error names it.
        """


class UnitOfNoFiles:
    """What is said of units that read no files, and whose size nobody knows."""

    @property
    def files(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def nbytes(self) -> int:
        """Nobody knows."""
        return 0


class OpenUnits(Sequence[ReadUnit], ABC):
    """Units that are listed while the first of them are read.

    As a sequence, those that are there by now.
    """

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether more may come."""

    @abstractmethod
    def extend(self, count: int) -> int:
        """Waits until there are so many units, or no more; gives how many there are.

        Raises:
            ReadError: They cannot be listed.
        """


@dataclass(frozen=True)
class Source:
    """A planned source.

    Args:
        name: What people call it: `"ReadParquet"`.
        units: The work, in the order of the rows; `OpenUnits` if it is listed while it is read.
        schema: The columns, if they are known before the data is read.
        rows: The number of rows, if it is known.
        files: The paths of all input files, in order; what is listed twice is here twice. Those
            that are known by now, if the units are open.
        with_columns: Plans the same source for some of its columns, without listing or opening
            files again; `None` if it cannot.
        with_filter: Plans the same source for the rows that satisfy a `pyarrow.compute.Expression`
            of the schema's types, without listing or opening files again; `None` if it cannot, or
            has a filter already: each filter sees only what the one before keeps.
        redrawn: Plans the same source for one run, with its files in an order of its own; `None` if
            all runs read the units in their order.
        repeats_order: Whether that order is the same in each run.
        completed: Plans the same source with all its files listed, which waits for them; `None` if
            they are.
        is_of_one_process: Whether only this process can read it.
    """

    name: str
    units: Sequence[ReadUnit]
    schema: pa.Schema | None
    rows: int | None
    files: list[str] = field(default_factory=list)
    with_columns: Callable[[Sequence[str]], Source] | None = None
    with_filter: Callable[[Any], Source] | None = None
    redrawn: Callable[[], Source] | None = None
    repeats_order: bool = False
    completed: Callable[[], Source] | None = None
    is_of_one_process: bool = False


@contextmanager
def blaming(path: str, problem: str) -> Iterator[None]:
    """Turns whatever goes wrong with a file into a `ReadError` that names it."""
    try:
        yield
    except (MillstreamError, MemoryError):
        raise
    except ImportError:
        # A missing library is not the file's fault.
        raise
    except Exception as error:
        raise ReadError(f"{problem}: {_in_words(error)}", file=path) from error


def split_rows(rows: int, parts: int) -> list[tuple[int, int]]:
    """Cuts `rows` rows into at most `parts` ranges (start, stop) that differ by one row at most."""
    parts = max(1, min(rows, parts))
    bounds = [rows * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))


def group_by_weight(weights: Sequence[int], groups: int) -> list[tuple[int, int]]:
    """Cuts a sequence into ranges (start, stop) of about equal weight, none of them empty.

    Args:
        weights: What each item weighs, for instance its bytes.
        groups: How many ranges; no more than there are items.
    """
    # One more each, so that items of weight 0 are spread too.
    totals = list(accumulate(weight + 1 for weight in weights))
    groups = min(groups, len(weights))
    ranges, start = [], 0
    for group in range(groups):
        last = len(weights) - (groups - group - 1)
        share = totals[-1] * (group + 1) / groups
        stop = start + 1
        while stop < last and totals[stop] <= share:
            stop += 1
        ranges.append((start, last if group == groups - 1 else stop))
        start = stop
    return ranges


def shares_of(rows: Sequence[int], parts: int) -> list[int]:
    """Says into how many parts each item is cut, so that there are `parts` in all.

    Each is cut into at least one part and at most as many as it has rows, the largest first.
    """
    shares = [1] * len(rows)
    largest: list[tuple[float, int]] = [
        (-count, index) for index, count in enumerate(rows) if count > 1
    ]
    heapq.heapify(largest)
    for _ in range(parts - len(rows)):
        if not largest:
            break
        _, index = heapq.heappop(largest)
        shares[index] += 1
        if shares[index] < rows[index]:
            heapq.heappush(largest, (-rows[index] / shares[index], index))
    return shares


def _in_words(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
