"""The part of a dataset that makes columns by expressions, explodes lists, and draws rows.

Owns the public names of these operators and the checks of their arguments. Knows nothing of how
expressions are computed, nor where rows are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from millstream.blocks.explode import Explode
from millstream.blocks.usercode import UserFunction
from millstream.compute import ActorPoolStrategy
from millstream.errors import ArgumentError
from millstream.errors.checks import (
    check_columns,
    check_count,
    check_flag,
    check_kind,
    is_named,
    is_number,
    require,
)
from millstream.expr.nodes import Alias, Column, Expr
from millstream.expr.several import Star, Unnest
from millstream.options import takes
from millstream.pipeline import Pipeline
from millstream.plan.arguments import FunctionOptions, TaskOptions
from millstream.plan.expressions import FilterExpression, WithColumns, classes_of
from millstream.plan.logical import LogicalPlan, Map, Shape
from millstream.plan.placing import check_places
from millstream.plan.sampling import RandomSample, reordered, sampled

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
        return self._with_expressions([(column_name, expr)], options)

    @takes(options=TaskOptions)
    def with_columns(
        self,
        exprs: Mapping[str, Expr] | Expr | Star | Unnest,
        *more_exprs: Mapping[str, Expr] | Expr | Star | Unnest,
        options: TaskOptions,
    ) -> Dataset:
        """Adds columns that expressions say, or replaces those of their names.

        All of them see the columns as they were before.

        Args:
            exprs: Expressions by the names of the columns, or one with a name of its own:
                `(col("price") * 2).alias("double")`; or `unnest(...)`, which makes a column of each
                field of structs. `star()` is the columns that are there, which stay anyway.
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
        columns: list[tuple[str | None, Expr]] = []
        names: set[str] = set()
        for each in (exprs, *more_exprs):
            if isinstance(each, Unnest):
                columns.append((None, each.expr))
                continue
            for name, expr in _named(each).items():
                check_kind(f"exprs[{name!r}]", expr, Expr, optional=False)
                if name in names:
                    raise ArgumentError(
                        f"the column {name!r} is there twice; leave one of them out"
                    )
                names.add(name)
                columns.append((name, expr))
        return self._with_expressions(columns, options)

    @takes(options=TaskOptions)
    def explode(
        self, columns: str | Sequence[str], *, keep_empty: bool = True, options: TaskOptions
    ) -> Dataset:
        """Gives a row for each value of lists; the other columns are repeated.

        Ray Data does not have it.

        Args:
            columns: The lists. Several are exploded side by side: in each row, they must have
                equally many values.
            keep_empty: Whether a row whose list is empty or null stays, as one row with null
                there. `False`: it goes.
            options: What all operators on columns take.

        Raises:
            ArgumentError: A name comes twice, or there is none.
            SchemaError: A column does not exist, or has no lists; at the call, if the columns are
                known then.

        When it runs, lists of different length in one row raise `UserCodeError`.

        Example:
            >>> ms.from_items([{"id": 1, "tags": ["a", "b"]}]).explode("tags").take_all()
            [{'id': 1, 'tags': 'a'}, {'id': 1, 'tags': 'b'}]
        """
        wanted = check_columns("columns", columns)
        require(bool(wanted), "columns", columns, "at least one column")
        check_flag("keep_empty", keep_empty)
        explode = Explode(tuple(wanted), keep_empty)
        made = Map(explode, options.shape(), changes_rows=True, columns=explode.schema)
        return self._mapped(made)

    def random_sample(self, fraction: float, *, seed: int | None = None) -> Dataset:
        """Draws rows at random, each by itself, so that about a fraction of them is left.

        They are drawn where they are read, so that those which are not drawn cost nothing further
        on: a draw moves past operators that give one row, or none, for each (`map`, `filter`, those
        on columns and, with `udf_modifying_row_count=False`, `map_batches`). A row is drawn by its
        place in the source. So a seed draws the same rows in each run, on any machine, as long as
        the source and how it is divided are the same.

        Args:
            fraction: How likely each row is drawn, from 0 to 1.
            seed: What the draw depends on; `None`: each run has another one. Ray Data's
                `RandomSeedConfig` is not needed for it.

        Raises:
            ArgumentError: An argument makes no sense; or an operator before it gives other rows
                than it gets, such as `flat_map`, `limit` and `zip`: draw before it, or call
                `materialize()` first.

        Example:
            >>> ms.range(1000).random_sample(0.01, seed=1).count() < 50
            True
        """
        is_right = is_number(fraction) and 0 <= fraction <= 1
        require(is_right, "fraction", fraction, "a number from 0 to 1")
        check_count("seed", seed, least=0)
        return self._planned(sampled(self._plan, RandomSample(float(fraction), seed)))

    def randomize_block_order(self, *, seed: int | None = None) -> Dataset:
        """Reads the source in a random order: row groups, files, or what else one task reads.

        The rows within each stay in order. What is read first comes out first with
        `preserve_order`, and about so without.

        Args:
            seed: What the order depends on; `None`: each run has another one.

        Raises:
            ArgumentError: The seed makes no sense, or there are several sources or a limit.

        Example:
            >>> ms.range(4, override_num_blocks=2).randomize_block_order(seed=1).count()
            4
        """
        check_count("seed", seed, least=0)
        return self._planned(reordered(self._plan, seed))

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

    def _with_expressions(
        self, columns: Sequence[tuple[str | None, Expr]], options: TaskOptions
    ) -> Dataset:
        made = WithColumns(tuple(columns))
        shape = options.shape()
        if classes_of(made.expressions):
            shape = _on_actors(shape, options)
        return self._mapped(Map(made, shape, columns=made.schema))

    def _mapped(self, operator: Map) -> Dataset:
        """The dataset with one more operator.

        Raises:
            SchemaError: It does not fit the columns, if they are known.
        """
        check_places(self._plan, operator)
        plan = self._plan.then(operator)
        plan.schema()
        return self._planned(plan)

    def _planned(self, plan: LogicalPlan) -> Dataset:
        """A dataset of another plan."""
        from millstream.dataset import Dataset

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
    if isinstance(given, Star):
        return {}
    is_right = is_named(given)
    require(is_right, "exprs", given, "a dict of expressions by name, or one with .alias(name)")
    named: Mapping[str, Expr] = given
    return named
