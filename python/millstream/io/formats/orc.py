"""Reading ORC files with pyarrow.

Owns the plan and the format. Must not know what happens to the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import MissingPackageError, SchemaError
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.typed_files import (
    TABLE_BYTES,
    Contents,
    check_columns_once,
    pieces_of,
    plan_typed_files,
)
from millstream.io.source import Source


def plan_orc(paths: Paths, files: FileOptions, *, blocks: int | None = None) -> Source:
    """Plans to read ORC files.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: There are timestamps, and pyarrow is older than 25.
        ReadError: A path does not exist, is empty or no ORC, or there is nothing to read.
        SchemaError: A column is there twice, or of a type that is not read.
    """
    listing = list_files(paths, files, reader="read_orc")
    return plan_typed_files("ReadORC", listing, OrcFormat(), files, blocks=blocks)


@dataclass(frozen=True)
class OrcFormat:
    """A file is stripes, which are read a few rows at a time."""

    problem: str = "cannot read this ORC file"

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> Contents:
        """Reads the footer of a file."""
        from pyarrow import orc

        with open_file(filesystem, path) as source:
            file = orc.ORCFile(source)
            schema = file.schema.remove_metadata()
            _check(schema, file.file_version, path)
            return Contents(schema, file.nrows)

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the rows of each stripe in tables of bounded size."""
        from pyarrow import dataset

        contents = self.describe(filesystem, path)
        if not contents.schema.names:
            yield pa.table({})
            return
        # Unlike `ORCFile`, this does not take a whole stripe into memory.
        fragment = dataset.OrcFileFormat().make_fragment(path, filesystem)
        batches = fragment.scanner(
            schema=contents.schema,
            batch_size=_batch_rows(contents, filesystem.get_file_info(path).size),
            batch_readahead=0,
            fragment_readahead=0,
            use_threads=False,
        ).to_batches()
        row = 0
        while True:
            try:
                batch = next(batches, None)
            except pa.ArrowException as error:
                raise ValueError(f"after row {row}: {error}") from error
            if batch is None:
                break
            batch.validate(full=True)
            row += batch.num_rows
            yield from pieces_of(pa.Table.from_batches([batch]))
        if row != contents.rows:
            raise ValueError(f"its footer tells of {contents.rows} rows, and it has {row}")
        if not row:
            yield contents.schema.empty_table()


def _check(schema: pa.Schema, version: str, path: str) -> None:
    """Refuses what pyarrow would read as other values.

    Raises:
        MissingPackageError: Timestamps would wrap.
        SchemaError: A column is there twice, or is a decimal whose digits would be cut off.
    """
    check_columns_once(schema)
    for field in schema:
        if _PYARROW < _CHECKS_TIMESTAMPS and _holds(field.type, pa.types.is_timestamp):
            raise MissingPackageError(
                f"{path} has timestamps in column {field.name!r}, of which pyarrow "
                f"{pa.__version__} would make other ones beyond the years 1677 and 2262: "
                "pip install 'pyarrow>=25'"
            )
        if version == "0.11" and _holds(field.type, _OLD_DECIMAL.equals):
            raise SchemaError(
                f"column {field.name!r} is a decimal of Hive 0.11, whose digits pyarrow would cut "
                "off after the sixth; write the file again with a later version",
                file=path,
            )


def _holds(type: pa.DataType, is_meant: Callable[[pa.DataType], bool]) -> bool:
    """Tells whether a type is, or has within it, one that is meant."""
    inner = (type.field(index).type for index in range(type.num_fields))
    return is_meant(type) or any(_holds(each, is_meant) for each in inner)


def _batch_rows(contents: Contents, size: int) -> int:
    """Returns how many rows are read at a time.

    Args:
        contents: What the file says of itself.
        size: Its bytes.
    """
    # Rows may take far more in memory than in the file, which is compressed.
    width = max(len(contents.schema), size // max(1, contents.rows or 0))
    return max(1, min(_BATCH_ROWS_MAX, TABLE_BYTES // (width * _GROWTH)))


_PYARROW = int(pa.__version__.partition(".")[0])
_CHECKS_TIMESTAMPS = 25
# What pyarrow makes of the decimals of Hive 0.11, which had no precision.
_OLD_DECIMAL = pa.decimal128(38, 6)
_BATCH_ROWS_MAX = 1 << 16
_GROWTH = 8
