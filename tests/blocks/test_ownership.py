"""Arrays and dicts that user code goes on using after it has handed them over."""

import numpy as np
import pyarrow as pa
import pytest

from millstream.blocks.batch import from_batch
from millstream.blocks.block import concat
from millstream.blocks.ownership import own
from millstream.blocks.transforms import FlatMap, MapBatches, MapRows


def ids(transform):
    source = iter([pa.table({"id": np.arange(6)})])
    tables = list(transform.open()(source))
    return [row["id"] for row in concat(tables).to_pylist()]


class ReusesBuffer:
    def __init__(self):
        self.buffer = np.empty(2, np.int64)

    def __call__(self, batch):
        self.buffer[: len(batch["id"])] = batch["id"]
        return {"id": self.buffer}


class ReusesPartOfBuffer(ReusesBuffer):
    def __call__(self, batch):
        return {"id": super().__call__(batch)["id"][: len(batch["id"])]}


def reuses_in_generator(batch):
    out = {"id": np.empty(1, np.int64)}
    buffer = out["id"]
    for value in batch["id"]:
        buffer[0] = value
        yield out


@pytest.mark.parametrize("function", [ReusesBuffer, ReusesPartOfBuffer, reuses_in_generator])
def test_a_function_may_fill_the_same_buffer_at_each_call(function):
    assert ids(MapBatches(function, batch_size=2)) == list(range(6))


def test_a_function_may_hand_over_the_same_row_again_and_again():
    def rows(row):
        out = {}
        for _ in range(1):
            out["id"] = row["id"]
            yield out
            out["id"] = -1

    assert ids(FlatMap(rows)) == list(range(6))


def test_rows_may_hold_the_same_array_again_and_again():
    buffer = np.empty(1, np.int64)

    def fill(row):
        buffer[0] = row["id"]
        return {"t": buffer}

    (table,) = MapRows(fill).open()(iter([pa.table({"id": np.arange(3)})]))
    assert table["t"].combine_chunks().to_numpy_ndarray().tolist() == [[0], [1], [2]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(6),
        lambda: np.arange(6).reshape(2, 3),
        lambda: np.frombuffer(bytes(8), np.int64),
    ],
)
def test_what_nobody_can_write_to_is_not_copied(make):
    batch = {"a": make()}
    address = batch["a"].ctypes.data
    assert own(batch)["a"].ctypes.data == address


def test_fresh_results_become_blocks_without_a_copy():
    batch = {"a": np.arange(1000)}
    address = batch["a"].ctypes.data
    assert from_batch(batch)["a"].chunk(0).buffers()[1].address == address
