"""Calls of user functions: what they are, how each kind is called, and how their errors are told.

Owns functions, generators, async functions, async generators and classes, and the traceback that
a user sees. Must not know what is passed to them, files or scheduling.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
import traceback
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from millstream.blocks import cells
from millstream.errors import MillstreamError, UserCodeError

if TYPE_CHECKING:
    import asyncio

Place = TypeVar("Place")
"""What a call was about."""

Results = Literal["one", "batches", "rows"]
"""What a call's result stands for: itself; itself, or many batches if it is an iterator; or the
rows of any iterable."""


@dataclass(frozen=True)
class UserFunction:
    """A user's function or class, with what it is called with besides its data."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    constructor_args: tuple[Any, ...] = ()
    constructor_kwargs: dict[str, Any] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        # What is in no file cannot be looked up where it is unpickled.
        return self.__dict__ | {"_sources": cells.sources_of(self.function)}

    @property
    def name(self) -> str:
        """The name that reports show."""
        return name_of(self.function)

    @property
    def has_end(self) -> bool:
        """Whether it is a class that says what happens when its instance is no longer needed."""
        names = ("close", "__del__")
        return isinstance(self.function, type) and any(hasattr(self.function, it) for it in names)

    def open(self, results: Results, tell: Callable[[Any], str] = str) -> OpenFunction:
        """Makes it callable: a class is constructed, once.

        Args:
            results: What the result of one call stands for.
            tell: Names what a call was about, in an error.

        Raises:
            UserCodeError: The constructor raised.
        """
        cells.remember(self._sources)
        function = self.function
        if isinstance(function, type):
            try:
                function = function(*self.constructor_args, **self.constructor_kwargs)
            except BaseException as error:  # noqa: BLE001 - raised again
                _blame(error, f"the constructor of {self.name}")
        return OpenFunction(function, self, results, tell)


class OpenFunction:
    """A function that is ready to be called, whatever its kind."""

    def __init__(
        self,
        function: Callable[..., Any],
        given: UserFunction,
        results: Results,
        tell: Callable[[Any], str],
    ) -> None:
        self._function = function
        self._args = given.args
        self._kwargs = given.kwargs
        self._results = results
        self._tell = tell
        self._is_made = function is not given.function
        self._loop: _LoopThread | None = None

    def close(self) -> None:
        """Lets go of the instance of a class: its `close` is called, if it has one.

        Else it is dropped, so that its `__del__` runs.
        """
        instance, self._function = self._function, _closed
        try:
            close = getattr(instance, "close", None) if self._is_made else None
            if callable(close):
                result = close()
                if inspect.isawaitable(result):
                    _result(self._event_loop().submit(result))
        finally:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.stop()

    def calls(self, inputs: Iterable[tuple[Any, Place]]) -> Iterator[tuple[Any, Place]]:
        """Calls the function with each input, and yields what it returns, in order of the inputs.

        Coroutines run several at a time; all else one after the other.

        Args:
            inputs: What to pass, and what it is, for errors.

        Raises:
            UserCodeError: The function raised.
        """
        pending: deque[tuple[_Future, Place]] = deque()
        # A class that holds much for each call says how many of them may be under way.
        pending_max = getattr(self._function, "coroutines_max", _COROUTINES_MAX)
        try:
            for value, place in inputs:
                try:
                    result = self._function(value, *self._args, **self._kwargs)
                except BaseException as error:  # noqa: BLE001 - raised again
                    _blame(error, self._tell(place))
                # Most results are dicts; the other tests cost more than they do.
                if type(result) is not dict and inspect.isawaitable(result):
                    pending.append((self._event_loop().submit(result), place))
                    if len(pending) < pending_max:
                        continue
                    yield from self._settled(*pending.popleft())
                    continue
                while pending:
                    yield from self._settled(*pending.popleft())
                if self._results == "one" or (type(result) is dict and self._results == "batches"):
                    yield result, place
                else:
                    yield from self._iterated(result, place)
            while pending:
                yield from self._settled(*pending.popleft())
        finally:
            for future, _ in pending:
                future.cancel()

    def _settled(self, future: _Future, place: Place) -> Iterator[tuple[Any, Place]]:
        try:
            result = _result(future)
        except BaseException as error:  # noqa: BLE001 - raised again
            _blame(error, self._tell(place))
        yield from self._iterated(result, place)

    def _iterated(self, result: Any, place: Place) -> Iterator[tuple[Any, Place]]:
        source = self._source(result, place)
        if source is None:
            yield result, place
            return
        try:
            while True:
                try:
                    item = next(source, _END)
                except BaseException as error:  # noqa: BLE001 - raised again
                    _blame(error, self._tell(place))
                if item is _END:
                    return
                yield item, place
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    def _source(self, result: Any, place: Any) -> Iterator[Any] | None:
        """Returns what a result is to be iterated with, or None if it is one by itself."""
        if self._results == "one":
            return None
        if isinstance(result, AsyncIterator):
            return self._event_loop().iterate(result)
        if isinstance(result, Iterator):
            return result
        if self._results == "batches":
            return None
        if isinstance(result, (Mapping, str, bytes)) or not isinstance(result, Iterable):
            told = "None" if result is None else f"a value of type {type(result).__name__}"
            raise UserCodeError(
                f"the function returned {told} for {self._tell(place)}; "
                "return a list of rows, or yield rows"
            )
        return iter(result)

    def _event_loop(self) -> _LoopThread:
        if self._loop is None:
            self._loop = _LoopThread()
        return self._loop


