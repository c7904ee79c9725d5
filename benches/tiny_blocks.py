"""Blocks of one row through a `map`, iterated: what does a block cost, beside another build?

20,000 blocks on Ray and 100,000 on threads. With `--base PATH` the tree at that path, which must
have its extension built, runs in turn with this one; each run has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import RESULT, Cluster, machine

BLOCKS = {"ray": 20_000, "local": 100_000}
CLUSTER = Cluster(cpus=os.cpu_count() or 1, store_bytes=200 << 20)


def same(row: Any) -> Any:
    """Changes nothing."""
    return row


def child(backend: str, blocks: int) -> None:
    """Runs once and prints the seconds that it took."""
    import millstream as ms

    context = ms.DataContext.get_current()
    context.enable_progress_bars = False
    context.backend = backend
    if backend == "local":
        print(RESULT, json.dumps(_timed(ms, blocks)))
        return
    with CLUSTER.running():
        print(RESULT, json.dumps(_timed(ms, blocks)))


def _timed(ms: Any, blocks: int) -> float:
    started_s = 0.0
    # The first run starts the workers.
    for count in (20, blocks):
        started_s = time.monotonic()
        dataset = ms.range(count, override_num_blocks=count).map(same)
        ids = [row["id"] for row in dataset.iter_rows()]
        if ids != list(range(count)):
            raise SystemExit(f"{len(ids)} rows came out instead of {count}, or others")
    return time.monotonic() - started_s


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="another tree to run in turn with this one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(BLOCKS))
    parser.add_argument("--blocks", type=int, help="how many, instead of the usual number")
    parser.add_argument("--child", choices=list(BLOCKS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.blocks)
        return
    trees = {"this": Path(__file__).parents[1]}
    if arguments.base:
        trees["base"] = arguments.base
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    for backend in [arguments.only] if arguments.only else list(BLOCKS):
        blocks = arguments.blocks or BLOCKS[backend]
        found: dict[str, list[float]] = {name: [] for name in trees}
        for _ in range(arguments.rounds):
            for name, tree in trees.items():
                found[name].append(_in_own_process(tree, backend, blocks))
        medians = {name: statistics.median(values) for name, values in found.items()}
        for name, values in found.items():
            each_us = medians[name] / blocks * 1e6
            told = ", ".join(f"{value:.2f}" for value in values)
            print(f"{backend}, {blocks} blocks, {name}: {told} s; {each_us:.0f} us a block")
        if "base" in medians:
            print(f"{backend}: this / base {medians['this'] / medians['base']:.3f}")


def _in_own_process(tree: Path, backend: str, blocks: int) -> float:
    command = [sys.executable, __file__, "--child", backend, "--blocks", str(blocks)]
    environment = {**os.environ, "PYTHONPATH": str(tree / "python"), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(RESULT):
            seconds: float = json.loads(line.removeprefix(RESULT))
            return seconds
    raise SystemExit(f"{tree} failed:\n{done.stdout[-2000:]}\n{done.stderr[-8000:]}")


if __name__ == "__main__":
    main()
