"""Where there is no place for a progress display, a run gives its rows without one."""

from __future__ import annotations

import io
import sys
import threading

import pytest
from pipelines import wait_until

import millstream as ms
from millstream.context import DataContext
from millstream.observe import display, watch


class Breaking(io.StringIO):
    """Takes some writes, then fails."""

    def __init__(self, writes, error, terminal=False):
        super().__init__()
        self.writes = writes
        self.error = error
        self.terminal = terminal

    def write(self, text):
        self.writes -= 1
        if self.writes < 0:
            raise self.error
        return super().write(text)

    def isatty(self):
        return self.terminal


OUTPUTS = {
    "None": lambda: None,
    "closed": lambda: Breaking(0, ValueError("I/O operation on closed file")),
    "a broken pipe": lambda: Breaking(0, BrokenPipeError("Broken pipe")),
    "a pipe that breaks": lambda: Breaking(3, BrokenPipeError("Broken pipe")),
    "a terminal that is gone": lambda: Breaking(0, OSError(5, "I/O error"), terminal=True),
    "a terminal that goes": lambda: Breaking(9, OSError(5, "I/O error"), terminal=True),
}


@pytest.fixture(autouse=True)
def shown_at_once(monkeypatch):
    monkeypatch.setattr(watch, "_SAMPLE_EVERY_S", 0.001)
    monkeypatch.setattr(watch, "_SHOWN_FROM_S", 0.0)
    monkeypatch.setattr(display, "_LOG_EVERY_S", 0.0)
    monkeypatch.setattr(DataContext, "_current", DataContext(backend="local"))


@pytest.mark.parametrize("output", OUTPUTS)
def test_broken_output_costs_no_rows(output, monkeypatch):
    monkeypatch.setattr(sys, "stderr", OUTPUTS[output]())

    def held(row):
        wait_until(lambda: ds._watch is not None and ds._watch._open_display is None)
        return row

    ds = ms.range(3, override_num_blocks=1).map(held)
    assert ds.take_all() == [{"id": 0}, {"id": 1}, {"id": 2}]
    assert "Finished after" in ds.stats()
    # Nothing of the broken one is in the way of the next.
    assert display._drawing.acquire(blocking=False)
    display._drawing.release()


def test_output_that_breaks_at_the_end_costs_no_rows(monkeypatch):
    output = Breaking(10**6, BrokenPipeError("Broken pipe"))
    monkeypatch.setattr(sys, "stderr", output)

    def held(row):
        wait_until(output.getvalue)
        output.writes = 0
        return row

    assert ms.range(1).map(held).take_all() == [{"id": 0}]


def test_output_that_nobody_takes_holds_no_run_up(monkeypatch):
    monkeypatch.setattr(watch, "_STUCK_S", 0.05)
    stuck, go_on = threading.Event(), threading.Event()

    class Full(io.StringIO):
        def write(self, text):
            stuck.set()
            go_on.wait(60)
            return super().write(text)

    monkeypatch.setattr(sys, "stderr", Full())
    assert ms.range(1).map(lambda row: row if stuck.wait(10) else None).take_all() == [{"id": 0}]
    go_on.set()
