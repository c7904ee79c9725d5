"""The log of a Delta Lake table: which version, its columns, its files.

Owns how deltalake is asked, and what tables may need of those who read them. Must not know units,
nor how files are read or written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import ArgumentError, MissingPackageError, ReadError, SchemaError
from millstream.errors.checks import is_named, is_whole, require
from millstream.io.addresses import Path, resolve
from millstream.io.formats.table_types import without_names

#: Which version of a table: its number, or a moment at which it was the newest.
Version = int | str | datetime | None


@dataclass(frozen=True)
class TablePlace:
    """Where a table is.

    Args:
        uri: What deltalake calls it.
        storage_options: For deltalake.
        filesystem: Where its files are.
        folder: The folder of the table there; "": the root.
    """

    uri: str
    storage_options: Mapping[str, str] | None
    filesystem: pa_fs.FileSystem
    folder: str

    @classmethod
    def of(cls, path: Path, filesystem: Any, storage_options: Any, above: int = 0) -> TablePlace:
        """Finds the place of a table.

        Args:
            path: Its folder.
            filesystem: The user's, if there is one.
            storage_options: The user's: the files are then read through deltalake.
            above: How many folders above the table the file system begins, if it is deltalake's.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: deltalake is not installed.
        """
        require_deltalake()
        is_right = storage_options is None or is_named(storage_options)
        require(is_right, "storage_options", storage_options, "a dict of texts by name, or None")
        is_remote = "://" in str(path) and not str(path).startswith("file://")
        if not is_remote or storage_options is None or filesystem is not None:
            found, (folder,) = resolve([path], filesystem)
            uri = folder if isinstance(found, pa_fs.LocalFileSystem) else str(path)
            _require_plain(uri)
            return cls(uri, storage_options, found, folder)
        uri = str(path).rstrip("/")
        _require_plain(uri)
        parts = uri.split("/")
        cut = len(parts) - above
        store = pa_fs.PyFileSystem(_store("/".join(parts[:cut]), dict(storage_options)))
        return cls(uri, storage_options, store, "/".join(parts[cut:]))

    def path(self, name: str) -> str:
        """Returns the path of a file of the table, on the file system."""
        return f"{self.folder}/{name}" if self.folder else name


def require_deltalake() -> None:
    """Refuses to go on without deltalake.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import deltalake  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "Delta Lake tables need deltalake: pip install 'millstream[delta]'"
        ) from error


