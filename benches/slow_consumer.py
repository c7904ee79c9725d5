"""6 GB through a store of 500 MB, in front of a consumer that is slower than the producers.

Rows of 1 MB are made as fast as the machine can, and the driver takes 4 ms for each. An engine
that holds its producers back spills nothing, and never holds more than the store has.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from harness import STORE_UNITS, Benchmark, Cluster, Numbers, quiet_peer, use_of_store

ROWS = 6000
ROW_BYTES = 1_000_000
CONSUME_S = 0.004
STORE_BYTES = 500_000_000
BLOCK_BYTES = 16_000_000
CLUSTER = Cluster(cpus=os.cpu_count() or 1, store_bytes=STORE_BYTES)


def make(batch: dict[str, Any]) -> dict[str, Any]:
    """Makes large rows."""
    return {"id": batch["id"], "bytes": np.ones((len(batch["id"]), ROW_BYTES), np.uint8)}


def millstream() -> Numbers:
    """Its defaults."""
    import millstream as ms

    ms.DataContext.get_current().enable_progress_bars = False

    def dataset() -> Any:
        return ms.range(ROWS).map_batches(make, batch_size=ROWS_PER_BLOCK)

    return {**_measured(dataset), "limit": STORE_BYTES / 1e6}


def ray_data(block_bytes: int | None) -> Numbers:
    """Its defaults, or blocks that suit a small store better."""
    import ray

    def dataset() -> Any:
        rows = ray.data.range(ROWS, override_num_blocks=ROWS // ROWS_PER_BLOCK)
        return rows.map_batches(make, batch_size=ROWS_PER_BLOCK)

    with quiet_peer() as context:
        if block_bytes is not None:
            context.target_max_block_size = block_bytes
        return {**_measured(dataset), "limit": STORE_BYTES / 1e6}


def _measured(dataset: Callable[[], Any]) -> Numbers:
    from store_meter import StoreMeter

    with CLUSTER.running(), StoreMeter() as meter:
        started_s = time.monotonic()
        rows = 0
        for batch in dataset().iter_batches(batch_size=ROWS_PER_BLOCK):
            rows += len(batch["id"])
            time.sleep(CONSUME_S * len(batch["id"]))
        wall_s = time.monotonic() - started_s
    if rows != ROWS:
        raise SystemExit(f"{rows} rows came out instead of {ROWS}")
    return {"wall": wall_s, "wall / ideal": wall_s / (ROWS * CONSUME_S), **use_of_store(meter)}


ROWS_PER_BLOCK = BLOCK_BYTES // ROW_BYTES

if __name__ == "__main__":
    Benchmark(
        name="slow_consumer",
        contestants={
            "millstream": millstream,
            "ray_data": partial(ray_data, BLOCK_BYTES),
            "ray_data defaults": partial(ray_data, None),
        },
        units={"wall": "s", "wall / ideal": "x", "limit": "MB", **STORE_UNITS},
        pairs=[("millstream", "ray_data")],
    ).main()
