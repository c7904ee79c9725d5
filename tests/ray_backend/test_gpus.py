"""Which GPUs user code sees. The cluster's are logical, so that only what CUDA is told counts."""

from __future__ import annotations

import os

import pytest
from pipelines import batches, read, start, values

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("leaves_nothing")]


def seeing():
    """A class that tells what it sees, when it is made and when it is called."""

    class Seeing:
        def __init__(self):
            import os

            self.loaded = os.environ.get("CUDA_VISIBLE_DEVICES")

        def __call__(self, batch):
            import os

            now = os.environ.get("CUDA_VISIBLE_DEVICES")
            return {"seen": [f"{self.loaded} {now}"] * len(batch["id"])}

    return Seeing


@pytest.fixture
def seen(backend):
    """What user code sees with these options."""

    def find(kind, **options):
        run = start(backend, read(2, 1), batches(seeing(), kind=kind, **options))
        return set(values(run, "seen"))

    return find


@pytest.mark.parametrize("kind", ["tasks", "actors"])
def test_stages_that_ask_for_no_gpu_see_none(seen, kind):
    assert seen(kind) == {" "}


def test_stages_that_ask_for_one_see_theirs(seen):
    (told,) = seen("actors", gpu=1)
    loaded, now = told.split()
    assert loaded == now
    assert loaded in ("0", "1")


def test_what_the_user_says_is_to_be_seen_is_seen(seen):
    env = {"env_vars": {"CUDA_VISIBLE_DEVICES": "7"}}
    assert seen("tasks", ray_remote_args={"runtime_env": env}) == {"7 7"}


def test_a_worker_shows_what_it_showed_before_to_tasks_that_are_not_ours(ray_cluster, monkeypatch):
    from millstream.run.ray import remote

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    payload = remote.Payload("key", "operator", b"", hides_gpus=True)
    with remote._gpus_hidden(payload):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with remote._gpus_hidden(payload):
        pass
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
