"""What a block is, and the few things that are done with whole blocks.

Owns the form of a block, the union of schemas, sizes in bytes, and copies that let go of a
larger parent. Must not know batches, user code, files or scheduling.

A block is a `pyarrow.Table`. Arrow itself cannot carry a table with rows and no columns: pickling,
IPC and concatenation set its row count to zero. So a block without visible columns has one hidden
column, `ROWS_COLUMN`, of Arrow's null type. It takes no bytes, and it survives slices, copies and
transport. It is there exactly when no other column is: `seal` adds it, `unseal` takes it away, and
users never see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from millstream.blocks import tensor
from millstream.errors import SchemaError

ROWS_COLUMN = "__millstream_rows__"


def seal(table: pa.Table) -> pa.Table:
    """Makes a block of a table: the hidden column is there if, and only if, no other is."""
    hidden = ROWS_COLUMN in table.column_names
    if table.num_columns == 0 and table.num_rows > 0:
        return rows_only(table.num_rows)
    if hidden and table.num_columns > 1:
        return table.drop_columns([ROWS_COLUMN])
    return table


def unseal(block: pa.Table) -> pa.Table:
    """Returns the table as a user sees it. Its row count holds only in this process."""
    return block.select([]) if is_rows_only(block.schema) else block


def rows_only(rows: int) -> pa.Table:
    """Makes a block of `rows` rows that have no columns."""
    return pa.table({ROWS_COLUMN: pa.nulls(rows)})


def is_rows_only(schema: pa.Schema) -> bool:
    """Tells whether blocks of this schema have no visible columns."""
    return bool(schema.names == [ROWS_COLUMN])


def visible_schema(schema: pa.Schema) -> pa.Schema:
    """Returns the schema without the hidden column."""
    return pa.schema([], schema.metadata) if is_rows_only(schema) else schema


def require_columns(schema: pa.Schema, names: Iterable[str]) -> None:
    """Checks that columns exist.

    Raises:
        SchemaError: Names the unknown columns and those that exist.
    """
    known = visible_schema(schema).names
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SchemaError(
            f"no column {', '.join(map(repr, unknown))}; "
            f"the columns are {', '.join(map(repr, known)) or '(none)'}"
        )


def unify_schemas(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Finds the schema that all these fit in, columns in the order they first appear.

    Nulls fit every type, integers widen, integers beside floats become floats, strings and binaries
    take 64-bit offsets, tensors of different shapes become ragged, and timestamps of
    different time zones become UTC.

    Raises:
        SchemaError: A column has types that no common type holds, or is there twice.
    """
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        names = schema.names
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SchemaError(f"the column {twice!r} is there twice; rename one of them")
        for field in visible_schema(schema):
            known = fields.get(field.name)
            if known is None:
                fields[field.name] = field
            elif not known.equals(field):
                fields[field.name] = _unify_fields(known, field)
    return pa.schema(list(fields.values()))


def concat(blocks: Sequence[pa.Table]) -> pa.Table:
    """Puts blocks under each other, without copying where their types agree.

    Columns that a block lacks are null in its rows.

    Raises:
        SchemaError: A column has types that no common type holds.
    """
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0].schema
    if all(first.equals(block.schema) for block in blocks[1:]):
        return pa.concat_tables(blocks)
    schema = unify_schemas(block.schema for block in blocks)
    if not schema.names:
        return rows_only(sum(block.num_rows for block in blocks))
    return pa.concat_tables([align(block, schema) for block in blocks])


