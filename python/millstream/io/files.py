"""From what the user calls paths to the files that are read.

Owns file systems, the expansion of folders, and which files are left out. Must not know what is
inside a file.
"""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import ArgumentError, ReadError
from millstream.io.formats import reader_of
from millstream.io.partitioning import PathPartitionFilter
from millstream.io.source import blaming

Path = str | os.PathLike[str]
Paths = Path | Sequence[Path]


@dataclass(frozen=True)
class InputFile:
    """One file to read: its path on its file system, and its size in bytes."""

    path: str
    size: int


@dataclass(frozen=True)
class Listing:
    """Files to read, in order, all on one file system."""

    filesystem: pa_fs.FileSystem
    files: tuple[InputFile, ...]

    @property
    def paths(self) -> list[str]:
        """The path of each file."""
        return [file.path for file in self.files]


@dataclass(frozen=True)
class FileShuffleConfig:
    """Reads files in random order.

    Args:
        seed: The same seed gives the same order; without one, each call has its own.
    """

    seed: int | None = None

    def __post_init__(self) -> None:
        if self.seed is not None and not isinstance(self.seed, int):
            raise ArgumentError(f"the seed of a file shuffle must be an integer, not {self.seed!r}")


Shuffle = Literal["files"] | FileShuffleConfig | None


def list_files(
    paths: Paths,
    *,
    reader: str,
    filesystem: Any = None,
    file_extensions: Sequence[str] | None = None,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    partition_filter: PathPartitionFilter | None = None,
    shuffle: Shuffle = None,
) -> Listing:
    """Finds the files that a reader reads.

    Folders are searched to any depth and give their files in the order of their paths. Files and
    folders whose names start with "." or "_" are left out there. What is listed twice is read
    twice.

    Args:
        paths: A file, a folder, or a list of both, on one file system.
        reader: The name of the reader, for messages.
        filesystem: From `pyarrow.fs` or fsspec; by default the paths tell.
        file_extensions: Only files that end in one of these are read; `None`: all.
        ignore_missing_paths: Whether paths that do not exist are left out.
        skip_paths: Files, or folders, to leave out; they need not exist.
        partition_filter: Leaves out files by their partition values.
        shuffle: Whether the files are read in random order.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, or there is nothing to read.
    """
    asked = _as_list(paths, "paths")
    filesystem, resolved = resolve(asked, filesystem)
    found = list(_expand(filesystem, resolved, ignore_missing_paths))
    if not found:
        raise ReadError(_nothing(resolved, "no files"), file=resolved[0])
    found = _without(found, skip_paths, filesystem)
    files = _with_extension(found, resolved, file_extensions, reader)
    if partition_filter is not None:
        if not isinstance(partition_filter, PathPartitionFilter):
            raise ArgumentError("partition_filter must be a PathPartitionFilter")
        files = [file for file in files if partition_filter.accepts(file.path)]
    if not files:
        raise ReadError(_nothing(resolved, "no files that are not filtered out"), file=resolved[0])
    return Listing(filesystem, tuple(_shuffled(files, shuffle)))


def resolve(paths: Sequence[Path], filesystem: Any = None) -> tuple[pa_fs.FileSystem, list[str]]:
    """Finds the file system of paths, and what they are called there.

    Relative paths are those of the caller's working directory.

    Raises:
        ArgumentError: The scheme is unknown, or the paths are on different file systems.
        ReadError: The file system refuses, for instance for lack of credentials.
    """
    texts = [os.fspath(path) for path in paths]
    if filesystem is not None:
        filesystem = _as_arrow(filesystem)
        return filesystem, [_on(filesystem, text) for text in texts]
    schemes = {_root(text) for text in texts}
    if len(schemes) > 1:
        roots = " and ".join(sorted(root or "the local disk" for root in schemes))
        raise ArgumentError(
            f"the paths are on different file systems: {roots}; read each by itself"
        )
    root = schemes.pop()
    if not root:
        return pa_fs.LocalFileSystem(), [_local(text) for text in texts]
    filesystem, first = _from_uri(texts[0])
    # Asking for a file system again and again would cost a round trip for each path.
    prefix = first[: len(first) - len(texts[0][len(root) :].rstrip("/"))]
    return filesystem, [prefix + text[len(root) :].rstrip("/") for text in texts]


