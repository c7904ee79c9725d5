"""A Zarr store on any file system of Arrow, read only.

Owns which keys are looked up, and which chunks were not there. Must not know what becomes of the
values. Loads zarr, so it is imported when a store is opened.

zarr gives values for chunks that are not there, so that a chunk which was lost reads like one that
was never written. Here they are counted. Of a chunk that is cut off, some codecs give what lies in
other memory of the process; its length is checked before. Whoever can write a store could have any
code run by the codec "pickle"; it is refused before zarr sees it.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pyarrow.fs as pa_fs
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from millstream.io.files import open_file


class ArrowStore(Store):
    """A folder that holds a Zarr hierarchy.

    Args:
        filesystem: Where it is.
        root: The folder.
        refuses_missing: Whether a chunk that is not there is an error.
    """

    def __init__(
        self, filesystem: pa_fs.FileSystem, root: str, *, refuses_missing: bool = False
    ) -> None:
        super().__init__(read_only=True)
        self._filesystem = filesystem
        self._root = root
        self._refuses_missing = refuses_missing
        #: The keys of the chunks that were asked for and are not there.
        self.missing: set[str] = set()
        #: By array, what says of the bytes of a chunk how many there must be at least.
        self.lengths: dict[str, Callable[[bytes], int]] = {}

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """The bytes of a key, or some of them; `None` if it is not there.

        Raises:
            ValueError: It is a chunk that is not there, and that is refused; or one that is cut
                off; or its array has a codec that could run any code.
        """
        data = await asyncio.to_thread(self._read, key, byte_range)
        is_metadata = posixpath.basename(key) in _METADATA
        if data is None:
            if not is_metadata:
                self._note_missing(key)
            return None
        if not is_metadata:
            self._check_length(key, data, byte_range)
        if is_metadata and not key.endswith(".zattrs"):
            _check_codecs(key, data)
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """The bytes of several keys."""
        wanted = (self.get(key, prototype, byte_range) for key, byte_range in key_ranges)
        return list(await asyncio.gather(*wanted))

    async def exists(self, key: str) -> bool:
        """Whether there is such a key."""
        info = await asyncio.to_thread(self._filesystem.get_file_info, self._path(key))
        return bool(info.type == pa_fs.FileType.File)

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        for key in await asyncio.to_thread(self._keys, "", True):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """The keys in a folder, at any depth."""
        for key in await asyncio.to_thread(self._keys, prefix, True):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The names in a folder."""
        for key in await asyncio.to_thread(self._keys, prefix, False):
            yield posixpath.basename(key)

    @property
    def supports_writes(self) -> bool:
        """It does not."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """It does not."""
        return False

    @property
    def supports_listing(self) -> bool:
        """It does."""
        return True

    async def set(self, key: str, value: Buffer) -> None:
        """Is never asked for."""
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Is never asked for."""
        raise NotImplementedError

    def _check_length(self, key: str, data: bytes, byte_range: ByteRequest | None) -> None:
        """Refuses a chunk, or a part of one, that is cut off."""
        # No chunk is empty, but zarr takes an empty file for chunks that were never written.
        least = 1
        if isinstance(byte_range, RangeByteRequest):
            least = byte_range.end - byte_range.start
        elif byte_range is None:
            name = next((name for name in self.lengths if _is_in(key, name)), None)
            least = 1 if name is None else max(1, self.lengths[name](data))
        if len(data) < least:
            raise ValueError(
                f"the chunk {key!r} is cut off: it has {len(data)} bytes where at least {least} "
                "should be"
            )

    def _note_missing(self, key: str) -> None:
        if self._refuses_missing:
            raise ValueError(
                f"the chunk {key!r} is not there; pass missing_chunks='fill' for the fill value"
            )
        self.missing.add(key)

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        try:
            with open_file(self._filesystem, self._path(key)) as file:
                start, size = _place(byte_range, file.size())
                file.seek(start)
                data: bytes = file.read(size)
                return data
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError:
            # A folder of such a name, which each file system refuses in its own way.
            if self._filesystem.get_file_info(self._path(key)).type == pa_fs.FileType.Directory:
                return None
            raise

    def _keys(self, prefix: str, is_deep: bool) -> Sequence[str]:
        folder = pa_fs.FileSelector(self._path(prefix), True, is_deep)
        start = len(self._root.rstrip("/")) + 1
        found = self._filesystem.get_file_info(folder)
        return sorted(
            info.path[start:] for info in found if not is_deep or info.type == pa_fs.FileType.File
        )

    def _path(self, key: str) -> str:
        if ".." in key.split("/"):
            raise ValueError(f"the key {key!r} leads out of the store")
        return f"{self._root}/{key}".rstrip("/")


def _place(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    """Where some bytes begin, and how many they are."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, byte_range.end - byte_range.start
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, max(0, size - byte_range.offset)
    if isinstance(byte_range, SuffixByteRequest):
        return max(0, size - byte_range.suffix), min(size, byte_range.suffix)
    return 0, size


def _is_in(key: str, name: str) -> bool:
    return key.startswith(f"{name}/") if name else True


def _check_codecs(key: str, data: bytes) -> None:
    """Refuses metadata by which values would be unpickled."""
    if _is_unpickled(json.loads(data or b"null")):
        raise ValueError(
            f"{key!r} names the codec 'pickle', which is not read, since with it a store could run "
            "any code"
        )


def _is_unpickled(metadata: Any) -> bool:
    if isinstance(metadata, dict):
        named = (metadata.get("id"), metadata.get("name"))
        is_pickle = any(isinstance(name, str) and "pickle" in name.lower() for name in named)
        # What users note of an array is theirs.
        others = [
            value
            for key, value in metadata.items()
            if key != "attributes" and not key.endswith(".zattrs")
        ]
        return is_pickle or any(map(_is_unpickled, others))
    return isinstance(metadata, list) and any(map(_is_unpickled, metadata))


_METADATA = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")
