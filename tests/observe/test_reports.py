"""What a run reports: where the time went, what held it, and what would help."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from moments import finding, node, op, physical, plan, report, snapshot, times

import millstream as ms
from millstream import _core
from millstream.observe.explain import explain
from millstream.observe.stats import stats
from millstream.observe.why import why
from millstream.observe.words import (
    ACTIVITIES,
    BOTTLENECKS,
    FAILURES,
    REASONS,
    failure_text,
    reason_text,
    times_text,
)
from millstream.plan.rules import to_physical

MIB = 2**20
ROOT = Path(__file__).parents[2]
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
        held_us={"memory_reserved": 4_000_000, "done": 6_000_000},
        spent=times(compute_s=8.0, output_blocked_s=2.0),
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
        held_us={"input_empty": 1_000_000, "actor_starting": 2_000_000, "actors_busy": 40_000},
        spent=times(compute_s=18.0, loading_s=2.0),
    ),
    cpu_times=times(compute_s=8.0, output_blocked_s=2.0, memory_held_s=32.0, idle_s=38.0),
    gpu_times=times(compute_s=18.0, loading_s=2.0),
    bottleneck=finding("gpu_short", 0.87, op=1),
    nodes=[node((0, 8), (0, 2), (0, 500 * MIB), peak=310 * MIB)],
    output_rows=1000,
)


class Model:
    def __call__(self, batch):
        return batch


def preprocess(batch):
    return batch


def test_stats_tell_time_rows_bytes_and_what_held_each_operator():
    assert (
        stats(report(PLAN, MOMENT))
        == """\
Input -> TaskPoolMap[ReadVideo] -> ActorPoolMap[MapBatches(Model)]
Finished after 10 s: 1,000 rows, 100 rows/s, 1.0 MiB out; first block after 500 ms
Object store: at most 310.0 MiB of 500.0 MiB (62%)
CPUs: 48% idle, 40% held by memory, 10% compute, 2% output blocked
GPUs: 90% compute, 10% loading
Trouble: 1 x task retried

TaskPoolMap[ReadVideo] (1 CPU each)
  Time: 8 s of work in 4 tasks, 2 s each; 0.80 at work on average
  Read: 4 of 4 units; 1,000 rows in 8 blocks, 800.0 MiB
  Heap: at most 300.0 MiB in one worker
  Tasks: 80% compute, 20% output blocked
  Held: 40% no room in the object store, 60% not held

