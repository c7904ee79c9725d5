"""100 loops that are left after their first batch: how long does that take, and what stays?

Warm: the workers have been used before. `leave` is the time from the `break` to the next statement,
`first batch` the time before it; an actor pool is started anew for each loop.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from harness import Benchmark, Cluster, Numbers, quiet_peer

LOOPS = 100
CLUSTER = Cluster(cpus=4)


class Model:
    """Adds one to each number, and takes a moment for each batch."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Works on a batch."""
        time.sleep(0.01)
        return {"id": batch["id"] + 1}


def through_a_pool(data: Any) -> Any:
    """A pipeline that ends in one actor."""
    return data.range(10_000).map_batches(Model, concurrency=1, batch_size=10)


def through_tasks(data: Any) -> Any:
    """The same on tasks."""
    return data.range(10_000).map_batches(Model(), batch_size=10)


def millstream(pipeline: Callable[[Any], Any]) -> Numbers:
    """Its defaults."""
    import millstream as ms

    ms.DataContext.get_current().enable_progress_bars = False
    with CLUSTER.running():
        return _measured(pipeline(ms))


def ray_data(pipeline: Callable[[Any], Any]) -> Numbers:
    """Its defaults."""
    import ray.data

    with quiet_peer(), CLUSTER.running():
        return _measured(pipeline(ray.data))


def _measured(dataset: Any) -> Numbers:
    for _ in range(3):
        _left(dataset)
    objects = _objects()
    found = [_left(dataset) for _ in range(LOOPS)]
    grown = _objects() - objects
    begin_s, leave_s = zip(*found, strict=True)
    return {
        "wall": statistics.median(leave_s),
        "longest leave": max(leave_s),
        "first batch": statistics.median(begin_s),
        "objects": grown / LOOPS,
    }


def _left(dataset: Any) -> tuple[float, float]:
    """Seconds until the first batch, and until the loop is left then."""
    started_s = time.monotonic()
    for _ in dataset.iter_batches(batch_size=10):
        first_s = time.monotonic()
        break
    return first_s - started_s, time.monotonic() - first_s


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())


if __name__ == "__main__":
    pipelines = (through_a_pool, through_tasks)
    Benchmark(
        name="early_breaks",
        contestants={
            f"{name} {pipeline.__name__}": partial(engine, pipeline)
            for pipeline in pipelines
            for name, engine in {"millstream": millstream, "ray_data": ray_data}.items()
        },
        units={
            "wall": "s to leave",
            "longest leave": "s",
            "first batch": "s",
            "objects": "Python objects that stay, each",
        },
        pairs=[
            (f"millstream {pipeline.__name__}", f"ray_data {pipeline.__name__}")
            for pipeline in pipelines
        ],
    ).main()
