"""The pages for users say what happens."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import millstream as ms

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(("page", "examples"), [("guide.md", 20), ("formats.md", 20)])
def test_the_examples_of_the_pages_work(page, examples, tmp_path, monkeypatch):
    context = ms.DataContext.get_current().copy()
    context.backend = "local"
    context.enable_progress_bars = False
    monkeypatch.setattr(ms.DataContext, "_current", context)
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(DOCS / page), module_relative=False, optionflags=flags)
    assert found.attempted > examples
    assert found.failed == 0
