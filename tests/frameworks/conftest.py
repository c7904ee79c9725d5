"""Tests with torch, JAX and TensorFlow, which `make test-frameworks` runs: a process for each.

Torch and TensorFlow bring an LLVM each, and JAX warns where a loader of torch forks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import millstream as ms
from millstream.context import DataContext

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.frameworks)


@pytest.fixture(autouse=True)
def context(monkeypatch):
    """Datasets run on threads, on a machine of known size."""
    limits = ms.ExecutionResources(cpu=4, gpu=2, object_store_memory=256 << 20)
    made = DataContext(backend="local", enable_progress_bars=False)
    made.execution_options.resource_limits = limits
    monkeypatch.setattr(DataContext, "_current", made)
    return made
