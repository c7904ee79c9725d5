"""Planning to read Lance datasets with pylance, a fragment at a time.

Owns which version of a dataset is read, its columns, and how it is divided. Must not know what
happens to the rows. `lance_units` reads, `lance_sink` writes.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from millstream.errors import ArgumentError, SchemaError
from millstream.errors.checks import (
    check_columns,
    check_count,
    check_named,
    is_sequence,
    is_whole,
    require,
)
from millstream.errors.packages import require_package
from millstream.io.formats.lance_units import (
    PROBLEM,
    Fragment,
    LanceScan,
    LanceUnit,
    Part,
    Version,
    schema_of,
)
from millstream.io.source import Source, blaming, group_by_weight


def plan_lance(
    uri: Any,
    *,
    version: Any = None,
    columns: Any = None,
    filter: Any = None,
    storage_options: Any = None,
    scanner_options: Any = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read Lance datasets; see `read_lance`.

    Raises:
        ArgumentError: An argument makes no sense, such as a filter that Lance cannot parse.
        MissingPackageError: pylance is not installed.
        ReadError: There is no such dataset or version.
        SchemaError: There is no such column, or it holds pickled objects.
    """
    require_lance("read_lance")
    check_count("override_num_blocks", blocks)
    is_version = version is None or is_whole(version, 1) or isinstance(version, str)
    require(is_version, "version", version, "a number from 1 on, the name of a tag, or None")
    is_text = filter is None or (isinstance(filter, str) and bool(filter.strip()))
    require(is_text, "filter", filter, "a condition in SQL, or None")
    check_named("storage_options", storage_options)
    _check_options(scanner_options)
    options = dict(scanner_options or {})
    fragments = options.pop("fragments", None)
    uris = _addresses(uri)
    if fragments is not None and len(uris) > 1:
        raise ArgumentError("scanner_options['fragments'] needs one dataset, but uri has several")
    chosen = None if columns is None else tuple(check_columns("columns", columns))
    # Its version is found below.
    scan = LanceScan("", Version(0), chosen, filter, dict(storage_options or {}), options)
    scanned = [_scanned(replace(scan, uri=each), version, fragments) for each in uris]
    return _Plan(tuple(scanned), blocks).source()


def require_lance(caller: str) -> None:
    """Checks that pylance is there.

    Raises:
        MissingPackageError: It is not.
    """
    require_package("lance", caller, "pylance", "lance")


def address_of(name: str, uri: Any) -> str:
    """An address as Lance takes it; a path is that of the caller.

    Args:
        name: The argument.
        uri: What was passed.

    Raises:
        ArgumentError: It is none.
    """
    text = os.fspath(uri) if isinstance(uri, (str, os.PathLike)) else uri
    is_text = isinstance(text, str) and bool(text)
    require(is_text, name, uri, "the path or address of a Lance dataset")
    return str(text) if "://" in text else os.path.abspath(text)


