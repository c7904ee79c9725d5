"""Every error that millstream raises, as one tree.

Owns the classes and how their messages are put together. Knows nothing of where they are raised.
All are picklable with their cause, since workers send them to the driver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class MillstreamError(Exception):
    """The base of all errors of millstream.

    Args:
        message: What is wrong, and what to do about it.
        operator: The operator it happened in, as `Dataset.explain` names it.
        file: The input file, if one is to blame.
        task: The task attempt and where it ran, in words.
    """

    def __init__(
        self,
        message: str,
        *,
        operator: str | None = None,
        file: str | None = None,
        task: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operator = operator
        self.file = file
        self.task = task

    def __str__(self) -> str:
        details = [("operator", self.operator), ("file", self.file), ("task", self.task)]
        lines = [f"  {name}: {value}" for name, value in details if value is not None]
        return "\n".join([self.message, *lines])

    def __reduce__(self) -> tuple[Callable[..., MillstreamError], tuple[Any, ...]]:
        return _rebuild, (type(self), self.message, self.__dict__, self.__cause__)


def _rebuild(
    cls: type[MillstreamError],
    message: str,
    state: dict[str, Any],
    cause: BaseException | None,
) -> MillstreamError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    error.__cause__ = cause
    return error


class PlanError(MillstreamError):
    """The pipeline itself is wrong, or can never run on this cluster."""


class ArgumentError(PlanError, ValueError):
    """An argument makes no sense; raised at the call."""


class ResourcesError(PlanError):
    """An operator asks for more than the cluster can give; the message has the arithmetic."""


class SerializationError(PlanError, TypeError):
    """A user function or its arguments cannot be sent to a worker."""


class MissingPackageError(PlanError, ImportError):
    """A package is needed that is not installed; the message says how to install it."""


class SchemaError(MillstreamError, KeyError):
    """A column is unknown, or blocks do not agree on a type."""

    # KeyError would print the repr of the message.
    __str__ = MillstreamError.__str__


class ReadError(MillstreamError, OSError):
    """A file is missing, cannot be opened, or is not what it should be."""


class WriteError(MillstreamError, OSError):
    """The target cannot be written; what was there before is untouched."""


class UserCodeError(MillstreamError):
    """A user function raised, or returned what it must not; its own exception is the cause."""


class WorkerError(MillstreamError):
    """Workers died again and again, or the cluster went away."""


class RunStoppedError(MillstreamError):
    """A run was ended from outside before its last row: what it gave is a part of the rows."""
