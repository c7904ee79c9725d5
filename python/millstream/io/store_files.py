"""Files in stores: a read goes on where it broke off, and a file is sent whole or not at all.

Owns what is held of a file, on its way from a store and to it. `retries` owns how often something
is tried. Must not know what is in files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from typing import IO, Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.io.retries import Retries, is_transient

#: So many bytes are fetched or sent at a time; more would be asked for again if it breaks off.
PART_BYTES = 32 << 20
#: How many times the usual silence is borne where there may be much to do: listing, sending.
MUCH = 10.0


class RetriedFile:
    """A file that is read, and opened anew where it broke off.

    Args:
        filesystem: Where it is.
        path: Its path there.
        retries: How often.
    """

    def __init__(self, filesystem: pa_fs.FileSystem, path: str, retries: Retries) -> None:
        self.closed = False
        self._filesystem = filesystem
        self._path = path
        self._retries = retries
        self._position = 0
        # What is there of the file, and where it begins.
        self._held = memoryview(b"")
        self._held_start = 0
        self._ahead = _AHEAD_MIN
        self._size: int | None = None
        opened = retries.call(self._open, f"cannot open {path}")
        self._inner: _Opened | None = opened
        self._size = opened.size

    def read(self, size: int = -1) -> bytes:
        """Reads from the position on; fewer bytes only where the file ends."""
        if size is None or size < 0:
            size = (1 << 62) if self._size is None else max(0, self._size - self._position)
        parts = []
        while size > 0 and (part := self._some(size)):
            parts.append(part)
            self._position += len(part)
            size -= len(part)
        return parts[0].tobytes() if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a position."""
        if whence == 2 and self._size is None:
            raise OSError(f"the store does not tell where {self._path} ends")
        self._position = offset + (0, self._position, self._size or 0)[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Lets it go."""
        self.closed = True
        self._held = memoryview(b"")
        if self._inner is not None:
            self._inner.file.close()
            self._inner = None

    def _some(self, size: int) -> memoryview:
        """Returns at least one byte from the position on, unless the file ends there."""
        start = self._position - self._held_start
        if not 0 <= start < len(self._held):
            self._fill(size)
            start = 0
        return self._held[start : start + size]

    def _fill(self, size: int) -> None:
        """Fetches bytes from the position on: more at a time, while they are read in order."""
        is_next = self._position == self._held_start + len(self._held)
        self._ahead = min(_AHEAD_MAX, self._ahead * 2) if is_next else _AHEAD_MIN
        size = min(max(size, self._ahead), PART_BYTES)
        if self._size is not None:
            size = min(size, self._size - self._position)
        self._held_start, self._held = self._position, memoryview(b"")
        if size > 0:
            self._held = memoryview(self._fetched(size))

    def _fetched(self, size: int) -> bytes:
        """Fetches bytes from the position on; the file is opened anew after an attempt that failed.

        One that was given up may go on, so it shares nothing with the next.
        """
        inner = self._inner
        at_hand = [] if inner is None or not inner.reaches(self._position) else [inner]
        position, self._inner = self._position, None

        def attempt() -> tuple[_Opened, bytes]:
            opened = at_hand.pop() if at_hand else self._open()
            data = opened.read(position, size)
            if not data and self._size is not None:
                raise ConnectionError("the store sent nothing more")
            return opened, data

        what = f"cannot read {self._path} at byte {position}"
        what += "" if self._size is None else f" of {self._size}"
        self._inner, data = self._retries.call(attempt, what)
        return data

    def _open(self) -> _Opened:
        opened = _Opened(self._filesystem.open_input_file(self._path))
        if opened.size is None:
            opened.size = self._filesystem.get_file_info(self._path).size
        if self._size is not None and opened.size != self._size:
            raise OSError(f"{self._path} had {self._size} bytes before, and now {opened.size}")
        return opened


class _Opened:
    """A file that is open, with its position, since some cannot go back."""

    def __init__(self, file: pa.NativeFile) -> None:
        self.file = file
        self.position = 0
        try:
            self.size: int | None = file.size()
        except (OSError, ValueError, TypeError, NotImplementedError, pa.ArrowException) as error:
            if is_transient(error):
                raise
            self.size = None
        self._is_seekable = self.size is not None

    def reaches(self, position: int) -> bool:
        """Tells whether it can be read from a position on."""
        return self._is_seekable or position >= self.position

    def read(self, position: int, size: int) -> bytes:
        """Reads from a position on; fewer bytes if the store gives fewer.

        Raises:
            ConnectionError: It ends before the position.
        """
        self._go_to(position)
        data = bytes(self.file.read(size))
        self.position += len(data)
        return data

    def _go_to(self, position: int) -> None:
        """Goes to a position; where the file cannot, what comes before is read."""
        if self._is_seekable:
            self.file.seek(position)
            self.position = position
        while self.position < position:
            skipped = len(self.file.read(min(position - self.position, PART_BYTES)))
            if not skipped:
                raise ConnectionError(f"the store sent nothing after byte {self.position}")
            self.position += skipped


class Upload:
    """A file that is written: it is held on this disk, and sent when it is whole.

    Args:
        send: Sends a file of this disk, in place of what may be there.
        path: Its path, for messages.
        retries: How often it is sent.
    """

    def __init__(self, send: Callable[[IO[bytes]], None], path: str, retries: Retries) -> None:
        self.closed = False
        self._send = send
        self._path = path
        self._retries = retries
        self._held: IO[bytes] = tempfile.NamedTemporaryFile()  # noqa: SIM115

    def write(self, data: Any) -> int:
        """Adds bytes."""
        return self._held.write(data)

    def flush(self) -> None:
        """Nothing is sent before it is whole."""

    def tell(self) -> int:
        """How many bytes there are."""
        return self._held.tell()

    def writable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Sends it."""
        if self.closed:
            return
        self.closed = True
        with self._held as held:
            held.flush()
            send = partial(self._send, held)
            self._retries.call(send, f"cannot write {self._path}", patience=MUCH)


_AHEAD_MIN = 64 << 10
_AHEAD_MAX = 8 << 20
