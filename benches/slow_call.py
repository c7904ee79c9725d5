"""100 rows and a function that takes 0.3 s for each call, whatever its rows: how many calls?

Each engine chooses the batches itself. On 2 CPUs the ideal is one call each; who knows nothing of
the function needs one more each, to learn that it is the call that takes long.
"""

from __future__ import annotations

import time
from typing import Any

from harness import Benchmark, Cluster, Numbers, quiet_peer

ROWS = 100
CALL_S = 0.3
CLUSTER = Cluster(cpus=2)


def slow(batch: dict[str, Any]) -> dict[str, Any]:
    """Takes its time, and says so in the first row."""
    time.sleep(CALL_S)
    return {"id": batch["id"], "call": [1, *[0] * (len(batch["id"]) - 1)]}


def millstream() -> Numbers:
    """On Ray."""
    import millstream as ms

    ms.DataContext.get_current().enable_progress_bars = False
    with CLUSTER.running():
        return _measured(ms)


def millstream_local() -> Numbers:
    """On two threads of the process, without Ray."""
    import millstream as ms

    context = ms.DataContext.get_current()
    context.enable_progress_bars = False
    context.backend = "local"
    return _measured(ms)


def ray_data() -> Numbers:
    """Its defaults."""
    import ray.data

    with quiet_peer(), CLUSTER.running():
        return _measured(ray.data)


def _measured(engine: Any) -> Numbers:
    started_s = time.monotonic()
    rows = engine.range(ROWS).map_batches(slow).take_all()
    wall_s = time.monotonic() - started_s
    if sorted(row["id"] for row in rows) != list(range(ROWS)):
        raise SystemExit(f"{len(rows)} rows came out instead of {ROWS}, or others")
    return {"wall": wall_s, "calls": sum(row["call"] for row in rows)}


if __name__ == "__main__":
    Benchmark(
        name="slow_call",
        contestants={
            "millstream": millstream,
            "millstream local": millstream_local,
            "ray_data": ray_data,
        },
        units={"wall": "s", "calls": "calls"},
        pairs=[("millstream", "ray_data"), ("millstream local", "ray_data")],
    ).main()
