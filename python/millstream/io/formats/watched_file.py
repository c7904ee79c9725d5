"""A file for libraries in C that go on without a word when they cannot read.

Owns the error that they do not pass on. Must not know what is read.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa


class WatchedFile:
    """A file that keeps the first error of reading it.

    What calls it from C prints an error and takes it for the end of the file, so that whoever
    decodes must ask after each step.

    Args:
        file: The file; the caller closes it.
    """

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._error: Exception | None = None

    def check(self) -> None:
        """Raises what went wrong, if anything did."""
        if self._error is not None:
            raise self._error

    def read(self, size: int = -1) -> bytes:
        """Returns the next bytes."""
        return bytes(self._tried(self._file.read, None if size < 0 else size) or b"")

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer with the next bytes, and returns how many there were."""
        return int(self._tried(self._file.readinto, buffer) or 0)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a place, and returns it."""
        return int(self._tried(self._file.seek, offset, whence) or 0)

    def tell(self) -> int:
        """Returns the place."""
        return int(self._tried(self._file.tell) or 0)

    def _tried(self, action: Any, *args: Any) -> Any:
        try:
            return action(*args)
        except Exception as error:  # noqa: BLE001 - `check` raises it
            self._error = self._error or error
            return None
