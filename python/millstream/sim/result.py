"""How a simulated run went.

Owns the shape of the answers and how they read. Knows nothing of what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from millstream.observe.text import bytes_text

Ending = Literal["completed", "failed", "stopped"]


@dataclass(frozen=True)
class Trace:
    """What went into the scheduler and what came out, as JSON lines; `replay` takes it.

    Args:
        lines: The header, then one line for each turn.
    """

    lines: bytes = field(repr=False)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes it to a file."""
        Path(path).write_bytes(self.lines)

    def __repr__(self) -> str:
        return f"<Trace of {self.lines.count(bytes([10])) - 1} turns>"


@dataclass(frozen=True)
class Hold:
    """A stretch of time in which an operator launched nothing for one reason.

    Attributes:
        operator: Its name.
        reason: For programs: `"MemoryReserved"`.
        words: For people, with the numbers at its beginning.
        from_s: When it began.
        until_s: When it ended.
    """

    operator: str
    reason: str
    words: str
    from_s: float
    until_s: float


@dataclass(frozen=True)
class OperatorTime:
    """What the workers of an operator did with their time, all together.

    Attributes:
        working_s: Time in which they worked.
        stalled_s: Time in which they held a finished block and waited for room.
    """

    working_s: float
    stalled_s: float


@dataclass(frozen=True)
class Simulation:
    """How a simulated run went.

    Attributes:
        ending: Whether all rows came out, the run failed, or it was stopped.
        failure: Why it failed; None if it did not.
        makespan_s: When it ended.
        rows_out: Rows that reached the consumer.
        utilisation: For each resource, the part of its time in which tasks worked on it.
        peak_bytes: For each machine, the most that lay in its object store.
        spilled_bytes: What did not fit and was written to disk, on all machines.
        overshoots: How often the scheduler let something pass the memory limit, and declared it.
        operators: What the workers of each operator did with their time, by name.
        holds: When and why operators launched nothing, in the order in which that ended.
        turns: Turns of the driver.
        events: Events in them.
        trace: The recorded run.
    """

    ending: Ending
    failure: str | None
    makespan_s: float
    rows_out: int
    utilisation: Mapping[str, float]
    peak_bytes: Mapping[int, int]
    spilled_bytes: int
    overshoots: int
    operators: Mapping[str, OperatorTime]
    holds: tuple[Hold, ...]
    turns: int
    events: int
    trace: Trace

    def held_s(self) -> dict[str, dict[str, float]]:
        """For each operator, the seconds for which each reason held it."""
        seconds: dict[str, dict[str, float]] = {name: {} for name in self.operators}
        for hold in self.holds:
            reasons = seconds[hold.operator]
            reasons[hold.reason] = reasons.get(hold.reason, 0.0) + hold.until_s - hold.from_s
        return seconds

    def __repr__(self) -> str:
        used = ", ".join(f"{name} {share:.0%}" for name, share in self.utilisation.items())
        peak = bytes_text(max(self.peak_bytes.values(), default=0))
        ending = self.ending if self.failure is None else f"{self.ending} ({self.failure})"
        return (
            f"<Simulation {ending} after {self.makespan_s:.3f} s: {self.rows_out} rows out; "
            f"used {used or 'nothing'}; at most {peak} on a node, "
            f"{bytes_text(self.spilled_bytes)} spilled>"
        )


def from_json(report: dict[str, Any], names: list[str], trace: bytes) -> Simulation:
    """The answer of Rust as a `Simulation`.

    Args:
        report: What Rust reports; times in microseconds.
        names: The operators.
        trace: The recorded run.
    """
    ending, failure = _ending(report["ending"])
    return Simulation(
        ending=ending,
        failure=failure,
        makespan_s=report["makespan"] / 1e6,
        rows_out=report["rows_out"],
        utilisation={
            resource["name"]: resource["worked"] / resource["available"]
            for resource in report["resources"]
        },
        peak_bytes={node["node"]: node["peak_bytes"] for node in report["nodes"]},
        spilled_bytes=sum(node["spilled_bytes"] for node in report["nodes"]),
        overshoots=report["overshoots"],
        operators={
            op["name"]: OperatorTime(op["working"] / 1e6, op["stalled"] / 1e6)
            for op in report["ops"]
        },
        holds=tuple(_hold(hold, names) for hold in report["holds"]),
        turns=report["turns"],
        events=report["events"],
        trace=Trace(trace),
    )


def _ending(ending: str | dict[str, Any]) -> tuple[Ending, str | None]:
    match ending:
        case {"Failed": cause}:
            return "failed", cause if isinstance(cause, str) else next(iter(cause))
        case "Stopped":
            return "stopped", None
        case _:
            return "completed", None


def _hold(hold: dict[str, Any], names: list[str]) -> Hold:
    reason = hold["reason"]
    return Hold(
        operator=names[hold["op"]],
        reason=reason if isinstance(reason, str) else next(iter(reason)),
        words=hold["words"],
        from_s=hold["from"] / 1e6,
        until_s=hold["until"] / 1e6,
    )
