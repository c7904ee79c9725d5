"""The site: strict Sphinx makes it, each public name is in it, and all of it is Markdown, too."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import millstream as ms
import millstream.expressions
import millstream.sim

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SOURCES = sorted(str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md"))


class Page(HTMLParser):
    """The links of a page, and what they may lead to."""

    def __init__(self, text):
        super().__init__()
        self.links = []
        self.ids = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.update({found["id"]} if found.get("id") else ())
        self.links += [found[name] for name in ("href", "src") if found.get(name)]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the site, built as `make docs` does: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html"]
    places = ["-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")]
    done = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


@pytest.fixture(scope="session")
def pages(site):
    """All pages of the site by their paths, without what the theme itself brings along."""
    found = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path.resolve(): Page(path.read_text()) for path in found}


@pytest.fixture(scope="session")
def all_entries(pages):
    return {each for path, page in pages.items() if path.parent.name == "api" for each in page.ids}


def test_each_source_is_a_page_with_a_twin(site):
    for name in SOURCES:
        twin = site / f"{name}.md"
        assert twin.read_text().startswith("# ")
        assert f'type="text/markdown" href="{twin.name}"' in (site / f"{name}.html").read_text()


def test_each_public_name_has_an_entry(all_entries):
    assert {f"millstream.{name}" for name in ms.__all__} - all_entries == set()
    assert {f"millstream.sim.{name}" for name in ms.sim.__all__} - all_entries == set()
    names = {f"millstream.expressions.{name}" for name in ms.expressions.__all__}
    assert names - all_entries == set()


def test_each_public_method_of_a_dataset_has_an_entry(all_entries):
    methods = [name for name in dir(ms.Dataset) if not name.startswith("_")]
    assert len(methods) > 40
    assert [name for name in methods if f"millstream.Dataset.{name}" not in all_entries] == []


def test_each_public_method_of_an_expression_has_an_entry(all_entries):
    kind = ms.expressions.Expr
    methods = [
        name
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    ]
    assert len(methods) > 30
    missing = [name for name in methods if f"millstream.expressions.Expr.{name}" not in all_entries]
    assert missing == []


def test_links_between_pages_hold(pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:|//", target) or path.name == "search.html":
                continue
            found = (path.parent / target.partition("?")[0]).resolve() if target else path
            is_there = found.exists()
            if is_there and anchor and found in pages:
                is_there = anchor in pages[found].ids
            broken += [] if is_there else [(path.name, link)]
    assert broken == []


def test_links_between_twins_hold(site):
    broken = []
    for path in site.rglob("*.md"):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            target = link.partition("#")[0]
            if target and not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                broken.append((path.name, link))
    assert broken == []


def test_twins_have_all_text_and_no_words_of_sphinx(site):
    assert "### read_csv\n" in (site / "api" / "reading.md").read_text()
    assert "- `paths`: A file, a folder" in (site / "api" / "reading.md").read_text()
    assert "def hello" not in (site / "changelog.md").read_text()
    assert (site / "changelog.md").read_text().startswith("# Changelog")
    assert "| what | command |" in (site / "performance.md").read_text()
    for path in site.rglob("*.md"):
        text = path.read_text()
        words = [word for word in ("```{", "<!-- api", "<!-- page", "{py:") if word in text]
        assert (path.name, words) == (path.name, [])


def test_the_list_of_twins_names_each_of_them_once(site):
    text = (site / "llms.txt").read_text()
    assert text.startswith("# millstream\n\n> ")
    listed = re.findall(r"^- \[[^]]+\]\(([^)]+)\.md\)", text, flags=re.MULTILINE)
    assert sorted(listed) == [name for name in SOURCES if name != "index"]


def test_arguments_say_what_options_say(site):
    text = (site / "api" / "dataset.html").read_text()
    assert "fn_constructor_args" in text
    assert "options: FunctionOptions" not in text


def test_pages_need_no_other_server(pages):
    """Scripts, styles, fonts and pictures are in the site; links lead out of it only to read."""
    for path in pages:
        text = path.read_text()
        assert (
            re.findall(r"<(?:script|img|link rel=.stylesheet.)[^>]*(?:src|href)=.https?:", text)
            == []
        )


def test_the_names_of_ray_data_are_those_of_the_page():
    """`python tools/names.py` writes the page anew."""
    command = [sys.executable, str(ROOT / "tools" / "names.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
