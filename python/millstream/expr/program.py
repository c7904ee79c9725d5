"""The values of expressions over blocks of one schema.

Owns the order in which a block's columns are computed, and the errors of that. Must not know plans.

Arrow computes all of it in one go, except for functions of users: what they return becomes a column
beside the others, which Arrow goes on with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import acero

from millstream.blocks import block
from millstream.blocks.convert import convert
from millstream.errors import SchemaError, UserCodeError
from millstream.expr.bind import Bound, as_bool, bound_call, bound_column, bound_constant
from millstream.expr.nodes import Alias, Call, Column, Expr, Literal, columns_of, in_order
from millstream.expr.rows import Portions, RowError, in_one_piece
from millstream.expr.udf import OpenUdf, Udf, functions_of


@dataclass(frozen=True)
class _Step:
    """A user's function, and the column that it makes."""

    udf: Udf
    args: Sequence[Bound]
    column: str


class Program:
    """Expressions, for blocks of one schema.

    Args:
        expressions: What to compute.
        schema: The columns of the blocks.

    Raises:
        SchemaError: A column does not exist, or an expression does not fit its type.
    """

    def __init__(self, expressions: Sequence[Expr], schema: pa.Schema) -> None:
        self._expressions = expressions
        self._columns = columns_of(expressions)
        block.require_columns(schema, self._columns)
        self._steps: list[_Step] = []
        self._schema = schema
        #: What the last block took, with all that functions made of it on the way.
        self.held_bytes = 0
        answers: dict[int, Bound] = {}
        for node in in_order(expressions):
            answers[id(node)] = self._bound(node, [answers[id(arg)] for arg in node.args])
        self._results = [answers[id(each)] for each in expressions]

    @property
    def types(self) -> list[pa.DataType]:
        """The types of what it computes."""
        return [each.type for each in self._results]

    def condition(self) -> Any:
        """The only expression as Arrow's own, for readers; `None` if it calls a user's function.

        Raises:
            SchemaError: It is no bool.
        """
        (result,) = self._results
        try:
            result = as_bool(result)
        except TypeError as error:
            raise self._misfit(self._expressions[0], error) from error
        return None if self._steps else result.expression

    def run(
        self, table: pa.Table, opened: Mapping[int, OpenUdf], start: int = 0
    ) -> list[pa.ChunkedArray]:
        """The columns that it computes, of the rows of a block.

        Args:
            table: The block.
            opened: The functions of users by the identity of the `Function`.
            start: How many rows come before it.

        Raises:
            UserCodeError: A value cannot be computed, or a function of a user failed.
        """
        rows = table.num_rows
        work = table.select(self._columns) if self._columns else block.rows_only(rows)
        for step in self._steps:
            values = self._project(work, step.args, [step.udf] * len(step.args))
            args, kwargs = step.udf.arguments([in_one_piece(each) for each in values])
            made = opened[id(step.udf.function)](args, kwargs, rows, start)
            work = work.append_column(step.column, made)
        self.held_bytes = work.nbytes
        return self._project(work, self._results, self._expressions)

    def _bound(self, node: Expr, args: list[Bound]) -> Bound:
        match node:
            case Column(name=name):
                return bound_column(name, self._schema.field(name).type)
            case Literal(scalar=scalar):
                return bound_constant(scalar)
            case Alias():
                return args[0]
            case Udf():
                step = _Step(node, args, f"{_UDF_COLUMN}{len(self._steps)}")
                self._steps.append(step)
                try:
                    type = node.function.type_of([each.type for each in args])
                except TypeError as error:
                    raise self._misfit(node, error) from error
                return bound_column(step.column, type)
            case Call():
                try:
                    return bound_call(node.function, args, node.options)
                except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                    raise self._misfit(node, error) from error
        raise TypeError(f"{type(node).__name__} is no expression")

    def _misfit(self, node: Expr, error: Exception) -> SchemaError:
        names = columns_of([node])
        types = ", ".join(f"{name!r}: {self._schema.field(name).type}" for name in names)
        return SchemaError(
            f"{node!r} does not fit the columns {types or '(none)'}: {error}"
            if names
            else f"{node!r} makes no sense: {error}"
        )

    def _project(
        self, work: pa.Table, bounds: Sequence[Bound], told: Sequence[Expr]
    ) -> list[pa.ChunkedArray]:
        """The columns of expressions; those that are columns already as they are."""
        left = [each for each in bounds if each.column is None]
        try:
            made = iter(_computed(work, left))
        except pa.ArrowException as error:
            raise self._failed(work, bounds, told, error) from error
        return [next(made) if each.column is None else work.column(each.column) for each in bounds]

    def _failed(
        self, work: pa.Table, bounds: Sequence[Bound], told: Sequence[Expr], error: Exception
    ) -> UserCodeError:
        """Says which of several expressions it was."""
        for each, node in zip(bounds, told, strict=True):
            try:
                _computed(work, [each])
            except pa.ArrowException as own:
                return UserCodeError(f"{node!r} cannot be computed for all rows: {own}")
        return UserCodeError(f"{', '.join(map(repr, told))} cannot be computed: {error}")


