"""Expressions over columns: `col("price") * 2 > lit(10)`.

Owns the public names. They are used by `Dataset.filter`, `Dataset.with_column` and
`Dataset.with_columns`; Arrow computes them. What they are is in `millstream.expr`.
"""

from __future__ import annotations

from typing import Any

from millstream.expr.nodes import Column, Expr, Literal, When
from millstream.expr.udf import udf

__all__ = ["Expr", "col", "download", "lit", "udf", "when"]


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