def open_file(filesystem: pa_fs.FileSystem, path: str) -> pa.NativeFile:
    """Opens a file for reading at any offset."""
    return filesystem.open_input_file(path)


def _as_list(paths: Paths, name: str) -> list[Path]:
    if isinstance(paths, (str, os.PathLike)):
        return [paths]
    if not isinstance(paths, Iterable) or isinstance(paths, bytes):
        raise ArgumentError(f"{name} must be a path or a list of paths, not {paths!r}")
    listed = list(paths)
    wrong = [path for path in listed if not isinstance(path, (str, os.PathLike)) or not str(path)]
    if wrong:
        raise ArgumentError(f"{name} must hold paths, not {wrong[0]!r}")
    if not listed:
        raise ArgumentError(f"{name} is an empty list: name a file or a folder")
    return listed


def _as_arrow(filesystem: Any) -> pa_fs.FileSystem:
    if isinstance(filesystem, pa_fs.FileSystem):
        return filesystem
    if hasattr(filesystem, "open") and hasattr(filesystem, "protocol"):
        return pa_fs.PyFileSystem(pa_fs.FSSpecHandler(filesystem))
    raise ArgumentError(
        f"filesystem must be a pyarrow.fs.FileSystem or one of fsspec, not {filesystem!r}"
    )


def _root(path: str) -> str:
    """Returns "scheme://host" of a URI, and "" for the local disk."""
    scheme, separator, rest = path.partition("://")
    if not separator or not scheme.replace("+", "").replace("-", "").isalnum():
        return ""
    if scheme.lower() in ("file", "local"):
        return ""
    return f"{scheme}://{rest.partition('/')[0]}"


def _local(path: str) -> str:
    scheme, separator, rest = path.partition("://")
    if separator and scheme.lower() == "file":
        with _refusing(path):
            return str(pa_fs.FileSystem.from_uri(path)[1])
    if separator and scheme.lower() == "local":
        path = rest
    return os.path.abspath(os.path.expanduser(path))


def _on(filesystem: pa_fs.FileSystem, path: str) -> str:
    if isinstance(filesystem, pa_fs.LocalFileSystem):
        return _local(path)
    rest = path.partition("://")[2] if _root(path) or path.startswith("file://") else path
    return rest.rstrip("/") or rest


def _from_uri(uri: str) -> tuple[pa_fs.FileSystem, str]:
    try:
        filesystem, path = pa_fs.FileSystem.from_uri(uri)
        return filesystem, path.rstrip("/")
    except pa.ArrowInvalid as error:
        if "Unrecognized filesystem" not in str(error):
            raise ArgumentError(f"{uri!r} is not a usable address: {error}") from error
    except OSError as error:
        raise ReadError(f"the file system refuses: {error}", file=uri) from error
    try:
        import fsspec
    except ImportError:
        raise ArgumentError(f"{uri!r} needs fsspec: pip install fsspec") from None
    with _refusing(uri):
        filesystem, path = fsspec.core.url_to_fs(uri)
    return _as_arrow(filesystem), path.rstrip("/")


@contextmanager
def _refusing(uri: str) -> Iterator[None]:
    """Turns the errors of file systems that are asked for something odd into `ArgumentError`."""
    try:
        yield
    except Exception as error:
        raise ArgumentError(f"{uri!r} is not a usable address: {error}") from error


def _expand(
    filesystem: pa_fs.FileSystem, paths: Sequence[str], ignore_missing: bool
) -> Iterator[InputFile]:
    with blaming(paths[0], "cannot look at the paths"):
        infos = filesystem.get_file_info(list(paths))
    for path, info in zip(paths, infos, strict=True):
        if info.type == pa_fs.FileType.File:
            yield InputFile(path, info.size or 0)
        elif info.type == pa_fs.FileType.Directory:
            yield from _files_below(filesystem, path)
        elif info.type != pa_fs.FileType.NotFound:
            raise ReadError("neither a file nor a folder", file=path)
        elif not ignore_missing:
            raise ReadError(f"no such file or folder: {path}{_globs(path)}", file=path)


