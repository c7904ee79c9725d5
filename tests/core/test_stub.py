"""The stub of the extension says what the extension has, in the same words."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from millstream import _core

ROOT = Path(__file__).parents[2]
STUB = Path(_core.__file__).parent / "_core.pyi"


def documented(body, scope):
    """Each class, method and function below `scope` that is not dunder, with its stub docstring."""
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("__"):
            continue
        yield (*scope, node.name), ast.get_docstring(node)
        if isinstance(node, ast.ClassDef):
            yield from documented(node.body, (*scope, node.name))


def is_property(path):
    owner = _core
    for name in path[:-1]:
        owner = getattr(owner, name)
    return inspect.isdatadescriptor(inspect.getattr_static(owner, path[-1], None))


def test_what_help_says_is_the_first_line_of_the_stub():
    stub = ast.parse(STUB.read_text())
    compared = 0
    for path, text in documented(stub.body, ()):
        if is_property(path):
            continue
        assert text, f"{'.'.join(path)} has no docstring in the stub"
        found = _core
        for name in path:
            found = getattr(found, name)
        assert inspect.getdoc(found).splitlines()[0] == text.splitlines()[0], path
        compared += 1
    assert compared > 40


def test_the_stub_has_what_the_extension_has():
    pytest.importorskip("mypy")
    allowlist = ROOT / "tests/stubtest-allowlist.txt"
    command = ["mypy.stubtest", "millstream._core", "--allowlist", str(allowlist)]
    ended = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
