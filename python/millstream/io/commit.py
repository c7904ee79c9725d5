"""How the files of a run become visible: staged, then put in place whole, or not at all.

Owns the folder that a run writes to: its checks before, the staging folder, the commit and the
clean-up. Must not know what is inside the files.

Staged files lie in a hidden folder inside the target, which no reader looks into. A commit renames
them. To overwrite a local folder, the new files are put into a folder beside it, and the
two change places in one step, so that a reader who lists the target sees all old files or all new
ones. Where a file system cannot do that, new files are put in first and old ones deleted after.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import shutil
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import MillstreamError, WriteError
from millstream.errors.checks import check_choice

#: What may happen to what is in the target: see `check_mode`.
MODES = ("append", "overwrite", "ignore", "error")

#: One row for each staged file, which is what writing tasks yield. `folder` is relative to the
#: target, `schema` has the columns of the file and then those that the folder tells; `place` is
#: that of the first file that it was made of, if it was. Without a file, `path` is null and
#: `schema` says what the empty result looks like. See `packed_schema`.
STAGED_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("folder", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("schema", pa.binary()),
        ("place", pa.int64()),
    ]
)


def packed_schema(schema: pa.Schema) -> bytes:
    """Returns a schema as few bytes, also if it has thousands of columns."""
    return zlib.compress(schema.serialize(), level=1)


def unpacked_schema(packed: bytes) -> pa.Schema:
    """Returns the schema that `packed_schema` packed."""
    return pa.ipc.read_schema(pa.py_buffer(zlib.decompress(packed)))


def check_mode(mode: object) -> str:
    """Returns the save mode by name.

    Raises:
        ArgumentError: There is no such mode.
    """
    name = getattr(mode, "value", mode)
    check_choice("mode", name, MODES)
    return str(name)


def namer(provider: Any, extension: str) -> Callable[[str, int], str]:
    """Returns what names the n-th file of the run with some id.

    Args:
        provider: The user's `filename_provider`, if there is one.
        extension: How all names end: `"parquet"`.
    """
    if provider is None:
        return lambda run_id, index: f"{run_id}_{index:06}.{extension}"

    def name(run_id: str, index: int) -> str:
        given = str(provider.get_filename_for_task(run_id, index)).replace("{i}", "0")
        if not given or "/" in given:
            raise WriteError(f"filename_provider gave {given!r}, which is not the name of a file")
        return given if given.endswith(f".{extension}") else f"{given}.{extension}"

    return name


class FolderCommit:
    """Makes the files of one run visible in a folder.

    `prepare`, then the run, then `commit` or `abort`. All of them are the driver's.

    Args:
        filesystem: Where the target is.
        target: The folder.
        mode: What happens to what is there: one of `MODES`.
        try_create_dir: Whether the folder is made if it does not exist.
        name_file: Gives the name of the n-th file of the run with this id.
        write_empty: Writes a file without rows, given its path and its schema.
    """

    def __init__(
        self,
        filesystem: pa_fs.FileSystem,
        target: str,
        *,
        mode: object = "append",
        try_create_dir: bool = True,
        name_file: Callable[[str, int], str],
        write_empty: Callable[[str, pa.Schema], None],
    ) -> None:
        self.run_id = uuid.uuid4().hex
        self.target = target
        self.mode = check_mode(mode)
        self._filesystem = filesystem
        self._try_create_dir = try_create_dir
        self._name_file = name_file
        self._write_empty = write_empty
        self._made: list[str] = []

    @property
    def staging(self) -> str:
        """The folder that tasks write to."""
        return f"{self.target}/{_HIDDEN}{self.run_id}"

    def prepare(self) -> bool:
        """Checks the target and makes the staging folder.

        Returns:
            Whether there is anything to do: not if the mode is "ignore" and there is data.

        Raises:
            WriteError: The target cannot be written, or the mode is "error" and there is data.
        """
        with writing(self.target, "the target cannot be written"), self._alone():
            kind = self._filesystem.get_file_info(self.target).type
            if kind == pa_fs.FileType.File:
                raise WriteError("the target is a file; name a folder", file=self.target)
            if kind == pa_fs.FileType.NotFound and not self._try_create_dir:
                raise WriteError(
                    "the target folder does not exist, and try_create_dir is False",
                    file=self.target,
                )
            if self.mode in ("ignore", "error") and self._visible_files():
                if self.mode == "ignore":
                    return False
                raise self._occupied()
            self._made = self._missing_folders()
            try:
                self._filesystem.create_dir(self.staging, recursive=True)
            except BaseException:
                self._remove_made()
                raise
        return True

    def commit(self, tables: Iterable[pa.Table], schema: pa.Schema | None = None) -> list[str]:
        """Puts the files of the run in place, in the order of the rows of `tables`.

        Args:
            tables: What the writing tasks yielded (`STAGED_SCHEMA`).
            schema: The columns of the dataset, if known, for a run that wrote no rows at all.

        Returns:
            The paths of the files.

        Raises:
            WriteError: It did not work; what was there before is still there, and nothing else.
        """
        try:
            with writing(self.target, "the files cannot be put in place"), self._alone():
                moves = self._moves(tables, schema)
                if self.mode == "error" and self._visible_files():
                    raise self._occupied()
                replaced = self._replace(moves) if self.mode == "overwrite" else None
                if self.mode != "overwrite":
                    self._add(moves)
                self._remove_folder(self.staging)
        except BaseException:
            self.abort()
            raise
        if replaced is not None:
            self._remove_folder(replaced)
        return [f"{self.target}/{move.place}" for move in moves]

    def abort(self) -> None:
        """Removes all that the run has written; the target is as it was before."""
        with self._alone():
            self._remove_folder(self.staging)
            self._remove_made()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other runs on this machine from committing to the same place meanwhile."""
        try:
            if not isinstance(self._filesystem, pa_fs.LocalFileSystem):
                raise NotADirectoryError(self.target)
            folder = os.open(os.path.dirname(os.path.realpath(self.target)), os.O_RDONLY)
        except OSError:
            yield
            return
        try:
            with suppress(OSError):
                # Some network file systems know no locks; there, runs are as good as on others.
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _moves(self, tables: Iterable[pa.Table], schema: pa.Schema | None) -> list[_Move]:
        staged: list[tuple[str, str]] = []
        for table in tables:
            for row in table.to_pylist():
                if row["path"] is not None:
                    staged.append((row["path"], row["folder"]))
                elif schema is None:
                    schema = unpacked_schema(row["schema"])
        if not staged and schema is not None and schema.names:
            empty = f"{self.staging}/empty"
            self._write_empty(empty, schema)
            staged.append((empty, ""))
        moves = []
        taken: set[str] = set()
        for index, (path, folder) in enumerate(staged):
            place = self._place(folder, self._name_file(self.run_id, index), taken)
            taken.add(place)
            moves.append(_Move(path, place))
        return moves

    def _place(self, folder: str, name: str, taken: set[str]) -> str:
        stem, dot, extension = name.rpartition(".") if "." in name else (name, "", "")
        place = f"{folder}/{name}" if folder else name
        again = 0
        while place in taken:
            again += 1
            unique = f"{stem}-{again}{dot}{extension}"
            place = f"{folder}/{unique}" if folder else unique
        return place

    def _add(self, moves: Sequence[_Move]) -> None:
        """Puts files beside those that are there."""
        places = [f"{self.target}/{move.place}" for move in moves]
        for info in self._filesystem.get_file_info(places):
            if info.type != pa_fs.FileType.NotFound:
                raise WriteError("a file of this name is there already", file=info.path)
        self._put(moves, self.target)

    def _put(self, moves: Sequence[_Move], root: str) -> None:
        """Moves all staged files to where they belong, or none."""
        placed: list[str] = []
        made: dict[str, None] = {}
        try:
            for move in moves:
                place = f"{root}/{move.place}"
                folder = place.rpartition("/")[0]
                if folder != root and folder not in made:
                    made.update(dict.fromkeys(_folders_between(root, folder)))
                    self._filesystem.create_dir(folder, recursive=True)
                patiently(partial(self._filesystem.move, move.staged, place))
                placed.append(place)
        except BaseException:
            for place in placed:
                self._filesystem.delete_file(place)
            for folder in sorted(made, reverse=True):
                self._remove_if_empty(folder)
            raise

    def _replace(self, moves: Sequence[_Move]) -> str | None:
        """Puts the new files in place of all that is there.

        Returns:
            The folder that holds the old files, if it has not been the target since.
        """
        old = self._visible_files()
        if not old:
            self._add(moves)
            return None
        beside = self._beside()
        if beside is not None:
            self._change_places(moves, beside)
            return beside
        places = {f"{self.target}/{move.place}" for move in moves}
        self._put(moves, self.target)
        for path in old:
            if path not in places:
                self._filesystem.delete_file(path)
        self._remove_empty_folders()
        return None

    def _beside(self) -> str | None:
        """Makes a folder that can change places with the target; `None` if there can be none."""
        target = os.path.realpath(self.target)
        is_local = isinstance(self._filesystem, pa_fs.LocalFileSystem)
        # Who works in a folder that changes places would be left in the old one.
        if not is_local or os.path.ismount(target) or _is_below(os.getcwd(), target):
            return None
        beside = os.path.join(os.path.dirname(target), f"{_HIDDEN}{self.run_id}")
        try:
            os.mkdir(beside)
        except OSError:
            return None
        shutil.copystat(target, beside)
        return beside

    def _change_places(self, moves: Sequence[_Move], beside: str) -> None:
        """Puts the new files into the folder beside, which then becomes the target."""
        target = os.path.realpath(self.target)
        try:
            self._put(moves, beside)
            _exchange(beside, target)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        _carry_over(beside, target)

    def _visible_files(self) -> list[str]:
        selector = pa_fs.FileSelector(self.target, allow_not_found=True, recursive=True)
        return [
            info.path
            for info in self._filesystem.get_file_info(selector)
            if info.type != pa_fs.FileType.Directory and not self._is_ours(info.path)
        ]

    def _remove_empty_folders(self) -> None:
        selector = pa_fs.FileSelector(self.target, recursive=True)
        folders = [
            info.path
            for info in self._filesystem.get_file_info(selector)
            if info.type == pa_fs.FileType.Directory and not self._is_ours(info.path)
        ]
        for folder in sorted(folders, reverse=True):
            self._remove_if_empty(folder)

    def _is_ours(self, path: str) -> bool:
        """Tells whether a path is in the staging folder of some run."""
        return path[len(self.target) + 1 :].startswith(_HIDDEN)

    def _missing_folders(self) -> list[str]:
        """Returns the folders that have to be made for the target, the innermost first."""
        missing = []
        folder = self.target
        while folder.strip("/"):
            if self._filesystem.get_file_info(folder).type != pa_fs.FileType.NotFound:
                break
            missing.append(folder)
            folder = folder.rpartition("/")[0]
        return missing

    def _remove_made(self) -> None:
        for folder in self._made:
            self._remove_if_empty(folder)

    def _remove_if_empty(self, folder: str) -> None:
        if isinstance(self._filesystem, pa_fs.LocalFileSystem):
            # What another writer puts there meanwhile must stay.
            try:
                os.rmdir(folder)
            except OSError as error:
                _log.debug("%s stays: %s", folder, error)
            return
        selector = pa_fs.FileSelector(folder, allow_not_found=True)
        try:
            if not self._filesystem.get_file_info(selector):
                self._filesystem.delete_dir(folder)
        except (OSError, pa.ArrowException) as error:
            _log.debug("%s stays: %s", folder, error)

    def _remove_folder(self, folder: str) -> None:
        try:
            if self._filesystem.get_file_info(folder).type == pa_fs.FileType.Directory:
                self._filesystem.delete_dir(folder)
        except (OSError, pa.ArrowException) as error:
            _log.warning("the hidden folder %s is left over: %s", folder, error)

    def _occupied(self) -> WriteError:
        return WriteError(
            "the target has data already; mode='append' adds to it, mode='overwrite' replaces it",
            file=self.target,
        )


