"""What a recorded run would have done elsewhere."""

import time

import pytest
from sim_worlds import NODE, plan

import millstream as ms
from millstream import _core, sim
from millstream.context import DataContext, ExecutionOptions, ExecutionResources
from millstream.errors import ArgumentError, ResourcesError


@pytest.fixture
def trace():
    described, models = plan(units=40)
    return sim.simulate(described, cluster=[NODE], models=models).trace


def test_without_changes_the_prediction_is_what_happened(trace):
    prediction = sim.replay(trace, cluster="recorded")
    assert prediction.makespan_s == pytest.approx(prediction.recorded_makespan_s, rel=0.01)
    assert sim.replay(trace, cluster=[NODE]).makespan_s == prediction.makespan_s
    assert "recorded" in repr(prediction)


def test_other_clusters_pools_and_limits_are_as_if_they_had_been_there(trace):
    described, models = plan(units=40)

    def real(node):
        return sim.simulate(described, cluster=[node], models=models).makespan_s

    slower = sim.Node(cpu=4, gpu=4, store_bytes=NODE.store_bytes)
    assert sim.replay(trace, cluster=[slower]).makespan_s == pytest.approx(real(slower), rel=0.02)
    small = sim.Node(cpu=8, gpu=4, store_bytes=2_500_000_000)
    limited = sim.replay(trace, limit=small.store_bytes)
    assert limited.makespan_s == pytest.approx(real(small), rel=0.02)
    narrow = sim.replay(trace, pools={"Infer": 1})
    assert narrow.makespan_s > 200 * 0.5


def test_impossible_changes_are_refused(trace):
    with pytest.raises(ArgumentError, match="the pool 'Read' fits 0 operators"):
        sim.replay(trace, pools={"Read": 1})
    with pytest.raises(ArgumentError, match="needs 1 <= min <= max"):
        sim.replay(trace, pools={"Infer": (3, 2)})
    with pytest.raises(ResourcesError, match="pools do not fit"):
        sim.replay(trace, pools={"Infer": 9})
    with pytest.raises(_core.ReplayError, match="the trace is empty"):
        sim.replay(sim.Trace(b""), cluster="recorded")


def test_a_real_run_teaches_its_sizes_and_times(tmp_path, monkeypatch):

    def decode(batch):
        time.sleep(0.02 * len(batch["id"]))
        return {**batch, "frame": [bytes(20_000)] * len(batch["id"])}

    class Model:
        def __init__(self):
            time.sleep(0.3)

        def __call__(self, batch):
            time.sleep(0.01 * len(batch["id"]))
            return {"id": batch["id"]}

    context = DataContext(
        backend="local",
        trace=str(tmp_path / "run.jsonl"),
        enable_progress_bars=False,
        execution_options=ExecutionOptions(resource_limits=ExecutionResources(cpu=4, gpu=2)),
    )
    monkeypatch.setattr(DataContext, "_current", context)
    frames = ms.range(200, override_num_blocks=50).map_batches(decode)
    labels = frames.map_batches(Model, num_gpus=1, concurrency=2, batch_size=8)
    assert labels.count() == 200
    prediction = sim.replay(tmp_path / "run.jsonl", cluster="recorded")
    assert prediction.simulation.rows_out == 200
    times = prediction.simulation.operators
    # What was slept is the least that it took; the machine may have been busy beside it.
    assert times["ReadRange->MapBatches(decode)"].working_s >= 200 * 0.02
    assert times["MapBatches(Model)"].working_s >= 200 * 0.01
    assert prediction.makespan_s >= 0.3 + 200 * 0.01 / 2
