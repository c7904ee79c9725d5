"""Writing tables as TFRecord files of `tf.train.Example` messages.

Owns what an Example can hold of a table. Must not know where files are, staged or committed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.common_type import is_list, is_text
from millstream.errors import SchemaError
from millstream.io.file_format import RecordFormat
from millstream.io.formats.tfrecord_messages import (
    example_class,
    kind_of,
    masked_crc,
    require_packages,
    value_type,
)


@dataclass(frozen=True)
class TFRecordFormat(RecordFormat):
    """TFRecord files (`FileFormat`).

    Args:
        narrow_floats: Whether floats of 64 bits are rounded to 32.
    """

    narrow_floats: bool = False
    name: str = "TFRecord"
    extension: str = "tfrecords"

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> TFRecordWriter:
        """Begins a file.

        Raises:
            SchemaError: An Example cannot hold a column.
        """
        return TFRecordWriter(stream, schema, narrow_floats=self.narrow_floats)


class TFRecordWriter:
    """Writes tables as Examples to a stream, a record for each row.

    A null is a feature that is left out, an empty list one without values. Rows of equal values
    give equal bytes.

    Args:
        stream: Where to; it stays open.
        schema: That of the tables: integers, floats, bytes, text, and lists of these.
        narrow_floats: Whether floats of 64 bits are rounded to the 32 bits that an Example has;
            else one that is not the same in 32 bits is an error.

    Raises:
        MissingPackageError: protobuf or google-crc32c is not installed.
        SchemaError: An Example cannot hold a column.
    """

    def __init__(
        self, stream: pa.NativeFile, schema: pa.Schema, *, narrow_floats: bool = False
    ) -> None:
        require_packages("write_tfrecords")
        self._stream = stream
        self._narrow = narrow_floats
        self._rows = 0
        self._kinds: dict[str, str] = {}
        for column in block.visible_schema(schema):
            if column.name in self._kinds:
                raise SchemaError(f"the column {column.name!r} is there twice; rename one of them")
            kind = kind_of(column.type)
            if kind is None:
                raise SchemaError(
                    f"column {column.name!r} is {column.type}, which an Example cannot hold: it "
                    "has integers, floats, bytes, text, and lists of these; convert or drop it"
                )
            self._kinds[column.name] = kind

    def write(self, table: pa.Table) -> None:
        """Writes the rows of a table.

        Raises:
            SchemaError: A value is none that an Example can hold; names column and row.
        """
        for start in range(0, table.num_rows, _WRITTEN_ROWS):
            part = table.slice(start, _WRITTEN_ROWS)
            columns = [self._values(part.column(name), name) for name in self._kinds]
            for row in range(part.num_rows):
                self._write([values[row] for values in columns])
            self._rows += part.num_rows

    def close(self) -> None:
        """Ends the file, which has no mark at its end."""

    def _write(self, row: Sequence[Any]) -> None:
        example = example_class()()
        features = example.features
        features.SetInParent()
        for (name, kind), values in zip(self._kinds.items(), row, strict=True):
            if values is not None:
                made = getattr(features.feature[name], f"{kind}_list")
                made.SetInParent()
                made.value.extend(values)
        data = example.SerializeToString(deterministic=True)
        length = struct.pack("<Q", len(data))
        self._stream.write(length + struct.pack("<I", masked_crc(length)))
        self._stream.write(data)
        self._stream.write(struct.pack("<I", masked_crc(data)))

    def _values(self, column: pa.ChunkedArray, name: str) -> list[Any]:
        """The lists of values that become features, None where there is to be none."""
        kind = self._kinds[name]
        if problem := _problem(column, kind, self._narrow):
            each = (
                _problem(column.slice(row, 1), kind, self._narrow) for row in range(len(column))
            )
            row = next(row for row, found in enumerate(each) if found)
            raise SchemaError(
                f"column {name!r} has {problem} in row {self._rows + row} of this file (counted "
                "from 0)"
            )
        values: list[Any] = column.to_pylist()
        if not is_list(column.type):
            values = [None if value is None else [value] for value in values]
        if is_text(value_type(column.type)):
            return [None if row is None else [text.encode() for text in row] for row in values]
        return values


def _problem(column: pa.ChunkedArray, kind: str, narrow: bool) -> str | None:
    """Says which values of a column an Example cannot hold, if there are any."""
    from pyarrow import compute

    if is_list(column.type):
        column = compute.list_flatten(column)
        if column.null_count:
            return "a null in a list, which an Example has not"
    column = column.drop_null()
    if kind == "int64":
        most = compute.max(column).as_py() if pa.types.is_uint64(column.type) else 0
        return "an integer of more than 63 bits" if (most or 0) > _INT64_MAX else None
    if kind == "bytes" or column.type.bit_width <= 32:
        return None
    floats = column.cast(pa.float64()).to_numpy()
    with np.errstate(over="ignore"):
        back = floats.astype(np.float32).astype(np.float64)
    if narrow:
        return "a float beyond 32 bits" if np.any(np.isinf(back) & ~np.isinf(floats)) else None
    if np.array_equal(floats, back, equal_nan=True):
        return None
    return (
        "a float that is another one in 32 bits, which is what an Example has (pass "
        "narrow_floats=True to round it)"
    )


_INT64_MAX = 2**63 - 1
# So many rows are Python objects at a time.
_WRITTEN_ROWS = 1024
