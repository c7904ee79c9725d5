"""Workers that die cost retries of what they ran, and nothing else."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from pipelines import batches, calls, count_call, die_once, read, start, values, wait_until

from millstream.errors import WorkerError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("leaves_nothing")]


def test_tasks_whose_workers_die_are_run_again(backend, tmp_path):
    folder = str(tmp_path)

    def deadly(batch):
        if batch["id"][0] % 35 == 0:
            die_once(folder, f"batch{batch['id'][0]}")
        return batch

    run = start(backend, read(200, 40), batches(deadly, batch_size=5))
    assert values(run) == list(range(200))
    snapshot = run.scheduler.snapshot()
    assert snapshot.ops[1].tasks_retried == calls(folder, "batch*") == 6
    assert snapshot.ops[0].tasks_retried == 0


def test_a_death_in_the_middle_of_a_task_repeats_and_loses_no_row(backend, tmp_path):
    folder = str(tmp_path)

    def deadly(batch):
        for part in range(6):
            if part == 3:
                die_once(folder, f"batch{batch['id'][0]}", times=2)
            yield {"id": batch["id"] * 10 + part, "data": np.zeros((1, 1 << 18))}

    run = start(backend, read(4, 4), batches(deadly))
    expected = [10 * row + part for row in range(4) for part in range(6)]
    assert values(run) == expected


def test_actors_that_die_at_work_and_while_loading_are_replaced(backend, tmp_path):
    folder = str(tmp_path)

    class Deadly:
        def __init__(self):
            die_once(folder, "load", times=2)

        def __call__(self, batch):
            if batch["id"][0] % 40 == 0:
                die_once(folder, f"batch{batch['id'][0]}")
            return batch

    deadly = batches(Deadly, kind="actors", actors_min=2, actors_max=2, batch_size=5)
    run = start(backend, read(200, 40), deadly)
    assert values(run) == list(range(200))
    assert run.scheduler.snapshot().ops[1].actors_lost >= 7
    assert calls(folder, "batch*") == 5


def test_a_dead_actor_of_a_pool_of_one_is_replaced(backend, tmp_path):
    folder = str(tmp_path)

    class Deadly:
        def __call__(self, batch):
            die_once(folder, "first")
            return batch

    run = start(backend, read(20, 4), batches(Deadly, kind="actors"))
    assert values(run) == list(range(20))


def test_tasks_that_wait_behind_a_dying_one_are_not_blamed(backend, tmp_path):
    folder = str(tmp_path)

    class Deadly:
        def __call__(self, batch):
            if batch["id"][0] == 0:
                die_once(folder, "poison", times=3)
            return batch

    # Each death takes the three tasks that wait behind it with it; a fourth death would be one too
    # many, for them as for the poisonous one.
    deadly = batches(Deadly, kind="actors", tasks_in_flight_max=4)
    run = start(backend, read(40, 8), deadly)
    assert values(run) == list(range(40))


@pytest.mark.parametrize("kind", ["tasks", "actors"])
def test_a_task_that_always_kills_its_worker_is_an_error(backend, kind):
    if kind == "tasks":

        def deadly(batch):
            os.kill(os.getpid(), signal.SIGKILL)

    else:

        class deadly:  # noqa: N801
            def __call__(self, batch):
                os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerError, match="4") as caught:
        list(start(backend, read(10, 1), batches(deadly, kind=kind)))
    assert caught.value.operator == "MapBatches(deadly)"
    assert "died" in caught.value.message
    assert isinstance(caught.value.__cause__, WorkerError)


def test_actors_that_always_die_while_loading_are_an_error(backend):
    class Deadly:
        def __init__(self):
            os.kill(os.getpid(), signal.SIGKILL)

        def __call__(self, batch):
            return batch

    with pytest.raises(WorkerError, match="loading") as caught:
        list(start(backend, read(10, 1), batches(Deadly, kind="actors")))
    assert caught.value.operator == "MapBatches(Deadly)"


def test_the_death_of_an_idle_actor_is_noticed(backend, tmp_path):
    folder = str(tmp_path)
    go_on = tmp_path / "go_on"

    def second_waits(batch):
        while batch["id"][0] > 0 and not go_on.exists():
            time.sleep(0.01)
        return batch

    class Model:
        def __call__(self, batch):
            count_call(folder, f"pid{os.getpid()}")
            return batch

    run = start(
        backend, read(2, 2, *batches(second_waits).stage.transforms), batches(Model, kind="actors")
    )
    next(run)
    pid = int(next(tmp_path.glob("pid*")).name.split(".")[0][3:])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: run.scheduler.snapshot().ops[1].actors_lost == 1)
    go_on.touch()
    assert values(run) == [1]
    assert run.scheduler.snapshot().ops[1].tasks_retried == 0


def test_random_deaths_of_working_and_loading_workers(backend, tmp_path):
    folder = str(tmp_path)

    def work(batch):
        if np.random.default_rng(batch["id"][0]).random() < 0.1:
            die_once(folder, f"work{batch['id'][0]}")
        return {"id": batch["id"] * 2}

    class Model:
        def __init__(self):
            loads = count_call(folder, "load")
            if loads % 3 == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        def __call__(self, batch):
            if np.random.default_rng(batch["id"][0]).random() < 0.05:
                die_once(folder, f"model{batch['id'][0]}")
            return {"id": batch["id"] + 1}

    model = batches(Model, kind="actors", actors_min=1, actors_max=2, batch_size=5)
    run = start(backend, read(500, 100), batches(work, batch_size=5), model)
    assert values(run) == [2 * value + 1 for value in range(500)]
    assert calls(folder, "work*") > 3
    assert calls(folder, "model*") > 3


@pytest.mark.parametrize("where", ["task", "actor", "constructor"])
def test_the_code_with_which_user_code_ends_its_process_is_told(backend, where):
    class Ends:
        def __init__(self):
            if where == "constructor":
                os._exit(3)

        def __call__(self, batch):
            os._exit(3)

    def ends(batch):
        os._exit(3)

    op = batches(ends) if where == "task" else batches(Ends, kind="actors")
    with pytest.raises(WorkerError, match=r"os\._exit\(3\)") as caught:
        list(start(backend, read(8, 4), op, deaths_max=1))
    assert caught.value.operator == op.name


def test_what_user_code_forks_may_end_as_it_likes(backend):
    def forks(batch):
        child = os.fork()
        if child == 0:
            os._exit(3)
        return {"id": batch["id"], "code": [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]}

    assert values(start(backend, read(1, 1), batches(forks)), "code") == [3]
