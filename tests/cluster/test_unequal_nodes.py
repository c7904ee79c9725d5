"""What several raylets say of their stores while a run passes more than they hold."""

from __future__ import annotations

import time

import numpy as np
import pytest

import millstream as ms

pytestmark = pytest.mark.cluster

#: A hundredth of what nodes of 64 and 256 GiB give to the object store.
SMALL_BYTES, LARGE_BYTES = 192 << 20, 768 << 20
ROWS, ROW_BYTES = 400, 8 << 20


def store_stats(ray):
    """What each raylet counts of its store."""
    from ray._private.internal_api import node_stats

    return [
        node_stats(
            node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False
        ).store_stats
        for node in ray.nodes()
    ]


@pytest.mark.timeout(600)
def test_a_slow_stage_fed_by_unequal_nodes_spills_nothing(raylets):
    def made(row):
        return {"id": row["id"], "pixels": np.ones(ROW_BYTES, np.uint8)}

    class Slow:
        def __call__(self, batch):
            time.sleep(0.05 * len(batch["id"]))
            return {"id": batch["id"]}

    large = {"num_cpus": 2, "object_store_memory": LARGE_BYTES}
    small = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": SMALL_BYTES}
    raylets(large, large, small, small)
    import ray

    dataset = ms.range(ROWS).map(made).map_batches(Slow, num_gpus=1, batch_size=1, concurrency=2)
    ids = [int(i) for batch in dataset.iter_batches(batch_size=None) for i in batch["id"]]
    assert ids == list(range(ROWS))
    stats = store_stats(ray)
    assert sum(store.cumulative_created_bytes for store in stats) >= ROWS * ROW_BYTES
    assert [store.spilled_bytes_total for store in stats] == [0, 0, 0, 0]
