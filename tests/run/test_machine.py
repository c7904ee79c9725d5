"""What the local backend finds on this machine, and what it grants where that is too little."""

from __future__ import annotations

import logging

import pytest
from pipelines import batches, read, start, values

from millstream.run import machine
from millstream.run.local import LocalBackend


class Same:
    def __call__(self, batch):
        return batch


def test_a_pool_that_takes_all_cores_runs_and_that_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(machine, "cpus", lambda: 2.0)
    monkeypatch.setattr(machine, "_told", set())
    caplog.set_level(logging.WARNING, logger="millstream.run.machine")
    for _ in range(2):
        run = start(
            LocalBackend(), read(20, 4), batches(Same, kind="actors", actors_min=2, actors_max=2)
        )
        assert values(run) == list(range(20))
    (record,) = caplog.records
    assert "need 3 CPUs, and this machine has 2" in record.getMessage()


@pytest.mark.parametrize(
    ("pools", "task", "granted"),
    [
        ([], 1, 2),
        ([(1, 1)], 1, 2),
        ([(2, 1)], 1, 3),
        ([(1, 1), (4, 0.5)], 2, 5),
        # More than the machine has, for one task or actor: that is no matter of sharing.
        ([(1, 3)], 1, 2),
        ([(2, 1)], 4, 2),
    ],
)
def test_slots_are_granted_for_the_smallest_pools_and_one_task(pools, task, granted):
    ops = [read(1, 1, cpu=task)]
    ops += [batches(Same, kind="actors", actors_min=least, cpu=cpu) for least, cpu in pools]
    assert machine.slots_for(ops, 2.0) == granted


def test_a_limit_that_the_user_sets_is_kept():
    backend = LocalBackend(num_cpus=2)
    pool = batches(Same, kind="actors", actors_min=2, actors_max=2)
    (node,) = backend.open([read(1, 1), pool])
    assert node.cpu == 2
    backend.close()


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, 3),
        ("0,2", 2),
        ("", 0),
        ("-1", 0),
        ("1,-1,2", 1),
        ("GPU-8c1f,GPU-77aa", 2),
        ("0,1,2,3", 3),
    ],
)
def test_gpus_are_found_that_are_there_and_visible(visible, found, tmp_path, monkeypatch):
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.setattr(machine, "_DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.gpus() == found
    (node,) = LocalBackend().nodes()
    assert node.gpu == found
