"""Rows out of blocks and into blocks."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from millstream.blocks import block, rows, tensor
from millstream.errors import UserCodeError


def test_values_are_pythons_own_and_tensors_writable_arrays():
    table = pa.table(
        {
            "i": [1, None],
            "s": ["a", None],
            "d": [datetime.date(2024, 2, 29), None],
            "m": [decimal.Decimal("1.5"), None],
            "l": [[1, 2], None],
            "t": tensor.from_ndarrays([np.ones((2, 2)), None]),
        }
    )
    first, second = rows.iter_rows(table)
    assert first.pop("t").tolist() == [[1, 1], [1, 1]]
    assert first == {
        "i": 1,
        "s": "a",
        "d": datetime.date(2024, 2, 29),
        "m": decimal.Decimal("1.5"),
        "l": [1, 2],
    }
    assert set(second.values()) == {None}


def test_tensors_of_rows_are_writable():
    images = np.zeros((2, 3), np.uint8)
    for row in rows.iter_rows(pa.table({"t": tensor.from_ndarray(images)})):
        row["t"][0] = 7
    assert images.sum() == 0


def test_rows_of_different_keys_are_united():
    table = rows.from_rows([{"a": 1}, {"b": "x"}, {"a": 2, "b": None}])
    assert table.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": 2, "b": None}]


def test_rows_without_keys_count():
    table = rows.from_rows([{}, {}])
    assert block.is_rows_only(table.schema)
    assert list(rows.iter_rows(table)) == [{}, {}]


def test_columns_of_nulls_keep_the_type_they_had():
    like = pa.schema({"a": pa.large_string()})
    assert rows.from_rows([{"a": None}], like).schema.field("a").type == pa.large_string()


def test_large_rows_are_given_out_early():
    builder = rows.RowBuilder()
    made = [builder.add({"image": np.zeros(1_000_000, np.uint8)}) for _ in range(9)]
    assert [table.num_rows for table in made if table is not None] == [9]
    assert builder.finish() is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (None, "returned None, which is not a row"),
        ([{}], "a value of type list, which is not a row"),
        ({1: 2}, "the key 1 of type int"),
        ({"a": object()}, "column 'a' of the returned rows holds values that are no Arrow column"),
    ],
)
def test_what_is_no_row_is_an_error_that_says_so(row, message):
    builder = rows.RowBuilder()

    def build():
        builder.add(row)
        builder.finish()

    with pytest.raises(UserCodeError, match=message):
        build()
