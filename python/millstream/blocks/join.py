"""Rows of two sides beside each other, where their keys are equal.

Owns which rows meet, and the columns that come out. There is one NaN and one zero among keys, and
no null equals another. Must not know how rows came together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.common_type import common_type
from millstream.blocks.convert import convert, nulls
from millstream.blocks.groups import key_column
from millstream.blocks.partition import Parts
from millstream.blocks.row_hash import hash_rows
from millstream.blocks.transforms import Blocks
from millstream.errors import SchemaError

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class JoinPlan:
    """What is joined, and how.

    Args:
        kind: `"inner"`, `"left_outer"`, `"right_outer"`, `"full_outer"`, `"left_semi"`,
            `"right_semi"`, `"left_anti"` or `"right_anti"`.
        left_on: The keys of the left side.
        right_on: Those of the right one, as many.
        left_suffix: What is added to the names of columns of the left side that the other has too.
        right_suffix: Likewise.
    """

    kind: str
    left_on: tuple[str, ...]
    right_on: tuple[str, ...]
    left_suffix: str | None = None
    right_suffix: str | None = None

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Join({self.kind}, {', '.join(self.left_on)})"

    def schema(self, left: pa.Schema, right: pa.Schema) -> pa.Schema:
        """The columns that come out.

        Raises:
            SchemaError: A key does not exist, the keys have types that cannot be compared, or a
                column would be there twice.
        """
        return self.table(left.empty_table(), right.empty_table()).schema

    def table(self, left: pa.Table, right: pa.Table) -> pa.Table:
        """The rows that come out, in the order of the left side, then of the right.

        Raises:
            SchemaError: As `schema`.
        """
        block.require_columns(left.schema, self.left_on)
        block.require_columns(right.schema, self.right_on)
        rows = self._rows(left, right)
        if self.kind in ("left_semi", "left_anti"):
            return _taken(left, rows[0])
        if self.kind in ("right_semi", "right_anti"):
            return _taken(right, rows[1])
        return self._beside(left, right, *rows)

    def nothing(self, side: int) -> pa.Table:
        """No rows of a side of which no more is known than its keys."""
        keys = (self.left_on, self.right_on)[side]
        return pa.schema([(name, pa.null()) for name in keys]).empty_table()

    def needs(self, side: int) -> bool:
        """Whether the columns of a side come out where it has no rows."""
        return self.kind in (("right_outer", "full_outer"), ("left_outer", "full_outer"))[side]

    def _rows(self, left: pa.Table, right: pa.Table) -> tuple[pa.Array, pa.Array]:
        """Which row of which side each row that comes out is of; null: of none."""
        keys = [self._keys_of(left, right, place) for place in range(len(self.left_on))]
        names = [f"key {place}" for place in range(len(keys))]
        sides = []
        for side, table in enumerate((left, right)):
            columns = dict(zip(names, (pair[side] for pair in keys), strict=True))
            sides.append(pa.table({**columns, f"row {side}": np.arange(table.num_rows)}))
        joined = sides[0].join(sides[1], names, join_type=_ARROW[self.kind], use_threads=False)
        places = [(name, "ascending") for name in ("row 0", "row 1") if name in joined.column_names]
        joined = joined.sort_by(places).combine_chunks()
        nothing = pa.nulls(joined.num_rows, pa.int64())
        found = [
            joined.column(name).combine_chunks() if name in joined.column_names else nothing
            for name in ("row 0", "row 1")
        ]
        return found[0], found[1]

    def _keys_of(self, left: pa.Table, right: pa.Table, place: int) -> tuple[Any, Any]:
        names = self.left_on[place], self.right_on[place]
        types = left.schema.field(names[0]).type, right.schema.field(names[1]).type
        columns = key_column(left, names[0]), key_column(right, names[1])
        found = common_type(*types), common_type(columns[0].type, columns[1].type)
        told = (
            f"the key {names[0]!r} of the left side is of type {types[0]}, and {names[1]!r} of the "
            f"right one of type {types[1]}"
        )
        if found[0] is None or found[1] is None:
            raise SchemaError(f"{told}: cast one of them")
        type = pa.int8() if pa.types.is_null(found[1]) else found[1]
        try:
            made = [_chunked(convert(each, type), type) for each in columns]
        except ValueError as error:
            raise SchemaError(
                f"{told}; as {type}, which they have in common, not every value would be the same: "
                f"{error}; cast one of them"
            ) from error
        if pa.types.is_duration(type):
            made = [each.cast(pa.int64()) for each in made]
        return made[0], made[1]

    def _beside(
        self, left: pa.Table, right: pa.Table, ours: pa.Array, theirs: pa.Array
    ) -> pa.Table:
        from_left, from_right = _taken(left, ours), _taken(right, theirs)
        names = self._names(left.column_names, right.column_names)
        columns = {}
        for old, new in names[0]:
            column = from_left.column(old)
            if old in self.left_on and self.kind in ("right_outer", "full_outer"):
                other = from_right.column(self.right_on[self.left_on.index(old)])
                column = _first_known(column, other, ours)
            columns[new] = column
        columns.update({new: from_right.column(old) for old, new in names[1]})
        return block.seal(pa.table(columns)) if columns else block.rows_only(len(ours))

    def _names(
        self, left: Sequence[str], right: Sequence[str]
    ) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """What the columns of each side are called, and what they will be."""
        theirs = [name for name in right if name not in self.right_on]
        both = set(left) & set(theirs)
        ours = [(name, name + (self.left_suffix or "") * (name in both)) for name in left]
        others = [(name, name + (self.right_suffix or "") * (name in both)) for name in theirs]
        made = [new for _, new in (*ours, *others)]
        twice = next((name for name in made if made.count(name) > 1), None)
        if twice is not None:
            raise SchemaError(
                f"the column {twice!r} would be there twice, from both sides: pass left_suffix or "
                "right_suffix, or rename or drop one of them"
            )
        return ours, others


@dataclass(frozen=True)
class Side:
    """Says of each block which side of a join it is of, by the names of its columns.

    Args:
        number: 0: the left one; 1: the right one.
    """

    number: int

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"JoinSide({('left', 'right')[self.number]})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return lambda blocks: (self._marked(table) for table in blocks)

    def _marked(self, table: pa.Table) -> pa.Table:
        shown = block.unseal(table)
        named = {f"{self.number} {name}": table.column(name) for name in shown.column_names}
        return pa.table({f"{self.number}": pa.nulls(table.num_rows), **named})


@dataclass(frozen=True)
class ByJoinKeys:
    """Rows of both sides whose keys are equal meet in one partition.

    Args:
        plan: What is joined.
        partitions: How many partitions.
    """

    plan: JoinPlan
    partitions: int

    def parts(self, table: pa.Table) -> Parts:
        """The partition of each row."""
        side = side_of(table)
        keys = (self.plan.left_on, self.plan.right_on)[side]
        block.require_columns(unmarked(table).schema, keys)
        hashes = hash_rows(table, [f"{side} {name}" for name in keys])
        return (hashes % np.uint64(self.partitions)).astype(np.int64)

    def kind_of(self, table: pa.Table) -> int:
        """Blocks of the two sides never become one."""
        return side_of(table)


@dataclass(frozen=True)
class JoinedSides:
    """Joins the two sides of a partition.

    Args:
        plan: How.
        schemas: The columns of both sides, as far as they are known: a partition may have no rows
            of one of them.
    """

    plan: JoinPlan
    schemas: tuple[pa.Schema | None, pa.Schema | None]

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return self.plan.name

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        sides: tuple[list[pa.Table], list[pa.Table]] = ([], [])
        for table in blocks:
            sides[side_of(table)].append(unmarked(table))
        tables = [self._whole(found, number) for number, found in enumerate(sides)]
        known = [table for table in tables if table is not None]
        made = self.plan.table(
            *(
                self.plan.nothing(side) if table is None else table
                for side, table in enumerate(tables)
            )
        )
        # Without rows, columns that are not all known would only be wrong.
        yield made if made.num_rows or len(known) == len(tables) else pa.table({})

    def _whole(self, tables: list[pa.Table], number: int) -> pa.Table | None:
        """All rows of a side; `None` if there are none, and its columns are not known."""
        with_rows = [table for table in tables if table.num_rows]
        if with_rows:
            return block.concat(with_rows)
        schema = self.schemas[number]
        if schema is not None:
            return schema.empty_table()
        return next((table for table in tables if table.num_columns), None)


@dataclass(frozen=True)
class JoinedWith:
    """Joins each block of the left side with all of the right one.

    Args:
        plan: How; no rows of the right side come out on their own.
        right: The right side.
    """

    plan: JoinPlan
    right: pa.Table

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return self.plan.name

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return self._apply

    def _apply(self, blocks: Blocks) -> Iterator[pa.Table]:
        for table in blocks:
            # An empty block may have no columns.
            is_known = table.num_rows or table.num_columns
            yield self.plan.table(table, self.right) if is_known else table


def side_of(table: pa.Table) -> int:
    """Which side of a join a block is of."""
    return int(table.column_names[0])


def unmarked(table: pa.Table) -> pa.Table:
    """A block as it was before it had a side."""
    names = [name[2:] for name in table.column_names[1:]]
    shown = table.select(range(1, table.num_columns)).rename_columns(names)
    return shown if names else block.rows_only(table.num_rows)


def _taken(table: pa.Table, rows: pa.Array) -> pa.Table:
    """Rows of a table; nulls where there is no row."""
    if not table.num_rows:
        columns = {
            field.name: nulls(len(rows), field.type) for field in block.visible_schema(table.schema)
        }
        return pa.table(columns) if columns else block.rows_only(len(rows))
    return block.gatherable(table).take(rows)


def _first_known(column: Any, other: Any, rows: pa.Array) -> Any:
    """A key: of the left side where it has the row, else of the right one."""
    type = common_type(column.type, other.type)
    both = pa.chunked_array(
        [chunk for each in (column, other) for chunk in _chunked(convert(each, type), type).chunks],
        type=type,
    )
    count = len(rows)
    is_missing = rows.is_null().to_numpy(zero_copy_only=False)
    places = np.arange(count) + np.where(is_missing, count, 0)
    return both.take(pa.array(places))


def _chunked(column: Any, type: pa.DataType) -> pa.ChunkedArray:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column], type=type)


#: What Arrow calls them.
_ARROW = {
    kind: kind.replace("_", " ")
    for kind in (
        *("inner", "left_outer", "right_outer", "full_outer"),
        *("left_semi", "right_semi", "left_anti", "right_anti"),
    )
}
KINDS = {
    **{kind: kind for kind in _ARROW},
    **{"left": "left_outer", "right": "right_outer", "full": "full_outer", "outer": "full_outer"},
    **{"semi": "left_semi", "anti": "left_anti"},
}
"""What a join may be called, and its full name."""
