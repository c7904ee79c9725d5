"""Whole programs, which leave in different ways; they share the session's cluster."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pipelines import own_text

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("leaves_nothing")]

BEGIN = """
import sys, time
import ray
ray.init(address=sys.argv[1], logging_level="error", log_to_driver=False)
import millstream as ms
ms.DataContext.get_current().enable_progress_bars = False

def slow(batch):
    time.sleep(0.01)
    return batch

batches = iter(ms.range(1000, override_num_blocks=1000).map_batches(slow).iter_batches())
next(batches)
"""


def run_program(ray, text):
    """Runs a program to its end; its standard output."""
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + text, address],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, own_text(done.stderr)) == (0, "")
    return own_text(done.stdout)


def test_a_program_may_end_in_the_middle_of_a_run(ray_cluster):
    assert run_program(ray_cluster, "print('left')") == "left\n"
