"""How many files a write makes, and what it takes to put small ones together.

Three datasets of small, middling and large files are written by threads of this process, with the
second pass and without it, alternately. CPU time, as other work on the machine does not count.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import millstream as ms
from millstream.io import sink

ROUNDS = 3


def texts(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows of text."""
    return {"id": batch["id"], "text": np.array([f"row {id} text" for id in batch["id"]])}


def floats(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows that do not compress."""
    ids = batch["id"]
    random = np.random.default_rng(int(ids[0]))
    return {f"x{column}": random.random(len(ids)) for column in range(8)}


DATASETS: dict[str, Callable[[], ms.Dataset]] = {
    "100 rows": lambda: ms.range(100),
    "1,000,000 integers": lambda: ms.range(1_000_000),
    "2,000,000 texts": lambda: ms.range(2_000_000).map_batches(texts),
    "5,000,000 rows of 8 random floats": lambda: ms.range(5_000_000).map_batches(floats),
}


def cpu_s() -> float:
    """The CPU time of this process."""
    times = os.times()
    return times.user + times.system


def written(dataset: ms.Dataset, bytes_small: int) -> tuple[int, float, float]:
    """Writes a dataset; returns the number of files, their megabytes, and the CPU time."""
    sink._BYTES_SMALL = bytes_small
    with tempfile.TemporaryDirectory() as folder:
        before = cpu_s()
        dataset.write_parquet(folder)
        taken = cpu_s() - before
        sizes = [path.stat().st_size for path in Path(folder).iterdir()]
    return len(sizes), sum(sizes) / 1e6, taken


def main() -> None:
    """Prints a table."""
    context = ms.DataContext.get_current()
    context.backend, context.enable_progress_bars = "local", False
    small = sink._BYTES_SMALL
    print("| dataset | files as tasks leave them | CPU s | files | CPU s | MB |")
    print("|---|---|---|---|---|---|")
    for name, made in DATASETS.items():
        written(made(), small)
        rounds = [(written(made(), 0), written(made(), small)) for _ in range(ROUNDS)]
        cells = []
        for results in zip(*rounds, strict=True):
            files = round(statistics.median(result[0] for result in results))
            cells += [f"{files}", f"{statistics.median(result[2] for result in results):.2f}"]
        print(f"| {name} | {' | '.join(cells)} | {rounds[0][1][1]:.1f} |")


if __name__ == "__main__":
    main()
