"""Rows out of blocks and into blocks."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.blocks import block, columns, rows, tensor
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


WIDE = 100


@given(
    st.lists(
        st.sampled_from(["int", "float", "null", "text", "large", "flag", "mixed"]),
        min_size=WIDE,
        max_size=WIDE,
    ),
    st.integers(1, 5),
)
def test_rows_of_many_columns_come_out_as_they_went_in(kinds, count):
    cells = {
        "int": lambda row: row - 2**62,
        "float": lambda row: row / 3,
        "null": lambda row: None if row else 7,
        "text": str,
        "large": lambda row: 2**63 + row,
        "flag": lambda row: row % 2 == 0,
        "mixed": lambda row: 1.5 if row % 2 else None,
    }
    names = [f"{kind}{number}" for number, kind in enumerate(kinds)]
    given_rows = [
        {name: cells[kind](row) for name, kind in zip(names, kinds, strict=True)}
        for row in range(count)
    ]
    table = rows.from_rows(given_rows)
    assert table.column_names == names
    back = list(rows.iter_rows(table))
    assert back == given_rows
    assert [list(row) for row in back] == [names] * count
    kinds_of = [[type(value) for value in row.values()] for row in given_rows]
    assert [[type(value) for value in row.values()] for row in back] == kinds_of


def test_columns_of_wide_rows_do_not_keep_each_other_in_memory():
    table = rows.from_rows([{f"c{n}": n for n in range(WIDE)}] * 8)
    assert table.column("c0").get_total_buffer_size() == 64
    assert table.select(["c0"]).get_total_buffer_size() == 64


def test_wide_rows_whose_keys_come_in_another_order_keep_their_values():
    names = [f"c{n}" for n in range(WIDE)]
    one, other = dict.fromkeys(names, 1), dict.fromkeys(reversed(names), 2)
    assert rows.from_rows([one, other]).to_pylist() == [one, other]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([2**64], r"18446744073709551616 in row 0, which has more than 64 bits"),
        ([1, None, 2**63, -1], r"-1 in row 3 and 9223372036854775808 in row 2"),
        ([0.5, 2**53 + 1], r"9007199254740993 in row 1, which is no exact float64"),
        ([0.5, decimal.Decimal("0.1")], r"a decimal in row 1|a float in row 0"),
        ([[1], [2, 3j]], r"a complex number in row 1"),
        (
            [datetime.date(2024, 1, 1), np.datetime64("2024-01-01")],
            r"row 0 and a datetime64 in row 1",
        ),
    ],
)
def test_values_without_one_type_are_told_with_their_rows(values, told):
    with pytest.raises(UserCodeError, match=f"'v'.*{told}"):
        rows.from_rows([{"v": value} for value in values])


def test_scalars_of_numpy_and_nulls_of_pandas_are_what_they_mean():
    instant = pd.Timestamp(2**60 + 1)
    table = pa.table(
        {
            name: columns.from_values(values)
            for name, values in {
                "days": [np.datetime64("2024-01-01"), None],
                "spans": [np.timedelta64(3, "s"), None],
                "instants": [instant, pd.NaT],
                "numbers": [pd.NA, 7],
                "mixed": [np.int8(1), 2**62],
                "flat": [[np.array(3)], None],
            }.items()
        }
    )
    assert table.to_pydict() == {
        "days": [datetime.date(2024, 1, 1), None],
        "spans": [datetime.timedelta(seconds=3), None],
        "instants": [instant, None],
        "numbers": [None, 7],
        "mixed": [1, 2**62],
        "flat": [[3], None],
    }