def _blame(error: BaseException, place: str) -> NoReturn:
    """Raises what user code raised as a `UserCodeError` that tells where.

    Whatever it is: `sys.exit` in a function, or Ctrl-C as a library passes it on, is an error of
    that function, and must end neither the worker nor the program without a word.
    """
    if isinstance(error, (MillstreamError, RunEnded)):
        raise error
    raise user_error(error, place) from error


class RunEnded(BaseException):
    """What a backend raises in user code whose run has ended; it passes through all of it."""


class ForeignError(Exception):
    """Stands in for a user's exception that cannot be pickled; its text names the real type."""


def name_of(function: Any) -> str:
    """Returns the name of a function, class, method, partial or callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return str(name)


def user_error(error: BaseException, where: str) -> UserCodeError:
    """Tells a user's exception, with its traceback as the user would see it without millstream.

    Args:
        error: What user code raised.
        where: What it happened in, such as "batch 3".
    """
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return UserCodeError(f"{where} raised {told}\n\n{user_traceback(error)}")


def internal_error(error: BaseException, operator: str) -> MillstreamError:
    """Tells an exception that no user code raised."""
    told = "".join(traceback.format_exception(error)).rstrip()
    return MillstreamError(
        f"millstream itself failed, which is a bug; please report it with this traceback\n\n{told}",
        operator=operator,
    )


def user_traceback(error: BaseException) -> str:
    """Formats an exception with its causes, without the frames that are not the user's."""
    told = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = told
    seen: set[int] = set()
    queue = [part]
    while queue:
        part = queue.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        own = [frame for frame in part.stack if not _is_ours(frame.filename)]
        if own:
            part.stack = traceback.StackSummary.from_list(own)
        queue += [part.__cause__, part.__context__]
    return "".join(told.format()).rstrip()


def without_our_frames(error: BaseException) -> BaseException:
    """Drops the frames before the user's from an exception's traceback, in place."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return error.with_traceback(trace) if trace is not None else error


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OUR_FOLDERS)


class _LoopThread:
    """An event loop on a thread of its own, until it is stopped or this object is collected."""

    def __init__(self) -> None:
        # Loaded where it is needed, since it takes longer to load than a small pipeline to run.
        import asyncio

        self._loop = asyncio.new_event_loop()
        threading.Thread(
            target=_run_loop, args=(self._loop,), name="millstream-async", daemon=True
        ).start()
        self.stop = weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def submit(self, awaitable: Awaitable[Any]) -> _Future:
        import asyncio

        async def settle() -> Any:
            try:
                return await awaitable
            except (KeyboardInterrupt, SystemExit) as error:
                # They would end the event loop, and nobody would have a result.
                return _Raised(error)

        return asyncio.run_coroutine_threadsafe(settle(), self._loop)

    def iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    item = _result(self.submit(items.__anext__()))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                self.submit(close()).result()


def _closed(*_: object) -> NoReturn:
    raise RuntimeError("the function was called after it was closed")


@dataclass(frozen=True)
class _Raised:
    """An exception in the place of a result."""

    error: BaseException


def _result(future: _Future) -> Any:
    result = future.result()
    if isinstance(result, _Raised):
        raise result.error
    return result


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    loop.run_forever()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        # Those that were cancelled have yet to end; asyncio would tell the user so.
        loop.run_until_complete(asyncio.wait(left, timeout=_CANCEL_GRACE_S))
    loop.close()


_Future = Any
_END = object()
# So many coroutines of one function run at a time; each holds its input.
_COROUTINES_MAX = 16
# How long coroutines may take to end once they are cancelled.
_CANCEL_GRACE_S = 1.0
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__))
_OUR_FOLDERS = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
    os.path.join(_LIBRARY, "asyncio", ""),
    os.path.join(_LIBRARY, "concurrent", ""),
)
