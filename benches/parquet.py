"""16 Parquet files, 512 MB in memory, 8 columns, to the driver: as Arrow blocks, as NumPy batches.

`plain` is two processes of pyarrow that make the same batches and touch each; `daft` needs an
environment of its own (`DAFT_PYTHON`). The sums of a column must agree.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from harness import Benchmark, Cluster, Numbers, by_daft, quiet_peer

FILES = 16
ROWS = 500_000
BATCH = 4096
CLUSTER = Cluster(cpus=os.cpu_count() or 1, store_bytes=1 << 30)


def written(folder: str) -> None:
    """Makes the files: 64 bytes a row."""
    numbers = np.random.default_rng(0)
    for file in range(FILES):
        table = pa.table(
            {
                **{f"i{place}": numbers.integers(0, 1 << 40, ROWS) for place in range(4)},
                **{f"f{place}": numbers.random(ROWS) for place in range(4)},
            }
        )
        pq.write_table(table, f"{folder}/{file:02}.parquet")


def millstream(folder: str, backend: str, rows: int | None) -> Iterator[Any]:
    """Its defaults."""
    import millstream as ms

    context = ms.DataContext.get_current()
    context.backend, context.enable_progress_bars = backend, False
    format = "numpy" if rows else "pyarrow"
    yield from ms.read_parquet(folder).iter_batches(batch_size=rows, batch_format=format)


def ray_data(folder: str, rows: int | None) -> Iterator[Any]:
    """Its defaults."""
    import ray.data

    with quiet_peer():
        format = "numpy" if rows else "pyarrow"
        yield from ray.data.read_parquet(folder).iter_batches(batch_size=rows, batch_format=format)


def _sums(path: str) -> tuple[int, int]:
    count = total = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH):
        arrays = {name: batch.column(name).to_numpy() for name in batch.schema.names}
        count += len(arrays["i0"])
        total += int(arrays["i0"].sum())
    return count, total


def plain(folder: str) -> tuple[int, int]:
    """Two processes, a file at a time."""
    paths = sorted(str(path) for path in Path(folder).iterdir())
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(_sums, paths))
    return sum(count for count, _ in found), sum(total for _, total in found)


def daft(folder: str) -> Iterator[Any]:
    """Its own runner."""
    import daft as engine

    yield from engine.read_parquet(f"{folder}/*.parquet").to_arrow_iter()


def counted(batches: Iterator[Any]) -> tuple[int, int]:
    """The rows, and the sum of a column."""
    count = total = 0
    for batch in batches:
        if isinstance(batch, dict):
            count += len(batch["i0"])
            total += int(batch["i0"].sum())
        else:
            count += batch.num_rows
            total += int(pc.sum(batch.column("i0")).as_py())
    return count, total


def measured(run: Callable[[str], tuple[int, int]], *, on_ray: bool = False) -> Numbers:
    """Runs it once, from the system's cache; Ray runs before the time counts."""
    with tempfile.TemporaryDirectory() as folder:
        written(folder)
        with CLUSTER.running() if on_ray else contextlib.nullcontext():
            started_s = time.monotonic()
            count, total = run(folder)
            wall_s = time.monotonic() - started_s
    if count != FILES * ROWS:
        raise SystemExit(f"{count} rows came out")
    return {"wall": wall_s, "sum": float(total)}


def elsewhere() -> Numbers:
    """Daft, in its own environment."""
    measure = "parquet.measured(lambda folder: parquet.counted(parquet.daft(folder)))"
    return by_daft("parquet", measure)


CONTESTANTS: dict[str, Callable[[], Numbers]] = {
    "local arrow": lambda: measured(lambda f: counted(millstream(f, "local", None))),
    "local numpy": lambda: measured(lambda f: counted(millstream(f, "local", BATCH))),
    "Ray numpy": lambda: measured(lambda f: counted(millstream(f, "ray", BATCH)), on_ray=True),
    "plain": lambda: measured(plain),
    "ray_data numpy": lambda: measured(lambda f: counted(ray_data(f, BATCH)), on_ray=True),
    **({"daft arrow": elsewhere} if "DAFT_PYTHON" in os.environ else {}),
}

if __name__ == "__main__":
    Benchmark(
        name="parquet",
        contestants=CONTESTANTS,
        units={"wall": "s", "sum": ""},
        pairs=[
            ("local arrow", "daft arrow"),
            ("local numpy", "plain"),
            ("Ray numpy", "plain"),
            ("local numpy", "ray_data numpy"),
            ("Ray numpy", "ray_data numpy"),
        ],
    ).main()
