"""Writing Lance datasets: each task writes fragments, which your program makes a version of.

Owns which columns Lance holds, the one schema of all fragments, and the commit. Fragments are no
part of the dataset until then, so what a task that is repeated had written counts for nothing.
`lance` reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.common_type import common_type, wide_type
from millstream.errors import ArgumentError, SchemaError, WriteError
from millstream.errors.checks import check_choice, check_count, check_kind, check_named, require
from millstream.io.commit import writing
from millstream.io.custom import Datasink, TaskContext, WriteResult
from millstream.io.formats.lance import address_of, require_lance
from millstream.io.formats.panics import panics_told, without_slices


@dataclass(frozen=True)
class Written:
    """What a task has written.

    Args:
        fragments: What Lance says of them, as JSON.
        schema: Their columns, as bytes of an IPC message.
    """

    fragments: tuple[str, ...]
    schema: bytes


class LanceDatasink(Datasink[Written]):
    """Writes the rows of a dataset into a Lance dataset.

    Args:
        path: Where it is.
        schema: Its columns; by default those of the rows, or of the dataset that rows are added to.
        mode: `"create"`: there must be none; `"append"`: adds rows; `"overwrite"`: makes a version
            that has these rows only.
        min_rows_per_file: The rows that a task is given at least.
        max_rows_per_file: The rows of a fragment at most.
        data_storage_version: Of Lance's files; by default pylance's.
        storage_options: For the object store.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pylance is not installed.
        SchemaError: Lance cannot hold a column of `schema`.
    """

    def __init__(
        self,
        path: Any,
        *,
        schema: pa.Schema | None = None,
        mode: str = "create",
        min_rows_per_file: int | None = None,
        max_rows_per_file: int = 64 << 20,
        data_storage_version: str | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        require_lance("write_lance")
        self.path = address_of("path", path)
        check_kind("schema", schema, pa.Schema)
        check_choice("mode", mode, _MODES)
        check_count("min_rows_per_file", min_rows_per_file)
        check_count("max_rows_per_file", max_rows_per_file, optional=False)
        _check_storage(data_storage_version)
        check_named("storage_options", storage_options)
        self._mode = mode
        self._least, self._most = min_rows_per_file, max_rows_per_file
        if min_rows_per_file is not None and min_rows_per_file > max_rows_per_file:
            raise ArgumentError(
                f"min_rows_per_file={min_rows_per_file} is above {max_rows_per_file=}"
            )
        self._storage = data_storage_version
        self._options = dict(storage_options) if storage_options else None
        self._given = None if schema is None else stored_schema(schema)
        # Found by `on_write_start`: the columns, as far as they are known, and what is there.
        self._schema: pa.Schema | None = self._given
        self._version: int | None = None
        self._fragments_mode = "create"

    @property
    def min_rows_per_write(self) -> int | None:
        """The rows that a task is given at least."""
        return self._least

    def on_write_start(self, schema: pa.Schema | None = None) -> None:
        """Looks at what is there, and whether the columns can be written.

        Raises:
            SchemaError: Lance cannot hold a column, or the dataset has not got it.
            WriteError: There is a dataset and `mode="create"`, or one of the format of old, which
                loses nulls.
        """
        found = self._found()
        if found is not None and self._mode == "create":
            raise WriteError(
                "there is a Lance dataset already: pass mode='append' or mode='overwrite'",
                file=self.path,
            )
        if found is not None and self._mode == "append":
            self._add_to(found, schema)
            return
        self._fragments_mode = "create" if found is None else "overwrite"
        if self._given is None and schema is not None and schema.names:
            self._schema = stored_schema(schema)

    def write(self, blocks: Iterable[pa.Table], ctx: TaskContext) -> Written:
        """Writes the rows of one task as fragments.

        Raises:
            SchemaError: A block has other columns than those that are written.
            WriteError: Lance cannot write them.
        """
        from lance.fragment import write_fragments

        rows = _Rows(blocks, self._schema)
        if rows.schema is None:
            return Written((), pa.schema([]).serialize().to_pybytes())
        reader = pa.RecordBatchReader.from_batches(rows.schema, rows.batches())
        try:
            with writing(self.path, "Lance cannot write these rows"), panics_told():
                made = write_fragments(
                    reader,
                    self.path,
                    schema=rows.schema,
                    mode=self._fragments_mode,
                    max_rows_per_file=self._most,
                    data_storage_version=self._storage,
                    storage_options=self._options,
                )
        except WriteError:
            if rows.error is not None:
                # Lance tells of it as text only.
                raise rows.error from None
            raise
        told = tuple(json.dumps(each.to_json()) for each in made)
        return Written(told, rows.schema.serialize().to_pybytes())

    def on_write_complete(self, write_result: WriteResult[Written]) -> None:
        """Makes a version of the fragments.

        Raises:
            SchemaError: Tasks have written other columns, or there are no columns.
            WriteError: Somebody else has changed the dataset meanwhile, or Lance refuses.
        """
        import lance

        written = [each for each in write_result.write_returns if each.fragments]
        told = [each for one in written for each in one.fragments]
        fragments = [lance.FragmentMetadata.from_json(each) for each in told]
        if self._version is not None:
            if not fragments:
                return
            operation: Any = lance.LanceOperation.Append(fragments)
        else:
            operation = lance.LanceOperation.Overwrite(self._common(written), fragments)
        if self._mode != "overwrite" and self._version is None and self._found() is not None:
            raise WriteError(
                "somebody else has made a dataset here meanwhile; nothing of it was changed",
                file=self.path,
            )
        with writing(self.path, "Lance cannot commit the rows"):
            lance.LanceDataset.commit(
                self.path,
                operation,
                read_version=self._version,
                storage_options=self._options,
            )

    def _add_to(self, found: Any, schema: pa.Schema | None) -> None:
        """Takes the columns of what is there."""
        if found.data_storage_version in _LOSSY:
            raise WriteError(
                "this dataset has Lance's format 0.1, in which nulls become zeros: write it again "
                "with mode='overwrite' to append to it",
                file=self.path,
            )
        self._version = int(found.version)
        self._fragments_mode = "append"
        # That of the dataset.
        self._storage = None
        self._schema = found.schema
        try:
            for field in [*(self._given or ()), *(schema or ())]:
                _check_field(field, found.schema)
        except SchemaError as error:
            raise SchemaError(error.message, file=self.path) from error

    def _found(self) -> Any:
        """The dataset that is there, if there is one."""
        import lance

        try:
            return lance.dataset(self.path, storage_options=self._options)
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise WriteError(f"cannot open what is there: {error}", file=self.path) from error
        except OSError as error:
            raise WriteError(f"cannot open what is there: {error}", file=self.path) from error

    def _common(self, written: Sequence[Written]) -> pa.Schema:
        """The columns of all fragments."""
        schemas = [pa.ipc.read_schema(pa.py_buffer(each.schema)) for each in written]
        if not schemas:
            if self._schema is None:
                raise SchemaError(
                    "there are no rows, and no columns are known: pass schema=", file=self.path
                )
            return self._schema
        whole = block.unify_schemas(schemas)
        for schema in schemas:
            if not schema.equals(schemas[0]):
                raise SchemaError(
                    f"some blocks have the columns {_shown(schemas[0])}, and others "
                    f"{_shown(schema)}, but a Lance dataset has one schema: pass schema=, which "
                    f"all of them fit in, such as {_shown(whole)}",
                    file=self.path,
                )
        return schemas[0]


class _Rows:
    """The rows of a task as batches of one schema.

    Args:
        blocks: The blocks.
        schema: The columns; `None`: those of the first block.
    """

    def __init__(self, blocks: Iterable[pa.Table], schema: pa.Schema | None) -> None:
        self._blocks = iter(blocks)
        self._first = next(self._blocks, None)
        if schema is None and self._first is not None:
            schema = stored_schema(block.visible_schema(self._first.schema))
        self.schema = None if self._first is None else schema
        self.error: BaseException | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields them. What goes wrong is kept, since Lance would make a text of it."""
        table, self._first = self._first, None
        try:
            while table is not None and self.schema is not None:
                yield from _fitted(table, self.schema)
                table = next(self._blocks, None)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """The columns that come back of such.

    Lance gives categories codes that are common to all blocks, so that narrow ones would be too
    few, and does not note that they have an order.

    Raises:
        SchemaError: Lance cannot hold one.
    """
    from lance.schema import LanceSchema

    fields = []
    for field in block.plain_schema(schema).remove_metadata():
        stored = pa.field(field.name, _stored_type(field.type), field.nullable)
        if not field.name or "`" in field.name or "." in field.name or field.name in _RESERVED:
            raise SchemaError(
                f"column {field.name!r} cannot be written to Lance, where names have neither '.' "
                f"nor '`', and {', '.join(_RESERVED)} are taken: rename it"
            )
        problem = "structs without fields" if _has_empty_struct(field.type) else ""
        try:
            LanceSchema.from_pyarrow(pa.schema([stored]))
        except ValueError as error:
            problem = str(error).partition(", /")[0]
        if problem:
            raise SchemaError(
                f"column {field.name!r} of type {field.type} cannot be written to Lance "
                f"({problem}): convert or drop it"
            )
        fields.append(stored)
    if not fields:
        raise SchemaError("a Lance dataset needs at least one column")
    return pa.schema(fields)


