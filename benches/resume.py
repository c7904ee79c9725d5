"""A training loop over 1,000,000 rows in 200 Parquet files that begins, or goes on at 50 % or 99 %.

What is measured is the time from the iteration to its first batch, on both backends, behind a map
and a pool of actors, and how many of the files were read by then or were being read.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import Benchmark, Cluster, Numbers

ROWS, FILES, BATCH = 1_000_000, 200, 1000
CLUSTER = Cluster(cpus=max(2, os.cpu_count() or 2))


class Same:
    """A stage on an actor."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch."""
        return batch


def write(folder: Path) -> None:
    """The files: a number of the row and eight columns of numbers."""
    random = np.random.default_rng(1)
    rows = ROWS // FILES
    for number in range(FILES):
        columns = {f"x{each}": random.random(rows) for each in range(8)}
        ids = np.arange(number * rows, (number + 1) * rows)
        pq.write_table(pa.table({"id": ids, **columns}), folder / f"{number:04}.parquet")


def going_on(backend: str, part: float) -> Numbers:
    """The first batch of the rest."""
    if backend == "local":
        return _measured(backend, part)
    with CLUSTER.running():
        return _measured(backend, part)


def _measured(backend: str, part: float) -> Numbers:
    import millstream as ms

    context = ms.DataContext.get_current()
    context.backend = backend
    context.enable_progress_bars = False
    with tempfile.TemporaryDirectory() as name:
        folder, log = Path(name) / "data", Path(name) / "log"
        folder.mkdir()
        log.mkdir()
        write(folder)

        def make() -> Any:
            read = ms.read_parquet(str(folder), include_paths=True)
            noted = read.map_batches(partial(note, str(log)), batch_size=None)
            return noted.map_batches(Same, concurrency=1)

        state = _state_at(make, int(ROWS * part)) if part else None
        for each in log.iterdir():
            each.unlink()
        iterator = make().iterator()
        if state is not None:
            iterator.load_state_dict(json.loads(state))
        started_s = time.monotonic()
        stream = iter(iterator.iter_batches(batch_size=BATCH))
        first = int(next(stream)["id"][0])
        first_s = time.monotonic() - started_s
        if first != int(ROWS * part):
            raise SystemExit(f"row {first} came instead of {int(ROWS * part)}")
        rows = BATCH + sum(len(batch["id"]) for batch in stream)
        if rows != ROWS - int(ROWS * part):
            raise SystemExit(f"{rows} rows came")
        again = [each for each in log.iterdir() if int(each.stem) < FILES * part]
        size = 0 if state is None else len(state)
        return {"first batch": first_s, "files again": len(again), "bytes of state": size}


def note(log: str, batch: dict[str, Any]) -> dict[str, Any]:
    """Leaves a note of each file that was read."""
    for path in set(batch["path"].tolist()):
        (Path(log) / Path(path).stem).touch()
    return batch


def _state_at(make: Callable[[], Any], rows: int) -> str:
    iterator = make().iterator()
    for batch in iterator.iter_batches(batch_size=BATCH):
        rows -= len(batch["id"])
        if rows <= 0:
            return json.dumps(iterator.state_dict())
    raise SystemExit("there are fewer rows")


if __name__ == "__main__":
    Benchmark(
        name="resume",
        contestants={
            f"{backend} {part:.0%}": partial(going_on, backend, part)
            for backend in ("local", "ray")
            for part in (0.0, 0.5, 0.99)
        },
        units={"first batch": "s", "files again": "", "bytes of state": "B"},
        pairs=[
            (f"{backend} {part}", f"{backend} 0%")
            for backend in ("local", "ray")
            for part in ("50%", "99%")
        ],
        by="first batch",
    ).main()
