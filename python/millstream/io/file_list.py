"""The files of a reader, found while the first of them are read.

Owns what has been found so far, in little memory: a million paths are one array of bytes. Must not
know how files are found, nor what is inside them.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, overload

import numpy as np
import pyarrow as pa

from millstream.io.walk import InputFile

Walk = Callable[[], Iterator[InputFile]]
"""Goes to the files, in their order; it may be gone through again."""


class FileList(Sequence[InputFile]):
    """The files that a walk finds. It goes on only when more of them are asked for.

    Several runs may ask at a time; each file is found once. A list that is copied to another
    process before it is complete begins its walk anew there.

    Args:
        walk: Finds them.
    """

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._left: Iterator[InputFile] | None = None
        self._pages: list[_Page] = []
        self._ends: list[int] = []
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self.is_complete = False

    def find(self, count: int | None, *, before: float | None = None) -> int:
        """Finds files until there are so many, or no more.

        Args:
            count: How many, in all; `None`: all.
            before: When to stop at the latest, by `time.monotonic`, after one page at least.

        Returns:
            How many there are now.

        Raises:
            ReadError: The walk failed; so it does for whoever asks next.
        """
        with self._lock:
            while not self.is_complete and (count is None or len(self) < count):
                self._find_page()
                if before is not None and _clock() >= before:
                    break
            return len(self)

    def _find_page(self) -> None:
        if self._error is not None:
            raise self._error
        if self._left is None:
            self._left = self._walk()
        try:
            found = list(islice(self._left, PAGE_FILES))
        except Exception as error:
            self._error = error
            raise
        if found:
            self._pages.append(_Page.of(found))
            self._ends.append(len(self) + len(found))
        self.is_complete = len(found) < PAGE_FILES
        if self.is_complete:
            self._left = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> InputFile: ...

    @overload
    def __getitem__(self, index: slice) -> list[InputFile]: ...

    def __getitem__(self, index: int | slice) -> InputFile | list[InputFile]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"file {index} of {len(self)}")
        page = bisect_right(self._ends, place)
        return self._pages[page].file(place - (self._ends[page - 1] if page else 0))

    def __iter__(self) -> Iterator[InputFile]:
        for page in self._pages:
            yield from map(page.file, range(len(page.sizes)))

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            if self.is_complete:
                return {"walk": self._walk, "pages": list(self._pages)}
        return {"walk": self._walk, "pages": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["walk"])  # type: ignore[misc]
        self._pages = state["pages"]
        self._ends = np.cumsum([len(page.sizes) for page in self._pages], dtype=int).tolist()
        self.is_complete = bool(self._pages)


@dataclass(frozen=True)
class _Page:
    """Some files, one after the other.

    Args:
        paths: Their paths, as bytes: names on a disk need not be text.
        sizes: Their bytes.
    """

    paths: pa.BinaryArray
    sizes: np.ndarray[Any, Any]

    @classmethod
    def of(cls, files: Sequence[InputFile]) -> _Page:
        paths = pa.array([os.fsencode(file.path) for file in files], pa.binary())
        return cls(paths, np.array([file.size for file in files], np.int64))

    def file(self, place: int) -> InputFile:
        return InputFile(os.fsdecode(self.paths[place].as_py()), int(self.sizes[place]))


#: The files that are found at a time: as many as stores name in an answer.
PAGE_FILES = 1000
_clock = time.monotonic
