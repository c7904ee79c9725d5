"""Writing Iceberg tables: tasks write Parquet files, one commit to the catalog makes them count.

Owns how a table is told of its files: new columns, partition values, statistics, the snapshot.
`iceberg_parts` divides the rows, `table_sink` puts the files in place, `table_types` gives their
columns the types of the table.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq

from millstream.errors import WriteError
from millstream.errors.checks import check_choice, require
from millstream.io.files import open_file
from millstream.io.formats.iceberg import TYPES, load_catalog, notes_of, schema_of, telling
from millstream.io.formats.iceberg_parts import DivideAs, Divider, dividers_of
from millstream.io.formats.table_sink import TableCommit, TableFile, TableWrite, plan_table_files
from millstream.io.formats.table_types import NOTE, TableTypes


def plan_write_iceberg(
    table_identifier: str,
    *,
    catalog_kwargs: Mapping[str, Any] | None = None,
    snapshot_properties: Mapping[str, str] | None = None,
    mode: str = "append",
    is_divided: bool = False,
) -> TableWrite:
    """Plans to write rows into an Iceberg table; see `Dataset.write_iceberg` for the arguments.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pyiceberg is not installed.
        ReadError: There is no such catalog, or the table cannot be opened.
        WriteError: The table is divided in a way that is not known here.
    """
    mode = getattr(mode, "value", mode)
    check_choice("mode", mode, ("append", "overwrite"))
    is_right = snapshot_properties is None or _are_texts(snapshot_properties)
    wanted = "a dict of texts by name, or None"
    require(is_right, "snapshot_properties", snapshot_properties, wanted)
    catalog = load_catalog(table_identifier, catalog_kwargs)
    with telling(WriteError, "the table cannot be written to", table_identifier):
        table = _opened(catalog, table_identifier)
        place = _Place.of(catalog, table_identifier, table)
        dividers = () if table is None else dividers_of(table)
        catalog.close()
    columns = pa.schema([]) if table is None else _columns(table)
    if table is not None:
        _require_writable(table, table_identifier)
    types = DivideAs(
        ICEBERG,
        columns,
        required=tuple(each.name for each in columns if not each.nullable),
        dividers=dividers,
    )
    commit = IcebergCommit(
        catalog, table_identifier, place, mode, dividers, dict(snapshot_properties or {}), table
    )
    partitions = [each.column for each in dividers]
    return plan_table_files(types, commit, place.filesystem, partitions, is_divided=is_divided)


class IcebergCommit(TableCommit):
    """Makes the files of one run count in a table.

    Args:
        catalog: The catalog.
        identifier: The name of the table.
        place: Where the files are.
        save_mode: What happens to what is there.
        dividers: How the rows are divided.
        properties: What the snapshot shall say besides.
        table: The table when the write was planned; `None` if there was none.
    """

    def __init__(
        self,
        catalog: Any,
        identifier: str,
        place: _Place,
        save_mode: str,
        dividers: Sequence[Divider],
        properties: Mapping[str, str],
        table: Any,
    ) -> None:
        super().__init__(ICEBERG.kind, place.filesystem, place.folder)
        self._catalog = catalog
        self._identifier = identifier
        self._where = place
        self._save_mode = save_mode
        self._dividers = tuple(dividers)
        self._properties = {**properties, _RUN_ID: self.run_id}
        self._planned = None if table is None else (_columns(table), table.spec())

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns of which nobody knows the type."""
        super().check(self._own(schema))

    def publish(self, schema: pa.Schema | None, files: Sequence[TableFile]) -> None:
        """Adds a snapshot to the table, in one commit."""
        with telling(WriteError, "the table cannot be written to", self._identifier), _quietly():
            table = _opened(self._catalog, self._identifier)
            if table is None and schema is None:
                return
            self._require_unchanged(table)
            own = None if schema is None else self._own(schema)
            with self._transaction(table, own) as transaction:
                if own is not None:
                    self._prepare(transaction, own, table)
                self._snapshot(transaction, table, files)
            self._catalog.close()

    def is_published(self) -> bool:
        """Looks for the run in the snapshots of the table."""
        with telling(WriteError, "the table cannot be read", self._identifier):
            table = _opened(self._catalog, self._identifier)
            self._catalog.close()
        snapshots = [] if table is None else table.snapshots()
        summaries = [each.summary for each in snapshots if each.summary is not None]
        return any(each.additional_properties.get(_RUN_ID) == self.run_id for each in summaries)

    def _own(self, schema: pa.Schema) -> pa.Schema:
        """Leaves out the columns that say to which part a row belongs."""
        added = {each.column for each in self._dividers}
        return pa.schema([each for each in schema if each.name not in added])

    def _require_unchanged(self, table: Any) -> None:
        now = None if table is None else (_columns(table), table.spec())
        if now != self._planned:
            raise WriteError(
                "the columns or partitions of the table have changed during the run, so its rows "
                "may not fit any more: run it again",
                file=self._identifier,
            )

    def _transaction(self, table: Any, schema: pa.Schema | None) -> Any:
        if table is not None:
            return table.transaction()
        plain = None if schema is None else schema.remove_metadata()
        return self._catalog.create_table_transaction(
            self._identifier, _without_metadata(plain), location=self._where.location
        )

    def _prepare(self, transaction: Any, schema: pa.Schema, table: Any) -> None:
        """Adds columns that are new, and notes what the table cannot tell of the files."""
        from pyiceberg.table import TableProperties

        known = set() if table is None else {each.name for each in table.schema().fields}
        further = [each for each in schema if each.name not in known]
        if table is not None and further:
            with transaction.update_schema() as update:
                update.union_by_name(_without_metadata(pa.schema(further)))
        metadata = transaction.table_metadata
        found = metadata.schema()
        changed = {}
        if metadata.name_mapping() is None:
            # The files have names for their columns, no ids.
            changed[TableProperties.DEFAULT_NAME_MAPPING] = found.name_mapping.model_dump_json()
        notes = {
            found.find_field(each.name).field_id: each.metadata[NOTE].decode()
            for each in further
            if NOTE in (each.metadata or {})
        }
        if notes:
            others = {} if table is None else notes_of(table)
            known_notes = {key: note.decode() for key, note in others.items()}
            changed[TYPES] = json.dumps({**known_notes, **notes})
        if changed:
            transaction.set_properties(changed)

    def _snapshot(self, transaction: Any, table: Any, files: Sequence[TableFile]) -> None:
        from pyiceberg.expressions import AlwaysTrue

        if self._save_mode == "overwrite" and table is not None and table.current_snapshot():
            transaction.delete(AlwaysTrue(), snapshot_properties=self._properties)
        if files:
            update = transaction.update_snapshot(snapshot_properties=self._properties)
            with update.fast_append() as append:
                for each in files:
                    append.append_data_file(self._data_file(transaction.table_metadata, each))

    def _data_file(self, metadata: Any, file: TableFile) -> Any:
        from pyiceberg.io.pyarrow import (
            compute_statistics_plan,
            data_file_statistics_from_parquet_metadata,
            parquet_path_to_id_mapping,
        )
        from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
        from pyiceberg.typedef import Record

        schema = metadata.schema()
        with open_file(self._filesystem, file.path) as source:
            footer = pq.read_metadata(source)
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=footer,
            stats_columns=compute_statistics_plan(schema, metadata.properties),
            parquet_column_mapping=parquet_path_to_id_mapping(schema),
        ).to_serialized_dict()
        parts = [file.values[each.column] for each in self._dividers]
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=self._where.uri(file.name),
            file_format=FileFormat.PARQUET,
            partition=Record(*(each.as_py() for each in parts)),
            file_size_in_bytes=file.nbytes,
            sort_order_id=None,
            spec_id=metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **_without_float_bounds(statistics, schema),
        )


