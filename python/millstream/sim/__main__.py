"""The command line of the simulator: `python -m millstream.sim`.

Owns the words in and out. What is simulated is the package's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from millstream import _core
from millstream.errors import MillstreamError
from millstream.sim import (
    bench,
    cluster_workloads,
    jittered_workloads,
    least_workloads,
    replay,
    scale_workloads,
    spread_workloads,
    swarm,
    tables,
    workloads,
)
from millstream.sim.simulation import run


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
    except (_core.OracleError, _core.ReplayError, MillstreamError, ValueError, OSError) as error:
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

    command = commands.add_parser("run", help="simulate a world that is written down as JSON")
    command.add_argument("world", help="the file; a failing seed prints such a world")
    command.set_defaults(run=_run)

    command = commands.add_parser("replay", help="compare a recorded trace with the scheduler")
    command.add_argument("trace", help="the file that was recorded")
    command.set_defaults(run=_replay)

    command = commands.add_parser("workloads", help="simulate the published workloads")
    command.add_argument("--json", action="store_true", help="as JSON, for programs")
    variant = command.add_mutually_exclusive_group()
    variant.add_argument("--half", action="store_true", help="with half of the memory")
    variant.add_argument("--least", action="store_true", help="with the least that can drain")
    variant.add_argument(
        "--jitter",
        action="store_true",
        help="with durations and sizes that vary by 0.2, 3 and 20 %%, 20 seeds each",
    )
    variant.add_argument(
        "--spread",
        action="store_true",
        help="on several nodes with the same slots and memory together, 5 seeds each",
    )
    command.set_defaults(run=_workloads)

    command = commands.add_parser("bench", help="measure what the scheduler costs (a minute)")
    command.add_argument("--json", action="store_true", help="as JSON, for programs")
    command.add_argument("--nodes", type=int, default=1_000, help="nodes of ten workers each")
    command.add_argument("--blocks", type=int, default=1_000_000, help="blocks that are made")
    command.set_defaults(run=_bench)
    return parser


def _swarm(options: argparse.Namespace) -> list[str]:
    if options.trace is not None:
        report = json.loads(_core.run_seed(options.first, trace=options.trace))
        return [json.dumps(report, indent=2)]
    summary = swarm(options.seeds, options.first)
    counts = ", ".join(f"{count} {name}" for name, count in summary.items())
    return [f"{options.seeds} seeds from {options.first}: {counts}"]


def _run(options: argparse.Namespace) -> list[str]:
    return [repr(run(json.loads(Path(options.world).read_bytes())))]


def _replay(options: argparse.Namespace) -> list[str]:
    replayed = replay(options.trace)
    words = f"{replayed['turns']} turns, {replayed['events']} events, {replayed['actions']} actions"
    ending = "" if replayed["is_done"] else "; the run was not at its end"
    cut = "; the last line is cut off" if replayed["is_cut"] else ""
    return [f"identical: {words}{ending}{cut}"]


def _workloads(options: argparse.Namespace) -> list[str]:
    if options.jitter:
        jittered = [outcome for spread in _SPREADS for outcome in jittered_workloads(spread)]
        lines = [tables.JITTERED_HEADER, *map(tables.jittered_line, jittered)]
        return [json.dumps(jittered, indent=2)] if options.json else lines
    if options.spread:
        spread = spread_workloads()
        lines = [tables.SPREAD_HEADER, *map(tables.spread_line, spread)]
        return [json.dumps(spread, indent=2)] if options.json else lines
    if options.least:
        least = least_workloads()
        lines = [
            tables.HEADER,
            *(line for outcome in least for line in tables.least_lines(outcome)),
        ]
        return [json.dumps(least, indent=2)] if options.json else lines
    # What memory the scheduler takes can be seen only before others have used as much.
    scale = [] if options.half else scale_workloads()
    outcomes = workloads("half" if options.half else "exact")
    lines = [tables.HEADER, *map(tables.workload_line, outcomes)]
    if not options.half:
        clusters = cluster_workloads() + scale
        outcomes += clusters
        lines += [line for outcome in clusters for line in tables.cluster_lines(outcome)]
    return [json.dumps(outcomes, indent=2)] if options.json else lines


def _bench(options: argparse.Namespace) -> list[str]:
    cost = bench(options.nodes, options.blocks)
    return [json.dumps(cost, indent=2)] if options.json else tables.cost_lines(cost)


# Equal durations hide bad phases; the least spread is just enough to break them.
_SPREADS = (0.002, 0.03, 0.2)

if __name__ == "__main__":
    sys.exit(main())
