"""Writing tables as WebDataset archives: a sample for each row, a member for each of its values.

Owns what a column is stored as. What is written here is read back as the same values; what would
not be is refused. Must not know where files are, staged or committed.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block, tensor
from millstream.blocks.common_type import is_bytes, is_list, is_text
from millstream.blocks.primitive import is_number
from millstream.errors import SchemaError
from millstream.io.file_format import RecordFormat
from millstream.io.formats.webdataset import KEY


@dataclass(frozen=True)
class WebDatasetFormat(RecordFormat):
    """WebDataset archives (`FileFormat`)."""

    name: str = "WebDataset"
    extension: str = "tar"

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> WebDatasetWriter:
        """Begins an archive.

        Raises:
            SchemaError: A column cannot be stored so that it comes back.
        """
        return WebDatasetWriter(stream, schema)


class WebDatasetWriter:
    """Writes tables as samples to a stream.

    The column `__key__` names the samples; without it they are numbered from 0 in each file, in
    nine digits. The name of each other column is the extension of its members: bytes are stored as
    they are; `txt` and `text` hold text, `cls` and `cls2` integers, `json` whatever JSON has, `npy`
    tensors. A null is a member that is left out. Equal rows give equal bytes.

    Args:
        stream: Where to; it stays open.
        schema: That of the tables.

    Raises:
        SchemaError: A column cannot be stored so that it comes back.
    """

    def __init__(self, stream: pa.NativeFile, schema: pa.Schema) -> None:
        self._stream = stream
        self._rows = 0
        self._keys: set[str] = set()
        self._has_keys = KEY in schema.names
        self._encoders: dict[str, Callable[[Any], bytes]] = {}
        for column in block.visible_schema(schema):
            if column.name in self._encoders or schema.names.count(column.name) > 1:
                raise SchemaError(f"the column {column.name!r} is there twice; rename one of them")
            if column.name != KEY:
                self._encoders[column.name] = _encoder(column)
            elif not is_text(column.type):
                raise SchemaError(f"column {KEY!r} is {column.type}, and keys are text")
        if not self._encoders:
            raise SchemaError(f"there is no column besides {KEY!r}, so samples would have nothing")

    def write(self, table: pa.Table) -> None:
        """Writes the rows of a table.

        Raises:
            SchemaError: A key cannot be read back or is there twice, or a value cannot be stored;
                names column and row.
        """
        for start in range(0, table.num_rows, _WRITTEN_ROWS):
            part = table.slice(start, _WRITTEN_ROWS)
            keys = part.column(KEY).to_pylist() if self._has_keys else None
            values = {name: _values(part.column(name)) for name in self._encoders}
            for row in range(part.num_rows):
                key = f"{self._rows:09}" if keys is None else self._checked_key(keys[row])
                self._write(key, {name: column[row] for name, column in values.items()})
                self._rows += 1

    def close(self) -> None:
        """Ends the archive."""
        self._stream.write(bytes(2 * tarfile.BLOCKSIZE))

    def _write(self, key: str, row: dict[str, Any]) -> None:
        is_empty = True
        for name, value in row.items():
            if value is None:
                continue
            try:
                data = self._encoders[name](value)
            except (ValueError, TypeError) as error:
                raise SchemaError(f"column {name!r} {self._place}: {error}") from error
            header = tarfile.TarInfo(f"{key}.{name}")
            header.size = len(data)
            header.mode = 0o644
            self._stream.write(header.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
            self._stream.write(data)
            self._stream.write(bytes(-len(data) % tarfile.BLOCKSIZE))
            is_empty = False
        if is_empty:
            raise SchemaError(
                f"all columns are null {self._place}, so that the sample {key!r} would be lost; "
                "drop such rows"
            )

    def _checked_key(self, key: str | None) -> str:
        """Refuses a key that would be another one when it is read."""
        if key is None:
            raise SchemaError(f"column {KEY!r} is null {self._place}")
        folders, _, stem = key.rpartition("/")
        problem = None
        if not stem:
            problem = "no name"
        elif "." in stem:
            problem = "a dot, where readers cut it off; replace it, as by '_'"
        elif "\0" in key:
            problem = "a zero character"
        elif key.startswith("/") or ".." in folders.split("/"):
            problem = "a folder outside the archive"
        elif "__MACOSX" in folders.split("/"):
            problem = "a folder that readers leave out"
        elif key in self._keys:
            problem = "the name of an earlier sample of this file"
        if problem is not None:
            raise SchemaError(f"column {KEY!r} has {key!r} {self._place}, a key with {problem}")
        self._keys.add(key)
        return key

    @property
    def _place(self) -> str:
        return f"in row {self._rows} of this file (counted from 0)"


def _values(column: pa.ChunkedArray) -> Any:
    """The values of a column as Python's own, tensors as arrays; None where null."""
    return tensor.to_numpy(column) if tensor.is_tensor(column.type) else column.to_pylist()


def _encoder(column: pa.Field) -> Callable[[Any], bytes]:
    """Returns how the values of a column are stored.

    Raises:
        SchemaError: They cannot be.
    """
    name, type = column.name, column.type
    if not name or name.startswith("__") or "/" in name or "\0" in name:
        raise SchemaError(
            f"the column {name!r} cannot be the extension of a member: it must have a name without "
            "'/' that does not begin with '__'; rename or drop it"
        )
    extension = name.rpartition(".")[2].lower()
    if is_bytes(type):
        return bytes
    if extension == "json" and _is_json(type):
        return _json
    if extension in ("txt", "text") and is_text(type):
        return str.encode
    if extension in ("cls", "cls2") and pa.types.is_integer(type):
        return _number
    if extension == "npy" and tensor.is_tensor(type):
        return _array
    raise SchemaError(
        f"column {name!r} is {type}, which '.{extension}' cannot hold so that it comes back: bytes "
        "have any extension, text 'txt', integers 'cls', tensors 'npy', and structs, lists, "
        f"numbers and text 'json'; rename it, as to '{name}.{_advice(type)}', or convert it"
    )


def _advice(type: pa.DataType) -> str:
    if tensor.is_tensor(type):
        return "npy"
    if is_text(type):
        return "txt"
    return "cls" if pa.types.is_integer(type) else "json"


def _is_json(type: pa.DataType) -> bool:
    """Whether JSON has values of a type."""
    types = pa.types
    if tensor.is_tensor(type):
        return False
    if types.is_struct(type):
        return all(_is_json(each.type) for each in type)
    if is_list(type):
        return _is_json(type.value_type)
    return bool(is_number(type) or types.is_boolean(type) or types.is_null(type) or is_text(type))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _number(value: int) -> bytes:
    return str(value).encode()


def _array(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(value), allow_pickle=False)
    return file.getvalue()


# So many rows are Python objects at a time.
_WRITTEN_ROWS = 256
