"""The steps between blocks: user functions over batches and rows, choice of columns, all columns.

Owns what each step does with a stream of blocks. Must not know files, scheduling or backends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NamedTuple, Protocol, TypeVar

import pyarrow as pa

from millstream.blocks import block, rows
from millstream.blocks.batch import (
    Batch,
    BatchFormat,
    Given,
    from_batch,
    join_small,
    rebatch,
    require_format,
    to_batch,
)
from millstream.blocks.convert import nulls
from millstream.blocks.usercode import OpenFunction, UserFunction
from millstream.errors import ArgumentError, UserCodeError

Blocks = Iterator[pa.Table]
T = TypeVar("T")


class Transform(Protocol):
    """A step of an operator; pickled, sent to a worker, opened once, applied to many bundles."""

    @property
    def name(self) -> str:
        """What plans and reports call it, such as `MapBatches(preprocess)`."""

    def open(self) -> Callable[[Blocks], Blocks]:
        """Makes it ready: classes are constructed. What it returns takes and gives blocks.

        It may have a `close`, which lets go of what was constructed.
        """


class _Call:
    """A step that calls a user's function or class.

    Args:
        function: What it calls, with what: or only a function, generator function, async function,
            or class with `__call__`.
    """

    def __init__(self, function: UserFunction | Callable[..., Any]) -> None:
        if not isinstance(function, UserFunction):
            function = UserFunction(function)
        self.function = function

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"{type(self).label}({self.function.name})"

    @property
    def has_end(self) -> bool:
        """Whether it is a class that says what happens when its instance is no longer needed."""
        return self.function.has_end

    label = "Call"


class Opened:
    """A step that is ready, and what it closes at its end."""

    def __init__(self, apply: Callable[[Blocks], Blocks], function: Any) -> None:
        self._apply = apply
        self.close = function.close

    def __call__(self, blocks: Blocks) -> Blocks:
        """Takes and gives blocks."""
        return self._apply(blocks)


class MapBatches(_Call):
    """Calls a function with batches; each may give one batch or, from a generator, any number.

    Args:
        function: See `_Call`.
        batch_size: Rows of each batch, the last of a bundle has fewer. None gives whole
            blocks, small ones joined.
        batch_format: `"numpy"`, `"pandas"`, `"pyarrow"`, or `"default"`, which is NumPy.
        zero_copy_batch: Whether batches may be read-only views instead of writable copies.
        keeps_rows: Whether the function must return as many rows as it gets.

    Raises:
        ArgumentError: An argument makes no sense.
    """

    label = "MapBatches"

    def __init__(
        self,
        function: UserFunction | Callable[..., Any],
        *,
        batch_size: int | None = 1024,
        batch_format: BatchFormat = "default",
        zero_copy_batch: bool = False,
        keeps_rows: bool = False,
    ) -> None:
        super().__init__(function)
        if batch_size is not None and batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1 or None, not {batch_size}")
        require_format(batch_format)
        self.batch_size = batch_size
        self.batch_format = batch_format
        self.zero_copy_batch = zero_copy_batch
        self.keeps_rows = keeps_rows

    def open(self) -> Callable[[Blocks], Blocks]:
        """Loads the class, if it is one."""
        function = self.function.open("batches")

        def apply(blocks: Blocks) -> Blocks:
            kept = _KeptRows(self.keeps_rows)
            results = function.calls(kept.given(self._batches(blocks)))
            for result, place in self._told_of_views(results):
                try:
                    made = from_batch(result, place.given)
                except UserCodeError as error:
                    raise _placed(error, str(place)) from error.__cause__
                kept.returned(made.num_rows, place)
                yield made
            kept.ended()

        return Opened(apply, function)

    def _told_of_views(self, results: Iterator[T]) -> Iterator[T]:
        """Says what to do where a function writes into a batch that is a view."""
        try:
            yield from results
        except UserCodeError as error:
            cause = error.__cause__
            if self.zero_copy_batch and isinstance(cause, ValueError) and "read-only" in str(cause):
                error.message = (
                    f"{error.message}\n\nthe batch is a read-only view of the block; "
                    "zero_copy_batch=False gives copies that may be written to"
                )
            raise

    def _batches(self, blocks: Blocks) -> Iterator[tuple[Batch, _BatchPlace]]:
        start = 0
        for index, table in enumerate(self._tables(blocks)):
            batch = to_batch(table, self.batch_format, writable=not self.zero_copy_batch)
            given = Given(table, batch)
            told = partial(self._told_of, index, table)
            yield batch, _BatchPlace(told, start, start + table.num_rows - 1, given)
            start += table.num_rows

    def _told_of(self, index: int, table: pa.Table) -> str:
        """A batch in words, for errors."""
        return f"batch {index}"

    def _tables(self, blocks: Blocks) -> Iterator[pa.Table]:
        """The rows of each batch."""
        return rebatch(blocks, self.batch_size) if self.batch_size else join_small(blocks)


class MapRows(_Call):
    """Calls a function with each row; it returns one row."""

    label = "Map"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Loads the class, if it is one."""
        function = self.function.open("one")
        return Opened(lambda blocks: _map_rows(blocks, function), function)


