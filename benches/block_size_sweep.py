"""The same bytes in blocks of five sizes: from which size on is an engine slow?

2,048 rows of 1 MB go through two stages of 10 ms a row, as sleep, in blocks of 1, 4, 16, 64 and
256 MB, with 8 CPU slots. Ideal: 2 x 2,048 x 10 ms / 8 = 5.1 s. The stages ask for other amounts of
CPU and therefore do not fuse. All bytes are divided by SCALE, so that copying them takes no time
worth mentioning on a small machine, and the store is 1 GB.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from harness import STORE_UNITS, Benchmark, Cluster, Numbers, quiet_peer, use_of_store

ROWS = 2048
SCALE = 4
ROW_BYTES = 1_000_000 // SCALE
SLEEP_S = 0.01
BLOCK_ROWS = (1, 4, 16, 64, 256)
READ_TASKS_MAX = 200
CLUSTER = Cluster(cpus=8, store_bytes=1_000_000_000)
#: The two stages ask for slightly different amounts, so that as many of each fit.
CPUS = (1, 0.99)


def make(batch: dict[str, Any]) -> dict[str, Any]:
    """Makes large rows, and takes its time for each."""
    rows = len(batch["id"])
    time.sleep(SLEEP_S * rows)
    return {"id": batch["id"], "bytes": np.zeros((rows, ROW_BYTES), np.uint8)}


def take(batch: dict[str, Any]) -> dict[str, Any]:
    """Makes small rows of large ones, and takes its time for each."""
    time.sleep(SLEEP_S * len(batch["id"]))
    return {"id": batch["id"]}


def millstream(block_rows: int) -> Numbers:
    """Blocks of that many rows, and tasks as it likes."""
    import millstream as ms

    context = ms.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = block_rows * ROW_BYTES

    def dataset() -> Any:
        rows = ms.range(ROWS)
        return rows.map_batches(make, num_cpus=CPUS[0]).map_batches(take, num_cpus=CPUS[1])

    return _measured(dataset)


def ray_data(block_rows: int) -> Numbers:
    """Blocks of that many rows, and no more tasks that read than it makes by itself."""
    import ray

    def dataset() -> Any:
        tasks = min(ROWS // block_rows, READ_TASKS_MAX)
        rows = ray.data.range(ROWS, override_num_blocks=tasks)
        made = rows.map_batches(make, batch_size=None)
        return made.map_batches(take, batch_size=None, num_cpus=CPUS[1])

    with quiet_peer() as context:
        context.target_max_block_size = block_rows * ROW_BYTES
        context.target_min_block_size = min(context.target_min_block_size, block_rows * ROW_BYTES)
        return _measured(dataset)


def _measured(dataset: Callable[[], Any]) -> Numbers:
    from store_meter import StoreMeter

    with CLUSTER.running(), StoreMeter() as meter:
        started_s = time.monotonic()
        rows = sum(len(batch["id"]) for batch in dataset().iter_batches(batch_size=None))
        wall_s = time.monotonic() - started_s
    if rows != ROWS:
        raise SystemExit(f"{rows} rows came out instead of {ROWS}")
    return {"wall": wall_s, **use_of_store(meter)}


if __name__ == "__main__":
    engines: dict[str, Callable[[int], Numbers]] = {"millstream": millstream, "ray_data": ray_data}
    Benchmark(
        name="block_size_sweep",
        contestants={
            f"{name} {rows} MB": partial(engine, rows)
            for rows in BLOCK_ROWS
            for name, engine in engines.items()
        },
        units={"wall": "s", **STORE_UNITS},
        pairs=[(f"millstream {rows} MB", f"ray_data {rows} MB") for rows in BLOCK_ROWS],
    ).main()
