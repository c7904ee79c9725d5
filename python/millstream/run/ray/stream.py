"""Reading a task's stream of objects by events: nothing polls, and no block is fetched.

Owns both ways to watch a stream: by calls that Ray does not promise, and by public ones.
Must not know what the objects mean, nor scheduling.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

import ray
from ray.exceptions import ObjectRefStreamEndOfStreamError, RayError

from millstream.run.ray import compat

Tell = Callable[[object], None]
"""Takes an object's value, or the exception that stands for it; called on any thread."""


class Stream(Protocol):
    """The objects that one task yields, in order.

    At most one `watch_*` is under way at a time. An object that has not been taken holds back
    the task: it goes on at most until it has put out as much as back-pressure allows.
    """

    def watch_value(self, tell: Tell) -> None:
        """Calls `tell` with the next object's value when it is there. Only for small objects.

        If the task ends instead, `tell` gets an exception or None.
        """

    def watch_presence(self, tell: Tell) -> None:
        """Calls `tell` with None when the next object is there, without fetching it."""

    def take(self) -> ray.ObjectRef[Any] | None:
        """The next object, which has been told to be there; the task may go on.

        None if it will never be there, since the task has ended.
        """

    @property
    def completed(self) -> ray.ObjectRef[Any]:
        """An object that is there when the task has ended, whatever its end."""

    def failure(self) -> BaseException | None:
        """What the task, which has ended, failed of. Ray then logs no unseen error."""


def open_stream(generator: ray.ObjectRefGenerator) -> Stream:
    """The stream of a streaming task."""
    worker = compat.core_worker()
    return WaitingStream(generator) if worker is None else CallbackStream(generator, worker)


class CallbackStream:
    """Has Ray call back: no thread waits."""

    def __init__(self, generator: ray.ObjectRefGenerator, worker: Any) -> None:
        self._generator = generator
        self._worker = worker
        # A callback is dropped together with the reference that it was set on.
        self._watched: ray.ObjectRef[Any] | None = None

    @property
    def completed(self) -> ray.ObjectRef[Any]:
        """There when the task has ended."""
        return self._generator.completed()

    def watch_value(self, tell: Tell) -> None:
        """Calls `tell` when the next object is there."""
        self._watched, _ = self._worker.peek_object_ref_stream(self._generator._generator_ref)
        self._watched._on_completed(tell)

    def watch_presence(self, tell: Tell) -> None:
        """Calls `tell` when the next object is there, without fetching it."""
        self._watched, is_there = self._worker.peek_object_ref_stream(
            self._generator._generator_ref
        )
        if is_there:
            tell(None)
        else:
            self._watched._on_ready(tell)

    def take(self) -> ray.ObjectRef[Any] | None:
        """The next object, or None."""
        found: ray.ObjectRef[Any] | None = None
        with contextlib.suppress(ObjectRefStreamEndOfStreamError):
            found = self._worker.try_read_next_object_ref_stream(self._generator._generator_ref)
            self._watched = None
        return found

    def failure(self) -> BaseException | None:
        """What the task failed of."""
        if self._watched is not None:
            _error_in(self._watched)
        return _error_in(self._generator.completed())


class WaitingStream:
    """Has one thread of the process wait for all streams, with public calls only."""

    def __init__(self, generator: ray.ObjectRefGenerator) -> None:
        self._generator = generator
        self._next: ray.ObjectRef[Any] | None = None

    @property
    def completed(self) -> ray.ObjectRef[Any]:
        """There when the task has ended."""
        return self._generator.completed()

    def watch_value(self, tell: Tell) -> None:
        """Calls `tell` when the next object is there."""

        def there() -> None:
            self._advance()
            try:
                tell(None if self._next is None else ray.get(self._next))
            except RayError as error:
                tell(error.with_traceback(None))

        _waiter.watch(self._generator, there)

    def watch_presence(self, tell: Tell) -> None:
        """Calls `tell` when the next object is there, without fetching it."""

        def there() -> None:
            self._advance()
            tell(None)

        _waiter.watch(self._generator, there)

    def take(self) -> ray.ObjectRef[Any] | None:
        """The next object, or None."""
        found, self._next = self._next, None
        return None if found == self._generator.completed() else found

    def failure(self) -> BaseException | None:
        """What the task failed of."""
        return _error_in(self._generator.completed())

    def _advance(self) -> None:
        self._next = next(self._generator, None)


class _Waiter:
    """The thread that waits for streams; it ends when there are none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[ray.ObjectRefGenerator, Callable[[], None]] = {}
        self._is_running = False

    def watch(self, generator: ray.ObjectRefGenerator, there: Callable[[], None]) -> None:
        """Calls `there` once, when the next object of a stream is there or the stream ended."""
        with self._lock:
            self._watched[generator] = there
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._wait, name="millstream-streams", daemon=True).start()

    def _wait(self) -> None:
        while True:
            with self._lock:
                generators = list(self._watched)
                if not generators:
                    self._is_running = False
                    return
            ready, _ = ray.wait(
                generators, num_returns=len(generators), timeout=_WAIT_S, fetch_local=False
            )
            for generator in ready:
                with self._lock:
                    there = self._watched.pop(generator)
                there()


def _error_in(reference: ray.ObjectRef[Any]) -> BaseException | None:
    """The error that stands in the place of an object, if one does."""
    error: BaseException | None = None
    try:
        ray.get(reference, timeout=_ERROR_S)
    except RayError as raised:
        # Its traceback would keep the frames that it passed, and with them blocks, alive.
        error = raised.with_traceback(None)
    return error


_waiter = _Waiter()
#: How long the waiting thread overlooks a stream that was added after it began to wait.
_WAIT_S = 0.02
#: The error of a task that has ended is in this process already.
_ERROR_S = 10.0