@dataclass(frozen=True)
class _Place:
    """Where the files of a table are.

    Args:
        location: The folder of the table, as the catalog calls it.
        data: The folder of its files.
        filesystem: Where that is.
        folder: What it is called there.
    """

    location: str
    data: str
    filesystem: pa_fs.FileSystem
    folder: str

    @classmethod
    def of(cls, catalog: Any, identifier: str, table: Any) -> _Place:
        from pyiceberg.io.pyarrow import PyArrowFileIO

        if table is None:
            # What the columns are is known after the run only; where they go, the catalog says.
            trial = pa.schema([("column", pa.int64())])
            staged = catalog.create_table_transaction(identifier, trial)
            location, properties = staged.table_metadata.location, staged._table.io.properties
            data = f"{location.rstrip('/')}/data"
        else:
            location, properties = table.location(), table.io.properties
            data = table.location_provider().data_path
        scheme, host, folder = PyArrowFileIO.parse_location(data, properties)
        filesystem = PyArrowFileIO(properties).fs_by_scheme(scheme, host)
        return cls(location, data, filesystem, folder)

    def uri(self, name: str) -> str:
        """Returns what the table calls a file."""
        return f"{self.data.rstrip('/')}/{name}"


def _opened(catalog: Any, identifier: str) -> Any:
    """Opens a table; `None` if there is none."""
    from pyiceberg.exceptions import NoSuchTableError

    try:
        return catalog.load_table(identifier)
    except NoSuchTableError:
        return None


