"""600 epochs over one dataset: what stays behind of each in the driver?"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from harness import Benchmark, Cluster, Numbers

EPOCHS = 600
CLUSTER = Cluster(cpus=2)


class Model:
    """Adds one to each number."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Works on a batch."""
        return {"id": batch["id"] + 1}


def through_a_function(ms: Any) -> Any:
    """Tasks alone."""
    return ms.range(100).map_batches(lambda batch: {"id": batch["id"] + 1})


def through_a_pool(ms: Any) -> Any:
    """Tasks and one actor."""
    return ms.range(100).map_batches(Model, concurrency=1)


def on_ray(pipeline: Callable[[Any], Any]) -> Numbers:
    """On Ray."""
    import millstream as ms

    ms.DataContext.get_current().enable_progress_bars = False
    with CLUSTER.running():
        return _measured(pipeline(ms))


def local(pipeline: Callable[[Any], Any]) -> Numbers:
    """On threads of the process."""
    import millstream as ms

    context = ms.DataContext.get_current()
    context.enable_progress_bars = False
    context.backend = "local"
    return _measured(pipeline(ms))


def _measured(dataset: Any) -> Numbers:
    for _ in range(10):
        _epoch(dataset)
    before = _left_behind()
    started_s = time.monotonic()
    for _ in range(EPOCHS):
        _epoch(dataset)
    wall_s = time.monotonic() - started_s
    grown = {name: count - before[name] for name, count in _left_behind().items()}
    return {"wall": wall_s, **grown}


def _epoch(dataset: Any) -> None:
    rows = sum(len(batch["id"]) for batch in dataset.iter_batches(batch_size=32))
    if rows != 100:
        raise SystemExit(f"{rows} rows came out instead of 100")


def _left_behind() -> dict[str, int]:
    gc.collect()
    return {
        "objects": len(gc.get_objects()),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
    }


if __name__ == "__main__":
    Benchmark(
        name="epochs",
        contestants={
            "Ray, function": partial(on_ray, through_a_function),
            "local, function": partial(local, through_a_function),
            "local, pool": partial(local, through_a_pool),
        },
        units={
            "wall": "s in all",
            "objects": "Python objects more",
            "threads": "threads more",
            "files": "open files more",
        },
        pairs=[],
    ).main()
