"""Batches as tensors of torch: types, memory, and what happens while the loop computes."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import ArgumentError, SchemaError
from millstream.feed.torch import tensor_over

# All warnings are errors here, torch's of read-only memory too.


def only(column, **options):
    (batch,) = ms.from_arrow(pa.table({"c": column})).iter_torch_batches(**options)
    return batch["c"]


@pytest.mark.parametrize(
    "values",
    [
        np.arange(5),
        np.float16([1, 2]),
        np.uint64([2**63]),
        np.uint16([1]),
        np.array([True, False]),
        np.arange(12.0).reshape(3, 2, 2),
    ],
)
def test_types_and_values_stay(values):
    ds = ms.from_numpy(values)
    (batch,) = ds.iter_torch_batches()
    assert batch["data"].numpy().dtype == values.dtype
    assert np.array_equal(batch["data"].numpy(), values)


def test_lists_and_ragged_tensors_are_lists_of_tensors():
    assert [each.tolist() for each in only(pa.array([[1, 2], [3]]))] == [[1, 2], [3]]
    rows = [{"a": np.zeros((1, 2))}, {"a": np.zeros((2, 2))}]
    (batch,) = ms.from_items(rows).iter_torch_batches()
    assert [tuple(each.shape) for each in batch["a"]] == [(1, 2), (2, 2)]


def test_missing_floats_are_nan():
    assert only(pa.array([1.5, None])).isnan().tolist() == [False, True]


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (pa.array(["a", None]), "str and nulls"),
        (pa.array([b"a"]), "bytes"),
        (pa.array([1, None]), "int and nulls"),
        (pa.array([True, None]), "bool and nulls"),
        (pa.array([decimal.Decimal("1.5")]), "Decimal"),
        (pa.array([datetime.date(2026, 1, 1)]), "times"),
        (pa.array([datetime.time(1)]), "values of type time"),
        (pa.array([datetime.timedelta(1)]), "durations"),
        (pa.array([[1], None]), "nulls"),
        (pa.array([{"a": 1}]), "dict"),
        (pa.array(["a"]).dictionary_encode(), "str"),
    ],
)
def test_other_columns_are_an_error_that_names_the_column(column, what):
    with pytest.raises(SchemaError, match=f"column 'c' has .*{what}.* torch makes no tensor"):
        only(column)


def test_types_that_are_asked_for_must_hold_the_integers():
    assert only(pa.array([1, 2]), dtypes=torch.float32).dtype == torch.float32
    assert only(pa.array([1, 255]), dtypes={"c": torch.uint8}).tolist() == [1, 255]
    with pytest.raises(SchemaError, match=r"'c' has the integer 256.*0 to 255"):
        only(pa.array([256]), dtypes={"c": torch.uint8})
    with pytest.raises(SchemaError, match="'c' has the integer -129"):
        only(pa.array([-129]), dtypes=torch.int8)


def test_a_loop_may_write_to_its_tensors():
    kept = ms.range(8).materialize()
    for batch in kept.iter_torch_batches(batch_size=4):
        batch["id"].zero_()
    assert [row["id"] for row in kept.take_all()] == list(range(8))


def test_views_share_the_memory_of_blocks():
    values = np.arange(1000.0)
    table = pa.table({"x": pa.array(values)})
    ds = ms.from_arrow(table, override_num_blocks=1)
    first = table["x"].chunk(0).buffers()[1].address
    ours = [batch["x"] for batch in ds.iter_torch_batches(batch_size=250, zero_copy_batch=True)]
    assert [each.data_ptr() - first for each in ours] == [0, 2000, 4000, 6000]
    assert torch.cat(ours).tolist() == values.tolist()
    copies = [batch["x"] for batch in ds.iter_torch_batches(batch_size=250)]
    assert all(not first <= each.data_ptr() < first + 8000 for each in copies)


@given(st.lists(st.integers(0, 9), max_size=8), st.sampled_from([1, 2, -1]))
def test_a_tensor_over_memory_that_is_read_only_has_its_values(values, step):
    array = np.array(values, np.int64)[::step]
    array.flags.writeable = False
    tensor = tensor_over(array)
    assert tensor.tolist() == array.tolist()
    if step == 1 and values:
        assert tensor.data_ptr() == array.ctypes.data


def test_collate_fn_gets_arrays_and_gives_what_it_likes():
    def collate(batch):
        assert batch["id"].flags.writeable
        return torch.from_numpy(batch["id"]).float()

    batches = list(ms.range(3).iter_torch_batches(batch_size=2, collate_fn=collate))
    assert [batch.tolist() for batch in batches] == [[0, 1], [2]]


def test_what_collate_fn_makes_is_moved_too():
    def collate(batch):
        ids = torch.from_numpy(batch["id"])
        return {"ids": ids, "pair": (ids, [ids, "text"])}

    (batch,) = ms.range(3).iter_torch_batches(collate_fn=collate, device="meta")
    found = [batch["ids"], batch["pair"][0], batch["pair"][1][0]]
    assert [each.device.type for each in found] == ["meta"] * 3
    assert batch["pair"][1][1] == "text"
    (batch,) = ms.range(3).iter_torch_batches(device="meta")
    assert batch["id"].device.type == "meta"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "nope"}, "device='nope'"),
        ({"collate_fn": 3}, "collate_fn=3"),
        ({"collate_fn": len, "dtypes": torch.int8}, "either collate_fn or dtypes"),
        ({"pin_memory": 1}, "pin_memory=1"),
        ({"zero_copy_batch": 1}, "zero_copy_batch=1"),
    ],
)
def test_arguments_that_make_no_sense_are_errors_at_the_call(options, message):
    with pytest.raises(ArgumentError, match=message):
        ms.range(3).iter_torch_batches(**options)


def test_importing_millstream_loads_no_framework():
    code = (
        "import sys, millstream, millstream.torch, millstream.frameworks\n"
        "assert not {'torch', 'jax', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
