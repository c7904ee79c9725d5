"""Sources of what other libraries hold: pandas, NumPy, Polars, Hugging Face, torch.

Owns how their objects become tables, and units where not all is in memory. Imports none of these
libraries: who passes an object has loaded its own. Must not know files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block, columns
from millstream.blocks.batch import from_batch
from millstream.blocks.rows import RowBuilder
from millstream.errors import ArgumentError, ReadError, SchemaError, UserCodeError
from millstream.errors.checks import check_count
from millstream.io.memory import plan_tables
from millstream.io.source import ReadUnit, Source, UnitOfNoFiles, split_rows


def plan_pandas(dfs: Any, *, blocks: int | None = None) -> Source:
    """Plans one DataFrame or a list of them; see `from_pandas`.

    Raises:
        ArgumentError: Something else was passed.
        SchemaError: A column has no name, or values that Arrow has no type for.
    """
    frames = dfs if isinstance(dfs, (list, tuple)) else [dfs]
    return plan_tables("FromPandas", map(_of_frame, frames), blocks)


def plan_numpy(ndarrays: Any, *, blocks: int | None = None) -> Source:
    """Plans one array or a list of them, in the column "data".

    Raises:
        ArgumentError: Something else was passed, or an array has no rows to count.
        SchemaError: Arrow has no type for the values.
    """
    arrays = ndarrays if isinstance(ndarrays, (list, tuple)) else [ndarrays]
    return plan_tables("FromNumpy", map(_of_array, arrays), blocks)


def plan_polars(dfs: Any, *, blocks: int | None = None) -> Source:
    """Plans one DataFrame of Polars or a list of them.

    Raises:
        ArgumentError: Something else was passed.
        SchemaError: The frames have no common schema.
    """
    frames = dfs if isinstance(dfs, (list, tuple)) else [dfs]
    for frame in frames:
        if not _is_of(frame, "polars", "DataFrame"):
            hint = ": call collect() on it" if _is_of(frame, "polars", "LazyFrame") else ""
            raise ArgumentError(
                f"from_polars takes DataFrames of Polars, not a {type(frame).__name__}{hint}"
            )
    return plan_tables("FromPolars", map(pa.table, frames), blocks)


def plan_huggingface(dataset: Any, *, blocks: int | None = None) -> Source:
    """Plans a dataset of the library `datasets`; see `from_huggingface`.

    Raises:
        ArgumentError: Something else was passed, or it has a transform of its own.
    """
    check_count("override_num_blocks", blocks)
    if _is_of(dataset, "datasets", "DatasetDict") or _is_of(
        dataset, "datasets", "IterableDatasetDict"
    ):
        raise ArgumentError(f"from_huggingface takes one split: choose of {sorted(dataset)}")
    if _is_of(dataset, "datasets", "IterableDataset"):
        return _plan_stream(dataset, blocks)
    if not _is_of(dataset, "datasets", "Dataset"):
        raise ArgumentError(f"from_huggingface takes a Dataset, not a {type(dataset).__name__}")
    if dataset.format["type"] == "custom":
        raise ArgumentError(
            "the dataset has a transform (set_transform), which is no part of its data: call "
            "reset_format(), and map the function over the dataset that from_huggingface gives"
        )
    # It maps the files into memory, unless rows were selected or shuffled.
    table = dataset.with_format("arrow")[:]
    source = plan_tables("FromHuggingFace", [_without_extensions(table)], blocks)
    if not _has_files(dataset.features):
        return source
    units = [EmbeddingUnit(unit, table.schema) for unit in source.units]
    return Source(source.name, units, source.schema, source.rows)


def plan_torch(dataset: Any, *, blocks: int | None = None) -> Source:
    """Plans a dataset of torch, or what has its methods; see `from_torch`.

    Raises:
        ArgumentError: It has none of them.
    """
    check_count("override_num_blocks", blocks)
    units: list[ReadUnit]
    if _is_iterable_only(dataset):
        return Source("FromTorch", [IterableUnit(dataset)], None, None)
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise ArgumentError(
            f"from_torch takes a dataset with __len__ and __getitem__, or with __iter__, not a "
            f"{type(dataset).__name__}"
        )
    rows = len(dataset)
    cut = split_rows(rows, blocks or _TORCH_UNITS) if rows else []
    units = [ItemsUnit(dataset, start, stop) for start, stop in cut]
    return Source("FromTorch", units, None, rows)


@dataclass(frozen=True)
class ItemsUnit(UnitOfNoFiles):
    """The items `start` to `stop` - 1 of a dataset that has numbered ones.

    Args:
        dataset: What has `__getitem__`.
        start: The first item.
        stop: The one behind the last.
    """

    dataset: Any
    start: int
    stop: int

    def read(self) -> Iterator[pa.Table]:
        """Yields the items in tables of some megabytes.

        Raises:
            ReadError: The dataset raises, or an item is no value of Arrow.
        """
        yield from _tables_of(map(self.dataset.__getitem__, range(self.start, self.stop)), self)


@dataclass(frozen=True)
class IterableUnit(UnitOfNoFiles):
    """All items of a dataset that can be iterated over.

    Args:
        dataset: What has `__iter__`.
    """

    dataset: Any
    start: int = 0

    def read(self) -> Iterator[pa.Table]:
        """Yields the items in tables of some megabytes.

        Raises:
            ReadError: The dataset raises, or an item is no value of Arrow.
        """
        yield from _tables_of(iter(self.dataset), self)


@dataclass(frozen=True)
class StreamUnit(UnitOfNoFiles):
    """A shard of an `IterableDataset` of Hugging Face.

    Args:
        dataset: The shard.
    """

    dataset: Any

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows, so many at a time."""
        for table in self.dataset.with_format("arrow").iter(batch_size=_STREAM_ROWS):
            yield _without_extensions(_embedded(table))


