"""Batches: what a user function gets of a block, and a block of what it gives back.

Owns the three formats and the checks of what comes back. Must not know how functions are called,
files or scheduling. Pandas is imported only where a batch is one.
"""

from __future__ import annotations

import re
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from millstream.blocks import block, columns, nan_marks, tensor
from millstream.blocks.column_types import settle
from millstream.blocks.convert import Column, convert
from millstream.blocks.ownership import own
from millstream.errors import (
    ArgumentError,
    MillstreamError,
    MissingPackageError,
    SchemaError,
    UserCodeError,
)

BatchFormat = Literal["default", "numpy", "pandas", "pyarrow"]
Batch = Any
"""A dict of name to NumPy array, a `pandas.DataFrame`, or a `pyarrow.Table`."""


def require_format(name: str) -> None:
    """Checks a `batch_format`.

    Raises:
        ArgumentError: It is none of those that exist.
    """
    if name not in _TO_BATCH:
        known = ", ".join(map(repr, _TO_BATCH))
        raise ArgumentError(f"batch_format must be one of {known}, not {name!r}")


class Given:
    """What a batch was made of, so that columns that come back can be recognised.

    A column under its old name keeps what the format cannot express, such as a time zone. An array
    that is handed back is known by its identity, and keeps its nulls.

    Args:
        table: The block.
        batch: The batch made of it.
    """

    def __init__(self, table: pa.Table, batch: Batch) -> None:
        self.schema = table.schema
        self._table = table
        self._arrays: dict[int, tuple[weakref.ref[Any], pa.ChunkedArray]] = {}
        if isinstance(batch, dict):
            for name, array in batch.items():
                self._arrays[id(array)] = weakref.ref(array), table.column(name)

    @cached_property
    def has_nulls(self) -> bool:
        """Whether a column of floats has nulls, which arrays of it have marked."""
        floats = (column for column in self._table.columns if pa.types.is_floating(column.type))
        return any(column.null_count for column in floats)

    def type_of(self, name: str) -> pa.DataType | None:
        """Returns the type of the column of this name, if there was one."""
        index = self.schema.get_field_index(name)
        return self.schema.field(index).type if index >= 0 else None

    def column_of(self, array: np.ndarray[Any, Any]) -> pa.ChunkedArray | None:
        """Returns the column that this very array was made of, if it was."""
        known = self._arrays.get(id(array))
        return known[1] if known is not None and known[0]() is array else None


def to_batch(table: pa.Table, format: BatchFormat, *, writable: bool = False) -> Batch:
    """Makes a batch of a block.

    Args:
        table: The block.
        format: `"default"` is `"numpy"`.
        writable: Copies what would otherwise be a read-only view of the block.
    """
    if not writable:
        _expect_views()
    return _TO_BATCH[format](block.unseal(table), writable)


def from_batch(batch: Batch, given: Given | None = None) -> pa.Table:
    """Makes a block of what a batch function returned.

    Args:
        batch: A batch in any format, whichever the function was given.
        given: What the function was given.

    Raises:
        UserCodeError: It is no batch; says what it is and what is accepted.
    """
    if isinstance(batch, pa.RecordBatch):
        batch = pa.Table.from_batches([batch])
    if isinstance(batch, pa.Table):
        return _from_table(batch)
    if isinstance(batch, Mapping):
        return _from_mapping(batch, given)
    # Another thread may be in the middle of importing it.
    if isinstance(batch, getattr(sys.modules.get("pandas"), "DataFrame", ())):
        return _from_pandas(batch, given)
    raise UserCodeError(
        f"the function returned {_describe(batch)}, which is not a batch; return a dict of column "
        "name to NumPy array or list, a pandas.DataFrame, or a pyarrow.Table"
    )


def rebatch(blocks: Iterable[pa.Table], rows: int | None) -> Iterator[pa.Table]:
    """Cuts a stream of blocks into tables of `rows` rows, the last one shorter.

    A table that lies in one block is a view of it. Empty blocks vanish. With `rows` None each
    block is one table.
    """
    held: list[pa.Table] = []
    held_rows = 0
    for table in blocks:
        if table.num_rows == 0:
            continue
        if rows is None:
            yield table
            continue
        start = 0
        while held_rows + table.num_rows - start >= rows:
            end = start + rows - held_rows
            held.append(table.slice(start, end - start))
            yield block.concat(held)
            held, held_rows, start = [], 0, end
        if start < table.num_rows:
            held.append(table.slice(start))
            held_rows += table.num_rows - start
    if held:
        yield block.concat(held)


