"""Stages that compute with torch: their steps, how they overlap, and what goes wrong."""

from __future__ import annotations

import gc
import threading
from contextlib import nullcontext

import numpy as np
import pyarrow as pa
import pytest
import torch

import millstream as ms
from millstream.errors import SchemaError, UserCodeError
from millstream.feed.side_stream import SideStream
from millstream.torch import Inference

PATIENCE_S = 20


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    # Executors end their threads when they are collected.
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith(("millstream-collate", "millstream-process", "millstream-fin")):
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), thread.name


class Double(Inference):
    def process_on_device(self, input_batch, collated_tensors, collated_other):
        assert not torch.is_grad_enabled()
        return {"id": collated_tensors["id"].mul_(2)}


class Scale(Inference):
    def initialize(self, factor, offset=0):
        self.model = torch.nn.Linear(1, 1)
        self.factor, self.offset = factor, offset

    def collate(self, input_batch):
        return {"x": torch.tensor(input_batch["id"].copy())}, list(input_batch["id"])

    def process_on_device(self, input_batch, collated_tensors, collated_other):
        assert collated_other == list(input_batch["id"])
        return {"x": collated_tensors["x"] * self.factor + self.offset}, "beside"

    def finalize(self, input_batch, output_tensors, output_other):
        assert output_other == "beside"
        return {"id": input_batch["id"], "x": output_tensors["x"].numpy()}


def test_batches_come_in_order_and_blocks_stay_what_they_are():
    kept = ms.range(50, override_num_blocks=3).materialize()
    doubled = kept.map_batches(Double, batch_size=4).take_all()
    assert [row["id"] for row in doubled] == [2 * number for number in range(50)]
    assert [row["id"] for row in kept.take_all()] == list(range(50))


def test_each_step_gets_what_the_one_before_has_passed_on():
    ds = ms.range(10).map_batches(
        Scale, batch_size=3, fn_constructor_args=(3,), fn_constructor_kwargs={"offset": 1}
    )
    assert ds.take_all() == [{"id": number, "x": 3 * number + 1} for number in range(10)]


class Meeting(Inference):
    """Each step waits until the next batch is in the step before."""

    def initialize(self):
        self.began = {
            name: [threading.Event() for _ in range(4)] for name in ("collate", "process")
        }

    def collate(self, input_batch):
        self.began["collate"][int(input_batch["id"][0])].set()
        return super().collate(input_batch)

    def process_on_device(self, input_batch, collated_tensors, collated_other):
        number = int(input_batch["id"][0])
        self.began["process"][number].set()
        if number < 3:
            assert self.began["collate"][number + 1].wait(PATIENCE_S)
        return collated_tensors

    def finalize(self, input_batch, output_tensors, output_other):
        number = int(input_batch["id"][0])
        if number < 3:
            assert self.began["process"][number + 1].wait(PATIENCE_S)
        return super().finalize(input_batch, output_tensors, output_other)


def test_the_steps_of_several_batches_overlap():
    ds = ms.range(4, override_num_blocks=1).map_batches(Meeting, batch_size=1)
    assert [row["id"] for row in ds.take_all()] == [0, 1, 2, 3]


def test_no_more_batches_are_under_way_than_it_says():
    class Counting(Inference):
        def initialize(self):
            self.lock, self.now, self.most = threading.Lock(), 0, 0

        def collate(self, input_batch):
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            return super().collate(input_batch)

        def process_on_device(self, input_batch, collated_tensors, collated_other):
            return collated_tensors

        def finalize(self, input_batch, output_tensors, output_other):
            with self.lock:
                self.now -= 1
            return {"most": np.full(len(input_batch["id"]), self.most)}

    ds = ms.range(60, override_num_blocks=1).map_batches(Counting, batch_size=1)
    assert 1 <= ds.max("most") <= Inference.coroutines_max


@pytest.mark.parametrize("step", ["collate", "process_on_device", "finalize"])
def test_an_error_names_its_batch_whatever_the_step(step):
    class Failing(Double):
        pass

    def fail(self, input_batch, *rest):
        if 8 in input_batch["id"]:
            raise ValueError("not this one")
        return getattr(super(Failing, self), step)(input_batch, *rest)

    setattr(Failing, step, fail)
    ds = ms.range(20, override_num_blocks=1).map_batches(Failing, batch_size=4)
    with pytest.raises(
        UserCodeError, match=r"batch 2 .* raised ValueError: not this one"
    ) as caught:
        ds.take_all()
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_column_of_something_else_is_an_error_that_names_it():
    ds = ms.from_arrow(pa.table({"s": ["a"]})).map_batches(Double)
    with pytest.raises(SchemaError, match=r"column 's' has .*str.* or override collate"):
        ds.take_all()
    frames = ms.range(3).map_batches(Double, batch_format="pyarrow")
    with pytest.raises(UserCodeError, match="collate got a batch of type Table"):
        frames.take_all()


def test_what_is_beside_tensors_needs_a_finalize():
    class Beside(Double):
        def process_on_device(self, input_batch, collated_tensors, collated_other):
            return collated_tensors, "beside"

    with pytest.raises(UserCodeError, match="override finalize"):
        ms.range(3).map_batches(Beside).take_all()


def test_types_without_an_array_come_out_wider():
    class Narrow(Double):
        def process_on_device(self, input_batch, collated_tensors, collated_other):
            return {"x": collated_tensors["id"].to(torch.bfloat16) / 2}

    assert [row["x"] for row in ms.range(3).map_batches(Narrow).take_all()] == [0, 0.5, 1]


def test_ragged_columns_are_lists_of_tensors():
    class Sums(Inference):
        def process_on_device(self, input_batch, collated_tensors, collated_other):
            return {"sum": torch.stack([each.sum() for each in collated_tensors["c"]])}

    ds = ms.from_arrow(pa.table({"c": [[1, 2], [3], [4, 5, 6]]})).map_batches(Sums)
    assert [row["sum"] for row in ds.take_all()] == [3, 3, 15]


class Told:
    """A stream of CUDA that only tells what it was asked."""

    told: list

    def __init__(self, device=None):
        self.told = []

    def record_event(self):
        self.told.append("record")
        return self

    def wait_event(self, event):
        self.told.append("wait")

    def synchronize(self):
        self.told.append("synchronize")


def test_copies_wait_for_what_they_copy_and_are_waited_for(monkeypatch):
    # The calls of CUDA are those of a stand-in, and the device is one without memory.
    computing, used = Told(), []
    monkeypatch.setattr(torch.cuda, "Stream", Told)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: used.append("pinned") or self)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: used.append(stream))
    side = SideStream(torch.device("meta"))
    sent = side.sent({"a": torch.ones(2), "b": [torch.ones(1)], "c": (torch.ones(3), "text")})
    assert used == ["pinned"] * 3
    assert sent.nbytes == 4 * 6
    assert sent.arrived.told == ["record"]
    assert computing.told == []
    found = side.received(sent)
    assert computing.told == ["wait"]
    assert used[3:] == [computing] * 3
    assert found["a"].device.type == "meta"
    assert found["c"][1] == "text"
    back = side.computed({"a": torch.ones(2)})
    assert computing.told == ["wait", "record"]
    assert side.brought(back)["a"].tolist() == [1, 1]
    assert sent.arrived.told == ["record", "wait", "synchronize"]
