"""One operator as Ray runs it: the stage as it is sent, and the remote functions and classes.

Owns Ray's options. Must not know which tasks run.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any

import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from millstream import _core
from millstream.errors import MillstreamError, SerializationError
from millstream.io.source import ReadUnit
from millstream.plan.physical import PhysicalOp
from millstream.run.ray import entry
from millstream.run.ray.entry import Packed
from millstream.run.ray.remote import Call, Payload, pack


class Operator:
    """One operator: its stage as it is sent, and the Ray functions and classes for it."""

    def __init__(self, op: PhysicalOp) -> None:
        self.name = op.name
        self.body = op
        self.has_end = op.stage.has_end
        self._units = op.units
        self._options = _options(op)
        self._functions: dict[str | None, Any] = {}
        self._classes: dict[str | None, Any] = {}
        try:
            data = cloudpickle.dumps(op.stage)
        except Exception as error:
            # What a user's object raises when it is pickled may be anything.
            raise unsendable(op.name, error) from error
        is_small = len(data) <= _PAYLOAD_INLINE_BYTES_MAX
        self.payload = Payload(
            uuid.uuid4().hex, op.name, data if is_small else [ray.put(data)], _hides_gpus(op)
        )

    def units_of(self, action: _core.Action.LaunchTask) -> Sequence[ReadUnit] | None:
        """The units that a task of a source reads."""
        if action.first_unit is None:
            return None
        return self._units[action.first_unit : action.first_unit + action.unit_count]

    def packed(self, call: Call) -> Packed:
        """A call as it is sent.

        Raises:
            SerializationError: Its units do not pickle.
            BlockGoneError: They are blocks that are gone.
        """
        try:
            return pack(call)
        except MillstreamError as error:
            error.operator = self.name
            raise
        except Exception as error:
            # As above.
            raise unsendable(self.name, error) from error

    def function(self, node: str | None) -> Any:
        """The remote function for a node. It is the same each time, so that Ray reuses leases."""
        if node not in self._functions:
            options = {**self._options, "max_retries": 0, **STREAMING, **_strategy(node)}
            remote = _remote_function(options.pop("max_calls", None))
            self._functions[node] = remote.options(**options)
        return self._functions[node]

    def actor(self, node: str | None) -> Any:
        """The remote class for a node."""
        if node not in self._classes:
            options = {
                **self._options,
                "max_restarts": 0,
                "max_task_retries": 0,
                **_strategy(node),
            }
            del options["name"]
            self._classes[node] = _remote_class().options(**options)
        return self._classes[node]


# Once per process: Ray keeps for ever what is made remote.
@cache
def _remote_function(max_calls: int | None) -> Any:
    options = {} if max_calls is None else {"max_calls": max_calls}
    return ray.remote(**options)(entry.run_task) if options else ray.remote(entry.run_task)


@cache
def _remote_class() -> Any:
    return ray.remote(entry.StageActor)


def unsendable(operator: str, error: Exception) -> SerializationError:
    """The error of an operator whose function or input does not pickle."""
    return SerializationError(
        f"cannot be sent to workers: {type(error).__name__}: {error}; what does not pickle, such "
        "as a lock, a file or a connection, must be made inside the function, or in the "
        "constructor of a class",
        operator=operator,
    )


def _hides_gpus(op: PhysicalOp) -> bool:
    """Whether workers must see no GPU: they ask for none, and the user has not said what to see."""
    variables = (op.ray_remote_args.get("runtime_env") or {}).get("env_vars") or {}
    return not op.resources.gpu and "CUDA_VISIBLE_DEVICES" not in variables


def _options(op: PhysicalOp) -> dict[str, Any]:
    held = op.resources
    options: dict[str, Any] = {
        **op.ray_remote_args,
        "name": op.name,
        "num_cpus": held.cpu,
        "num_gpus": held.gpu,
    }
    if held.memory:
        options["memory"] = held.memory
    if held.custom:
        options["resources"] = dict(held.custom)
    return options


def _strategy(node: str | None) -> dict[str, Any]:
    if node is None:
        # Not Ray's own default, which is the placement group of the task or actor that runs this.
        return {"scheduling_strategy": "DEFAULT"}
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}


# What is known of a block goes ahead of it. A worker goes on to put the block itself into the store
# when that has been taken, which the driver does when there is room.
STREAMING = {"num_returns": "streaming", "_generator_backpressure_num_objects": 1}
# A larger stage is put into the object store once instead of travelling with each task.
_PAYLOAD_INLINE_BYTES_MAX = 16 * 1024
