"""The cluster as this run sees it: which nodes there are, what they have, and which come and go.

Owns the connection to Ray and the numbers of nodes. Must not know tasks or blocks.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

import ray

from millstream import _core
from millstream.errors import PlanError, WorkerError
from millstream.run.ray import compat
from millstream.run.ray.sharing import sharing


class Connection:
    """One run's use of the connection to Ray, which is made if the program has none.

    A connection that is made here stays for later runs of the process; Ray itself ends it with the
    process. While a run is under way, no call of Ray may start another Ray in place of one that
    the program has shut down.

    Raises:
        PlanError: The connection is of a kind that cannot carry a run.
    """

    _lock = threading.Lock()
    _count = 0
    _was_automatic = True

    def __init__(self) -> None:
        if ray.util.client.ray.is_connected():
            raise PlanError(
                "millstream needs a driver inside the cluster, not a Ray Client connection "
                "(ray://): submit the program with `ray job submit`"
            )
        if not ray.is_initialized():
            ray.init(logging_level=logging.ERROR, include_dashboard=False)
        self._is_held = True
        self._count_uses(1)

    def release(self) -> None:
        """Ends the run's use of it. Idempotent."""
        if self._is_held:
            self._is_held = False
            self._count_uses(-1)

    @classmethod
    def _count_uses(cls, change: int) -> None:
        with cls._lock:
            cls._count += change
            if change > 0 and cls._count == 1:
                cls._was_automatic = compat.set_auto_connect(False)
            elif cls._count == 0:
                compat.set_auto_connect(cls._was_automatic)


def require_connection() -> None:
    """Checks that Ray is still there.

    Raises:
        WorkerError: The program has shut Ray down.
    """
    if not ray.is_initialized():
        raise WorkerError("Ray was shut down while the run was under way")


class Cluster:
    """The nodes of the cluster by number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._addresses: dict[str, str] = {}
        self._resources: dict[str, dict[str, float]] = {}
        #: What the task or actor holds in which this program runs: its runs cannot use it.
        self.held_by_program = held_by_program()
        self._first: list[_core.Node] | None = None
        # By Ray's ids. Nodes that the run knows and are there; a lost one never comes back.
        self._present: dict[str, _core.Node] = {}
        self._draining: set[str] = set()
        self._lost: set[str] = set()

    def nodes(self) -> list[_core.Node]:
        """The nodes that were there at the first call; `changes` tells what came of them."""
        if self._first is None:
            draining = compat.draining_ids()
            found = [node for node in _alive_nodes() if node["NodeID"] not in draining]
            self._first = self._join(found)
        return self._first

    def number(self, node_id: str) -> int:
        """A node's number; one that is not known yet gets the next."""
        with self._lock:
            if node_id not in self._numbers:
                self._numbers[node_id] = len(self._ids)
                self._ids.append(node_id)
            return self._numbers[node_id]

    def id_of(self, number: int) -> str:
        """The Ray id of a node."""
        return self._ids[number]

    def words_for(self, number: int) -> str:
        """A node as people know it."""
        node_id = self.id_of(number)
        return f"node {self._addresses.get(node_id, 'without an address')} ({node_id})"

    def resources_of(self, number: int) -> tuple[dict[str, float], dict[str, float]]:
        """What a node has, and what of that is free, by the names of Ray."""
        node_id = self.id_of(number)
        has = self._resources.get(node_id, {})
        free = compat.free_per_node().get(node_id, {})
        return has, free

    @property
    def is_one_node(self) -> bool:
        """Whether placement needs no words."""
        return len(self._ids) == 1

    def present(self) -> dict[str, _core.Node]:
        """The nodes that are there, by Ray id; called on any thread."""
        with self._lock:
            return dict(self._present)

    def notes(self) -> list[str]:
        """What a user should know of the nodes; called on any thread."""
        here, held = self.held_by_program
        amounts = {name: held.get(name, 0.0) for name in ("CPU", "GPU")}
        told = " and ".join(f"{amount:g} {name}" for name, amount in amounts.items() if amount)
        if not told:
            return []
        return [
            f"this program runs inside a Ray task or actor that holds {told} of node {here}, "
            "which its datasets cannot use: give it num_cpus=0, or the cluster more"
        ]

    def lost_ids(self) -> set[str]:
        """The Ray ids of the nodes that were lost."""
        return set(self._lost)

    def changes(self, suspects: Collection[int] = ()) -> list[_core.Event]:
        """What happened to nodes since the last call.

        Args:
            suspects: Nodes where something died. Ray takes many seconds to find a node dead; a
                raylet that refuses connections is.
        """
        found = {node["NodeID"]: node for node in _alive_nodes()}
        draining = compat.draining_ids()
        for suspect in suspects:
            node_id = self.id_of(suspect)
            if node_id in found and _refuses(found[node_id]):
                del found[node_id]
        gone = sorted(self._present.keys() - found.keys())
        leaving = sorted((self._present.keys() & draining) - self._draining - set(gone))
        joined = sorted(found.keys() - self._present.keys() - draining - self._lost)
        self._draining.update(leaving)
        self._lost.update(gone)
        with self._lock:
            for node_id in gone:
                del self._present[node_id]
        return [
            *(_core.Event.NodeLost(self.number(node_id)) for node_id in gone),
            *(_core.Event.NodeDraining(self.number(node_id)) for node_id in leaving),
            *map(_core.Event.NodeJoined, self._join([found[node_id] for node_id in joined])),
        ]

    def _join(self, found: Sequence[dict[str, Any]]) -> list[_core.Node]:
        if not found:
            return []
        # What other runs hold in a store is divided, not taken away.
        free = {} if sharing.has_runs() else _free_store_bytes()
        joined = {node["NodeID"]: self._node(node, free.get(node["NodeID"])) for node in found}
        with self._lock:
            self._present.update(joined)
        return list(joined.values())

    def _node(self, node: dict[str, Any], free: float | None) -> _core.Node:
        resources = dict(node["Resources"])
        here, held = self.held_by_program
        if node["NodeID"] == here:
            resources = {name: amount - held.get(name, 0.0) for name, amount in resources.items()}
        cpu = resources.pop("CPU", 0.0)
        gpu = resources.pop("GPU", 0.0)
        store = resources.pop("object_store_memory", 0.0)
        memory = resources.pop("memory", 0.0)
        custom = {name: amount for name, amount in resources.items() if name[:5] != "node:"}
        taken = 0.0 if free is None else store - free
        self._addresses[node["NodeID"]] = node["NodeManagerAddress"]
        self._resources[node["NodeID"]] = dict(node["Resources"])
        return _core.Node(
            node=self.number(node["NodeID"]),
            cpu=cpu,
            gpu=gpu,
            custom=custom,
            heap_bytes=int(memory),
            store_bytes=max(0, int(store * STORE_SHARE - taken)),
        )


