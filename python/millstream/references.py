"""Datasets of blocks, and of objects in Ray's store.

Owns the public names of these ways in. What is in the objects is known to
`millstream.run.ray`, the only place that imports Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millstream.blocks import block
from millstream.dataset import Dataset, dataset_of
from millstream.errors.checks import is_sequence, require
from millstream.plan.arguments import ReadOptions


def from_arrow_refs(tables: Any) -> Dataset:
    """The rows of Arrow tables in Ray's object store. They are read in workers.

    A dataset of Ray Data comes over by `from_arrow_refs(dataset.to_arrow_refs())`.

    Args:
        tables: A reference to what `from_arrow` takes, or a list of them. They must not be lost as
            long as the dataset may run.

    Raises:
        ArgumentError: Something else was passed.

    When it runs, an object that is lost or is something else raises `ReadError`.
    """
    return _of_refs("from_arrow_refs", tables, "arrow")


def from_numpy_refs(ndarrays: Any) -> Dataset:
    """The rows of arrays in Ray's object store, in the column `data`; see `from_arrow_refs`.

    Args:
        ndarrays: A reference to an array, or a list of them.

    Raises:
        ArgumentError: Something else was passed.
    """
    return _of_refs("from_numpy_refs", ndarrays, "numpy")


def from_pandas_refs(dfs: Any) -> Dataset:
    """The rows of DataFrames in Ray's object store, as `from_pandas` and `from_arrow_refs` do it.

    Args:
        dfs: A reference to a DataFrame, or a list of them.

    Raises:
        ArgumentError: Something else was passed.
    """
    return _of_refs("from_pandas_refs", dfs, "pandas")


def from_blocks(blocks: Sequence[Any]) -> Dataset:
    """The rows of tables, each of which stays a block.

    Args:
        blocks: Arrow tables and DataFrames of pandas.

    Raises:
        ArgumentError: Something else was passed.
        SchemaError: The blocks have no common schema.
    """
    from millstream.io.foreign import plan_pandas
    from millstream.io.memory import TableUnit, plan_arrow
    from millstream.io.source import Source

    require(is_sequence(blocks), "blocks", blocks, "a list of Arrow tables or DataFrames")
    tables = []
    for each in blocks:
        is_frame = type(each).__module__.partition(".")[0] == "pandas"
        plan = plan_pandas(each) if is_frame else plan_arrow(each)
        read = [table for unit in plan.units for table in unit.read()]
        tables.append(block.concat(read) if read else each)
    schema = block.unify_schemas(table.schema for table in tables)
    aligned = [block.align(table, schema) if schema.names else table for table in tables]
    rows = sum(table.num_rows for table in tables)
    source = Source("FromBlocks", [TableUnit(table) for table in aligned], schema, rows)
    return dataset_of(source, ReadOptions(override_num_blocks=len(tables) or None))


def _of_refs(caller: str, refs: Any, kind: str) -> Dataset:
    from millstream.run.ray.refs import plan_refs

    return dataset_of(plan_refs(caller, refs, kind), ReadOptions())
