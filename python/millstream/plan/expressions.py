"""Operators whose work is said by expressions.

Owns filters and new columns of expressions, and what they make of a schema without running.
Knows nothing of how expressions are computed, nor of scheduling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, starmap
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.transforms import Blocks
from millstream.errors import SchemaError
from millstream.expr.nodes import Column, Expr, columns_of, renamed, short_text
from millstream.expr.several import fields_of
from millstream.expr.udf import functions_of

if TYPE_CHECKING:
    from millstream.expr.program import Opened, Program


@dataclass(frozen=True, eq=False)
class FilterExpression:
    """Keeps the rows for which an expression is true.

    Args:
        expression: A bool for each row; null is as false.
    """

    expression: Expr

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Filter({short_text(self.expression)})"

    @property
    def has_end(self) -> bool:
        """Whether a user's class in it is to be closed."""
        return bool(classes_of([self.expression]))

    @property
    def columns(self) -> list[str]:
        """The columns that it asks for."""
        return columns_of([self.expression])

    def of_renamed(self, names: Mapping[str, str]) -> FilterExpression:
        """The same filter before its columns are renamed.

        Args:
            names: Their old names by the new ones.
        """
        return FilterExpression(renamed(self.expression, names))

    @property
    def expressions(self) -> list[Expr]:
        """What is computed."""
        return [self.expression]

    def changed(self, change: Callable[[Expr], Expr]) -> FilterExpression:
        """The same of another expression."""
        return FilterExpression(change(self.expression))

    def condition(self, schema: pa.Schema) -> Any:
        """The expression as Arrow's own; `None` if Arrow does not compute all of it.

        Raises:
            SchemaError: A column does not exist, or it is no condition.
        """
        return _program([self.expression], schema).condition()

    def never_fails(self, schema: pa.Schema) -> bool:
        """Whether it can be computed of all rows that columns of these types may have."""
        return _never_fail([self.expression], schema)

    def open(self) -> Callable[[Blocks], Blocks]:
        """Constructs the classes in it."""
        opened = _opened([self.expression])
        return _Ready(lambda blocks: starmap(opened.kept, opened.parts(blocks)), opened)

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema after it, which is that before.

        Raises:
            SchemaError: A column does not exist, or it is no condition.
        """
        self.condition(schema)
        return schema


@dataclass(frozen=True, eq=False)
class WithColumns:
    """Adds columns, or replaces those of their names; none sees what another one makes.

    Args:
        columns: What each of them is, under its name; under `None`, structs, of which each field
            becomes a column.
    """

    columns: Sequence[tuple[str | None, Expr]]

    @property
    def expressions(self) -> list[Expr]:
        """What is computed."""
        return [each for _, each in self.columns]

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        names = [
            f"unnest({short_text(each)})" if name is None else name for name, each in self.columns
        ]
        return f"WithColumns({', '.join(names)})"

    @property
    def has_end(self) -> bool:
        """Whether a user's class in it is to be closed."""
        return bool(classes_of(self.expressions))

    def changed(self, change: Callable[[Expr], Expr]) -> WithColumns:
        """The same of other expressions."""
        return WithColumns(tuple((name, change(each)) for name, each in self.columns))

    @property
    def same(self) -> dict[str, str]:
        """The columns that are another one under a further name, and that one."""
        return {
            name: each.name
            for name, each in self.columns
            if name is not None and isinstance(each, Column)
        }

    def never_fails(self, schema: pa.Schema) -> bool:
        """Whether it can be computed of all rows that columns of these types may have.

        Which columns structs become is not told by the plan, so that of these it is not known.
        """
        is_named = all(name is not None for name, _ in self.columns)
        return is_named and _never_fail(self.expressions, schema)

    def open(self) -> Callable[[Blocks], Blocks]:
        """Constructs the classes in it."""
        opened = _opened(self.expressions)

        def apply(blocks: Blocks) -> Blocks:
            for table, start in opened.parts(blocks):
                columns = opened.columns(table, start)
                fields = self._fields([each.type for each in columns])
                values = chain.from_iterable(map(self._values, self.columns, columns))
                named = zip([each.name for each in fields], values, strict=True)
                yield block.seal(reduce(_put, named, table))

        return _Ready(apply, opened)

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema after it.

        Raises:
            SchemaError: A column does not exist, or an expression does not fit its type.
        """
        made = self._fields(_program(self.expressions, schema).types)
        fields = {field.name: field for field in block.visible_schema(schema)}
        fields.update((field.name, field) for field in made)
        return pa.schema(list(fields.values()))

    def _fields(self, types: Sequence[pa.DataType]) -> list[pa.Field]:
        """The columns that it makes of values of these types.

        Raises:
            SchemaError: There are two of a name, or no structs where they are wanted.
        """
        made: dict[str, pa.Field] = {}
        for (name, each), type in zip(self.columns, types, strict=True):
            fields = fields_of(each, type) if name is None else [pa.field(name, type)]
            for field in fields:
                if field.name in made:
                    raise SchemaError(
                        f"{self.name} makes the column {field.name!r} twice; leave one of them out"
                    )
                made[field.name] = pa.field(field.name, field.type)
        return list(made.values())

    @staticmethod
    def _values(named: tuple[str | None, Expr], column: pa.ChunkedArray) -> list[pa.ChunkedArray]:
        """The columns of what one expression gives; a null struct has null in each field."""
        if named[0] is not None:
            return [column]
        return [] if pa.types.is_null(column.type) else column.flatten()


class _Ready:
    """A step that is ready, and the expressions that it computes."""

    def __init__(self, apply: Callable[[Blocks], Blocks], opened: Opened) -> None:
        self._apply = apply
        self.close = opened.close

    def __call__(self, blocks: Blocks) -> Blocks:
        return self._apply(blocks)


def classes_of(expressions: Iterable[Expr]) -> list[Callable[..., Any]]:
    """The classes of users in expressions, for which they need actors."""
    found = functions_of(list(expressions))
    return [function.function for function in found if function.is_class]


def _program(expressions: Sequence[Expr], schema: pa.Schema) -> Program:
    # Loaded where it is needed, since Arrow's functions take longer to load than a small pipeline
    # to run.
    from millstream.expr.program import Program

    return Program(expressions, schema)


def _never_fail(expressions: Iterable[Expr], schema: pa.Schema) -> bool:
    from millstream.expr.safe import never_fails

    return all(never_fails(each, schema) for each in expressions)


def _opened(expressions: Sequence[Expr]) -> Opened:
    from millstream.expr.program import Opened

    return Opened(expressions)


def _put(table: pa.Table, named: tuple[str, pa.ChunkedArray]) -> pa.Table:
    name, column = named
    position = table.schema.get_field_index(name)
    if position < 0:
        return table.append_column(name, column)
    return table.set_column(position, name, column)