class Watcher:
    """A thread that looks at the cluster every few seconds.

    Args:
        look: What it does each time.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._ended = False
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millstream-cluster", daemon=True)
        self._thread.start()

    def look_now(self) -> None:
        """Makes it look at once, since something is amiss."""
        self._wanted.set()

    def stop(self) -> None:
        """Ends it; a look that is under way is not waited for."""
        self._ended = True
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait(LOOK_EVERY_S)
            self._wanted.clear()
            if self._ended:
                return
            try:
                self._look()
            except Exception:
                # The cluster is hard to reach, or Ray is being shut down: the next look tells.
                _logger.debug("cannot look at the cluster", exc_info=True)


def held_by_program() -> tuple[str, dict[str, float]]:
    """What the Ray task or actor holds in which this program runs, if any, and on which node."""
    context = ray.get_runtime_context()
    try:
        held = context.get_assigned_resources()
    except (AssertionError, RuntimeError):
        # It is a driver.
        return "", {}
    return str(context.get_node_id()), {name: float(amount) for name, amount in held.items()}


def _alive_nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _refuses(node: dict[str, Any]) -> bool:
    """Whether nobody listens where a raylet did. One that cannot be reached does not refuse."""
    try:
        address = (node["NodeManagerAddress"], node["NodeManagerPort"])
        socket.create_connection(address, timeout=_REACH_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _free_store_bytes() -> dict[str, float]:
    """What of each node's object store is not taken by objects that are still needed."""
    name = "object_store_memory"
    free = compat.free_per_node()
    return {node: resources[name] for node, resources in free.items() if name in resources}


_logger = logging.getLogger(__name__)
#: The part of a node's object store that a run may fill. Ray spills at 0.8.
STORE_SHARE = 0.7
#: How soon nodes that come and go, and actors that die while idle, are noticed.
LOOK_EVERY_S = 1.0
#: How long a node may take to answer that asks whether it lives.
_REACH_S = 1.0
