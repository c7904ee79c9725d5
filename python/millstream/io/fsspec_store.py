"""File systems of fsspec, whose errors come out as they are.

Owns where Arrow's own bridge, and fsspec, take what fails for a moment for something that is not
there. Must not know who repeats what fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.io.store_files import PART_BYTES


class FsspecStore(pa_fs.FSSpecHandler):  # type: ignore[misc]
    """A file system of fsspec whose errors come out as they are.

    Arrow asks first whether a path is a file or a folder; fsspec answers no if it cannot find out,
    so that what fails for a moment looks like a file that is missing.
    """

    def get_file_info_selector(self, selector: pa_fs.FileSelector) -> list[pa_fs.FileInfo]:
        """Lists a folder."""
        # What others have written since it was listed last counts.
        self.fs.invalidate_cache(selector.base_dir)
        try:
            found = self.fs.info(selector.base_dir)
        except FileNotFoundError:
            if selector.allow_not_found:
                return []
            raise
        if found["type"] != "directory":
            raise NotADirectoryError(selector.base_dir)
        below = self._below(selector.base_dir, selector.recursive)
        return [self._create_file_info(path, info) for path, info in below]

    def delete_dir(self, path: str) -> None:
        """Deletes a folder."""
        self._remove(path, recursive=True)

    def delete_file(self, path: str) -> None:
        """Deletes a file."""
        self._remove(path, recursive=False)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Opens a file."""
        return pa.PythonFile(self.fs.open(path, mode="rb"), mode="r")

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Opens a file."""
        return pa.PythonFile(self.fs.open(path, mode="rb"), mode="r")

    def send(self, held: IO[bytes], path: str) -> None:
        """Sends a file of this disk whole, so that no part of it is ever seen as all of it."""
        with open(held.name, "rb") as file:
            if os.fstat(file.fileno()).st_size <= PART_BYTES:
                self.fs.pipe_file(path, file.read())
            else:
                self.fs.put_file(held.name, path)

    def _below(self, folder: str, recursive: bool) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields what a folder holds."""
        if _is_walked(self.fs):
            found = ((info["name"].rstrip("/"), info) for info in self.fs.ls(folder, detail=True))
        else:
            depth = None if recursive else 1
            all_below = self.fs.find(folder, maxdepth=depth, withdirs=True, detail=True)
            found = iter(all_below.items())
        for path, info in found:
            if path.strip("/") == folder.strip("/"):
                continue
            yield path, info
            if recursive and info["type"] == "directory" and _is_walked(self.fs):
                yield from self._below(path, recursive)

    def _remove(self, path: str, *, recursive: bool) -> None:
        """Deletes what is at a path; fsspec leaves out what it cannot look at, or calls it missing.

        Raises:
            FileNotFoundError: There is nothing.
            ConnectionError: There still is something.
        """
        self.fs.info(path)
        with suppress(FileNotFoundError):
            self.fs.rm(path, recursive=recursive)
        try:
            self.fs.info(path)
        except FileNotFoundError:
            return
        raise ConnectionError("it is still there")


def _is_walked(filesystem: Any) -> bool:
    """Tells whether a file system lists as fsspec does, folder by folder, and not in its own way.

    Folders that cannot be listed would be left out then.
    """
    from fsspec.asyn import AsyncFileSystem
    from fsspec.spec import AbstractFileSystem

    kind = type(filesystem)
    if isinstance(filesystem, AsyncFileSystem):
        return kind._find is AsyncFileSystem._find and kind.find is AbstractFileSystem.find
    return bool(kind.find is AbstractFileSystem.find)
