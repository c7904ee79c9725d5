"""How many threads numerical libraries have beside tasks of one process."""

from __future__ import annotations

import numpy as np  # noqa: F401 - brings the library whose threads are counted
import threadpoolctl

import millstream as ms
from millstream.context import DataContext
from millstream.run.numerics import OneThread


def threads():
    found = threadpoolctl.threadpool_info()
    return {each["filepath"]: each["num_threads"] for each in found if each["user_api"] == "blas"}


def test_several_runs_hold_them_together():
    before = threads()
    first, second = OneThread(), OneThread()
    first.end()
    assert set(threads().values()) <= {1}
    second.end()
    assert threads() == before


def test_functions_of_a_local_run_have_one_thread_each(monkeypatch):
    context = DataContext(backend="local", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)
    before = threads()

    def count(row):
        return {"most": max(threads().values(), default=1)}

    assert ms.range(3).map(count).take_all() == [{"most": 1}] * 3
    assert threads() == before
