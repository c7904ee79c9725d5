"""From paths, folders and patterns to files.

Owns the way through folders: links, hidden names, wildcards. Must not know which files a reader
wants, nor what is inside them.

A path that exists is what it says, whatever its characters. Else "*" and "?" stand for any
characters of a name and "[ab]" for one of these; "**" stands for folders of any depth. What a
pattern finds is treated like what a folder holds: folders give their files, hidden ones none.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow.fs as pa_fs

from millstream.errors import ReadError
from millstream.io.ahead import ahead
from millstream.io.source import blaming

#: Device and number of each folder through which the way has led.
_Folders = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class InputFile:
    """One file to read.

    Args:
        path: Its path on its file system.
        size: Its size in bytes.
        is_gone: Whether it is a link to a file that does not exist.
    """

    path: str
    size: int
    is_gone: bool = False


def expand(
    filesystem: pa_fs.FileSystem, paths: Sequence[str], ignore_missing: bool
) -> Iterator[InputFile]:
    """Finds the files of paths, in the order of the paths; those of one in the order of theirs.

    Raises:
        ReadError: A path does not exist, unless that is to be ignored, or cannot be looked at.
    """
    with blaming(paths[0], "cannot look at the paths"):
        infos = filesystem.get_file_info(list(paths))
    for path, info in zip(paths, infos, strict=True):
        if info.type == pa_fs.FileType.File:
            yield InputFile(path, info.size or 0)
        elif info.type == pa_fs.FileType.Directory:
            yield from _files_below(filesystem, path)
        elif info.type != pa_fs.FileType.NotFound:
            raise ReadError("neither a file nor a folder", file=path)
        elif _is_pattern(path):
            yield from _matching(filesystem, path, ignore_missing)
        elif not ignore_missing:
            raise ReadError(f"no such file or folder: {path}{_gone(filesystem, path)}", file=path)


def _in_order(files: Iterable[InputFile]) -> list[InputFile]:
    return sorted(files, key=lambda file: file.path)


def _gone(filesystem: pa_fs.FileSystem, path: str) -> str:
    if isinstance(filesystem, pa_fs.LocalFileSystem) and os.path.islink(path):
        return f" (a link to {os.readlink(path)})"
    return ""


def _files_below(
    filesystem: pa_fs.FileSystem, folder: str, above: _Folders = frozenset()
) -> Iterator[InputFile]:
    """Yields all files below a folder that are not hidden there, in the order of their paths."""
    if isinstance(filesystem, pa_fs.LocalFileSystem):
        with blaming(folder, "cannot list the folder"):
            yield from _local_files_below(folder, above)
        return
    entries = _sorted_entries(_entries(filesystem, folder))
    folders = [path for path, file in entries if file is None]
    with ahead(partial(_all_below, filesystem), folders) as below:
        for _, file in entries:
            if file is None:
                yield from next(below)
            else:
                yield file


def _all_below(filesystem: pa_fs.FileSystem, folder: str) -> list[InputFile]:
    """Lists a folder with all that is below it, in as few requests as the store needs."""
    with blaming(folder, "cannot list the folder"):
        infos = filesystem.get_file_info(pa_fs.FileSelector(folder, recursive=True))
    start = _start_below(folder)
    files = [info for info in infos if info.type == pa_fs.FileType.File]
    return _in_order(
        InputFile(info.path, info.size or 0)
        for info in files
        if not any(map(_is_hidden, info.path[start:].split("/")))
    )


def _local_files_below(folder: str, above: _Folders) -> Iterator[InputFile]:
    """Goes through a folder on the disk; links lead where they lead, but never back up."""
    entered = _entered(folder, above)
    if entered is None:
        return
    for path, file in _sorted_entries(_local_entries(folder)):
        if file is None:
            yield from _local_files_below(path, entered)
        else:
            yield file


def _sorted_entries(
    entries: Iterator[tuple[str, InputFile | None]],
) -> list[tuple[str, InputFile | None]]:
    """What a folder holds and does not hide, in the order of all paths there and below."""
    shown = [(path, file) for path, file in entries if not _is_hidden(path.rpartition("/")[2])]
    return sorted(shown, key=lambda entry: entry[0] + ("/" if entry[1] is None else ""))


def _entered(folder: str, above: _Folders) -> _Folders | None:
    """The folders on the way once this one is entered; `None` if it is one of those before."""
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        _log.warning("%s leads back to a folder above it: it is not entered again", folder)
        return None
    return above | {identity}


def _kind_of(entry: os.DirEntry[str]) -> pa_fs.FileType:
    try:
        if entry.is_dir():
            return pa_fs.FileType.Directory
        if entry.is_file():
            return pa_fs.FileType.File
        is_gone = entry.is_symlink() and not os.path.exists(entry.path)
    except OSError:
        # A link to itself, for instance.
        is_gone = True
    return pa_fs.FileType.NotFound if is_gone else pa_fs.FileType.Unknown


def _start_below(folder: str) -> int:
    """Where, in the paths below a folder, the part begins that is not the folder's."""
    return len(folder.rstrip("/")) + bool(folder)