def completed(blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Gives each block of a stream the columns that those before it had, null in its rows."""
    known: dict[str, pa.DataType] = {}
    for block in blocks:
        schema = visible_schema(block.schema)
        if list(known) == schema.names[: len(known)]:
            known = {field.name: _known(known, field) for field in schema}
            yield block
            continue
        for field in schema:
            known[field.name] = _known(known, field)
        fields = [pa.field(name, type) for name, type in known.items()]
        own = [schema.field(f.name) if f.name in schema.names else f for f in fields]
        yield align(block, pa.schema(own))


def align(block: pa.Table, schema: pa.Schema) -> pa.Table:
    """Gives a block the columns and types of a schema made by `unify_schemas`."""
    if block.schema.equals(schema):
        return block
    columns = []
    for field in schema:
        if field.name in block.column_names:
            columns.append(_cast(block.column(field.name), field.type))
        else:
            columns.append(_nulls(block.num_rows, field.type))
    fields = [field.with_nullable(True) for field in schema]
    return pa.table(columns, schema=pa.schema(fields))


def nbytes(block: pa.Table) -> int:
    """Returns the bytes of the rows that a block shows, not of the buffers it points into."""
    return int(block.nbytes)


def plain(block: pa.Table) -> pa.Table:
    """Gives view columns 64-bit offsets.

    A slice of a view column points into all buffers of its parent, so that it could neither be
    measured nor split.
    """
    if not any(_is_view(field.type) for field in block.schema):
        return block
    fields = [field.with_type(_without_view(field.type)) for field in block.schema]
    return block.cast(pa.schema(fields, block.schema.metadata))


def compact(block: pa.Table) -> pa.Table:
    """Returns the block in few buffers of its own if those it points into are much larger than it.

    A slice that is sent elsewhere would take all of its parent with it, once for each chunk.
    """
    chunks = [chunk for column in block.columns for chunk in column.chunks]
    held = sum(chunk.get_total_buffer_size() for chunk in chunks)
    size = block.nbytes
    if held > size * _SLACK_MAX + _SLACK_BYTES:
        block = copy(block)
    if len(chunks) > block.num_columns and size < len(chunks) * tensor.CHUNK_BYTES_MIN:
        block = block.combine_chunks()
    return block


def copy(block: pa.Table) -> pa.Table:
    """Returns the block in memory of its own, of the size of what it shows."""
    # IPC truncates every buffer to the rows that are shown, whatever the type. The first pass
    # only measures, so that the second writes to memory of the right size.
    measure = pa.MockOutputStream()
    _write(block, measure)
    buffer = pa.allocate_buffer(measure.size())
    _write(block, pa.FixedSizeBufferWriter(buffer))
    return pa.ipc.open_stream(buffer).read_all()


def _write(block: pa.Table, sink: pa.NativeFile) -> None:
    with pa.ipc.new_stream(sink, block.schema) as writer:
        writer.write_table(block)


def _unify_fields(known: pa.Field, field: pa.Field) -> pa.Field:
    nullable = known.nullable or field.nullable
    return pa.field(known.name, _unify_types(known.name, known.type, field.type), nullable)


def _unify_types(name: str, left: pa.DataType, right: pa.DataType) -> pa.DataType:
    if left.equals(right) or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    if tensor.is_tensor(left) and tensor.is_tensor(right):
        common = tensor.common_type(left, right)
        if common is not None:
            return common
    elif pa.types.is_timestamp(left) and pa.types.is_timestamp(right) and left.tz and right.tz:
        unit = min(left.unit, right.unit, key=_UNITS.index)
        return pa.timestamp(unit, left.tz if left.tz == right.tz else "UTC")
    else:
        try:
            merged = pa.unify_schemas(
                [pa.schema([pa.field(name, left)]), pa.schema([pa.field(name, right)])],
                promote_options="permissive",
            )
            return merged.field(0).type
        except (pa.ArrowTypeError, pa.ArrowInvalid):
            pass
    raise SchemaError(
        f"column {name!r} is {left} in some blocks and {right} in others, which no common type "
        "holds; convert it before the blocks meet"
    )


def _known(known: dict[str, pa.DataType], field: pa.Field) -> pa.DataType:
    """Returns what a missing column should be: of the type seen last that is not null."""
    return known.get(field.name, field.type) if pa.types.is_null(field.type) else field.type


def _cast(column: pa.ChunkedArray, type: pa.DataType) -> pa.ChunkedArray:
    if column.type.equals(type):
        return column
    if pa.types.is_null(column.type):
        return _nulls(len(column), type)
    if tensor.is_tensor(type):
        return tensor.cast(column, type)
    return column.cast(type)


def _nulls(rows: int, type: pa.DataType) -> pa.ChunkedArray:
    if isinstance(type, pa.BaseExtensionType):
        storage = pa.nulls(rows, type.storage_type)
        return pa.chunked_array([pa.ExtensionArray.from_storage(type, storage)])
    return pa.chunked_array([pa.nulls(rows, type)])


def _is_view(type: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(type) or pa.types.is_binary_view(type))


def _without_view(type: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(type):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(type) else type


# Finest first: a union must hold the values of both.
_UNITS = ["ns", "us", "ms", "s"]
# A block may point into half as much again as it shows before it is copied.
_SLACK_MAX = 1.5
# Below this, a copy gains nothing.
_SLACK_BYTES = 4 * 1024
