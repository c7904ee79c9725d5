"""Which public name has its entry on which page of the API, and its text as Markdown.

Owns the pages, and how a docstring becomes Markdown. Names are found in the packages themselves,
so a new one is on its page without a word here. Knows nothing of Sphinx.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

import millstream


@dataclass(frozen=True)
class Entry:
    """A public name.

    Args:
        name: In full, as it is imported: `millstream.Dataset.map`.
        kind: What Sphinx calls it: `function`, `class`, `method` or `property`.
        value: The object.
        called: How users know it, if that is not how it is imported.
    """

    name: str
    kind: str
    value: Any
    called: str = ""

    @property
    def short(self) -> str:
        """The name as users know it."""
        if self.kind in ("class", "function") and not self.name.startswith("millstream.sim."):
            return self.name.rpartition(".")[2]
        return self.called or self.name.removeprefix("millstream.")

    @property
    def summary(self) -> str:
        """The first sentence of its text."""
        text = " ".join(_text_of(self.value).partition("\n\n")[0].split())
        found = re.match(r".*?[.!?](?= |$)", text)
        return found[0] if found else text


@dataclass(frozen=True)
class Section:
    """Entries that stand together.

    Args:
        title: Its heading; empty: none.
        entries: Those in it.
    """

    title: str
    entries: tuple[Entry, ...]


@cache
def pages() -> dict[str, tuple[Section, ...]]:
    """The sections of each page of the API, by the page's name."""
    face = [(name, getattr(millstream, name)) for name in millstream.__all__]
    by_page: dict[str, list[Entry]] = {page: [] for page in PAGES}
    for name, value in face:
        by_page[_page_of(name, value)].append(_entry(f"millstream.{name}", value))
    for page, name in BESIDE.items():
        module, _, kind = name.rpartition(".")
        by_page[page].append(_entry(name, getattr(import_module(module), kind)))
    found = {page: _sections(entries) for page, entries in by_page.items()}
    found["dataset"] = _dataset_sections(by_page["dataset"])
    found["expressions"] = _expression_sections()
    found["aggregations"] = _module_sections("millstream.aggregate")
    found["torch"] = _module_sections("millstream.torch")
    found["train"] = _module_sections("millstream.train")
    found["simulator"] = _module_sections("millstream.sim")
    return found


def _module_sections(name: str) -> tuple[Section, ...]:
    """The sections of all that a module gives."""
    module = import_module(name)
    return _sections([_entry(f"{name}.{each}", getattr(module, each)) for each in module.__all__])


def entries() -> Iterator[Entry]:
    """All entries of all pages."""
    for sections in pages().values():
        for section in sections:
            yield from section.entries


@cache
def full_names() -> dict[str, str]:
    """The full names by those that docstrings use: `take`, `Dataset.take`, `millstream.range`."""
    found: dict[str, str] = {}
    for entry in entries():
        parts = entry.name.split(".")
        # What comes first wins: names of the package and of datasets before those of expressions.
        for start in range(len(parts)):
            found.setdefault(".".join(parts[start:]), entry.name)
    return found


def markdown(page: str) -> str:
    """The entries of a page as Markdown."""
    return "\n\n".join(_section_lines(page))


def members(kind: type) -> list[str]:
    """The public methods and properties of a class, its bases' too, in the order of the source."""
    found = [name for base in kind.__mro__[:-1] for name in vars(base) if _is_ours(base)]
    public = [name for name in dict.fromkeys(found) if not name.startswith("_")]
    return [name for name in public if _is_method(kind, name) and _text_of(_member(kind, name))]


def members_shown(entry: Entry) -> list[str]:
    """The members that stand with a class: not those that stand in sections, or with its base."""
    if entry.kind != "class" or entry.name in WITH_SECTIONS:
        return []
    apart = {
        name for each in _sectioned() if issubclass(entry.value, each) for name in members(each)
    }
    return [name for name in members(entry.value) if name in vars(entry.value) or name not in apart]