class FlatMap(_Call):
    """Calls a function with each row; it returns or yields any number of rows."""

    label = "FlatMap"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Loads the class, if it is one."""
        function = self.function.open("rows")
        return Opened(lambda blocks: _map_rows(blocks, function), function)


class FilterRows(_Call):
    """Keeps the rows that a function returns true for."""

    label = "Filter"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Loads the class, if it is one."""
        function = self.function.open("one", _tell_row)

        def apply(blocks: Blocks) -> Blocks:
            start = 0
            for table in blocks:
                calls = function.calls(zip(rows.iter_rows(table), count(start), strict=False))
                keep = [_truth(result, index) for result, index in calls]
                start += table.num_rows
                yield table if all(keep) else _filtered(table, keep)

        return Opened(apply, function)


@dataclass(frozen=True)
class SelectColumns:
    """Keeps some columns, in the order given.

    Args:
        columns: Their names; none at all keeps the rows, without columns.
    """

    columns: Sequence[str]

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Select({', '.join(self.columns)})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""

        def apply(blocks: Blocks) -> Blocks:
            for table in blocks:
                block.require_columns(table.schema, self.columns)
                yield block.seal(table.select(list(self.columns)))

        return apply


@dataclass(frozen=True)
class Complete:
    """Gives each block all columns of a schema, in its order: null where it has none of that name.

    Columns that the schema does not know stay behind them, and no type changes.

    Args:
        schema: The columns.
        name: The operator that it belongs to; plans show no other one for it.
    """

    schema: pa.Schema
    name: str

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return lambda blocks: map(self._apply, blocks)

    def _apply(self, table: pa.Table) -> pa.Table:
        known, found = self.schema.names, block.visible_schema(table.schema)
        if found.names[: len(known)] == known:
            return table
        there = set(found.names)
        fields = [
            found.field(field.name) if field.name in there else field.with_nullable(True)
            for field in self.schema
        ]
        fields += [field for field in found if field.name not in set(known)]
        columns = [
            table.column(field.name) if field.name in there else nulls(table.num_rows, field.type)
            for field in fields
        ]
        return pa.table(columns, schema=pa.schema(fields))

    def __reduce__(self) -> tuple[Callable[..., Complete], tuple[bytes, str]]:
        # Pickle takes a schema field by field, which takes long if it has thousands.
        return _complete_of, (self.schema.serialize().to_pybytes(), self.name)


def _complete_of(schema: bytes, name: str) -> Complete:
    return Complete(pa.ipc.read_schema(pa.py_buffer(schema)), name)


