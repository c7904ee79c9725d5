"""Datasets of what is in memory: numbers, Python objects, and what other libraries hold.

Owns the public names of these sources and their arguments. Apart from the readers of files, which
take longer to load than a small dataset to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millstream.dataset import Dataset, dataset_of
from millstream.io.memory import plan_arrow, plan_items, plan_range
from millstream.plan.arguments import ReadOptions

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd


def range(
    n: int, *, concurrency: int | None = None, override_num_blocks: int | None = None
) -> Dataset:
    """The whole numbers from 0 to `n` - 1, in the column `id` (64 bits).

    Args:
        n: How many.
        concurrency: Tasks at a time; default as many as there is room for.
        override_num_blocks: Into how many units the numbers are divided, each of which is then
            a task and a block of its own. By default there are enough for a cluster, and the
            scheduler bundles what is too small to be worth a task. This holds for all sources.

    Raises:
        ArgumentError: An argument makes no sense.

    Example:
        >>> ms.range(3).take_all()
        [{'id': 0}, {'id': 1}, {'id': 2}]
    """
    source = plan_range(n, override_num_blocks=override_num_blocks)
    return dataset_of(
        source, ReadOptions(concurrency=concurrency, override_num_blocks=override_num_blocks)
    )


def from_items(items: Sequence[Any], *, override_num_blocks: int | None = None) -> Dataset:
    """Rows given as Python objects.

    Args:
        items: Dicts of column name to value; anything else becomes the column `item`. A column
            that a row lacks is null in it.
        override_num_blocks: Into how many units the rows are divided.

    Raises:
        ArgumentError: An argument makes no sense.
        SchemaError: The values of a column have no common type.

    Example:
        >>> ms.from_items([1, 2]).take_all()
        [{'item': 1}, {'item': 2}]
    """
    source = plan_items(items, override_num_blocks=override_num_blocks)
    return dataset_of(source, ReadOptions(override_num_blocks=override_num_blocks))


def from_arrow(
    tables: Any,
    *,
    override_num_blocks: int | None = None,
) -> Dataset:
    """The rows of Arrow tables.

    Args:
        tables: One or a list of tables, record batches, their IPC streams in bytes, or what else
            gives Arrow data (`__arrow_c_stream__`), such as relations of DuckDB. All of it is read
            at once.
        override_num_blocks: Into how many units the rows are divided; by default each table is
            one, or several if it is large.

    Raises:
        ArgumentError: An argument makes no sense.
        SchemaError: The tables have no common schema.
    """
    source = plan_arrow(tables, override_num_blocks=override_num_blocks)
    return dataset_of(source, ReadOptions(override_num_blocks=override_num_blocks))


def from_pandas(
    dfs: pd.DataFrame | Sequence[pd.DataFrame], override_num_blocks: int | None = None
) -> Dataset:
    """The rows of DataFrames of pandas, as they are now.

    Types are those of the columns, nullable integers and categories too. Objects are taken by their
    values: those that do not go together, such as dates and datetimes, are an error. NaN in a
    column of NumPy's floats is what pandas has for missing, so it becomes null. Ray Data may keep
    pandas' own blocks; here all blocks are Arrow.

    An index of numbers (int64) without a name counts rows and is left out: give it a name to keep
    it. Any other becomes columns after the others, by the names of its levels, or
    `__index_level_0__` and so on.

    Args:
        dfs: One or a list. The names of the columns are strings.
        override_num_blocks: As in `from_arrow`.

    Raises:
        ArgumentError: Something else was passed.
        SchemaError: A name is no string or comes twice, values have no common type, or the frames
            have no common schema.
    """
    from millstream.io.foreign import plan_pandas

    source = plan_pandas(dfs, blocks=override_num_blocks)
    return dataset_of(source, ReadOptions(override_num_blocks=override_num_blocks))


def from_numpy(
    ndarrays: npt.NDArray[Any] | Sequence[npt.NDArray[Any]],
    *,
    override_num_blocks: int | None = None,
) -> Dataset:
    """The rows of arrays, as they are now, in the column `data`.

    Args:
        ndarrays: One or a list. The first dimension is the rows; what has further ones becomes
            tensors.
        override_num_blocks: As in `from_arrow`.

    Raises:
        ArgumentError: Something else was passed, or an array has no dimension.
        SchemaError: Arrow has no type for the values, or arrays have no common one.

    Example:
        >>> import numpy as np
        >>> ms.from_numpy(np.array([1, 2])).take_all()
        [{'data': 1}, {'data': 2}]
    """
    from millstream.io.foreign import plan_numpy

    source = plan_numpy(ndarrays, blocks=override_num_blocks)
    return dataset_of(source, ReadOptions(override_num_blocks=override_num_blocks))


def from_polars(dfs: Any, *, override_num_blocks: int | None = None) -> Dataset:
    """The rows of DataFrames of Polars. Text takes 64-bit offsets in place of views.

    Args:
        dfs: One or a list.
        override_num_blocks: As in `from_arrow`.

    Raises:
        ArgumentError: Something else was passed.
        SchemaError: The frames have no common schema.
    """
    from millstream.io.foreign import plan_polars

    source = plan_polars(dfs, blocks=override_num_blocks)
    return dataset_of(source, ReadOptions(override_num_blocks=override_num_blocks))


def from_huggingface(
    dataset: Any,
    *,
    override_num_blocks: int | None = None,
    concurrency: int | None = None,
) -> Dataset:
    """The rows of a dataset of Hugging Face's library `datasets`.

    All columns come as the library stores them: images and sounds are structs of `bytes` and
    `path`, arrays of several dimensions are lists. Where only the path of a file is stored, the
    workers read the file, whose path they must reach; the `path` is then its name. Unlike Ray
    Data, which fetches the Parquet files of the hub's repository, this takes the dataset as it is.

    Args:
        dataset: One split. A `Dataset` is mapped from its files, an `IterableDataset` streams, a
            task for each of its shards.
        override_num_blocks: As in `from_arrow`; no more than there are shards.
        concurrency: Tasks at a time; default as many as there is room for.

    Raises:
        ArgumentError: Something else was passed, or the dataset has a transform.

    When it runs, a file that is missing raises `ReadError`.
    """
    from millstream.io.foreign import plan_huggingface

    source = plan_huggingface(dataset, blocks=override_num_blocks)
    options = ReadOptions(override_num_blocks=override_num_blocks, concurrency=concurrency)
    return dataset_of(source, options)


def from_torch(dataset: Any, *, override_num_blocks: int | None = None) -> Dataset:
    """The items of a dataset of torch, or of anything with its methods.

    An item is in the column `item`, tensors and images as tensors. Ray Data pickles tuples and
    dicts into that column; here blocks hold no Python objects, so a tuple gives the columns
    `item_0`, `item_1` and so on (a named one its names), and a dict those of its keys.

    Args:
        dataset: With `__len__` and `__getitem__`, it is read by several tasks, each of which gets
            a pickled copy. With `__iter__` only, or an `IterableDataset`, it is read by one task,
            and must give the same items in the same order each time: a task whose worker is lost
            begins again and leaves out the items that it had given.
        override_num_blocks: How many tasks read items by number; by default up to 16.

    Raises:
        ArgumentError: It has none of these methods.

    When it runs, an item that raises or has no type of Arrow is a `ReadError` with its number.
    """
    from millstream.io.foreign import plan_torch

    source = plan_torch(dataset, blocks=override_num_blocks)
    return dataset_of(source, ReadOptions(override_num_blocks=override_num_blocks))
