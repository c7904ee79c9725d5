"""Stores that are not on this machine: what fails there for a moment is done again.

Owns how each call to a file system is repeated, and where a read goes on. `retries` owns what is
repeated and how often; must not know what is in files.

The clients of S3, Google, Azure and HDFS that come with Arrow repeat requests themselves, part by
part, and read several parts of a file at once: their streams are handed on as they are, unless
errors of the user's choice are to be repeated too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.io.fsspec_store import FsspecStore
from millstream.io.retries import Retries
from millstream.io.store_files import MUCH, PART_BYTES, RetriedFile, Upload


def retried(filesystem: pa_fs.FileSystem, retries: Retries | None = None) -> pa_fs.FileSystem:
    """Returns a file system whose calls are repeated; one of this machine is returned as it is.

    Args:
        filesystem: The file system.
        retries: How often; by default as the settings of this process say.
    """
    if _is_here(filesystem) or plain(filesystem) is not filesystem:
        return filesystem
    if isinstance(filesystem, pa_fs.PyFileSystem) and _is_of_fsspec(filesystem.handler):
        filesystem = pa_fs.PyFileSystem(FsspecStore(filesystem.handler.fs))
    return pa_fs.PyFileSystem(RetriedStore(filesystem, retries or Retries.current()))


def plain(filesystem: pa_fs.FileSystem) -> pa_fs.FileSystem:
    """Returns the file system that is within one of `retried`, for libraries that want it so."""
    handler = getattr(filesystem, "handler", None)
    return handler.inner if isinstance(handler, RetriedStore) else filesystem


def protocols_of(filesystem: pa_fs.FileSystem) -> tuple[str, ...]:
    """Returns what fsspec calls a file system, or the innermost one in it; () if it is no such."""
    inner: Any = getattr(getattr(filesystem, "handler", None), "fs", None)
    while getattr(inner, "fs", None) is not None:
        inner = inner.fs
    protocol = getattr(inner, "protocol", ())
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


@dataclass(frozen=True)
class RetriedStore(pa_fs.FileSystemHandler):  # type: ignore[misc]
    """A file system of Arrow that does again what failed for a moment.

    Args:
        inner: The file system.
        retries: How often, and how long it is waited for.
    """

    inner: pa_fs.FileSystem
    retries: Retries = field(default_factory=Retries)

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrow's S3 client forgets on the way how often it repeats.
        if isinstance(self.inner, _kind("S3FileSystem")):
            return _with_s3, (self.inner.__reduce__()[1][0], self.retries)
        return type(self), (self.inner, self.retries)

    def get_type_name(self) -> str:
        """What the file system calls itself."""
        return str(self.inner.type_name)

    def normalize_path(self, path: str) -> str:
        """As the file system does."""
        return str(self.inner.normalize_path(path))

    def get_file_info(self, paths: Sequence[str]) -> list[pa_fs.FileInfo]:
        """Looks at each path."""
        if self._repeats_itself:
            found = self._call(partial(self.inner.get_file_info, paths), "cannot look at the paths")
            return list(found)
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: pa_fs.FileSelector) -> list[pa_fs.FileInfo]:
        """Lists a folder."""
        what = f"cannot list {selector.base_dir}"
        return list(self._call(partial(self.inner.get_file_info, selector), what, MUCH))

    def create_dir(self, path: str, recursive: bool) -> None:
        """Makes a folder."""
        self._call(partial(self.inner.create_dir, path, recursive=recursive), f"cannot make {path}")

    def delete_dir(self, path: str) -> None:
        """Deletes a folder."""
        self._delete(partial(self.inner.delete_dir, path), path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Deletes what is in a folder."""
        delete = partial(self.inner.delete_dir_contents, path, missing_dir_ok=missing_dir_ok)
        self._delete(delete, path)

    def delete_root_dir_contents(self) -> None:
        """Deletes all there is."""
        self._delete(partial(self.inner.delete_dir_contents, "/", accept_root_dir=True), "/")

    def delete_file(self, path: str) -> None:
        """Deletes a file."""
        self._delete(partial(self.inner.delete_file, path), path)

    def move(self, src: str, dest: str) -> None:
        """Moves a file or a folder."""

        def is_there() -> bool:
            return bool(self._info(dest).type != pa_fs.FileType.NotFound)

        move = partial(self.inner.move, src, dest)
        self._call(move, f"cannot move {src} to {dest}", MUCH, is_there)

    def copy_file(self, src: str, dest: str) -> None:
        """Copies a file."""
        copy = partial(self.inner.copy_file, src, dest)
        self._call(copy, f"cannot copy {src} to {dest}", MUCH)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Opens a file to read it from its begin to its end."""
        if self._repeats_itself:
            return self.inner.open_input_stream(path, compression=None)
        return self._opened(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Opens a file to read it anywhere."""
        if self._repeats_itself:
            return self.inner.open_input_file(path)
        return self._opened(path)

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Opens a file to write it."""
        open_stream = partial(
            self.inner.open_output_stream, path, compression=None, metadata=metadata or None
        )
        if self._repeats_itself:
            return open_stream()
        handler = getattr(self.inner, "handler", None)
        if isinstance(handler, FsspecStore):
            send = partial(handler.send, path=path)
        else:
            send = partial(_written, open_stream)
        return pa.PythonFile(Upload(send, path, self.retries), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Opens a file to add to it, which is not repeated: nobody knows what came through."""
        return self.inner.open_append_stream(path, compression=None, metadata=metadata or None)

    @property
    def _repeats_itself(self) -> bool:
        """Whether nothing is to be added to what the client of the store does."""
        return _innermost(self.inner).type_name in _CLIENTS and not self.retries.texts

    def _info(self, path: str) -> pa_fs.FileInfo:
        found = self._call(lambda: self.inner.get_file_info([path]), f"cannot look at {path}")
        return found[0]

    def _opened(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(RetriedFile(self.inner, path, self.retries), mode="r")

    def _delete(self, action: Callable[[], None], path: str) -> None:
        self._call(action, f"cannot delete {path}", MUCH, lambda: True)

    def _call(
        self,
        action: Callable[[], Any],
        what: str,
        patience: float = 1.0,
        is_done: Callable[[], bool] | None = None,
    ) -> Any:
        is_bounded = not self._repeats_itself
        return self.retries.call(
            action, what, is_bounded=is_bounded, patience=patience, is_done=is_done
        )


def patient_s3(options: Mapping[str, Any]) -> pa_fs.FileSystem:
    """Makes Arrow's client of S3, with more attempts than it has of itself."""
    strategy = pa_fs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS)
    return pa_fs.S3FileSystem(**options, retry_strategy=strategy)


