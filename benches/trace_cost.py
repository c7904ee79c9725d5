"""What does a trace cost a run of 2,000 blocks of one row, which has many events for its time?

Beside the wall, which varies by more than the target of 3 %, it reports the CPU time that the
driver spends in the scheduler, recording included, as a part of the wall.
"""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from harness import Benchmark, Cluster, Numbers

BLOCKS = 2000
CLUSTER = Cluster(cpus=os.cpu_count() or 1)


class Timed:
    """A scheduler that counts the CPU time of its turns.

    Args:
        scheduler: What it passes everything to.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self.turns_s = 0.0

    def step(self, now: int, events: list[Any]) -> list[Any]:
        """One turn."""
        started_s = time.thread_time()
        actions: list[Any] = self._scheduler.step(now, events)
        self.turns_s += time.thread_time() - started_s
        return actions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)


def millstream(trace: bool) -> Numbers:
    """One run, recorded or not."""
    import millstream as ms
    from millstream import _core

    context = ms.DataContext.get_current()
    context.enable_progress_bars = False
    made: list[Timed] = []
    plain = _core.Scheduler

    def timed(*arguments: Any, **options: Any) -> Timed:
        made.append(Timed(plain(*arguments, **options)))
        return made[-1]

    _core.Scheduler = timed  # type: ignore[assignment, misc]
    with tempfile.TemporaryDirectory() as folder, CLUSTER.running():
        path = Path(folder, "trace.jsonl")
        context.trace = str(path) if trace else None
        started_s = time.monotonic()
        rows = ms.range(BLOCKS, override_num_blocks=BLOCKS).map_batches(lambda batch: batch).count()
        wall_s = time.monotonic() - started_s
        size = path.stat().st_size if trace else 0
    if rows != BLOCKS:
        raise SystemExit(f"{rows} rows came out instead of {BLOCKS}")
    turns_s = made[0].turns_s
    return {"wall": wall_s, "turns": turns_s, "turns / wall": turns_s / wall_s, "trace": size / 1e6}


if __name__ == "__main__":
    Benchmark(
        name="trace_cost",
        contestants={"plain": partial(millstream, False), "traced": partial(millstream, True)},
        units={"wall": "s", "turns": "s", "turns / wall": "x", "trace": "MB"},
        pairs=[("traced", "plain")],
    ).main()
