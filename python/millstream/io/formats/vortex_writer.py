"""Writing Vortex files with vortex-data: the types that come back with the same values.

Owns which these are, and how tables are handed to a library that asks for them itself.
`millstream.io.sink` owns all else about writing files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import SchemaError
from millstream.io.file_format import PlainFormat
from millstream.io.formats.panics import panics_told
from millstream.io.formats.vortex import opened, require_vortex, schema_of, tables_of


@dataclass(frozen=True)
class VortexFormat(PlainFormat):
    """Vortex files (`FileFormat`)."""

    name: str = "Vortex"
    extension: str = "vortex"

    def __post_init__(self) -> None:
        require_vortex("write_vortex")

    @property
    def is_streamed(self) -> bool:
        """Its footer tells where the columns are."""
        return False

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that would not come back as they were.

        Raises:
            SchemaError: There is one.
        """
        for each in schema:
            if not _is_held(each.type):
                raise SchemaError(
                    f"column {each.name!r} of type {each.type} cannot be written as Vortex, which "
                    "has no tensors, durations, intervals, and bytes of a fixed length; convert or "
                    "drop it"
                )

    def stored(self, schema: pa.Schema) -> pa.Schema:
        """The columns that `read_back` gives: one type of text and of bytes, no categories."""
        return pa.schema([each.with_type(_stored_type(each.type)) for each in schema])

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> _VortexWriter:
        """Begins a file.

        Raises:
            SchemaError: Vortex cannot hold a column.
        """
        self.check(schema)
        return _VortexWriter(stream, self.stored(schema))

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yields the rows of a file, some at a time."""
        with panics_told():
            found = opened(file)
            yield from tables_of(found, schema_of(found), _ROWS)


class _VortexWriter:
    """A Vortex file that is being written.

    Vortex asks for batches until there are none, so they lie on the disk until the last is there.
    """

    def __init__(self, stream: pa.NativeFile, schema: pa.Schema) -> None:
        self._stream = stream
        self._schema = schema
        self._folder = tempfile.TemporaryDirectory(prefix="millstream-vortex-")
        self._rows = Path(self._folder.name) / "rows"
        self._held = pa.OSFile(str(self._rows), "wb")
        self._writer = pa.ipc.new_stream(self._held, schema)

    def write(self, table: pa.Table) -> None:
        """Adds rows."""
        table = block.align(table, self._schema)
        self._writer.write_table(
            pa.Table.from_arrays(table.columns, schema=self._schema), max_chunksize=_ROWS
        )

    def close(self) -> None:
        """Makes the file of the rows, and copies it to where it belongs."""
        import vortex

        made = Path(self._folder.name) / "made"
        with self._folder:
            self._writer.close()
            self._held.close()
            with pa.OSFile(str(self._rows)) as held, panics_told():
                vortex.io.write(pa.ipc.open_stream(held), str(made))
            with made.open("rb") as file:
                shutil.copyfileobj(file, self._stream, _COPIED_BYTES)


def _stored_type(type: pa.DataType) -> pa.DataType:
    """The type of those that come back which holds the same values."""
    types = pa.types
    if types.is_dictionary(type):
        return _stored_type(type.value_type)
    if types.is_string(type):
        return pa.large_string()
    if types.is_binary(type):
        return pa.large_binary()
    if types.is_decimal32(type) or types.is_decimal64(type):
        return pa.decimal128(type.precision, type.scale)
    if types.is_list(type) or types.is_large_list(type):
        return pa.list_(_inner(type.value_field))
    if types.is_fixed_size_list(type):
        return pa.list_(_inner(type.value_field), type.list_size)
    if types.is_struct(type):
        return pa.struct([_inner(each) for each in type])
    if types.is_map(type):
        return pa.map_(_inner(type.key_field), _inner(type.item_field), type.keys_sorted)
    return type


def _inner(field: pa.Field) -> pa.Field:
    return field.with_type(_stored_type(field.type))


def _is_held(type: pa.DataType) -> bool:
    types = pa.types
    if isinstance(type, pa.BaseExtensionType):
        return isinstance(type, pa.UuidType)
    if types.is_dictionary(type):
        return _is_held(type.value_type)
    is_of_fixed_length = types.is_fixed_size_binary(type) and not types.is_decimal(type)
    if types.is_duration(type) or types.is_interval(type) or is_of_fixed_length:
        return False
    return all(_is_held(type.field(index).type) for index in range(type.num_fields))


# So many rows are a chunk of a file by Vortex's own choice.
_ROWS = 8192
_COPIED_BYTES = 1 << 20
