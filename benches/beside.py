"""Another build beside this one, in turn: has anything become slower?

    python benches/beside.py --base COMMIT [--rounds 5] [--only NAME ...]

The base is a commit, which is checked out and built under target/beside, or a folder whose
extension is built. Each measurement is a process of its own: the contestants of the benches that
time millstream, on either tree's code, and each tree's own demo as a whole. Prints the commits of
both, and for each measurement the medians of the rounds and their ratio.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import EXAMPLES, RESULT, machine

HERE = Path(__file__).parent
#: Bench, contestant and number: what is compared.
MEASURED = {
    "small_blocks x1": ("small_blocks.py", "millstream x1", "wall"),
    "small_blocks x2": ("small_blocks.py", "millstream x2", "wall"),
    "hetero_sleep": ("hetero_sleep.py", "millstream", "wall"),
    "fixed_cost cold": ("fixed_cost.py", "millstream", "cold"),
    "fixed_cost warm": ("fixed_cost.py", "millstream", "warm"),
    "fixed_cost local": ("fixed_cost.py", "millstream local", "cold"),
}
DEMO = "demo"


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="the commit or the folder to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=[*MEASURED, DEMO])
    arguments = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    base = Path(arguments.base)
    trees = {
        "this": HERE.parent,
        "base": base.resolve() if base.is_dir() else _built(arguments.base),
    }
    for tree, folder in trees.items():
        print(f"{tree}: {_described(folder)}")
        # As it is installed: otherwise the larger one takes longer to load.
        compileall.compile_dir(folder / "python", quiet=1)
    for name in arguments.only or [*MEASURED, DEMO]:
        found: dict[str, list[float]] = {tree: [] for tree in trees}
        for number in range(arguments.rounds):
            # Whoever goes first goes second in the next round.
            order = list(trees) if number % 2 == 0 else list(reversed(trees))
            for tree in order:
                found[tree].append(_measured(name, trees[tree]))
        _print(name, found)


def _built(commit: str) -> Path:
    """A commit's tree with its extension, which is built with what is built already."""
    number = _output(["git", "rev-parse", "--short", f"{commit}^{{commit}}"], HERE.parent)
    target = HERE.parent / "target" / "beside"
    tree = target / number
    if not tree.exists():
        _output(["git", "worktree", "prune"], HERE.parent)
        _output(["git", "worktree", "add", "-q", "--detach", str(tree), number], HERE.parent)
    build = ["cargo", "build", "--release", "-q", "-p", "millstream-py"]
    features = ["--features", "pyo3/extension-module", "--target-dir", str(target / "cargo")]
    _output([*build, *features], tree)
    ending = "dylib" if sys.platform == "darwin" else "so"
    shutil.copy(
        target / f"cargo/release/lib_core.{ending}", tree / "python/millstream/_core.abi3.so"
    )
    return tree


def _described(tree: Path) -> str:
    """The commit of a tree, and whether it was changed since."""
    return _output(["git", "describe", "--always", "--dirty", "--exclude", "*"], tree)


def _output(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed in {folder}:\n{done.stderr[-4000:]}")
    return done.stdout.strip()


def _measured(name: str, tree: Path) -> float:
    if name == DEMO:
        with tempfile.TemporaryDirectory() as folder:
            started_s = time.monotonic()
            _run([str(tree / "examples/demo.py"), "--out", f"{folder}/labels"], tree)
            return time.monotonic() - started_s
    bench, contestant, number = MEASURED[name]
    printed = _run([str(HERE / bench), "--child", contestant], tree)
    (line,) = (line for line in printed.splitlines() if line.startswith(RESULT))
    return float(json.loads(line.removeprefix(RESULT))[number])


def _run(command: Sequence[str], tree: Path) -> str:
    path = os.pathsep.join([str(tree / "python"), EXAMPLES])
    environment = {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command} failed on {tree}:\n{done.stdout[-2000:]}{done.stderr[-8000:]}")
    return done.stdout


def _print(name: str, found: Mapping[str, Sequence[float]]) -> None:
    for tree, values in found.items():
        told = ", ".join(f"{value:.3f}" for value in values)
        print(f"{name}, {tree}: {told} s; median {statistics.median(values):.3f}")
    ratio = statistics.median(found["this"]) / statistics.median(found["base"])
    print(f"{name}: this / base {ratio:.3f}", flush=True)


if __name__ == "__main__":
    main()
