"""Numbers read well at every size."""

from __future__ import annotations

import pytest

from millstream.observe import text


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (33.2 * 2**30, "33.2 GiB"),
        (2**20 - 1, "1.0 MiB"),
        (2**50 * 5000, "5000.0 PiB"),
    ],
)
def test_bytes(count, shown):
    assert text.bytes_text(count) == shown


@pytest.mark.parametrize(
    ("seconds", "clock", "span"),
    [
        (0.031, "00:00", "31 ms"),
        (1.349, "00:01", "1.35 s"),
        (99.4, "01:39", "99.4 s"),
        (100, "01:40", "01:40 min"),
        (7384, "2:03:04", "2:03:04 h"),
    ],
)
def test_durations(seconds, clock, span):
    assert (text.clock_text(seconds), text.span_text(seconds)) == (clock, span)


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(0.0371, "0.04"), (3.714, "3.71"), (37.14, "37.1"), (371.4, "371"), (37140, "37,100")],
)
def test_rates(rate, shown):
    assert text.rate_text(rate) == shown


def test_amounts_have_no_needless_zeros():
    shown = [text.number_text("CPU", amount) for amount in (2.0, 0.5, 0.001, 0)]
    assert shown == ["2", "0.5", "0.001", "0"]


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "     "), (0.28, "█▍   "), (1, "█████"), (1.7, "█████"), (-1, "     ")]
)
def test_bars_are_filled_in_eighths(share, shown):
    assert text.bar_text(share, 5) == shown


def test_memory_is_an_amount_of_bytes():
    assert text.amount_text("memory", 8 << 30) == "8.0 GiB memory"
    assert text.amount_text("tpu", 0.5) == "0.5 tpu"
