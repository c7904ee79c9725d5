"""Rows side by side: which columns, under which names."""

from __future__ import annotations

import pyarrow as pa
import pytest

from millstream.blocks import beside, block


def test_names_that_are_there_get_the_first_suffix_that_is_free():
    left = pa.table({"a": [1], "a_1": [2]})
    right = pa.table({"a": [3], "b": [4]})
    put = beside.put([left, right, right])
    assert put.to_pylist() == [{"a": 1, "a_1": 2, "a_2": 3, "b": 4, "a_3": 3, "b_1": 4}]


def test_types_and_nullability_survive():
    field = pa.field("x", pa.int8(), nullable=False)
    table = pa.table([pa.array([1], pa.int8())], schema=pa.schema([field]))
    assert beside.put([table, table]).schema == pa.schema([field, field.with_name("x_1")])


def test_rows_without_columns_add_none():
    table = pa.table({"a": [1, 2]})
    assert beside.put([block.rows_only(2), table]).equals(table)
    assert beside.put([block.rows_only(2), block.rows_only(2)]).equals(block.rows_only(2))


def test_different_numbers_of_rows_are_refused():
    with pytest.raises(ValueError, match=r"rows of \[1, 2\]"):
        beside.put([pa.table({"a": [1]}), pa.table({"a": [1, 2]})])
