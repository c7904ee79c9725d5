"""What the rows of each group, or of a whole dataset, come to.

Owns the public aggregations and their arithmetic. Where one can be put together from parts
(`is_partial`), each task makes those of its rows before they are exchanged.

The names and the names of the columns are Ray Data's (`ray.data.aggregate`). Sums of integers and
decimals are exact, or an error; NaN is the least or the largest only where there is nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millstream.errors import ArgumentError, SchemaError
from millstream.errors.checks import check_count, check_flag, check_kind, is_number, require

if TYPE_CHECKING:
    import pyarrow as pa

    from millstream.blocks.groups import Groups

__all__ = [
    "AbsMax",
    "AggregateFn",
    "AsList",
    "Count",
    "CountDistinct",
    "First",
    "Max",
    "Mean",
    "Min",
    "Quantile",
    "Std",
    "Sum",
    "Unique",
]


class AggregateFn:
    """An aggregation over a column.

    Args:
        on: The column; `None` where none is needed.
        ignore_nulls: Whether nulls are left out; else one of them makes it null.
        alias_name: The name of the column that comes out.
    """

    #: What it is called: `"sum"` of the column `"x"` is `"sum(x)"`.
    label = ""
    #: Whether it can be put together from parts.
    is_partial = True
    #: The names of what its parts consist of.
    states: tuple[str, ...] = ()

    def __init__(
        self, on: str | None = None, ignore_nulls: bool = True, alias_name: str | None = None
    ) -> None:
        check_kind("on", on, str)
        check_flag("ignore_nulls", ignore_nulls)
        check_kind("alias_name", alias_name, str)
        if on is None and self.label != "count":
            raise ArgumentError(f"{type(self).__name__} needs a column: pass on='x'")
        self.on = on
        self.ignore_nulls = ignore_nulls
        self.name = alias_name or f"{self.label}({on or ''})"

    def __repr__(self) -> str:
        return self.name

    def parts(self, groups: Groups, column: pa.ChunkedArray | None) -> list[Any]:
        """What the rows of each group come to, as far as they are there.

        Args:
            groups: The groups.
            column: The values of all rows.

        Returns:
            An array for each of `states`, with a value for each group.
        """
        raise NotImplementedError

    def together(self, groups: Groups, states: list[Any]) -> list[Any]:
        """Puts parts together: `groups` are now groups of parts."""
        raise NotImplementedError

    def answer(self, states: list[Any]) -> Any:
        """The values that come out, one for each group."""
        raise NotImplementedError


class Count(AggregateFn):
    """The number of rows, or of values in a column.

    Args:
        on: The column; `None`: all rows are counted.
        ignore_nulls: Whether nulls are left out; with `on` only. By default they are counted.
        alias_name: The name of the column that comes out; `"count()"` or `"count(x)"`.
    """

    label = "count"
    states = ("count",)

    def __init__(
        self, on: str | None = None, ignore_nulls: bool = False, alias_name: str | None = None
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def parts(self, groups: Groups, column: pa.ChunkedArray | None) -> list[Any]:
        """The numbers."""
        import pyarrow as pa

        if column is None or not self.ignore_nulls:
            return [pa.array(groups.sizes)]
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        return [pa.array(groups.add_up(valid).astype("int64"))]

    def together(self, groups: Groups, states: list[Any]) -> list[Any]:
        """Their sums."""
        return [groups.reduce(states[0], "sum")]

    def answer(self, states: list[Any]) -> Any:
        """The numbers."""
        return states[0]


class _OfValues(AggregateFn):
    """An aggregation that knows how many values and nulls there were."""

    def parts(self, groups: Groups, column: pa.ChunkedArray | None) -> list[Any]:
        """The numbers of values and of nulls, and what `values` makes."""
        import pyarrow as pa

        assert column is not None  # noqa: S101 - all of these need one
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        counts = groups.add_up(valid).astype("int64")
        try:
            found = self.values(groups, column)
        except pa.ArrowNotImplementedError as error:
            raise SchemaError(
                f"{self.name}: values of type {column.type} have no {self.label}"
            ) from error
        return [pa.array(counts), pa.array(groups.sizes - counts), *found]

    def values(self, groups: Groups, column: pa.ChunkedArray) -> list[Any]:
        """What the values of each group come to; null if there are none."""
        raise NotImplementedError

    def together(self, groups: Groups, states: list[Any]) -> list[Any]:
        """Puts parts together."""
        counts = [groups.reduce(states[0], "sum"), groups.reduce(states[1], "sum")]
        return [*counts, *self.joined(groups, states, counts)]

    def joined(self, groups: Groups, states: list[Any], counts: list[Any]) -> list[Any]:
        """Puts together what `values` has made."""
        raise NotImplementedError

    def answer(self, states: list[Any]) -> Any:
        """The values; null where there are none, or a null counts."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = self.result(states)
        unknown = pc.equal(states[0], 0)
        if not self.ignore_nulls:
            unknown = pc.or_(unknown, pc.greater(states[1], 0))
        # Arrow widens short decimals here.
        return pc.if_else(unknown, pa.scalar(None, found.type), found).cast(found.type)

    def result(self, states: list[Any]) -> Any:
        """The values, where there are any."""
        return states[2]


