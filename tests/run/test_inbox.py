"""News for the driver: in order, and with how long it waited."""

from __future__ import annotations

from millstream._core import Event
from millstream.run import inbox
from millstream.run.inbox import Inbox


def test_what_was_left_is_taken_in_order():
    box = Inbox()
    for number in range(3):
        box.put(number)
    assert box.take(0) == [0, 1, 2]
    assert box.take(0) == []


def test_a_wake_up_is_no_news():
    box = Inbox()
    box.wake()
    assert box.take(None) == []
    assert box.with_delay([Event.TimePassed()]) == [Event.TimePassed()]


def test_the_wait_of_the_oldest_news_is_told(monkeypatch):
    now = iter([1_000_000, 5_000_000, 9_000_000, 9_050_000, 9_060_000])
    monkeypatch.setattr(inbox.time, "monotonic_ns", lambda: next(now))
    box = Inbox()
    box.put("old")
    box.put("new")
    box.take(0)
    assert box.with_delay([Event.TimePassed()]) == [Event.TurnDelayed(8_000), Event.TimePassed()]
    box.put("at once")
    box.take(0)
    assert box.with_delay([Event.TimePassed()]) == [Event.TimePassed()], "10 us are no delay"
