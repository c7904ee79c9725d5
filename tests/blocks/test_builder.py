"""Blocks of one size out of tables of any."""

import pickle

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from millstream.blocks import block
from millstream.blocks.builder import BlockBuilder


def built(tables, target):
    builder = BlockBuilder(target)
    blocks = [full for table in tables for full in builder.add(table)]
    last = builder.finish()
    sized = blocks if last is None else [*blocks, last]
    assert all(size == block.nbytes(full) for full, size in sized)
    return [full for full, _ in sized]


@given(st.lists(st.integers(0, 200)), st.integers(1, 2000))
def test_rows_keep_their_order_and_blocks_their_size(sizes, target):
    values = iter(range(10**6))
    tables = [
        pa.table({"a": pa.array([next(values) for _ in range(n)], pa.int64())}) for n in sizes
    ]
    blocks = built(tables, target)
    assert [v for full in blocks for v in full["a"].to_pylist()] == list(range(sum(sizes)))
    assert all(full.num_rows == 1 or full.nbytes <= target * 1.25 for full in blocks)
    assert all(full.num_rows for full in blocks)


def test_small_tables_are_joined():
    tables = [pa.table({"a": np.arange(10)})] * 100
    assert [full.num_rows for full in built(tables, 4000)] == [500, 500]


def test_a_row_larger_than_the_target_is_a_block():
    table = pa.table({"a": [b"x" * 1000, b"y" * 1000, b"z"]})
    assert [full.num_rows for full in built([table], 100)] == [1, 1, 1]


def test_rows_of_very_different_sizes_do_not_make_huge_blocks():
    cells = [b"x"] * 1000 + [b"y" * 10_000] * 20
    blocks = built([pa.table({"a": cells})], 20_000)
    assert max(full.nbytes for full in blocks) <= 25_000
    assert sum(full.num_rows for full in blocks) == 1020


def test_a_large_table_is_cut_as_its_blocks_are_taken():
    table = pa.table({"a": np.zeros(1_000_000)})
    builder = BlockBuilder(80_000)
    cut = builder.add(table)
    first, _ = next(cut)
    assert first.num_rows == 10_000
    assert len(pickle.dumps(first)) < 90_000


def test_a_dictionary_larger_than_the_target_does_not_cut_to_single_rows():
    words = pa.array([f"{i:0100}" for i in range(1000)])
    table = pa.table({"a": pa.DictionaryArray.from_arrays(np.zeros(10_000, np.int32), words)})
    assert len(built([table], 10_000)) < 200


def test_rows_without_columns_are_joined():
    assert [full.num_rows for full in built([block.rows_only(3), block.rows_only(2)], 10)] == [5]


def test_tables_of_different_columns_are_united():
    blocks = built([pa.table({"a": [1]}), pa.table({"b": ["x"]})], 1000)
    assert [full.to_pylist() for full in blocks] == [[{"a": 1, "b": None}, {"a": None, "b": "x"}]]
