"""Options are said once, and shown in signatures, in help, in stubs and to type checkers."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import millstream as ms
from millstream.options import rest, takes
from millstream.plan.arguments import FunctionOptions

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        yield importlib.import_module("stubs")
    finally:
        sys.path.remove(str(ROOT / "tools"))


def public_functions():
    """All functions of the face, each as a user reaches it."""
    names = [name for name in ms.__all__ if inspect.isfunction(getattr(ms, name))]
    found = {name: getattr(ms, name) for name in names}
    for name, function in inspect.getmembers(ms.Dataset, inspect.isfunction):
        if not name.startswith("_"):
            found[f"Dataset.{name}"] = function
    return found


FUNCTIONS = public_functions()


@dataclass(frozen=True)
class Base:
    """Colours.

    Args:
        colour: The colour,
            in one word.
        size: How large.
    """

    colour: str = "red"
    size: int = 1


@dataclass(frozen=True)
class Blue(Base):
    """Another default.

    Args:
        size: How large, in metres.
        more: All the rest.
    """

    colour: str = "blue"
    more: dict = rest()  # noqa: RUF009


@takes(options=Blue)
def paint(wall, *, twice=False, options):
    """Paints.

    Args:
        wall: What to paint.
        twice: How often.
        options: How.

    Returns:
        What it got.
    """
    return wall, twice, options


def test_the_function_gets_an_object_and_takes_its_fields():
    assert paint("w") == ("w", False, Blue())
    made = Blue("green", 3, {"gloss": 1})
    assert paint("w", size=3, twice=True, colour="green", gloss=1) == ("w", True, made)


def test_it_shows_all_arguments_with_their_defaults_and_documentation():
    assert str(inspect.signature(paint)) == (
        "(wall, *, twice=False, colour: 'str' = 'blue', size: 'int' = 1, **more: 'Any')"
    )
    text = inspect.getdoc(paint)
    assert (
        "    colour: The colour,\n        in one word.\n    size: How large, in metres.\n" in text
    )
    assert "    **more: All the rest.\n\nReturns:" in text
    assert "options" not in text


def test_wrong_calls_name_the_function():
    with pytest.raises(TypeError, match=r"paint\(\) missing a required argument: 'wall'"):
        paint()
    with pytest.raises(TypeError, match=r"read_images\(\) got an unexpected .*'sise'"):
        ms.read_images(".", sise=3)


def test_the_names_of_the_objects_are_no_arguments(tmp_path):
    for name in ("options", "tasks"):
        with pytest.raises(TypeError, match=rf"write_parquet\(\) got an unexpected .* '{name}'"):
            ms.range(1).write_parquet(str(tmp_path), **{name: 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_argument_is_documented_once(name):
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters:
        if parameter != "self":
            lines = (line.lstrip(" *") for line in text.splitlines())
            said = [line for line in lines if line.startswith(f"{parameter}:")]
            assert len(said) == 1, parameter


def test_operators_on_functions_have_all_of_their_options():
    fields = set(FunctionOptions.__dataclass_fields__)
    for name in ("map", "map_batches", "flat_map", "filter"):
        assert fields <= set(inspect.signature(getattr(ms.Dataset, name)).parameters)


def test_positions_may_be_left_out_and_be_any_number():
    @takes(options=Base)
    def function(first=None, second=None, *more, options):
        return first, second, more, options.colour

    assert function(second=2) == (None, 2, (), "red")
    assert function(1, 2, 3, 4, colour="blue") == (1, 2, (3, 4), "blue")


@pytest.mark.parametrize("name", ["columns", "dataset", "read", "write"])
def test_the_stub_says_what_the_module_does(tool, name):
    assert name in tool.MODULES
    committed = (tool.PACKAGE / f"{name}.pyi").read_text()
    assert tool.stub_of(name) == committed, "run `make stubs`"
    stubbed = {
        node.name: [each.arg for each in (*node.args.args, *node.args.kwonlyargs)]
        for node in ast.walk(ast.parse(committed))
        if isinstance(node, ast.FunctionDef)
    }
    module = importlib.import_module(f"millstream.{name}")
    for function, arguments in stubbed.items():
        found = getattr(ms.Dataset, function, None) or getattr(module, function)
        assert set(arguments) <= set(inspect.signature(found).parameters)
