"""The tree keeps its shape: folders know only those below them, and functions fit on a screen."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import millstream

ROOT = Path(millstream.__file__).parent
FOLDERS = sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").exists())
#: What a folder may know besides itself, and `errors`, which all know.
BELOW = {
    "errors": set(),
    "blocks": set(),
    "io": {"blocks"},
    "expr": {"blocks", "io"},
    "plan": {"blocks", "io", "expr"},
    "observe": {"plan"},
    "run": {"blocks", "io", "plan", "observe"},
    "feed": {"blocks"},
    "execution": {"blocks", "feed", "io", "plan", "observe", "run"},
    "sim": {"io", "observe", "execution"},
}
LINES_MAX = 60


def trees(folder):
    return [ast.parse(path.read_text()) for path in sorted((ROOT / folder).rglob("*.py"))]


def known_to(folder):
    """The folders that the modules of a folder import from, wherever they do."""
    found = set()
    for tree in trees(folder):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in found if name.startswith("millstream.")]
    return {part[1] for part in parts} & set(FOLDERS) - {folder}


def test_all_folders_are_told_what_they_may_know():
    assert sorted(BELOW) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_know_only_those_below_them(folder):
    assert known_to(folder) - {"errors"} <= BELOW[folder]


def test_no_folders_know_each_other():
    try:
        TopologicalSorter({folder: known_to(folder) for folder in FOLDERS}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of folders: {error.args[1]}")


def test_functions_fit_on_a_screen():
    functions = [
        node
        for tree in trees(".")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > 1_000
    long = {node.name: lines for node in functions if (lines := code_lines(node)) > LINES_MAX}
    assert long == {}


def code_lines(node):
    """The lines of a function without its documentation and its signature."""
    first = node.body[0]
    has_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    body = node.body[1:] if has_text else node.body
    return node.end_lineno - body[0].lineno + 1 if body else 0
