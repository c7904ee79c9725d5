"""A dataset that runs again and again, as training does, leaves nothing behind of each run."""

from __future__ import annotations

import gc
import statistics
import threading

import pytest

import millstream as ms
from millstream.context import DataContext


def objects_and_threads():
    gc.collect()
    return len(gc.get_objects()), threading.active_count()


def assert_flat(run, epochs):
    """What each run leaves shows in most spans; a cache that fills or empties once, in one."""
    run()
    objects, threads = objects_and_threads()
    growths = []
    for _ in range(3):
        for _ in range(epochs):
            run()
        objects_after, threads_after = objects_and_threads()
        growths.append(objects_after - objects)
        objects = objects_after
    assert statistics.median(growths) < epochs / 2, growths
    assert threads_after <= threads


class Model:
    def __call__(self, batch):
        return batch

    def close(self):
        pass


async def later(batch):
    return batch


PIPELINES = {
    "a function": lambda ds: ds.map_batches(lambda batch: batch),
    "a pool": lambda ds: ds.map_batches(Model, concurrency=1),
    "a coroutine": lambda ds: ds.map_batches(later),
}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_epochs_leave_no_objects_and_no_threads(pipeline):
    ds = PIPELINES[pipeline](ms.range(20, override_num_blocks=2))

    def run():
        assert sum(len(batch["id"]) for batch in ds.iter_batches(batch_size=8)) == 20
        ds.stats()

    assert_flat(run, 15)


@pytest.mark.parametrize("leave", ["early", "by an error"])
def test_epochs_that_end_before_their_last_row_leave_nothing(leave):
    def work(batch):
        if leave == "by an error" and batch["id"][0] > 5:
            raise ValueError("bad")
        return batch

    ds = ms.range(20, override_num_blocks=20).map_batches(work)

    def run():
        if leave == "early":
            assert len(ds.take(1)) == 1
        else:
            with pytest.raises(ms.UserCodeError):
                ds.take_all()

    assert_flat(run, 10)


@pytest.mark.ray
def test_epochs_on_ray_leave_nothing_in_the_driver(ray_cluster, monkeypatch):
    context = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)
    ds = ms.range(20, override_num_blocks=2).map_batches(lambda batch: batch)
    assert_flat(lambda: list(ds.iter_batches(batch_size=8)), 4)
