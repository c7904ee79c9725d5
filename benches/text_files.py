"""Some 100 MB of CSV, JSON lines, lines of text: millstream on threads, pyarrow, and Ray Data.

Each contestant reads a file as its defaults do and takes all rows as Arrow tables. Ray runs before
the time counts.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from harness import Benchmark, Cluster, Numbers, quiet_peer

ROWS = 1_600_000
CLUSTER = Cluster(cpus=os.cpu_count() or 1, store_bytes=1 << 30)
FORMATS = ("csv", "json", "text")


def written(folder: str, format: str) -> str:
    """Makes the file, and returns its path."""
    path = os.path.join(folder, f"rows.{format}")
    with open(path, "w") as file:
        if format == "csv":
            file.write("id,value,name\n")
        for row in range(ROWS):
            value, name = row * 0.37, f"the name of row {row % 1000} in words of its own"
            if format == "json":
                file.write(json.dumps({"id": row, "value": value, "name": name}) + "\n")
            else:
                file.write(f"{row},{value:.2f},{name}\n")
    return path


def millstream(path: str, format: str) -> Iterable[int]:
    """On threads."""
    import millstream as ms

    context = ms.DataContext.get_current()
    context.backend, context.enable_progress_bars = "local", False
    read = {"csv": ms.read_csv, "json": ms.read_json, "text": ms.read_text}[format]
    batches = read(path).iter_batches(batch_size=None, batch_format="pyarrow")
    return (batch.num_rows for batch in batches)


def pyarrow(path: str, format: str) -> Iterable[int]:
    """Its streaming reader of CSV, also for text, in one column; its reader of JSON."""
    import pyarrow.csv as pa_csv
    import pyarrow.json as pa_json

    if format == "json":
        return [pa_json.read_json(path).num_rows]
    options = {}
    if format == "text":
        options = {
            "read_options": pa_csv.ReadOptions(column_names=["text"]),
            "parse_options": pa_csv.ParseOptions(delimiter="\x01", quote_char=False),
        }
    return (batch.num_rows for batch in pa_csv.open_csv(path, **options))


def ray_data(path: str, format: str) -> Iterable[int]:
    """Its defaults."""
    import ray.data

    with quiet_peer():
        read = {"csv": ray.data.read_csv, "json": ray.data.read_json, "text": ray.data.read_text}
        batches = read[format](path).iter_batches(batch_size=None, batch_format="pyarrow")
        return [batch.num_rows for batch in batches]


def measured(engine: Callable[[str, str], Iterable[int]], format: str) -> Numbers:
    """Reads the file, once it is in the system's cache."""
    with tempfile.TemporaryDirectory() as folder, CLUSTER.running():
        path = written(folder, format)
        started_s = time.monotonic()
        rows = sum(engine(path, format))
        wall_s = time.monotonic() - started_s
        if rows != ROWS:
            raise SystemExit(f"{rows} rows came out instead of {ROWS}")
        return {"wall": wall_s, "rate": os.path.getsize(path) / 1e6 / wall_s}


ENGINES: dict[str, Any] = {"millstream": millstream, "pyarrow": pyarrow, "ray_data": ray_data}

if __name__ == "__main__":
    Benchmark(
        name="text_files",
        contestants={
            f"{name} {format}": partial(measured, engine, format)
            for format in FORMATS
            for name, engine in ENGINES.items()
        },
        units={"wall": "s", "rate": "MB/s"},
        pairs=[
            (f"millstream {format}", f"{peer} {format}")
            for format in FORMATS
            for peer in ("pyarrow", "ray_data")
        ],
    ).main()
