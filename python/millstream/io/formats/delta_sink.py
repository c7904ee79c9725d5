"""Writing Delta Lake tables: tasks write Parquet files, and one entry of the log makes them count.

Owns the modes, and the entry in the log. `delta_found` says which tables can be written to,
`table_sink` puts the files in place, `table_types` gives their columns the types of the table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from millstream.blocks.convert import convert
from millstream.errors import ArgumentError, SchemaError, WriteError
from millstream.errors.checks import check_choice, check_columns, check_kind
from millstream.io.addresses import Path
from millstream.io.commit import check_mode, writing
from millstream.io.formats.delta_found import Found, open_if_there, require_writable
from millstream.io.formats.delta_log import TablePlace, open_table
from millstream.io.formats.table_sink import TableCommit, TableFile, TableWrite, plan_table_files
from millstream.io.formats.table_types import StoreAs, TableTypes


def plan_write_delta(
    path: Path,
    *,
    mode: str = "append",
    partition_by: Sequence[str] | str | None = None,
    storage_options: Mapping[str, str] | None = None,
    schema_mode: str = "merge",
    filesystem: Any = None,
    name: str | None = None,
    description: str | None = None,
    is_divided: bool = False,
) -> TableWrite:
    """Plans to write rows into a Delta Lake table; see `Dataset.write_delta` for the arguments.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: deltalake is not installed.
        ReadError: The log of the table is broken.
        WriteError: The table needs of its writers what is not known here.
    """
    mode = check_mode(mode)
    check_choice("schema_mode", schema_mode, ("merge", "error"))
    check_kind("name", name, str)
    check_kind("description", description, str)
    wanted = None if partition_by is None else tuple(check_columns("partition_by", partition_by))
    place = TablePlace.of(path, filesystem, storage_options, above=1)
    found = Found.at(place)
    if found is not None and mode in ("append", "overwrite"):
        require_writable(found, place, mode)
    is_kept = found is not None and mode == "append"
    partitions = _partitions(wanted, found, is_kept)
    types = StoreAs(
        DELTA,
        found.columns if found is not None and is_kept else pa.schema([]),
        takes_more=not is_kept or schema_mode == "merge",
        required=found.required if found is not None and is_kept else (),
    )
    commit = DeltaCommit(place, mode, found, partitions, name, description)
    return plan_table_files(types, commit, place.filesystem, partitions, is_divided=is_divided)


class DeltaCommit(TableCommit):
    """Makes the files of one run count in the log of a table.

    Args:
        place: Where the table is.
        save_mode: What happens to what is there.
        found: What the table was like when the write was planned; `None` if there was none.
        partitions: The columns whose values are in the log.
        name: That of a new table.
        description: That of a new table.
    """

    def __init__(
        self,
        place: TablePlace,
        save_mode: str,
        found: Found | None,
        partitions: Sequence[str],
        name: str | None,
        description: str | None,
    ) -> None:
        super().__init__(DELTA.kind, place.filesystem, place.folder)
        self._where = place
        self._save_mode = save_mode
        self._found = found
        self._partitions = tuple(partitions)
        self._name = name
        self._description = description

    def prepare(self) -> bool:
        """Makes the staging folder; see `FolderCommit.prepare`."""
        if self._found is not None and self._save_mode == "ignore":
            return False
        if self._found is not None and self._save_mode == "error":
            raise WriteError(
                "there is a table already; mode='append' adds to it, mode='overwrite' replaces "
                "its rows",
                file=self._where.uri,
            )
        return super().prepare()

    def check(self, schema: pa.Schema) -> None:
        """Refuses what the log cannot tell.

        Raises:
            SchemaError: A partition column has a type whose values are no text in the log.
        """
        super().check(schema)
        for name in self._partitions:
            if name in schema.names and not _is_partition_type(schema.field(name).type):
                raise SchemaError(
                    f"the partition column {name!r} is {schema.field(name).type}: tables can be "
                    "divided by integers, text, booleans, dates, timestamps and decimals"
                )

    def publish(self, schema: pa.Schema | None, files: Sequence[TableFile]) -> None:
        """Writes the entry of the log."""
        with writing(self._where.uri, "the log of the table cannot be written"):
            now_ms = int(time.time() * 1000)
            adds = [self._added(each, schema, now_ms) for each in files]
            table = open_if_there(self._where)
            now = None if table is None else Found.of(table)
            if now != self._found:
                raise WriteError(
                    "the columns or properties of the table have changed during the run, so its "
                    "rows may not fit any more: run it again",
                    file=self._where.uri,
                )
            if table is None:
                if schema is not None:
                    self._create(schema, adds, "error")
            elif self._save_mode == "overwrite":
                self._overwrite(table, schema, adds)
            elif adds:
                self._append(table, schema, adds)

    def is_published(self) -> bool:
        """Looks for the run in the log."""
        table = open_if_there(self._where)
        history = [] if table is None else table.history()
        return any(each.get(_RUN_ID) == self.run_id for each in history)

    def _create(self, schema: pa.Schema, adds: list[Any], mode: Any) -> None:
        from deltalake import Schema
        from deltalake.transaction import create_table_with_add_actions

        found = self._found
        options = self._where.storage_options
        create_table_with_add_actions(
            self._where.uri,
            Schema.from_arrow(schema),
            adds,
            mode=mode,
            partition_by=list(self._partitions),
            name=self._name,
            description=self._description,
            configuration=None if found is None else dict(found.configuration),
            storage_options=None if options is None else dict(options),
            commit_properties=self._properties(),
        )

    def _overwrite(self, table: Any, schema: pa.Schema | None, adds: list[Any]) -> None:
        from deltalake import Schema

        found = Found.of(table)
        if schema is None:
            schema = found.columns
        needs_feature = _has_local_times(schema) and "timestampNtz" not in found.features
        if needs_feature or found.partitions != self._partitions:
            # Only a new table can be divided otherwise, or tell that it has such times.
            self._create(schema, adds, "overwrite")
            return
        table.create_write_transaction(
            adds,
            "overwrite",
            Schema.from_arrow(schema),
            partition_by=list(self._partitions),
            commit_properties=self._properties(),
        )

    def _append(self, table: Any, schema: pa.Schema | None, adds: list[Any]) -> None:
        from deltalake import Schema

        known = Found.of(table).columns
        further = [each for each in schema or () if each.name not in known.names]
        if further:
            # An entry of its own: what follows only adds files.
            table.alter.add_columns(list(Schema.from_arrow(pa.schema(further)).fields))
            table = open_table(self._where)
        table.create_write_transaction(
            adds,
            "append",
            table.schema(),
            partition_by=list(self._partitions),
            commit_properties=self._properties(),
        )

    def _added(self, file: TableFile, schema: pa.Schema | None, now_ms: int) -> Any:
        from deltalake.transaction import AddAction

        types = {} if schema is None else {each.name: each.type for each in schema}
        return AddAction(
            path=file.name,
            size=file.nbytes,
            partition_values={
                name: _log_text(name, value, types[name]) for name, value in file.values.items()
            },
            modification_time=now_ms,
            data_change=True,
            stats=json.dumps({"numRecords": file.rows}),
        )

    def _properties(self) -> Any:
        from deltalake.transaction import CommitProperties

        return CommitProperties(custom_metadata={_RUN_ID: self.run_id})


def _partitions(
    wanted: tuple[str, ...] | None, found: Found | None, is_kept: bool
) -> tuple[str, ...]:
    """Returns the partition columns.

    Raises:
        ArgumentError: The table has others.
    """
    if found is None:
        return wanted or ()
    if wanted is None:
        return found.partitions
    if is_kept and wanted != found.partitions:
        raise ArgumentError(
            f"partition_by={list(wanted)} must be {list(found.partitions)}, by which the table "
            "is divided already, or None"
        )
    return wanted


def _is_partition_type(type: pa.DataType) -> bool:
    types = pa.types
    is_any: list[Callable[[pa.DataType], bool]] = [
        *(types.is_integer, types.is_string, types.is_boolean, types.is_date32),
        *(types.is_timestamp, types.is_decimal),
    ]
    return any(is_type(type) for is_type in is_any)


def _log_text(name: str, value: pa.Scalar, type: pa.DataType) -> str | None:
    """Returns what the log has for the value of a partition column.

    Raises:
        SchemaError: It would be read as another value.
    """
    if not value.is_valid:
        return None
    stored = convert(pa.array([value.as_py()], value.type), type)
    if pa.types.is_timestamp(type):
        stored = stored.cast(pa.timestamp("us"))
    text = str(stored.cast(pa.string())[0].as_py())
    if not text:
        raise SchemaError(
            f"the partition column {name!r} has an empty text, which a Delta table would read as "
            "null: replace it, or write without it in partition_by"
        )
    return text


def _has_local_times(schema: pa.Schema) -> bool:
    return any(map(_is_local_time, schema.types))


def _is_local_time(type: pa.DataType) -> bool:
    inner = (type.field(index).type for index in range(type.num_fields))
    is_local = pa.types.is_timestamp(type) and type.tz is None
    return bool(is_local) or any(map(_is_local_time, inner))


#: The types that Delta tables have.
DELTA = TableTypes(
    "Delta",
    {
        **{name: getattr(pa, name)() for name in ("int8", "int16", "int32", "int64")},
        **{"uint8": pa.int16(), "uint16": pa.int32(), "uint32": pa.int64()},
        "uint64": pa.int64(),
    },
)
# By this, a commit of which nobody knows whether it worked is found in the log.
_RUN_ID = "millstream_run_id"
