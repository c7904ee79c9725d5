"""What workers read of Lance datasets: fragments, through Lance's scanner.

Owns what is asked of the scanner, and the tables that it gives. Must not know how a dataset is
divided: `lance` plans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import ReadError
from millstream.io.formats.panics import panics_told
from millstream.io.formats.parquet import ray_tensors
from millstream.io.formats.typed_files import TABLE_BYTES, pieces_of
from millstream.io.source import blaming


@dataclass(frozen=True)
class Version:
    """A version of a dataset, which never changes.

    Args:
        number: Its number.
        branch: The branch that it is on; `None`: the main one.
    """

    number: int
    branch: str | None = None


@dataclass(frozen=True)
class LanceScan:
    """What all units of one dataset have in common; travels to the workers.

    Args:
        uri: Where the dataset is.
        version: Which of it.
        columns: Those that are read; `None`: all.
        filter: A condition in SQL.
        storage_options: For the object store.
        options: Further options of Lance's scanner.
    """

    uri: str
    version: Version
    columns: tuple[str, ...] | None
    filter: str | None
    storage_options: Mapping[str, str]
    options: Mapping[str, Any]

    def opened(self) -> Any:
        """Opens the dataset."""
        import lance

        options = dict(self.storage_options) or None
        if self.version.branch is None:
            return lance.dataset(self.uri, version=self.version.number, storage_options=options)
        dataset = lance.dataset(self.uri, storage_options=options)
        return dataset.checkout_version((self.version.branch, self.version.number))

    def scanner(self, dataset: Any, fragments: Sequence[Any] | None = None) -> Any:
        """Asks Lance for the rows of fragments; `None`: of all of them."""
        columns = None if self.columns is None else list(self.columns)
        found = None if fragments is None else list(fragments)
        options = {**_OPTIONS, **self.options}
        if options.get("strict_batch_size"):
            # Lance takes only one of them.
            options.pop("batch_size_bytes")
        # Rows without columns are counted by what each of them has.
        chosen = [_ROW_ID] if columns == [] else columns
        return dataset.scanner(columns=chosen, filter=self.filter, fragments=found, **options)


@dataclass(frozen=True)
class Fragment:
    """What is planned of a fragment.

    Args:
        number: Its number in the dataset.
        rows: How many rows it has, before any filter.
        files: The paths of its files.
        nbytes: Their size.
    """

    number: int
    rows: int
    files: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True)
class Part:
    """Some fragments of one dataset.

    Args:
        scan: How they are read.
        fragments: Which; `None`: all that there are, in one go.
    """

    scan: LanceScan
    fragments: tuple[Fragment, ...] | None

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows in tables of bounded size."""
        with blaming(self.scan.uri, PROBLEM), panics_told():
            dataset = self.scan.opened()
            scanner = self.scan.scanner(dataset, self._found(dataset))
            is_empty = True
            for batch in scanner.to_reader():
                for table in pieces_of(self._table(batch)):
                    is_empty = is_empty and not table.num_rows
                    yield table
            if is_empty and self.scan.columns != ():
                yield schema_of(scanner.projected_schema, self.scan.uri).empty_table()

    def _found(self, dataset: Any) -> list[Any] | None:
        if self.fragments is None:
            return None
        found = [dataset.get_fragment(each.number) for each in self.fragments]
        for each, fragment in zip(self.fragments, found, strict=True):
            if fragment is None:
                raise ReadError(f"the fragment {each.number} is gone", file=self.scan.uri)
        return found

    def _table(self, batch: pa.RecordBatch) -> pa.Table:
        if self.scan.columns == ():
            return block.rows_only(batch.num_rows)
        fields = [_without_hints(field) for field in batch.schema]
        table = pa.Table.from_arrays(batch.columns, schema=pa.schema(fields))
        return block.plain(ray_tensors.with_own_columns(table))


@dataclass(frozen=True)
class LanceUnit:
    """Some fragments, of one dataset or of several.

    Args:
        parts: What is read, in this order.
    """

    parts: tuple[Part, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""
        found = (each.files for part in self.parts for each in part.fragments or ())
        return tuple(path for files in found for path in files)

    @property
    def nbytes(self) -> int:
        """The bytes of the files, which are compressed."""
        return sum(each.nbytes for part in self.parts for each in part.fragments or ())

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows of each part in turn.

        Raises:
            ReadError: Lance cannot read them.
        """
        for part in self.parts:
            yield from part.read()


def schema_of(found: pa.Schema, uri: str) -> pa.Schema:
    """The columns of a dataset as they come out.

    Raises:
        SchemaError: One holds pickled objects.
    """
    found = pa.schema([_without_hints(field) for field in found])
    ray_tensors.refuse_pickled(found, {uri: found})
    return block.plain_schema(ray_tensors.with_own_types(found))


def _without_hints(field: pa.Field) -> pa.Field:
    """A field without what it tells Lance of storage; types that Arrow does not know stay."""
    if field.metadata and _EXTENSION not in field.metadata:
        return field.remove_metadata()
    return field


#: What is said of a dataset that cannot be read.
PROBLEM = "cannot read this Lance dataset"
_EXTENSION = b"ARROW:extension:name"
_ROW_ID = "_rowid"
# What is asked of the scanner unless the user says otherwise: tables of bounded bytes, little read
# ahead, since other tasks read beside, and blobs as bytes, not as where they are stored.
_OPTIONS: Mapping[str, Any] = {
    "batch_size_bytes": TABLE_BYTES,
    "batch_readahead": 1,
    "fragment_readahead": 1,
    "io_buffer_size": 64 << 20,
    "blob_handling": "all_binary",
}
