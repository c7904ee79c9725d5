"""Progress displays: live on a terminal or in a notebook, or plain log lines.

Owns where and how often progress is shown. Knows the lines (`progress`), and nothing of how a run
works: it is given snapshots.
"""

from __future__ import annotations

import sys
import threading
from html import escape
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from millstream._core import Snapshot
from millstream.observe.progress import Lines
from millstream.plan.physical import PhysicalPlan

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


class Display(Protocol):
    """Something that shows how a run goes."""

    def show(self, elapsed_s: float, snapshot: Snapshot) -> None:
        """Shows a moment."""

    def end(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> None:
        """Shows the last moment, and is done."""


def open_display(plan: PhysicalPlan, *, operators: bool, stream: TextIO | None = None) -> Display:
    """The display that fits where the output goes: live in a notebook or terminal, or log lines.

    Two displays cannot draw on one terminal: while one does, others write log lines.

    Args:
        plan: What runs.
        operators: Whether each operator has a line.
        stream: Where to write; by default standard error.
    """
    if stream is None and _is_notebook():
        return NotebookDisplay(plan, operators)
    from rich.console import Console

    console = Console(file=stream, stderr=stream is None)
    if console.is_terminal and _drawing.acquire(blocking=False):
        try:
            return LiveDisplay(plan, operators, console)
        except BaseException:
            _drawing.release()
            raise
    return LogDisplay(plan, operators, stream or sys.stderr)


class LiveDisplay:
    """Lines on a terminal that are drawn over and stay when the run ends."""

    def __init__(self, plan: PhysicalPlan, operators: bool, console: Console) -> None:
        from rich.live import Live

        self._lines = Lines(plan, operators)
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, elapsed_s: float, snapshot: Snapshot) -> None:
        """Draws a moment."""
        self._live.update(self._drawn(elapsed_s, snapshot, "running"), refresh=True)

    def end(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> None:
        """Draws the last moment."""
        try:
            self._live.update(self._drawn(elapsed_s, snapshot, outcome), refresh=True)
        finally:
            try:
                self._live.stop()
            finally:
                _drawing.release()

    def _drawn(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> Text:
        from rich.text import Text

        (usage, meter), operators = self._lines.at(elapsed_s, snapshot, outcome)
        text = Text(no_wrap=True, overflow="ellipsis")
        is_narrow = len(usage) + 1 + len(meter) > self._console.width
        text.append(usage, "bold").append("\n  " if is_narrow else " ").append(meter, "bold")
        for line, verdict in operators:
            title, _, counts = line.rpartition("]: ")
            text.append(f"\n  {title}]", "cyan").append(f" {counts}")
            if verdict:
                text.append(f" · {verdict}", "dim")
        return text


class LogDisplay:
    """Plain lines, now and then, for output that nobody draws over."""

    def __init__(self, plan: PhysicalPlan, operators: bool, stream: TextIO) -> None:
        self._lines = Lines(plan, operators)
        self._stream = stream
        self._next_s = _LOG_EVERY_S

    def show(self, elapsed_s: float, snapshot: Snapshot) -> None:
        """Writes a moment, if it is time for one."""
        text = self._lines.text(elapsed_s, snapshot)
        if elapsed_s >= self._next_s:
            self._next_s = elapsed_s + _LOG_EVERY_S
            self._write(text)

    def end(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> None:
        """Writes the last moment, if there was one before."""
        if self._next_s > _LOG_EVERY_S:
            self._write(self._lines.text(elapsed_s, snapshot, outcome))

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class NotebookDisplay:
    """Lines below the cell; they stay when the run ends."""

    def __init__(self, plan: PhysicalPlan, operators: bool) -> None:
        from IPython.display import display  # type: ignore[import-not-found]

        self._lines = Lines(plan, operators)
        self._next_s = 0.0
        self._shown: Any = display(_Shown(""), display_id=True)

    def show(self, elapsed_s: float, snapshot: Snapshot) -> None:
        """Draws a moment, if the one before is old enough."""
        if elapsed_s >= self._next_s:
            self._next_s = elapsed_s + _DRAW_EVERY_S
            self._draw(elapsed_s, snapshot, "running")

    def end(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> None:
        """Draws the last moment."""
        self._draw(elapsed_s, snapshot, outcome)

    def _draw(self, elapsed_s: float, snapshot: Snapshot, outcome: str) -> None:
        self._shown.update(_Shown(self._lines.text(elapsed_s, snapshot, outcome)))


class _Shown:
    """Text as IPython asks for it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self._text)}</pre>"


def _is_notebook() -> bool:
    """Whether this process serves a notebook. IPython is not imported for it."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    # A shell in a terminal has no kernel.
    return getattr(shell, "kernel", None) is not None


#: Held by the display that draws.
_drawing = threading.Lock()
#: Log lines stay, so there are few of them.
_LOG_EVERY_S = 10.0
#: As often as a person reads it; each goes over the notebook's socket.
_DRAW_EVERY_S = 0.5
