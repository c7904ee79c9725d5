"""An object that lives in an actor of its own, and is called from any process.

Owns how it is started and called. Must not know what the object does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from millstream.errors import MillstreamError, RunStoppedError


class Owned:
    """A picklable stand-in for an object in an actor.

    The actor ends when the process that started it does, or when all stand-ins are gone.

    Args:
        handle: The actor.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def call(self, method: str, *args: Any) -> Call:
        """Begins a call, without waiting for it."""
        return Call(self._handle.call.remote(method, *args))

    @staticmethod
    def caller() -> str:
        """This process, by the name by which Ray knows whether it is alive."""
        return str(ray.get_runtime_context().get_worker_id())


class Call:
    """A call that has begun.

    Args:
        reference: Ray's reference to what it returns.
    """

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def result(self) -> Any:
        """Waits for what it returns.

        Raises:
            RunStoppedError: The actor has ended.
            MillstreamError: What the object raised.
        """
        try:
            return ray.get(self._reference)
        except RayActorError as error:
            raise RunStoppedError(
                "the split has ended: the program that made it is gone, or its node, or, as it was "
                "made in an actor or task, all its consumers"
            ) from error
        except RayTaskError as error:
            if isinstance(error.cause, MillstreamError):
                raise error.cause from None
            raise


def own(make: Callable[[], Any], calls: int) -> Owned:
    """Starts an object in an actor on this node.

    Args:
        make: Makes it, there.
        calls: How many calls may wait at a time.
    """
    node = ray.get_runtime_context().get_node_id()
    strategy = NodeAffinitySchedulingStrategy(node, soft=True)
    options = {"max_concurrency": calls, "num_cpus": 0, "scheduling_strategy": strategy}
    return Owned(_remote_class().options(**options).remote(make))


def ends_by_itself() -> Callable[[], None] | None:
    """What ends the actor of an object from within; `None` if the program that calls has it live.

    A program ends at some time, and may hand out its stand-ins again until then. An actor that
    makes one, such as that of Ray Train which keeps them beyond the training, may live on for long.
    """
    is_program = ray.get_runtime_context().worker.mode == ray.SCRIPT_MODE
    return None if is_program else _end


def _end() -> None:
    ray.kill(ray.get_runtime_context().current_actor)


class _Owner:
    """The actor."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._owned = make()

    def call(self, method: str, *args: Any) -> Any:
        """Calls a method of the object."""
        return getattr(self._owned, method)(*args)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._owned.close()


@cache
def _remote_class() -> Any:
    return ray.remote(_Owner)
