"""What Ray's exceptions mean for a task.

Owns the reading of Ray's errors. Must not know what is done about them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ray import exceptions

import millstream
from millstream.errors import MillstreamError, UserCodeError, WorkerError
from millstream.run.ray import entry

Kind = Literal["user_code", "worker_died", "out_of_memory", "not_run", "cancelled"]


@dataclass(frozen=True)
class Failure:
    """Why a task failed.

    Args:
        kind: In the core's words.
        error: For people.
        actor_lost: Whether its actor is gone.
        node_lost: Whether Ray says that its node is gone.
        object_lost: The hexadecimal id of the input that is gone, if that is why.
    """

    kind: Kind
    error: MillstreamError
    actor_lost: bool = False
    node_lost: bool = False
    object_lost: str | None = None

    @property
    def actor(self) -> str | None:
        """The hexadecimal id of the actor that is gone, if Ray says which."""
        return getattr(self.error.__cause__, "actor_id", None) if self.actor_lost else None

    @property
    def is_death(self) -> bool:
        """Whether a process died."""
        return self.kind in ("worker_died", "out_of_memory")

    @property
    def may_be_its_node(self) -> bool:
        """Whether its node may have died, and it with it."""
        return self.kind == "worker_died" or self.node_lost


def read_failure(raised: object, operator: str, node: str = "one of the nodes") -> Failure:
    """Makes a failure of what Ray raised, or returned in place of a value.

    Args:
        raised: What Ray raised or returned.
        operator: The operator it happened in.
        node: Where, in words.
    """
    cause = raised.cause if isinstance(raised, exceptions.RayTaskError) else raised
    if unfit := _unfit(cause):
        return Failure("user_code", _unfit_error(unfit, operator, node))
    actor_lost = isinstance(cause, exceptions.RayActorError)
    match cause:
        case exceptions.TaskCancelledError():
            return Failure("cancelled", WorkerError("the task was cancelled", operator=operator))
        case exceptions.OutOfMemoryError():
            return Failure("out_of_memory", _worker_error(cause, operator))
        case exceptions.RayActorError() if _OUT_OF_MEMORY in str(cause).lower():
            return Failure("out_of_memory", _worker_error(cause, operator), actor_lost=True)
        case exceptions.ActorUnavailableError():
            # It may live: only this call is known to have failed.
            return Failure("not_run", _worker_error(cause, operator))
        case exceptions.NodeDiedError():
            return Failure("not_run", _worker_error(cause, operator), node_lost=True)
        case exceptions.ObjectLostError():
            error = _worker_error(cause, operator)
            return Failure("not_run", error, object_lost=cause.object_ref_hex)
        case exceptions.RuntimeEnvSetupError():
            told = f"the operator's runtime_env cannot be set up: {cause}"
            return Failure("user_code", UserCodeError(told, operator=operator))
        case exceptions.RayError():
            return Failure("worker_died", _worker_error(cause, operator), actor_lost=actor_lost)
        case BaseException():
            return Failure("user_code", _user_error(cause, operator))
        case _:
            told = f"a worker answered with {cause!r}, which means nothing"
            return Failure("user_code", WorkerError(told, operator=operator))


def _unfit(cause: object) -> dict[str, str] | None:
    """What is known of a worker that cannot run tasks of millstream, if that is the cause."""
    if isinstance(cause, dict):
        return cause if entry.UNFIT in cause else None
    missing = _MISSING.search(str(cause)) if isinstance(cause, exceptions.RayError) else None
    return {"module": missing[1], "why": missing[0]} if missing else None


def _unfit_error(told: Mapping[str, str], operator: str, node: str) -> WorkerError:
    """The error of workers that lack millstream, or something that it needs, or have another."""
    needed = f"millstream=={millstream.__version__}"
    by = f" in {told['python']}" if "python" in told else ""
    if "version" in told:
        what = f"have millstream {told['version']}, but this program has {millstream.__version__}"
    else:
        what = f"cannot import {told['module']!r} ({told['why']})"
    return WorkerError(
        f"the workers on {node} {what}{by}: install {needed} there, in the nodes' image, or have "
        f'Ray do it: ray.init(runtime_env={{"pip": ["{needed}"]}})',
        operator=operator,
    )


def _worker_error(cause: BaseException, operator: str) -> WorkerError:
    error = WorkerError(str(cause), operator=operator)
    error.__cause__ = cause
    return error


def _user_error(cause: BaseException, operator: str) -> UserCodeError:
    """The worker body tells what user code raises; this is what it could not even begin with."""
    error = UserCodeError(
        f"a worker could not run the task: {type(cause).__name__}: {cause}", operator=operator
    )
    error.__cause__ = cause
    return error


# What an import says that fails while Ray unpickles a block, before the task begins.
_MISSING = re.compile(r"No module named '((?:millstream|pyarrow|numpy)[.\w]*)'")
# What Ray says of an actor that its memory monitor killed.
_OUT_OF_MEMORY = "running low on memory"
