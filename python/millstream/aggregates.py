"""What all rows of a dataset come to: sums, bounds, means, distinct values.

Owns the public names and the checks of their arguments. `millstream.blocks.aggregate` owns the
arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, localcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millstream.blocks import rows
from millstream.blocks.transforms import SelectColumns
from millstream.consumption import Consumption
from millstream.errors.checks import check_columns, check_count, check_flag, check_kind
from millstream.plan.logical import Map

if TYPE_CHECKING:
    # Loads what nobody else needs before the first row.
    from millstream.blocks.aggregate import Distinct, Part, Parts


class Aggregates(Consumption):
    """The part of a dataset that runs it and gives one value for all of its rows.

    Each task reduces its rows, and the driver puts the parts together. Where `on` is a list or
    `None`, which is all columns, the answer is a dict: `{"sum(x)": 3}`.
    """

    def sum(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Any:
        """The sum of a column. Sums of integers and decimals are exact, however large.

        Args:
            on: The column; of a list, or of all (`None`), the answer is a dict: `{"sum(x)": 3}`.
            ignore_nulls: Whether nulls are left out; else one of them makes the sum `None`.

        Returns:
            The sum; `None` without values.

        Raises:
            SchemaError: A column does not exist, or is of no numbers.

        Example:
            >>> ms.range(4).sum("id")
            6
        """
        return self._aggregate("sum", on, ignore_nulls, _total, needs_sum=True)

    def min(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Any:
        """The least value of a column. NaN is it only if there is nothing else.

        Args:
            on: The column: numbers, text, bytes, dates or times; of a list, or of all (`None`), the
                answer is a dict: `{"min(x)": 3}`.
            ignore_nulls: Whether nulls are left out; else one of them makes it `None`.

        Raises:
            SchemaError: A column does not exist, or its values have no order.
        """
        return self._aggregate("min", on, ignore_nulls, _least, needs_bounds=True)

    def max(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Any:
        """The largest value of a column; see `min`.

        Args:
            on: The column: numbers, text, bytes, dates or times; of a list, or of all (`None`), the
                answer is a dict: `{"max(x)": 3}`.
            ignore_nulls: Whether nulls are left out; else one of them makes it `None`.

        Raises:
            SchemaError: A column does not exist, or its values have no order.
        """
        return self._aggregate("max", on, ignore_nulls, _most, needs_bounds=True)

    def mean(self, on: str | Sequence[str] | None = None, ignore_nulls: bool = True) -> Any:
        """The mean of a column; of decimals a Decimal of 38 digits, else a float.

        Args:
            on: The column; of a list, or of all (`None`), the answer is a dict: `{"mean(x)": 3}`.
            ignore_nulls: Whether nulls are left out; else one of them makes it `None`.

        Raises:
            SchemaError: A column does not exist, or is of no numbers.
        """
        return self._aggregate("mean", on, ignore_nulls, _mean, needs_sum=True)

    def std(
        self, on: str | Sequence[str] | None = None, ddof: int = 1, ignore_nulls: bool = True
    ) -> Any:
        """The standard deviation of a column, as a float.

        Args:
            on: The column; of a list, or of all (`None`), the answer is a dict: `{"std(x)": 3}`.
            ddof: The sum of squares is divided by the number of values less this.
            ignore_nulls: Whether nulls are left out; else one of them makes it `None`.

        Returns:
            It; `None` with no more values than `ddof`.

        Raises:
            SchemaError: A column does not exist, or is of no numbers.
        """
        check_count("ddof", ddof, least=0)
        deviation = partial(_deviation, ddof=ddof)
        return self._aggregate("std", on, ignore_nulls, deviation, needs_sum=True)

    def unique(self, column: str, ignore_nulls: bool = False) -> list[Any]:
        """The distinct values of a column, in the order in which they first come.

        There is one NaN, and one zero. All values are held in memory at a time.

        Args:
            column: Its name.
            ignore_nulls: Whether null is left out.

        Raises:
            SchemaError: The column does not exist, or its values cannot be compared.

        Example:
            >>> ms.from_items([{"x": 2}, {"x": 1}, {"x": 2}]).unique("x")
            [2, 1]
        """
        from millstream.blocks.aggregate import Distinct, distinct_values

        check_kind("column", column, str, optional=False)
        check_flag("ignore_nulls", ignore_nulls)
        tables = self._reduced((column,), Distinct(column))
        return distinct_values(tables, ignore_nulls=ignore_nulls)

    def _aggregate(
        self,
        name: str,
        on: str | Sequence[str] | None,
        ignore_nulls: bool,
        answer: Callable[[Part], Any],
        **needs: bool,
    ) -> Any:
        from millstream.blocks.aggregate import Parts

        check_flag("ignore_nulls", ignore_nulls)
        columns = (self.columns() or []) if on is None else check_columns("on", on)
        parts = self._parts(Parts(tuple(columns), **needs)) if columns else []
        answers = {}
        for column, part in zip(columns, parts, strict=True):
            is_known = part is not None and (ignore_nulls or not part.nulls)
            answers[f"{name}({column})"] = answer(part) if part and is_known else None
        return answers[f"{name}({on})"] if isinstance(on, str) else answers

    def _parts(self, transform: Parts) -> list[Part | None]:
        """What is known of each column; `None` of a dataset without rows."""
        from millstream.blocks.aggregate import Part

        whole: list[Part | None] = [None for _ in transform.columns]
        for table in self._reduced(transform.columns, transform):
            for row in range(table.num_rows):
                for place, known in enumerate(whole):
                    part = Part.from_table(table.slice(row, 1), place)
                    whole[place] = part if known is None else known.with_other(part)
        return whole

    def _reduced(self, columns: tuple[str, ...], transform: Parts | Distinct) -> Iterator[pa.Table]:
        """What each task makes of some columns."""
        chosen = self._plan.then(Map(SelectColumns(columns)))
        return self._execute(chosen.then(Map(transform, changes_rows=True))).tables()


def _total(part: Part) -> Any:
    return part.total


def _least(part: Part) -> Any:
    return _value(part.least)


def _most(part: Part) -> Any:
    return _value(part.most)


def _value(bound: pa.Array) -> Any:
    """The value in an array of one; `None` of an array of none."""
    return next(rows.iter_rows(pa.table({"x": bound})), {"x": None})["x"]


def _mean(part: Part) -> Any:
    if part.total is None:
        return None
    if isinstance(part.total, Decimal):
        with localcontext(prec=_DIGITS):
            return part.total / part.count
    return part.total / part.count


def _deviation(part: Part, ddof: int) -> float | None:
    left = part.count - ddof
    return math.sqrt(part.spread / left) if part.total is not None and left > 0 else None


#: Of the mean of decimals.
_DIGITS = 38
