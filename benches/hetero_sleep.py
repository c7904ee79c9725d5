"""A slow GPU stage behind a wide CPU stage, as sleep: how near to the ideal time is each engine?

400 rows; decoding takes 0.15 s a row and makes 8 MB of it, a GPU actor takes 0.04 s a row. 8 CPU
slots, 2 GPU slots, 1 GB of object store. Ideal: 400 x 0.04 s / 2 = 8 s of GPU work, plus the first
row's decoding.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
from harness import STORE_UNITS, Benchmark, Cluster, Numbers, quiet_peer, use_of_store

ROWS = 400
DECODE_S, INFER_S = 0.15, 0.04
ROW_BYTES = 8_000_000
IDEAL_S = ROWS * INFER_S / 2 + DECODE_S
#: Into how many blocks the peer cuts the rows: it depends on that, and chooses worse by itself.
PEER_BLOCKS = (100, 200, 400)
CLUSTER = Cluster(cpus=8, gpus=2, store_bytes=1_000_000_000)


def decode(row: dict[str, Any]) -> dict[str, Any]:
    """Makes a large row of a small one."""
    time.sleep(DECODE_S)
    return {"id": row["id"], "pixels": np.zeros(ROW_BYTES, np.uint8)}


class Model:
    """Makes a small row of a large one."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Takes its time for each row."""
        time.sleep(INFER_S * len(batch["id"]))
        return {"id": batch["id"], "size": [row.nbytes for row in batch["pixels"]]}


def millstream() -> Numbers:
    """Its defaults, and a pool of two as for the peer."""
    import millstream as ms

    ms.DataContext.get_current().enable_progress_bars = False

    def dataset() -> Any:
        decoded = ms.range(ROWS).map(decode)
        return decoded.map_batches(Model, num_gpus=1, batch_size=1, concurrency=2)

    return _measured(dataset)


def ray_data(blocks: int) -> Numbers:
    """A pool of two, no order."""
    import ray

    def dataset() -> Any:
        decoded = ray.data.range(ROWS, override_num_blocks=blocks).map(decode)
        return decoded.map_batches(Model, num_gpus=1, batch_size=1, concurrency=2)

    with quiet_peer():
        return _measured(dataset)


def _measured(dataset: Any) -> Numbers:
    from store_meter import StoreMeter

    with CLUSTER.running(), StoreMeter() as meter:
        started_s = time.monotonic()
        first_s, rows = 0.0, 0
        for batch in dataset().iter_batches(batch_size=None):
            first_s = first_s or time.monotonic() - started_s
            rows += len(batch["id"])
        wall_s = time.monotonic() - started_s
    if rows != ROWS:
        raise SystemExit(f"{rows} rows came out instead of {ROWS}")
    times = {"wall": wall_s, "wall / ideal": wall_s / IDEAL_S, "first row": first_s}
    return {**times, **use_of_store(meter)}


if __name__ == "__main__":
    Benchmark(
        name="hetero_sleep",
        contestants={
            "millstream": millstream,
            **{f"ray_data {blocks}": partial(ray_data, blocks) for blocks in PEER_BLOCKS},
        },
        units={"wall": "s", "wall / ideal": "x", "first row": "s", **STORE_UNITS},
        pairs=[("millstream", f"ray_data {blocks}") for blocks in PEER_BLOCKS],
    ).main()
