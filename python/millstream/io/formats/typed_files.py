"""Files that say themselves which columns they have, such as those of Arrow, ORC, Avro and NumPy.

Owns what is planned of what such files say, and the size of the tables that are made of them. Must
not know any format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import ReadError, SchemaError
from millstream.io.file_options import FileOptions
from millstream.io.files import Listing
from millstream.io.per_file import Format, PathColumns, plan_files
from millstream.io.source import Source, blaming


@dataclass(frozen=True)
class Contents:
    """What a file says of itself.

    Args:
        schema: Its columns, as they come out.
        rows: How many rows it has, if it says so.
    """

    schema: pa.Schema
    rows: int | None = None


class TypedFormat(Format, Protocol):
    """How files are read that say which columns they have; travels to the workers."""

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> Contents:
        """Reads what a file says of itself, and no rows."""


def plan_typed_files(
    name: str,
    listing: Listing,
    format: TypedFormat,
    files: FileOptions,
    *,
    blocks: int | None,
) -> Source:
    """Plans to read files that say which columns they have.

    Up to `FILES_LOOKED_AT` files are opened. If these are all, the source has the columns of all.
    If they differ and there are more, it promises no schema, and their rows meet like any other
    blocks.

    Args:
        name: The source's name.
        listing: The files.
        format: How they are read.
        files: The columns that their paths give.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ReadError: A file is empty, or not of the format.
        SchemaError: A file that was opened has columns that cannot be read.
    """
    for file in listing.files:
        if file.size == 0:
            raise ReadError(f"{format.problem}: it is empty (0 bytes)", file=file.path)
    found = [_contents(listing, format, path) for path in listing.paths[:FILES_LOOKED_AT]]
    is_all = len(found) == len(listing.files)
    rows = [each.rows for each in found if each.rows is not None]
    schema = found[0].schema
    is_same = all(schema.equals(each.schema) for each in found)
    # Files that were not opened may have tensors of other shapes.
    is_known = is_same and (is_all or block.without_shapes(schema).equals(schema))
    if is_all and not is_same:
        # Each block gets the columns that it lacks.
        schema = block.without_shapes(block.unify_schemas(each.schema for each in found))
        is_known = True
    added = PathColumns(files.partitioning, files.include_paths).settled(listing.paths)
    if not is_same:
        _check_apart(added, found)
    return plan_files(
        name,
        listing,
        format,
        added,
        schema=schema if is_known else None,
        column=schema.names[0] if schema.names else "",
        rows=sum(rows) if is_all and len(rows) == len(found) else None,
        nbytes_of=lambda file: file.size,
        blocks=blocks,
    )


def pieces_of(table: pa.Table) -> Iterator[pa.Table]:
    """Cuts a table into parts of about `TABLE_BYTES`; an empty one is one part."""
    table = block.seal(table)
    rows = max(1, table.num_rows * TABLE_BYTES // max(1, block.nbytes(table)))
    for start in range(0, max(1, table.num_rows), rows):
        yield table.slice(start, rows)


def check_columns_once(schema: pa.Schema) -> None:
    """Checks that no two columns have one name.

    Raises:
        SchemaError: A column is there twice.
    """
    block.unify_schemas([schema])


def _check_apart(added: PathColumns, found: Sequence[Contents]) -> None:
    """Checks that paths give no column of the files, where not all files need have it.

    Raises:
        SchemaError: One does.
    """
    both = [name for each in found for name in each.schema.names if name in added.types]
    if both:
        raise SchemaError(
            f"the column {both[0]!r} is in the paths and in files, which differ in their columns; "
            "leave out partitioning"
        )


def _contents(listing: Listing, format: TypedFormat, path: str) -> Contents:
    try:
        with blaming(path, format.problem):
            return format.describe(listing.filesystem, path)
    except (ReadError, SchemaError) as error:
        if error.file is None:
            error.file = path
        raise


#: So many files are opened to plan, which takes time where each request is slow.
FILES_LOOKED_AT = 16
#: The size of the tables that are made of files, in memory.
TABLE_BYTES = 16 << 20
