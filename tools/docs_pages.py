"""The pages of the documentation as Markdown: what their sources stand for.

Owns the marks in the sources, the links that lead out of `docs`, and the twins: each page as plain
Markdown, and their list, `llms.txt`. Knows nothing of Sphinx.

A mark is a comment that stands for text from elsewhere, so that nothing is written twice:

- `<!-- page: ../CHANGELOG.md -->`: a whole file takes the place of the page;
- `<!-- section: ../README.md Measured -->`: the text below a heading of a file;
- `<!-- api: reading -->`: the entries of a page of the API (`docs_api.PAGES`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import docs_api

DOCS = Path(__file__).parent.parent / "docs"


def source_of(name: str) -> str:
    """A page as Sphinx reads it.

    Args:
        name: Its path in `docs`, without `.md`.
    """
    text = _filled(name, _directives)
    return text + _tree(name, text) if name in SECTIONS else text


def twin_of(name: str) -> str:
    """A page as plain Markdown, which needs nothing else. Pictures are where Sphinx puts them."""
    text = _filled(name, docs_api.markdown)
    up = "../" * name.count("/")
    return re.sub(r"!\[([^]]*)\]\([^)]*?([^/)]+)\)", rf"![\1]({up}_images/\2)", text)


def names() -> list[str]:
    """All pages, in the order in which their lists lead to them."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in found:
            found[name] = None
            for led in led_by(name) if name in SECTIONS else ():
                visit(led)

    visit("index")
    rest = sorted(str(each.relative_to(DOCS).with_suffix("")) for each in DOCS.rglob("*.md"))
    return [*found, *(name for name in rest if name not in found)]


def led_by(name: str) -> dict[str, str]:
    """The pages to which the lists of a page lead, in order, with what is said of each."""
    item = r"^- \[[^]]*\]\(([^)#:]+)\.md\)(?:: (.*(?:\n  .*)*))?"
    found = re.findall(item, _filled(name, str), flags=re.MULTILINE)
    folder = os.path.dirname(name)
    return {os.path.normpath(os.path.join(folder, page)): _plain(about) for page, about in found}


def title_of(name: str) -> str:
    """The title of a page."""
    found = re.search(r"^# (.*)", _filled(name, str), flags=re.MULTILINE)
    return found[1] if found else name


def llms_txt() -> str:
    """The list of all twins, by sections, each with what it is about (https://llmstxt.org)."""
    lines = [f"# {title_of('index')}", "", f"> {_first_paragraph('index')}", ""]
    lines.append("Each page is here as Markdown; the same address with `.html` is for people.")
    sections = [name for name in names() if name in SECTIONS]
    about = {name: said for section in sections for name, said in led_by(section).items()}
    for section in sections:
        led = [name for name in led_by(section) if name not in sections]
        own = [] if section == "index" else [section]
        lines += ["", f"## {'Start' if section == 'index' else title_of(section)}", ""]
        for name in (*own, *led):
            said = about.get(name)
            lines.append(f"- [{title_of(name)}]({name}.md)" + (f": {said}" if said else ""))
    return "\n".join(lines) + "\n"


def _filled(name: str, entries: Callable[[str], str]) -> str:
    """The source with what its marks stand for, and with links that hold in the site."""
    text = (DOCS / f"{name}.md").read_text()
    folder = DOCS / os.path.dirname(name)
    whole = re.search(r"<!-- page: (\S+) -->", text)
    if whole:
        path = folder / whole[1]
        return _linked(path.read_text(), path.parent, name)
    text = _linked(text, folder, name)

    def section(found: re.Match[str]) -> str:
        path = folder / found[1]
        return _linked(_section(path.read_text(), found[2]), path.parent, name)

    text = re.sub(r"<!-- section: (\S+) (.*?) -->", section, text)
    return re.sub(r"<!-- api: (\S+) -->", lambda found: entries(found[1]), text)


def _section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its kind.

    Raises:
        ValueError: There is no such heading.
    """
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise ValueError(f"there is no heading {heading!r}")
    return found[1].strip()


def _linked(text: str, folder: Path, name: str) -> str:
    """Links of a text in a folder, as a page has them: to pages; elsewhere, only the words."""

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = Path(os.path.normpath(folder / target))
        path = path / "README.md" if path.is_dir() else path
        page = ROOT_PAGES.get(path.name) if path.parent == DOCS.parent else None
        path = DOCS / f"{page}.md" if page else path
        if not path.exists():
            return found[0]
        if not path.is_relative_to(DOCS):
            return words
        near = os.path.relpath(path, DOCS / os.path.dirname(name))
        return f"[{words}]({near}{anchor})"

    return re.sub(r"\[([^]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)", link, text)


def _directives(page: str) -> str:
    """The entries of a page of the API, for autodoc, with a list of all in front."""
    lines: list[str] = []
    for section in docs_api.pages()[page]:
        lines += [f"## {section.title}", ""] if section.title else []
        lines += ["| | |", "|---|---|"]
        for entry in section.entries:
            about = entry.summary.replace("|", "\\|")
            lines.append(f"| {{py:obj}}`{entry.short} <{entry.name}>` | {about} |")
        lines += ["", "```{eval-rst}"]
        lines += [line for entry in section.entries for line in _autodoc(entry)]
        lines += ["```", ""]
    return "\n".join(lines)


def _autodoc(entry: docs_api.Entry) -> Iterator[str]:
    yield f".. auto{entry.kind}:: {entry.name}"
    shown = docs_api.members_shown(entry)
    yield from [f"   :members: {', '.join(shown)}", "   :inherited-members:"] if shown else []
    yield ""


def _tree(name: str, text: str) -> str:
    """The pages that a page leads to, in the words of Sphinx."""
    here = os.path.dirname(name)
    paths = [os.path.relpath(each, here or ".") for each in led_by(name)]
    return "\n".join(["", "", "```{toctree}", ":hidden:", "", *paths, "```", ""])


def _first_paragraph(name: str) -> str:
    """What a page begins with."""
    return _plain(_filled(name, str).split("\n\n")[1])


def _plain(text: str) -> str:
    """A text on one line, without links."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(text.split()))


#: Pages whose lists say what belongs to them.
SECTIONS = ("index", "guide", "how-it-works", "decisions/README", "api/index")
#: The pages that stand for files beside `docs`.
ROOT_PAGES = {
    "ARCHITECTURE.md": "architecture",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "README.md": "index",
}
