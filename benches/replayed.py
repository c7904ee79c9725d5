"""How near does a trace, replayed on the cluster where it was recorded, come to what happened?

Runs the main job on Ray, finding faces in video files, and records it: streamed, in bulk, and with
a store so small that memory decides. Each trace is replayed twice: to the same actions, byte for
byte, and by itself, from what it teaches of each piece of work (`millstream.sim.replay`), whose
makespan is compared with the recorded one. The target is 10 %.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Literal

from harness import Benchmark, Cluster, Numbers

CLIPS_PER_SOURCE = 60
FRAMES = 8
ROOMY_BYTES = 3_500_000_000
SMALL_BYTES = 250_000_000


def millstream(execution: Literal["streaming", "bulk"], store_bytes: int) -> Numbers:
    """One run, recorded and replayed."""
    from clips import write_clips
    from label_video import labels

    import millstream as ms

    context = ms.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution = execution
    cluster = Cluster(cpus=os.cpu_count() or 1, gpus=3, store_bytes=store_bytes)
    with tempfile.TemporaryDirectory() as folder, cluster.running():
        clips, trace = Path(folder, "clips"), Path(folder, "trace.jsonl")
        write_clips(clips, CLIPS_PER_SOURCE, FRAMES)
        context.trace = str(trace)
        labels(str(clips)).write_parquet(Path(folder, "labels"))
        replayed = ms.sim.replay(trace)
        prediction = ms.sim.replay(trace, cluster="recorded")
    if not replayed["is_done"]:
        raise SystemExit(f"the trace does not end: {replayed}")
    return {
        "wall": prediction.recorded_makespan_s,
        "predicted": prediction.makespan_s,
        "predicted / wall": prediction.makespan_s / prediction.recorded_makespan_s,
        "turns": replayed["turns"],
    }


if __name__ == "__main__":
    Benchmark(
        name="replayed",
        contestants={
            "streaming": partial(millstream, "streaming", ROOMY_BYTES),
            "bulk": partial(millstream, "bulk", ROOMY_BYTES),
            "streaming, small store": partial(millstream, "streaming", SMALL_BYTES),
        },
        units={"wall": "s", "predicted": "s", "predicted / wall": "x", "turns": "turns"},
        pairs=[],
    ).main()
