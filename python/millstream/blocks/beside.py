"""Rows put side by side: the columns of several tables as those of one.

Owns what columns are called when several have one name. Must not know scheduling.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import pyarrow as pa

from millstream.blocks import block


def put(tables: Sequence[pa.Table]) -> pa.Table:
    """Puts blocks with equally many rows side by side, without copying.

    Raises:
        ValueError: They have different numbers of rows.
    """
    rows = {table.num_rows for table in tables}
    if len(rows) > 1:
        raise ValueError(f"rows of {sorted(rows)} cannot be put side by side")
    columns = [column for table in tables for column in block.unseal(table).columns]
    if not columns:
        return block.rows_only(max(rows, default=0))
    return pa.table(columns, schema=put_schemas([table.schema for table in tables]))


def put_schemas(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Puts the columns of several schemas side by side.

    A name that is there already gets the first of the suffixes `_1`, `_2`, … that makes it new.
    """
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in block.visible_schema(schema):
            name = _new_name(field.name, fields.keys())
            fields[name] = field.with_name(name)
    return pa.schema(list(fields.values()))


def _new_name(name: str, taken: Set[str]) -> str:
    number, new = 0, name
    while new in taken:
        number += 1
        new = f"{name}_{number}"
    return new
