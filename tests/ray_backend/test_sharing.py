"""Several runs on one cluster, of one process and of two drivers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pipelines import cpus, endless, own_line, read, start, values, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("leaves_nothing")]

CPUS = 4


@pytest.fixture
def begin(ray_cluster):
    """Starts endless runs; they have ended after the test."""
    runs = []

    def begin(weight=1):
        runs.append(endless(weight))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


@pytest.mark.parametrize(("weight", "share"), [(1, 2), (3, 3)])
def test_two_runs_of_one_process_share_by_weight(begin, weight, share):
    first = begin(weight)
    wait_until(lambda: cpus(first) == CPUS, within_s=30)
    second = begin()
    wait_until(lambda: (cpus(first), cpus(second)) == (share, CPUS - share), within_s=30)
    second.close()
    wait_until(lambda: cpus(first) == CPUS, within_s=5)


def test_a_run_that_shares_gives_exact_output(begin, backend):
    begin()
    assert values(start(backend, read(200, 40))) == list(range(200))


def test_a_run_that_is_alone_is_told_no_share(backend):
    from millstream._core import Event

    seen = []
    hear = backend.wait
    backend.wait = lambda timeout_s: seen.extend(events := hear(timeout_s)) or events
    run = start(backend, read(50, 10))
    assert values(run) == list(range(50))
    assert [event for event in seen if isinstance(event, Event.ShareChanged)] == []


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
import ray
import pipelines
ray.init(address=sys.argv[1], logging_level="error", log_to_driver=False)
ray.cloudpickle.register_pickle_by_value(pipelines)
run = pipelines.endless()
pipelines.wait_until(lambda: pipelines.cpus(run) == 2, within_s=60)
print("half", flush=True)
sys.stdin.readline()
run.close()
print("closed", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other_driver(ray_cluster):
    """Starts a program with an endless run on the same cluster; it has ended after the test."""
    address = ray_cluster.get_runtime_context().gcs_address
    tests = str(Path(__file__).parent.parent)
    started = []

    def start_driver():
        command = [sys.executable, "-c", SCRIPT, address, tests]
        program = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(program)
        return program

    yield start_driver
    for program in started:
        program.kill()
        program.communicate()


def nobody_meets():
    """Whether no driver has signed in, and no table is left."""
    import ray

    from millstream.run.ray.sharing import signed_in

    actors = ray._private.state.actors().values()
    tables = [actor for actor in actors if actor["ActorClassName"] == "CommonTable"]
    return not signed_in() and all(actor["State"] == "DEAD" for actor in tables)


def test_runs_of_two_drivers_share_until_one_ends(begin, other_driver):
    first = begin()
    wait_until(lambda: cpus(first) == CPUS, within_s=30)
    program = other_driver()
    assert own_line(program.stdout) == "half\n"
    wait_until(lambda: cpus(first) == 2, within_s=10)
    program.stdin.write("close\n")
    program.stdin.flush()
    assert own_line(program.stdout) == "closed\n"
    wait_until(lambda: cpus(first) == CPUS, within_s=5)
    first.close()
    wait_until(nobody_meets, within_s=10)


def test_the_share_of_a_driver_that_is_killed_is_free(begin, other_driver):
    program = other_driver()
    wait_until(lambda: program.poll() is None and is_signed_in(), within_s=60)
    first = begin()
    assert own_line(program.stdout) == "half\n"
    wait_until(lambda: cpus(first) == 2, within_s=30)
    os.kill(program.pid, 9)
    wait_until(lambda: cpus(first) == CPUS, within_s=10)
    first.close()
    wait_until(nobody_meets, within_s=10)


def is_signed_in():
    from millstream.run.ray.sharing import signed_in

    return bool(signed_in())
