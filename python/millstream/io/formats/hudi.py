"""Reading Hudi tables with hudi-rs (the package `hudi`), a file slice at a time.

Owns the plan and the unit. Must not know what happens to the rows. Which files make a snapshot, and
how changes in log files are put over a base file, is the library's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import ArgumentError
from millstream.errors.checks import check_count, check_named, is_sequence, require
from millstream.errors.packages import require_package
from millstream.io.formats.lance import address_of
from millstream.io.formats.panics import panics_told
from millstream.io.formats.typed_files import pieces_of
from millstream.io.source import Source, blaming, group_by_weight


def plan_hudi(
    table_uri: Any,
    *,
    query_type: Any = "snapshot",
    filters: Any = None,
    hudi_options: Mapping[str, str] | None = None,
    storage_options: Mapping[str, str] | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read the newest snapshot of a Hudi table; see `read_hudi`.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: hudi is not installed.
        ReadError: There is no such table.
    """
    require_package("hudi", "read_hudi", "hudi", "hudi")
    check_count("override_num_blocks", blocks)
    require(query_type == "snapshot", "query_type", query_type, "'snapshot'")
    check_named("hudi_options", hudi_options)
    check_named("storage_options", storage_options)
    chosen = _filters(filters)
    uri = address_of("table_uri", table_uri)
    with blaming(uri, _PROBLEM), panics_told():
        table = _table(uri, hudi_options, storage_options)
        schema = _plain(pa.schema(table.get_schema_with_meta_fields()))
        options = {**table.storage_options(), **table.hudi_options()}
    scan = HudiScan(uri, schema, chosen, options)
    with blaming(uri, _PROBLEM), panics_told():
        slices = [_slice(each) for each in table.get_file_slices(scan.options())]
    # The library gives them in an order of its own.
    slices.sort(key=lambda each: each.base)
    sizes = [each.nbytes for each in slices]
    ranges = group_by_weight(sizes, len(slices) if blocks is None else blocks)
    units = [HudiUnit(scan, tuple(slices[start:stop])) for start, stop in ranges]
    files = [path for unit in units for path in unit.files]
    return Source("ReadHudi", units, schema, None, files)


@dataclass(frozen=True)
class HudiScan:
    """What all units of a table have in common; travels to the workers.

    Args:
        uri: Where the table is.
        schema: Its columns.
        filters: Conditions on columns.
        given: Options of the table and of the object store, which may have keys.
    """

    uri: str
    schema: pa.Schema
    filters: tuple[tuple[str, str, str], ...]
    given: Mapping[str, str] = field(repr=False)

    def options(self) -> Any:
        """What is asked of the library."""
        from hudi import HudiReadOptions

        try:
            made = HudiReadOptions(filters=list(self.filters) or None)
        except Exception as error:
            raise ArgumentError(f"filters={list(self.filters)!r}: {error}") from error
        return made.with_batch_size(_ROWS)


@dataclass(frozen=True)
class FileSlice:
    """A base file, and the log files with changes to it.

    Args:
        base: The path of the base file within the table.
        logs: Those of the log files.
        nbytes: The size of the base file.
    """

    base: str
    logs: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True)
class HudiUnit:
    """Some file slices.

    Args:
        scan: How they are read.
        slices: Which.
    """

    scan: HudiScan
    slices: tuple[FileSlice, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads from."""
        root = self.scan.uri.rstrip("/")
        return tuple(f"{root}/{path}" for each in self.slices for path in (each.base, *each.logs))

    @property
    def nbytes(self) -> int:
        """The bytes of the base files, which are compressed."""
        return sum(each.nbytes for each in self.slices)

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows of each file slice in tables of bounded size.

        Raises:
            ReadError: A file is gone or broken.
        """
        from hudi import HudiFileGroupReader

        for each in self.slices:
            file = f"{self.scan.uri.rstrip('/')}/{each.base}"
            with blaming(file, _PROBLEM), panics_told():
                reader = HudiFileGroupReader(self.scan.uri, dict(self.scan.given))
                batches = reader.read_file_slice_from_paths_stream(
                    each.base, list(each.logs), self.scan.options()
                )
                for batch in batches:
                    table = block.plain(pa.Table.from_batches([pa.record_batch(batch)]))
                    yield from pieces_of(block.align(table, self.scan.schema))


def _filters(filters: Any) -> tuple[tuple[str, str, str], ...]:
    listed = [] if filters is None else filters
    is_list = is_sequence(listed) and all(is_sequence(each) for each in listed)
    is_right = is_list and all(
        len(list(each)) == 3 and all(isinstance(part, str) for part in each) for each in listed
    )
    wanted = "a list of (column, operator, value), each a text, or None"
    require(is_right, "filters", filters, wanted)
    return tuple((name, operator, value) for name, operator, value in listed)


def _table(uri: str, options: Any, storage: Any) -> Any:
    from hudi import HudiTableBuilder

    builder = HudiTableBuilder.from_base_uri(uri)
    return builder.with_hudi_options(options or {}).with_storage_options(storage or {}).build()


def _slice(found: Any) -> FileSlice:
    logs = tuple(found.log_files_relative_paths())
    return FileSlice(found.base_file_relative_path(), logs, int(found.base_file_size or 0))


def _plain(schema: pa.Schema) -> pa.Schema:
    return block.plain_schema(pa.schema([pa.field(each.name, each.type) for each in schema]))


_PROBLEM = "cannot read this Hudi table"
_ROWS = 8192
