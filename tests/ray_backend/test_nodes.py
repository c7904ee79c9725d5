"""Nodes that come and go while a run is under way."""

from __future__ import annotations

import contextlib
import time

import pytest
from pipelines import batches, read, start, values, wait_until

pytestmark = pytest.mark.ray


@pytest.fixture
def add_node(ray_cluster):
    """Adds a second node to the session's cluster; it is gone after the test."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.head_node = ray_cluster._private.worker._global_node
    added = []

    def add(**resources):
        added.append(cluster.add_node(wait=False, object_store_memory=100 << 20, **resources))

    yield add
    with contextlib.redirect_stdout(None):
        for node in added:
            cluster.remove_node(node)
        wait_until(lambda: len(alive(ray_cluster)) == 1, within_s=60)


def alive(ray):
    return [node for node in ray.nodes() if node["Alive"]]


def test_a_node_that_joins_is_used(backend, add_node, tmp_path):
    folder = tmp_path

    def wait_for_company(batch):
        import ray

        (folder / ray.get_runtime_context().get_node_id()).touch()
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.01)
        return batch

    run = start(backend, read(10, 10), batches(wait_for_company))
    add_node(num_cpus=2)
    # On the first node alone it would never end.
    assert values(run) == list(range(10))
    assert [node.cpu_total for node in run.scheduler.snapshot().nodes] == [4, 2]


def test_nodes_that_come_and_go_are_told_once(ray_cluster, add_node):
    from millstream._core import Event
    from millstream.run.ray.cluster import Cluster

    cluster = Cluster()
    cluster.nodes()
    assert cluster.is_one_node
    assert cluster.changes() == []
    add_node(num_cpus=1, num_gpus=1, resources={"wheel": 2})
    events = []
    wait_until(lambda: events.extend(cluster.changes()) or events, within_s=30)
    assert isinstance(events[0], Event.NodeJoined)
    node = events[0].node
    assert (node.node, node.cpu, node.gpu, node.custom["wheel"]) == (1, 1, 1, 2)
    assert node.store_bytes == int((100 << 20) * 0.7)
    assert not cluster.is_one_node
    assert cluster.changes() == []
