"""What Ray does not promise: this Ray has it all, and a run needs none of it."""

from __future__ import annotations

import pytest
from pipelines import batches, read, start, values

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("leaves_nothing")]

NAMES = [
    "_AUTO_CONNECT",
    "_CLUSTER",
    "_DRAINING",
    "_FREE_PER_NODE",
    "_DEAD",
    "_WORKERS",
    "_LOCATIONS",
    "_CORE_WORKER",
    "_JOBS",
    "_NOTE_PUT",
    "_NOTE_REMOVE",
    "_NOTE_KEYS",
]


@pytest.fixture
def compat(ray_cluster):
    """The module, which names what it looks for in constants."""
    from millstream.run.ray import compat

    paths = {
        name for name, value in vars(compat).items() if isinstance(value, str) and ":" in value
    }
    assert {name for name in paths if name.startswith("_") and name[1].isupper()} == set(NAMES)
    return compat


@pytest.mark.parametrize("name", NAMES)
def test_this_ray_has_it(name, compat):
    assert compat.found(getattr(compat, name)) is not None


def test_a_run_does_without_any_of_it(compat, monkeypatch):
    for name in NAMES:
        monkeypatch.setattr(compat, name, "ray.no_such_module:name")
    from millstream.run.ray.backend import RayBackend

    class Same:
        def __call__(self, batch):
            return batch

    run = start(RayBackend(), read(40, 4), batches(Same, kind="actors"))
    assert values(run) == list(range(40))


def test_without_them_answers_are_empty_or_public(compat, ray_cluster, monkeypatch):
    for name in NAMES:
        monkeypatch.setattr(compat, name, "ray:no_such_name")
    (node,) = compat.free_per_node()
    assert node == ray_cluster.nodes()[0]["NodeID"]
    assert compat.draining_ids() == set()
    assert compat.places([]) == {}
    assert compat.core_worker() is None
    assert compat.set_auto_connect(False)
    notes = compat.Notes("test")
    notes.put("a note")
    assert notes.keys("a") == []
    notes.remove("a note")


def test_notes_are_found_by_how_they_begin(compat):
    notes = compat.Notes("test")
    notes.put("runs of 1")
    notes.put("runs of 2")
    assert sorted(notes.keys("runs of ")) == ["runs of 1", "runs of 2"]
    notes.remove("runs of 1")
    notes.remove("runs of 2")
    assert notes.keys("runs of ") == []