class Sum(_OfValues):
    """The sum of numbers: of integers int64, or where that is too small decimal128(38, 0).

    Args:
        on: The column.
        ignore_nulls: Whether nulls are left out; else one of them makes it null.
        alias_name: The name of the column that comes out; `"sum(x)"`.
    """

    label = "sum"
    states = ("count", "nulls", "high", "low", "other")

    def values(self, groups: Groups, column: pa.ChunkedArray) -> list[Any]:
        """The sums, of integers in two halves, so that they never wrap."""
        from millstream.blocks import sums

        return sums.parts(groups, column, self.name)

    def joined(self, groups: Groups, states: list[Any], counts: list[Any]) -> list[Any]:
        """The sums of sums."""
        from millstream.blocks import sums

        return sums.together(groups, states[2], states[3], states[4], self.name)

    def result(self, states: list[Any]) -> Any:
        """The sums."""
        from millstream.blocks import sums

        return sums.whole(states[2], states[3], states[4], self.name)


class Mean(Sum):
    """The mean of numbers, as a float.

    Args:
        on: The column.
        ignore_nulls: Whether nulls are left out; else one of them makes it null.
        alias_name: The name of the column that comes out; `"mean(x)"`.
    """

    label = "mean"

    def result(self, states: list[Any]) -> Any:
        """The sums over the numbers of values."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from millstream.blocks import sums

        return pc.divide(sums.floats(super().result(states)), states[0].cast(pa.float64()))


class _Bound(_OfValues):
    """The least or the largest value."""

    states = ("count", "nulls", "bound")

    def values(self, groups: Groups, column: pa.ChunkedArray) -> list[Any]:
        """The bounds."""
        return [self._of(groups, column)]

    def joined(self, groups: Groups, states: list[Any], counts: list[Any]) -> list[Any]:
        """The bounds of bounds."""
        return [self._of(groups, states[2])]

    def _of(self, groups: Groups, column: Any) -> Any:
        import pyarrow as pa

        from millstream.blocks.groups import computable

        if pa.types.is_null(column.type):
            return pa.nulls(groups.count)
        is_duration = pa.types.is_duration(column.type)
        numbers = column.cast(pa.int64()) if is_duration else computable(column)
        return self._bound(groups, numbers).cast(column.type)

    def _bound(self, groups: Groups, column: Any) -> Any:
        return groups.reduce(column, self.label)


class Min(_Bound):
    """The least value: numbers, text, bytes, dates or times.

    Args:
        on: The column.
        ignore_nulls: Whether nulls are left out; else one of them makes it null.
        alias_name: The name of the column that comes out; `"min(x)"`.
    """

    label = "min"


class Max(_Bound):
    """The largest value: numbers, text, bytes, dates or times.

    Args:
        on: The column.
        ignore_nulls: Whether nulls are left out; else one of them makes it null.
        alias_name: The name of the column that comes out; `"max(x)"`.
    """

    label = "max"


class AbsMax(Max):
    """The largest magnitude of numbers.

    Args:
        on: The column.
        ignore_nulls: Whether nulls are left out; else one of them makes it null.
        alias_name: The name of the column that comes out; `"abs_max(x)"`.
    """

    label = "abs_max"

    def _of(self, groups: Groups, column: Any) -> Any:
        import pyarrow as pa

        if pa.types.is_temporal(column.type):
            raise pa.ArrowNotImplementedError(f"{column.type} has no magnitude")
        if not pa.types.is_signed_integer(column.type):
            return super()._of(groups, column)
        return self._of_integers(groups, column)

    def _bound(self, groups: Groups, column: Any) -> Any:
        import pyarrow.compute as pc

        return groups.reduce(pc.abs_checked(column), "max")

    def _of_integers(self, groups: Groups, column: Any) -> Any:
        """The bounds, of the next larger type if the least value is there: it has no magnitude."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        least = int(np.iinfo(column.type.to_pandas_dtype()).min)
        is_least = pc.equal(column, pa.scalar(least, column.type))
        if not pc.any(is_least).as_py():
            return self._bound(groups, column)
        zero, whole = pa.scalar(0, column.type), pa.scalar(-least, pa.uint64())
        others = pc.abs(pc.if_else(is_least, zero, column)).cast(pa.uint64())
        found = groups.reduce(pc.if_else(is_least, whole, others), "max")
        bits = 2 * column.type.bit_width
        return found if bits > 64 else found.cast(f"int{bits}")


