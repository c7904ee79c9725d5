"""The command line of the simulator: `python -m millstream.sim`.

Owns the words in and out. What is simulated is the package's.
"""

from __future__ import annotations

import argparse
import json
import sys

from millstream import _core
from millstream.sim import WorkloadOutcome, replay, swarm, workloads


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The words after the program's name; those of the process by default.

    Returns:
        The exit status: 1 if an oracle is violated or a replay differs.
    """
    options = _parser().parse_args(arguments)
    try:
        lines = options.run(options)
    except (_core.OracleError, _core.ReplayError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m millstream.sim", description=main.__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("swarm", help="simulate random worlds under the oracles")
    command.add_argument("--seeds", type=int, default=1_000, help="how many worlds")
    command.add_argument("--first", type=int, default=0, help="the first seed")
    command.add_argument("--trace", help="write the trace of the first seed, and run only that")
    command.set_defaults(run=_swarm)

    command = commands.add_parser("replay", help="compare a recorded trace with the scheduler")
    command.add_argument("trace", help="the file that was recorded")
    command.set_defaults(run=_replay)

    command = commands.add_parser("workloads", help="simulate the published workloads")
    command.add_argument("--json", action="store_true", help="as JSON, for programs")
    command.set_defaults(run=_workloads)
    return parser


def _swarm(options: argparse.Namespace) -> list[str]:
    if options.trace is not None:
        report = json.loads(_core.run_seed(options.first, trace=options.trace))
        return [json.dumps(report, indent=2)]
    summary = swarm(options.seeds, options.first)
    counts = ", ".join(f"{count} {name}" for name, count in summary.items())
    return [f"{options.seeds} seeds from {options.first}: {counts}"]


def _replay(options: argparse.Namespace) -> list[str]:
    replayed = replay(options.trace)
    words = f"{replayed['turns']} turns, {replayed['events']} events, {replayed['actions']} actions"
    ending = "" if replayed["is_done"] else "; the run was not at its end"
    cut = "; the last line is cut off" if replayed["is_cut"] else ""
    return [f"identical: {words}{ending}{cut}"]


def _workloads(options: argparse.Namespace) -> list[str]:
    outcomes = workloads()
    if options.json:
        return [json.dumps(outcomes, indent=2)]
    header = (
        f"{'workload':26} {'memory':>7} {'makespan':>9} {'bound':>7} {'best':>7} {'ratio':>6} "
        f"{'over limit':>10} {'spilled':>8}"
    )
    return [header, *map(_workload_line, outcomes)]


def _workload_line(outcome: WorkloadOutcome) -> str:
    memory, over, spilled = (
        size / _GB
        for size in (
            outcome["memory_bytes"],
            outcome["peak_over_limit_bytes"],
            outcome["spilled_bytes"],
        )
    )
    return (
        f"{outcome['name']:26} {memory:4.1f} GB {outcome['makespan_s']:7.1f} s "
        f"{outcome['bound_s']:7.1f} {outcome['best_known_s']:7.1f} {outcome['ratio']:6.3f} "
        f"{over:7.1f} GB {spilled:5.1f} GB"
    )


_GB = 1e9

if __name__ == "__main__":
    sys.exit(main())