@dataclass(frozen=True)
class _Move:
    """Where a staged file goes, relative to the target."""

    staged: str
    place: str


@contextmanager
def writing(target: str, problem: str) -> Iterator[None]:
    """Turns whatever goes wrong with a target into a `WriteError` that names it."""
    try:
        yield
    except (MillstreamError, MemoryError):
        raise
    except Exception as error:
        raise WriteError(f"{problem}: {error}", file=target) from error


def patiently(action: Callable[[], _Result]) -> _Result:
    """Does something with a staged file, again if its folder is away for a moment.

    That is so while another run that overwrites the same target puts its folder in place.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return action()
        except FileNotFoundError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)


def _folders_between(root: str, folder: str) -> list[str]:
    names = folder[len(root) + 1 :].split("/")
    return [f"{root}/{'/'.join(names[: index + 1])}" for index in range(len(names))]


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), folder]) == folder


def _exchange(new: str, target: str) -> None:
    """Lets two folders change places, in one step where the system can."""
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if rename is not None:
            paths = os.fsencode(new), os.fsencode(target)
            if rename(_CWD, paths[0], _CWD, paths[1], _EXCHANGE) == 0:
                return
    old = f"{new}-old"
    os.rename(target, old)
    try:
        os.rename(new, target)
    except BaseException:
        os.rename(old, target)
        raise
    os.rename(old, new)


def _carry_over(old: str, target: str) -> None:
    """Moves the staging folders of other runs, which are still writing, into the new folder."""
    for name in os.listdir(old):
        path = os.path.join(old, name)
        age_s = time.time() - os.path.getmtime(path)
        if name.startswith(_HIDDEN) and age_s < _ABANDONED_S:
            try:
                os.rename(path, os.path.join(target, name))
            except OSError as error:
                _log.warning("another run loses its staging folder %s: %s", path, error)


_Result = TypeVar("_Result")

#: How the names of staging folders begin; readers leave out what begins with a dot.
_HIDDEN = ".millstream-"
# A staging folder in which nothing has changed for a day belongs to a driver that was killed.
_ABANDONED_S = 24 * 3600
_PATIENCE_S = 2.0
_PAUSE_S = 0.02
# From <fcntl.h> and <linux/fs.h>.
_CWD = -100
_EXCHANGE = 2
_log = logging.getLogger(__name__)
