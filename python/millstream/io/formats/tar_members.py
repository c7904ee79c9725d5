"""The members of tar archives, read one after the other, without what `tarfile` lets pass.

Owns when an archive is whole. Must not know what members are for. Nothing is extracted to disk.

`tarfile` takes a header that is damaged, or cut, for the end of the archive, and so it does with
the end of the file. Here these are errors: a whole archive ends in a block of zeros, and nothing
else follows.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from millstream.errors import ReadError


@dataclass(frozen=True)
class Member:
    """A member of an archive.

    Args:
        name: Its path in the archive.
        offset: Where it begins in the archive, which may be compressed as a whole.
        is_link: Whether it has no bytes of its own, but those of another file.
        is_file: Whether it has bytes.
        data: Reads these; only before the next member is asked for.
    """

    name: str
    offset: int
    is_link: bool
    is_file: bool
    data: Callable[[], bytes]


def iter_members(stream: pa.NativeFile, path: str) -> Iterator[Member]:
    """Yields the members in their order, of which one header is held at a time.

    Args:
        stream: Is read from its beginning to its end.
        path: The archive, for errors.

    Raises:
        ReadError: The archive is cut, damaged or none.
    """
    place = "at its beginning"
    try:
        with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Header, encoding="utf-8") as archive:
            while (header := archive.next()) is not None:
                place = f"behind the header of {header.name!r} at byte {header.offset}"
                yield _member(archive, header, path)
                # The archive would keep all headers.
                cast(Any, archive).members = []
            place = "behind its end"
            _require_end(cast(Any, archive.fileobj))
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(f"cannot read this tar archive {place}: {error}", file=path) from error


def _member(archive: tarfile.TarFile, header: tarfile.TarInfo, path: str) -> Member:
    try:
        header.name.encode()
    except UnicodeEncodeError as error:
        raise ReadError(
            f"the name of the member {header.name!r} at byte {header.offset} is not UTF-8",
            file=path,
        ) from error

    def data() -> bytes:
        try:
            file = archive.extractfile(header)
            return b"" if file is None else file.read()
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ReadError(
                f"cannot read all {header.size} bytes of the member {header.name!r} at byte "
                f"{header.offset}: {error}",
                file=path,
            ) from error

    is_link = header.issym() or header.islnk()
    return Member(header.name, header.offset, is_link, header.isreg(), data)


class _Header(tarfile.TarInfo):
    """A header that is no header is an error, not the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            header = super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == _END:
                raise
            raise tarfile.ReadError(_problem(error, archive.offset)) from error
        if header.size < 0:
            raise tarfile.ReadError(f"the member at byte {header.offset} has a negative size")
        return header


def _problem(error: Exception, offset: int) -> str:
    if type(error).__name__ != _NOTHING:
        return f"no header of a member at byte {offset}: {error}"
    return (
        f"it ends at byte {offset} without the block of zeros that ends an archive: it is cut off "
        "between two members, or its writer was not closed; if nothing is missing, append 1024 "
        "bytes of zeros"
    )


def _require_end(file: Any) -> None:
    """Reads what follows the end, which are zeros; a checksum of the compression may be there."""
    while chunk := file.read(_CHUNK_BYTES):
        if chunk.count(0) != len(chunk):
            raise tarfile.ReadError(
                "something follows the block of zeros that ends the archive, as where archives are "
                "joined by `cat`; join them by `tar --concatenate`"
            )


# Not in the types that Python has for `tarfile`: a block of zeros, and the end of the file.
_END, _NOTHING = "EOFHeaderError", "EmptyHeaderError"
_CHUNK_BYTES = 1 << 16
