"""Objects in Ray's store as datasets, and blocks as such objects: all of it in workers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import millstream as ms
from millstream.context import DataContext
from millstream.errors import ArgumentError, ReadError, SchemaError
from millstream.references import (
    from_arrow_refs,
    from_blocks,
    from_numpy_refs,
    from_pandas_refs,
)


@pytest.fixture
def ray(ray_cluster, monkeypatch):
    made = DataContext(backend="ray", enable_progress_bars=False)
    made.execution_options.preserve_order = True
    monkeypatch.setattr(DataContext, "_current", made)
    return ray_cluster


def to_refs(ds, format, **how):
    return getattr(ds, f"to_{format}_refs")(**how)


TABLE = pa.table({"i": [2**53 + 1, None], "s": ["a", None], "l": [[1, None], None]})


@pytest.mark.ray
def test_tables_go_through_objects_and_back(ray):
    ds = from_arrow_refs([ray.put(TABLE), ray.put(TABLE.slice(1))])
    back = ray.get(to_refs(ds.map_batches(lambda batch: batch), "arrow"))
    assert pa.concat_tables(back).equals(pa.concat_tables([TABLE, TABLE.slice(1)]))
    assert from_arrow_refs(ray.put(TABLE)).count() == 2
    assert from_arrow_refs([]).take_all() == []


@pytest.mark.ray
def test_what_a_task_makes_is_read_when_it_is_there(ray):
    @ray.remote
    def make(number):
        return pa.table({"n": [number]})

    ds = from_arrow_refs([make.remote(number) for number in range(5)])
    assert [row["n"] for row in ds.take_all()] == list(range(5))


@pytest.mark.ray
def test_arrays_and_frames_go_through_objects_and_back(ray):
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    ds = from_numpy_refs([ray.put(images), ray.put(images)])
    (column,) = ray.get(to_refs(ds, "numpy", column="data")[:1])
    assert (column == images).all()
    assert set(ray.get(to_refs(ds, "numpy")[0])) == {"data"}
    frame = pd.DataFrame({"i": pd.array([2**53 + 1, None], "Int64"), "t": ["a", "b"]})
    (back,) = ray.get(to_refs(from_pandas_refs(ray.put(frame)), "pandas"))
    assert back["i"].dtype == "Int64"
    assert back["i"][0] == 2**53 + 1
    assert list(back["t"]) == ["a", "b"]


@pytest.mark.ray
def test_an_object_that_is_something_else_or_failed_is_told(ray):
    with pytest.raises(ReadError, match="from_arrow_refs: from_arrow takes Arrow tables"):
        from_arrow_refs(ray.put(5)).take_all()

    @ray.remote(max_retries=0)
    def fail():
        raise ValueError("no table")

    with pytest.raises(ReadError, match="no table"):
        from_numpy_refs(fail.remote()).take_all()
    with pytest.raises(ArgumentError, match="a reference to an object of Ray"):
        from_arrow_refs(TABLE)


@pytest.mark.ray
def test_columns_that_no_object_can_tell(ray):
    with pytest.raises(SchemaError, match="no column 'x'"):
        to_refs(ms.range(3), "numpy", column="x")
    with pytest.raises(SchemaError, match="rows without columns"):
        to_refs(ms.range(3).select_columns([]), "arrow")
    assert all(not len(each) for each in ray.get(to_refs(ms.range(0), "arrow")))


def test_on_the_local_backend_there_are_no_objects():
    for format in ("arrow", "pandas", "numpy"):
        with pytest.raises(ArgumentError, match="'local', which has no object store"):
            to_refs(ms.range(3), format)


def test_blocks_stay_blocks(monkeypatch):
    DataContext.get_current().execution_options.preserve_order = True
    ds = from_blocks([TABLE, pd.DataFrame({"i": [5], "s": ["x"]}), TABLE.slice(0, 0)])
    assert ds.materialize().num_blocks() == 3
    assert [row["i"] for row in ds.take_all()] == [2**53 + 1, None, 5]
    assert ds.schema().names == ["i", "s", "l"]
    assert from_blocks([]).take_all() == []
    for wrong in (TABLE, [5], "text"):
        with pytest.raises(ArgumentError):
            from_blocks(wrong)