class _KeptRows:
    """Checks that a function which is to keep the number of rows does.

    Args:
        is_due: Whether it is to.
    """

    def __init__(self, is_due: bool) -> None:
        self._is_due = is_due
        self._rows_in = 0
        self._rows_out = 0

    def given(
        self, batches: Iterator[tuple[Batch, _BatchPlace]]
    ) -> Iterator[tuple[Batch, _BatchPlace]]:
        """Notes what the function is called with."""
        for batch, place in batches:
            self._rows_in = place.row_last + 1
            yield batch, place

    def returned(self, rows: int, place: _BatchPlace) -> None:
        """Notes what it has returned for a batch.

        Raises:
            UserCodeError: It is too much, or it was too little for the batches before.
        """
        if self._is_due and self._rows_out < place.row_first:
            raise _uneven(self._rows_out, place.row_first)
        self._rows_out += rows
        if self._is_due and self._rows_out > place.row_last + 1:
            raise _uneven(self._rows_out, place.row_last + 1)

    def ended(self) -> None:
        """Notes that it will return no more.

        Raises:
            UserCodeError: It was too little.
        """
        if self._is_due and self._rows_out < self._rows_in:
            raise _uneven(self._rows_out, self._rows_in)


def _uneven(rows_out: int, rows_in: int) -> UserCodeError:
    return UserCodeError(
        f"the function returned {rows_out} rows for the first {rows_in} rows of its task, but "
        "udf_modifying_row_count=False promises as many rows as it gets: leave that out"
    )


@dataclass(frozen=True)
class _BatchPlace:
    told: Callable[[], str]
    row_first: int
    row_last: int
    given: Given

    def __str__(self) -> str:
        return f"{self.told()} (rows {self.row_first} to {self.row_last} of its task)"


class _RowPlace(NamedTuple):
    number: int
    schema: pa.Schema | None

    def __str__(self) -> str:
        return _tell_row(self.number)


def _tell_row(index: int) -> str:
    return f"row {index} of its task"


def _map_rows(blocks: Blocks, function: OpenFunction) -> Blocks:
    """Makes blocks of the rows that a function makes of the rows of blocks.

    Rows of neighbours with one schema go into one block: what is done for each column would else be
    done for each of many small blocks.
    """
    builder = rows.RowBuilder()
    like: pa.Schema | None = None
    place = _RowPlace(0, None)
    for result, place in function.calls(_rows(blocks)):
        if place.schema is not like:
            if like is None or not like.equals(place.schema, check_metadata=True):
                yield from _finished(builder, place)
                builder = rows.RowBuilder(place.schema)
            like = place.schema
        try:
            made = builder.add(result)
        except UserCodeError as error:
            raise _placed(error, str(place)) from error.__cause__
        if made is not None:
            yield made
    yield from _finished(builder, place)


def _rows(blocks: Blocks) -> Iterator[tuple[rows.Row, _RowPlace]]:
    numbers = count()
    for table in blocks:
        schema = table.schema
        for row in rows.iter_rows(table):
            yield row, _RowPlace(next(numbers), schema)


def _finished(builder: rows.RowBuilder, place: _RowPlace) -> Blocks:
    try:
        made = builder.finish()
    except UserCodeError as error:
        raise _placed(error, f"rows up to {place}") from error.__cause__
    if made is not None:
        yield made


def _filtered(table: pa.Table, keep: list[bool]) -> pa.Table:
    return block.gatherable(table).filter(pa.array(keep, pa.bool_()))


def _truth(result: Any, index: int) -> bool:
    try:
        return bool(result)
    except Exception as error:
        raise UserCodeError(
            f"the function returned a value of type {type(result).__name__} for "
            f"{_tell_row(index)}, which is neither true nor false"
        ) from error


def _placed(error: UserCodeError, place: str) -> UserCodeError:
    """Adds where it happened to the error of a conversion."""
    return UserCodeError(f"{place}: {error.message}")
