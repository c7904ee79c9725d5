"""The pages for users say what happens: all their examples run, on the local backend."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import millstream as ms

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {
    str(path.relative_to(DOCS)): len(re.findall(r"^>>> ", path.read_text(), flags=re.MULTILINE))
    for path in sorted(DOCS.rglob("*.md"))
}


@pytest.mark.parametrize("page", [page for page, examples in PAGES.items() if examples])
def test_the_examples_of_the_pages_work(page, tmp_path, monkeypatch):
    context = ms.DataContext.get_current().copy()
    context.backend = "local"
    context.enable_progress_bars = False
    monkeypatch.setattr(ms.DataContext, "_current", context)
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(DOCS / page), module_relative=False, optionflags=flags)
    assert found.attempted == PAGES[page]
    assert found.failed == 0


def test_each_task_of_the_guide_has_examples():
    tasks = [page for page in PAGES if page.startswith("guide/")]
    assert len(tasks) > 8
    assert [page for page in tasks if not PAGES[page]] == []
    assert PAGES["cookbook.md"] > 40
    assert PAGES["formats.md"] > 20
