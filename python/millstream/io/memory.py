"""Sources that need no files: ranges, Python objects and Arrow tables.

Owns how rows in the driver's memory become units. Must not know files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block, columns, primitive
from millstream.blocks.convert import Column
from millstream.errors import ArgumentError, SchemaError
from millstream.errors.checks import check_count
from millstream.io.source import Source, UnitOfNoFiles, shares_of, split_rows


def plan_range(n: int, *, override_num_blocks: int | None = None) -> Source:
    """Plans the integers from 0 to `n` - 1, in the column "id".

    Raises:
        ArgumentError: `n` is no integer, negative, or more than 64 bits hold.
    """
    check_count("override_num_blocks", override_num_blocks)
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise ArgumentError(f"range takes the number of rows, an integer from 0 on, not {n!r}")
    if n > 2**63:
        raise ArgumentError(f"range(n={n}) has numbers that 64 bits do not hold")
    rows = int(n)
    count = override_num_blocks or _unit_count(rows, rows * _ID.bit_width // 8)
    units = [RangeUnit(start, stop) for start, stop in split_rows(rows, count)]
    return Source("ReadRange", units, _RANGE_SCHEMA, rows)


def plan_items(items: Sequence[Any], *, override_num_blocks: int | None = None) -> Source:
    """Plans Python objects: dicts give a column per key, anything else is in the column "item".

    Every row has every column; what an item lacks is null.

    Raises:
        ArgumentError: `items` is not a list of objects.
        SchemaError: Values of one column do not go together.
    """
    check_count("override_num_blocks", override_num_blocks)
    if isinstance(items, (str, bytes, dict)) or not hasattr(items, "__iter__"):
        raise ArgumentError(f"from_items takes a list of objects, not a {type(items).__name__}")
    rows = [item if isinstance(item, dict) else {"item": item} for item in items]
    table = _table_of(rows)
    count = override_num_blocks or _unit_count(len(rows), table.nbytes)
    cut = split_rows(len(rows), count)
    units = [TableUnit(table.slice(start, stop - start)) for start, stop in cut]
    return Source("FromItems", units, block.visible_schema(table.schema), len(rows))


def plan_arrow(tables: Any, *, override_num_blocks: int | None = None) -> Source:
    """Plans Arrow tables, their IPC streams as bytes, or what gives Arrow data; one, or a list.

    Raises:
        ArgumentError: Something else was passed.
        SchemaError: A column has types that no common type holds.
    """
    listed = tables if isinstance(tables, (list, tuple)) else [tables]
    return plan_tables("FromArrow", map(_arrow_table, listed), override_num_blocks)


def plan_tables(name: str, tables: Iterable[pa.Table], blocks: int | None) -> Source:
    """Plans tables of one dataset, to which views are no longer known.

    Args:
        name: The source's name.
        tables: The tables.
        blocks: How many units the user wants.

    Raises:
        ArgumentError: `blocks` is no number of them.
        SchemaError: A column has types that no common type holds.
    """
    check_count("override_num_blocks", blocks)
    read = list(tables)
    schema = block.unify_schemas(table.schema for table in read)
    if schema.names:
        read = [block.align(table, schema) for table in read]
    units = [TableUnit(part) for part in _cut(read, blocks)]
    return Source(name, units, schema, sum(table.num_rows for table in read))


@dataclass(frozen=True)
class RangeUnit(UnitOfNoFiles):
    """The integers from `start` to `stop` - 1."""

    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """The bytes that the column takes."""
        return (self.stop - self.start) * int(_ID.bit_width) // 8

    def read(self) -> Iterator[pa.Table]:
        """Yields the integers in tables of at most `_RANGE_ROWS`."""
        start = self.start
        while True:
            stop = min(self.stop, start + _RANGE_ROWS)
            ids = primitive.wrap(np.arange(start, stop, dtype=np.int64))
            yield pa.table([ids], schema=_RANGE_SCHEMA)
            start = stop
            if start >= self.stop:
                return


class TableUnit(UnitOfNoFiles):
    """Rows of a table in the driver's memory.

    On its way to another process it takes only its own rows along; in the same process nothing
    is copied.

    Args:
        table: The rows.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def nbytes(self) -> int:
        """The bytes that the rows take."""
        return int(self._table.nbytes)

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows as one table, which is in memory anyway."""
        yield self._table

    def __getstate__(self) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._table.schema) as writer:
            writer.write_table(self._table)
        return bytes(sink.getvalue())

    def __setstate__(self, state: bytes) -> None:
        self._table = pa.ipc.open_stream(state).read_all()


def _unit_count(rows: int, size: int) -> int:
    """Says into how many units rows are cut: enough to keep a cluster busy, few enough to plan."""
    return min(rows, max(_UNITS_USUAL, min(_UNITS_MAX, size // _UNIT_BYTES)))


def _arrow_table(table: Any) -> pa.Table:
    if isinstance(table, pa.Table):
        return block.seal(table)
    if isinstance(table, pa.RecordBatch):
        return block.seal(pa.Table.from_batches([table]))
    if isinstance(table, (bytes, pa.Buffer)):
        try:
            return block.seal(pa.ipc.open_stream(table).read_all())
        except pa.ArrowInvalid as error:
            raise ArgumentError(f"from_arrow takes bytes of an IPC stream only: {error}") from error
    if type(table).__module__.partition(".")[0] == "pandas":
        # It would let the first object of a column decide the type.
        raise ArgumentError("from_arrow takes no DataFrame of pandas: pass it to from_pandas")
    if hasattr(table, "__arrow_c_stream__") or hasattr(table, "__arrow_c_array__"):
        try:
            return block.seal(pa.table(table))
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"from_arrow takes what gives rows, not a {type(table).__name__}: {error}"
            ) from error
    raise ArgumentError(f"from_arrow takes Arrow tables, not a {type(table).__name__}")


def _cut(tables: list[pa.Table], count: int | None) -> Iterator[pa.Table]:
    """Cuts tables into units: at least one each, or exactly `count` in all."""
    if not tables:
        return
    if count is not None and count < len(tables):
        tables = [block.concat(tables)]
    rows = [table.num_rows for table in tables]
    if count is None:
        shares = [max(1, table.nbytes // _UNIT_BYTES) for table in tables]
    else:
        shares = shares_of(rows, count)
    for table, share in zip(tables, shares, strict=True):
        for start, stop in split_rows(table.num_rows, share):
            yield table.slice(start, stop - start)


def _table_of(rows: list[dict[Any, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise SchemaError(f"columns have names; the key {wrong[0]!r} is not a string")
    if not names:
        return block.rows_only(len(rows))
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in names})


def _column(name: str, values: list[Any]) -> Column:
    try:
        return columns.from_values(values)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise SchemaError(f"the column {name!r} of the items {error}") from error


_ID = pa.int64()
_RANGE_SCHEMA = pa.schema([("id", _ID)])
_RANGE_ROWS = 1 << 17
# So many units keep the workers of most clusters busy, however slow each row is.
_UNITS_USUAL = 256
_UNITS_MAX = 4096
_UNIT_BYTES = 8 << 20
