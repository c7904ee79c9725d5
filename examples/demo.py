"""The main job, end to end: streamed, and then in bulk beside it.

    python examples/demo.py [--out FOLDER]

Cuts a few hundred clips, labels them with the pipeline of `label_video.py` while the progress is
shown, and writes the labels as Parquet into the folder. Then the same pipeline runs in bulk:
each operator finishes before the next one starts, and finds the worker processes of the first run
still warm. At the end both are compared. How full the object store was is told by the scheduler's
account, and by Ray's own counters beside it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
from clips import write_clips
from label_video import labels
from rich.console import Console
from rich.table import Table
from store_meter import StoreMeter, StoreUse

import millstream as ms
from millstream.observe.report import RunReport
from millstream.observe.stats import peak_store_bytes

Mode = Literal["streaming", "bulk"]


@dataclass(frozen=True)
class Outcome:
    """How one of the two runs went.

    Args:
        report: The scheduler's account of it.
        store: What Ray's object store held meanwhile.
        faces: The rows that were written, in order.
    """

    report: RunReport
    store: StoreUse
    faces: pa.Table


def main() -> None:
    """Runs both, and compares them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="demo-output", help="folder for the Parquet files")
    out = Path(parser.parse_args().out)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="millstream-demo-") as scratch:
        clips = Path(scratch) / "clips"
        started_s = time.monotonic()
        count = len(write_clips(clips, CLIPS_PER_SOURCE, FRAMES))
        spent_s = time.monotonic() - started_s
        console.print(f"Cut {count} clips of {FRAMES} frames each in {spent_s:.1f} s.")
        ray.init(
            num_gpus=3,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            logging_level="ERROR",
        )
        streaming = label(console, clips, out, "streaming")
        bulk = label(console, clips, Path(scratch) / "labels", "bulk")
        ray.shutdown()
    console.print(comparison(streaming, bulk))
    if not same_faces(streaming.faces, bulk.faces):
        raise SystemExit("the two runs wrote different rows: that must not be")
    rows = streaming.faces.num_rows
    print(f"Both wrote the same {rows:,} rows: pyarrow.parquet.read_table({str(out)!r})")


def label(console: Console, clips: Path, out: Path, mode: Mode) -> Outcome:
    """Runs the pipeline, and says how it went."""
    console.rule(f"[bold]{mode}")
    ms.DataContext.get_current().execution = mode
    dataset = labels(str(clips))
    if mode == "streaming":
        dataset.explain()
    with StoreMeter() as meter:
        dataset.write_parquet(out, mode="overwrite")
    order = [(name, "ascending") for name in ("path", "frame_index", "score")]
    faces = pq.read_table(out).sort_by(order)
    report = dataset.report()
    print(f"\n{dataset.stats()}\n\n{throughput(report, faces)}\n")
    return Outcome(report, meter.use(), faces)


def throughput(report: RunReport, faces: pa.Table) -> str:
    """What came out in what time, in a sentence."""
    source = report.snapshot.ops[0]
    clips, frames = source.units_total, source.rows_out
    found = pc.count_distinct(faces["path"]).as_py()
    return (
        f"{frames:,} frames of {clips} clips in {report.wall_s:.1f} s: "
        f"{frames / report.wall_s:.0f} frames/s. Found {faces.num_rows:,} faces, "
        f"in {found / clips:.0%} of the clips."
    )


def same_faces(left: pa.Table, right: pa.Table) -> bool:
    """Whether both runs wrote the same; batches of other sizes may move an age's last digits."""
    names = [name for name in left.column_names if name != "age"]
    ages = (table["age"].to_numpy() for table in (left, right))
    return left.select(names).equals(right.select(names)) and np.allclose(*ages, atol=0.001)


def comparison(streaming: Outcome, bulk: Outcome) -> Table:
    """Both runs beside each other."""
    table = Table("", "streaming", "bulk", "streaming / bulk", title="Streaming beside bulk")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, unit, a, b in zip(ROWS, UNITS, _numbers(streaming), _numbers(bulk), strict=True):
        ratio = f"{a / b:.2f}" if b else "-"
        table.add_row(name, f"{a:,.1f} {unit}", f"{b:,.1f} {unit}", ratio)
    return table


def _numbers(outcome: Outcome) -> tuple[float, ...]:
    return (
        outcome.report.wall_s,
        outcome.report.first_block_s or outcome.report.wall_s,
        peak_store_bytes(outcome.report.snapshot) / 1e6,
        outcome.store.peak_bytes / 1e6,
        outcome.store.spilled_bytes / 1e6,
    )


ROWS = (
    "Time",
    "First rows written",
    "Store peak, scheduler's account",
    "Store peak, Ray's counters",
    "Spilled to disk",
)
UNITS = ("s", "s", "MB", "MB", "MB")
CLIPS_PER_SOURCE = 60
FRAMES = 8
#: Room enough for all frames at once, so that the bulk run need not spill.
STORE_BYTES = 3_500_000_000

if __name__ == "__main__":
    main()
