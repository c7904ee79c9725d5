"""Nodes that are killed, join and drain while they hold blocks, run tasks and have actors."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pipelines import batches, read, start, values, wait_until

from millstream import _core

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ROWS, ROW_BYTES = 60, 1 << 20
HEAD = {"num_cpus": 0, "object_store_memory": 100 << 20}
NODE = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": 100 << 20}
#: Each task of the source makes so many rows; all but the first wait at the gate before the third.
UNIT_ROWS, GATE_ROW = 5, 2


@pytest.fixture
def backend(raylets):
    """Makes a cluster of nodes beside its head, and a backend that keeps the events it tells."""
    import ray

    from millstream.run.ray.backend import RayBackend

    # Workers do not have this module.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    class Recording(RayBackend):
        def __init__(self):
            super().__init__()
            # Events and actions, as they came.
            self.seen = []

        def wait(self, timeout_s):
            events = super().wait(timeout_s)
            self.seen.extend(events)
            return events

        def perform(self, actions):
            self.seen.extend(actions)
            super().perform(actions)

    opened = []

    def make(*nodes):
        cluster = raylets(HEAD, *nodes)
        opened.append(Recording())
        return cluster, opened[0]

    yield make
    for each in opened:
        each.close()


class Diary:
    """What the workers of a test leave in a folder: where what was begun."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def note(self, what):
        """Notes that this node begins something."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        Path(self.folder, f"{what}.{node}.{time.monotonic_ns()}").touch()

    def nodes(self, what):
        """Where something was begun, as often as it was."""
        return [path.name.split(".")[1] for path in self.folder.glob(f"{what}.*")]

    def wait_at_gate(self):
        """Waits until `open_gate`."""
        while not Path(self.folder, "gate").exists():
            time.sleep(0.01)

    def open_gate(self):
        """Lets all go on."""
        Path(self.folder, "gate").touch()


def pipeline(diary, actors):
    """A source of blocks of a row and a pool over them; tasks of both stop at the gate."""

    def made(batch):
        row = int(batch["id"][0])
        if row > UNIT_ROWS and row % UNIT_ROWS == GATE_ROW:
            diary.note("task")
            diary.wait_at_gate()
        return {"id": batch["id"], "data": np.full((1, ROW_BYTES), row % 251, np.uint8)}

    class Model:
        def __init__(self):
            diary.note("actor")

        def __call__(self, batch):
            diary.note("work")
            diary.wait_at_gate()
            return {"id": batch["id"], "sum": batch["data"].sum(axis=1, dtype=np.int64)}

    source = read(ROWS, ROWS // UNIT_ROWS, *batches(made, batch_size=1).stage.transforms)
    pool = batches(Model, kind="actors", gpu=1, cpu=0, batch_size=1, **actors)
    return source, pool


EXPECTED = [row % 251 * ROW_BYTES for row in range(ROWS)]


def number_of(backend, raylet):
    """The number that the run has given to a node."""
    return backend._cluster.number(raylet.node_id)


def is_busy_at(run, diary, backend, raylet):
    """Whether a node runs a task, has an actor at work, and holds blocks that are still needed."""
    number = number_of(backend, raylet)
    here = next(node for node in run.scheduler.snapshot().nodes if node.node == number)
    began = all(raylet.node_id in diary.nodes(what) for what in ("task", "work"))
    return began and here.store_used >= ROW_BYTES


def nodes_of(seen, kind):
    """The nodes of all events, or actions, of a kind."""
    return [item.node for item in seen if isinstance(item, kind)]


def spilled_bytes(ray, cluster):
    """What the raylets that are left have spilled."""
    from ray._private.internal_api import node_stats

    left = {node.node_id for node in [cluster.head_node, *cluster.worker_nodes]}
    stats = [
        node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False)
        for node in ray.nodes()
        if node["NodeID"] in left
    ]
    return sum(each.store_stats.spilled_bytes_total for each in stats)


def test_what_a_killed_node_had_is_made_again_elsewhere(backend, tmp_path):
    cluster, made = backend(NODE, NODE, NODE)
    import ray

    diary = Diary(tmp_path)
    run = start(made, *pipeline(diary, {"actors_min": 2, "actors_max": 2}))
    wait_until(lambda: len(diary.nodes("work")) == 2, within_s=60)
    doomed = next(node for node in cluster.worker_nodes if node.node_id in diary.nodes("actor"))
    wait_until(lambda: is_busy_at(run, diary, made, doomed), within_s=60)
    loaded = set(diary.nodes("actor"))

    cluster.remove_node(doomed, allow_graceful=False)
    wait_until(lambda: len(diary.nodes("actor")) == 3, within_s=60)
    diary.open_gate()
    assert values(run, "sum") == EXPECTED
    assert set(diary.nodes("actor")) - loaded == {
        node.node_id for node in cluster.worker_nodes if node.node_id not in loaded
    }
    assert nodes_of(made.seen, _core.Event.NodeLost) == [number_of(made, doomed)]
    source, pool = run.scheduler.snapshot().ops
    assert source.blocks_lost > 0
    assert pool.actors_lost == 1
    assert spilled_bytes(ray, cluster) == 0


def test_a_killed_node_is_noticed_before_ray_finds_it_dead(raylets):
    cluster = raylets(HEAD, NODE, NODE)
    import ray

    from millstream.run.ray.cluster import Cluster

    seen = Cluster()
    assert len(seen.nodes()) == 3
    doomed = next(iter(cluster.worker_nodes))
    number = seen.number(doomed.node_id)
    assert seen.changes([number]) == []
    cluster.remove_node(doomed, allow_graceful=False)
    assert [node["Alive"] for node in ray.nodes() if node["NodeID"] == doomed.node_id] == [True]
    assert [event.node for event in seen.changes([number])] == [number]
    assert seen.changes([number]) == []
    assert seen.lost_ids() == {doomed.node_id}


def test_a_node_that_joins_takes_work_of_all_operators(backend, tmp_path):
    cluster, made = backend(NODE)
    diary = Diary(tmp_path)
    run = start(made, *pipeline(diary, {"actors_min": 1, "actors_max": 2}))
    wait_until(lambda: diary.nodes("work"), within_s=60)
    new = cluster.add_node(**NODE)
    wait_until(lambda: new.node_id in diary.nodes("work"), within_s=60)
    diary.open_gate()
    assert values(run, "sum") == EXPECTED
    assert new.node_id in diary.nodes("task")
    assert len(diary.nodes("actor")) == 2
    assert sorted(node.cpu_total for node in run.scheduler.snapshot().nodes) == [0, 2, 2]


def drain(ray, raylet):
    """Has Ray drain a node, as it does before a preemption."""
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    client = ray._private.worker.global_worker.gcs_client
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = client.drain_node(raylet.node_id, reason, "a test", 0)
    assert accepted, why


def test_a_node_that_drains_gets_no_new_work_and_loses_nothing(backend, tmp_path):
    cluster, made = backend(NODE, NODE, NODE)
    import ray

    diary = Diary(tmp_path)
    run = start(made, *pipeline(diary, {"actors_min": 2, "actors_max": 2}))
    wait_until(lambda: len(diary.nodes("work")) == 2, within_s=60)
    leaving = next(node for node in cluster.worker_nodes if node.node_id in diary.nodes("actor"))
    wait_until(lambda: is_busy_at(run, diary, made, leaving), within_s=60)

    drain(ray, leaving)
    wait_until(lambda: nodes_of(made.seen, _core.Event.NodeDraining), within_s=30)
    diary.open_gate()
    assert values(run, "sum") == EXPECTED
    told = [isinstance(item, _core.Event.NodeDraining) for item in made.seen].index(True)
    tasks = nodes_of(made.seen[told:], _core.Action.LaunchTask)
    actors = nodes_of(made.seen[told:], _core.Action.StartActor)
    assert len(tasks) > 0
    assert len(actors) == 1
    assert number_of(made, leaving) not in tasks + actors
    assert [(op.blocks_lost, op.tasks_retried) for op in run.scheduler.snapshot().ops] == [
        (0, 0),
        (0, 0),
    ]