ActorPoolMap[MapBatches(Model)] (1 GPU each)
  Time: 18 s of work in 8 tasks, 2.25 s each; 1.80 at work on average, of 2 actors started
  Rows: 1,000 in, 1,000 out in 8 blocks, 1.0 MiB
  Actors: 90% compute, 10% loading
  Held: 20% its actors are loading, 10% no input, 70% not held"""
    )


def test_why_names_the_bottleneck_and_what_would_help():
    told = why(report(PLAN, MOMENT)).splitlines()
    assert told == [
        "Finished after 10 s.",
        "For 87% of the time it waited for GPUs: all were taken, most of them by "
        "ActorPoolMap[MapBatches(Model)].",
        "What would help: more GPUs, a larger `batch_size`, or a smaller or faster model in "
        "ActorPoolMap[MapBatches(Model)].",
        "TaskPoolMap[ReadVideo]: done; held 40% no room in the object store; its tasks' time: "
        "80% compute, 20% output blocked",
        "ActorPoolMap[MapBatches(Model)]: done; held 20% its actors are loading, 10% no input; "
        "its actors' time: 90% compute, 10% loading",
    ]


def test_why_of_a_run_under_way_tells_what_holds_it_now():
    moment = snapshot(op(reason="input_empty"), op())
    told = why(report(PLAN, moment, outcome="running")).splitlines()
    assert told == [
        "Running after 10 s.",
        "TaskPoolMap[ReadVideo]: waits for input; its tasks' time: no time yet",
        "ActorPoolMap[MapBatches(Model)]: nothing holds it; its actors' time: no time yet",
    ]


def stub_names(alias):
    stub = files("millstream").joinpath("_core.pyi").read_text()
    names = re.search(rf"{alias}: TypeAlias = Literal\[(.*?)\]", stub, re.DOTALL)
    return sorted(re.findall(r'"(\w+)"', names[1]))


def test_each_name_of_the_scheduler_has_its_words():
    assert sorted(BOTTLENECKS) == sorted(_core.BOTTLENECKS) == stub_names("_Bottleneck")
    assert sorted(FAILURES) == sorted(_core.FAIL_CAUSES) == stub_names("_Cause")
    assert sorted(REASONS) == sorted(_core.REASONS)
    assert sorted(ACTIVITIES) == sorted(
        name for name in dir(_core.Times) if name.endswith("_s") and name != "total_s"
    )


FIELD = re.compile(r"\{(\w+)(?::(\w+))?\}")


def fields_of(enum):
    """The fields of each variant of an enum of the core, by its name in snake case."""
    source = (ROOT / "rust/core/src/protocol.rs").read_text()
    body = re.search(rf"^pub enum {enum} \{{\n(.*?)^\}}", source, re.MULTILINE | re.DOTALL)[1]
    found = {}
    for name, fields in re.findall(r"^    (\w+)(?:,| \{\n(.*?)^    \},)$", body, re.M | re.S):
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        found[snake] = set(re.findall(r"^        (\w+):", fields, re.MULTILINE))
    return found


@pytest.mark.parametrize(
    ("enum", "templates"),
    [
        ("FailCause", {name: words[0] for name, words in FAILURES.items()}),
        ("Reason", {name: words[1] for name, words in REASONS.items()}),
    ],
)
def test_words_name_only_numbers_that_the_scheduler_gives(enum, templates):
    fields = fields_of(enum)
    assert sorted(fields) == sorted(templates)
    for name, template in templates.items():
        assert {field for field, _ in FIELD.findall(template)} <= fields[name], name


def test_each_cause_of_failure_is_told_with_its_numbers_and_what_to_do():
    for cause, (what, advice) in FAILURES.items():
        told = failure_text(cause, dict.fromkeys(fields_of("FailCause")[cause], 12))
        assert told.endswith(f"; {advice}")
        assert "{" not in told
        assert ("12" in told) == bool(FIELD.search(what))


def test_each_reason_is_told_with_its_numbers_and_the_names_of_operators():
    names = [f"Op{number}" for number in range(13)]
    for reason, fields in fields_of("Reason").items():
        told = reason_text(op(reason=reason, details=dict.fromkeys(fields, 12)), names)
        assert told
        assert "{" not in told
    kept = op(reason="slot_reserved", details={"by": 1})
    assert reason_text(kept, ["Read", "Map(f)"]) == "the last slots are kept for Map(f)"


def test_a_real_run_is_explained(monkeypatch):
    monkeypatch.setattr(ms.DataContext.get_current(), "backend", "local")
    ds = ms.range(200).map_batches(lambda batch: batch)
    ds.take_all()
    snapshot = ds.report().snapshot
    times = snapshot.cpu_times
    parts = [
        getattr(times, name) for name in dir(times) if name.endswith("_s") and name != "total_s"
    ]
    assert abs(sum(parts) - times.total_s) < 1e-6 * times.total_s
    assert "CPUs: " in ds.stats()


@pytest.mark.parametrize(
    "seconds",
    [
        {"compute_s": 1.0, "idle_s": 1.0, "loading_s": 1.0},
        {"compute_s": 995.0, "idle_s": 4.0, "loading_s": 0.5, "transfer_s": 0.5},
        {"compute_s": 1e-6, "idle_s": 3e-6},
        dict.fromkeys(ACTIVITIES, 1.0),
    ],
)
def test_the_shares_of_a_time_add_up_to_a_hundred(seconds):
    told = times_text(times(**seconds))
    assert sum(map(int, re.findall(r"(\d+)%", told))) == 100, told


def test_a_short_run_is_given_no_advice():
    short = why(report(PLAN, MOMENT, wall_s=0.034)).splitlines()
    assert short[:2] == ["Finished after 34 ms.", "It was too short to say what would help."]
    assert not any("What would help" in line for line in short)
    running = why(report(PLAN, MOMENT, outcome="running", wall_s=0.034))
    assert "What would help" in running


@pytest.mark.parametrize("workers", [{}, {"num_cpus": 0.5}], ids=["fused", "apart"])
def test_rows_are_rows_after_a_write_too(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(ms.DataContext.get_current(), "backend", "local")
    ds = ms.range(1000).map_batches(lambda batch: batch, **workers)
    ds.write_parquet(tmp_path)
    files = len(list(tmp_path.glob("*.parquet")))
    plural = "" if files == 1 else "s"
    told = ds.stats()
    assert re.search(rf"Finished after .*: 1,000 rows, .* rows/s, {files} file{plural};", told)
    assert "1,000 rows written\n" in told


def test_a_report_is_short_to_look_at():
    assert repr(report(PLAN, MOMENT)) == "<RunReport finished after 10 s: 2 operators>"


def test_why_of_a_dataset_that_has_not_run_says_so():
    assert why(None) == "The dataset has not run yet."


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
