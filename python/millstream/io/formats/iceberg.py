"""Reading Iceberg tables: the catalog says which Parquet files, a unit each.

Owns what a snapshot says: its columns, its files, and which of them a filter leaves. `iceberg_scan`
reads their rows. Must not know how tables are written.

pyiceberg plans the files. It would read each of them into memory as a whole, and give a filter to
Parquet's statistics, which lose rows with NaN: so the rows are read here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import (
    ArgumentError,
    MillstreamError,
    MissingPackageError,
    ReadError,
    SchemaError,
    WriteError,
)
from millstream.errors.checks import check_columns, check_count, is_named, require
from millstream.io.formats.iceberg_columns import arrow_type, ids_by_name
from millstream.io.formats.iceberg_scan import IcebergScan, IcebergUnit, Part
from millstream.io.formats.table_types import NOTE, with_noted_types
from millstream.io.secrets import without_secrets
from millstream.io.source import Source, group_by_weight, shares_of, split_rows


def plan_iceberg(
    table_identifier: str,
    *,
    row_filter: Any = None,
    selected_fields: Sequence[str] = ("*",),
    snapshot_id: int | None = None,
    scan_kwargs: Mapping[str, Any] | None = None,
    catalog_kwargs: Mapping[str, Any] | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read an Iceberg table; see `read_iceberg` for the arguments.

    Args:
        table_identifier: The table.
        row_filter: What rows must satisfy.
        selected_fields: The columns.
        snapshot_id: Which snapshot.
        scan_kwargs: For pyiceberg's scan.
        catalog_kwargs: For pyiceberg's `load_catalog`.
        blocks: How many units the user wants, as far as there are rows.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pyiceberg is not installed.
        ReadError: There is no such catalog, table or snapshot, or it needs what is not known here.
        SchemaError: An unknown column.
    """
    names = _check_names(selected_fields)
    check_count("snapshot_id", snapshot_id, least=0)
    options = _check_scan(scan_kwargs)
    table = load_table(table_identifier, catalog_kwargs)
    label = str(table_identifier)
    with telling(ReadError, "the table cannot be read", label):
        if snapshot_id is not None and table.snapshot_by_id(snapshot_id) is None:
            raise ReadError(f"the table has no snapshot {snapshot_id}", file=label)
        scan = table.scan(snapshot_id=snapshot_id, **options)
        condition = _condition(table, scan, row_filter, options)
        plan = _Plan(
            label=label,
            io=table.io,
            columns=tuple(scan.projection().fields),
            notes=notes_of(table),
            mapping=ids_by_name(table.name_mapping()),
            condition=condition,
            files=_files_of(table, scan, condition),
            blocks=blocks,
        )
    return plan.source(names)


def load_table(identifier: Any, catalog_kwargs: Mapping[str, Any] | None) -> Any:
    """Opens a table (`pyiceberg.table.Table`).

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pyiceberg is not installed.
        ReadError: There is no such catalog or table.
    """
    catalog = load_catalog(identifier, catalog_kwargs)
    with telling(ReadError, "there is no such table, or it cannot be opened", str(identifier)):
        try:
            return catalog.load_table(identifier)
        finally:
            catalog.close()


def load_catalog(identifier: Any, catalog_kwargs: Mapping[str, Any] | None) -> Any:
    """Opens the catalog of a table (`pyiceberg.catalog.Catalog`).

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pyiceberg is not installed.
        ReadError: There is no such catalog.
    """
    is_name = isinstance(identifier, str) and all(identifier.split("."))
    wanted = "the name of a table, such as 'namespace.table'"
    require(is_name, "table_identifier", identifier, wanted)
    is_right = catalog_kwargs is None or is_named(catalog_kwargs)
    require(is_right, "catalog_kwargs", catalog_kwargs, "a dict of values by name, or None")
    try:
        from pyiceberg import catalog
    except ImportError as error:
        raise MissingPackageError(
            "Iceberg tables need pyiceberg: pip install 'millstream[iceberg]'"
        ) from error
    with telling(ReadError, "the catalog cannot be opened", identifier):
        return catalog.load_catalog(**dict(catalog_kwargs or {}))


@contextmanager
def telling(kind: type[ReadError] | type[WriteError], problem: str, label: str) -> Iterator[None]:
    """Turns what pyiceberg raises into an error that names the table, and shows no secrets."""
    try:
        yield
    except (MillstreamError, MemoryError, ImportError):
        raise
    except Exception as error:
        told = without_secrets(str(error).strip() or type(error).__name__)
        raise kind(f"{problem}: {told}", file=label) from error


