"""What the tests of sources share: reading a source as a worker would, after its journey there."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pyarrow as pa

from millstream.blocks import block
from millstream.io.source import Source


def tables_of(source: Source) -> Iterator[pa.Table]:
    for unit in source.units:
        yield from pickle.loads(pickle.dumps(unit)).read()


def table_of(source: Source) -> pa.Table:
    return block.concat(list(tables_of(source)))


def rows_of(source: Source) -> list[dict]:
    return block.unseal(table_of(source)).to_pylist()


def unit_rows(source: Source) -> list[int]:
    return [sum(table.num_rows for table in unit.read()) for unit in source.units]
