"""What this machine has for the threads of the local backend.

Owns how CPUs, GPUs and memory are found, and how many CPU slots operators are given where there are
fewer cores than they need at least. Must not know threads or scheduling. Imports nothing heavy.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from millstream.plan.physical import PhysicalOp


def cpus() -> float:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return float(len(os.sched_getaffinity(0)))
    return float(os.cpu_count() or 1)


def gpus() -> float:
    """The NVIDIA GPUs that this process may use, by their device files: no CUDA is loaded."""
    try:
        there = sum(bool(_GPU_FILE.fullmatch(name)) for name in os.listdir(_DEVICES))
    except OSError:
        there = 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return float(there)
    # CUDA reads the list up to the first entry that is none.
    listed = 0
    for device in visible.split(","):
        if not device.strip() or device.strip().startswith("-") or "NoDev" in device:
            break
        listed += 1
    return float(min(there, listed))


def memory_bytes() -> int:
    """The memory of the machine, or of the container if that has less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        return min(total, int(limit.read_text()))
    except (OSError, ValueError):
        return total


def store_bytes() -> int:
    """The part of the memory that blocks may take, as Ray's object store does by default."""
    return int(memory_bytes() * _STORE_SHARE)


def slots_for(ops: Sequence[PhysicalOp], there: float) -> float:
    """The CPU slots to give to operators: those that are there, or what they need at least.

    Threads share cores. A pool that takes all of them leaves no slot to read with, and would be
    refused where each slot must be a core of its own. What one task or actor asks for is not
    granted if the machine lacks it.

    Args:
        ops: The operators.
        there: The CPUs of this machine.
    """
    pools = sum(op.resources.cpu * op.actors_min for op in ops if op.kind == "actors")
    beside = max((op.resources.cpu for op in ops if op.kind != "actors"), default=0.0)
    needed = pools + beside
    if needed <= there or max((op.resources.cpu for op in ops), default=0.0) > there:
        return there
    if (needed, there) not in _told:
        _told.add((needed, there))
        _logger.warning(
            "the smallest pools and one more task need %g CPUs, and this machine has %g: their "
            "threads share them",
            needed,
            there,
        )
    return needed


_logger = logging.getLogger(__name__)
#: What has been told in this process, which need not be told each epoch.
_told: set[tuple[float, float]] = set()
_DEVICES = "/dev"
_STORE_SHARE = 0.3
_GPU_FILE = re.compile(r"nvidia\d+")
