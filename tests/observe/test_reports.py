"""What a run reports: where the time went, what held it, and what would help."""

from __future__ import annotations

import subprocess
import sys

from moments import node, op, physical, plan, report, snapshot

import millstream as ms
from millstream.observe.explain import explain
from millstream.observe.report import HeldTimes, reason_of
from millstream.observe.stats import stats
from millstream.observe.why import ADVICE, busiest, why
from millstream.plan.rules import to_physical

MIB = 2**20
PLAN = plan(
    physical("ReadVideo", "source"),
    physical("MapBatches(Model)", "actors", cpu=0, gpu=1, actors_min=1, actors_max=2),
)
MOMENT = snapshot(
    op(
        state="done",
        tasks_finished=4,
        tasks_retried=1,
        units_total=4,
        units_done=4,
        rows_out=1000,
        blocks_out=8,
        bytes_out=800 * MIB,
        busy_us=8_000_000,
        heap_peak_bytes=300 * MIB,
    ),
    op(
        state="done",
        tasks_finished=8,
        rows_in=1000,
        rows_out=1000,
        blocks_out=8,
        bytes_out=MIB,
        busy_us=18_000_000,
        actors_started=2,
    ),
    nodes=[node((0, 8), (0, 2), (0, 500 * MIB), peak=310 * MIB)],
    output_rows=1000,
)
HELD = [{"needs … of object store, … is free": 4.0}, {"waits for input": 1.0, "… are loading": 2.0}]


class Model:
    def __call__(self, batch):
        return batch


def preprocess(batch):
    return batch


def test_stats_tell_time_rows_bytes_and_what_held_each_operator():
    assert (
        stats(report(PLAN, MOMENT, held=HELD))
        == """\
Input -> TaskPoolMap[ReadVideo] -> ActorPoolMap[MapBatches(Model)]
Finished after 10 s: 1,000 rows, 100 rows/s, 1.0 MiB out; first block after 500 ms
Object store: at most 310.0 MiB of 500.0 MiB (62%)
Trouble: 1 x task retried

TaskPoolMap[ReadVideo] (1 CPU each)
  Time: 8 s of work in 4 tasks, 2 s each; 0.80 at work on average
  Read: 4 of 4 units; 1,000 rows in 8 blocks, 800.0 MiB
  Heap: at most 300.0 MiB in one worker
  Held: 40% needs … of object store, … is free

ActorPoolMap[MapBatches(Model)] (1 GPU each)
  Time: 18 s of work in 8 tasks, 2.25 s each; 1.80 at work on average, of 2 actors started
  Rows: 1,000 in, 1,000 out in 8 blocks, 1.0 MiB
  Held: 20% … are loading, 10% waits for input"""
    )


def test_why_names_the_scarcest_workers_and_what_would_help_them():
    told = why(report(PLAN, MOMENT, held=HELD)).splitlines()
    assert told == [
        "Finished after 10 s. The scarcest workers are those of "
        "ActorPoolMap[MapBatches(Model)]: 90% of them at work on average.",
        "TaskPoolMap[ReadVideo]: done; 40% of the time held: needs … of object store, … is free",
        "ActorPoolMap[MapBatches(Model)]: done; 20% of the time held: "
        f"… are loading ({ADVICE['loading']})",
    ]


def test_why_does_not_blame_workers_that_are_idle():
    told = why(report(PLAN, MOMENT, wall_s=100.0, held=HELD))
    assert "no operator is short of them" in told
    assert ADVICE["loading"] not in told


def test_why_of_a_run_under_way_tells_what_holds_it_now():
    moment = snapshot(op(verdict="waits for input", busy_us=20_000_000), op())
    told = why(report(PLAN, moment, outcome="running")).splitlines()
    assert told[1] == f"TaskPoolMap[ReadVideo]: waits for input ({ADVICE['waits for input']})"
    assert told[2] == "ActorPoolMap[MapBatches(Model)]: nothing holds it"


def test_why_of_a_dataset_that_has_not_run_says_so():
    assert why(None) == "The dataset has not run yet."


def test_the_busiest_operator_is_measured_by_the_workers_that_it_can_have():
    op_, share = busiest(report(PLAN, MOMENT))
    assert (op_.name, share) == ("MapBatches(Model)", 0.9)


def test_reasons_are_the_same_whatever_their_numbers():
    assert reason_of("needs 1.5 GiB of object store, 20 MiB is free") == (
        "needs … of object store, … is free"
    )
    assert reason_of("waits for a full batch: 3 of 64 rows") == "waits for a full batch: … rows"


def test_the_time_between_samples_is_held_by_what_they_show():
    held = HeldTimes(2)
    for second in range(1, 5):
        held.add(second, snapshot(op(verdict=f"all {second} actors are busy"), op()))
    assert held.so_far() == ({}, {}), "four samples are too few"
    held.add(6, snapshot(op(verdict="waits for input"), op(state="done", verdict="done")))
    assert held.so_far() == ({"all … actors are busy": 4, "waits for input": 2}, {})


def test_explain_shows_the_flow_and_what_each_operator_holds():
    ds = (
        ms.range(1000)
        .map_batches(preprocess)
        .map_batches(Model, num_gpus=1, batch_size=64, concurrency=(1, 4))
        .map_batches(Model, memory=2**30, compute=ms.ActorPoolStrategy(size=2))
        .map(preprocess, concurrency=3, resources={"tpu": 0.5})
    )
    assert (
        explain(ds._plan, to_physical(ds._plan, 1))
        == """\
Logical plan
  ReadRange -> MapBatches(preprocess) -> MapBatches(Model) -> MapBatches(Model) -> Map(preprocess)
Physical plan
  Input -> TaskPoolMap[ReadRange->MapBatches(preprocess)] -> ActorPoolMap[MapBatches(Model)] -> \
ActorPoolMap[MapBatches(Model)] -> TaskPoolMap[Map(preprocess)]
Operators
  TaskPoolMap[ReadRange->MapBatches(preprocess)]: 1 CPU per task; 256 units
  ActorPoolMap[MapBatches(Model)]: 1 GPU per actor; 1 to 4 actors; at least 64 rows per task
  ActorPoolMap[MapBatches(Model)]: 1 CPU, 1.0 GiB memory per actor; 2 actors
  TaskPoolMap[Map(preprocess)]: 1 CPU, 0.5 tpu per task; at most 3 tasks at a time"""
    )


def test_reports_need_neither_ray_nor_rich():
    code = (
        "import sys, millstream.observe.stats, millstream.observe.why\n"
        "assert not {'ray', 'rich', 'pandas', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
