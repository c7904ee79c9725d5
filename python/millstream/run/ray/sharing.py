"""The runs of this process among all that share the cluster.

Owns the thread that carries reports to the table and shares back, the way in which drivers find
each other, and the actor in which they meet. Must not know what is shared, nor how it is divided.

While a run is alone nothing is divided: it goes by all that there is, and the thread looks for
other drivers now and then. Runs of one process meet at a table in it; as soon as several drivers
have runs, the table is an actor, which goes with the driver that made it or when that has no more
use for it. Another one then takes its place, since each report says all that a table must know.
"""

from __future__ import annotations

import itertools
import logging
import threading
from typing import Any, Protocol

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from millstream.run.ray import compat
from millstream.run.ray.table import Answer, Report, Table, Told


class Tenant(Protocol):
    """A run, as those that it shares with know it."""

    def report(self) -> Report:
        """What it says of itself; called on any thread."""

    def tell(self, told: Told) -> None:
        """Tells it new shares, and how it stands; called on any thread."""


class Sharing:
    """Has the runs of one process share the cluster with each other and with those of others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counter = itertools.count()
        self._tenants: dict[int, Tenant] = {}
        self._driver = ""
        self._table: Table | None = None
        self._actor: Any = None
        self._is_dividing = False
        self._wanted = threading.Event()
        self._is_running = False

    def has_runs(self) -> bool:
        """Whether runs are under way anywhere in the cluster."""
        with self._lock:
            return bool(self._tenants) or bool(signed_in())

    def begin(self, tenant: Tenant) -> bool:
        """Takes in a run that begins.

        Returns:
            Whether it shares from the start: it must go by a share of nothing until it is told.
        """
        with self._lock:
            if not self._tenants:
                self._driver = ray.get_runtime_context().get_job_id()
                sign_in(self._driver)
            self._tenants[next(self._counter)] = tenant
            # It has signed in before it looks: of two that begin at once, each finds the other.
            shares = len(self._tenants) > 1 or bool(signed_in() - {self._driver})
            self._is_dividing = self._is_dividing or shares
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="millstream-sharing", daemon=True).start()
            self._wanted.set()
        return shares

    def end(self, tenant: Tenant) -> None:
        """Lets go of a run. Idempotent."""
        with self._lock:
            left = {number: each for number, each in self._tenants.items() if each is not tenant}
            if self._tenants and not left:
                sign_out(self._driver)
                self._is_dividing = False
                self._table = self._actor = None
            self._tenants = left
            self._wanted.set()

    @property
    def is_dividing(self) -> bool:
        """Whether runs go by shares now."""
        return self._is_dividing

    def _run(self) -> None:
        while True:
            self._wanted.wait(_EXCHANGE_S if self._is_dividing else _LOOK_S)
            self._wanted.clear()
            with self._lock:
                if not self._tenants:
                    self._is_running = False
                    return
            try:
                self._turn()
            except Exception:
                # Ray is being shut down, or the table is gone: the next turn makes another.
                self._actor = None
                _logger.debug("cannot exchange shares", exc_info=True)

    def _turn(self) -> None:
        with self._lock:
            tenants, driver = dict(self._tenants), self._driver
        if not ray.is_initialized():
            return
        others = signed_in() - {driver}
        is_alone = not others and len(tenants) <= 1
        if is_alone and not self._is_dividing:
            return
        reports = {number: tenant.report() for number, tenant in tenants.items()}
        answer = self._exchange(driver, bool(others), reports)
        for number, told in answer.items():
            tenants[number].tell(told)
        with self._lock:
            has_news = any(told.shares for told in answer.values())
            self._is_dividing = not is_alone or has_news

    def _exchange(self, driver: str, has_others: bool, reports: dict[int, Report]) -> Answer:
        if not has_others:
            self._actor = None
            self._table = self._table or Table(lambda: {driver})
            return self._table.exchange(driver, reports)
        self._table = None
        if self._actor is None:
            self._actor = _meeting()
        answer: Answer = ray.get(self._actor.exchange.remote(driver, reports), timeout=_ANSWER_S)
        return answer


class CommonTable(Table):
    """The table of several drivers, in an actor."""

    def __init__(self) -> None:
        super().__init__(signed_in)


def sign_in(driver: str) -> None:
    """Lets other drivers know that this one has runs."""
    _notes.put(_key(driver))


def sign_out(driver: str) -> None:
    """Lets other drivers know that this one has no more runs."""
    if ray.is_initialized():
        _notes.remove(_key(driver))


def signed_in() -> set[str]:
    """The drivers that have runs. What one left behind that was killed is taken away."""
    drivers = {key.removeprefix(_key("")) for key in _notes.keys(_key(""))}
    if len(drivers) > 1:
        dead = compat.ended_drivers()
        for driver in drivers & dead:
            _notes.remove(_key(driver))
        drivers -= dead
    return drivers


def _meeting() -> Any:
    """The actor of this name, which is made if there is none."""
    here = ray.get_runtime_context().get_node_id()
    options = {
        "name": "table",
        "namespace": _NAMESPACE,
        "get_if_exists": True,
        "num_cpus": 0,
        # Other nodes may lack millstream, and then say so only to a run that uses them.
        "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=True),
    }
    return ray.remote(CommonTable).options(**options).remote()


def _key(driver: str) -> str:
    return f"runs of {driver}"


#: The runs of this process.
sharing = Sharing()

_logger = logging.getLogger(__name__)
_NAMESPACE = "millstream"
_notes = compat.Notes(_NAMESPACE)
#: How soon a run that shares hears what the others hold and want.
_EXCHANGE_S = 0.2
#: How soon a run that is alone hears of another driver.
_LOOK_S = 1.0
#: How long the table may take to start and to answer.
_ANSWER_S = 30.0