def join_small(blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Joins neighbours in a stream of blocks as long as they are small together, without copying.

    What a call costs beside its rows is paid once for them then. Only blocks of one schema are
    joined, so that no value changes its type. Empty blocks vanish.
    """
    held: list[pa.Table] = []
    held_bytes = 0
    for table in blocks:
        if table.num_rows == 0:
            continue
        size = block.nbytes(table)
        fits = held_bytes + size <= _JOINED_BYTES_MAX
        if held and not (fits and held[0].schema.equals(table.schema, check_metadata=True)):
            yield block.concat(held)
            held, held_bytes = [], 0
        held.append(table)
        held_bytes += size
        if held_bytes >= _JOINED_BYTES_MAX:
            yield block.concat(held)
            held, held_bytes = [], 0
    if held:
        yield block.concat(held)


def _to_numpy(table: pa.Table, writable: bool) -> dict[str, np.ndarray[Any, Any]]:
    return {
        name: _array(name, column, writable)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def _expect_views() -> None:
    """Keeps torch from warning the user of arrays that are read-only on purpose.

    Not for good, since programs reset the filters: it is looked up for each batch.
    """
    if _VIEWS_EXPECTED not in warnings.filters:
        action, message, category, _, _ = _VIEWS_EXPECTED
        warnings.filterwarnings(action, message.pattern, category)


def _array(name: str, column: pa.ChunkedArray, writable: bool) -> np.ndarray[Any, Any]:
    try:
        return columns.to_numpy(column, writable=writable)
    except (ValueError, pa.ArrowException) as error:
        raise SchemaError(f"the column {name!r} of type {column.type} {error}") from error


def _to_pandas(table: pa.Table, writable: bool) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingPackageError(
            "batch_format='pandas' needs pandas: pip install 'millstream[pandas]'"
        ) from error
    special = {
        index: values
        for index, column in enumerate(table.columns)
        if (values := _pandas_values(table.column_names[index], column, writable)) is not None
    }
    rest = [index for index in range(table.num_columns) if index not in special]
    frame = table.select(rest).to_pandas(ignore_metadata=True)
    frame.index = pandas.RangeIndex(table.num_rows)
    if writable:
        frame = frame.copy()
    names = table.column_names
    if len(special) < block.WIDE:
        for index, values in special.items():
            frame.insert(index, names[index], values)
        return frame
    # To put one more column into a frame takes the longer the more it has.
    made = pandas.DataFrame({names[index]: values for index, values in special.items()})
    return pandas.concat([frame, made], axis="columns")[names]


def _pandas_values(name: str, column: pa.ChunkedArray, writable: bool) -> Any:
    """Returns what pyarrow would not convert to pandas as it should be, or None."""
    import pandas

    type = column.type
    if pa.types.is_dictionary(type):
        clean = all(_are_categories(chunk.dictionary) for chunk in column.chunks)
        return None if clean else pandas.Series(_recoded(column).to_pandas())
    if tensor.is_tensor(type) or pa.types.is_nested(type) or pa.types.is_time(type):
        array = _array(name, column, writable)
        return pandas.Series(list(array), dtype=object)
    if pa.types.is_floating(type):
        return _marked(column)
    if column.null_count and (pa.types.is_integer(type) or pa.types.is_boolean(type)):
        # NumPy has no null for these: pyarrow would give floats, or objects.
        names = {"bool": "boolean", "uint8": "UInt8", "uint16": "UInt16", "uint32": "UInt32"}
        names |= {"uint64": "UInt64"}
        return pandas.array([], names.get(str(type), str(type).capitalize())).dtype.__from_arrow__(
            column
        )
    return None


def _marked(column: pa.ChunkedArray) -> np.ndarray[Any, Any] | None:
    """Returns floats among which are NaNs, so that these can be told from nulls; else None."""
    array = columns.to_numpy(column, writable=False)
    values = np.isnan(array)
    if column.null_count:
        values &= column.is_valid().to_numpy()
    if not values.any():
        return None
    array = array.copy()
    nan_marks.put(array, nan_marks.VALUE, values)
    return array


def _are_categories(dictionary: pa.Array) -> bool:
    return not dictionary.null_count and len(dictionary.unique()) == len(dictionary)


def _recoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a dictionary column in which every value is there once, and null is none of them."""
    return convert(column, column.type.value_type).dictionary_encode()


def _to_table(table: pa.Table, writable: bool) -> pa.Table:
    return table


def _from_table(table: pa.Table) -> pa.Table:
    names = table.column_names
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise UserCodeError(
            f"the function returned a table in which the column {', '.join(map(repr, twice))} "
            "occurs more than once; names must be unique"
        )
    return block.plain(block.seal(table))


def _from_mapping(batch: Mapping[Any, Any], given: Given | None) -> pa.Table:
    made: dict[str, Column] = {}
    is_given = None if given is None else lambda array: given.column_of(array) is not None
    for name, values in own(batch, is_given).items():
        if not isinstance(name, str):
            raise UserCodeError(
                f"the function returned a dict with the key {name!r} of type "
                f"{type(name).__name__}; the keys are column names and must be strings"
            )
        made[name] = _column(name, values, given)
    lengths = {name: len(column) for name, column in made.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise UserCodeError(f"the function returned columns of different lengths: {counts}")
    return pa.table(made)


def _column(name: str, values: Any, given: Given | None) -> Column:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    like = given.type_of(name) if given else None
    try:
        # As above.
        if isinstance(values, getattr(sys.modules.get("pandas"), "Series", ())):
            return _series(name, values, given)
        if isinstance(values, (list, tuple)):
            return columns.from_values(values, like)
        if not isinstance(values, np.ndarray) and hasattr(values, "__array__"):
            # Tensors of other libraries, which may share their memory, and NumPy scalars.
            values = np.array(values)
        if isinstance(values, np.ndarray) and values.ndim > 0:
            column = given.column_of(values) if given else None
            same = columns.restored(values, column) if column is not None else None
            if same is not None:
                return same
            nullable = columns.with_nulls(values, like) if given and given.has_nulls else None
            return columns.from_ndarray(values, like) if nullable is None else nullable
    except MillstreamError:
        raise
    except Exception as error:
        raise UserCodeError(f"the returned column {name!r} {error}") from error
    raise UserCodeError(
        f"the function returned {_describe(values)} for the column {name!r}; it must be a NumPy "
        "array or a list with one value for each row"
    )


def _from_pandas(frame: Any, given: Given | None) -> pa.Table:
    made: dict[str, Column] = {}
    for position, name in enumerate(frame.columns):
        if not isinstance(name, str):
            raise UserCodeError(
                f"the function returned a DataFrame with the column name {name!r} of type "
                f"{type(name).__name__}; names must be strings"
            )
        if name in made:
            raise UserCodeError(
                f"the function returned a DataFrame in which the column {name!r} occurs twice"
            )
        made[name] = _series(name, frame.iloc[:, position], given)
    return pa.table(made) if made else block.rows_only(len(frame))


def _series(name: str, series: Any, given: Given | None) -> Column:
    import pandas

    like = given.type_of(name) if given else None
    if isinstance(series.dtype, pandas.SparseDtype):
        series = series.sparse.to_dense()
    if series.dtype == object:
        missing = pandas.isna(series).to_numpy()
        values = [None if gone else value for value, gone in zip(series, missing, strict=True)]
        return _column(name, values, given)
    if isinstance(series.dtype, np.dtype) and series.dtype.kind == "f":
        return settle(_floats(series.to_numpy()), like)
    try:
        column = pa.Array.from_pandas(series)
    except pa.ArrowException as error:
        raise UserCodeError(
            f"the returned column {name!r} has dtype {series.dtype} from row 0 on, which Arrow has "
            "no type for"
        ) from error
    has_codes = like is not None and pa.types.is_dictionary(like)
    if isinstance(series.dtype, pandas.CategoricalDtype) and not has_codes:
        # Each batch has codes for its own categories; those of 8 bits are soon too few together.
        type = column.type
        column = convert(column, pa.dictionary(pa.int32(), type.value_type, type.ordered))
    return settle(column, like, in_utc=True)


def _floats(array: np.ndarray[Any, Any]) -> pa.Array:
    """Pandas has NaN for what is missing; what was NaN before stays NaN."""
    missing = np.isnan(array)
    if not missing.any():
        return pa.array(array)
    values = nan_marks.find(array, nan_marks.VALUE)
    return pa.array(np.where(values, np.nan, array), mask=missing & ~values, from_pandas=False)


def _describe(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, (list, tuple)):
        inner = f" of {type(value[0]).__name__}" if value else ""
        return f"a {type(value).__name__}{inner}"
    return f"a value of type {type(value).__name__}"


# From this size on, what a call costs beside its rows hardly shows.
_JOINED_BYTES_MAX = 1 << 20
# Such an entry is what `warnings.filterwarnings` makes of it.
_VIEWS_EXPECTED: Any = (
    "ignore",
    re.compile("The given NumPy array is not writable", re.IGNORECASE),
    UserWarning,
    None,
    0,
)
_TO_BATCH: dict[str, Callable[[pa.Table, bool], Batch]] = {
    "default": _to_numpy,
    "numpy": _to_numpy,
    "pandas": _to_pandas,
    "pyarrow": _to_table,
}
