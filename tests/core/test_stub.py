"""The stubs of the extension say what the extension has, in the same words."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from millstream import _core

ROOT = Path(__file__).parents[2]
STUBS = sorted(Path(_core.__file__).parent.glob("_core*.pyi"))
CONFIG = _core.Config()


@pytest.fixture
def core_stub(monkeypatch):
    """The tool that writes the stub of the snapshots."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return import_module("core_stub")


def documented(body, scope):
    """Each class, method and function below `scope` that is not dunder, with its stub docstring."""
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("__"):
            continue
        yield (*scope, node.name), ast.get_docstring(node)
        if isinstance(node, ast.ClassDef):
            yield from documented(node.body, (*scope, node.name))


def all_documented():
    return [each for stub in STUBS for each in documented(ast.parse(stub.read_text()).body, ())]


def is_property(path):
    owner = _core
    for name in path[:-1]:
        owner = getattr(owner, name)
    return inspect.isdatadescriptor(inspect.getattr_static(owner, path[-1], None))


def test_what_help_says_is_the_first_line_of_the_stub():
    compared = 0
    for path, text in all_documented():
        if is_property(path):
            continue
        assert text, f"{'.'.join(path)} has no docstring in the stub"
        found = _core
        for name in path:
            found = getattr(found, name)
        assert inspect.getdoc(found).splitlines()[0] == text.splitlines()[0], path
        compared += 1
    assert compared > 40


def test_each_name_is_in_one_stub_and_gathered_by_the_first():
    names = [path[0] for path, _ in all_documented() if len(path) == 1]
    assert len(names) == len(set(names)) > 30
    constants = {"BOTTLENECKS", "FAIL_CAUSES", "REASONS", "__version__", "build_profile"}
    first = ast.parse(STUBS[0].read_text())
    (gathered,) = [node.value for node in first.body if isinstance(node, ast.Assign)]
    assert sorted(ast.literal_eval(gathered)) == sorted(constants | set(names))


def test_the_stub_of_the_snapshots_is_what_would_be_written_now(core_stub):
    assert core_stub.STUB in STUBS
    written = core_stub.STUB.read_text()
    assert written == core_stub.snapshot_stub(), "build the extension and run `make stubs`"


def test_snapshots_have_what_they_say_of_the_types_they_say(core_stub):
    plan = _core.Plan([_core.OpSpec(name="Read", kind=_core.Kind.Source([0]), cpu=1)], CONFIG)
    scheduler = _core.Scheduler(plan, [_core.Node(node=0, cpu=2, store_bytes=1 << 30)])
    scheduler.step(0, [])
    scheduler.step(1_000_000, [_core.Event.TimePassed()])
    run = scheduler.snapshot()
    for each in (run, run.ops[0], run.nodes[0], run.cpu_times, run.bottleneck):
        names = {name for name in dir(each) if not name.startswith("_")}
        assert names == set(each.__annotations__)
        for name, kind in each.__annotations__.items():
            value = getattr(each, name)
            assert type(value).__name__ in alternatives(kind), (type(each), name)


def alternatives(kind):
    """The names of the classes that an annotation allows."""
    words = {"_Bottleneck": "str", "None": "NoneType"}
    found = re.sub(r"Literal\[.*\]", "str", kind)
    found = re.sub(r"\[.*\]", "", found)
    return [words.get(word, word) for word in found.split(" | ")]


def test_the_stub_has_what_the_extension_has():
    pytest.importorskip("mypy")
    allowlist = ROOT / "tests/stubtest-allowlist.txt"
    command = ["mypy.stubtest", "millstream._core", "--allowlist", str(allowlist)]
    ended = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
