"""Which files a reader reads, and in which order.

Owns which of the files that there are are left out, and the order of each run. Must not know how
files are found (`millstream.io.walk`), nor what is inside them.
"""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import ReadError
from millstream.errors.checks import is_sequence, require
from millstream.io.addresses import Path, Paths, name_on, resolve
from millstream.io.extensions import extensions_of, reader_of
from millstream.io.file_options import FileOptions, FileShuffleConfig
from millstream.io.walk import InputFile, expand


@dataclass(frozen=True)
class Listing:
    """Files to read, all on one file system.

    Args:
        filesystem: Where they are.
        files: The files, in the order in which they were listed.
        shuffle: In which order a run reads them, if not in this one.
    """

    filesystem: pa_fs.FileSystem
    files: tuple[InputFile, ...]
    shuffle: FileShuffleConfig | None = None

    @property
    def paths(self) -> list[str]:
        """The path of each file."""
        return [file.path for file in self.files]

    def drawn(self) -> Listing:
        """The same files in the order of one run."""
        if self.shuffle is None:
            return self
        files = list(self.files)
        random.Random(self.shuffle.seed).shuffle(files)  # noqa: S311 - not a secret
        return replace(self, files=tuple(files))


def list_files(paths: Paths, options: FileOptions, *, reader: str) -> Listing:
    """Finds the files that a reader reads.

    Folders are searched to any depth and give their files in the order of their paths. Files and
    folders whose names start with "." or "_" are left out there, and so are those that do not end
    in one of the extensions, which is told. What is listed twice is read twice.

    Args:
        paths: A file, a folder, a pattern such as "data/**/*.jpg", or a list of them, on one file
            system.
        options: Which of the files there.
        reader: The name of the reader, for messages.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, a link leads to a file that does not, or there is nothing
            to read.
    """
    asked = _as_list(paths, "paths")
    filesystem, resolved = resolve(asked, options.filesystem)
    found = list(expand(filesystem, resolved, options.ignore_missing_paths))
    if not found:
        raise ReadError(_nothing(resolved, "no files"), file=resolved[0])
    found = _without(found, options.skip_paths, filesystem)
    files = _with_extension(found, resolved, options.file_extensions, reader)
    if options.partition_filter is not None:
        files = [file for file in files if options.partition_filter.accepts(file.path)]
    files = _without_gone(files, options.ignore_missing_paths, reader)
    if not files:
        raise ReadError(_nothing(resolved, "no files that are not filtered out"), file=resolved[0])
    return Listing(filesystem, tuple(files), options.order)


def open_file(filesystem: pa_fs.FileSystem, path: str) -> pa.NativeFile:
    """Opens a file for reading at any offset."""
    return filesystem.open_input_file(path)


def _as_list(paths: Paths, name: str) -> list[Path]:
    if isinstance(paths, (str, os.PathLike)):
        return [paths]
    require(is_sequence(paths), name, paths, "a path or a list of paths")
    listed = list(paths)
    for path in listed:
        is_path = isinstance(path, (str, os.PathLike)) and str(path)
        require(bool(is_path), f"{name}[{listed.index(path)}]", path, "a path")
    require(bool(listed), name, paths, "a list with at least one file or folder")
    return listed


def _without(
    files: list[InputFile], skip_paths: Paths | None, filesystem: pa_fs.FileSystem
) -> list[InputFile]:
    if skip_paths is None:
        return files
    skipped = {name_on(filesystem, os.fspath(path)) for path in _as_list(skip_paths, "skip_paths")}
    folders = tuple(f"{path}/" for path in skipped)
    return [
        file for file in files if file.path not in skipped and not file.path.startswith(folders)
    ]


def _with_extension(
    files: list[InputFile], paths: Sequence[str], extensions: Sequence[str] | None, reader: str
) -> list[InputFile]:
    if extensions is None:
        return files
    endings = tuple(f".{name.lower().lstrip('.')}" for name in extensions)
    kept = [file for file in files if file.path.lower().endswith(endings)]
    if not kept:
        raise ReadError(_no_such_extension(files, paths, endings, reader), file=paths[0])
    # Who names the extensions himself knows what else is in the folders.
    is_default = tuple(extensions) == extensions_of(reader)
    named = set(paths)
    left_out = [
        file.path
        for file in files
        if not file.path.lower().endswith(endings) and (is_default or file.path in named)
    ]
    if left_out:
        _log.warning(
            "%s leaves out %d files (%s), for instance %s: file_extensions are %s",
            reader,
            len(left_out),
            _by_extension(left_out),
            left_out[0],
            ", ".join(endings),
        )
    return kept


def _without_gone(files: list[InputFile], ignore_missing: bool, reader: str) -> list[InputFile]:
    gone = [file.path for file in files if file.is_gone]
    if not gone:
        return files
    if not ignore_missing:
        raise ReadError(
            f"this link leads to a file that is gone{_and_more(gone)}; remove it, or pass "
            "ignore_missing_paths=True to leave such links out",
            file=gone[0],
        )
    _log.warning(
        "%s leaves out %d links to files that are gone, for instance %s", reader, len(gone), gone[0]
    )
    return [file for file in files if not file.is_gone]


def _by_extension(paths: Sequence[str]) -> str:
    found = Counter(os.path.splitext(path)[1].lower() for path in paths)
    return ", ".join(f"{count} of {name or '(none)'}" for name, count in found.most_common(5))


def _no_such_extension(
    files: list[InputFile], paths: Sequence[str], endings: tuple[str, ...], reader: str
) -> str:
    found = Counter(os.path.splitext(file.path)[1].lower() for file in files)
    message = (
        f"{reader} found no file that ends in {' or '.join(endings)} "
        f"in {_in_short(paths)}; found: {_by_extension([file.path for file in files])}."
    )
    other = reader_of(found.most_common(1)[0][0].lstrip("."))
    if other and other != reader:
        return f"{message} For these, use {other}."
    return f"{message} To read every file, pass file_extensions=None."


def _nothing(paths: Sequence[str], what: str) -> str:
    return f"there are {what} in {_in_short(paths)}"


def _in_short(paths: Sequence[str]) -> str:
    return f"{paths[0]}{_and_more(paths)}"


def _and_more(paths: Sequence[str]) -> str:
    return f" and {len(paths) - 1} more" if len(paths) > 1 else ""


_log = logging.getLogger(__name__)