def _check_storage(version: Any) -> None:
    is_text = version is None or (isinstance(version, str) and bool(version))
    require(is_text, "data_storage_version", version, "a version such as '2.1', or None")
    if version in _LOSSY:
        raise ArgumentError(
            f"data_storage_version={version!r} has no nulls: they would come back as zeros; pass "
            "'2.0' or later, or None"
        )


def _fitted(table: pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for field in block.visible_schema(table.schema):
        _check_field(field, schema)
    table = block.align(block.plain(table), schema)
    for field, column in zip(schema, table.columns, strict=True):
        if not field.nullable and column.null_count:
            raise SchemaError(f"column {field.name!r} has nulls, which the dataset does not allow")
    yield from without_slices(pa.Table.from_arrays(table.columns, schema=schema)).to_batches()


def _check_field(field: pa.Field, schema: pa.Schema) -> None:
    """Checks that a column has its place, and a type whose values stay what they are.

    Raises:
        SchemaError: It has not.
    """
    index = schema.get_field_index(field.name)
    if index < 0:
        raise SchemaError(
            f"column {field.name!r} is none of the columns that are written, which are "
            f"{', '.join(map(repr, schema.names))}: choose with select_columns"
        )
    known = schema.field(index).type
    found = _stored_type(block.plain_schema(pa.schema([field])).field(0).type)
    if _are_numbers(known) and _are_numbers(found):
        # Which of them fit is seen by their values.
        return
    common = common_type(known, found)
    if common is None or not wide_type(common).equals(wide_type(known)):
        raise SchemaError(
            f"column {field.name!r} is {field.type}, but {known} is written: convert it first"
        )


def _are_numbers(type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type))


def _stored_type(type: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_dictionary(type):
        return pa.dictionary(
            _CODES if type.index_type.bit_width < 32 else type.index_type, type.value_type
        )
    if types.is_struct(type):
        return pa.struct([each.with_type(_stored_type(each.type)) for each in type])
    if types.is_list(type):
        return pa.list_(type.value_field.with_type(_stored_type(type.value_type)))
    if types.is_large_list(type):
        return pa.large_list(type.value_field.with_type(_stored_type(type.value_type)))
    return type


def _has_empty_struct(type: pa.DataType) -> bool:
    if pa.types.is_struct(type) and not type.num_fields:
        return True
    return any(_has_empty_struct(type.field(index).type) for index in range(type.num_fields))


def _shown(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name!r}: {field.type}" for field in schema)


_MODES = ("create", "append", "overwrite")
# Formats of files that hold no nulls, and say nothing of it.
_LOSSY = ("legacy", "0.1")
_CODES = pa.int32()
_RESERVED = (
    *("_rowid", "_rowaddr", "_rowoffset"),
    *("_row_created_at_version", "_row_last_updated_at_version"),
)
