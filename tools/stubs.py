"""Writes the stubs of the modules whose functions take options (`millstream.options.takes`).

Type checkers and editors do not run the decorator, so they read there which arguments a function
has. `python tools/stubs.py` writes them; a test fails if they are not what it would write.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

import millstream

MODULES = (
    *("columns", "dataset", "grouped", "read", "read_columns", "read_databases", "read_lakes"),
    *("read_media", "read_records", "read_science", "read_tables", "read_text_files", "write"),
    *("write_databases", "write_media", "write_tables"),
)
PACKAGE = Path(millstream.__file__).parent


def stub_of(name: str) -> str:
    """The stub of a module of millstream, formatted."""
    module = import_module(f"millstream.{name}")
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    body: list[str] = []
    for node in tree.body:
        match node:
            case ast.FunctionDef() if not node.name.startswith("_"):
                body.append(_function(node, getattr(module, node.name)))
            case ast.ClassDef() if not node.name.startswith("_"):
                body.append(_class(node, getattr(module, node.name)))
            case ast.Assign(targets=[ast.Name(id=alias)]) if not alias.startswith("_"):
                body.append(ast.unparse(node))
    text = "\n".join(body)
    used = {each.id for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Name)}
    imports = [_only(each, used) for each in (*_imports(tree), *_imports_of_options())]
    head = f"# Made by tools/stubs.py of {name}.py: change that, and run `make stubs`."
    return _formatted("\n".join([head, *dict.fromkeys(filter(None, imports)), text]), name)


def _class(node: ast.ClassDef, found: type) -> str:
    body = [
        _function(each, vars(found)[each.name])
        for each in node.body
        if isinstance(each, ast.FunctionDef)
        and (not each.name.startswith("_") or each.name in _SPECIAL)
    ]
    bases = ", ".join(map(ast.unparse, node.bases))
    return f"class {node.name}({bases}):\n" + textwrap.indent("\n".join(body), "    ")


def _function(node: ast.FunctionDef, found: Any) -> str:
    """The function with the arguments that it has when the module is loaded."""
    parts: list[str] = []
    for each in inspect.signature(found).parameters.values():
        if each.kind is each.KEYWORD_ONLY and not any(p.startswith("*") for p in parts):
            parts.append("*")
        star = "**" if each.kind is each.VAR_KEYWORD else ""
        star = "*" if each.kind is each.VAR_POSITIONAL else star
        annotation = "" if each.annotation is each.empty else f": {each.annotation}"
        parts.append(f"{star}{each.name}{annotation}{_default(each)}")
    returns = ast.unparse(node.returns) if node.returns else "None"
    return f"def {node.name}({', '.join(parts)}) -> {returns}: ..."


def _default(parameter: inspect.Parameter) -> str:
    """The default as it is written, where it is simple."""
    value = parameter.default
    if value is parameter.empty:
        return ""
    is_words = isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    is_simple = value is None or is_words or isinstance(value, (bool, int, float, str))
    return f" = {value!r}" if is_simple else " = ..."


def _imports(tree: ast.Module) -> list[ast.ImportFrom | ast.Import]:
    """What a module imports at its top, also for types only."""
    found: list[ast.ImportFrom | ast.Import] = []
    for node in tree.body:
        nodes = node.body if isinstance(node, ast.If) else [node]
        found += [each for each in nodes if isinstance(each, (ast.ImportFrom, ast.Import))]
    return found


def _imports_of_options() -> list[ast.ImportFrom | ast.Import]:
    """What the modules of the options import or define, for the types of the fields."""
    found: list[ast.ImportFrom | ast.Import] = []
    for module in ("plan.arguments", "io.file_options", "io.sink_options"):
        path = PACKAGE / f"{module.replace('.', '/')}.py"
        tree = ast.parse(path.read_text())
        found += _imports(tree)
        own = [
            ast.alias(target.id)
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and not target.id.startswith("_")
        ]
        found.append(ast.ImportFrom(f"millstream.{module}", own, 0))
    return found


def _only(node: ast.ImportFrom | ast.Import, used: set[str]) -> str:
    """An import of what is used; nothing if nothing is."""
    names = [each for each in node.names if (each.asname or each.name.split(".")[0]) in used]
    if not names or getattr(node, "module", None) == "__future__":
        return ""
    if isinstance(node, ast.ImportFrom):
        return ast.unparse(ast.ImportFrom(node.module, names, 0))
    return ast.unparse(ast.Import(names))


def _formatted(text: str, name: str) -> str:
    for command in (["check", "--fix-only", "--select", "I,F401"], ["format"]):
        ruff = [
            sys.executable,
            "-m",
            "ruff",
            *command,
            "--quiet",
            "--stdin-filename",
            f"{name}.pyi",
            "-",
        ]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return text


#: Methods that type checkers must know.
_SPECIAL = ("__init__", "__arrow_c_stream__")


if __name__ == "__main__":
    for name in MODULES:
        (PACKAGE / f"{name}.pyi").write_text(stub_of(name))
