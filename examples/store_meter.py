"""Watches how many bytes Ray's object store holds, and how many it spills to disk.

Owns the sampling of Ray's own counters, which know nothing of millstream: a second opinion on the
scheduler's account. Needs Ray to be initialised, on one node, and the package `grpcio`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import ray


@dataclass(frozen=True)
class StoreUse:
    """What Ray's object store held during a time.

    Args:
        peak_bytes: The most bytes that any sample found in shared memory.
        created_bytes: Bytes of all objects that were created.
        spilled_bytes: Bytes that were written to disk because the store was full.
    """

    peak_bytes: int
    created_bytes: int
    spilled_bytes: int


class StoreMeter:
    """Samples the store from a thread of its own while a `with` block runs.

    Args:
        every_s: Seconds between samples.
    """

    def __init__(self, every_s: float = 0.05) -> None:
        (self._node,) = ray.nodes()
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="store-meter", daemon=True)
        self._peak_bytes = 0

    def __enter__(self) -> StoreMeter:
        self._first = self._sample()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._last = self._sample()

    def use(self) -> StoreUse:
        """What was found, once the block has ended."""
        return StoreUse(
            peak_bytes=self._peak_bytes,
            created_bytes=self._last.cumulative_created_bytes
            - self._first.cumulative_created_bytes,
            spilled_bytes=self._last.spilled_bytes_total - self._first.spilled_bytes_total,
        )

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            self._sample()

    def _sample(self) -> Any:
        from ray._private.internal_api import node_stats

        address, port = self._node["NodeManagerAddress"], self._node["NodeManagerPort"]
        stats = node_stats(address, port, include_memory_info=False).store_stats
        self._peak_bytes = max(self._peak_bytes, stats.object_store_bytes_used)
        return stats
