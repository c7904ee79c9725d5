"""Reading streams, with the semi-private calls of Ray and without them."""

from __future__ import annotations

import gc
import os
import queue
import signal

import numpy as np
import pytest
from pipelines import batches, die_once, read, start, values, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("leaves_nothing")]


@pytest.fixture(params=["callbacks", "waiting"])
def kind(request, ray_cluster, monkeypatch):
    """Both ways of reading."""
    from millstream.run.ray import compat

    assert compat.core_worker() is not None
    if request.param == "waiting":
        monkeypatch.setattr(compat, "core_worker", lambda: None)
    return request.param


def open_stream(generator):
    from millstream.run.ray import stream

    return stream.open_stream(generator)


def streaming(ray, function):
    return ray.remote(function).options(
        num_returns="streaming", max_retries=0, _generator_backpressure_num_objects=2
    )


def test_values_and_presence_are_told_in_order(kind, ray_cluster):
    def three():
        yield "first"
        yield np.zeros(100_000)
        yield "last"

    told = queue.SimpleQueue()
    stream = open_stream(streaming(ray_cluster, three).remote())
    stream.watch_value(told.put)
    assert told.get(timeout=30) == "first"
    assert ray_cluster.get(stream.take()) == "first"
    stream.watch_presence(told.put)
    assert told.get(timeout=30) is None
    assert len(ray_cluster.get(stream.take())) == 100_000
    stream.watch_value(told.put)
    assert told.get(timeout=30) == "last"
    stream.take()
    stream.watch_value(told.put)
    assert not isinstance(told.get(timeout=30), str)
    assert stream.take() is None
    assert stream.failure() is None


def deadly_after(told):
    """A stream whose worker dies when its only object has been told of."""

    def deadly():
        yield "the only one"
        wait_until(told.exists, within_s=30)
        os.kill(os.getpid(), signal.SIGKILL)

    return deadly


def test_the_death_of_a_worker_is_told(kind, ray_cluster, tmp_path):
    from ray.exceptions import WorkerCrashedError

    told = queue.SimpleQueue()
    die = tmp_path / "die"
    stream = open_stream(streaming(ray_cluster, deadly_after(die)).remote())
    stream.watch_value(told.put)
    assert told.get(timeout=30) == "the only one"
    stream.take()
    stream.watch_value(told.put)
    die.touch()
    assert isinstance(told.get(timeout=30), Exception)
    assert isinstance(stream.failure(), WorkerCrashedError)


def test_a_worker_that_dies_between_two_objects_is_noticed_when_the_second_is_taken(
    kind, ray_cluster, tmp_path
):
    told = queue.SimpleQueue()
    die = tmp_path / "die"
    stream = open_stream(streaming(ray_cluster, deadly_after(die)).remote())
    stream.watch_value(told.put)
    told.get(timeout=30)
    stream.take()
    stream.watch_presence(told.put)
    die.touch()
    told.get(timeout=30)
    assert stream.take() is None
    assert stream.failure() is not None


@pytest.mark.usefixtures("kind")
def test_whole_runs(backend, tmp_path):
    folder = str(tmp_path)

    def mixed(batch):
        for part in range(3):
            if batch["id"][0] == 4 and part == 2:
                die_once(folder, "worker")
            size = 1 << 18 if part % 2 else 1
            yield {"id": batch["id"] * 3 + part, "data": np.zeros((1, size))}

    run = start(backend, read(10, 10), batches(mixed))
    assert values(run) == list(range(30))
    # The public iterator leaves a cycle of frames behind when a worker has died.
    del run
    gc.collect()
