"""The user guide says what happens."""

from __future__ import annotations

import doctest
from pathlib import Path

import millstream as ms

GUIDE = Path(__file__).parent.parent / "docs" / "guide.md"


def test_the_examples_of_the_guide_work(tmp_path, monkeypatch):
    context = ms.DataContext.get_current().copy()
    context.backend = "local"
    context.enable_progress_bars = False
    monkeypatch.setattr(ms.DataContext, "_current", context)
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(GUIDE), module_relative=False, optionflags=flags)
    assert found.attempted > 20
    assert found.failed == 0
