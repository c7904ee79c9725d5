"""The simulator as Python sees it."""

import json
import subprocess
import sys

import pytest

from millstream import sim
from millstream.sim import tables


def command(*words):
    program = [sys.executable, "-m", "millstream.sim", *map(str, words)]
    return subprocess.run(program, capture_output=True, text=True, timeout=120)


def test_a_swarm_counts_how_its_worlds_ended():
    summary = sim.swarm(seeds=150, first=50)
    endings = [summary[name] for name in ("completed", "refused", "failed", "stopped")]
    assert sum(endings) == 150
    assert summary["events"] > 1_000
    assert summary == sim.swarm(seeds=150, first=50)


def test_a_recorded_seed_replays_on_the_command_line(tmp_path):
    path = tmp_path / "seed.jsonl"
    recorded = command("swarm", "--first", 1, "--trace", path)
    assert recorded.returncode == 0, recorded.stderr
    assert json.loads(recorded.stdout)["ending"] == "Completed"
    replayed = command("replay", path)
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.startswith("identical: ")


def test_what_is_no_trace_is_an_error_on_the_command_line(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.touch()
    ended = command("replay", path)
    assert (ended.returncode, ended.stderr) == (1, "the trace is empty\n")


def test_workloads_are_reported_beside_their_bounds():
    outcomes = sim.workloads()
    assert {"fig9", "appendix_a", "three_stage", "spiky"} < {o["name"] for o in outcomes}
    for outcome in outcomes:
        assert outcome["ratio"] == pytest.approx(outcome["makespan_s"] / outcome["bound_s"])
        assert outcome["ratio"] >= 1
        assert outcome["spilled_bytes"] == 0


def test_all_workloads_are_printed_for_programs_and_for_people():
    printed = json.loads(command("workloads", "--json").stdout)
    by_name = {outcome["name"]: outcome for outcome in printed}
    clusters = {"robber_128cpu", "hetero_memory", "ramp", "spot", "chain_14"}
    assert {"fig9", "spiky", "two_datasets"} | clusters < set(by_name)
    for name in clusters:
        lines = "\n".join(tables.cluster_lines(by_name[name]))
        assert name in lines
        assert ("MISSED" in lines) != all(goal["is_reached"] for goal in by_name[name]["goals"])
        assert by_name[name]["spilled_bytes"] == 0
    refused = by_name["chain_14"]
    assert (refused["makespan_s"], refused["ratio"]) == (None, None)


def test_half_of_the_memory_is_half_of_each_limit():
    halved = [(outcome["name"], outcome["memory_bytes"] * 2) for outcome in sim.workloads("half")]
    exact = [(outcome["name"], outcome["memory_bytes"]) for outcome in sim.workloads()]
    assert halved == [row for row in exact if row[0] != "two_datasets"]


def test_below_the_least_memory_a_plan_is_refused_with_the_arithmetic():
    outcomes = sim.least_workloads()
    assert len({outcome["name"] for outcome in outcomes}) == len(outcomes)
    for outcome in outcomes:
        assert outcome["peak_over_limit_bytes"] == 0
        assert outcome["below"].startswith("refused: ")
        assert "operators need a block of 95.3 MiB each" in outcome["below"]


def test_jitter_is_summed_up_over_seeds():
    without = sim.jittered_workloads(0, seeds=2)
    for outcome in without:
        assert outcome["mean_over_exact"] == 1.0
        assert outcome["makespan_worst_s"] == outcome["exact_s"]
    varied = sim.jittered_workloads(0.2, seeds=2)
    assert any(outcome["mean_over_exact"] != 1.0 for outcome in varied)
    for outcome in varied:
        assert outcome["makespan_worst_s"] >= outcome["makespan_mean_s"]
        assert outcome["worst_over_bound"] == outcome["makespan_worst_s"] / outcome["bound_s"]


def test_several_nodes_stand_beside_one_that_has_as_much():
    outcomes = sim.spread_workloads(seeds=1)
    assert {outcome["nodes"] for outcome in outcomes} >= {"4+2 4+2", "6+0 2+4"}
    for outcome in outcomes:
        ratio = outcome["makespan_s"] / outcome["one_node_s"]
        assert outcome["mean_over_one_node"] == outcome["worst_over_one_node"]
        assert outcome["mean_over_one_node"] == pytest.approx(ratio)
        over = outcome["peak_over_limit_bytes"]
        assert outcome["in_order"] or over == outcome["spilled_bytes"] == 0


def test_slots_are_idle_stalled_or_working():
    by_name = {outcome["name"]: outcome for outcome in sim.workloads()}
    outcome = by_name["appendix_a"]
    work_s = 400 * 1 + 400 * 2
    assert outcome["idle_cpu_s"] + outcome["stalled_s"] + work_s == pytest.approx(
        8 * outcome["makespan_s"]
    )


def test_an_unknown_memory_is_refused():
    with pytest.raises(ValueError, match="'exact', 'half', 'least', 'clusters' or 'scale'"):
        sim.workloads("twice")


def test_the_cost_of_the_scheduler_is_measured_on_the_command_line():
    printed = command("bench", "--nodes", 2, "--blocks", 2_000, "--json")
    cost = json.loads(printed.stdout)
    names = ["events_per_s_rust", "events_per_s_python", "step_p99_us", "step_max_us"]
    assert all(cost[name] > 0 for name in names), cost
    assert cost["bytes_per_block"] >= 0
    table = command("bench", "--nodes", 2, "--blocks", 2_000).stdout
    assert "events/s through Python" in table
