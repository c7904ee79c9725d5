"""Numerical libraries get one thread while tasks run side by side in one process.

Owns how long that lasts. A matrix product of NumPy takes a thread for each CPU by default, and they
wait for each other by spinning; beside other tasks, each of which has a CPU, they wait long.
"""

from __future__ import annotations

import threading
from typing import Any


class OneThread:
    """Holds numerical libraries to one thread, as Ray does in its workers, until it is ended.

    Several runs hold them as long as one of them does.
    """

    _lock = threading.Lock()
    _held = 0
    _limits: Any = None

    def __init__(self) -> None:
        from threadpoolctl import threadpool_limits

        with OneThread._lock:
            OneThread._held += 1
            if OneThread._limits is None:
                OneThread._limits = threadpool_limits(1, user_api="blas")

    def end(self) -> None:
        """Gives them back their threads, if no other run holds them. Called once."""
        with OneThread._lock:
            OneThread._held -= 1
            if not OneThread._held:
                OneThread._limits.restore_original_limits()
                OneThread._limits = None
