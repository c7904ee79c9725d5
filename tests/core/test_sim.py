"""The simulator as Python sees it."""

import json
import subprocess
import sys

import pytest

from millstream import sim


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
    printed = command("workloads", "--json")
    assert json.loads(printed.stdout) == outcomes
