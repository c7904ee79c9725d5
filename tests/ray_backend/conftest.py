"""Ray backends on the session's cluster, which is left as it was found."""

from __future__ import annotations

import pytest
from pipelines import wait_until


@pytest.fixture
def backend(ray_cluster):
    """A fresh backend."""
    from millstream.run.ray.backend import RayBackend

    made = RayBackend()
    yield made
    made.close()


@pytest.fixture
def leaves_nothing(ray_cluster):
    """After the test, no slot, actor or block of it is held for longer than 10 s."""
    yield
    wait_until(lambda: is_clean(ray_cluster), within_s=10)


def is_clean(ray):
    """Whether nobody holds anything of the cluster."""
    total, free = ray.cluster_resources(), ray.available_resources()
    if any(free.get(name) != amount for name, amount in total.items()):
        return False
    actors = ray._private.state.actors().values()
    return all(actor["State"] == "DEAD" for actor in actors)