def _sectioned() -> list[type]:
    return [millstream.Dataset, import_module("millstream.expressions").Expr]


def signature_of(value: Any) -> str:
    """The arguments as they are written, on a line each if they are many; empty for a property."""
    if isinstance(value, property):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parts: list[str] = []
    for each in signature.parameters.values():
        if each.kind is each.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        if each.name != "self":
            parts.append(_parameter(each))
    returns = signature.return_annotation
    no_result = inspect.isclass(value) or returns is signature.empty
    result = "" if no_result else f" -> {_annotation(returns)}"
    line = f"({', '.join(parts)}){result}"
    if len(line) <= _LINE:
        return line
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def _parameter(given: inspect.Parameter) -> str:
    star = "**" if given.kind is given.VAR_KEYWORD else ""
    star = "*" if given.kind is given.VAR_POSITIONAL else star
    has_type = given.annotation is not given.empty
    kind = f": {_annotation(given.annotation)}" if has_type else ""
    if given.default is given.empty:
        return f"{star}{given.name}{kind}"
    return f"{star}{given.name}{kind} = {given.default!r}"


def _annotation(given: Any) -> str:
    """As it is written: most are texts, since they are not evaluated."""
    return given if isinstance(given, str) else inspect.formatannotation(given)


def _page_of(name: str, value: Any) -> str:
    module = value.__module__
    if name.endswith("Error"):
        return "errors"
    if name.startswith(("from_", "range")):
        return "in-memory"
    if module == "millstream.io.custom" or name == "read_datasource":
        return "own"
    if name.startswith("read_") or module.startswith("millstream.io."):
        return "reading"
    return "settings" if module in ("millstream.compute", "millstream.context") else "dataset"


def _sections(found: list[Entry]) -> tuple[Section, ...]:
    return (Section("", tuple(found)),)


def _dataset_sections(found: list[Entry]) -> tuple[Section, ...]:
    """The class, its methods by the classes that it is made of, and the other classes."""
    dataset = millstream.Dataset
    sections: dict[str, list[Entry]] = {}
    for name in members(dataset):
        owner = next(base for base in dataset.__mro__ if name in vars(base))
        title = _OWNERS.get(owner.__name__, owner.__name__)
        entry = _entry(f"millstream.Dataset.{name}", _member(dataset, name))
        sections.setdefault(title, []).append(entry)
    first = [each for each in found if each.value is dataset]
    others = [each for each in found if each.value is not dataset]
    order = sorted(sections, key=lambda title: _ORDER.get(title, len(_ORDER)))
    return (
        Section("", tuple(first)),
        *(Section(title, tuple(sections[title])) for title in order),
        Section("Other classes", tuple(others)),
    )


def _expression_sections() -> tuple[Section, ...]:
    """The functions, the methods of an expression, and those of its namespaces."""
    module = import_module("millstream.expressions")
    made = [(f"millstream.expressions.{name}", getattr(module, name)) for name in module.__all__]
    nodes = import_module("millstream.expr.nodes")
    made += [(f"millstream.expr.nodes.{name}", getattr(nodes, name)) for name in ("When", "Then")]
    kinds = {"Expr": module.Expr}
    for name in members(module.Expr):
        if isinstance(vars(module.Expr).get(name), property):
            kinds[f"Expr.{name}"] = type(getattr(module.col("x"), name))
    sections = [Section("", tuple(_entry(name, value) for name, value in made))]
    for called, kind in kinds.items():
        home = "millstream.expressions" if kind is module.Expr else kind.__module__
        methods = [
            replace(
                _entry(f"{home}.{kind.__name__}.{name}", _member(kind, name)),
                called=f"{called}.{name}",
            )
            for name in members(kind)
        ]
        sections.append(Section(f"Methods of {called}", tuple(methods)))
    return tuple(sections)


