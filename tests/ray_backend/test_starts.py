"""Work that Ray does not begin: what is missing is told, and an error after a stated time."""

from __future__ import annotations

import logging

import pytest
from pipelines import batches, read, start, values, wait_until

from millstream.errors import WorkerError
from millstream.run.ray.starts import LATE_S, Starts, Waiting, shortage


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_what_waits_is_late_after_some_seconds_and_each_operator_is_told_once(clock):
    starts = Starts(now=clock)
    starts.sent("task", 1, op=0, node=0)
    clock.now = 1
    starts.sent("task", 2, op=0, node=1)
    starts.sent("actor", 1, op=1, node=1)
    clock.now = LATE_S
    assert starts.late() == [Waiting(0, 0, LATE_S)]
    starts.begun("task", 1)
    clock.now = LATE_S + 1
    assert starts.late() == [Waiting(0, 1, LATE_S), Waiting(1, 1, LATE_S)]
    starts.gone("task", 2)
    starts.begun("actor", 1)
    assert starts.late() == []
    assert LATE_S < 10


def test_it_is_an_error_only_if_nothing_begins_and_nothing_is_at_work(clock):
    starts = Starts(timeout_s=60, now=clock)
    starts.sent("task", 1, op=0, node=0)
    starts.sent("task", 2, op=0, node=0)
    clock.now = 59
    assert starts.overdue(is_at_work=False) is None
    starts.begun("task", 2)
    clock.now = 118
    assert starts.overdue(is_at_work=True) is None
    clock.now = 177
    assert starts.overdue(is_at_work=False) is None
    clock.now = 178
    assert starts.overdue(is_at_work=False) == Waiting(0, 0, 178)
    starts.gone("task", 1)
    assert starts.overdue(is_at_work=False) is None


def test_without_a_limit_it_waits_for_ever(clock):
    starts = Starts(timeout_s=None, now=clock)
    starts.sent("task", 1, op=0, node=0)
    clock.now = 1e6
    assert starts.overdue(is_at_work=False) is None


def test_an_operator_is_lively_if_something_of_it_has_begun_a_moment_ago(clock):
    starts = Starts(now=clock)
    assert not starts.is_lively(0)
    starts.sent("task", 1, op=0, node=0)
    starts.begun("task", 1)
    assert starts.is_lively(0)
    assert not starts.is_lively(1)
    clock.now = 2
    assert not starts.is_lively(0)


def test_a_shortage_says_who_holds_what():
    told = shortage(
        read(1, 1, cpu=2, custom={"tpu": 1}),
        "node 10.0.0.1",
        has={"CPU": 8.0, "tpu": 1.0},
        free={"CPU": 1.0, "tpu": 1.0},
        held={"CPU": 2.0},
        sent={"CPU": 2.0},
    )
    assert "needs 2 CPU, 1 tpu" in told
    assert "on node 10.0.0.1 1 of 8 CPU are free" in told
    assert "2 held by this run, 3 by others, 2 by others or by processes" in told
    assert "tpu are free" not in told


def test_what_is_free_and_not_begun_may_have_a_runtime_env_that_cannot_be():
    op = read(1, 1, ray_remote_args={"runtime_env": {"py_executable": "/no/python"}})
    told = shortage(op, "node 1", has={"CPU": 1.0}, free={"CPU": 1.0}, held={}, sent={"CPU": 1.0})
    assert "(1 CPU) is free on node 1, but Ray has started no worker" in told
    assert "runtime_env" in told


class Same:
    def __call__(self, batch):
        return batch


@pytest.fixture
def soon(monkeypatch):
    """What waits is told at once."""
    from millstream.run.ray import cluster, starts

    monkeypatch.setattr(starts, "LATE_S", 0.2)
    monkeypatch.setattr(cluster, "LOOK_EVERY_S", 0.1)


@pytest.fixture
def hold_all_cpus(ray_cluster):
    """Somebody else holds the CPUs of the cluster until it is let go."""

    class Holder:
        def ready(self):
            return True

    holder = (
        ray_cluster.remote(Holder).options(num_cpus=ray_cluster.cluster_resources()["CPU"]).remote()
    )
    assert ray_cluster.get(holder.ready.remote())
    yield lambda: ray_cluster.kill(holder)
    ray_cluster.kill(holder)


@pytest.mark.ray
@pytest.mark.usefixtures("leaves_nothing", "soon")
@pytest.mark.parametrize("pool", [False, True])
def test_cpus_that_others_hold_are_told_and_an_error_after_a_time(pool, hold_all_cpus, caplog):
    from millstream.run.ray.backend import RayBackend

    caplog.set_level(logging.WARNING, logger="millstream.run.ray.backend")
    backend = RayBackend(start_timeout_s=1.0)
    kind = {"kind": "actors"} if pool else {}
    run = start(backend, read(4, 2), batches(Same if pool else dict, **kind))
    with pytest.raises(WorkerError, match="start_timeout_s") as raised:
        values(run)
    assert "0 of 4 CPU are free" in str(raised.value)
    assert any("waits for Ray to begin it" in record.getMessage() for record in caplog.records)


@pytest.mark.ray
@pytest.mark.usefixtures("leaves_nothing", "soon")
def test_a_run_goes_on_when_what_it_waited_for_is_free(hold_all_cpus):
    from millstream.run.ray.backend import RayBackend

    backend = RayBackend(start_timeout_s=None)
    run = start(backend, read(4, 2))
    wait_until(lambda: any("4 CPU are free" in note for note in backend.notes()))
    hold_all_cpus()
    assert values(run) == list(range(4))
    assert backend.notes() == []


@pytest.mark.ray
@pytest.mark.usefixtures("leaves_nothing")
def test_slow_work_that_has_begun_is_no_error(monkeypatch, ray_cluster):
    from millstream.run.ray import cluster
    from millstream.run.ray.backend import RayBackend

    def slow(batch):
        import time

        time.sleep(0.5)
        return batch

    run = start(RayBackend(), read(1, 1))
    assert values(run) == [0]
    monkeypatch.setattr(cluster, "LOOK_EVERY_S", 0.02)
    backend = RayBackend()
    run = start(backend, read(1, 1, *batches(slow).stage.transforms))
    wait_until(lambda: backend._tasks and not backend._starts.waiting())
    backend._starts._timeout_s = 0.1
    assert values(run) == [0]


@pytest.mark.ray
@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("held", [1, 4])
def test_a_dataset_inside_a_task_uses_what_the_task_does_not_hold(held, ray_cluster):
    def program():
        import millstream as ms

        ms.DataContext.get_current().enable_progress_bars = False
        try:
            return ms.range(4, override_num_blocks=2).take_all()
        except ms.ResourcesError as error:
            return str(error)

    answer = ray_cluster.get(ray_cluster.remote(program).options(num_cpus=held).remote())
    if held == 1:
        assert answer == [{"id": number} for number in range(4)]
    else:
        assert "inside a Ray task or actor that holds 4 CPU" in answer
        assert "num_cpus=0" in answer
