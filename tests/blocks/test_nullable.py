"""Integers and booleans with nulls in NumPy batches: exact, None where null, and usable."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.blocks.batch import Given, from_batch, to_batch

LARGE = 2**53 + 1
INTEGERS = st.lists(st.none() | st.integers(-1000, 1000), min_size=1).filter(lambda v: None in v)
FUNCTIONS = {
    "plus": lambda x: x + 2,
    "times": lambda x: 3 * x,
    "minus": lambda x: -x,
    "itself": lambda x: x * x - x,
    "modulo": lambda x: x % 7,
    "divided": lambda x: x / 4,
    "compared": lambda x: x > 3,
    "both": lambda x: (x > 3) & (x < 9),
    "absolute": np.abs,
}


def batch_of(values, type=None):
    table = pa.table({"x": pa.array(values, type)})
    batch = to_batch(table, "numpy", writable=True)
    return batch, Given(table, batch)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(values=INTEGERS)
def test_arithmetic_is_that_of_each_value_and_null_stays_null(name, values):
    function = FUNCTIONS[name]
    batch, told = batch_of(values, pa.int64())
    column = from_batch({"y": function(batch["x"])}, told)["y"]
    there = [value for value in values if value is not None]
    wanted = iter(pa.array(function(np.array(there, np.int64))).to_pylist())
    assert column.to_pylist() == [None if value is None else next(wanted) for value in values]


def test_integers_beyond_the_exact_floats_stay_what_they_are():
    batch, told = batch_of([LARGE, None])
    back = from_batch({"x": batch["x"] + 2, "y": batch["x"][::-1]}, told)
    assert back.to_pydict() == {"x": [LARGE + 2, None], "y": [None, LARGE]}
    assert back.schema.types == [pa.int64(), pa.int64()]


def test_arithmetic_keeps_the_width_that_blocks_without_nulls_have():
    batch, told = batch_of([100, None], pa.int8())
    made = from_batch({"y": batch["x"] // np.int8(2)}, told)["y"]
    assert made.type == pa.int8()
    batch["x"] += 1
    assert from_batch(batch, told)["x"].to_pylist() == [101, None]


def test_what_is_null_can_be_asked_and_filled():
    x = batch_of([7, None, 9])[0]["x"]
    assert (x == None).tolist() == [False, True, False]  # noqa: E711
    assert np.isnan(x).tolist() == [False, True, False]
    assert pd.isna(x).tolist() == [False, True, False]
    assert np.where(x == None, 0, x).tolist() == [7, 0, 9]  # noqa: E711
    assert x[~np.isnan(x)].astype(np.int64).sum() == 16


def test_nulls_never_become_numbers():
    x = batch_of([7, None])[0]["x"]
    assert np.asarray(x).tolist() == [7, None]
    assert np.concatenate([x, [1]]).tolist() == [7, None, 1]
    for function in (np.sum, np.max, np.sort, lambda x: np.asarray(x) + 1):
        with pytest.raises(TypeError):
            function(x)


def test_booleans_with_nulls_calculate_too():
    batch, told = batch_of([True, None, False])
    assert (~batch["x"]).tolist() == [False, None, True]
    assert from_batch({"x": batch["x"] | True}, told)["x"].to_pylist() == [True, None, True]


def test_what_is_written_to_it_counts():
    batch, told = batch_of([1, None, 3], pa.int8())
    batch["x"][1] = 1000
    assert from_batch(batch, told)["x"].to_pylist() == [1, 1000, 3]
    batch["x"][1] = 0.5
    assert from_batch(batch, told)["x"].to_pylist() == [1.0, 0.5, 3.0]
    assert (batch["x"] * 2).tolist() == [2, 1.0, 6]