class Opened:
    """Expressions that are ready for blocks of any schema.

    Args:
        expressions: What to compute.

    Raises:
        UserCodeError: The constructor of a user's class raised.
    """

    def __init__(self, expressions: Sequence[Expr]) -> None:
        self._expressions = expressions
        functions = functions_of(expressions)
        self._functions = {id(each): each.open() for each in functions}
        self._program: tuple[pa.Schema, Program] | None = None
        self._portions = Portions() if any(each.is_large for each in functions) else None

    def parts(self, blocks: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, int]]:
        """What to compute of blocks at a time, each with how many rows come before.

        All of a block, unless functions make much more of it than it holds.
        """
        start = 0
        for table in blocks:
            for part in [table] if self._portions is None else self._portions.of(table):
                yield part, start
                start += part.num_rows

    def columns(self, table: pa.Table, start: int = 0) -> list[pa.ChunkedArray]:
        """What it computes of a block.

        Args:
            table: The block.
            start: How many rows come before it.

        Raises:
            SchemaError: A column does not exist, or an expression does not fit its type.
            UserCodeError: A value cannot be computed, or a function of a user failed.
        """
        program = self._of(table.schema)
        try:
            made = program.run(table, self._functions, start)
        except RowError as error:
            raise error.placed(start) from error.__cause__
        if self._portions is not None:
            self._portions.became(table.num_rows, program.held_bytes)
        return made

    def kept(self, table: pa.Table, start: int = 0) -> pa.Table:
        """The rows of a block for which the only expression, a condition, is true.

        Args:
            table: The block.
            start: How many rows come before it.

        Raises:
            SchemaError: A column does not exist, or it is no condition.
            UserCodeError: A value cannot be computed, or a function of a user failed.
        """
        self._of(table.schema).condition()
        (column,) = self.columns(table, start)
        keep = column.cast(pa.bool_())
        if pc.all(keep, skip_nulls=False).as_py():
            return table
        return block.gatherable(table).filter(keep)

    def close(self) -> None:
        """Lets go of what was constructed."""
        functions, self._functions = self._functions, {}
        for each in functions.values():
            each.close()

    def _of(self, schema: pa.Schema) -> Program:
        if self._program is None or not self._program[0].equals(schema):
            self._program = (schema, Program(self._expressions, schema))
        return self._program[1]


def _computed(work: pa.Table, bounds: Sequence[Bound]) -> list[pa.ChunkedArray]:
    if not bounds:
        return []
    names = [str(number) for number in range(len(bounds))]
    plan = acero.Declaration.from_sequence(
        [
            acero.Declaration("table_source", acero.TableSourceNodeOptions(work)),
            acero.Declaration(
                "project", acero.ProjectNodeOptions([each.expression for each in bounds], names)
            ),
        ]
    )
    # A task has one core; with several threads, the rows would have to be put in order again.
    made = plan.to_table(use_threads=False)
    return [
        _joined(convert(column, each.type))
        for column, each in zip(made.columns, bounds, strict=True)
    ]


def _joined(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in one piece, if Arrow can do that: it computes a block in many small ones."""
    if column.num_chunks < 2 or column.nbytes > block.OFFSET_MAX:
        return column
    return pa.chunked_array([column.combine_chunks()], column.type)


_UDF_COLUMN = "__millstream_udf_"