def _is_hidden(name: str) -> bool:
    # A folder such as "_year=2024" is a partition.
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _is_pattern(path: str) -> bool:
    return any(mark in path for mark in "*?[")


def _matching(filesystem: pa_fs.FileSystem, pattern: str, ignore_missing: bool) -> list[InputFile]:
    names = pattern.split("/")
    fixed = next(index for index, name in enumerate(names) if _is_pattern(name))
    folder = "/".join(names[:fixed]) or ("/" if fixed else "")
    with blaming(pattern, "cannot look at the folder"):
        is_there = not folder or filesystem.get_file_info(folder).type == pa_fs.FileType.Directory
    found = _in_order(_matching_below(filesystem, folder, names[fixed:])) if is_there else []
    if not found and not ignore_missing:
        raise ReadError(f"no file matches {pattern}", file=pattern)
    return found


def _matching_below(
    filesystem: pa_fs.FileSystem, folder: str, names: Sequence[str], above: _Folders = frozenset()
) -> Iterator[InputFile]:
    """Yields the files below a folder whose further way matches names, of which some are patterns.

    Only folders that match are looked into, up to the first "**".
    """
    if not names:
        yield from _files_below(filesystem, folder, above)
        return
    if names[0] == "**":
        regex = _regex(names)
        start = _start_below(folder)
        below = _files_below(filesystem, folder, above)
        yield from (file for file in below if regex.fullmatch(file.path[start:]))
        return
    if isinstance(filesystem, pa_fs.LocalFileSystem):
        entered = _entered(folder, above)
        if entered is None:
            return
        above = entered
    matches = _regex(names[:1])
    for path, file in _entries(filesystem, folder):
        name = path.rpartition("/")[2]
        shows_hidden = _is_hidden(name) and name[0] == names[0][0]
        if not matches.fullmatch(name) or (_is_hidden(name) and not shows_hidden):
            continue
        if file is None:
            yield from _matching_below(filesystem, path, names[1:], above)
        elif len(names) == 1:
            yield file


def _entries(filesystem: pa_fs.FileSystem, folder: str) -> Iterator[tuple[str, InputFile | None]]:
    """Yields what a folder holds: paths, each with its file unless it is a folder itself."""
    with blaming(folder, "cannot list the folder"):
        if isinstance(filesystem, pa_fs.LocalFileSystem):
            yield from _local_entries(folder)
            return
        infos = filesystem.get_file_info(pa_fs.FileSelector(folder))
    for info in infos:
        if info.type == pa_fs.FileType.Directory:
            yield info.path, None
        elif info.type == pa_fs.FileType.File:
            yield info.path, InputFile(info.path, info.size or 0)


def _local_entries(folder: str) -> Iterator[tuple[str, InputFile | None]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            kind = _kind_of(entry)
            if kind == pa_fs.FileType.Directory:
                yield entry.path, None
            elif kind == pa_fs.FileType.File:
                yield entry.path, InputFile(entry.path, entry.stat().st_size)
            elif kind == pa_fs.FileType.NotFound:
                yield entry.path, InputFile(entry.path, 0, is_gone=True)


def _regex(names: Sequence[str]) -> re.Pattern[str]:
    """Returns what matches ways of such names, and all that lies below what they lead to."""
    parts = []
    for place, name in enumerate(names):
        is_last = place == len(names) - 1
        if name == "**":
            parts.append(".+" if is_last else "(?:[^/]+/)*")
        else:
            parts.append(_name_regex(name) + ("(?:/.*)?" if is_last else "/"))
    return re.compile("".join(parts), re.DOTALL)


def _name_regex(name: str) -> str:
    marks = {"*": "[^/]*", "?": "[^/]"}
    parts, place = [], 0
    while place < len(name):
        choice = _CHOICE.match(name, place)
        if choice is not None:
            inner = choice[2].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            parts.append(f"[{'^/' if choice[1] else ''}{inner}]")
            place = choice.end()
        else:
            parts.append(marks.get(name[place], re.escape(name[place])))
            place += 1
    return "".join(parts)


_log = logging.getLogger(__name__)
# "[ab]", "[!a-z]", and "[]]", whose bracket is one of the characters.
_CHOICE = re.compile(r"\[(!?)(\]?[^\]]*)\]")
