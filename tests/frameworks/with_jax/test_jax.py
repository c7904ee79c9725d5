"""Batches as arrays of JAX."""

from __future__ import annotations

import datetime
import decimal
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest

import millstream as ms
from millstream.errors import ArgumentError, SchemaError


def batches_of(column, **options):
    return list(ms.from_arrow(pa.table({"c": column})).iter_jax_batches(**options))


def test_columns_of_numbers_become_arrays():
    batches = list(ms.range(10).iter_jax_batches(batch_size=4))
    assert [batch["id"].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(isinstance(batch["id"], jax.Array) for batch in batches)


@pytest.mark.parametrize(
    "values", [np.float32([1, 2]), np.uint8([1, 255]), np.array([True, False]), np.float16([0.5])]
)
def test_types_stay_what_jax_has(values):
    ((batch),) = batches_of(pa.array(values))
    assert batch["c"].dtype == values.dtype
    assert batch["c"].tolist() == values.tolist()


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**40])
def test_an_integer_that_jax_would_change_is_an_error(value, request):
    with pytest.raises(SchemaError, match=f"column 'c' has the integer {value}.*jax_enable_x64"):
        batches_of(pa.array([1, value]))
    request.addfinalizer(lambda: jax.config.update("jax_enable_x64", False))
    jax.config.update("jax_enable_x64", True)
    assert batches_of(pa.array([1, value]))[0]["c"].tolist() == [1, value]


def test_a_type_asked_for_must_hold_the_integers():
    assert batches_of(pa.array([1, 200]), dtypes={"c": jnp.uint8})[0]["c"].dtype == jnp.uint8
    with pytest.raises(SchemaError, match="'c' has the integer 300"):
        batches_of(pa.array([1, 300]), dtypes=jnp.uint8)
    assert batches_of(pa.array([1, 300]), dtypes=jnp.float32)[0]["c"].dtype == jnp.float32


def test_tensors_and_lists():
    images = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    (batch,) = ms.from_numpy(images).iter_jax_batches()
    assert np.array_equal(batch["data"], images)
    (batch,) = batches_of(pa.array([[1, 2], [3]]))
    assert [each.tolist() for each in batch["c"]] == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (pa.array(["a", "b"]), "values of type str"),
        (pa.array([b"a"]), "values of type bytes"),
        (pa.array([1, None]), "int and nulls"),
        (pa.array([decimal.Decimal("1.5")]), "Decimal"),
        (pa.array([datetime.date(2026, 1, 1)]), "times"),
        (pa.array([datetime.timedelta(1)]), "durations"),
        (pa.array([[1, 2], None]), "nulls"),
        (pa.array([{"a": 1}]), "dict"),
    ],
)
def test_other_columns_are_an_error_that_names_the_column(column, what):
    with pytest.raises(SchemaError, match=f"column 'c' has .*{what}.* JAX makes no tensor"):
        batches_of(column)


def test_collate_fn_makes_of_a_batch_what_it_likes():
    ds = ms.from_items([{"text": "a", "n": 1}, {"text": "bcd", "n": 2}])

    def collate(batch):
        return {"length": np.array([len(text) for text in batch["text"]]), "n": batch["n"]}

    (batch,) = ds.iter_jax_batches(collate_fn=collate)
    assert batch["length"].tolist() == [1, 3]
    (array,) = ds.iter_jax_batches(collate_fn=lambda batch: batch["n"])
    assert array.tolist() == [1, 2]


def test_paddings_fill_the_last_batch_up():
    ds = ms.range(5).map_batches(lambda batch: {"id": batch["id"], "x": batch["id"] * 0.5})
    *_, last = ds.iter_jax_batches(batch_size=4, paddings={"id": -1, "x": 0})
    assert last["id"].tolist() == [4, -1, -1, -1]
    assert last["x"].tolist() == [2, 0, 0, 0]


def test_a_state_goes_on_where_it_stopped():
    part = ms.range(10).iterator()
    for _ in part.iter_jax_batches(batch_size=4):
        state = part.state_dict()
        break
    other = ms.range(10).iterator()
    other.load_state_dict(state)
    batches = list(other.iter_jax_batches(batch_size=4))
    assert [batch["id"].tolist() for batch in batches] == [[4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": None}, "batch_size=None"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"collate_fn": 3}, "collate_fn=3"),
        ({"prefetch_batches": -1}, "prefetch_batches=-1"),
    ],
)
def test_arguments_that_make_no_sense_are_errors_at_the_call(options, message):
    with pytest.raises(ArgumentError, match=message):
        ms.range(3).iter_jax_batches(**options)


def test_batches_are_divided_among_the_devices():
    code = """
        import jax, millstream as ms
        from millstream.errors import ArgumentError, SchemaError
        ms.DataContext.get_current().enable_progress_bars = False
        ds = ms.range(6)
        first, last = ds.iter_jax_batches(batch_size=4, paddings=9)
        assert first["id"].tolist() == [0, 1, 2, 3] and last["id"].tolist() == [4, 5, 9, 9]
        shards = first["id"].addressable_shards
        assert [shard.data.tolist() for shard in shards] == [[0, 1], [2, 3]], shards
        assert len(first["id"].sharding.device_set) == 2
        try:
            ds.iter_jax_batches(batch_size=3)
        except ArgumentError as error:
            assert "batch_size=3 must be a multiple of the 2 devices" in str(error)
        try:
            list(ms.range(5).iter_jax_batches(batch_size=4))
        except SchemaError as error:
            assert "a batch of 1 rows cannot be divided among 2 devices" in str(error)
        else:
            raise AssertionError("no error")
    """
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "MILLSTREAM_BACKEND": "local",
    }
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=True)