def _files_below(filesystem: pa_fs.FileSystem, folder: str) -> list[InputFile]:
    with blaming(folder, "cannot list the folder"):
        infos = filesystem.get_file_info(pa_fs.FileSelector(folder, recursive=True))
    base = len(folder.rstrip("/")) + 1
    files = [
        InputFile(info.path, info.size or 0)
        for info in infos
        if info.type == pa_fs.FileType.File and not _is_hidden(info.path[base:])
    ]
    return sorted(files, key=lambda file: file.path)


def _is_hidden(relative: str) -> bool:
    # A folder such as "_year=2024" is a partition.
    names = relative.split("/")
    return any(name.startswith(".") or (name.startswith("_") and "=" not in name) for name in names)


def _without(
    files: list[InputFile], skip_paths: Paths | None, filesystem: pa_fs.FileSystem
) -> list[InputFile]:
    if skip_paths is None:
        return files
    skipped = {_on(filesystem, os.fspath(path)) for path in _as_list(skip_paths, "skip_paths")}
    folders = tuple(f"{path}/" for path in skipped)
    return [
        file for file in files if file.path not in skipped and not file.path.startswith(folders)
    ]


def _with_extension(
    files: list[InputFile], paths: Sequence[str], extensions: Sequence[str] | None, reader: str
) -> list[InputFile]:
    if extensions is None:
        return files
    if isinstance(extensions, str) or not all(isinstance(name, str) for name in extensions):
        raise ArgumentError(f"file_extensions must be a list of strings, not {extensions!r}")
    endings = tuple(f".{name.lower().lstrip('.')}" for name in extensions)
    kept = [file for file in files if file.path.lower().endswith(endings)]
    if not kept:
        raise ReadError(_no_such_extension(files, paths, endings, reader), file=paths[0])
    _tell_left_out(files, set(paths), endings, reader)
    return kept


def _tell_left_out(
    files: list[InputFile], named: set[str], endings: tuple[str, ...], reader: str
) -> None:
    """Says so when a file that the user named himself is left out."""
    left_out = [
        file.path
        for file in files
        if file.path in named and not file.path.lower().endswith(endings)
    ]
    if left_out:
        _log.warning(
            "%s leaves out %d of the files named, the first of them %s: file_extensions are %s",
            reader,
            len(left_out),
            left_out[0],
            ", ".join(endings),
        )


def _no_such_extension(
    files: list[InputFile], paths: Sequence[str], endings: tuple[str, ...], reader: str
) -> str:
    found = Counter(os.path.splitext(file.path)[1].lower() for file in files)
    seen = ", ".join(f"{count} of {name or '(none)'}" for name, count in found.most_common(5))
    message = (
        f"{reader} found no file that ends in {' or '.join(endings)} "
        f"in {_in_short(paths)}; found: {seen}."
    )
    other = reader_of(found.most_common(1)[0][0].lstrip("."))
    if other and other != reader:
        return f"{message} For these, use {other}."
    return f"{message} To read every file, pass file_extensions=None."


def _nothing(paths: Sequence[str], what: str) -> str:
    return f"there are {what} in {_in_short(paths)}"


def _in_short(paths: Sequence[str]) -> str:
    rest = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{rest}"


def _globs(path: str) -> str:
    return " (wildcards are not expanded)" if any(mark in path for mark in "*?[") else ""


def _shuffled(files: list[InputFile], shuffle: Shuffle) -> list[InputFile]:
    if shuffle is None:
        return files
    seed: int | None
    if isinstance(shuffle, FileShuffleConfig):
        seed = shuffle.seed
    elif shuffle == "files":
        seed = None
    else:
        raise ArgumentError(f"shuffle must be None, 'files' or a FileShuffleConfig: {shuffle!r}")
    files = list(files)
    random.Random(seed).shuffle(files)  # noqa: S311 - not a secret
    return files


_log = logging.getLogger(__name__)
