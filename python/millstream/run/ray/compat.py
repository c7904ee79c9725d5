"""What Ray has but does not promise, in one place: each call is looked for before it is used.

Owns all private and experimental names of Ray, and what is done by public ones, or left undone,
where a Ray lacks them. Must not know what the answers are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import ray


def found(path: str) -> Any:
    """What lies at a dotted path such as `"ray._private.state:jobs"`; None if this Ray lacks it."""
    module, _, names = path.partition(":")
    try:
        value: Any = import_module(module)
    except ImportError:
        return None
    for name in filter(None, names.split(".")):
        value = getattr(value, name, None)
    return value


def set_auto_connect(wanted: bool) -> bool:
    """Sets whether a call of Ray may start a Ray, and returns what held before.

    Where this Ray cannot be told, calls after `ray.shutdown` start another Ray, as they do in any
    program.
    """
    hook = found(_AUTO_CONNECT)
    before = getattr(hook, "enable_auto_connect", None)
    if before is None:
        return True
    hook.enable_auto_connect = wanted
    return bool(before)


def cluster() -> str:
    """The cluster, by a name that no other has. Where this Ray has none, by its address."""
    known = found(_CLUSTER)
    return str(ray.get_runtime_context().gcs_address) if known is None else str(known.hex())


def connection() -> tuple[str, ...]:
    """This process's connection to Ray, by a name that changes when it is made anew."""
    context = ray.get_runtime_context()
    return (cluster(), context.get_job_id(), context.get_worker_id())


def draining_ids() -> set[str]:
    """The nodes that take no new work and will go; where this Ray cannot tell, they go at once."""
    draining = found(_DRAINING)
    return set() if draining is None else set(draining())


def free_per_node() -> dict[str, dict[str, float]]:
    """What is free of each node, by its id. Where this Ray cannot tell, of a single node only."""
    per_node = found(_FREE_PER_NODE)
    if per_node is not None:
        return dict(per_node())
    # Public, but known for the cluster as a whole only.
    alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    return {alive[0]: ray.available_resources()} if len(alive) == 1 else {}


def workers() -> set[str] | None:
    """The workers that are alive, perhaps without drivers, by id; None if this Ray cannot tell."""
    table = found(_WORKERS)
    return None if table is None else set(table())


def is_dead(actor: ray.actor.ActorHandle[Any]) -> bool:
    """Whether Ray has told this process that an actor is dead. Asks nobody.

    Where this Ray cannot tell, the next call to the actor does.
    """
    state = getattr(actor, "_get_local_state", None)
    dead = found(_DEAD)
    return state is not None and dead is not None and state() == dead


def places(
    references: Sequence[ray.ObjectRef[Any]],
) -> Mapping[ray.ObjectRef[Any], dict[str, Any]]:
    """On which nodes objects lie, and whether they are on disk. Asks nobody.

    Where this Ray cannot tell it is empty: what reads a lost one fails some time.
    """
    locations = found(_LOCATIONS)
    return {} if locations is None else dict(locations(references))


def core_worker() -> Any:
    """This process as Ray's own code knows it, if streams can be watched by callbacks; else None.

    Then one thread waits for all streams.
    """
    worker = found(_CORE_WORKER)
    has_all = all(hasattr(worker, name) for name in _STREAM_CALLS) and all(
        hasattr(ray.ObjectRef, name) for name in _REFERENCE_CALLS
    )
    return worker if has_all else None


class Notes:
    """Small notes that all drivers of the cluster see. Where this Ray has none, there are none.

    Runs of one process still share then; drivers do not find each other.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace.encode()

    def put(self, key: str) -> None:
        """Leaves a note."""
        if are_drivers_known():
            found(_NOTE_PUT)(key.encode(), b"", namespace=self._namespace)

    def remove(self, key: str) -> None:
        """Takes a note away."""
        if are_drivers_known():
            found(_NOTE_REMOVE)(key.encode(), namespace=self._namespace)

    def keys(self, prefix: str) -> list[str]:
        """The notes that begin so."""
        if not are_drivers_known():
            return []
        keys = found(_NOTE_KEYS)(prefix.encode(), namespace=self._namespace)
        return [key.decode() for key in keys]


def are_drivers_known() -> bool:
    """Whether drivers can find each other, and tell which of them have ended."""
    return None not in map(found, (_JOBS, _NOTE_PUT, _NOTE_REMOVE, _NOTE_KEYS))


def ended_drivers() -> set[str]:
    """The jobs that have ended."""
    return {job["JobID"] for job in found(_JOBS)() if job["IsDead"]}


_AUTO_CONNECT = "ray._private.auto_init_hook:"
_CLUSTER = "ray._private.worker:global_worker.node.cluster_id"
_DRAINING = "ray._private.state:state.get_draining_nodes"
_FREE_PER_NODE = "ray._private.state:available_resources_per_node"
_DEAD = "ray.core.generated.gcs_pb2:ActorTableData.ActorState.DEAD"
_WORKERS = "ray._private.state:workers"
_LOCATIONS = "ray.experimental:get_local_object_locations"
_CORE_WORKER = "ray._private.worker:global_worker.core_worker"
_STREAM_CALLS = ("peek_object_ref_stream", "try_read_next_object_ref_stream")
_REFERENCE_CALLS = ("_on_completed", "_on_ready")
_JOBS = "ray._private.state:jobs"
_NOTE_PUT = "ray.experimental.internal_kv:_internal_kv_put"
_NOTE_REMOVE = "ray.experimental.internal_kv:_internal_kv_del"
_NOTE_KEYS = "ray.experimental.internal_kv:_internal_kv_list"
