"""Runs a benchmark's contestants in turn, each time in a process and a Ray cluster of its own.

Owns the order of runs, the clusters, and the report. Knows nothing of what is measured: a
contestant is a function that returns numbers by name.

A round runs every contestant once, so that whatever else the machine does meets all of them. The
report has the least, the median and the most of the rounds, the versions and the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Its modules may be used by benchmarks and by the workers that they start.
EXAMPLES = str(Path(__file__).parents[1] / "examples")
sys.path.append(EXAMPLES)

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Cluster:
    """What the Ray cluster of a run has. CPUs and GPUs are logical.

    Args:
        cpus: Slots for CPU tasks.
        gpus: Slots for GPU actors.
        store_bytes: Shared memory for blocks.
    """

    cpus: int
    gpus: int = 0
    store_bytes: int = 1_000_000_000

    @contextmanager
    def running(self) -> Iterator[None]:
        """Starts it, and stops it at the end."""
        import ray

        ray.init(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            object_store_memory=self.store_bytes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        try:
            yield
        finally:
            ray.shutdown()


@dataclass(frozen=True)
class Benchmark:
    """Contestants, and what is compared between them.

    Args:
        name: What people call it.
        contestants: The function of each; it is called in a process of its own.
        units: The unit of each number that the contestants return.
        pairs: Contestants whose medians are compared, the one in question first.
        by: The number that is compared.
    """

    name: str
    contestants: Mapping[str, Callable[[], Numbers]]
    units: Mapping[str, str]
    pairs: Sequence[tuple[str, str]]
    by: str = "wall"

    def main(self) -> None:
        """Runs what the command line asks for."""
        arguments = self._arguments()
        if arguments.child:
            print(RESULT, json.dumps(dict(self.contestants[arguments.child]())))
            return
        report = self._run(arguments.only or list(self.contestants), arguments.rounds)
        self._print(report)
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")

    def _arguments(self) -> argparse.Namespace:
        parser = argparse.ArgumentParser(description=self.name)
        parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant")
        parser.add_argument("--only", action="append", choices=list(self.contestants))
        parser.add_argument("--json", metavar="FILE", help="where to write the report")
        parser.add_argument("--child", choices=list(self.contestants), help=argparse.SUPPRESS)
        return parser.parse_args()

    def _run(self, names: Sequence[str], rounds: int) -> dict[str, Any]:
        found = machine()
        runs: list[dict[str, Any]] = []
        for number in range(rounds):
            for name in names:
                numbers = _in_own_process(name)
                runs.append({"round": number, "contestant": name, **numbers})
                print(f"round {number + 1} of {rounds}, {name}: {_words(numbers, self.units)}")
        return {"benchmark": self.name, "machine": found, "runs": runs}

    def _print(self, report: Mapping[str, Any]) -> None:
        print(f"\n{self.name} on {_line(report['machine'])}")
        names = list(dict.fromkeys(run["contestant"] for run in report["runs"]))
        medians: dict[tuple[str, str], float] = {}
        for quantity, unit in self.units.items():
            for name in names:
                values = _values(report["runs"], name, quantity)
                if values:
                    medians[quantity, name] = statistics.median(values)
                    print(f"  {quantity:18} {name:26} {_span(values)} {unit}")
        for subject, peer in self.pairs:
            mine, other = (medians.get((self.by, name)) for name in (subject, peer))
            if mine and other:
                print(f"  {self.by} of {subject} / {peer}: {mine / other:.3f}")


def machine() -> dict[str, Any]:
    """The versions and the machine, as they belong beside each number."""
    return {
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "processor": _processor(),
        "system": platform.platform(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{package: _version(package) for package in ("millstream", "ray", "pyarrow", "numpy")},
    }


def use_of_store(meter: Any) -> dict[str, float]:
    """What a `StoreMeter` found, in the names and units of the reports."""
    use = asdict(meter.use())
    return {
        "store peak": use["peak_bytes"] / 1e6,
        "spilled": use["spilled_bytes"] / 1e6,
    }


@contextmanager
def quiet_peer() -> Iterator[Any]:
    """Ray Data's settings, with all that it prints switched off."""
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    yield context


STORE_UNITS = {"store peak": "MB", "spilled": "MB"}
RESULT = "RESULT"


def by_daft(module: str, measured: str) -> Numbers:
    """Runs a benchmark of Daft in an environment of its own, by the Python of `DAFT_PYTHON`.

    Args:
        module: The benchmark's module.
        measured: Code that makes the numbers, with the module at hand; each must be a number.
    """
    code = f"import json, {module}; print('RESULT', json.dumps({measured}))"
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [os.environ["DAFT_PYTHON"], "-c", code],
        env={**os.environ, "PYTHONPATH": folder, "DAFT_PROGRESS_BAR": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(lines[0].removeprefix("RESULT "))


def _in_own_process(name: str) -> dict[str, float]:
    command = [sys.executable, sys.argv[0], "--child", name]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [EXAMPLES, os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    started_s = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(RESULT):
            numbers: dict[str, float] = json.loads(line.removeprefix(RESULT))
            return {**numbers, "whole process": time.monotonic() - started_s}
    raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-8000:]}")


def _values(runs: Sequence[Mapping[str, Any]], name: str, quantity: str) -> list[float]:
    return [run[quantity] for run in runs if run["contestant"] == name and quantity in run]


def _span(values: Sequence[float]) -> str:
    least, middle, most = min(values), statistics.median(values), max(values)
    return f"min {least:9.3f}  median {middle:9.3f}  max {most:9.3f}"


def _words(numbers: Numbers, units: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {numbers[name]:.3f} {unit}" for name, unit in units.items() if name in numbers
    )


def _line(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
