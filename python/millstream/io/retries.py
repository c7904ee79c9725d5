"""Errors that pass: which of them do, and how often and how long something is tried again.

Owns the rule for all stores that are not on this machine. Must not know what is tried.

What an error is decides, not what it says: its class, its `errno`, or the HTTP status that it
carries. `DataContext.retried_io_errors` adds errors by their text.
"""

from __future__ import annotations

import errno
import http.client
import logging
import queue
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeVar

from millstream.context import DataContext
from millstream.io.secrets import without_secrets

Result = TypeVar("Result")


class Clock(Protocol):
    """What waits."""

    def sleep(self, seconds: float) -> None:
        """Waits."""

    def answer_within(self, seconds: float, action: Callable[[], Result]) -> Result:
        """Does something, and gives it up after so many seconds.

        Raises:
            SilentStoreError: It was given up.
        """


class SilentStoreError(TimeoutError):
    """A store gave no answer for too long."""


class StoreError(OSError):
    """A store failed again and again."""


@dataclass(frozen=True)
class Threads:
    """The real time; what may hang runs on a thread of its own, which is left behind if it does."""

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)

    def answer_within(self, seconds: float, action: Callable[[], Result]) -> Result:
        """Does something on a thread; see `Clock`."""
        answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def act() -> None:
            try:
                answers.put((action(), None))
            except BaseException as error:  # noqa: BLE001 - raised by who waits for it
                answers.put((None, error))

        threading.Thread(target=act, name="millstream-store", daemon=True).start()
        try:
            result, error = answers.get(timeout=seconds)
        except queue.Empty:
            raise SilentStoreError(f"no answer for {seconds:g} s") from None
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Retries:
    """How long something is tried.

    Args:
        attempts: How often, before the error is told. What makes progress counts anew.
        pause_s: The wait before the second attempt; each further one is twice as long.
        pause_max_s: The longest wait.
        silence_max_s: After so many seconds without an answer, an attempt is given up.
        texts: Errors that say one of these are tried again too.
        clock: What waits.
    """

    attempts: int = 8
    pause_s: float = 0.1
    pause_max_s: float = 5.0
    silence_max_s: float = 60.0
    texts: tuple[str, ...] = ()
    clock: Clock = field(default_factory=Threads)

    @classmethod
    def current(cls) -> Retries:
        """The rule with the settings of this process."""
        return cls(texts=tuple(DataContext.get_current().retried_io_errors))

    def call(
        self,
        action: Callable[[], Result],
        what: str,
        *,
        is_bounded: bool = True,
        patience: float = 1.0,
        is_done: Callable[[], bool] | None = None,
    ) -> Result:
        """Does something until it works.

        Args:
            action: It; done from the beginning each time.
            what: What it is, in words, for the error: "cannot read at byte 5".
            is_bounded: Whether it is given up if there is no answer, on a thread of its own.
            patience: How many times `silence_max_s` it may take.
            is_done: Asked if a file is missing after an attempt that failed: whether that attempt
                did its work after all. For actions that return nothing.

        Raises:
            StoreError: It failed too often.
            Exception: An error that does not pass, without what is secret in its text.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                if is_bounded:
                    return self.clock.answer_within(self.silence_max_s * patience, action)
                return action()
            except Exception as error:  # noqa: BLE001 - libraries have errors of their own
                is_missing = isinstance(error, FileNotFoundError)
                if attempt > 1 and is_missing and is_done is not None and is_done():
                    return None  # type: ignore[return-value]
                if not is_transient(error, self.texts):
                    _raise_safely(error)
                if attempt == self.attempts:
                    raise StoreError(
                        f"{what}: tried {attempt} times, at last {_in_words(error)}"
                    ) from None
                _log.info("%s: %s; attempt %d failed", what, _in_words(error), attempt)
                self.clock.sleep(self._pause(attempt))
        raise AssertionError("because the last attempt returns or raises")

    def _pause(self, attempt: int) -> float:
        """Returns how long to wait; not all who wait for a store should come back at once."""
        longest = min(self.pause_max_s, self.pause_s * 2.0 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


def is_transient(error: BaseException, texts: tuple[str, ...] = ()) -> bool:
    """Tells whether an error may be gone the next time.

    Args:
        error: It, and what caused it.
        texts: What errors say that pass, too.
    """
    if any(text in str(error) for text in texts):
        return True
    verdicts = (_verdict(each) for each in _chain(error))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what caused it, which libraries turn into errors of their own."""
    seen: set[int] = set()
    current: Any = error
    while isinstance(current, BaseException) and id(current) not in seen:
        seen.add(id(current))
        yield current
        # That of urllib is not its cause.
        reason = getattr(current, "reason", None)
        current = current.__cause__ or (reason if isinstance(reason, BaseException) else None)


def _verdict(error: BaseException) -> bool | None:
    """Tells whether an error passes; `None`: that is not known."""
    status = _status_of(error)
    if status is not None:
        return status in _STATUSES
    if isinstance(error, _LASTING):
        return False
    if isinstance(error, _PASSING):
        return True
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _ERRNOS or None
    for each in type(error).__mro__:
        names = _CLASSES.get(each.__module__.partition(".")[0], ())
        if each.__name__ in names:
            return True
    return None


def _status_of(error: BaseException) -> int | None:
    """Returns the HTTP status that an error carries, wherever its library puts it."""
    response = getattr(error, "response", None)
    found = [getattr(each, name, None) for each in (error, response) for name in _STATUS_NAMES]
    if isinstance(response, dict):
        metadata = response.get("ResponseMetadata")
        found.append(metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None)
    statuses = (each for each in found if isinstance(each, int) and 400 <= each < 600)
    return next(statuses, None)


def _raise_safely(error: Exception) -> NoReturn:
    """Raises an error, or if it tells a secret, one of its kind that does not.

    Raises:
        Exception: Always.
    """
    if all(without_secrets(str(each)) == str(each) for each in _chain(error)):
        raise error
    kind = next((each for each in _LASTING if isinstance(error, each)), OSError)
    raise kind(_in_words(error)) from None


def _in_words(error: BaseException) -> str:
    text = without_secrets(str(error).strip())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_log = logging.getLogger(__name__)
_STATUS_NAMES = ("status", "status_code", "code", "http_status")
_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
_LASTING: tuple[type[Exception], ...] = (
    FileNotFoundError,
    PermissionError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    ssl.SSLCertVerificationError,
)
_PASSING = (
    ConnectionError,
    TimeoutError,
    http.client.IncompleteRead,
    http.client.BadStatusLine,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)
_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        *("EAGAIN", "EBUSY", "EINTR", "EIO", "ESTALE", "EPIPE", "ETIMEDOUT"),
        *("ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH"),
        *("ENETDOWN", "ENETRESET", "ENETUNREACH", "EREMOTEIO"),
    )
    if hasattr(errno, name)
)
#: Classes of libraries that need not be there, by the package that they are in.
_CLASSES = {
    "aiohttp": ("ClientConnectionError", "ClientPayloadError"),
    "azure": ("ServiceRequestError", "ServiceResponseError", "IncompleteReadError"),
    "botocore": ("HTTPClientError", "IncompleteReadError", "ResponseStreamingError"),
    "httpcore": ("TimeoutException", "NetworkError", "RemoteProtocolError"),
    "httpx": ("TimeoutException", "NetworkError", "RemoteProtocolError"),
    "requests": ("ConnectionError", "Timeout", "ChunkedEncodingError"),
    "urllib3": ("ProtocolError", "TimeoutError", "NewConnectionError"),
}
