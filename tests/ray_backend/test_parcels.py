"""Small blocks that travel together: each comes out as it went in."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest

from millstream.blocks import block, tensor
from millstream.run.ray import remote
from millstream.run.ray.remote import INLINE_BYTES_MAX, Item, Parcel, tables_of
from millstream.run.worker import BlockMeta, TaskEnd

TABLES = {
    "numbers": lambda n: pa.table({"id": [n], "x": [n / 3]}),
    "nulls": lambda n: pa.table({"id": pa.array([None if n % 2 else n], pa.int64())}),
    "text": lambda n: pa.table({"t": pa.array([f"row {n}", None], pa.large_string())}),
    "dictionaries": lambda n: pa.table({"k": pa.array([f"key {n}", "a"]).dictionary_encode()}),
    "tensors": lambda n: pa.table({"x": tensor.from_ndarray(np.full((2, 3, 4), n))}),
    "structs": lambda n: pa.table({"s": [{"a": n, "b": [n, None]}]}),
    "rows only": lambda n: block.rows_only(n + 1),
}


def meta_of(table):
    return BlockMeta(table.num_rows, table.nbytes, None)


def travelled(tables):
    """The tables as they arrive, and how many of them came together."""
    parcel = Parcel("node")
    items = []
    for table in tables:
        if parcel.metas and not parcel.fits(table):
            items.append(parcel.take())
        parcel.add(meta_of(table), table)
    items.append(parcel.take())
    return [table for item in items for table in tables_of(item)], [len(i.metas) for i in items]


@pytest.mark.parametrize("kind", TABLES)
def test_blocks_that_travel_together_come_out_as_they_went_in(kind):
    tables = [TABLES[kind](n) for n in range(20)]
    arrived, together = travelled(tables)
    assert together == [20]
    for before, after in zip(tables, arrived, strict=True):
        assert after.schema.equals(before.schema, check_metadata=True)
        assert after.num_rows == before.num_rows
        assert after.equals(before)


def test_blocks_of_other_schemas_and_blocks_without_rows_travel_apart():
    one, other = pa.table({"a": [1]}), pa.table({"a": ["x"]})
    tables = [one, one, other, other.slice(0, 0), one]
    arrived, together = travelled(tables)
    assert together == [2, 1, 1, 1]
    assert [table.to_pylist() for table in arrived] == [table.to_pylist() for table in tables]
    assert [table.schema for table in arrived] == [table.schema for table in tables]


def test_what_travels_together_stays_small_enough_to_be_sent_inline():
    tables = [pa.table({f"c{column}": [n] for column in range(20)}) for n in range(300)]
    parcel = Parcel("node")
    sizes = []
    for table in tables:
        if parcel.metas and not parcel.fits(table):
            sizes.append(len(parcel.take().data))
        parcel.add(meta_of(table), table)
    assert len(sizes) > 1
    assert max(sizes) < INLINE_BYTES_MAX * 1.25


def sent(tables, monkeypatch):
    """The objects that a task with these blocks yields."""
    monkeypatch.setattr(remote, "_node", lambda: "node")
    metas = [BlockMeta(table.num_rows, table.nbytes, table.schema) for table in tables]
    outputs = [*zip(metas, tables, strict=True), TaskEnd(0, 0, 0)]
    return [pickle.loads(pickle.dumps(each)) for each in remote._items(iter(outputs))]


@pytest.mark.parametrize("kind", sorted(TABLES.keys() - {"rows only"}))
def test_a_large_block_of_many_small_columns_comes_out_as_it_went_in(kind, monkeypatch):
    rows = block.concat([TABLES[kind](n) for n in range(100)])
    columns = {f"{name}{n}": rows.column(name) for n in range(300) for name in rows.column_names}
    wide = pa.table(columns).replace_schema_metadata({"made": "by hand"})
    about, item, end = sent([wide], monkeypatch)
    assert about.metas[0].schema.equals(wide.schema, check_metadata=True)
    assert isinstance(item, Item)
    (arrived,) = tables_of(item)
    assert arrived.schema.equals(wide.schema, check_metadata=True)
    assert arrived.equals(wide)
    assert isinstance(end.end, TaskEnd)


def test_a_large_block_of_large_columns_is_an_object_without_a_copy(monkeypatch):
    large = pa.table({"x": np.arange(100_000)})
    about, table, _ = sent([large], monkeypatch)
    assert about.data is None
    assert isinstance(table, pa.Table)
    assert table.equals(large)
