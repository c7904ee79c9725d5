"""Tensor columns: round trips, views, nulls, ragged rows."""

import pickle
import weakref

import hypothesis.extra.numpy as hnp
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.blocks import tensor

DTYPES = st.sampled_from(
    [np.dtype(name) for name in ("u1", "i2", "i8", "f2", "f4", "f8", "?", "M8[us]", ">i4")]
)


def column_of(array):
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def through_ipc(column):
    sink = pa.BufferOutputStream()
    table = pa.table({"c": column})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_stream(sink.getvalue()).read_all()["c"]


def same(left, right):
    return left.shape == right.shape and np.array_equal(
        left, right, equal_nan=left.dtype.kind in "fM"
    )


@given(
    DTYPES.flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=4, max_side=4))
    )
)
def test_fixed_shapes_come_back(array):
    column = column_of(tensor.from_ndarray(array))
    assert isinstance(column.type, pa.FixedShapeTensorType)
    assert same(tensor.to_numpy(through_ipc(column)), array)
    assert same(tensor.to_numpy(column.slice(1)), array[1:])


@given(
    st.integers(1, 3).flatmap(
        lambda ndim: st.lists(
            st.none()
            | hnp.arrays(
                np.float32, hnp.array_shapes(min_dims=ndim, max_dims=ndim, min_side=0, max_side=3)
            ),
            min_size=1,
        ).filter(lambda rows: any(row is not None for row in rows))
    )
)
def test_ragged_rows_come_back(rows):
    column = through_ipc(column_of(tensor.from_ndarrays(rows)))
    for offset in (0, len(rows) // 2):
        back = list(tensor.to_numpy(column.slice(offset)))
        for got, wanted in zip(back, rows[offset:], strict=True):
            assert (got is None) == (wanted is None)
            assert wanted is None or same(got, wanted)


def test_fixed_shape_is_a_view_both_ways():
    array = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    column = column_of(tensor.from_ndarray(array))
    back = tensor.to_numpy(column)
    assert np.shares_memory(array, back)
    assert not back.flags.writeable
    assert np.shares_memory(array, tensor.to_numpy(column.slice(2)))


def test_ragged_rows_are_views():
    column = tensor.from_ndarrays([np.ones((2, 2)), np.ones((3, 1))])
    rows = tensor.to_numpy(column_of(column))
    data = column.storage.field("data").values.to_numpy()
    assert all(np.shares_memory(row, data) for row in rows)


def test_ragged_storage_is_the_canonical_one():
    column = tensor.from_ndarrays([np.ones((2, 2), np.uint8), np.ones((1, 2), np.uint8)])
    assert column.type.extension_name == "arrow.variable_shape_tensor"
    assert column.storage.to_pylist() == [
        {"data": [1, 1, 1, 1], "shape": [2, 2]},
        {"data": [1, 1], "shape": [1, 2]},
    ]
    assert pickle.loads(pickle.dumps(column.type)) == column.type


def test_ragged_permutation_of_another_writer_is_honoured():
    type = tensor.VariableShapeTensorType(pa.int64(), 2, {"permutation": [1, 0]})
    storage = pa.array([{"data": [1, 2, 3, 4, 5, 6], "shape": [2, 3]}], type.storage_type)
    column = through_ipc(column_of(pa.ExtensionArray.from_storage(type, storage)))
    assert tensor.to_numpy(column)[0].tolist() == [[1, 4], [2, 5], [3, 6]]


def test_null_tensors_are_none():
    column = column_of(tensor.from_ndarrays([np.ones((2,)), None, np.zeros((2,))]))
    assert isinstance(column.type, pa.FixedShapeTensorType)
    rows = tensor.to_numpy(column.slice(1))
    assert rows[0] is None
    assert rows[1].tolist() == [0, 0]


def test_several_chunks_become_one_array():
    parts = [tensor.from_ndarray(np.full((n, 2), n)) for n in (1, 2)]
    assert tensor.to_numpy(pa.chunked_array(parts)).tolist() == [[1, 1], [2, 2], [2, 2]]


def test_no_rows_keep_shape_and_dtype():
    column = column_of(tensor.from_ndarray(np.zeros((0, 2, 3), np.float32)))
    back = tensor.to_numpy(column)
    assert back.shape == (0, 2, 3)
    assert back.dtype == np.float32


def test_rows_of_no_elements_are_ragged():
    column = column_of(tensor.from_ndarray(np.zeros((2, 0, 3), np.float32)))
    assert [row.shape for row in tensor.to_numpy(column)] == [(0, 3), (0, 3)]


def test_offsets_that_would_overflow_start_another_chunk(monkeypatch):
    monkeypatch.setattr(tensor, "_ELEMENTS_MAX", 10)
    column = tensor.from_ndarrays([np.ones(6), np.ones(4), np.ones(3), np.ones(9)])
    assert [len(chunk) for chunk in column.chunks] == [2, 1, 1]
    with pytest.raises(ValueError, match="11 elements"):
        tensor.from_ndarrays([np.ones(11), np.ones(2)])


def test_rows_of_different_dimensions_keep_their_shapes_in_one_column():
    rows = [np.ones((2, 3), np.uint8), None, np.zeros(4, np.uint8), np.array(7, np.uint8)]
    column = through_ipc(column_of(tensor.from_ndarrays(rows)))
    assert pickle.loads(pickle.dumps(column.type)) == column.type
    for got, wanted in zip(tensor.to_numpy(column), rows, strict=True):
        assert (got is None) == (wanted is None)
        assert wanted is None or same(got, wanted)
    assert same(tensor.to_numpy(column.slice(2))[0], rows[2])


def test_strided_arrays_are_stored_in_order():
    array = np.arange(12).reshape(2, 3, 2).transpose(0, 2, 1)[:, ::-1]
    assert same(tensor.to_numpy(column_of(tensor.from_ndarray(array))), array)


def test_large_rows_are_not_copied():
    rows = [np.full((1024, 1024), index, np.uint8) for index in range(3)]
    column = tensor.from_ndarrays(rows)
    assert [len(chunk) for chunk in column.chunks] == [1, 1, 1]
    for row, chunk in zip(rows, column.chunks, strict=True):
        assert np.shares_memory(row, tensor.to_numpy(pa.chunked_array([chunk])))


def test_chunks_that_lie_one_behind_the_other_are_one_array_without_a_copy():
    memory = np.arange(24, dtype=np.int16)
    whole = memory.reshape(6, 2, 2)
    apart = pa.chunked_array([tensor.from_ndarray(whole[:1]), tensor.from_ndarray(whole[2:])])
    assert tensor.to_numpy(apart).tolist() == np.delete(whole, 1, axis=0).tolist()
    together = pa.chunked_array([tensor.from_ndarray(whole[:2]), tensor.from_ndarray(whole[2:])])
    joined = tensor.to_numpy(together)
    assert np.shares_memory(joined, whole)
    assert not joined.flags.writeable
    kept = weakref.ref(memory)
    expected = whole.tolist()
    del memory, whole, together, apart
    assert kept() is not None
    assert joined.tolist() == expected
