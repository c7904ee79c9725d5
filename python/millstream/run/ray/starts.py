"""What has been sent to Ray and has not begun yet, for how long, and when that is an error.

Owns the times. Must not know Ray, nor why something does not begin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import starmap
from typing import NamedTuple, TypeAlias

from millstream.observe.text import amount_text, number_text
from millstream.plan.physical import PhysicalOp

Amounts: TypeAlias = Mapping[str, float]


class Waiting(NamedTuple):
    """Work that has not begun.

    Args:
        op: Its operator.
        node: Where it was sent.
        for_s: How long ago.
    """

    op: int
    node: int
    for_s: float


class Starts:
    """The tasks and actors of a run that Ray has been sent, until they begin.

    Args:
        timeout_s: How long a run may wait of which nothing begins or is at work; None: for ever.
        now: The time in seconds.
    """

    def __init__(
        self, timeout_s: float | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._timeout_s = timeout_s
        self._now = now
        self._sent: dict[tuple[str, int], tuple[int, int, float]] = {}
        self._signs: dict[int, float] = {}
        self._latest = now()

    def sent(self, kind: str, number: int, op: int, node: int) -> None:
        """Takes note of a task or actor that Ray has been sent."""
        self._sent[kind, number] = (op, node, self._now())

    def begun(self, kind: str, number: int) -> None:
        """It has begun, or something else was heard of it. Idempotent."""
        self._latest = self._now()
        found = self._sent.pop((kind, number), None)
        if found is not None:
            self._signs[found[0]] = self._latest

    def gone(self, kind: str, number: int) -> None:
        """Nobody wants it any more. Idempotent."""
        self._sent.pop((kind, number), None)

    def is_waiting(self, kind: str, number: int) -> bool:
        """Whether it has not begun."""
        return (kind, number) in self._sent

    def is_lively(self, op: int) -> bool:
        """Whether something of an operator has begun a moment ago, so that more will."""
        return self._now() - self._signs.get(op, float("-inf")) < _LIVELY_S

    def waiting(self) -> list[Waiting]:
        """All that has not begun."""
        now = self._now()
        return [Waiting(op, node, now - since) for op, node, since in self._sent.values()]

    def late(self) -> list[Waiting]:
        """What waits for longer than starts take: the longest wait of each operator."""
        oldest: dict[int, Waiting] = {}
        for waiting in self.waiting():
            if waiting.for_s >= LATE_S:
                known = oldest.get(waiting.op, waiting)
                oldest[waiting.op] = max(known, waiting, key=lambda each: each.for_s)
        return [oldest[op] for op in sorted(oldest)]

    def overdue(self, *, is_at_work: bool) -> Waiting | None:
        """What waits for longer than it may, if nothing has been heard of the run for so long.

        Args:
            is_at_work: Whether something of the run works, or it is the consumer's turn.
        """
        if is_at_work:
            self._latest = self._now()
        if self._timeout_s is None or self._now() - self._latest < self._timeout_s:
            return None
        longest = max(self.waiting(), key=lambda waiting: waiting.for_s, default=None)
        return longest if longest is not None and longest.for_s >= self._timeout_s else None


def shortage(
    op: PhysicalOp, node: str, *, has: Amounts, free: Amounts, held: Amounts, sent: Amounts
) -> str:
    """Why something of an operator does not begin, as far as can be seen.

    Args:
        op: The operator.
        node: Where it is to run, in words.
        has: What the node has, by the names that operators use.
        free: What of that is free.
        held: What of that is held by what the run has begun there.
        sent: What is asked for there by what the run has sent and has not begun. Ray may hold some
            of it already, while it starts processes.
    """
    wanted = op.resources.amounts()
    lacking = []
    for name, amount in wanted.items():
        if name in has and free.get(name, 0.0) < amount:
            own, unsure = held.get(name, 0.0), sent.get(name, 0.0)
            rest = max(0.0, has[name] - free.get(name, 0.0) - own)
            others, either = max(0.0, rest - unsure), min(rest, unsure)
            said = partial(number_text, name)
            by = f"{said(own)} held by this run, {said(others)} by others"
            if either:
                by += f", {said(either)} by others or by processes that Ray starts for it"
            there = f"{said(free.get(name, 0.0))} of {amount_text(name, has[name])}"
            lacking.append(f"{there} are free ({by})")
    needs = ", ".join(starmap(amount_text, wanted.items()))
    if lacking:
        told = f"it needs {needs}, but on {node} {' and '.join(lacking)}"
    else:
        told = f"what it needs ({needs}) is free on {node}, but Ray has started no worker"
    if "runtime_env" in op.ray_remote_args:
        told += "; its runtime_env may be slow to set up, or name a Python that is not there"
    return told


#: Starts take less than this, but on a machine with more to do than it can.
LATE_S = 8.0
#: How recent an operator's last start must be for those sent now to be taken for granted.
_LIVELY_S = 1.0
