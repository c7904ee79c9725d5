"""Every name of Ray Data 2.60, and what it is in millstream: the tables of docs/from-ray-data.md.

    python tools/names.py            # writes the tables, and prints how many names are there
    python tools/names.py --check    # fails if the page is not what it would write

Owns how names and arguments are compared. The sentences are in `names_notes.py` and in
`millstream.absent`. Knows nothing of what the names do.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import names_notes

import millstream
from millstream.absent import absent_text

PAGE = Path(__file__).parent.parent / "docs" / "from-ray-data.md"


@dataclass(frozen=True)
class Name:
    """A name of Ray Data.

    Args:
        area: What has it: `Dataset`, `ray.data`.
        name: How it is called there.
        theirs: The object there.
        ours: The object here; `None`: there is none.
    """

    area: str
    name: str
    theirs: Any
    ours: Any


def all_names() -> list[Name]:
    """The public names of Ray Data, area by area."""
    ray_data = import_module("ray.data")
    expressions = import_module("ray.data.expressions")
    grouped = import_module("ray.data.grouped_data").GroupedData
    found = [
        Name("ray.data", name, getattr(ray_data, name), _face(name))
        for name in sorted(ray_data.__all__, key=str.lower)
    ]
    found += _members("Dataset", ray_data.Dataset, millstream.Dataset)
    found += _members("GroupedData", grouped, getattr(millstream, "GroupedData", None))
    found += _members(
        "DataIterator", ray_data.DataIterator, getattr(millstream, "DataIterator", None)
    )
    found += _members("Schema", ray_data.Schema, millstream.Schema)
    found += _aggregates()
    found += _functions(expressions)
    found += _of_expressions(expressions)
    ours = _fields(millstream.DataContext)
    for name in _fields(ray_data.DataContext):
        found.append(Name("DataContext", name, None, name if name in ours else None))
    return found


def shares(names: list[Name]) -> dict[str, tuple[int, int]]:
    """How many names are here, and how many there, of those that read, write and change columns."""
    groups: dict[str, list[Name]] = {title: [] for title in GROUPS}
    for each in names:
        for title, pattern in GROUPS.items():
            if re.fullmatch(pattern, f"{each.area} {each.name}"):
                groups[title].append(each)
    return {
        title: (sum(each.ours is not None for each in group), len(group))
        for title, group in groups.items()
    }


def tables(names: list[Name]) -> str:
    """The tables, as Markdown."""
    parts = ["## How many", "", *_share_lines(shares(names)), ""]
    for area, words in AREAS.items():
        parts += _area_lines(words, [each for each in names if each.area == area])
    parts += ["## Arguments of many functions", "", "| Ray Data | in its place |", "|---|---|"]
    parts += [f"| `{name}` | {said} |" for name, said in names_notes.ARGUMENTS.items()]
    parts += ["| `compute` of operators on columns | `concurrency` |", ""]
    parts += ["| only here | |", "|---|---|"]
    parts += [f"| `{name}` | {said} |" for name, said in names_notes.OURS.items()]
    return "\n".join(parts) + "\n"


def page(names: list[Name]) -> str:
    """The whole page, its text as it is and its tables new.

    Raises:
        ValueError: A sentence is about a name that is not there.
    """
    _check_notes(names)
    head, mark, rest = PAGE.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{PAGE} must have the lines {BEGIN!r} and {END!r}")
    return f"{head}{mark}\n\n{tables(names)}\n{end}{tail}"


def _share_lines(found: dict[str, tuple[int, int]]) -> list[str]:
    lines = ["| names that | here | there | share |", "|---|---|---|---|"]
    total = (sum(here for here, _ in found.values()), sum(there for _, there in found.values()))
    for title, (here, there) in {**found, "all of these": total}.items():
        lines.append(f"| {title} | {here} | {there} | {100 * here // there} % |")
    return lines


def _area_lines(words: str, names: list[Name]) -> list[str]:
    """An area: the names that are the same, in a line, those that are not, in a table."""
    rows = {each.name: _row(each) for each in names}
    same = [name for name, (kind, _) in rows.items() if kind == "same"]
    lines = [f"## {words}", ""]
    if same:
        lines += [f"The same: {', '.join(f'`{name}`' for name in same)}.", ""]
    others = {name: row for name, row in rows.items() if row[0] != "same"}
    for kind, heading in (("better", "here"), ("absent", "not here; in its place")):
        chosen = {name: said for name, (its, said) in others.items() if its == kind}
        grouped: dict[str, list[str]] = {}
        for name, said in chosen.items():
            grouped.setdefault(said, []).append(f"`{name}`")
        if grouped:
            lines += [f"| Ray Data | {heading} |", "|---|---|"]
            lines += [f"| {', '.join(each)} | {_cell(said)} |" for said, each in grouped.items()]
            lines.append("")
    return lines


def _row(name: Name) -> tuple[str, str]:
    """Whether a name is the same, better or not there, and what is to be said of it."""
    if name.ours is None:
        return "absent", _why_absent(name)
    said = names_notes.BETTER.get(name.area, {}).get(name.name, "")
    more, less = _arguments(name)
    parts = [said] if said else []
    parts += [f"also takes {_list(more)}"] if more else []
    parts += [f"does not take {_list(less)}"] if less else []
    return ("better", "; ".join(parts)) if parts else ("same", "")


def _why_absent(name: Name) -> str:
    owner = {"ray.data": "millstream"}.get(name.area, name.area)
    told = absent_text(owner, name.name)
    _, known, why = told.partition("millstream does not; ")
    notes = names_notes.ABSENT.get(name.area, {})
    return why if known else notes.get(name.name) or notes.get("*") or "not there yet"


def _arguments(name: Name) -> tuple[list[str], list[str]]:
    """Arguments that are only here, and that are only there."""
    try:
        theirs = inspect.signature(name.theirs).parameters
        ours = inspect.signature(name.ours).parameters
    except (TypeError, ValueError):
        return [], []
    if name.name in ("Dataset", "Schema", "DataContext"):  # Nobody makes these, or one by one.
        return [], []
    is_open, was_open = (
        any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        for parameters in (ours, theirs)
    )
    known = set(ours) | set(names_notes.ARGUMENTS)
    if is_open or "ray_remote_args" in ours:
        known |= set(RAY_OPTIONS)
    if "concurrency" in ours:
        known.add("compute")
    less = [each for each in _named(theirs) if each not in known]
    # What they pass on to a library by any name is not new.
    old = {*theirs, *names_notes.OURS, *RAY_OPTIONS, *(PASSED_ON if was_open else ())}
    return [each for each in _named(ours) if each not in old], less


def _named(parameters: Any) -> list[str]:
    return [
        name
        for name, each in parameters.items()
        if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) and not name.startswith("_")
    ]


def _face(name: str) -> Any:
    return getattr(millstream, name) if name in millstream.__all__ else None


def _members(area: str, theirs: Any, ours: Any) -> Iterator[Name]:
    for name in dir(theirs):
        if not name.startswith("_"):
            yield Name(area, name, getattr(theirs, name), getattr(ours, name, None))


def _aggregates() -> Iterator[Name]:
    aggregate = import_module("ray.data.aggregate")
    for name, kind in vars(aggregate).items():
        is_own = inspect.isclass(kind) and kind.__module__ == aggregate.__name__
        if is_own and not name.startswith("_"):
            try:
                home: Any = import_module("millstream.aggregate")
            except ImportError:
                home = None
            yield Name("ray.data.aggregate", name, kind, getattr(home, name, None))


def _functions(expressions: Any) -> Iterator[Name]:
    ours = import_module("millstream.expressions")
    for name in expressions.__all__:
        if inspect.isfunction(getattr(expressions, name)):
            found = getattr(ours, name, None) if name in ours.__all__ else None
            yield Name("ray.data.expressions", name, None, found)


def _of_expressions(expressions: Any) -> Iterator[Name]:
    """The methods of an expression, and those in its namespaces, as users call them."""
    ours = import_module("millstream.expressions")
    for name in dir(expressions.Expr):
        if name.startswith("_") or name in INNER:
            continue
        space = NAMESPACES.get(name)
        here = getattr(ours.Expr, name, None)
        if space is None:
            yield Name("Expr", name, None, here)
            continue
        kind = type(getattr(ours.col("x"), name)) if here else None
        for method in dir(getattr(expressions, space)):
            if not method.startswith("_"):
                yield Name("Expr", f"{name}.{method}", None, getattr(kind, method, None))


def _fields(kind: Any) -> list[str]:
    return [each.name for each in fields(kind) if not each.name.startswith("_")]


def _check_notes(names: list[Name]) -> None:
    known = {(each.area, each.name) for each in names}
    there = {(each.area, each.name) for each in names if each.ours is not None}
    for area, notes in names_notes.BETTER.items():
        for name in notes:
            if (area, name) not in there:
                raise ValueError(f"BETTER[{area!r}][{name!r}]: no such name in both packages")
    for area, notes in names_notes.ABSENT.items():
        for name in notes:
            if name != "*" and (area, name) not in known:
                raise ValueError(f"ABSENT[{area!r}][{name!r}]: no such name in Ray Data")


def _list(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _cell(said: str) -> str:
    """A sentence as a cell; what looks like code in it is set as code."""
    if "`" not in said:
        said = re.sub(r"\b\w[\w.]*\*?\([^()]*\)|\b\w+_\w+\b", r"`\g<0>`", said)
    return said.replace("|", "\\|")


#: What the page has around its tables.
BEGIN = "<!-- names: made by tools/names.py -->"
END = "<!-- names: end -->"
AREAS = {
    "ray.data": "Functions and classes of `ray.data`",
    "Dataset": "Methods of `Dataset`",
    "ray.data.expressions": "Functions of `ray.data.expressions`",
    "Expr": "Methods of expressions",
    "Schema": "`Schema`",
    "GroupedData": "`GroupedData`",
    "ray.data.aggregate": "Aggregations",
    "DataIterator": "`DataIterator`",
    "DataContext": "Settings (`DataContext`)",
}
#: Names that read, write or change columns, by area and name.
GROUPS = {
    "read: `read_…`": r"ray\.data read_\w+",
    "write: `write_…`": r"Dataset write_\w+",
    "come from and go to memory: `from_…`, `range…`, `to_…`": (
        r"ray\.data (from_|range)\w*|Dataset to_\w+"
    ),
    "change columns: methods of `Dataset`": (
        r"Dataset (add_column|drop_columns|rename_columns|select_columns|with_columns?)"
    ),
    "change columns: expressions": r"(ray\.data\.expressions|Expr) .*",
}
#: What goes on to pyarrow, and what says the same as another argument.
PASSED_ON = ("read_options", "parse_options", "convert_options", "schema", "concurrency")
#: What goes to Ray by way of the options for it.
RAY_OPTIONS = (
    *("num_cpus", "num_gpus", "memory", "resources", "accelerator_type", "runtime_env"),
    *("max_calls", "ray_remote_args"),
)
NAMESPACES = {
    "arr": "_ArrayNamespace",
    "dt": "_DatetimeNamespace",
    "list": "_ListNamespace",
    "map": "_MapNamespace",
    "str": "_StringNamespace",
    "struct": "_StructNamespace",
}
#: Methods of an expression there that are for its engine.
INNER = (
    *("expand_projection", "get_type", "is_idempotent", "name", "nullable"),
    *("structurally_equals", "to_field", "to_pyarrow"),
)


def main() -> int:
    """Writes the page, or compares it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if it differs")
    arguments = parser.parse_args()
    names = all_names()
    new = page(names)
    sys.stdout.write("\n".join(_share_lines(shares(names))) + "\n")
    if not arguments.check:
        PAGE.write_text(new)
        return 0
    if PAGE.read_text() != new:
        sys.stderr.write(f"{PAGE} is not what tools/names.py writes: run it\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