def open_table(place: TablePlace, version: Version = None) -> Any:
    """Opens a table (`deltalake.DeltaTable`).

    Raises:
        ArgumentError: The version is none.
        ReadError: There is no such table, or no such version of it.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    wanted = "a whole number of at least 0, a datetime with a zone, its ISO text, or None"
    number = version if isinstance(version, int) and is_whole(version, 0) else None
    moment = None
    if version is not None and number is None:
        moment = _moment(version)
        require(moment is not None, "version", version, wanted)
    options = None if place.storage_options is None else dict(place.storage_options)
    try:
        with reading(place, f"version {version} of this table cannot be read"):
            table = DeltaTable(place.uri, version=number, storage_options=options)
            if moment is not None:
                _go_back(table, moment)
    except ReadError as error:
        if isinstance(error.__cause__, TableNotFoundError):
            raise ReadError("there is no Delta Lake table", file=place.uri) from error.__cause__
        if version is None:
            raise ReadError(
                error.message.replace("version None of this table", "this table"), file=place.uri
            ) from error.__cause__
        raise
    return table


def require_readable(table: Any, place: TablePlace) -> None:
    """Refuses tables whose files cannot be read without knowing more than is known here.

    Raises:
        ReadError: It names the feature.
    """
    protocol, mode = table.protocol(), table.metadata().configuration.get(_MAPPING, "none")
    unknown = sorted(set(protocol.reader_features or ()) - _READER_FEATURES)
    if protocol.min_reader_version > _READER_VERSION:
        unknown.append(f"version {protocol.min_reader_version} of the protocol")
    if mode not in ("none", "name"):
        unknown.append(f"column mapping by {mode}")
    if unknown:
        raise ReadError(
            f"this table needs {', '.join(unknown)}, which is not known here: read it with the "
            "program that wrote it, or write it anew without",
            file=place.uri,
        )


def columns_of(table: Any) -> pa.Schema:
    """Returns the columns of a table, with what their fields note."""
    found = pa.schema(table.schema().to_arrow())
    return pa.schema([each.with_type(without_names(each.type)) for each in found])


@contextmanager
def reading(place: TablePlace, problem: str) -> Iterator[None]:
    """Turns what deltalake raises into a `ReadError` that names the table."""
    try:
        yield
    except (ArgumentError, ReadError, SchemaError, MemoryError):
        raise
    except Exception as error:
        told = str(error).partition("\n")[0]
        raise ReadError(f"{problem}: {told}", file=place.uri) from error


@dataclass(frozen=True)
class LogFile:
    """What the log says of one file.

    Args:
        path: Where it is, on the file system.
        size: Its bytes.
        rows: How many it has; `None` if the log does not say.
        values: The values of the partition columns, by the names that files have for them.
        deleted: The rows that are no more, in order.
    """

    path: str
    size: int
    rows: int | None
    values: Mapping[str, pa.Scalar]
    deleted: Any = None

    @property
    def rows_left(self) -> int | None:
        """How many are left of them; `None` if the log does not say."""
        gone = 0 if self.deleted is None else len(self.deleted)
        return None if self.rows is None else self.rows - gone


def physical_names(table: Any, place: TablePlace) -> dict[str, str]:
    """Returns what columns are called in files, where that is another name.

    Raises:
        ReadError: Fields within columns have other names too.
    """
    if table.metadata().configuration.get(_MAPPING, "none") == "none":
        return {}
    found = {}
    for each in json.loads(table.schema().to_json())["fields"]:
        inner = _mapped_within(each["type"])
        if inner is not None:
            raise ReadError(
                f"the field {inner!r} within column {each['name']!r} has another name in the "
                "files (column mapping), which is not known here: read the table with the "
                "program that wrote it",
                file=place.uri,
            )
        found[each["name"]] = _physical_name(each)
    return {name: other for name, other in found.items() if name != other}


def _physical_name(field: Mapping[str, Any]) -> str:
    return str(field.get("metadata", {}).get(_PHYSICAL, field["name"]))


def _mapped_within(type: Any) -> str | None:
    """Finds a field within a column that has another name in files."""
    if not isinstance(type, dict):
        return None
    for each in type.get("fields", ()):
        if _physical_name(each) != each["name"]:
            return str(each["name"])
    inner = [each["type"] for each in type.get("fields", ())]
    inner += [type[key] for key in ("elementType", "keyType", "valueType") if key in type]
    return next((name for each in inner if (name := _mapped_within(each)) is not None), None)


def files_of(table: Any, place: TablePlace, physical: Mapping[str, str]) -> list[LogFile]:
    """Returns the files that a version of a table has, the oldest first.

    Raises:
        ReadError: A file is outside of the table.
    """
    actions = pa.table(table.get_add_actions(flatten=True))
    deleted = _deleted_rows(table)
    partitions = table.metadata().partition_columns
    rows = actions.select(["path", "size_bytes", "modification_time", "num_records"]).to_pylist()
    found = []
    for index, row in enumerate(rows):
        values = {
            physical.get(name, name): actions.column(f"partition.{name}")[index]
            for name in partitions
        }
        path = place.path(_relative(row["path"], place))
        gone = deleted.pop(row["path"], None)
        each = LogFile(path, row["size_bytes"], row["num_records"], values, gone)
        # Files that were written together tell their order by their names.
        found.append((row["modification_time"], path.rpartition("/")[2], each))
    if deleted:
        raise ReadError(
            f"the log tells of deleted rows in {next(iter(deleted))}, which is none of the files "
            "of the table",
            file=place.uri,
        )
    return [each for _, _, each in sorted(found, key=lambda found: found[:2])]


def _relative(path: str, place: TablePlace) -> str:
    """Returns the path of a file in the folder of its table."""
    name = unquote(path)
    is_outside = "://" in path or name.startswith("/") or ".." in name.split("/")
    if is_outside:
        raise ReadError(
            f"the log names the file {path}, which is not in the folder of the table, as in "
            "shallow clones: it is not read. Copy the table with its files",
            file=place.uri,
        )
    return name


def _deleted_rows(table: Any) -> dict[str, Any]:
    """Returns the rows that are no more, by the paths that the log has for files."""
    if "deletionVectors" not in (table.protocol().reader_features or ()):
        return {}
    root = table.table_uri.rstrip("/") + "/"
    found = {}
    for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()):
        for path, kept in zip(batch.column(0), batch.column(1), strict=True):
            is_kept = kept.values.to_numpy(zero_copy_only=False)
            found[path.as_py().removeprefix(root)] = np.flatnonzero(~is_kept)
    return found


def _require_plain(uri: str) -> None:
    """Refuses names of folders that deltalake would take for those of others.

    Raises:
        ArgumentError: There is one.
    """
    if "://" not in uri and unquote(uri) != uri:
        raise ArgumentError(
            f"path={uri!r} has a '%' and two digits in it, for which deltalake would open "
            f"{unquote(uri)!r}: give the folder another name"
        )


def _store(uri: str, options: dict[str, str]) -> Any:
    """Returns deltalake's own way to files, for `pyarrow.fs.PyFileSystem`."""
    from deltalake.fs import DeltaStorageHandler

    class Store(DeltaStorageHandler):
        """Takes whatever Arrow writes, and travels to the workers."""

        def __reduce__(self) -> tuple[Any, ...]:
            return _store, (uri, options)

        def open_output_stream(
            self, path: str, metadata: dict[str, str] | None = None
        ) -> pa.PythonFile:
            stream = self._handler.open_output_stream(path, metadata)
            return pa.PythonFile(_TakesBuffers(stream), mode="w")

    return Store(uri, options)


class _TakesBuffers:
    """A stream that is written: deltalake's takes `bytes` only, and Arrow writes buffers too."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        return int(self._stream.write(bytes(data)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _moment(version: Any) -> datetime | None:
    """Returns the moment that a version is given by; `None` if it is none, or has no zone."""
    try:
        moment = datetime.fromisoformat(version) if isinstance(version, str) else version
    except ValueError:
        return None
    is_moment = isinstance(moment, datetime) and moment.tzinfo is not None
    return moment if is_moment else None


def _go_back(table: Any, moment: datetime) -> None:
    """Loads what a table was at a moment.

    Raises:
        ReadError: It was not there yet.
    """
    # Before it is taken back: afterwards deltalake numbers its commits anew.
    written = {each.get("version"): each.get("timestamp") for each in table.history()}
    table.load_as_version(moment)
    # Before its first version, deltalake gives the first.
    then = written.get(table.version())
    if then is not None and then > moment.timestamp() * 1000:
        raise ReadError(f"at {moment.isoformat()} there was no such table yet")


_MAPPING = "delta.columnMapping.mode"
_PHYSICAL = "delta.columnMapping.physicalName"
_READER_VERSION = 3
#: What tables may need of those who read them. Some of it only changes the log.
_READER_FEATURES = frozenset(
    {
        *("columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint"),
        *("vacuumProtocolCheck", "typeWidening", "typeWidening-preview"),
        *("variantType", "variantType-preview"),
    }
)
