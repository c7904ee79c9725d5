"""What Ray's exceptions mean."""

from __future__ import annotations

import pytest
from ray import exceptions

from millstream.errors import UserCodeError, WorkerError
from millstream.run.ray.failures import read_failure


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (exceptions.WorkerCrashedError(), "worker_died"),
        (exceptions.LocalRayletDiedError(), "worker_died"),
        (exceptions.OutOfMemoryError("killed"), "out_of_memory"),
        (exceptions.ActorDiedError(), "worker_died"),
        (exceptions.ActorUnavailableError("gone", b"0" * 16), "not_run"),
        (exceptions.NodeDiedError("gone"), "not_run"),
        (exceptions.TaskCancelledError(), "cancelled"),
        (exceptions.ObjectLostError("ab", "", ""), "not_run"),
        (exceptions.RuntimeEnvSetupError("no such package"), "user_code"),
        (ModuleNotFoundError("their_module"), "user_code"),
        ("no exception at all", "user_code"),
    ],
)
def test_kinds(raised, kind):
    failure = read_failure(raised, "Map(f)")
    assert failure.kind == kind
    assert failure.error.operator == "Map(f)"


def test_an_actor_that_the_memory_monitor_killed_ran_out_of_memory():
    error = exceptions.ActorDiedError()
    error.error_msg = "The actor died ... Task was killed due to the node running low on memory."
    failure = read_failure(error, "Map(f)")
    assert (failure.kind, failure.actor_lost) == ("out_of_memory", True)


def test_an_exception_inside_a_task_is_read_by_its_cause():
    wrapped = exceptions.RayTaskError("f", "traceback", exceptions.ObjectLostError("ab", "", ""))
    assert read_failure(wrapped, "Map(f)").object_lost == "ab"
    wrapped = exceptions.RayTaskError("f", "traceback", ImportError("their_module"))
    failure = read_failure(wrapped, "Map(f)")
    assert isinstance(failure.error, UserCodeError)
    assert "their_module" in failure.error.message


def test_deaths_are_errors_of_workers():
    failure = read_failure(exceptions.WorkerCrashedError(), "Map(f)")
    assert isinstance(failure.error, WorkerError)
    assert failure.is_death


def test_an_actor_that_does_not_answer_is_not_dead():
    failure = read_failure(exceptions.ActorUnavailableError("gone", b"0" * 16), "Map(f)")
    assert not failure.actor_lost
    assert not failure.is_death
