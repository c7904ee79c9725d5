"""Shuffle, sort, group and join of 2 GB in a store of 1 GB: millstream, Ray Data, and one process.

The rows are in 32 Parquet files: a key of a million values, a random number, and 112 bytes besides.
`EXCHANGE_MB` sets another size. One process is that of Polars, with its streaming engine; it has no
such shuffle. What comes out is counted, and checked where that is cheap.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import Benchmark, Cluster, Numbers, quiet_peer

MEGABYTES = int(os.environ.get("EXCHANGE_MB", "2000"))
FILES = 32
ROW_BYTES = 128
ROWS = MEGABYTES * 1_000_000 // FILES // ROW_BYTES
KEYS = 1_000_000
CLUSTER = Cluster(cpus=os.cpu_count() or 1, store_bytes=1 << 30)
WORKS = ("shuffle", "sort", "group", "join")


def written(folder: str) -> None:
    """Makes the files, and the small side of the join."""
    numbers = np.random.default_rng(0)
    os.makedirs(f"{folder}/large")
    os.makedirs(f"{folder}/small")
    for file in range(FILES):
        table = pa.table(
            {
                "k": numbers.integers(0, KEYS, ROWS),
                "x": numbers.random(ROWS),
                **{f"p{place}": numbers.integers(0, 1 << 62, ROWS) for place in range(14)},
            }
        )
        pq.write_table(table, f"{folder}/large/{file:02}.parquet", use_dictionary=False)
    small = pa.table({"k": np.arange(KEYS), "name": np.arange(KEYS) % 1000})
    for part in range(4):
        piece = small.slice(part * KEYS // 4, KEYS // 4)
        pq.write_table(piece, f"{folder}/small/{part}.parquet")


def consumed(dataset: Any, column: str | None = None) -> int:
    """The rows; where a column is named, they must come in its order."""
    count, last = 0, None
    for batch in dataset.iter_batches(batch_size=None, batch_format="numpy"):
        values = next(iter(batch.values()))
        count += len(values)
        if column is not None and len(values):
            keys = batch[column]
            if (np.diff(keys) < 0).any() or (last is not None and keys[0] < last):
                raise SystemExit("the rows are not in order")
            last = keys[-1]
    return count


def engine_run(data: Any, folder: str, work: str, small: Callable[[Any], Any]) -> int:
    """The same calls for millstream and Ray Data."""
    large = data.read_parquet(f"{folder}/large")
    if work == "shuffle":
        return consumed(large.random_shuffle(seed=1))
    if work == "sort":
        return consumed(large.sort("x"), "x")
    if work == "group":
        return consumed(large.groupby("k").sum("x"))
    return consumed(small(large))


def millstream(backend: str, folder: str, work: str) -> int:
    """Its defaults."""
    import millstream as ms

    context = ms.DataContext.get_current()
    context.backend, context.enable_progress_bars = backend, False
    if backend == "local":
        limits = ms.ExecutionResources(object_store_memory=1 << 30)
        context.execution_options.resource_limits = limits
    other = ms.read_parquet(f"{folder}/small")
    return engine_run(ms, folder, work, lambda large: large.join(other, "inner", on="k"))


def ray_data(folder: str, work: str) -> int:
    """Its defaults; the join by 32 partitions."""
    import ray.data

    with quiet_peer():
        other = ray.data.read_parquet(f"{folder}/small")
        join = partial(_joined, other)
        return engine_run(ray.data, folder, work, join)


def _joined(other: Any, large: Any) -> Any:
    return large.join(other, "inner", 32, on=("k",))


def polars(folder: str, work: str) -> int:
    """Its streaming engine."""
    import polars as pl

    large = pl.scan_parquet(f"{folder}/large/*.parquet")
    if work == "sort":
        made = large.sort("x")
    elif work == "group":
        made = large.group_by("k").agg(pl.col("x").sum())
    else:
        made = large.join(pl.scan_parquet(f"{folder}/small/*.parquet"), on="k")
    return int(made.collect(engine="streaming").height)


def measured(run: Callable[[str, str], int], work: str, *, on_ray: bool) -> Numbers:
    """Runs it once; Ray runs before the time counts."""
    with tempfile.TemporaryDirectory() as folder:
        written(folder)
        with CLUSTER.running() if on_ray else contextlib.nullcontext():
            started_s = time.monotonic()
            count = run(folder, work)
            wall_s = time.monotonic() - started_s
    # Not every key is drawn.
    expected = round(KEYS * -np.expm1(-FILES * ROWS / KEYS)) if work == "group" else FILES * ROWS
    if abs(count - expected) > expected // 100 * (work == "group"):
        raise SystemExit(f"{count} rows came out instead of {expected}")
    return {"wall": wall_s}


ENGINES: dict[str, tuple[Callable[[str, str], int], bool]] = {
    "millstream Ray": (partial(millstream, "ray"), True),
    "millstream local": (partial(millstream, "local"), False),
    "ray_data": (ray_data, True),
    "polars": (polars, False),
}

if __name__ == "__main__":
    Benchmark(
        name="exchanges",
        contestants={
            f"{name} {work}": partial(measured, run, work, on_ray=on_ray)
            for work in WORKS
            for name, (run, on_ray) in ENGINES.items()
            if not (name == "polars" and work == "shuffle")
        },
        units={"wall": "s"},
        pairs=[
            (f"{mine} {work}", f"{peer} {work}")
            for work in WORKS
            for mine in ("millstream Ray", "millstream local")
            for peer in ("ray_data", "polars")
        ],
    ).main()
