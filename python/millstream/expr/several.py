"""What stands for several columns where `Dataset.with_columns` is given expressions.

Owns `star` and `unnest`. They are no expressions themselves, since they have no value for each row.
Must not know how a struct is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from millstream.errors import SchemaError
from millstream.errors.checks import check_kind
from millstream.expr.nodes import Expr


@dataclass(frozen=True, eq=False)
class Star:
    """All columns that are there."""

    def __repr__(self) -> str:
        return "star()"


@dataclass(frozen=True, eq=False)
class Unnest:
    """The fields of structs, a column each.

    Args:
        expr: What gives the structs.
    """

    expr: Expr

    def __post_init__(self) -> None:
        check_kind("expr", self.expr, Expr, optional=False)

    def __repr__(self) -> str:
        return f"unnest({self.expr!r})"


def fields_of(expr: Expr, type: pa.DataType) -> list[pa.Field]:
    """The columns that structs become.

    Args:
        expr: What gives them, for errors.
        type: Their type. Where all are null it may be that of nulls, which have no fields.

    Raises:
        SchemaError: They are none.
    """
    if pa.types.is_null(type):
        return []
    if not pa.types.is_struct(type):
        raise SchemaError(f"unnest({expr!r}) is for structs, and its values are {type}")
    return [type.field(place) for place in range(type.num_fields)]