def _columns(table: Any) -> pa.Schema:
    return schema_of(table.schema().fields, notes_of(table))


def _require_writable(table: Any, identifier: str) -> None:
    """Refuses tables with fields within columns that cannot be null, which is not looked at.

    Raises:
        WriteError: Names the column.
    """
    for each in table.schema().fields:
        if _requires_within(each.field_type):
            raise WriteError(
                f"column {each.name!r} has fields within it that cannot be null, which is not "
                "checked here: write to the table with the program that made it",
                file=identifier,
            )


def _requires_within(type: Any) -> bool:
    from pyiceberg.types import ListType, MapType, StructType

    if isinstance(type, ListType):
        return type.element_required or _requires_within(type.element_type)
    if isinstance(type, MapType):
        inner = map(_requires_within, (type.key_type, type.value_type))
        return type.value_required or any(inner)
    if isinstance(type, StructType):
        return any(each.required or _requires_within(each.field_type) for each in type.fields)
    return False


def _without_metadata(schema: pa.Schema | None) -> pa.Schema:
    return pa.schema([pa.field(each.name, each.type) for each in schema or ()])


def _without_float_bounds(statistics: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Leaves out the least and greatest floats: they say nothing of NaN.

    Who deletes by them would delete a whole file, and its rows with NaN as well.
    """
    from pyiceberg.types import DoubleType, FloatType

    kinds = (DoubleType, FloatType)
    floats = {each for each in schema.field_ids if isinstance(schema.find_type(each), kinds)}
    bounds = {
        name: {key: value for key, value in statistics[name].items() if key not in floats}
        for name in ("lower_bounds", "upper_bounds")
    }
    return {**statistics, **bounds}


def _are_texts(given: Any) -> bool:
    is_named = isinstance(given, Mapping)
    return is_named and all(isinstance(each, str) for pair in given.items() for each in pair)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keeps what pyiceberg warns of from users, who could do nothing about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pyiceberg")
        yield


#: The types that Iceberg tables have.
ICEBERG = TableTypes(
    "Iceberg",
    {
        **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), pa.int32()),
        **dict.fromkeys(("int64", "uint32", "uint64"), pa.int64()),
    },
    has_time=True,
    has_fixed=True,
)
# By this, a commit of which nobody knows whether it worked is found among the snapshots.
_RUN_ID = "millstream.run-id"
