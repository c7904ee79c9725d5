"""What a Delta Lake table is like when rows are to be written, and whether they may be.

Owns what tables may ask of their writers. Must not know how rows are written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millstream.errors import WriteError
from millstream.io.formats.delta_log import TablePlace, columns_of, open_table


@dataclass(frozen=True)
class Found:
    """What a table is like at one moment.

    Args:
        columns: Its columns, with what their fields note.
        partitions: Its partition columns.
        required: The columns that may have no nulls.
        configuration: Its properties.
        features: What it needs of its writers.
        writer_version: The version of the protocol that its writers need to know.
        rules: Columns with rules that each row must satisfy, also that what is within them cannot
            be null, or that are computed.
    """

    columns: pa.Schema
    partitions: tuple[str, ...]
    required: tuple[str, ...]
    configuration: Mapping[str, str]
    features: frozenset[str]
    writer_version: int
    rules: tuple[str, ...]

    @classmethod
    def at(cls, place: TablePlace) -> Found | None:
        """Looks at a table; `None` if there is none.

        Raises:
            ReadError: Its log is broken.
        """
        table = open_if_there(place)
        return None if table is None else cls.of(table)

    @classmethod
    def of(cls, table: Any) -> Found:
        """Looks at a table (`deltalake.DeltaTable`)."""
        protocol, metadata = table.protocol(), table.metadata()
        columns = columns_of(table)
        fields = json.loads(table.schema().to_json())["fields"]
        ruled = [each["name"] for each in fields if _RULES & set(each.get("metadata", {}))]
        ruled += [each["name"] for each in fields if _requires_within(each["type"])]
        return cls(
            columns=columns,
            partitions=tuple(metadata.partition_columns),
            required=tuple(each.name for each in columns if not each.nullable),
            configuration=dict(metadata.configuration),
            features=frozenset(protocol.writer_features or ()),
            writer_version=protocol.min_writer_version,
            rules=tuple(ruled),
        )


def open_if_there(place: TablePlace) -> Any:
    """Opens a table; `None` if there is none."""
    from deltalake import DeltaTable

    options = None if place.storage_options is None else dict(place.storage_options)
    if not DeltaTable.is_deltatable(place.uri, options):
        return None
    return open_table(place)


def require_writable(found: Found, place: TablePlace, mode: str) -> None:
    """Refuses tables whose writers must do what is not done here.

    Raises:
        WriteError: It names the feature.
    """
    unknown = sorted(found.features - _FEATURES)
    if found.writer_version > _WRITER_VERSION:
        unknown.append(f"version {found.writer_version} of the protocol")
    if found.configuration.get("delta.columnMapping.mode", "none") != "none":
        unknown.append("column mapping")
    unknown += [key for key in found.configuration if key.startswith("delta.constraints.")]
    unknown += [f"a rule for column {name!r}" for name in found.rules]
    if unknown:
        raise WriteError(
            f"this table has {', '.join(unknown)}, which its writers must know, and this one does "
            "not: write to it with the program that made it",
            file=place.uri,
        )
    if mode == "overwrite" and found.configuration.get("delta.appendOnly", "").lower() == "true":
        raise WriteError(
            "rows can only be added to this table (delta.appendOnly): use mode='append'",
            file=place.uri,
        )


def _requires_within(type: Any) -> bool:
    """Tells whether there are fields within a column that cannot be null."""
    if not isinstance(type, dict):
        return False
    fields = type.get("fields", ())
    inner = [each["type"] for each in fields]
    inner += [type[key] for key in ("elementType", "keyType", "valueType") if key in type]
    is_required = not all(type.get(key, True) for key in ("containsNull", "valueContainsNull"))
    is_required = is_required or not all(each["nullable"] for each in fields)
    return is_required or any(map(_requires_within, inner))


_WRITER_VERSION = 7
#: What writers may have to know that changes nothing here, or is looked at by itself.
_FEATURES = frozenset(
    {
        *("appendOnly", "invariants", "checkConstraints", "generatedColumns", "changeDataFeed"),
        *("timestampNtz", "deletionVectors", "columnMapping", "v2Checkpoint"),
        *("vacuumProtocolCheck", "variantType", "variantType-preview"),
    }
)
#: What fields say of rules for their values.
_RULES = frozenset({"delta.invariants", "delta.generationExpression", "delta.identity.start"})
