"""Loaders of torch and stages that compute with it, where datasets run on Ray."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

import millstream as ms
from millstream.errors import ArgumentError

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def on_ray(ray_cluster, monkeypatch):
    made = ms.DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(ms.DataContext, "_current", made)


def rows_of(loader):
    return [int(value) for batch in loader for value in batch["id"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_each_row_comes_once_however_many_workers_there_are(workers):
    ds = ms.range(60, override_num_blocks=5).map(lambda row: row)
    loader = DataLoader(ds.to_torch_dataset(), batch_size=8, num_workers=workers)
    for _ in range(2):
        assert sorted(rows_of(loader)) == list(range(60))


def test_what_is_in_rays_store_is_for_no_worker_of_a_loader():
    kept = ms.range(20, override_num_blocks=4).materialize()
    assert rows_of(DataLoader(kept.to_torch_dataset(), batch_size=8)) == list(range(20))
    loader = DataLoader(kept.to_torch_dataset(), batch_size=8, num_workers=1)
    with pytest.raises(ArgumentError, match=r"Kept is in Ray's object store.*num_workers=0"):
        next(iter(loader))


def test_a_stage_of_torch_computes_in_order():
    from millstream.torch import Inference

    class Double(Inference):
        def initialize(self, factor):
            self.factor = factor

        def process_on_device(self, input_batch, collated_tensors, collated_other):
            return {"id": collated_tensors["id"].mul_(self.factor)}

    ds = ms.range(70, override_num_blocks=5).map_batches(
        Double, num_gpus=1, batch_size=4, concurrency=1, fn_constructor_args=(2,)
    )
    assert [row["id"] for row in ds.take_all()] == [2 * number for number in range(70)]


def test_parts_of_a_split_feed_torch():
    (part,) = ms.range(10).streaming_split(1)
    (batch,) = part.iter_torch_batches(batch_size=16)
    assert batch["id"].equal(torch.arange(10))
    assert rows_of(DataLoader(part.to_torch_dataset(), batch_size=4)) == list(range(10))
