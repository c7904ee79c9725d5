"""Values of databases: as columns, or an error where they would become other values.

Owns what is checked of Arrow's columns and of Python's values. Must not know any database.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from millstream.blocks import columns
from millstream.blocks.common_type import common_type
from millstream.blocks.convert import Column, convert
from millstream.errors import ReadError


def check_values(field: pa.Field, column: pa.Array) -> None:
    """Refuses decimals of too many digits, times beyond a day, text that is none, infinite days."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ReadError(
            f"the column {field.name!r} has a value that is no {field.type}: {error}; cast it in "
            "the query"
        ) from error
    width = 32 if pa.types.is_date32(field.type) else 64
    if pa.types.is_date32(field.type) or pa.types.is_timestamp(field.type):
        from pyarrow import compute

        ends = compute.min_max(column.view(pa.int32() if width == 32 else pa.int64())).as_py()
        if any(end is not None and abs(end) >= 2 ** (width - 1) - 1 for end in ends.values()):
            raise ReadError(
                f"the column {field.name!r} has the value infinity, which {field.type} does not "
                "have; cast it in the query, such as CAST(… AS VARCHAR)"
            )


def column_of(name: str, values: Sequence[Any], known: pa.DataType, start: int) -> Column:
    """Makes a column of the type that it has had so far, or of one that holds that too.

    Args:
        name: Its name.
        values: Its values.
        known: The type so far; null if there is none.
        start: Which row of the result the first is.

    Raises:
        ReadError: A value is not of that type, or would become another one.
    """
    try:
        _check_python_values(values)
        made = columns.from_values(list(values), known)
        common = common_type(known, made.type)
        if common is None:
            raise TypeError(f"is {known} before and {made.type} now")
        return convert(made, common)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise ReadError(
            f"the column {name!r}, with rows counted from row {start} of the result, {error}; cast "
            "it in the query, such as CAST(… AS TEXT)"
        ) from error


def _check_python_values(values: Sequence[Any]) -> None:
    """Refuses what Arrow would take as another value.

    Raises:
        ValueError: There is such a value.
    """
    for value in values:
        if isinstance(value, datetime.time) and value.tzinfo is not None:
            raise ValueError(f"has the time {value}, whose zone would be lost")
        if isinstance(value, Decimal) and not value.is_finite():
            raise ValueError(f"has the value {value}, which decimals of Arrow do not have")
