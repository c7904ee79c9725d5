"""A run's seat at the table: what it says that has to wait, and when it gives up."""

from __future__ import annotations

import logging

import pytest

from millstream.errors import ResourcesError
from millstream.run.ray import seat
from millstream.run.ray.seat import Occupant, Seat
from millstream.run.ray.table import Share, Told

HOLDERS = (("'Read -> Infer' of process 7", Share(3.0, 1.0, {"licence": 2.0}, 0)),)
WAITS = Told({}, is_admitted=False, holders=HOLDERS)
STUCK = WAITS._replace(is_stuck=True)


class Clock:
    """Stands in for the clock that seats read."""

    now_s = 0.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(seat, "time", made)
    return made


@pytest.fixture
def failures():
    return []


@pytest.fixture
def taken(failures):
    """The seat of a run that waits for 60 s at most."""
    return Seat(None, Occupant("Read -> Map", None, 1, 60.0, None, failures.append))


def test_a_run_says_who_holds_what_it_waits_for(taken):
    assert taken.notes() == []
    taken.tell(WAITS)
    (note,) = taken.notes()
    assert note.startswith("It waits for its turn")
    assert "'Read -> Infer' of process 7 holds 3 CPU, 1 GPU, 2 licence" in note
    taken.tell(Told({}, holders=HOLDERS))
    assert taken.notes()[0].startswith("Other runs share the cluster: 'Read -> Infer'")
    taken.tell(Told({}))
    assert taken.notes() == []


def test_a_run_that_waits_long_logs_it_once(taken, clock, caplog):
    with caplog.at_level(logging.WARNING):
        for clock.now_s in (0.0, 1.0, 2.5, 9.0):
            taken.tell(WAITS)
    (record,) = caplog.records
    assert "'Read -> Map': It waits for its turn" in record.getMessage()


def test_only_a_run_that_is_stuck_all_the_time_is_given_up(taken, clock, failures):
    for clock.now_s in (0.0, 100.0, 200.0):
        taken.tell(WAITS)
    for clock.now_s, told in ((200.0, STUCK), (250.0, WAITS), (251.0, STUCK), (300.0, STUCK)):
        taken.tell(told)
    assert failures == []
    clock.now_s = 311.0
    taken.tell(STUCK)
    (error,) = failures
    assert isinstance(error, ResourcesError)
    assert "has waited for 60 s for its turn" in str(error)
    assert "DataContext.admission_timeout_s" in str(error)
