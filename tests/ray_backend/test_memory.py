"""The object store holds what the scheduler thinks, and nothing is spilled."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pipelines import batches, read, start

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("leaves_nothing")]

MIB = 1 << 20


def store_stats(ray):
    """The object store's own account."""
    from ray._private.internal_api import node_stats

    node = ray.nodes()[0]
    return node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], False).store_stats


def test_ten_times_the_store_passes_a_slow_consumer_without_spilling(backend, ray_cluster):
    def wide(batch):
        for _ in range(len(batch["id"])):
            yield {"data": np.zeros((1, 1 << 18))}

    def same(batch):
        return batch

    before = store_stats(ray_cluster).spilled_bytes_total
    run = start(backend, read(1000, 125), batches(wide), batches(same))
    total = 0
    fullest = 0
    for number, handle in enumerate(run):
        total += handle.fetch().nbytes
        if number % 50 == 0:
            time.sleep(0.1)
            fullest = max(fullest, store_stats(ray_cluster).object_store_bytes_primary_copy)
    assert total >= 1000 * 2 * MIB
    node = run.scheduler.snapshot().nodes[0]
    assert node.store_peak <= node.store_total <= 140 * MIB
    assert fullest <= 160 * MIB
    assert store_stats(ray_cluster).spilled_bytes_total == before


def test_a_consumer_may_keep_more_than_the_store_holds(backend, ray_cluster):
    def wide(batch):
        for value in batch["id"]:
            yield {"id": np.array([value]), "data": np.zeros((1, 1 << 18))}

    before = store_stats(ray_cluster).spilled_bytes_total
    kept = [handle.fetch() for handle in start(backend, read(200, 25), batches(wide))]
    assert [value for table in kept for value in table["id"].to_pylist()] == list(range(200))
    assert store_stats(ray_cluster).spilled_bytes_total == before


def free_bytes(ray):
    return ray.available_resources().get("object_store_memory", 0)


def test_blocks_that_others_hold_make_the_limit_smaller(ray_cluster):
    from millstream.run.ray.backend import RayBackend

    held = ray_cluster.put(np.zeros(50 * MIB // 8))
    deadline = time.monotonic() + 10
    while free_bytes(ray_cluster) > 155 * MIB:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    backend = RayBackend()
    assert backend.nodes()[0].store_bytes <= 90 * MIB
    backend.close()
    del held
