"""The part of a dataset that makes columns, and chooses rows, by expressions.

Owns the public names of these operators and the checks of their arguments. Knows nothing of how
expressions are computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from millstream.blocks.usercode import UserFunction
from millstream.compute import ActorPoolStrategy
from millstream.errors import ArgumentError
from millstream.errors.checks import check_kind, is_named, require
from millstream.expr.nodes import Alias, Column, Expr
from millstream.options import takes
from millstream.pipeline import Pipeline
from millstream.plan.arguments import FunctionOptions, TaskOptions
from millstream.plan.expressions import FilterExpression, WithColumns, classes_of
from millstream.plan.logical import Map, Shape

if TYPE_CHECKING:
    from millstream.dataset import Dataset


class Columns(Pipeline):
    """The part of a dataset that takes expressions (`millstream.expressions`)."""

    @takes(options=TaskOptions)
    def with_column(self, column_name: str, expr: Expr, *, options: TaskOptions) -> Dataset:
        """Adds a column that an expression says, or replaces the one of that name.

        Args:
            column_name: Its name.
            expr: What it is: `col("price") * 2`. Classes decorated with `udf` run on a pool of
                actors, of at most `concurrency`.
            options: What all operators on columns take.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: A column does not exist, or the expression does not fit the types of
                columns; at the call, if they are known then.

        Example:
            >>> from millstream.expressions import col
            >>> ms.range(2).with_column("double", col("id") * 2).take_all()
            [{'id': 0, 'double': 0}, {'id': 1, 'double': 2}]
        """
        check_kind("column_name", column_name, str, optional=False)
        check_kind("expr", expr, Expr, optional=False)
        return self._with_expressions({column_name: expr}, options)

    @takes(options=TaskOptions)
    def with_columns(
        self,
        exprs: Mapping[str, Expr] | Expr,
        *more_exprs: Mapping[str, Expr] | Expr,
        options: TaskOptions,
    ) -> Dataset:
        """Adds columns that expressions say, or replaces those of their names.

        All of them see the columns as they were before.

        Args:
            exprs: Expressions by the names of the columns, or one with a name of its own:
                `(col("price") * 2).alias("double")`.
            *more_exprs: Further ones.
            options: What all operators on columns take.

        Raises:
            ArgumentError: A column is there twice, or an expression has no name.
            SchemaError: A column does not exist, or an expression does not fit the types of
                columns; at the call, if they are known then.

        Example:
            >>> from millstream.expressions import col
            >>> ms.range(1).with_columns({"next": col("id") + 1, "half": col("id") / 2}).take_all()
            [{'id': 0, 'next': 1, 'half': 0.0}]
        """
        columns: dict[str, Expr] = {}
        for each in (exprs, *more_exprs):
            for name, expr in _named(each).items():
                check_kind(f"exprs[{name!r}]", expr, Expr, optional=False)
                if name in columns:
                    raise ArgumentError(
                        f"the column {name!r} is there twice; leave one of them out"
                    )
                columns[name] = expr
        return self._with_expressions(columns, options)

    def _filtered(self, expr: Any, options: FunctionOptions) -> Dataset:
        """The rows for which an expression is true."""
        wanted = "an expression, such as col('x') > 0 (see millstream.expressions)"
        require(isinstance(expr, Expr), "expr", expr, wanted)
        for name in ("fn_args", "fn_kwargs", "fn_constructor_args", "fn_constructor_kwargs"):
            given = getattr(options, name)
            if given is not None:
                raise ArgumentError(f"{name}={given!r} is for functions, and not for expressions")
        chosen = FilterExpression(expr)
        # A class within it decides, as a class itself would, that actors are needed.
        shape = options.shape(UserFunction((classes_of([expr]) or [chosen.condition])[0]))
        return self._mapped(Map(chosen, shape, columns=chosen.schema, changes_rows=True))

    def _with_expressions(self, columns: Mapping[str, Expr], options: TaskOptions) -> Dataset:
        made = WithColumns(dict(columns))
        shape = options.shape()
        if classes_of(columns.values()):
            shape = _on_actors(shape, options)
        return self._mapped(Map(made, shape, columns=made.schema))

    def _mapped(self, operator: Map) -> Dataset:
        """The dataset with one more operator.

        Raises:
            SchemaError: It does not fit the columns, if they are known.
        """
        from millstream.dataset import Dataset

        plan = self._plan.then(operator)
        plan.schema()
        return Dataset(plan, self._context)


def _on_actors(shape: Shape, options: TaskOptions) -> Shape:
    """The same workers as actors, which construct a class once."""
    return replace(shape, compute=ActorPoolStrategy(min_size=1, max_size=options.concurrency))


def _named(given: Any) -> Mapping[str, Expr]:
    """Expressions by their names.

    Raises:
        ArgumentError: They have none.
    """
    if isinstance(given, (Alias, Column)):
        return {given.name: given}
    is_right = is_named(given)
    require(is_right, "exprs", given, "a dict of expressions by name, or one with .alias(name)")
    named: Mapping[str, Expr] = given
    return named
