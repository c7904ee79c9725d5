"""Units of a source with something done to what they read.

Owns these units, and what they make of the source. Knows nothing of formats, nor of plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import pyarrow as pa

from millstream.blocks import block
from millstream.errors import UserCodeError
from millstream.io.source import OpenUnits, ReadUnit, Source


def with_units(source: Source, make: Callable[[ReadUnit, int], ReadUnit]) -> Source:
    """The source with other units, which can be given no further columns or filters.

    Args:
        source: The source.
        make: Makes a unit of one of the source's and its place among them.
    """
    units: Sequence[ReadUnit]
    if isinstance(source.units, OpenUnits):
        units = _OpenMade(source.units, make)
    else:
        units = [make(unit, place) for place, unit in enumerate(source.units)]
    return replace(source, units=units, with_columns=None, with_filter=None)


def units_from(units: Sequence[ReadUnit], first: int) -> Sequence[ReadUnit]:
    """The units from a place on."""
    return _OpenRest(units, first) if isinstance(units, OpenUnits) else units[first:]


class _OpenRest(OpenUnits):
    """The units of a list that is still open, from a place on."""

    def __init__(self, units: OpenUnits, first: int) -> None:
        self._units = units
        self._first = first

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return self._units.is_open

    def extend(self, count: int) -> int:
        """Waits until there are so many units, or no more; gives how many there are."""
        return max(0, self._units.extend(self._first + count) - self._first)

    def __len__(self) -> int:
        return max(0, len(self._units) - self._first)

    @overload
    def __getitem__(self, place: int) -> ReadUnit: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[ReadUnit]: ...

    def __getitem__(self, place: int | slice) -> ReadUnit | Sequence[ReadUnit]:
        places = range(self._first, self._first + len(self))[place]
        if isinstance(places, int):
            return self._units[places]
        return [self._units[each] for each in places]


class _OpenMade(OpenUnits):
    """Units made of those of a list that is still open."""

    def __init__(self, units: OpenUnits, make: Callable[[ReadUnit, int], ReadUnit]) -> None:
        self._units = units
        self._make = make

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return self._units.is_open

    def extend(self, count: int) -> int:
        """Waits until there are so many units, or no more; gives how many there are."""
        return self._units.extend(count)

    def __len__(self) -> int:
        return len(self._units)

    @overload
    def __getitem__(self, place: int) -> ReadUnit: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[ReadUnit]: ...

    def __getitem__(self, place: int | slice) -> ReadUnit | Sequence[ReadUnit]:
        places = range(len(self))[place]
        if isinstance(places, int):
            return self._make(self._units[places], places)
        return [self._make(self._units[each], each) for each in places]


@dataclass(frozen=True)
class Changed:
    """A unit of which something is made.

    Args:
        unit: The unit.
    """

    unit: ReadUnit

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""
        return self.unit.files

    @property
    def nbytes(self) -> int:
        """About how many bytes its rows take in memory."""
        return self.unit.nbytes


@dataclass(frozen=True)
class SampledUnit(Changed):
    """Some of the rows of a unit, drawn by their places in it.

    Whether a row is drawn depends on nothing else: not on what it holds, on the tables that it
    comes in, nor on the task that reads it.

    Args:
        unit: The unit.
        fraction: How likely each row is drawn.
        key: Tells the draw of this unit from all others.
    """

    fraction: float
    key: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """About how many bytes its rows take in memory."""
        return int(self.unit.nbytes * self.fraction)

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows that are drawn."""
        numbers = np.random.Generator(np.random.Philox(np.random.SeedSequence(self.key)))
        for table in self.unit.read():
            rows = block.plain(block.seal(table))
            keep = numbers.random(rows.num_rows) < self.fraction
            yield rows if keep.all() else block.gatherable(rows).filter(pa.array(keep))


@dataclass(frozen=True)
class FilteredUnit(Changed):
    """A unit that filters its rows, whose error says by what, as users wrote it.

    Args:
        unit: The unit.
        told: The filter.
    """

    told: str

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows that it keeps."""
        try:
            yield from self.unit.read()
        except UserCodeError as error:
            cause: Any = error.__cause__
            if not isinstance(cause, pa.ArrowException):
                raise
            told = f"{self.told} cannot be computed for all rows: {cause}"
            raise UserCodeError(told) from cause