def _entry(name: str, value: Any) -> Entry:
    if inspect.isclass(value):
        return Entry(name, "class", value)
    is_method = name.rpartition(".")[0].rpartition(".")[2][:1].isupper()
    if isinstance(value, property):
        return Entry(name, "property", value)
    return Entry(name, "method" if is_method else "function", value)


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("millstream")


def _is_method(kind: type, name: str) -> bool:
    value = inspect.getattr_static(kind, name)
    return callable(value) or isinstance(value, (property, staticmethod, classmethod))


def _member(kind: type, name: str) -> Any:
    value = inspect.getattr_static(kind, name)
    return value if isinstance(value, property) else getattr(kind, name)


def _text_of(value: Any) -> str:
    """Its own docstring; the one that dataclasses make is none."""
    text = inspect.cleandoc(value.__doc__ or "")
    return "" if text.startswith(f"{getattr(value, '__name__', '')}(") else text


def _section_lines(page: str) -> Iterator[str]:
    for section in pages()[page]:
        if section.title:
            yield f"## {section.title}"
        for entry in section.entries:
            yield from _entry_lines(entry)


def _entry_lines(entry: Entry) -> Iterator[str]:
    yield f"### {entry.short}"
    name = entry.called or entry.name
    yield f"```python\n{name}{signature_of(entry.value)}\n```"
    yield from _text_lines(_text_of(entry.value))
    for name in members_shown(entry):
        value = _member(entry.value, name)
        yield f"#### {entry.short}.{name}"
        yield f"```python\n{name}{signature_of(value)}\n```"
        yield from _text_lines(_text_of(value))


def _text_lines(text: str) -> Iterator[str]:
    """A docstring: what it says, and its sections as lists, texts and code."""
    parts = re.split(rf"^({'|'.join(_HEADS)}):\n", text, flags=re.MULTILINE)
    yield parts[0].strip()
    for head, body in zip(parts[1::2], parts[2::2], strict=True):
        inside = re.match(r"(?:(?:[ \t].*)?(?:\n|$))*", body)
        content = inspect.cleandoc("\n" + (inside[0] if inside else ""))
        rest = body[inside.end() :].strip() if inside else ""
        yield f"**{head}**"
        if head.startswith("Example"):
            yield f"```python\n{content}\n```"
        elif head in ("Returns", "Yields"):
            yield content
        else:
            yield "\n".join(_items(content))
        if rest:
            yield rest


def _items(content: str) -> Iterable[str]:
    for item in re.split(r"^(?=\S)", content, flags=re.MULTILINE):
        name, _, said = item.partition(":")
        if item.strip():
            yield f"- `{name.strip()}`: {' '.join(said.split())}"


#: Signatures that are longer have a line for each argument.
_LINE = 88
_HEADS = ("Args", "Raises", "Returns", "Yields", "Example", "Examples", "Attributes")
#: Classes whose methods stand in sections of their own.
WITH_SECTIONS = ("millstream.Dataset", "millstream.expressions.Expr")
#: The pages, by what their files are called.
PAGES = (
    *(
        "reading",
        "in-memory",
        "dataset",
        "own",
        "expressions",
        "aggregations",
        "settings",
        "torch",
        "errors",
    ),
    "simulator",
)
#: Classes that users get but do not import.
BESIDE = {
    "dataset": "millstream.observe.report.RunReport",
    "own": "millstream.io.custom.TaskContext",
}
#: The headings of the methods of datasets, by the classes that have them.
_OWNERS = {
    "Dataset": "Operators and runs",
    "Columns": "Columns",
    "Aggregates": "Values of all rows",
    "Splits": "Parts",
    "Exchange": "Other libraries and databases",
    "Writing": "Files and sinks",
    "Consumption": "What comes out",
    "Iteration": "What comes out",
    "Frameworks": "What comes out",
    "Pipeline": "Operators and runs",
}
_ORDER = {title: number for number, title in enumerate(dict.fromkeys(_OWNERS.values()))}
