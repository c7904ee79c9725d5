"""Watches a run from a thread of its own: feeds the display, and writes the report.

Owns the cadence. Knows nothing of how a run works: it is given a function that takes snapshots.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from millstream._core import Snapshot
from millstream.observe.display import Display
from millstream.observe.report import RunReport
from millstream.plan.physical import PhysicalPlan


class Watch:
    """Watches one run.

    Args:
        plan: What runs.
        snapshot: Takes a snapshot of the run, from any thread.
        open_display: Opens what shows the run, if it is long enough to be looked at; `None`:
            nothing shows it.
        started_s: When the run started, by `time.monotonic`; default now.
        notes: What is known beside the snapshot, from any thread.
    """

    def __init__(
        self,
        plan: PhysicalPlan,
        snapshot: Callable[[], Snapshot],
        open_display: Callable[[], Display] | None,
        *,
        started_s: float | None = None,
        notes: Callable[[], list[str]] = list,
    ) -> None:
        self._plan = plan
        self._snapshot = snapshot
        self._open_display = open_display
        self._notes = notes
        self._display: Display | None = None
        self._started_s = time.monotonic() if started_s is None else started_s
        self._first_block_s: float | None = None
        self._report: RunReport | None = None
        self._ending = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="millstream-watch", daemon=True)
        self._thread.start()

    def note_block(self) -> None:
        """Tells that the consumer has a block."""
        if self._first_block_s is None:
            self._first_block_s = self._elapsed_s()

    def report(self) -> RunReport:
        """The run as it is, or as it ended."""
        return self._report or self._reported("running")

    def end(self, outcome: str) -> RunReport:
        """Ends the watch, once; the first outcome stays.

        Args:
            outcome: `"finished"`, `"stopped"` or `"failed"`.
        """
        with self._ending:
            if self._report is None:
                self._ended.set()
                # A dropped run may be collected on this very thread.
                if threading.current_thread() is not self._thread:
                    self._thread.join(_STUCK_S)
                self._report = self._reported(outcome)
                self._end_display(outcome)
                # What took the snapshots can go now.
                self._snapshot = partial(getattr, self._report, "snapshot")
                self._notes = list
            return self._report

    def note_written(self, rows: int, files: int) -> None:
        """Tells what a write, whose run has ended, put in place."""
        if self._report is not None:
            self._report = replace(self._report, rows_written=rows, files_written=files)

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_EVERY_S):
            try:
                self._show(self._elapsed_s())
            except Exception:
                # Nobody may lose rows since there is no place to tell of them.
                _logger.debug("there is no progress display", exc_info=True)
                self._open_display = None
                self._end_display("failed")

    def _show(self, elapsed_s: float) -> None:
        if self._display is None and self._open_display and elapsed_s >= _SHOWN_FROM_S:
            self._display = self._open_display()
        if self._display is not None:
            self._display.show(elapsed_s, self._snapshot())

    def _end_display(self, outcome: str) -> None:
        display, self._display = self._display, None
        is_stuck = self._thread.is_alive() and threading.current_thread() is not self._thread
        if display is None or is_stuck:
            return
        try:
            display.end(self._elapsed_s(), self._snapshot(), outcome)
        except Exception:
            _logger.debug("the progress display has no end", exc_info=True)

    def _reported(self, outcome: str) -> RunReport:
        return RunReport(
            plan=self._plan,
            snapshot=self._snapshot(),
            wall_s=self._elapsed_s(),
            first_block_s=self._first_block_s,
            outcome=outcome,
            notes=tuple(self._notes()),
        )

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s


_logger = logging.getLogger(__name__)
#: How long a run waits for output that nobody takes.
_STUCK_S = 1.0
#: Often enough for a display, seldom enough to cost nothing.
_SAMPLE_EVERY_S = 0.1
#: A run that ends sooner needs no display.
_SHOWN_FROM_S = 0.5
