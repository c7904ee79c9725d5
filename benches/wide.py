"""100 rows of 5,000 columns, made by `map`, iterated or written: what does a column cost?

Warm: a run of the same kind has started the workers before.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from harness import Benchmark, Cluster, Numbers, quiet_peer

ROWS = 100
COLUMNS = 5000
CLUSTER = Cluster(cpus=os.cpu_count() or 1, store_bytes=200 << 20)


def wide(row: Any) -> Any:
    """Makes a wide row of a number."""
    return {f"c{column}": row["id"] + column for column in range(COLUMNS)}


def iterate(data: Any) -> None:
    """Takes all rows in the driver."""
    count = sum(1 for _ in data.range(ROWS).map(wide).iter_rows())
    if count != ROWS:
        raise SystemExit(f"{count} rows came out instead of {ROWS}")


def write(data: Any) -> None:
    """Writes them."""
    with tempfile.TemporaryDirectory() as folder:
        data.range(ROWS).map(wide).write_parquet(folder)


def millstream(work: Callable[[Any], None]) -> Numbers:
    """Its defaults."""
    import millstream as ms

    ms.DataContext.get_current().enable_progress_bars = False
    return _second(lambda: work(ms))


def ray_data(work: Callable[[Any], None]) -> Numbers:
    """Its defaults."""
    import ray.data

    with quiet_peer():
        return _second(lambda: work(ray.data))


def _second(work: Callable[[], None]) -> Numbers:
    started_s = 0.0
    with CLUSTER.running():
        for _ in range(2):
            started_s = time.monotonic()
            work()
        return {"wall": time.monotonic() - started_s}


if __name__ == "__main__":
    Benchmark(
        name="wide",
        contestants={
            f"{name} {work.__name__}": partial(engine, work)
            for work in (iterate, write)
            for name, engine in {"millstream": millstream, "ray_data": ray_data}.items()
        },
        units={"wall": "s"},
        pairs=[
            (f"millstream {work.__name__}", f"ray_data {work.__name__}")
            for work in (iterate, write)
        ],
    ).main()
