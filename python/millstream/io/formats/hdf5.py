"""Reading HDF5 files with h5py: the datasets of a file are columns.

Owns the plan, the format, and which datasets become columns. `hdf5_values` owns what becomes of
their values. Must not know what happens to the rows.

A file can lead to others, by links, by external storage and by virtual datasets. None of these is
followed: whoever can write a file could otherwise have any other one read.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import MissingPackageError, ReadError, SchemaError
from millstream.errors.checks import check_columns, require
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.hdf5_values import Values, values_of
from millstream.io.formats.row_ranges import RangedContents, plan_row_ranges
from millstream.io.formats.typed_files import TABLE_BYTES, pieces_of
from millstream.io.source import Source


def plan_hdf5(
    paths: Paths,
    files: FileOptions,
    *,
    datasets: str | Sequence[str] | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read HDF5 files, a row for each index of the first axis of their datasets.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        datasets: See `read_hdf5`.
        blocks: Exactly so many units, as far as there are rows.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: h5py, or a filter that a dataset needs, is not installed.
        ReadError: A path does not exist, is empty or no HDF5, or there is nothing to read.
        SchemaError: A dataset does not exist, or cannot be a column.
    """
    names = None if datasets is None else tuple(check_columns("datasets", datasets))
    require(names != (), "datasets", datasets, "at least one name, or None")
    require_package("h5py", "read_hdf5", "h5py", "hdf5")
    listing = list_files(paths, files, reader="read_hdf5")
    return plan_row_ranges("ReadHDF5", listing, Hdf5Format(names), files, blocks=blocks)