@dataclass(frozen=True)
class EmbeddingUnit(UnitOfNoFiles):
    """Rows of a Hugging Face dataset whose images or sounds may be the paths of files.

    Args:
        rows: The rows.
        schema: Their schema as `datasets` knows it.
    """

    rows: ReadUnit
    schema: pa.Schema

    @property
    def nbytes(self) -> int:
        """The bytes of the rows without the files."""
        return self.rows.nbytes

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows with the bytes of the files, few at a time.

        Raises:
            ReadError: A file is missing.
        """
        for table in self.rows.read():
            for start in range(0, table.num_rows, _FILE_ROWS):
                part = table.slice(start, _FILE_ROWS)
                yield _without_extensions(_embedded(part.replace_schema_metadata(self._metadata)))

    @property
    def _metadata(self) -> Mapping[bytes, bytes]:
        return self.schema.metadata or {}


def _of_frame(frame: Any) -> pa.Table:
    if not _is_of(frame, "pandas", "DataFrame"):
        raise ArgumentError(f"from_pandas takes DataFrames, not a {type(frame).__name__}")
    names = [*frame.columns]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise SchemaError(
            f"the column {wrong!r} has a name of type {type(wrong).__name__}; names are strings: "
            "rename it, for instance by df.columns = df.columns.map(str)"
        )
    frame, levels = _with_index(frame)
    twice = next((name for name in levels if levels.count(name) > 1 or name in names), None)
    twice = twice or next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SchemaError(f"the column {twice!r} is there twice; rename one of them")
    try:
        # What becomes of the frame later is no longer the dataset's.
        return block.copy(from_batch(frame))
    except UserCodeError as error:
        raise SchemaError(error.message.replace("the returned column", "the column")) from error


def _with_index(frame: Any) -> tuple[Any, list[str]]:
    """Puts an index that says something into columns, and returns their names too."""
    import pandas

    index = frame.index
    # Which rows a frame was cut to decides whether pandas calls its numbers a RangeIndex.
    if index.nlevels == 1 and index.name is None and index.dtype == "int64":
        return frame, []
    levels = [
        f"__index_level_{number}__" if name is None else name
        for number, name in enumerate(index.names)
    ]
    wrong = next((name for name in levels if not isinstance(name, str)), None)
    if wrong is not None:
        raise SchemaError(f"the index level {wrong!r} becomes a column, whose name is no string")
    made = {level: index.get_level_values(n) for n, level in enumerate(levels)}
    columns_of_index = [
        pandas.Series(values, index=index, name=level) for level, values in made.items()
    ]
    return pandas.concat([frame, *columns_of_index], axis="columns"), levels


def _of_array(array: Any) -> pa.Table:
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"from_numpy takes arrays of NumPy, not a {type(array).__name__}")
    if array.ndim == 0:
        raise ArgumentError("from_numpy takes arrays whose first dimension is the rows")
    try:
        made = columns.from_ndarray(array)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise SchemaError(f"the array {error}") from error
    # As above.
    return block.copy(pa.table({"data": made}))


def _tables_of(items: Iterator[Any], unit: ItemsUnit | IterableUnit) -> Iterator[pa.Table]:
    builder = RowBuilder()
    number = unit.start
    kind: str | None = None
    for item in _raising(items, unit):
        row, found = _row_of(item)
        if kind is not None and found != kind:
            raise ReadError(f"item {number} is {found}, but those before it are {kind}")
        kind = found
        try:
            made = builder.add(row)
        except UserCodeError as error:
            raise ReadError(f"the items up to {number}: {error.message}") from error
        if made is not None:
            yield made
        number += 1
    try:
        made = builder.finish()
    except UserCodeError as error:
        raise ReadError(f"the items up to {number - 1}: {error.message}") from error
    if made is not None:
        yield made


def _raising(items: Iterator[Any], unit: ItemsUnit | IterableUnit) -> Iterator[Any]:
    number = unit.start
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except Exception as error:
            name = type(unit.dataset).__name__
            raise ReadError(
                f"item {number} of {name} raised {type(error).__name__}: {error}"
            ) from error
        yield item
        number += 1


def _row_of(item: Any) -> tuple[dict[str, Any], str]:
    """The columns of an item, and what it is."""
    if isinstance(item, Mapping):
        return dict(item), "a dict"
    if isinstance(item, tuple):
        names = getattr(item, "_fields", None) or [f"item_{n}" for n in range(len(item))]
        return dict(zip(names, item, strict=True)), f"a tuple of {len(item)}"
    return {"item": item}, "a value"


def _plan_stream(dataset: Any, blocks: int | None) -> Source:
    shards = int(dataset.num_shards)
    count = shards if blocks is None else min(blocks, shards)
    units = [
        StreamUnit(dataset if count == 1 else dataset.shard(num_shards=count, index=index))
        for index in range(count)
    ]
    return Source("FromHuggingFace", units, None, None)


def _embedded(table: pa.Table) -> pa.Table:
    """Reads the files whose paths stand for images and sounds."""
    embed = import_module("datasets.table").embed_table_storage
    try:
        return embed(table)
    except OSError as error:
        raise ReadError(f"a file of the dataset cannot be read: {error}") from error


def _has_files(features: Any) -> bool:
    """Tells whether a value may be kept as the path of a file, however deep."""
    if isinstance(features, Mapping):
        return any(map(_has_files, features.values()))
    if isinstance(features, (list, tuple)):
        return any(map(_has_files, features))
    inner = getattr(features, "feature", None)
    return hasattr(features, "embed_storage") or (inner is not None and _has_files(inner))


def _without_extensions(table: pa.Table) -> pa.Table:
    """Gives the arrays of `datasets`, whose types only it can read, the types of lists."""
    for index, field in enumerate(table.schema):
        if type(field.type).__module__.partition(".")[0] == "datasets":
            storage = pa.chunked_array(
                [chunk.storage for chunk in table.column(index).chunks], field.type.storage_type
            )
            table = table.set_column(index, field.name, storage)
    return table


def _is_of(value: Any, library: str, name: str) -> bool:
    """Tells whether something is of a class of a library, which is loaded then."""
    return isinstance(value, getattr(sys.modules.get(library), name, ()))


def _is_iterable_only(dataset: Any) -> bool:
    """Tells whether a dataset has no numbered items; all of torch's have the method."""
    if _is_of(dataset, "torch.utils.data", "IterableDataset"):
        return True
    is_numbered = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    return not is_numbered and isinstance(dataset, Iterable)


# Each takes the dataset along to its worker.
_TORCH_UNITS = 16
_STREAM_ROWS = 256
# Each may have a file of some megabytes.
_FILE_ROWS = 16
