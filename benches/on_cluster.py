"""Published workloads on several raylets of this machine: does the simulator predict their time?

Times are a fifth and bytes a tenth of the published ones: a block is 10 MB. Four raylets have 2
logical CPUs, 1 logical GPU and room for 20 blocks each. What a call costs on this machine comes
from probes, the same pipeline with fewer items and with warm workers, the median of three: the
start of a worker is what the first row takes beyond its sleeps, and a call takes what makes the
simulator as slow for the probe as Ray was. Then both run the workload. A probe that never sleeps
would measure what a call costs while all workers need the machine's cores at once, which they do
not while they sleep.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from harness import Benchmark, Numbers

import millstream as ms
from millstream import sim

RAYLETS, CPUS, GPUS = 4, 2, 1
BLOCK_BYTES = 10_000_000
NODE_BYTES = 20 * BLOCK_BYTES
#: Of a node's object store, the part that a run may fill.
STORE_SHARE = 0.7
#: Every so many items of `spiky` one takes as long as `SPIKE` others.
SPIKE_EVERY, SPIKE = 10, 10
#: Nearly a CPU: stages that ask for different amounts do not fuse.
NEARLY_ONE = 0.9999
PROBES, PROBE_BLOCKS = 3, 400
CALL_S_MAX, CALL_S_PRECISION = 2.0, 0.001


@dataclass(frozen=True)
class Workload:
    """Items that make blocks, a CPU stage over the blocks, and perhaps a GPU stage.

    Args:
        items: How many make blocks.
        item_s: How long each takes.
        blocks: How many blocks it makes.
        block_s: How long each further stage takes for a block.
        has_gpu: Whether there is a GPU stage.
        is_spiky: Whether every tenth item and block takes ten times as long.
    """

    items: int
    item_s: float
    blocks: int
    block_s: float
    has_gpu: bool
    is_spiky: bool = False

    def dataset(self) -> ms.Dataset:
        """The pipeline, which sleeps for as long as it should work."""
        made = ms.range(self.items, override_num_blocks=self.items).flat_map(
            partial(make, self.item_s, self.blocks, self.is_spiky)
        )
        worked = made.map(partial(work, self.block_s, self.is_spiky), num_cpus=NEARLY_ONE)
        if not self.has_gpu:
            return worked
        return worked.map_batches(
            Infer,
            num_gpus=1,
            batch_size=1,
            concurrency=RAYLETS * GPUS,
            fn_constructor_args=(self.block_s,),
        )

    def way_s(self) -> float:
        """How long the first row sleeps on its way through all stages."""
        spikes = SPIKE if self.is_spiky else 1
        return (self.item_s + (2 if self.has_gpu else 1) * self.block_s) * spikes

    def models(self) -> list[sim.Model]:
        """How its operators behave; a model knows no positions, so spikes are drawn as often."""
        spikes = sim.Variation(tail=1 / SPIKE_EVERY, tail_factor=2 * SPIKE - 1)
        pace = spikes if self.is_spiky else sim.Variation()
        stage = sim.Model(item_s=self.block_s, pace=pace, row_bytes=BLOCK_BYTES, block_rows=1)
        source = replace(stage, item_s=self.item_s, unit_rows=self.blocks, emits_at_end=True)
        return [source, stage, stage] if self.has_gpu else [source, stage]


def make(item_s: float, blocks: int, is_spiky: bool, row: dict[str, Any]) -> Iterator[Any]:
    """Works, then gives its blocks."""
    time.sleep(item_s * spike(row["id"], is_spiky))
    for number in range(blocks):
        yield {"id": row["id"] * blocks + number, "data": np.zeros(BLOCK_BYTES, np.uint8)}


def work(block_s: float, is_spiky: bool, row: dict[str, Any]) -> dict[str, Any]:
    """Works on a block."""
    time.sleep(block_s * spike(row["id"], is_spiky))
    return row


class Infer:
    """Works on a block on a GPU."""

    def __init__(self, block_s: float) -> None:
        self._block_s = block_s

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Gives a small one for a large one."""
        time.sleep(self._block_s)
        return {"id": batch["id"]}


def spike(number: int, is_spiky: bool) -> int:
    """The factor of an item's time."""
    return SPIKE if is_spiky and number % SPIKE_EVERY == 0 else 1


def compared(workload: Workload) -> Numbers:
    """On Ray, and as the simulator has it."""
    items = PROBE_BLOCKS // workload.blocks
    probe = replace(workload, items=items)
    with raylets():
        measured(probe)
        firsts_s, probes_s = zip(*(measured(probe) for _ in range(PROBES)), strict=True)
        _, wall_s = measured(workload)
    first_s, probe_s = statistics.median(firsts_s), statistics.median(probes_s)
    start_s = max(0.0, first_s - probe.way_s())
    call_s = fitted_call_s(probe, start_s, probe_s)
    predicted_s = simulated(workload, start_s, call_s)
    return {
        "wall": wall_s,
        "predicted": predicted_s,
        "predicted / wall": predicted_s / wall_s,
        "probe": probe_s,
        "worker start": start_s,
        "call": call_s,
    }


@contextmanager
def raylets() -> Iterator[None]:
    """A cluster on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    store_bytes = int(NODE_BYTES / STORE_SHARE)
    node = {"num_cpus": CPUS, "num_gpus": GPUS, "object_store_memory": store_bytes}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(RAYLETS - 1):
        cluster.add_node(**node)
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    context = ms.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = BLOCK_BYTES
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def measured(workload: Workload) -> tuple[float, float]:
    """The seconds that Ray takes to the first row, and to the last."""
    started_s = time.monotonic()
    first_s, rows = 0.0, 0
    for batch in workload.dataset().iter_batches(batch_size=None):
        first_s = first_s or time.monotonic() - started_s
        rows += len(batch["id"])
    if rows != workload.items * workload.blocks:
        raise SystemExit(f"{rows} rows came out instead of {workload.items * workload.blocks}")
    return first_s, time.monotonic() - started_s


def simulated(workload: Workload, start_s: float, call_s: float) -> float:
    """The seconds that the simulator takes."""
    node = sim.Node(cpu=CPUS, gpu=GPUS, store_bytes=NODE_BYTES)
    cluster = sim.Cluster(nodes=[node] * RAYLETS, worker_start_s=start_s, call_s=call_s)
    answer = sim.simulate(workload.dataset(), cluster=cluster, models=workload.models())
    return answer.makespan_s


def fitted_call_s(probe: Workload, start_s: float, probe_s: float) -> float:
    """What a call must cost so that the simulator takes as long for the probe as Ray did."""
    low, high = 0.0, CALL_S_MAX
    while high - low > CALL_S_PRECISION:
        middle = (low + high) / 2
        if simulated(probe, start_s, middle) < probe_s:
            low = middle
        else:
            high = middle
    return high


WORKLOADS = {
    "fig9": Workload(160, 1.0, 5, 0.1, has_gpu=True),
    "three_stage": Workload(80, 1.0, 10, 0.1, has_gpu=True),
    "spiky": Workload(80, 0.1, 10, 0.1, has_gpu=False, is_spiky=True),
}

if __name__ == "__main__":
    Benchmark(
        name="on_cluster",
        contestants={name: partial(compared, workload) for name, workload in WORKLOADS.items()},
        units={
            "wall": "s",
            "predicted": "s",
            "predicted / wall": "x",
            "probe": "s",
            "worker start": "s",
            "call": "s",
        },
        pairs=[],
    ).main()
