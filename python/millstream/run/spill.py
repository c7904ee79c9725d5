"""Blocks of the local backend that wait on disk.

Owns the folder, and when a block goes there. What waits behind an exchange is not read before all
of it is there, and may be more than the memory for blocks.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pyarrow as pa


class Spill:
    """Keeps blocks in memory up to a number of bytes, and those that come then on disk.

    Args:
        bytes_max: How many bytes of them may be in memory.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0

    def keep(self, table: pa.Table, nbytes: int) -> pa.Table | SpilledBlock:
        """The block, or what stands for it on disk; let go of by `drop`."""
        with self._lock:
            if self._held + nbytes <= self._bytes_max:
                self._held += nbytes
                return table
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="millstream-spill-")
            self._count += 1
            path = os.path.join(self._folder.name, f"{self._count}.arrow")
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return SpilledBlock(path)

    def drop(self, block: pa.Table | SpilledBlock, nbytes: int) -> None:
        """Lets go of a block."""
        if isinstance(block, SpilledBlock):
            Path(block.path).unlink(missing_ok=True)
            return
        with self._lock:
            self._held -= nbytes

    def close(self) -> None:
        """Removes what is left on disk."""
        with self._lock:
            folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()


class SpilledBlock:
    """A block on disk.

    Args:
        path: Its file.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def table(self) -> pa.Table:
        """The block; its pages come into memory when they are looked at, and may leave it again."""
        with pa.memory_map(self.path) as source, pa.ipc.open_file(source) as reader:
            return reader.read_all()
