"""24 rows of 1 s each for a pool of one or two actors on 2 CPUs, which the reader needs too.

The reader is through in no time, and the second actor gets its CPU. Ideal: 12 s.
"""

from __future__ import annotations

import time
from typing import Any

from harness import Benchmark, Cluster, Numbers, quiet_peer

ROWS = 24
WORK_S = 1.0
IDEAL_S = ROWS * WORK_S / 2
CLUSTER = Cluster(cpus=2)


class Model:
    """Works for a second on each row."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Takes its time."""
        time.sleep(WORK_S * len(batch["id"]))
        return batch


def millstream() -> Numbers:
    """On Ray."""
    import millstream as ms

    ms.DataContext.get_current().enable_progress_bars = False
    with CLUSTER.running():
        return _measured(ms, ms.ActorPoolStrategy(min_size=1, max_size=2))


def millstream_local() -> Numbers:
    """On two threads of the process, without Ray."""
    import millstream as ms

    context = ms.DataContext.get_current()
    context.enable_progress_bars = False
    context.backend = "local"
    return _measured(ms, ms.ActorPoolStrategy(min_size=1, max_size=2))


def ray_data() -> Numbers:
    """Its defaults."""
    import ray.data

    with quiet_peer(), CLUSTER.running():
        return _measured(ray.data, ray.data.ActorPoolStrategy(min_size=1, max_size=2))


def _measured(engine: Any, compute: Any) -> Numbers:
    started_s = time.monotonic()
    rows = engine.range(ROWS).map_batches(Model, batch_size=1, compute=compute).take_all()
    wall_s = time.monotonic() - started_s
    if sorted(row["id"] for row in rows) != list(range(ROWS)):
        raise SystemExit(f"{len(rows)} rows came out instead of {ROWS}, or others")
    return {"wall": wall_s, "over ideal": wall_s / IDEAL_S}


if __name__ == "__main__":
    Benchmark(
        name="pool_and_reader",
        contestants={
            "millstream": millstream,
            "millstream local": millstream_local,
            "ray_data": ray_data,
        },
        units={"wall": "s", "over ideal": ""},
        pairs=[("millstream", "ray_data"), ("millstream local", "ray_data")],
    ).main()
