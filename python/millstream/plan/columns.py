"""Operators on columns only, and what they make of a schema without running.

Owns dropping and renaming (choosing is in `millstream.blocks.transforms`). Knows nothing of user
functions or scheduling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.transforms import Blocks
from millstream.errors import ArgumentError
from millstream.errors.checks import is_sequence, require


def rename(names: Mapping[str, str] | Sequence[str]) -> RenameColumns:
    """The operator for what a user passes to `rename_columns`.

    Raises:
        ArgumentError: Names are missing, no strings, or there twice.
    """
    is_mapping = isinstance(names, Mapping)
    is_right = is_mapping or is_sequence(names)
    require(is_right, "names", names, "a dict of new names by old, or a list")
    new = list(names.values()) if isinstance(names, Mapping) else list(names)
    if not names or not all(isinstance(name, str) for name in [*names, *new]):
        raise ArgumentError(f"names={names!r} must hold at least one name, and only strings")
    if len(set(new)) < len(new):
        raise ArgumentError(f"names={names!r} gives several columns one name")
    return RenameColumns(dict(names) if isinstance(names, Mapping) else tuple(new))


def select_schema(schema: pa.Schema, columns: list[str]) -> pa.Schema:
    """The schema after a selection.

    Raises:
        SchemaError: A column does not exist.
    """
    block.require_columns(schema, columns)
    return pa.schema([schema.field(name) for name in columns])


@dataclass(frozen=True)
class DropColumns:
    """Leaves out some columns; the rows stay, even if no column does."""

    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"Drop({', '.join(self.columns)})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""
        return lambda blocks: map(self._apply, blocks)

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema after it.

        Raises:
            SchemaError: A column does not exist.
        """
        block.require_columns(schema, self.columns)
        return pa.schema([field for field in schema if field.name not in self.columns])

    def _apply(self, table: pa.Table) -> pa.Table:
        block.require_columns(table.schema, self.columns)
        kept = [name for name in table.column_names if name not in self.columns]
        return block.seal(table.select(kept))


@dataclass(frozen=True)
class RenameColumns:
    """Gives columns new names.

    Args:
        names: The new name of each column by its old one, or all new names in order.
    """

    names: Mapping[str, str] | tuple[str, ...]

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        new = self.names.values() if isinstance(self.names, Mapping) else self.names
        return f"Rename({', '.join(new)})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Needs nothing to be loaded."""

        def apply(blocks: Blocks) -> Iterator[pa.Table]:
            for table in blocks:
                names = self._renamed(block.visible_schema(table.schema))
                yield table.rename_columns(names) if names else table

        return apply

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema after it.

        Raises:
            SchemaError: A column does not exist.
            ArgumentError: Two columns would have one name, or the number of names is wrong.
        """
        names = self._renamed(schema)
        return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])

    def _renamed(self, schema: pa.Schema) -> list[str]:
        if isinstance(self.names, Mapping):
            block.require_columns(schema, self.names)
            names = [self.names.get(name, name) for name in schema.names]
        else:
            names = list(self.names)
        if len(names) != len(schema.names):
            raise ArgumentError(
                f"names={names!r} has {len(names)} names for {len(schema.names)} columns: "
                f"{', '.join(map(repr, schema.names))}"
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ArgumentError(
                f"renaming would give several columns the name {', '.join(map(repr, twice))}"
            )
        return names


@dataclass(frozen=True)
class AddColumn:
    """A function over batches that adds a column, or replaces it.

    Args:
        column: Its name.
        fn: Makes its values out of a batch.
    """

    column: str
    fn: Callable[[Any], Any]

    @property
    def __name__(self) -> str:
        return self.column

    def __call__(self, batch: Any) -> Any:
        """The batch with the column."""
        values = self.fn(batch)
        if isinstance(batch, pa.Table):
            position = batch.schema.get_field_index(self.column)
            if position < 0:
                return batch.append_column(self.column, values)
            return batch.set_column(position, self.column, values)
        if hasattr(batch, "assign"):
            # A series with an index of its own would be matched by it, not by position.
            return batch.assign(**{self.column: getattr(values, "array", values)})
        return {**batch, self.column: values}
