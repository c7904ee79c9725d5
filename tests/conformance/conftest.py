"""Each backend in turn, with the same number of slots."""

from __future__ import annotations

import threading

import pytest
from pipelines import wait_until


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def backend(request):
    """A fresh backend; nothing of it may be left after the test."""
    before = _own_threads()
    if request.param == "local":
        from millstream.run.local import LocalBackend

        made = LocalBackend(num_cpus=4, num_gpus=2, store_bytes=140 << 20)
    else:
        request.getfixturevalue("ray_cluster")
        from millstream.run.ray.backend import RayBackend

        made = RayBackend()
    yield made
    made.close()
    wait_until(lambda: _own_threads() <= before)


def _own_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("millstream")}