def _written(open_stream: Callable[[], pa.NativeFile], held: IO[bytes]) -> None:
    with open(held.name, "rb") as file, open_stream() as stream:
        while data := file.read(PART_BYTES):
            stream.write(data)


def _is_of_fsspec(handler: Any) -> bool:
    return type(handler) is pa_fs.FSSpecHandler


def _with_s3(options: Mapping[str, Any], retries: Retries) -> RetriedStore:
    return RetriedStore(patient_s3(options), retries)


def _kind(name: str) -> type:
    """Returns a class of Arrow, which some builds of it lack."""
    return getattr(pa_fs, name, type(None))


def _innermost(filesystem: pa_fs.FileSystem) -> pa_fs.FileSystem:
    while isinstance(filesystem, pa_fs.SubTreeFileSystem):
        filesystem = filesystem.base_fs
    return filesystem


def _is_here(filesystem: pa_fs.FileSystem) -> bool:
    """Tells whether a file system is on this machine, where nothing fails for a moment only."""
    filesystem = _innermost(filesystem)
    if isinstance(filesystem, pa_fs.PyFileSystem):
        return bool(_HERE.intersection(protocols_of(filesystem)))
    return isinstance(filesystem, pa_fs.LocalFileSystem) or filesystem.type_name == "mock"


#: What Arrow calls the file systems whose clients repeat requests themselves.
_CLIENTS = ("s3", "gcs", "abfs", "hdfs")
#: What fsspec calls those of this machine.
_HERE = frozenset({"file", "local", "memory"})
# In three, a store that fails one request in ten would fail one read in a thousand.
_S3_ATTEMPTS = 8
