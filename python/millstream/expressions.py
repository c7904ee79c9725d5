"""Expressions over columns: `col("price") * 2 > lit(10)`.

Owns the public names. They are used by `Dataset.filter`, `Dataset.with_column` and
`Dataset.with_columns`; Arrow computes them. What they are is in `millstream.expr`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from millstream.errors.checks import check_count
from millstream.expr.drawn import Placed, RandomNumbers, RowIds, drawn_uuids
from millstream.expr.nodes import Column, Expr, Literal, When
from millstream.expr.several import Star, Unnest
from millstream.expr.udf import UdfMaker, udf

__all__ = [
    "Expr",
    "col",
    "download",
    "lit",
    "monotonically_increasing_id",
    "pyarrow_udf",
    "random",
    "star",
    "udf",
    "unnest",
    "uuid",
    "when",
]


def col(name: str) -> Expr:
    """The values of a column.

    Args:
        name: Its name, dots included.

    Raises:
        ArgumentError: It is no name.

    Example:
        >>> import millstream as ms
        >>> ms.range(4).filter(col("id") > 1).take_all()
        [{'id': 2}, {'id': 3}]
    """
    return Column(name)


def download(uri_column_name: str, *, filesystem: Any = None) -> Expr:
    """The bytes of the files whose addresses are in a column, as `col(...).url.download()` gives.

    Args:
        uri_column_name: The column.
        filesystem: A file system of pyarrow or fsspec that they are on; by default each address
            says it.

    Raises:
        ArgumentError: An argument makes no sense.
    """
    return Column(uri_column_name).url.download(filesystem=filesystem)


def lit(value: Any) -> Expr:
    """A constant. Beside an expression, a constant needs no `lit`.

    Args:
        value: What a row may hold in a column, or an Arrow scalar, which has a type of its own.

    Raises:
        ArgumentError: Arrow has no type for it.

    Example:
        >>> import millstream as ms
        >>> ms.range(1).with_column("of", lit("here")).take_all()
        [{'id': 0, 'of': 'here'}]
    """
    return Literal(value)


def monotonically_increasing_id() -> Expr:
    """A number for each row that no other row of the source has, and that grows with its order.

    The upper bits are the place of the unit in the source (a row group, a file, a part of them),
    the lower 33 that of the row in what is left of the unit there, as in Ray Data. So numbers are
    not consecutive. They depend on nothing else: a task that is repeated gives the same, and so
    does another run, as long as the source, how it is divided and what comes before are the same.

    They are given where rows are read. Before it in a dataset may be expressions, choices and names
    of columns, and `random_sample`; after anything else (`map_batches`, `union`, `limit`,
    `random_shuffle` and so on) it is an error: give them before, or call `materialize()` first.

    Example:
        >>> import millstream as ms
        >>> ds = ms.range(4, override_num_blocks=2)
        >>> ds.with_column("key", monotonically_increasing_id()).take_all()[1:3]
        [{'id': 1, 'key': 1}, {'id': 2, 'key': 8589934592}]
    """
    return Placed(RowIds())


def random(*, seed: int | None = None) -> Expr:
    """A random float for each row, from 0 to below 1.

    It is given where rows are read, and may stand where `monotonically_increasing_id` may. It
    depends on the seed and on the place of the row in its unit of the source: a task that is
    repeated gives the same. Two expressions of one seed give the same numbers.

    Args:
        seed: With one, each run gives the same numbers, as long as the source, how it is divided
            and what comes before are the same. Ray Data gives others in each run, unless
            `reseed_after_execution=False`. `None`: each run has others, and so has each `random()`.

    Raises:
        ArgumentError: The seed is no whole number of at least 0.

    Example:
        >>> import millstream as ms
        >>> ds = ms.range(1000).with_column("draw", random(seed=7))
        >>> ds.filter(col("draw") < 0.5).count() + ds.filter(col("draw") >= 0.5).count()
        1000
    """
    check_count("seed", seed, least=0)
    return Placed(RandomNumbers(seed))


def pyarrow_udf(return_dtype: pa.DataType | str) -> Callable[[Callable[..., Any]], UdfMaker]:
    """Makes a function on Arrow arrays one that can be used in expressions.

    It is `udf` by the name that Ray Data has for it: there, functions of `udf` may get what is no
    Arrow array; here, all get Arrow arrays.

    Args:
        return_dtype: The Arrow type of what it returns, or its name, such as `"int64"`.

    Raises:
        ArgumentError: There is no such type, or what is decorated cannot be called.

    Example:
        >>> import millstream as ms, pyarrow.compute as pc
        >>> @pyarrow_udf("int64")
        ... def bits(numbers):
        ...     return pc.bit_wise_not(numbers)
        >>> ms.range(1).with_column("bits", bits(col("id"))).take_all()
        [{'id': 0, 'bits': -1}]
    """
    return udf(return_dtype)


def star() -> Star:
    """All columns that are there, for `Dataset.with_columns`, which keeps them anyway.

    It is no expression: it has no value for each row.

    Example:
        >>> import millstream as ms
        >>> ms.range(1).with_columns(star(), {"next": col("id") + 1}).take_all()
        [{'id': 0, 'next': 1}]
    """
    return Star()


def unnest(expr: Expr) -> Unnest:
    """The fields of structs, each as a column of its name, for `Dataset.with_columns`.

    The structs are computed once. A null struct has null in each field. Structs within structs stay
    structs. It is no expression: it has no value for each row.

    Args:
        expr: What gives the structs. Their type need not be known before the dataset runs.

    Raises:
        ArgumentError: It is no expression.

    Example:
        >>> import millstream as ms
        >>> ds = ms.from_items([{"at": {"x": 1, "y": 2}}])
        >>> ds.with_columns(unnest(col("at"))).drop_columns("at").take_all()
        [{'x': 1, 'y': 2}]
    """
    return Unnest(expr)


def uuid() -> Expr:
    """A random UUID (version 4) for each row, as text: `"2899f7bd-8716-4b98-a774-df730a99c8b3"`.

    They are drawn when rows are computed, so that another run has others, and so has a task that is
    repeated. Where one expression is used for several columns at once, they have the same.

    Example:
        >>> import millstream as ms
        >>> [row] = ms.range(1).with_column("key", uuid()).take_all()
        >>> len(row["key"])
        36
    """
    return drawn_uuids()


def when(condition: Expr) -> When:
    """Begins a choice: `when(...).then(...).when(...).then(...).otherwise(...)`.

    Without `otherwise` the rest is null. Ray Data does not have it.

    Args:
        condition: A bool for each row; null is as false.

    Raises:
        ArgumentError: It is no expression.

    Example:
        >>> import millstream as ms
        >>> size = when(col("id") > 0).then("more").otherwise("none")
        >>> ms.range(2).with_column("size", size).take_all()
        [{'id': 0, 'size': 'none'}, {'id': 1, 'size': 'more'}]
    """
    return When(condition)
