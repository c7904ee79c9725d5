"""Simulating plans and datasets from Python."""

import pytest
from sim_worlds import NODE, plan

import millstream as ms
from millstream import sim
from millstream.errors import ArgumentError, ResourcesError


def test_a_published_workload_takes_as_long_as_it_must():
    described, models = plan()
    run = sim.simulate(described, cluster=[NODE], models=models)
    assert run.ending == "completed"
    assert run.rows_out == 800
    assert 151.5 <= run.makespan_s < 165
    # 160 x 5 s and 800 x 0.5 s on 8 CPUs, 800 x 0.5 s on 4 GPUs.
    assert run.utilisation["cpu"] == pytest.approx(1200 / 8 / run.makespan_s)
    assert run.utilisation["gpu"] == pytest.approx(400 / 4 / run.makespan_s)
    assert 0 < run.peak_bytes[0] <= NODE.store_bytes
    assert run.spilled_bytes == 0
    assert run.operators["Read"].working_s == pytest.approx(800)
    assert "completed after 15" in repr(run)


def test_reasons_are_told_over_time():
    described, models = plan(units=20)
    run = sim.simulate(described, cluster=[NODE], models=models)
    first = next(hold for hold in run.holds if hold.operator == "Decode")
    assert (first.reason, first.from_s) == ("InputEmpty", 0)
    assert first.words == "waits for input"
    held = run.held_s()
    assert held["Decode"]["InputEmpty"] >= 5
    for name, reasons in held.items():
        assert sum(reasons.values()) <= run.makespan_s + 1e-6, name


def test_a_dataset_is_simulated_without_reading_or_calling_anything():
    def never(batch):
        raise AssertionError("it is only simulated")

    dataset = ms.range(1_000).map_batches(never, num_cpus=2, batch_size=10)
    model = sim.Model(item_s=0.01)
    run = sim.simulate(dataset, cluster=[sim.Node(cpu=8)], models={"never": model})
    assert run.rows_out == 1_000
    faster = sim.simulate(dataset, cluster=[sim.Node(cpu=16)], models={"never": model})
    assert faster.makespan_s < run.makespan_s


def test_a_seed_decides_everything():
    described, models = plan(units=20)
    models["Decode"] = sim.Model(
        item_s=0.5, pace=sim.Variation(spread=0.5, tail=0.1, tail_factor=9)
    )
    runs = [sim.simulate(described, cluster=[NODE], models=models, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0].makespan_s != runs[2].makespan_s


def test_what_a_cluster_costs_takes_time():
    described, models = plan(units=16)
    nodes = [sim.Node(cpu=4, gpu=0), sim.Node(cpu=4, gpu=4)]

    def seconds(slow=1.0, **costs):
        slowed = [sim.Node(cpu=4, gpu=0, slowness=slow), nodes[1]]
        cluster = sim.Cluster(nodes=slowed, **costs)
        return sim.simulate(described, cluster=cluster, models=models).makespan_s

    free = seconds()
    assert seconds(network_bytes_per_s=200_000_000) > free
    assert seconds(network_latency_s=0.5) > free
    assert seconds(worker_start_s=2) > free + 1
    assert seconds(call_s=0.1) > free
    assert seconds(slow=3.0) > free


def test_faults_are_survived_or_named():
    described, models = plan(units=20)
    faults = sim.Faults(actor_death=0.05, duplicate_event=0.1, stale_event=0.1)
    run = sim.simulate(described, cluster=[NODE], models=models, faults=faults)
    assert (run.ending, run.rows_out) == ("completed", 100)
    run = sim.simulate(described, cluster=[NODE], models=models, faults=sim.Faults(user_error=0.5))
    assert (run.ending, run.failure) == ("failed", "UserCode")
    joins = sim.Faults(joins=[(1.0, NODE)], drains=[(5.0, 0)])
    run = sim.simulate(described, cluster=[NODE], models=models, faults=joins)
    assert (run.ending, run.rows_out) == ("completed", 100)


def test_a_consumer_that_has_enough_stops_the_run():
    described, models = plan(units=20)
    consumer = sim.Consumer(block_s=1, blocks_max=3)
    run = sim.simulate(described, cluster=[NODE], models=models, consumer=consumer)
    assert run.ending == "stopped"


def test_the_trace_replays(tmp_path):
    described, models = plan(units=10)
    run = sim.simulate(described, cluster=[NODE], models=models)
    run.trace.save(tmp_path / "run.jsonl")
    assert sim.replay(tmp_path / "run.jsonl")["turns"] == run.turns


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"models": {"Nobody": sim.Model()}}, "the model 'Nobody' fits 0 operators"),
        ({"models": {"e": sim.Model()}}, "the model 'e' fits 3 operators"),
        ({"models": [sim.Model()]}, "1 models for 3 operators"),
        ({"models": sim.Model(item_s=-1)}, "item_s must be at least 0"),
        ({"models": sim.Model(rows_out=-1)}, "rows_out must not be negative"),
        ({"models": sim.Model(pace=sim.Variation(spread=2))}, "spread must be from 0 to 1"),
        ({"models": sim.Model(unit_rows=[1])}, "has 1 numbers for 2 units"),
        ({"faults": sim.Faults(losses=[(1, 7)])}, "losses names node 7"),
        ({"faults": sim.Faults(task_death=1.5)}, "task_death must be from 0 to 1"),
    ],
)
def test_each_wrong_argument_has_its_error(arguments, words):
    described, _ = plan(units=2)
    with pytest.raises(ArgumentError, match=words):
        sim.simulate(described, cluster=[NODE], **arguments)


def test_an_impossible_plan_is_refused_with_the_arithmetic():
    described, _ = plan(units=2)
    with pytest.raises(ResourcesError, match="the actor pools do not fit"):
        sim.simulate(described, cluster=[sim.Node(cpu=8, gpu=1)])
