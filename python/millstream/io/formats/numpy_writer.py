"""Writing one column as arrays that NumPy loads: an `.npy` file each.

Owns which columns are arrays. `millstream.io.sink` owns all else about writing files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from millstream.blocks import columns, tensor
from millstream.blocks.primitive import is_number
from millstream.errors import SchemaError
from millstream.io.file_format import PlainFormat


@dataclass(frozen=True)
class NumpyFormat(PlainFormat):
    """`.npy` files (`FileFormat`) of one column.

    Args:
        column: Its name.
    """

    column: str
    name: str = "Numpy"
    extension: str = "npy"

    def check(self, schema: pa.Schema) -> None:
        """Refuses a column whose values are not of one shape and of one size.

        Raises:
            SchemaError: It is one.
        """
        type = schema.field(self.column).type
        value = type.value_type if isinstance(type, pa.FixedShapeTensorType) else type
        types = pa.types
        is_time = types.is_timestamp(value) and value.tz is None
        is_time = is_time or types.is_duration(value)
        if not (is_time or is_number(value) or types.is_boolean(value)):
            raise SchemaError(
                f"column {self.column!r} of type {type} cannot be written as a NumPy array: it has "
                "numbers, booleans, times without a zone, and tensors of one shape"
            )

    def open(
        self, stream: pa.NativeFile, schema: pa.Schema, in_path: Sequence[pa.Field]
    ) -> _NumpyWriter:
        """Begins a file.

        Raises:
            SchemaError: The column cannot be written so.
        """
        self.check(schema)
        return _NumpyWriter(stream, schema.field(self.column))

    def read_back(self, file: pa.NativeFile, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yields the rows of a file."""
        wanted = schema.field(self.column)
        npy.read_magic(file)
        shape, _, dtype = npy.read_array_header_1_0(file)
        row_bytes = max(1, int(np.prod(shape[1:])) * dtype.itemsize)
        rows = max(1, _BYTES // row_bytes)
        for start in range(0, shape[0], rows):
            count = min(rows, shape[0] - start)
            array = np.frombuffer(file.read(count * row_bytes), dtype)
            column = columns.from_ndarray(array.reshape(count, *shape[1:]))
            yield pa.table({self.column: column}).cast(pa.schema([wanted]))


class _NumpyWriter:
    """An array that is being written. Its header tells the rows: it is put in front at the end."""

    def __init__(self, stream: pa.NativeFile, column: pa.Field) -> None:
        self._stream = stream
        self._column = column
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed by `close`
        self._rows = 0
        self._array = self._to_numpy(pa.chunked_array([], column.type))

    def write(self, table: pa.Table) -> None:
        column = table.column(self._column.name)
        if column.null_count:
            raise SchemaError(
                f"column {self._column.name!r} has nulls, which a NumPy array has not; put values "
                "in their place before"
            )
        array = np.ascontiguousarray(self._to_numpy(column))
        self._rows += len(array)
        self._file.write(array.view(np.uint8).data if array.size else b"")

    def close(self) -> None:
        with self._file:
            shape = (self._rows, *self._array.shape[1:])
            described = npy.dtype_to_descr(self._array.dtype)
            header = {"descr": described, "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(self._stream, header)
            self._file.seek(0)
            shutil.copyfileobj(self._file, self._stream)

    def _to_numpy(self, column: pa.ChunkedArray) -> np.ndarray:
        if tensor.is_tensor(column.type):
            return tensor.to_numpy(column)
        array: np.ndarray[Any, Any] = column.to_numpy()
        return array


_BYTES = 8 << 20
