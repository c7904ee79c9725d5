"""Rows divided into the folders that their values in some columns name.

Owns the division, whatever the format of the files. `millstream.io.partitioning` owns how values
are written in paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millstream.errors import WriteError
from millstream.io.partitioning import folder_of, to_text


def partitions(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Divides rows by their values in some columns, in order; yields folders and the other columns.

    Raises:
        WriteError: Values of such a type cannot be part of a path.
    """
    if not names:
        yield "", table
        return
    rest = table.drop_columns(list(names))
    codes = np.zeros(table.num_rows, np.int64)
    for name in names:
        numbers = _numbered(name, table.column(name))
        # Numbering anew keeps the product small, however many columns there are.
        _, codes = np.unique(codes * (numbers.max() + 1) + numbers, return_inverse=True)
    distinct, first, counts = np.unique(codes, return_index=True, return_counts=True)
    if len(distinct) == 1:
        yield _folder(table, names, 0), rest
        return
    order = pa.array(np.argsort(codes, kind="stable"))
    rest = rest.take(order)
    start = 0
    for row, count in zip(first, counts, strict=True):
        yield _folder(table, names, int(row)), rest.slice(start, int(count))
        start += int(count)


def _numbered(name: str, column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Gives equal values equal numbers; nulls are one value."""
    try:
        encoded = pc.dictionary_encode(column, null_encoding="encode").unify_dictionaries()
    except pa.ArrowNotImplementedError as error:
        raise WriteError(
            f"the partition column {name!r} has the type {column.type}, whose values cannot be "
            "compared"
        ) from error
    parts = [chunk.indices.fill_null(len(chunk.dictionary)) for chunk in encoded.chunks]
    return np.concatenate([part.to_numpy(zero_copy_only=False) for part in parts]).astype(np.int64)


def _folder(table: pa.Table, names: Sequence[str], row: int) -> str:
    values: dict[str, str | None] = {}
    for name in names:
        value = table.column(name)[row]
        try:
            values[name] = to_text(value)
        except ValueError as error:
            raise WriteError(
                f"the value {value} of the partition column {name!r} of type {value.type} "
                f"cannot be part of a path: {error}"
            ) from error
    return folder_of(values)
