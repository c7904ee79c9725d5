"""Datasets run on the local backend, on a machine of known size."""

from __future__ import annotations

import pytest

import millstream as ms
from millstream.context import DataContext


@pytest.fixture(autouse=True)
def context(monkeypatch):
    limits = ms.ExecutionResources(cpu=4, gpu=2, object_store_memory=256 << 20)
    made = DataContext(backend="local", enable_progress_bars=False)
    made.execution_options.resource_limits = limits
    monkeypatch.setattr(DataContext, "_current", made)
    return made