class Std(_OfValues):
    """The standard deviation of numbers, as a float; null with no more values than `ddof`.

    Parts are put together as by Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances" (1979).

    Args:
        on: The column.
        ddof: The sum of squares is divided by the number of values less this.
        ignore_nulls: Whether nulls are left out; else one of them makes it null.
        alias_name: The name of the column that comes out; `"std(x)"`.
    """

    label = "std"
    states = ("count", "nulls", "mean", "spread")

    def __init__(
        self,
        on: str | None = None,
        ddof: int = 1,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)
        check_count("ddof", ddof, least=0, optional=False)
        self.ddof = ddof

    def values(self, groups: Groups, column: pa.ChunkedArray) -> list[Any]:
        """The means, and the sums of the squares of distances from them."""
        import numpy as np
        import pyarrow as pa

        from millstream.blocks import sums

        numbers = sums.as_floats(column, self.name)
        there = column.is_valid().to_numpy(zero_copy_only=False)
        counts = groups.add_up(there)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            means = groups.add_up(np.where(there, numbers, 0.0)) / counts
            apart = np.where(there, numbers - means[groups.ids], 0.0)
            spread = groups.add_up(np.square(apart))
        return [pa.array(np.where(counts > 0, means, 0.0)), pa.array(spread)]

    def joined(self, groups: Groups, states: list[Any], counts: list[Any]) -> list[Any]:
        """The means and the squares of all values."""
        import numpy as np
        import pyarrow as pa

        number, mean, spread = (np.asarray(states[place]) for place in (0, 2, 3))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            whole = np.asarray(counts[0])
            # No mean of nothing: it would be one of all that it is put together with.
            means = np.where(whole > 0, groups.add_up(number * mean) / whole, 0.0)
            between = number * np.square(np.where(number > 0, mean - means[groups.ids], 0.0))
            total = groups.add_up(spread) + groups.add_up(between)
        return [pa.array(means), pa.array(total)]

    def result(self, states: list[Any]) -> Any:
        """The roots of the means of squares."""
        import numpy as np
        import pyarrow as pa

        left = np.asarray(states[0]) - self.ddof
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.sqrt(np.asarray(states[3]) / left)
        return pa.array(found, mask=left <= 0)


class _OfAll(AggregateFn):
    """An aggregation that needs all values of a group at a time."""

    is_partial = False
    states = ("answer",)

    def answer(self, states: list[Any]) -> Any:
        """What was made of all values."""
        return states[0]


class AsList(_OfAll):
    """All values in a list, in the order of the rows.

    Args:
        on: The column.
        ignore_nulls: Whether nulls are left out.
        alias_name: The name of the column that comes out; `"list(x)"`.
    """

    label = "list"

    def parts(self, groups: Groups, column: pa.ChunkedArray | None) -> list[Any]:
        """The lists."""
        assert column is not None  # noqa: S101 - it needs one
        keep = column.is_valid().to_numpy(zero_copy_only=False) if self.ignore_nulls else None
        return [groups.lists(column, keep)]


class First(_OfAll):
    """The value of the first row.

    Args:
        on: The column.
        ignore_nulls: Whether it is that of the first row that has one.
        alias_name: The name of the column that comes out; `"first(x)"`.
    """

    label = "first"

    def parts(self, groups: Groups, column: pa.ChunkedArray | None) -> list[Any]:
        """The values."""
        import numpy as np
        import pyarrow as pa

        assert column is not None  # noqa: S101 - it needs one
        if not self.ignore_nulls:
            return [groups.first(column)]
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        rows = groups.order[valid[groups.order]]
        ids, places = np.unique(groups.ids[rows], return_index=True)
        found = np.full(groups.count, -1)
        found[ids] = rows[places]
        return [column.take(pa.array(found, mask=found < 0))]