@dataclass(frozen=True)
class Hdf5Format:
    """A file is datasets of one length, which are read some rows at a time.

    Args:
        datasets: The names of those that are read; `None`: all.
    """

    datasets: tuple[str, ...] | None = None
    problem: str = "cannot read this HDF5 file"

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> RangedContents:
        """Reads what the datasets of a file are."""
        with _columns_of(filesystem, path, self.datasets) as columns:
            empty = _table([column.read(0, 0) for column in columns])
            step = max(column.chunk_rows for column in columns)
            return RangedContents(empty.schema, columns[0].rows, step)

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the rows of a file in tables of bounded size."""
        return self.read_rows(filesystem, path, 0, None)

    def read_rows(
        self, filesystem: pa_fs.FileSystem, path: str, start: int, stop: int | None
    ) -> Iterator[pa.Table]:
        """Yields the rows from `start` to `stop`."""
        with _columns_of(filesystem, path, self.datasets) as columns:
            stop = columns[0].rows if stop is None else stop
            if start == stop:
                yield _table([column.read(start, start) for column in columns])
            step = _step(columns)
            while start < stop:
                end = min(stop, (start // step + 1) * step)
                table = _table([column.read(start, end) for column in columns])
                if any(column.is_of_any_size for column in columns):
                    step = _next_step(table)
                start = end
                yield from pieces_of(table)


class _Column:
    """A dataset as one column, or as several if its values have fields.

    Args:
        name: Its name.
        dataset: The dataset of h5py.

    Raises:
        MissingPackageError: It is compressed by a filter that is not installed.
        SchemaError: It cannot be a column.
    """

    def __init__(self, name: str, dataset: Any) -> None:
        self.name = name
        self._dataset = dataset
        if not dataset.shape:
            raise SchemaError(f"the dataset {name!r} is a single value or none, which is no row")
        if dataset.is_virtual or dataset.external:
            raise SchemaError(
                f"the dataset {name!r} has its values in other files, which are not read from "
                "this one; read those"
            )
        _check_filters(name, dataset)
        self._fields = _fields_of(name, dataset)
        self.rows: int = dataset.shape[0]
        self.chunk_rows: int = dataset.chunks[0] if dataset.chunks else 1
        items = math.prod(dataset.shape[1:])
        self.is_of_any_size = any(values.is_of_any_size for _, values in self._fields)
        self.row_bytes: int = items * max(
            dataset.dtype.itemsize, sum(values.item_bytes for _, values in self._fields)
        )

    def read(self, start: int, stop: int) -> list[tuple[str, pa.Array | pa.ChunkedArray]]:
        """Reads some rows; each column with its name.

        Raises:
            ValueError: They are damaged, or a value has no Arrow type; says where.
        """
        try:
            array = self._dataset[start:stop]
            parts = array.dtype.names and {name: array[name] for name in array.dtype.names}
            return [
                (name, values.column(parts[name] if parts else array))
                for name, values in self._fields
            ]
        except Exception as error:
            where = f"the dataset {self.name!r}, rows {start} to {stop}"
            raise ValueError(f"{where}: {error}") from error


@contextmanager
def _columns_of(
    filesystem: pa_fs.FileSystem, path: str, names: Sequence[str] | None
) -> Iterator[list[_Column]]:
    """Opens the datasets that are to be read, all of one length.

    Raises:
        SchemaError: One does not exist, or cannot be a column.
    """
    import h5py

    if find_spec("hdf5plugin") is not None:
        # It makes its filters known to h5py.
        import_module("hdf5plugin")
    # Chunks are held that are read again because a table ends within them.
    with (
        open_file(filesystem, path) as opened,
        h5py.File(opened, "r", rdcc_nbytes=_CHUNK_CACHE_BYTES) as file,
    ):
        try:
            if names is None:
                found = {name: file[name] for name in _all_datasets(file)}
            else:
                found = {name: _dataset(file, name) for name in names}
            columns = [_Column(name, dataset) for name, dataset in found.items()]
            _check_lengths(columns, is_all=names is None)
        except (SchemaError, MissingPackageError) as error:
            error.file = error.file or path
            raise
        except _NothingError as error:
            raise ReadError(str(error), file=path) from None
        yield columns


class _NothingError(Exception):
    """There is nothing to read in a file."""


def _all_datasets(file: Any) -> list[str]:
    """The names of all datasets.

    Raises:
        SchemaError: There is a link to another file.
    """
    import h5py

    names: list[str] = []
    elsewhere: list[str] = []

    def visit(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset):
            names.append(name)

    def visit_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            elsewhere.append(name)

    file.visititems(visit)
    file.visititems_links(visit_link)
    if elsewhere:
        raise SchemaError(f"{_outside(elsewhere[0])}; name those that it has itself with datasets=")
    if not names:
        raise _NothingError("there are no datasets in this HDF5 file")
    return names


def _dataset(file: Any, name: str) -> Any:
    """Finds a dataset by its name, through links within the file.

    Raises:
        SchemaError: There is none, or it is in another file.
    """
    import h5py

    found = file[_inside(file, name, name, 0)]
    if isinstance(found, h5py.Dataset):
        return found
    raise SchemaError(f"{name!r} is no dataset, but a {type(found).__name__.lower()}")


def _inside(file: Any, path: str, name: str, links: int) -> str:
    """Follows links; returns where something is in the file.

    Args:
        file: The file.
        path: Where it is, or a link.
        name: The dataset that was asked for.
        links: How many links were followed already.
    """
    import h5py

    parts = [part for part in path.split("/") if part not in ("", ".")]
    for index in range(len(parts)):
        here = "/" + "/".join(parts[: index + 1])
        link = file.get(here, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise SchemaError(_outside(name))
        if link is None or links > _LINKS_MAX:
            known = ", ".join(map(repr, sorted(_all_inside(file)))) or "(none)"
            raise SchemaError(f"there is no dataset {name!r}; the datasets are {known}")
        if isinstance(link, h5py.SoftLink):
            target = posixpath.join(posixpath.dirname(here), link.path, *parts[index + 1 :])
            return _inside(file, target, name, links + 1)
    return "/" + "/".join(parts)


def _all_inside(file: Any) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, found: names.append(name) if hasattr(found, "shape") else None)
    return names


def _outside(name: str) -> str:
    return f"{name!r} is in another file, to which no link is followed"


def _fields_of(name: str, dataset: Any) -> list[tuple[str, Values]]:
    """What becomes of the values: of the whole, or of each field."""
    dtype: np.dtype[Any] = dataset.dtype
    dimensions = dataset.ndim
    if dtype.names is None:
        return [(name, values_of(f"the dataset {name!r}", dtype, dimensions))]
    if dimensions > 1:
        raise SchemaError(
            f"the dataset {name!r} has fields ({', '.join(dtype.names)}) in {dimensions} "
            "dimensions; fields are columns only in one"
        )
    made = []
    for field in dtype.names:
        base, shape = dtype[field].subdtype or (dtype[field], ())
        what = f"the field {field!r} of the dataset {name!r}"
        made.append((field, values_of(what, base, 1 + len(shape))))
    return made


def _check_filters(name: str, dataset: Any) -> None:
    """Checks that values can be uncompressed, before any are.

    Raises:
        MissingPackageError: They cannot.
    """
    import h5py

    plan = dataset.id.get_create_plist()
    for index in range(plan.get_nfilters()):
        code, _, _, label = plan.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            called = label.decode(errors="replace") if isinstance(label, bytes) else label
            raise MissingPackageError(
                f"the dataset {name!r} needs the HDF5 filter {code} ({called}), which h5py has "
                "not: pip install hdf5plugin"
            )


def _check_lengths(columns: Sequence[_Column], *, is_all: bool) -> None:
    lengths: dict[int, str] = {}
    for column in columns:
        lengths.setdefault(column.rows, column.name)
    if len(lengths) > 1:
        told = ", ".join(f"{name!r} has {rows} rows" for rows, name in lengths.items())
        what = "all datasets of the file are read; name those" if is_all else "name datasets"
        raise SchemaError(
            f"the datasets are not of one length ({told}): {what} of one length with datasets="
        )


def _table(parts: Sequence[list[tuple[str, pa.Array | pa.ChunkedArray]]]) -> pa.Table:
    made: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name, column in (each for part in parts for each in part):
        if name in made:
            raise SchemaError(f"two datasets give the column {name!r}; choose with datasets=")
        made[name] = column
    return pa.table(made)


def _step(columns: Sequence[_Column]) -> int:
    """How many rows are read at a time: whole chunks, if these are not too large."""
    width = max(1, sum(column.row_bytes for column in columns))
    if any(column.is_of_any_size for column in columns):
        return _ROWS_FIRST
    rows = max(1, TABLE_BYTES // width)
    chunk = max(column.chunk_rows for column in columns)
    if rows >= chunk:
        return rows // chunk * chunk
    return chunk if chunk * width <= _HELD_BYTES else rows


def _next_step(table: pa.Table) -> int:
    width = max(1, block.nbytes(table) // max(1, table.num_rows))
    rows = int(max(1, min(TABLE_BYTES // width, _ROWS_FIRST * table.num_rows, _ROWS_MAX)))
    return 1 << (rows.bit_length() - 1)


_LINKS_MAX = 16
_CHUNK_CACHE_BYTES = 32 << 20
_HELD_BYTES = 4 * TABLE_BYTES
# Of values of any size, so many are read to learn how large they are.
_ROWS_FIRST = 64
_ROWS_MAX = 1 << 16
