"""Columns that are written in paths: `year=2024/month=01/file`, or `cats/file`.

Owns the schemes, and the way from a path to its values and back. Must not know file formats.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa

from millstream.errors import ArgumentError, ReadError

#: How Hive writes a null into a path.
NULL_DIRECTORY = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Partitioning:
    """How columns are written in paths.

    Args:
        style: `"hive"` for `key=value` folders, `"dir"` for folders that are values.
        base_dir: Only folders below this one count; by default all folders of a path do.
        field_names: The keys. Needed for `"dir"`; for `"hive"`, others are then ignored.
        field_types: The type of each key's values, as a Python type or an Arrow type. By default
            those of `"hive"` are integers if all values of the key are written as such, null if
            there are none, and else text; those of `"dir"` are text.
    """

    style: str = "hive"
    base_dir: str | os.PathLike[str] | None = None
    field_names: Sequence[str] | None = None
    field_types: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if str(getattr(self.style, "value", self.style)) not in ("hive", "dir"):
            raise ArgumentError(f"the partitioning style is 'hive' or 'dir', not {self.style!r}")
        if not self._is_hive and not self.field_names:
            raise ArgumentError("partitioning by folder ('dir') needs field_names")

    def values(self, path: str) -> dict[str, str | None]:
        """Returns what a path says, in the order of its folders.

        Raises:
            ReadError: The path has not as many folders as there are field names ('dir').
        """
        folders = self._folders(path)
        if self._is_hive:
            pairs = [folder.partition("=") for folder in folders if "=" in folder]
            found = {unquote(key): _decode(value) for key, _, value in pairs if key}
            names = self.field_names
            return {key: found[key] for key in found if not names or key in names}
        names = list(self.field_names or ())
        if not folders:
            return {}
        if len(folders) != len(names):
            raise ReadError(
                f"the folders {'/'.join(folders)!r} do not match the partition fields {names}",
                file=path,
            )
        return {name: _decode(value) for name, value in zip(names, folders, strict=True)}

    def types(
        self, paths: Iterable[str], known: Mapping[str, pa.DataType] | None = None
    ) -> dict[str, pa.DataType]:
        """Returns the types of the columns that paths give, in the order in which they appear.

        Args:
            paths: Those of all files that are read.
            known: The types that the files themselves tell; `field_types` goes before them.
        """
        texts: dict[str, dict[str | None, None]] = {}
        folders: dict[str, str] = {}
        for path in paths:
            folders.setdefault(path.rpartition("/")[0], path)
        for path in folders.values():
            for name, value in self.values(path).items():
                texts.setdefault(name, {})[value] = None
        return {name: self._type_of(name, found, known or {}) for name, found in texts.items()}

    def scalars(self, path: str, types: Mapping[str, pa.DataType]) -> dict[str, pa.Scalar]:
        """Returns the values of a path in the types of their columns.

        Raises:
            ReadError: A value is not of that type.
        """
        return {
            name: _scalar(name, value, types.get(name, pa.string()), path)
            for name, value in self.values(path).items()
        }

    def _type_of(
        self, name: str, texts: Iterable[str | None], known: Mapping[str, pa.DataType]
    ) -> pa.DataType:
        wanted = (self.field_types or {}).get(name, known.get(name))
        if wanted is None:
            return _inferred(texts) if self._is_hive else pa.string()
        if isinstance(wanted, pa.DataType):
            return wanted
        if wanted not in _TYPES:
            raise ArgumentError(f"the partition field {name!r} cannot have the type {wanted!r}")
        return _TYPES[wanted]

    @property
    def _is_hive(self) -> bool:
        return str(getattr(self.style, "value", self.style)) == "hive"

    def _folders(self, path: str) -> list[str]:
        folder = path.rpartition("/")[0].strip("/")
        if self.base_dir:
            # Loads Arrow's file systems, for which nobody waits who names none.
            from millstream.io.addresses import name_of

            base = name_of(self.base_dir).strip("/")
            if folder != base and not folder.startswith(base + "/"):
                return []
            folder = folder[len(base) :]
        return [name for name in folder.split("/") if name]


class PathPartitionFilter:
    """Reads only the files whose partition values a function accepts.

    Args:
        scheme: How the values are written in paths.
        filter_fn: Takes the values of one path by key, empty for a path without any.
    """

    def __init__(
        self, scheme: Partitioning, filter_fn: Callable[[dict[str, str | None]], bool]
    ) -> None:
        self.scheme = scheme
        self.filter_fn = filter_fn

    @classmethod
    def of(
        cls,
        filter_fn: Callable[[dict[str, str | None]], bool],
        style: str = "hive",
        base_dir: str | None = None,
        field_names: Sequence[str] | None = None,
        field_types: Mapping[str, Any] | None = None,
    ) -> PathPartitionFilter:
        """Makes a filter in one call; see `Partitioning` for the arguments."""
        return cls(Partitioning(style, base_dir, field_names, field_types or {}), filter_fn)

    def accepts(self, path: str) -> bool:
        """Tells whether the file is read."""
        return bool(self.filter_fn(self.scheme.values(path)))


def to_text(value: pa.Scalar) -> str | None:
    """Writes a value so that `from_text` gives it back; null is `None`.

    Raises:
        ValueError: Values of this type, or this one, cannot be part of a path.
    """
    if not value.is_valid:
        return None
    try:
        text: str = value.cast(pa.string()).as_py()
        back = from_text(text, value.type)
        is_same = back.equals(value) or back.cast(pa.string()).as_py() == text
    except (pa.ArrowException, pa.ArrowNotImplementedError) as error:
        raise ValueError(str(error)) from error
    if text == NULL_DIRECTORY:
        raise ValueError("this text stands for null there")
    if not is_same:
        raise ValueError(f"{text!r} would be read as another value, {back}")
    return text


def from_text(text: str | None, type: pa.DataType) -> pa.Scalar:
    """Reads a value of a path.

    Raises:
        pa.ArrowException: It is not of this type.
    """
    if text is None:
        return pa.scalar(None, type)
    if pa.types.is_dictionary(type):
        value = from_text(text, type.value_type)
        return pa.array([value.as_py()], type.value_type).dictionary_encode().cast(type)[0]
    if pa.types.is_time(type):
        return pa.scalar(f"1970-01-01 {text}").cast(pa.timestamp(type.unit)).cast(type)
    if pa.types.is_duration(type):
        return pa.scalar(text).cast(pa.int64()).cast(type)
    return pa.scalar(text).cast(type)


def folder_of(values: Mapping[str, str | None]) -> str:
    """Writes values as Hive folders: `"year=2024/month=01"`."""
    return "/".join(
        f"{quote(key, safe=_SAFE)}={NULL_DIRECTORY if value is None else quote(value, safe=_SAFE)}"
        for key, value in values.items()
    )


def _decode(value: str) -> str | None:
    return None if value == NULL_DIRECTORY else unquote(value)


def _scalar(name: str, text: str | None, type: pa.DataType, path: str) -> pa.Scalar:
    try:
        return from_text(text, type)
    except (pa.ArrowException, pa.ArrowNotImplementedError) as error:
        raise ReadError(
            f"the partition value {name}={text} is no {type}; name another type with "
            f"partitioning=Partitioning(field_types={{{name!r}: str}})",
            file=path,
        ) from error


def _inferred(texts: Iterable[str | None]) -> pa.DataType:
    values = [text for text in texts if text is not None]
    if not values:
        return pa.null()
    is_whole = all(_INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63 for text in values)
    return pa.int64() if is_whole else pa.string()


_INTEGER = re.compile("-?[0-9]{1,19}")
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
#: What may stand in a folder's name as it is; "/", "%" and "=" may not.
_SAFE = " ,;:@+$!()[]{}~-._'&"
