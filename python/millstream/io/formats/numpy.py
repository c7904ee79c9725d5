"""Reading arrays that NumPy stored: `.npy`, and `.npz` with an array a column.

Owns the plan and the format. Must not know what happens to the rows. Never unpickles: whoever can
write a file could otherwise run code wherever it is read.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs
from numpy.lib import format as npy

from millstream.blocks import columns, tensor
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.typed_files import TABLE_BYTES, Contents, plan_typed_files
from millstream.io.source import Source

Array = np.ndarray[Any, Any]


def plan_numpy(paths: Paths, files: FileOptions, *, blocks: int | None = None) -> Source:
    """Plans to read arrays, a row for each index of their first axis.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, is empty or no array, its dtype has no Arrow type, or
            there is nothing to read.
    """
    listing = list_files(paths, files, reader="read_numpy")
    return plan_typed_files("ReadNumpy", listing, NumpyFormat(), files, blocks=blocks)


@dataclass(frozen=True)
class NumpyFormat:
    """A file is an array, or an archive of arrays of one length."""

    problem: str = "cannot read this NumPy file"

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> Contents:
        """Reads the headers of a file's arrays."""
        with ExitStack() as stack:
            arrays = _arrays(open_file(filesystem, path), stack)
            empty = {name: array.rows_of_none() for name, array in arrays.items()}
            return Contents(_table(empty).schema, next(iter(arrays.values())).rows)

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the rows of a file in tables of bounded size."""
        with ExitStack() as stack:
            arrays = _arrays(open_file(filesystem, path), stack)
            rows = next(iter(arrays.values())).rows
            width = sum(array.row_bytes for array in arrays.values())
            step = max(1, TABLE_BYTES // max(_ROW_BYTES_MIN, width))
            if not rows:
                yield _table({name: array.rows_of_none() for name, array in arrays.items()})
            for start in range(0, rows, step):
                stop = min(rows, start + step)
                yield _table({name: array.read(start, stop) for name, array in arrays.items()})
            for array in arrays.values():
                array.check_end()


class _File(Protocol):
    """What is needed of a file, or of one in an archive."""

    def read(self, size: int = ..., /) -> bytes:
        """Reads some bytes."""

    def seek(self, position: int, /) -> Any:
        """Goes on from a position."""

    def tell(self) -> int:
        """The position."""


class _StoredArray:
    """An array in a file, read some rows at a time, in order.

    Args:
        file: Where it begins.
        size: The bytes of the file.
        is_streamed: Whether it takes long to go to another place in it.

    Raises:
        ValueError: It is no array, is cut off, or its values have no Arrow type.
    """

    def __init__(self, file: _File, size: int, *, is_streamed: bool = False) -> None:
        shape, self._is_fortran, self._dtype = _header(file)
        if not shape:
            raise ValueError("it holds a single value, which is no row")
        _check_dtype(self._dtype, len(shape))
        self.rows = shape[0]
        self._row_shape = shape[1:]
        self._file = file
        self._is_streamed = is_streamed
        self._start = file.tell()
        self._row_items = math.prod(self._row_shape)
        self.row_bytes = self._row_items * self._dtype.itemsize
        # Rows that lie apart are read once if they are few, else piece by piece.
        self._is_fortran = self._is_fortran and self._row_items > 1
        self._held: Array | None = None
        self._check_size(size)

    def rows_of_none(self) -> Array:
        """The array without its rows."""
        return np.empty((0, *self._row_shape), self._dtype)

    def read(self, start: int, stop: int) -> Array:
        """Reads the rows from `start` to `stop`; each call goes on where the last one ended."""
        shape = (stop - start, *self._row_shape)
        if not self._is_fortran:
            return self._values((stop - start) * self._row_items).reshape(shape)
        if self._is_streamed or self.rows * self.row_bytes <= HELD_BYTES:
            if self._held is None:
                values = self._values(self.rows * self._row_items)
                self._held = values.reshape((self.rows, *self._row_shape), order="F")
            return self._held[start:stop]
        lines = [self._line(line, start, stop) for line in range(self._row_items)]
        return np.concatenate(lines).reshape(shape, order="F")

    def check_end(self) -> None:
        """Checks that what was read from an archive is what was put into it."""
        # A checksum would not be looked at after going to another place.
        if self._is_streamed and self._file.read(1):
            raise ValueError(f"something comes after the array, at byte {self._end}")

    def _line(self, line: int, start: int, stop: int) -> Array:
        """Reads one value of each row, which lie one behind the other."""
        self._file.seek(self._start + (line * self.rows + start) * self._dtype.itemsize)
        return self._values(stop - start)

    def _values(self, count: int) -> Array:
        wanted = count * self._dtype.itemsize
        parts: list[bytes] = []
        while wanted:
            parts.append(self._file.read(wanted))
            wanted -= len(parts[-1])
            if not parts[-1]:
                raise ValueError(f"it ends at byte {self._file.tell()}, {wanted} bytes too early")
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if not self._dtype.itemsize:
            return np.empty(count, self._dtype)
        return np.frombuffer(data, self._dtype)

    def _check_size(self, size: int) -> None:
        self._end = self._start + self.rows * self.row_bytes
        if size != self._end:
            what = "is cut off" if size < self._end else "has something after its array"
            raise ValueError(f"it has {size} bytes and should have {self._end}: it {what}")


def _arrays(file: pa.NativeFile, stack: ExitStack) -> Mapping[str, _StoredArray]:
    """Opens the arrays of a file by their columns, all of one length.

    Raises:
        ValueError: It holds none, one that cannot be read, or arrays of several lengths.
    """
    stack.enter_context(file)
    magic = file.read(len(_ZIP_MAGIC))
    file.seek(0)
    if magic not in (_ZIP_MAGIC, _EMPTY_ZIP_MAGIC):
        return {"data": _StoredArray(file, file.size())}
    if magic == _EMPTY_ZIP_MAGIC:
        raise ValueError("it holds no arrays")
    archive = stack.enter_context(zipfile.ZipFile(file))
    arrays: dict[str, _StoredArray] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in arrays or not member.filename.endswith(".npy"):
            problem = "is there twice" if name in arrays else "is no array"
            raise ValueError(f"{member.filename!r} in it {problem}")
        try:
            opened = stack.enter_context(archive.open(member))
            arrays[name] = _StoredArray(opened, member.file_size, is_streamed=True)
        except ValueError as error:
            raise ValueError(f"the array {name!r}: {error}") from error
    for (first, one), (second, other) in pairwise(arrays.items()):
        if one.rows != other.rows:
            raise ValueError(
                f"array {first!r} has {one.rows} rows and {second!r} has {other.rows}: they are "
                "columns of one table only if they are of one length"
            )
    return arrays


def _header(file: _File) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Reads the shape of an array, whether it is in Fortran order, and its dtype."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"it is of the unknown version {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(file, max_header_size=_HEADER_BYTES_MAX)
    if version == (3, 0) and dtype.names:
        # The versions 2 and 3 differ in nothing but the encoding of these names.
        dtype.names = tuple(name.encode("latin1").decode() for name in dtype.names)
    return tuple(shape), bool(is_fortran), dtype


def _check_dtype(dtype: np.dtype[Any], ndim: int) -> None:
    """Refuses values that no column holds.

    Raises:
        ValueError: Names the dtype.
    """
    if dtype.hasobject:
        raise ValueError(
            f"its dtype {dtype} has pickled Python objects, which are not read, since with them a "
            "file could run any code"
        )
    if dtype.names is None:
        if dtype.kind not in "SU" and not tensor.is_tensor_dtype(dtype):
            raise ValueError(f"its dtype {dtype} has no Arrow type")
        return
    if ndim > 1 or not dtype.names:
        raise ValueError(f"its dtype {dtype} has fields, which are columns only in one dimension")
    for name in dtype.names:
        base, shape = dtype[name].subdtype or (dtype[name], ())
        if base.names is not None:
            raise ValueError(f"its dtype {dtype} has fields within the field {name!r}")
        try:
            _check_dtype(base, 1 + len(shape))
        except ValueError as error:
            raise ValueError(f"the field {name!r}: {error}") from error


def _table(arrays: Mapping[str, Array]) -> pa.Table:
    """Makes a column of each array, or of each field of it.

    Raises:
        ValueError: Two have one name, or a value is not exact in Arrow.
    """
    made: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name, array in arrays.items():
        names = array.dtype.names
        parts = {name: array} if names is None else {each: array[each] for each in names}
        for each, values in parts.items():
            if each in made:
                raise ValueError(f"two of its arrays give the column {each!r}")
            try:
                made[each] = _column(values)
            except ValueError as error:
                raise ValueError(f"column {each!r}: {error}") from error
    return pa.table(made)


def _column(array: Array) -> pa.Array | pa.ChunkedArray:
    if array.dtype.kind in "mM":
        array = _exact_times(array)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if array.dtype.kind not in "SU":
        return columns.from_ndarray(array)
    # Not from the array itself: pyarrow ends bytes at their first zero.
    type = pa.large_string() if array.dtype.kind == "U" else pa.large_binary()
    for _ in array.shape[1:]:
        type = pa.list_(type)
    return pa.array(array.tolist(), type)


def _exact_times(array: Array) -> Array:
    """Gives times a unit that Arrow has.

    Raises:
        ValueError: One would be another time.
    """
    kind, unit = array.dtype.kind, np.datetime_data(array.dtype)[0]
    made = array.astype(tensor.arrow_dtype(np.dtype(f"{kind}8[{unit}]")))
    same = array.astype(array.dtype.newbyteorder("=")).view(np.int64)
    back = made.astype(array.dtype.newbyteorder("=")).view(np.int64)
    if np.datetime_data(made.dtype)[0] == "D":
        # Arrow's dates have 32 bits.
        days = made.view(np.int64)
        back = np.where(np.isnat(made), back, days.astype(np.int32))
    wrong = np.flatnonzero(same != back)
    if len(wrong):
        value = array.reshape(-1)[wrong[0]]
        raise ValueError(f"Arrow cannot hold {value!s} of dtype {array.dtype} as {made.dtype}")
    return made


#: An array in Fortran order of at most so many bytes is read at once; one in an archive always.
HELD_BYTES = 64 << 20
_ZIP_MAGIC = b"PK\x03\x04"
_EMPTY_ZIP_MAGIC = b"PK\x05\x06"
# NumPy's own limit is too low for arrays of several hundred fields.
_HEADER_BYTES_MAX = 1 << 20
# Rows without bytes take some memory too.
_ROW_BYTES_MIN = 16
