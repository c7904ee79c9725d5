"""One row: what does an engine take before it does anything?

`range(1)` to its first row, cold (the first run in the process) and warm (the second one), beside
`ray.init` alone. Imports count, since a user waits for them too.
"""

from __future__ import annotations

import os
import time
from typing import Any

from harness import Benchmark, Cluster, Numbers, quiet_peer

CLUSTER = Cluster(cpus=os.cpu_count() or 1)


def millstream() -> Numbers:
    """On Ray."""
    started_s = time.monotonic()
    import millstream as ms

    ms.DataContext.get_current().enable_progress_bars = False
    imported_s = time.monotonic() - started_s
    with CLUSTER.running():
        return {"import": imported_s, **_first_rows(ms)}


def millstream_local() -> Numbers:
    """On threads of the process, without Ray."""
    started_s = time.monotonic()
    import millstream as ms

    context = ms.DataContext.get_current()
    context.enable_progress_bars = False
    context.backend = "local"
    return {"import": time.monotonic() - started_s, **_first_rows(ms)}


def ray_data() -> Numbers:
    """Its defaults."""
    started_s = time.monotonic()
    import ray.data

    imported_s = time.monotonic() - started_s
    with quiet_peer(), CLUSTER.running():
        return {"import": imported_s, **_first_rows(ray.data)}


def ray_init() -> Numbers:
    """The cluster alone, and one task on it."""
    started_s = time.monotonic()
    import ray

    imported_s = time.monotonic() - started_s
    started_s = time.monotonic()
    with CLUSTER.running():
        init_s = time.monotonic() - started_s

        @ray.remote
        def one() -> int:
            return 1

        times = []
        for _ in range(2):
            started_s = time.monotonic()
            ray.get(one.remote())
            times.append(time.monotonic() - started_s)
    return {"import": imported_s, "ray.init": init_s, "cold": times[0], "warm": times[1]}


def _first_rows(engine: Any) -> Numbers:
    times = []
    for _ in range(2):
        started_s = time.monotonic()
        (row,) = engine.range(1).take(1)
        times.append(time.monotonic() - started_s)
        if row != {"id": 0}:
            raise SystemExit(f"the row is {row}")
    return {"cold": times[0], "warm": times[1]}


if __name__ == "__main__":
    Benchmark(
        name="fixed_cost",
        contestants={
            "millstream": millstream,
            "millstream local": millstream_local,
            "ray_data": ray_data,
            "ray.init": ray_init,
        },
        units={"import": "s", "ray.init": "s", "cold": "s", "warm": "s"},
        pairs=[("millstream", "ray_data"), ("millstream local", "ray_data")],
        by="warm",
    ).main()
