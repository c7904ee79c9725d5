"""Datasets of what is in memory: numbers, Python objects, Arrow tables.

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
    import pyarrow as pa


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
    tables: pa.Table | pa.RecordBatch | bytes | Sequence[Any],
    *,
    override_num_blocks: int | None = None,
) -> Dataset:
    """The rows of Arrow tables.

    Args:
        tables: One or a list of tables, record batches, or their IPC streams in bytes.
        override_num_blocks: Into how many units the rows are divided; by default each table is
            one, or several if it is large.

    Raises:
        ArgumentError: An argument makes no sense.
        SchemaError: The tables have no common schema.
    """
    source = plan_arrow(tables, override_num_blocks=override_num_blocks)
    return dataset_of(source, ReadOptions(override_num_blocks=override_num_blocks))
