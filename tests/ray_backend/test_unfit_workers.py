"""Workers that lack millstream, have another version of it, or lack what it needs."""

from __future__ import annotations

import os

import pytest
from pipelines import batches, read, start, values

import millstream
from millstream.errors import WorkerError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("leaves_nothing")]

#: Runs in a worker before all else: it hides a module, or changes what version there is.
SITE = """
import os, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == os.environ["TEST_HIDES"]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
if "TEST_VERSION" in os.environ:
    import millstream
    millstream.__version__ = os.environ["TEST_VERSION"]
"""


@pytest.fixture
def workers_with(tmp_path):
    """Options for operators whose workers run with these environment variables."""
    (tmp_path / "sitecustomize.py").write_text(SITE)

    def options(**variables):
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        variables = {"TEST_HIDES": "nothing", **variables, "PYTHONPATH": path}
        return {"ray_remote_args": {"runtime_env": {"env_vars": variables}}}

    return options


@pytest.fixture
def attempts(monkeypatch):
    """The failures that the backend reads."""
    from millstream.run.ray import backend

    read_failure, found = backend.read_failure, []

    def keep(*args):
        found.append(read_failure(*args))
        return found[-1]

    monkeypatch.setattr(backend, "read_failure", keep)
    return found


class Same:
    def __call__(self, batch):
        return batch


def told(run):
    with pytest.raises(WorkerError) as raised:
        values(run)
    return str(raised.value)


@pytest.mark.parametrize(
    ("hidden", "kind"),
    [("millstream", "source"), ("pyarrow", "tasks"), ("millstream", "actors")],
)
def test_a_missing_module_is_told_with_its_node_and_not_retried(
    hidden, kind, backend, ray_cluster, workers_with, attempts
):
    options = workers_with(TEST_HIDES=hidden)
    if kind == "source":
        run = start(backend, read(2, 1, **options))
    else:
        run = start(
            backend, read(2, 1), batches(Same if kind == "actors" else dict, kind=kind, **options)
        )
    message = told(run)
    node = ray_cluster.nodes()[0]
    assert f"cannot import '{hidden}" in message
    assert node["NodeID"] in message
    assert node["NodeManagerAddress"] in message
    assert f'"pip": ["millstream=={millstream.__version__}"]' in message
    assert len(attempts) == 1


@pytest.mark.parametrize("kind", ["source", "actors"])
def test_another_version_is_told_with_both(kind, backend, ray_cluster, workers_with, attempts):
    options = workers_with(TEST_VERSION="0.0.9")
    if kind == "source":
        run = start(backend, read(2, 1, **options))
    else:
        run = start(backend, read(2, 1), batches(Same, kind=kind, **options))
    message = told(run)
    assert "have millstream 0.0.9" in message
    assert f"this program has {millstream.__version__}" in message
    assert ray_cluster.nodes()[0]["NodeID"] in message
    assert len(attempts) == 1
