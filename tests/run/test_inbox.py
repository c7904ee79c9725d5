"""News for the driver: in order, when it is woken, and with how long it waited."""

from __future__ import annotations

import queue
import threading

import pytest

from millstream._core import Event
from millstream.run import inbox
from millstream.run.inbox import Inbox


def test_what_was_left_is_taken_in_order():
    box = Inbox()
    for number in range(3):
        box.put(number, can_wait=number == 1)
    assert box.take(0) == [0, 1, 2]
    assert box.take(0) == []


@pytest.mark.parametrize("can_wait", [False, True])
def test_a_wake_up_is_no_news(can_wait):
    box = Inbox()
    box.wake(can_wait=can_wait)
    assert box.take(None) == []
    assert box.with_delay([Event.TimePassed()]) == [Event.TimePassed()]


@pytest.mark.parametrize("can_wait", [False, True])
def test_a_wait_ends_with_the_first_news_of_any_kind(can_wait):
    box = Inbox()
    taken = queue.SimpleQueue()

    def take():
        for _ in range(20):
            taken.put(box.take(None))

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    for number in range(20):
        box.put(number, can_wait=can_wait)
        assert taken.get(timeout=10) == [number]
    taker.join(10)
    assert not taker.is_alive()


def test_nothing_is_lost_or_taken_twice_of_many_threads():
    box = Inbox()
    threads = [
        threading.Thread(
            target=lambda first: [
                box.put(number, can_wait=number % 7 > 0) for number in range(first, first + 500)
            ],
            args=[first],
        )
        for first in range(0, 2000, 500)
    ]
    for thread in threads:
        thread.start()
    taken = []
    while len(taken) < 2000:
        some = box.take(10)
        assert some, "all that is left before or during a wait ends it"
        taken += some
    assert sorted(taken) == list(range(2000))
    assert box.take(0) == []


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self):
        self.now_ns = 10**9
        self.waited_ns = []

    def monotonic_ns(self):
        return self.now_ns


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()

    class Bell(queue.SimpleQueue):
        def get(self, timeout=None):
            if not self.empty():
                return super().get()
            assert timeout is not None, "nobody would wake it"
            clock.waited_ns.append(round(timeout * 1e9))
            clock.now_ns += clock.waited_ns[-1]
            raise queue.Empty

    monkeypatch.setattr(inbox.time, "monotonic_ns", clock.monotonic_ns)
    monkeypatch.setattr(inbox.queue, "SimpleQueue", Bell)
    return clock


def test_what_can_wait_lies_until_a_millisecond_after_the_last_look(clock):
    box = Inbox()
    box.put("first", can_wait=True)
    assert box.take(5) == ["first"]
    assert clock.waited_ns == []
    clock.now_ns += 300_000
    box.put("soon", can_wait=True)
    assert box.take(5) == ["soon"]
    assert clock.waited_ns == [700_000]
    clock.now_ns += 5_000_000
    box.put("late", can_wait=True)
    assert box.take(5) == ["late"]
    assert clock.waited_ns == [700_000]


def test_what_cannot_wait_takes_the_rest_along(clock):
    box = Inbox()
    box.take(0)
    clock.waited_ns.clear()
    box.put("can", can_wait=True)
    box.put("cannot")
    assert box.take(5) == ["can", "cannot"]
    assert clock.waited_ns == []


def test_no_wait_is_longer_than_asked_for(clock):
    box = Inbox()
    box.take(0)
    clock.waited_ns.clear()
    box.put("soon", can_wait=True)
    assert box.take(0.0002) == ["soon"]
    assert clock.waited_ns == [200_000]
    assert box.take(3) == []
    assert clock.waited_ns == [200_000, 3_000_000_000]


def test_the_wait_of_the_oldest_news_that_could_not_wait_is_told(clock):
    box = Inbox()
    box.put("can", can_wait=True)
    clock.now_ns += 1_000_000
    box.put("old")
    clock.now_ns += 4_000_000
    box.put("new")
    clock.now_ns += 4_000_000
    box.take(0)
    assert box.with_delay([Event.TimePassed()]) == [Event.TurnDelayed(8_000), Event.TimePassed()]
    box.put("at once")
    clock.now_ns += 10_000
    box.take(0)
    assert box.with_delay([Event.TimePassed()]) == [Event.TimePassed()], "10 us are no delay"
    box.put("can", can_wait=True)
    clock.now_ns += 4_000_000
    box.take(0)
    assert box.with_delay([Event.TimePassed()]) == [Event.TimePassed()]