def notes_of(table: Any) -> dict[int, bytes]:
    """Returns what a table notes of the types that it has not, by the ids of the columns."""
    try:
        found = json.loads(table.properties.get(TYPES, "{}"))
        return {int(key): str(note).encode() for key, note in found.items()}
    except (ValueError, AttributeError) as error:
        raise SchemaError(f"the property {TYPES!r} of the table is broken: {error}") from error


def schema_of(columns: Sequence[Any], notes: Mapping[int, bytes]) -> pa.Schema:
    """Returns the columns of a table as it stores them, with what is noted of them."""
    fields = []
    for each in columns:
        note = notes.get(each.field_id)
        metadata = None if note is None else {NOTE: note}
        stored = arrow_type(each.field_type)
        fields.append(pa.field(each.name, stored, not each.required, metadata))
    return pa.schema(fields)


@dataclass(frozen=True)
class _Condition:
    """A filter.

    Args:
        bound: For pyiceberg.
        expression: For Arrow.
        ids: The columns that it needs.
    """

    bound: Any
    expression: Any
    ids: frozenset[int]


@dataclass(frozen=True)
class _Plan:
    """What is known of a snapshot; makes the source for any choice of columns.

    Args:
        label: The name of the table, for messages.
        io: Opens files.
        columns: The columns of the table.
        notes: What it notes of their types.
        mapping: Which names stand for which id in files without ids.
        condition: What rows must satisfy.
        files: The files, the oldest first.
        blocks: How many units the user wants.
    """

    label: str
    io: Any
    columns: tuple[Any, ...]
    notes: Mapping[int, bytes]
    mapping: Mapping[tuple[str, ...], int] | None
    condition: _Condition | None
    files: Sequence[Part]
    blocks: int | None

    def source(self, names: Sequence[str] | None) -> Source:
        """Plans the source.

        Raises:
            SchemaError: An unknown column.
        """
        whole = with_noted_types(schema_of(self.columns, self.notes))
        if names is not None:
            block.require_columns(whole, names)
        schema = whole if names is None else pa.schema([whole.field(name) for name in names])
        needed = frozenset() if self.condition is None else self.condition.ids
        columns = [
            each for each in self.columns if each.name in schema.names or each.field_id in needed
        ]
        condition = None if self.condition is None else self.condition.expression
        scan = IcebergScan(self.io, tuple(columns), schema, self.mapping, condition)
        is_known = self.condition is None and not any(each.deletes for each in self.files)
        return Source(
            name="ReadIceberg",
            units=[IcebergUnit(scan, parts) for parts in self._grouped()],
            schema=schema,
            rows=sum(each.rows for each in self.files) if is_known else None,
            files=[each.path for each in self.files],
            with_columns=self._source_of,
        )

    def _source_of(self, names: Sequence[str]) -> Source:
        return self.source(check_columns("columns", list(names)))

    def _grouped(self) -> list[tuple[Part, ...]]:
        """Gives each unit its files: one, or as the number of blocks demands."""
        count = len(self.files)
        if self.blocks is None or self.blocks == count or not count:
            return [(each,) for each in self.files] or [()]
        if self.blocks < count:
            ranges = group_by_weight([each.nbytes for each in self.files], self.blocks)
            return [tuple(self.files[start:stop]) for start, stop in ranges]
        shares = shares_of([each.rows for each in self.files], self.blocks)
        return [
            (replace(each, start=start, stop=stop, nbytes=each.nbytes // share),)
            for each, share in zip(self.files, shares, strict=True)
            for start, stop in split_rows(each.rows, share)
        ]


def _files_of(table: Any, scan: Any, condition: _Condition | None) -> list[Part]:
    """Returns the files of a snapshot that may have rows, the oldest first.

    Raises:
        ReadError: A file is of another format.
    """
    from pyiceberg.expressions import AlwaysTrue
    from pyiceberg.table import ManifestGroupPlanner

    snapshot = scan.snapshot()
    if snapshot is None:
        return []
    planner = ManifestGroupPlanner(
        table_metadata=table.metadata,
        io=table.io,
        row_filter=AlwaysTrue() if condition is None else condition.bound,
        case_sensitive=scan.case_sensitive,
        options=scan.options,
    )
    ages: dict[str, int] = {}

    def note_age(entry: Any) -> bool:
        ages[entry.data_file.file_path] = entry.sequence_number or 0
        return True

    tasks = list(planner.plan_files(snapshot.manifests(table.io), note_age))
    # The newest come first, in the order of their rows.
    tasks.sort(key=lambda task: ages.get(task.file.file_path, 0))
    schema, specs = table.metadata.schema(), table.metadata.specs()
    return [_part_of(task, schema, specs) for task in tasks]


def _part_of(task: Any, schema: Any, specs: Mapping[int, Any]) -> Part:
    from pyiceberg.manifest import FileFormat

    file = task.file
    if file.file_format != FileFormat.PARQUET:
        raise ReadError(
            f"this file of the table is {file.file_format}: only Parquet is read here",
            file=file.file_path,
        )
    deletes = []
    for each in sorted(task.delete_files, key=lambda each: each.file_path):
        is_puffin = each.file_format == FileFormat.PUFFIN
        if not is_puffin and each.file_format != FileFormat.PARQUET:
            raise ReadError(
                f"the rows deleted in this file of {each.file_format} cannot be read here",
                file=each.file_path,
            )
        deletes.append((each.file_path, is_puffin))
    constants = _constants(file, specs.get(file.spec_id), schema)
    nbytes = file.file_size_in_bytes * _GROWTH
    return Part(file.file_path, nbytes, file.record_count, constants, tuple(deletes))


def _constants(file: Any, spec: Any, schema: Any) -> dict[int, Any]:
    """Returns the values of columns by which the table is divided, which files need not have."""
    from pyiceberg.transforms import IdentityTransform

    if spec is None:
        return {}
    found = {}
    for index, each in enumerate(spec.fields):
        if isinstance(each.transform, IdentityTransform) and each.source_id in schema.field_ids:
            type = schema.find_type(each.source_id)
            found[each.source_id] = _arrow_value(file.partition[index], arrow_type(type))
    return found


def _arrow_value(value: Any, type: pa.DataType) -> Any:
    """Returns the value for what Iceberg has in a partition: days and microseconds are numbers."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or pa.types.is_integer(type) or pa.types.is_floating(type):
        return value
    width = pa.int32() if type.bit_width == 32 else pa.int64()
    return pa.scalar(value, width).cast(type).as_py()


def _condition(table: Any, scan: Any, row_filter: Any, options: Mapping[str, Any]) -> Any:
    """Binds a filter to the columns of the table; `None` if there is none.

    Raises:
        ArgumentError: It is none, or does not fit the columns.
    """
    from pyiceberg.expressions import AlwaysTrue, BooleanExpression
    from pyiceberg.expressions.parser import parse
    from pyiceberg.expressions.visitors import bind, extract_field_ids
    from pyiceberg.io.pyarrow import expression_to_pyarrow

    if row_filter is None:
        return None
    is_right = isinstance(row_filter, (str, BooleanExpression))
    require(is_right, "row_filter", row_filter, "a text, or an expression of pyiceberg, or None")
    schema = scan.projection()
    try:
        given = parse(row_filter) if isinstance(row_filter, str) else row_filter
        bound = bind(schema, given, case_sensitive=options.get("case_sensitive", True))
        ids = frozenset(extract_field_ids(bound))
        expression = expression_to_pyarrow(bound, schema)
    except Exception as error:
        raise ArgumentError(
            f"row_filter={str(row_filter)!r} does not fit the table: {error}"
        ) from error
    if isinstance(bound, AlwaysTrue):
        return None
    outer = {inner: each.field_id for each in schema.fields for inner in _ids_within(each)}
    return _Condition(given, expression, frozenset(outer[each] for each in ids))


def _ids_within(column: Any) -> Iterator[int]:
    """Yields the ids of a column and of the fields within it."""
    from pyiceberg.schema import Schema

    yield from Schema(column).field_ids


def _check_names(selected_fields: Any) -> list[str] | None:
    names = check_columns("selected_fields", selected_fields)
    return None if names == ["*"] else names


def _check_scan(scan_kwargs: Any) -> dict[str, Any]:
    is_right = scan_kwargs is None or is_named(scan_kwargs)
    require(is_right, "scan_kwargs", scan_kwargs, "a dict of arguments by name, or None")
    given = dict(scan_kwargs or {})
    unknown = sorted(set(given) - _SCAN_KWARGS)
    if unknown:
        hint = "; for the first rows, use Dataset.limit" if "limit" in unknown else ""
        raise ArgumentError(
            f"scan_kwargs={given!r} may have {', '.join(sorted(_SCAN_KWARGS))} only: others are "
            f"arguments of read_iceberg itself{hint}"
        )
    return given


#: The property of a table that notes types which it has not.
TYPES = "millstream.types"
_SCAN_KWARGS = frozenset({"case_sensitive", "options"})
# How much larger rows are in memory than in files, about.
_GROWTH = 4