@dataclass(frozen=True)
class _Scanned:
    """A dataset that was opened to plan.

    Args:
        scan: How it is read.
        schema: The columns that come out.
        fragments: Those that are read.
        is_restricted: Whether the user has said which.
    """

    scan: LanceScan
    schema: pa.Schema
    fragments: tuple[Fragment, ...]
    is_restricted: bool

    @property
    def is_whole(self) -> bool:
        """Whether the user asks for what fragments cannot answer apart."""
        return not _OF_ALL_ROWS.isdisjoint(self.scan.options)

    @property
    def is_plain(self) -> bool:
        """Whether all rows come out, and no columns but those that are chosen."""
        return self.scan.options.keys() <= _PLAIN

    @property
    def rows(self) -> int | None:
        """The rows that come out, if they are known."""
        is_known = self.is_plain and self.scan.filter is None
        return sum(each.rows for each in self.fragments) if is_known else None

    def parts(self) -> list[Part]:
        """One for each fragment, or one for all."""
        if self.is_whole:
            return [Part(self.scan, self.fragments if self.is_restricted else None)]
        return [Part(self.scan, (each,)) for each in self.fragments]

    def chosen(self, columns: Sequence[str]) -> _Scanned:
        """The same with some of the columns."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        return replace(self, scan=replace(self.scan, columns=tuple(columns)), schema=schema)


@dataclass(frozen=True)
class _Plan:
    """What makes the source, and makes it anew for some of its columns.

    Args:
        scanned: The datasets.
        blocks: How many units the user wants.
    """

    scanned: tuple[_Scanned, ...]
    blocks: int | None

    def source(self) -> Source:
        """Plans the source."""
        parts = [part for each in self.scanned for part in each.parts()]
        units = [LanceUnit((part,)) for part in parts]
        sizes = [unit.nbytes for unit in units]
        if self.blocks is not None:
            ranges = group_by_weight(sizes, self.blocks)
            units = [LanceUnit(tuple(parts[start:stop])) for start, stop in ranges]
        schema = self.scanned[0].schema
        is_same = all(schema.equals(each.schema) for each in self.scanned)
        is_plain = all(each.is_plain for each in self.scanned)
        rows = [each.rows for each in self.scanned]
        return Source(
            "ReadLance",
            units,
            schema if is_same else None,
            None if None in rows else sum(count or 0 for count in rows),
            [path for each in self.scanned for f in each.fragments for path in f.files],
            with_columns=self._with_columns if is_same and is_plain else None,
        )

    def _with_columns(self, columns: Sequence[str]) -> Source:
        return replace(self, scanned=tuple(each.chosen(columns) for each in self.scanned)).source()


def _addresses(uri: Any) -> list[str]:
    is_list = is_sequence(uri) and not isinstance(uri, os.PathLike)
    listed = list(uri) if is_list else [uri]
    require(bool(listed), "uri", uri, "the path or address of a Lance dataset, or a list of them")
    return [address_of("uri", each) for each in listed]


def _check_options(given: Any) -> None:
    """Checks what the user asks of Lance's scanner.

    Raises:
        ArgumentError: There is no such option, or it cannot be kept.
    """
    import lance

    check_named("scanner_options", given, "options")
    known = set(inspect.signature(lance.LanceDataset.scanner).parameters) - {"self"}
    for name, value in (given or {}).items():
        if name in _REFUSED:
            raise ArgumentError(f"scanner_options[{name!r}]={value!r}: {_REFUSED[name]}")
        names = ", ".join(sorted(known - _REFUSED.keys()))
        require(name in known, "a name in scanner_options", name, f"one of {names}")


def _scanned(scan: LanceScan, version: Any, fragments: Any) -> _Scanned:
    """Opens a dataset, and finds what is to be read of it."""
    import lance

    with blaming(scan.uri, PROBLEM):
        stored = dict(scan.storage_options) or None
        dataset = lance.dataset(scan.uri, version=version, storage_options=stored)
        # A tag may move while it is read, and may be on a branch, whose versions count apart.
        branch = dataset.tags.list()[version]["branch"] if isinstance(version, str) else None
    scan = replace(scan, version=Version(int(dataset.version), branch))
    schema = _projected(scan, dataset)
    found = dataset.get_fragments() if fragments is None else _numbered(dataset, fragments)
    with blaming(scan.uri, PROBLEM):
        planned = tuple(_fragment(scan.uri, each) for each in found)
    return _Scanned(scan, schema, planned, fragments is not None)


def _numbered(dataset: Any, fragments: Any) -> list[Any]:
    name, wanted = "scanner_options['fragments']", "a list of fragments of this dataset"
    require(is_sequence(fragments), name, fragments, wanted)
    numbers = [getattr(each, "fragment_id", None) for each in fragments]
    found = [None if number is None else dataset.get_fragment(number) for number in numbers]
    require(None not in found, name, fragments, wanted)
    return found


def _fragment(uri: str, found: Any) -> Fragment:
    files = found.data_files()
    paths = tuple(f"{uri.rstrip('/')}/data/{file.path}" for file in files)
    nbytes = sum(file.file_size_bytes or 0 for file in files)
    return Fragment(found.fragment_id, found.count_rows(), paths, nbytes)


def _projected(scan: LanceScan, dataset: Any) -> pa.Schema:
    """The columns that come out; Lance looks at all that it is asked.

    Raises:
        ArgumentError: Lance cannot parse the filter, or refuses an option.
        SchemaError: There is no such column.
    """
    schema = dataset.schema
    if scan.columns is None or set(scan.columns) <= set(schema.names):
        what = f"scanner_options={dict(scan.options)!r}"
    else:
        what = f"columns={list(scan.columns)!r}"
    try:
        asked = replace(scan, filter=None).scanner(dataset)
        schema = asked.projected_schema if scan.columns != () else pa.schema([])
    except (TypeError, ValueError, OSError) as error:
        names = ", ".join(map(repr, dataset.schema.names)) or "(none)"
        kind = SchemaError if what.startswith("columns") else ArgumentError
        raise kind(
            f"Lance refuses {what}: {error}; the columns are {names}", file=scan.uri
        ) from error
    try:
        if scan.filter is not None:
            scan.scanner(dataset).explain_plan()
    except (ValueError, OSError) as error:
        raise ArgumentError(f"Lance refuses filter={scan.filter!r}: {error}") from error
    return schema_of(schema, scan.uri)


# Options that are about all rows: each fragment would give as many, or have an order of its own.
_OF_ALL_ROWS = frozenset(
    (
        *("limit", "offset", "nearest", "full_text_query", "order_by", "fast_search"),
        *("index_segments", "prefilter", "row_addr_allowlist", "row_addr_blocklist"),
    )
)
# Options that change neither rows nor columns.
_PLAIN = frozenset(
    (
        *("batch_size", "batch_size_bytes", "strict_batch_size", "batch_readahead", "use_stats"),
        *("fragment_readahead", "io_buffer_size", "late_materialization", "use_scalar_index"),
        "blob_handling",
    )
)
_REFUSED = {
    "columns": "use columns= for it",
    "filter": "use filter= for it",
    "scan_in_order": "a task that is repeated must give its rows in the same order",
    "scan_stats_callback": "workers would call it, and not your program",
}
