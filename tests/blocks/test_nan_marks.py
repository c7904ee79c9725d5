"""Nulls and NaNs among floats stay what they are, whatever a function does with its arrays."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.blocks import nan_marks
from millstream.blocks.batch import Given, from_batch, to_batch

TYPES = [pa.float16(), pa.float32(), pa.float64()]
VALUES = [None, 1.5, math.nan, 2.0, None, math.nan, -0.0]


def through(function, type, format):
    table = pa.table({"f": pa.array(VALUES, type), "k": np.arange(len(VALUES))})
    batch = to_batch(table, format)
    return from_batch(function(batch), Given(table, batch))


def told(column):
    return ["null" if value is None else str(float(value)) for value in column.to_pylist()]


def each(select):
    return lambda batch: {name: select(values) for name, values in batch.items()}


SELECTIONS = {
    "a copy": (each(np.array), slice(None)),
    "a slice": (each(lambda values: values[2:6]), slice(2, 6)),
    "backwards": (each(lambda values: values[::-1]), slice(None, None, -1)),
    "every other": (each(lambda values: values[np.arange(0, 7, 2)]), slice(0, 7, 2)),
    "a mask": (each(lambda values: values[np.arange(7) > 3]), slice(4, None)),
    "calculated with": (lambda batch: {"f": batch["f"] * 1}, slice(None)),
}


@pytest.mark.parametrize("type", TYPES, ids=str)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_rows_that_are_selected_in_numpy_keep_their_nulls_and_nans(selection, type):
    function, kept = SELECTIONS[selection]
    made = through(function, type, "numpy")["f"]
    assert told(made) == told(pa.array(VALUES[kept], type))


FRAMES = {
    "as it is": (lambda frame: frame, range(7)),
    "sorted": (lambda frame: frame.sort_values("k", ascending=False, ignore_index=True), None),
    "filtered": (lambda frame: frame[frame["k"] > 1].reset_index(drop=True), range(2, 7)),
    "a column anew": (lambda frame: frame.assign(f=frame["f"].copy()), range(7)),
}


@pytest.mark.parametrize("type", [pa.float32(), pa.float64()], ids=str)
@pytest.mark.parametrize("name", FRAMES)
def test_rows_that_are_selected_in_pandas_keep_their_nulls_and_nans(name, type):
    function, kept = FRAMES[name]
    made = through(function, type, "pandas")
    rows = reversed(range(7)) if kept is None else kept
    assert told(made["f"]) == told(pa.array([VALUES[row] for row in rows], type))


def test_what_becomes_nan_is_a_value_in_numpy_and_missing_in_pandas():
    def spoilt(batch):
        values = np.array(batch["f"])
        values[1] = np.nan
        return {"f": values}

    assert told(through(spoilt, pa.float64(), "numpy")["f"])[:3] == ["null", "nan", "nan"]
    made = through(lambda frame: frame.assign(f=[np.nan] * 7), pa.float64(), "pandas")
    assert told(made["f"]) == ["null"] * 7


def test_a_null_stays_one_in_another_width():
    made = through(lambda batch: {"f": -batch["f"].astype("f4")}, pa.float64(), "numpy")["f"]
    assert told(made) == ["null", "-1.5", "nan", "-2.0", "null", "nan", "0.0"]


def test_a_batch_is_searched_for_nulls_once_not_for_each_of_its_columns(monkeypatch):
    looks = []
    is_floating = pa.types.is_floating
    monkeypatch.setattr(
        pa.types, "is_floating", lambda found: looks.append(found) or is_floating(found)
    )
    table = pa.table({f"c{column}": [1.5] for column in range(200)})
    batch = to_batch(table, "numpy")
    made = from_batch({name: values + 1 for name, values in batch.items()}, Given(table, batch))
    assert made.num_columns == 200
    assert len(looks) <= 10 * 200, "not as many as columns for each of them"


@given(st.lists(st.floats(width=64), max_size=20))
def test_only_what_was_marked_is_found(values):
    array = np.array(values, "f8")
    assert not nan_marks.find(array, nan_marks.NULL).any()
    where = np.arange(len(array)) % 2 == 0
    nan_marks.put(array, nan_marks.NULL, where)
    assert nan_marks.find(array, nan_marks.NULL).tolist() == where.tolist()
    assert not nan_marks.find(array, nan_marks.VALUE).any()
    assert np.isnan(array[where]).all()
