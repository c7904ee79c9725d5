"""Which files a reader reads, and in which order.

Owns which of the files that there are are left out, and the order of each run. Must not know how
files are found (`millstream.io.walk`), nor what is inside them.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import ReadError
from millstream.errors.checks import is_sequence, require
from millstream.io.addresses import Path, Paths, name_on, resolve
from millstream.io.extensions import extensions_of, reader_of
from millstream.io.file_list import FileList
from millstream.io.file_options import FileOptions, FileShuffleConfig
from millstream.io.walk import InputFile, expand


@dataclass(frozen=True)
class Listing:
    """Files to read, all on one file system.

    Args:
        filesystem: Where they are.
        files: The files, in the order in which they were listed.
        shuffle: In which order a run reads them, if not in this one.
        all: The list that goes on behind these files while they are read; `None`: they are all.
    """

    filesystem: pa_fs.FileSystem
    files: tuple[InputFile, ...]
    shuffle: FileShuffleConfig | None = None
    all: FileList | None = None

    @property
    def paths(self) -> list[str]:
        """The path of each file."""
        return [file.path for file in self.files]

    @property
    def repeats_order(self) -> bool:
        """Whether each run has the same order."""
        return self.shuffle is None or self.shuffle.seed is not None

    def drawn(self) -> Listing:
        """The same files in the order of one run."""
        if self.shuffle is None:
            return self
        files = list(self.files)
        random.Random(self.shuffle.seed).shuffle(files)  # noqa: S311 - not a secret
        return replace(self, files=tuple(files))

    def completed(self) -> Listing:
        """The same with all files.

        Raises:
            ReadError: They cannot be listed.
        """
        if self.all is None:
            return self
        self.all.find(None)
        return replace(self, files=tuple(self.all), all=None)


def list_files(
    paths: Paths, options: FileOptions, *, reader: str, may_go_on: bool = False
) -> Listing:
    """Finds the files that a reader reads.

    Folders are searched to any depth and give their files in the order of their paths. Files and
    folders whose names start with "." or "_" are left out there, and so are those that do not end
    in one of the extensions, which is told. What is listed twice is read twice.

    Args:
        paths: A file, a folder, a pattern such as "data/**/*.jpg", or a list of them, on one file
            system.
        options: Which of the files there.
        reader: The name of the reader, for messages.
        may_go_on: Whether a long list may end while the first files are read: a reader that need
            not see all of them before. It is complete all the same if their order is random, or if
            their paths hold columns, whose types all of them decide.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, a link leads to a file that does not, or there is nothing
            to read.
    """
    asked = _as_list(paths, "paths")
    filesystem, resolved = resolve(asked, options.filesystem)
    skipped = None if options.skip_paths is None else _as_list(options.skip_paths, "skip_paths")
    names = [name_on(filesystem, os.fspath(path)) for path in skipped or ()]
    found = FileList(partial(_wanted, filesystem, resolved, options, reader, names))
    if may_go_on and options.order is None and options.partitioning is None:
        found.find(FILES_AT_ONCE, before=_clock() + SECONDS_AT_ONCE)
    else:
        found.find(None)
    goes_on = None if found.is_complete else found
    return Listing(filesystem, tuple(found), options.order, goes_on)


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


def _wanted(
    filesystem: pa_fs.FileSystem,
    paths: Sequence[str],
    options: FileOptions,
    reader: str,
    skip: Sequence[str],
) -> Iterator[InputFile]:
    """Yields the files that a reader reads, and tells at the end what it leaves out.

    Raises:
        ReadError: A path does not exist, or there is nothing to read.
    """
    left_out = _LeftOut(reader, paths, options, skip)
    is_empty = True
    for file in expand(filesystem, paths, options.ignore_missing_paths):
        if left_out.takes(file):
            is_empty = False
            yield file
    left_out.tell(is_empty=is_empty)


class _LeftOut:
    """What a reader does not read of what there is.

    Args:
        reader: Its name.
        paths: Where it looks.
        options: What it wants.
        skip: Files and folders that it is not to read.
    """

    def __init__(
        self, reader: str, paths: Sequence[str], options: FileOptions, skip: Sequence[str]
    ) -> None:
        self._reader = reader
        self._paths = paths
        self._options = options
        extensions = options.file_extensions
        names = [] if extensions is None else extensions
        self._endings = tuple(f".{name.lower().lstrip('.')}" for name in names)
        self._skipped, self._skipped_folders = set(skip), tuple(f"{path}/" for path in skip)
        self._named = set(paths)
        # Who names the extensions himself knows what else is in the folders.
        self._is_default = extensions is not None and tuple(extensions) == extensions_of(reader)
        self._found = self._of_extension = 0
        # By extension: those of other ones, and those of them that are told of.
        self._others: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._first_told: str | None = None
        self._gone = 0
        self._first_gone: str | None = None

    def takes(self, file: InputFile) -> bool:
        """Whether a file is read; takes note of it if not.

        Raises:
            ReadError: It is a link to a file that is gone.
        """
        path = file.path
        self._found += 1
        if path in self._skipped or path.startswith(self._skipped_folders):
            return False
        if self._options.file_extensions is not None and not path.lower().endswith(self._endings):
            self._note_other(path)
            return False
        self._of_extension += 1
        chosen = self._options.partition_filter
        if chosen is not None and not chosen.accepts(path):
            return False
        if file.is_gone:
            self._note_gone(path)
        return not file.is_gone

    def _note_other(self, path: str) -> None:
        extension = os.path.splitext(path)[1].lower()
        self._others[extension] += 1
        if self._is_default or path in self._named:
            self._told[extension] += 1
            self._first_told = self._first_told or path

    def _note_gone(self, path: str) -> None:
        if not self._options.ignore_missing_paths:
            raise ReadError(
                "this link leads to a file that is gone; remove it, or pass "
                "ignore_missing_paths=True to leave such links out",
                file=path,
            )
        self._gone += 1
        self._first_gone = self._first_gone or path

    def tell(self, *, is_empty: bool) -> None:
        """Tells what was left out.

        Raises:
            ReadError: All of it was.
        """
        if is_empty:
            raise ReadError(self._why_nothing(), file=self._paths[0])
        if self._told:
            _log.warning(
                "%s leaves out %d files (%s), for instance %s: file_extensions are %s",
                self._reader,
                self._told.total(),
                _by_extension(self._told),
                self._first_told,
                ", ".join(self._endings),
            )
        if self._gone:
            _log.warning(
                "%s leaves out %d links to files that are gone, for instance %s",
                self._reader,
                self._gone,
                self._first_gone,
            )

    def _why_nothing(self) -> str:
        if not self._found:
            return _nothing(self._paths, "no files")
        if self._of_extension or not self._others:
            return _nothing(self._paths, "no files that are not filtered out")
        message = (
            f"{self._reader} found no file that ends in {' or '.join(self._endings)} "
            f"in {_in_short(self._paths)}; found: {_by_extension(self._others)}."
        )
        other = reader_of(self._others.most_common(1)[0][0].lstrip("."))
        if other and other != self._reader:
            return f"{message} For these, use {other}."
        return f"{message} To read every file, pass file_extensions=None."


def _by_extension(found: Counter[str]) -> str:
    return ", ".join(f"{count} of {name or '(none)'}" for name, count in found.most_common(5))


def _nothing(paths: Sequence[str], what: str) -> str:
    return f"there are {what} in {_in_short(paths)}"


def _in_short(paths: Sequence[str]) -> str:
    return f"{paths[0]}{_and_more(paths)}"


def _and_more(paths: Sequence[str]) -> str:
    return f" and {len(paths) - 1} more" if len(paths) > 1 else ""


#: A list goes on while files are read if it has more than so many, or takes longer than this.
FILES_AT_ONCE = 10_000
SECONDS_AT_ONCE = 1.0
_clock = time.monotonic
_log = logging.getLogger(__name__)
