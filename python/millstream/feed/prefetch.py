"""Makes items of an iterator ready ahead of their consumer, on one thread.

Must not know what the items are.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Room(Generic[T]):
    """How many bytes of items may be ready: once there are so many, no more are made.

    Args:
        bytes_max: So many.
        bytes_of: Those of an item.
    """

    bytes_max: int
    bytes_of: Callable[[T], int]


def prefetch(
    source: Iterator[T],
    ahead: int,
    stop: Callable[[], None] | None = None,
    *,
    is_light: Callable[[T], bool] = lambda _: False,
    room: Room[T] | None = None,
) -> Iterator[T]:
    """Yields the items of an iterator, in order, while a thread makes up to `ahead` more ready.

    An error of the source is raised where its item would have been. When the consumer leaves,
    the thread ends after the item that it is at, and the source is closed.

    Args:
        source: Used by the thread only, and closed at its end if it has a `close`.
        ahead: How many items to make ready; 0 uses no thread.
        stop: Called when the consumer leaves before the end; must make a blocked source return.
        is_light: Which items are so small that up to 64 of them count as one: to hand over each by
            itself would cost more than what is in it.
        room: How many bytes of items to make ready; `None`: any number.
    """
    if ahead == 0:
        return _inline(source, stop)
    return _threaded(source, _Shelf(ahead, is_light, room), stop)


def _inline(source: Iterator[T], stop: Callable[[], None] | None) -> Iterator[T]:
    ended = False
    try:
        yield from source
        ended = True
    finally:
        if not ended and stop is not None:
            stop()
        _close(source)


def _threaded(
    source: Iterator[T], shelf: _Shelf[T], stop: Callable[[], None] | None
) -> Iterator[T]:
    # The thread holds the shelf and the source, never this generator: it must be collectable.
    thread = threading.Thread(
        target=_fill, args=(shelf, source), name="millstream-prefetch", daemon=True
    )
    thread.start()
    ended = False
    try:
        while True:
            found, item = shelf.take()
            if not found:
                ended = True
                return
            # `item` is None in `_Shelf.take` only if nothing was found.
            yield item  # type: ignore[misc]
            del item
    finally:
        shelf.leave()
        if not ended and stop is not None:
            stop()


def _fill(shelf: _Shelf[T], source: Iterator[T]) -> None:
    error: BaseException | None = None
    try:
        while shelf.wait_for_room():
            try:
                item = next(source)
            except StopIteration:
                break
            shelf.put(item)
            del item
    except BaseException as raised:  # noqa: BLE001 - it is raised again at the consumer
        error = raised
    try:
        _close(source)
    except BaseException as raised:  # noqa: BLE001 - as above
        error = error or raised
    shelf.end(error)


def _close(source: Iterator[T]) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()


class _Shelf(Generic[T]):
    """Where the thread puts items and the consumer takes them."""

    def __init__(self, ahead: int, is_light: Callable[[T], bool], room: Room[T] | None) -> None:
        self._free = ahead * _LIGHT_IN_ONE
        self._is_light = is_light
        self._room = room
        # Each with what it takes of the places, and its bytes.
        self._items: deque[tuple[T, int, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._left = False
        self._ended = False
        self._error: BaseException | None = None

    def wait_for_room(self) -> bool:
        """Waits until another item is wanted; False if the consumer has left."""
        with self._changed:
            self._changed.wait_for(lambda: self._left or self._has_room())
            return not self._left

    def _has_room(self) -> bool:
        has_bytes = self._room is None or self._bytes < self._room.bytes_max
        return self._free > 0 and (has_bytes or not self._items)

    def put(self, item: T) -> None:
        places = 1 if self._is_light(item) else _LIGHT_IN_ONE
        size = 0 if self._room is None else self._room.bytes_of(item)
        with self._changed:
            if not self._left:
                self._items.append((item, places, size))
                self._free -= places
                self._bytes += size
            self._changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def take(self) -> tuple[bool, T | None]:
        """Waits for the next item; raises the source's error after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended)
            if self._items:
                item, places, size = self._items.popleft()
                self._free += places
                self._bytes -= size
                self._changed.notify_all()
                return True, item
            if self._error is not None:
                raise self._error
            return False, None

    def leave(self) -> None:
        with self._changed:
            self._left = True
            self._items.clear()
            self._changed.notify_all()


#: How many light items count as one.
_LIGHT_IN_ONE = 64