class Unique(_OfAll):
    """The distinct values in a list, as they first come. There is one NaN, and one zero.

    Args:
        on: The column: no lists or structs.
        ignore_nulls: Whether null is left out.
        alias_name: The name of the column that comes out; `"unique(x)"`.
    """

    label = "unique"

    def parts(self, groups: Groups, column: pa.ChunkedArray | None) -> list[Any]:
        """The lists."""
        import pyarrow as pa

        from millstream.blocks.groups import key_column

        assert column is not None  # noqa: S101 - it needs one
        keep = self._keep(groups, column)
        if pa.types.is_floating(column.type):
            column = key_column(pa.table({"x": column}), "x").cast(column.type)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return [groups.lists(column, keep)]

    def _keep(self, groups: Groups, column: pa.ChunkedArray) -> Any:
        import numpy as np
        import pyarrow as pa

        from millstream.blocks.groups import Groups

        name = self.on or ""
        place = f"{name} group"
        pairs = Groups(pa.table({place: groups.ids, name: column}), [place, name])
        keep = np.zeros(len(groups.ids), bool)
        keep[pairs.first_rows] = True
        if self.ignore_nulls:
            keep &= column.is_valid().to_numpy(zero_copy_only=False)
        return keep


class CountDistinct(Unique):
    """The number of distinct values.

    Args:
        on: The column: no lists or structs.
        ignore_nulls: Whether null is not counted.
        alias_name: The name of the column that comes out; `"count_distinct(x)"`.
    """

    label = "count_distinct"

    def parts(self, groups: Groups, column: pa.ChunkedArray | None) -> list[Any]:
        """The numbers."""
        import pyarrow as pa

        assert column is not None  # noqa: S101 - it needs one
        return [pa.array(groups.add_up(self._keep(groups, column)).astype("int64"))]


class Quantile(_OfAll):
    """A quantile of numbers, interpolated between the two next to it, as a float.

    Args:
        on: The column.
        q: Which, from 0 to 1: 0.5 is the median.
        ignore_nulls: Whether nulls are left out; else one of them makes it null.
        alias_name: The name of the column that comes out; `"quantile(x)"`.
    """

    label = "quantile"

    def __init__(
        self,
        on: str | None = None,
        q: float = 0.5,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)
        require(is_number(q) and 0 <= q <= 1, "q", q, "a number from 0 to 1")
        self.q = q

    def parts(self, groups: Groups, column: pa.ChunkedArray | None) -> list[Any]:
        """The quantiles."""
        import numpy as np
        import pyarrow as pa

        from millstream.blocks import sums

        assert column is not None  # noqa: S101 - it needs one
        numbers = sums.as_floats(column, self.name)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        counts = groups.add_up(valid).astype(np.int64)
        rows = np.lexsort((np.where(valid, numbers, np.inf), ~valid, groups.ids))
        at = np.maximum(0, counts - 1) * self.q
        low = groups.starts + np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, groups.starts + np.maximum(0, counts - 1))
        below, above = numbers[rows[low]], numbers[rows[high]]
        part = at - np.floor(at)
        with np.errstate(invalid="ignore"):
            found = np.where(part > 0, below + (above - below) * part, below)
        unknown = counts == 0 if self.ignore_nulls else counts < groups.sizes
        return [pa.array(found, mask=unknown)]


def check_aggregations(
    aggregations: Sequence[Any], keys: Sequence[str] = ()
) -> tuple[AggregateFn, ...]:
    """Checks what is to be computed.

    Args:
        aggregations: What is asked.
        keys: The columns that stand beside it.

    Raises:
        ArgumentError: There is none, one is no aggregation, or two have one name.
    """
    if not aggregations:
        raise ArgumentError("pass at least one aggregation, such as Count() or Sum('x')")
    for each in aggregations:
        is_right = isinstance(each, AggregateFn) and type(each).parts is not AggregateFn.parts
        require(is_right, "aggregation", each, "one of millstream.aggregate, such as Sum('x')")
    names = [each.name for each in aggregations]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ArgumentError(f"two aggregations are called {twice[0]!r}: pass alias_name to one")
    taken = [name for name in names if name in keys]
    if taken:
        raise ArgumentError(f"an aggregation is called {taken[0]!r}, as a key is: pass alias_name")
    return tuple(aggregations)
