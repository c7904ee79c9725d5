"""Settings are checked when they are set, and kept by the datasets made under them."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

import millstream as ms
from millstream.context import DataContext


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backend", "spark"),
        ("execution", "lazy"),
        ("target_max_block_size", 0),
        ("target_max_block_size", 1.5),
        ("max_task_deaths", 0),
        ("weight", 0),
        ("weight", 0.5),
        ("enable_progress_bars", "no"),
        ("trace", 3),
        ("execution_options", {}),
        ("preserve_order", 1),
    ],
)
def test_values_that_make_no_sense_are_refused(name, value):
    with pytest.raises(ms.ArgumentError, match=name):
        setattr(DataContext(), name, value)


def test_unknown_settings_are_refused_with_those_that_exist():
    with pytest.raises(ms.ArgumentError, match=r"'use_polars'.*backend"):
        DataContext().use_polars = True


def test_limits_on_resources_are_numbers():
    with pytest.raises(ms.ArgumentError, match="cpu=-1"):
        ms.ExecutionResources(cpu=-1)


def test_the_order_is_one_setting_under_two_names():
    context = DataContext()
    context.preserve_order = False
    assert context.execution_options.preserve_order is False


def test_a_copy_is_independent():
    context = DataContext()
    copied = context.copy()
    copied.preserve_order = False
    assert context.preserve_order


def test_the_environment_chooses_the_backend():
    code = "import millstream as ms; print(ms.DataContext.get_current().backend)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"MILLSTREAM_BACKEND": "local"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "local"


@pytest.mark.parametrize("name", ["start_timeout_s", "admission_timeout_s"])
def test_a_wait_may_be_without_end(name):
    context = ms.DataContext()
    setattr(context, name, math.inf)
    assert getattr(context, name) == math.inf
    with pytest.raises(ms.ArgumentError, match=f"{name}=nan"):
        setattr(context, name, math.nan)


def test_bytes_made_ahead_are_a_number_or_not_bounded():
    context = ms.DataContext()
    assert context.prefetch_bytes == 1 << 30
    context.prefetch_bytes = None
    with pytest.raises(ms.ArgumentError, match="prefetch_bytes=0"):
        context.prefetch_bytes = 0
