"""2,000 blocks of one row through operators that do nothing: what does a block cost?

The rows are iterated in the driver. With two operators the blocks go from one set of tasks to
another, since the operators ask for other amounts of CPU and therefore do not fuse. Beside the
engines, a bare loop on Ray moves as many (block, metadata) pairs as fast as plain code does.

millstream runs twice: told to make a block of each row, like the peer, and left to itself, when it
bundles what is small into fewer tasks and blocks.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pyarrow as pa
from harness import Benchmark, Cluster, Numbers, quiet_peer

BLOCKS = 2000
CLUSTER = Cluster(cpus=os.cpu_count() or 1)
#: CPUs per task of the operators, in turn; the first one's are the default, and fuse with the read.
CPUS = (1, 0.5)
#: How many tasks the bare loop keeps under way for each CPU.
AHEAD = 8


def nothing(batch: Any) -> Any:
    """Does it."""
    return batch


def millstream(operators: int, blocks: int | None) -> Numbers:
    """In so many blocks, or as it likes."""
    import millstream as ms

    ms.DataContext.get_current().enable_progress_bars = False

    def rows() -> Iterable[Any]:
        dataset = ms.range(BLOCKS, override_num_blocks=blocks)
        for cpus in CPUS[:operators]:
            dataset = dataset.map_batches(nothing, num_cpus=cpus)
        return dataset.iter_batches(batch_size=None)

    return _measured(rows)


def ray_data(operators: int) -> Numbers:
    """Blocks pass as they are, without batching."""
    import ray

    def rows() -> Iterable[Any]:
        dataset = ray.data.range(BLOCKS, override_num_blocks=BLOCKS)
        for cpus in CPUS[:operators]:
            own = {} if cpus == CPUS[0] else {"num_cpus": cpus}
            dataset = dataset.map_batches(nothing, batch_size=None, **own)
        return dataset.iter_batches(batch_size=None)

    with quiet_peer():
        return _measured(rows)


def bare_ray(operators: int) -> Numbers:
    """Tasks that return a block and its metadata, a bounded number of them at a time."""
    import ray

    @ray.remote(num_returns=2)
    def read(number: int) -> tuple[pa.Table, int]:
        return pa.table({"id": [number]}), 1

    @ray.remote(num_returns=2)
    def work(table: pa.Table) -> tuple[pa.Table, int]:
        return nothing(table), table.num_rows

    def rows() -> Iterable[dict[str, Any]]:
        under_way: deque[tuple[Any, Any]] = deque()
        stages = [work.options(num_cpus=cpus) for cpus in CPUS[1:operators]]
        for number in range(BLOCKS + AHEAD * CLUSTER.cpus):
            if number < BLOCKS:
                block, metadata = read.options(num_cpus=CPUS[0]).remote(number)
                for stage in stages:
                    block, metadata = stage.remote(block)
                under_way.append((block, metadata))
            if number >= AHEAD * CLUSTER.cpus:
                block, metadata = under_way.popleft()
                if ray.get(metadata):
                    yield ray.get(block).to_pydict()

    return _measured(rows)


def _measured(rows: Callable[[], Iterable[Any]]) -> Numbers:
    with CLUSTER.running():
        started_s = time.monotonic()
        ids = [value for batch in rows() for value in batch["id"]]
        wall_s = time.monotonic() - started_s
    if sorted(ids) != list(range(BLOCKS)):
        raise SystemExit(f"{len(ids)} rows came out instead of {BLOCKS}, or others")
    return {"wall": wall_s, "rows per second": BLOCKS / wall_s}


if __name__ == "__main__":
    engines: dict[str, Callable[[int], Numbers]] = {
        "millstream": partial(millstream, blocks=BLOCKS),
        "millstream bundling": partial(millstream, blocks=None),
        "ray_data": ray_data,
        "bare_ray": bare_ray,
    }
    Benchmark(
        name="small_blocks",
        contestants={
            f"{name} x{operators}": partial(engine, operators)
            for operators in (1, 2)
            for name, engine in engines.items()
        },
        units={"wall": "s", "rows per second": "1/s"},
        pairs=[
            (f"millstream x{operators}", f"{peer} x{operators}")
            for operators in (1, 2)
            for peer in ("ray_data", "bare_ray")
        ],
        by="rows per second",
    ).main()
