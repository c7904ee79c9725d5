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

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from millstream.blocks import tensor
from millstream.blocks.common_type import common_type, filled_type, is_simple, plain_type, wide_type
from millstream.blocks.convert import convert, nulls
from millstream.errors import SchemaError

ROWS_COLUMN = "__millstream_rows__"


def seal(table: pa.Table) -> pa.Table:
    """Makes a block of a table: the hidden column is there if, and only if, no other is."""
    hidden = table.num_columns > 1 and table.schema.get_field_index(ROWS_COLUMN) >= 0
    if table.num_columns == 0 and table.num_rows > 0:
        return rows_only(table.num_rows)
    if hidden:
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

    The types follow the rules of `common_type`; views become plain types.

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
                plain = plain_type(field.type)
                fields[field.name] = field if plain is field.type else field.with_type(plain)
            elif not known.equals(field):
                fields[field.name] = _unify_fields(known, field)
    return pa.schema(list(fields.values()))


def without_shapes(schema: pa.Schema) -> pa.Schema:
    """Returns the schema with tensors of any shape where they are of one."""
    return _with_types(schema.remove_metadata(), tensor.without_shape)


def filled_schema(schema: pa.Schema) -> pa.Schema:
    """Returns the schema with a field of nulls in each struct without fields."""
    return schema if is_simple(schema) else _with_types(schema, filled_type)


def concat(blocks: Sequence[pa.Table]) -> pa.Table:
    """Puts blocks under each other, without copying where their types agree.

    Columns that a block lacks are null in its rows.

    Raises:
        SchemaError: A column has types that no common type holds.
    """
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0].schema
    if not all(first.equals(block.schema) for block in blocks[1:]):
        schema = unify_schemas(block.schema for block in blocks)
        if not schema.names:
            return rows_only(sum(block.num_rows for block in blocks))
        schemas = [block.schema for block in blocks]
        # What one block always has, another may lack.
        schema = pa.schema([field.with_nullable(True) for field in schema], schema.metadata)
        blocks = [align(block, schema, schemas) for block in blocks]
    return _with_codes_for_all(pa.concat_tables(blocks))


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


def align(block: pa.Table, schema: pa.Schema, others: Sequence[pa.Schema] = ()) -> pa.Table:
    """Gives a block the columns and types of a schema made by `unify_schemas`.

    Args:
        block: The block.
        schema: What it is to have.
        others: What the schema unites, for errors.

    Raises:
        SchemaError: A value of the block is none of the other type; names the column.
    """
    if block.schema.equals(schema):
        return block
    columns = []
    for field in schema:
        if field.name in block.column_names:
            columns.append(_converted(block.column(field.name), field, others))
        else:
            columns.append(nulls(block.num_rows, field.type))
    fields = [field.with_nullable(True) for field in schema]
    return pa.table(columns, schema=pa.schema(fields))


def nbytes(block: pa.Table) -> int:
    """Returns the bytes of the rows that a block shows, not of the buffers it points into."""
    if block.num_columns < WIDE:
        return int(block.nbytes)
    # What Arrow looks up for each column takes long where there are many; where they are numbers
    # without nulls in memory of their own, what they must take is all that they hold.
    held = block.get_total_buffer_size()
    ids = [type.id for type in block.schema.types]
    is_known = _WIDTHS.keys() >= set(ids)
    is_all = is_known and held == block.num_rows * sum(map(_WIDTHS.__getitem__, ids))
    return int(held if is_all else block.nbytes)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Returns the schema that `plain` gives a block of this one."""
    return schema if is_simple(schema) else _with_types(schema, plain_type)


def plain(block: pa.Table) -> pa.Table:
    """Gives columns of views and runs the types of `plain_type`.

    A slice of a view column points into all buffers of its parent, so that it could neither be
    measured nor split.
    """
    if is_simple(block.schema):
        return block
    schema = plain_schema(block.schema)
    if not schema.equals(block.schema):
        block = align(block, schema)
    return _with_codes_for_all(block)


def gatherable(block: pa.Table) -> pa.Table:
    """Gives columns of 64-bit offsets what needs them to be put into one piece.

    Such columns come in several chunks; taken or combined, they fail in Arrow.
    """
    if block.nbytes <= OFFSET_MAX:
        return block
    fields = [
        field.with_type(wide_type(field.type)) if column.nbytes > OFFSET_MAX else field
        for field, column in zip(block.schema, block.columns, strict=True)
    ]
    return align(block, pa.schema(fields, block.schema.metadata))


def compact(block: pa.Table, size: int) -> pa.Table:
    """Returns the block in few buffers of its own if those it points into are much larger than it.

    A slice that is sent elsewhere would take all of its parent with it, once for each chunk.

    Args:
        block: The block.
        size: Its bytes, as `nbytes` finds them.
    """
    if size > _UNUSED_BYTES and not is_simple(block.schema):
        block = _with_codes_used(block)
        size = block.nbytes
    pieces = _pieces(block)
    if pieces > block.num_columns and size < pieces * tensor.CHUNK_BYTES_MIN:
        if size > OFFSET_MAX:
            block = gatherable(block)
        block = block.combine_chunks()
        pieces = block.num_columns
    if pieces > block.num_columns:
        chunks = (chunk for column in block.columns for chunk in column.chunks)
        held = sum(chunk.get_total_buffer_size() for chunk in chunks)
    else:
        # Asked of the table as a whole, which takes no longer for thousands of columns.
        held = block.get_total_buffer_size()
    return copy(block) if held > size * _SLACK_MAX + _SLACK_BYTES else block


def _pieces(block: pa.Table) -> int:
    # A table of one piece is one batch, which is found without a look at each column.
    if block.num_columns >= WIDE and len(block.to_batches()) <= 1:
        return int(block.num_columns)
    return sum(column.num_chunks for column in block.columns)


def _with_codes_used(block: pa.Table) -> pa.Table:
    """Leaves out values of large dictionaries that no row has, where they are most of them.

    A slice of a few rows has all values of its parent otherwise. Ordered ones stay: their order is
    that of all values.
    """
    for index, type in enumerate(block.schema.types):
        if type.id != _DICTIONARY or type.ordered:
            continue
        column = block.column(index)
        values = sum(len(chunk.dictionary) for chunk in column.chunks)
        size = sum(chunk.dictionary.nbytes for chunk in column.chunks)
        if values > len(column) * _UNUSED_MAX and size > _UNUSED_BYTES:
            used = convert(convert(column, type.value_type), type)
            block = block.set_column(index, block.schema.field(index), used)
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
    type = common_type(known.type, plain_type(field.type))
    if type is None:
        raise SchemaError(
            f"column {known.name!r} is {known.type} in some blocks and {field.type} in others, "
            "which no common type holds; convert it before the blocks meet"
        )
    return pa.field(known.name, type, known.nullable or field.nullable)


def _known(known: dict[str, pa.DataType], field: pa.Field) -> pa.DataType:
    """Returns what a missing column should be: of the type seen last that is not null."""
    return known.get(field.name, field.type) if pa.types.is_null(field.type) else field.type


def _with_types(schema: pa.Schema, change: Callable[[pa.DataType], pa.DataType]) -> pa.Schema:
    fields = [field.with_type(change(field.type)) for field in schema]
    return pa.schema(fields, schema.metadata)


def _converted(
    column: pa.ChunkedArray, field: pa.Field, others: Sequence[pa.Schema]
) -> pa.ChunkedArray:
    try:
        return convert(column, field.type)
    except ValueError as error:
        met = [str(t.field(field.name).type) for t in others if field.name in t.names]
        types = dict.fromkeys(met or [str(column.type), str(field.type)])
        raise SchemaError(
            f"column {field.name!r} is {' in some blocks and '.join(types)} in others; as "
            f"{field.type}, which they have in common, not every value would be the same: "
            f"{error}; convert it before the blocks meet"
        ) from error


def _with_codes_for_all(block: pa.Table) -> pa.Table:
    """Gives dictionaries codes that Arrow can put together.

    Each part of a categorical column has codes for its own values, and Arrow takes such chunks for
    one column until they are put together: then narrow codes may be too few, and null must be
    none of the values.
    """
    if is_simple(block.schema):
        return block
    for index, type in enumerate(block.schema.types):
        if type.id != _DICTIONARY:
            continue
        column = found = block.column(index)
        if any(chunk.dictionary.null_count for chunk in column.chunks):
            column = convert(convert(column, type.value_type), type)
        if type.index_type.bit_width <= _NARROW_CODES and _exceeds_codes(column):
            column = convert(column, pa.dictionary(pa.int32(), type.value_type, type.ordered))
        if column is not found:
            field = block.schema.field(index).with_type(column.type)
            block = block.set_column(index, field, column)
    return block


def _exceeds_codes(column: pa.ChunkedArray) -> bool:
    if column.num_chunks < 2:
        return False
    try:
        column.unify_dictionaries()
    except pa.ArrowInvalid:
        return True
    return False


# The bytes of a value of the types that have a whole number of them.
_WIDTHS: dict[int, int] = {
    type.id: type.bit_width // 8
    for type in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64()),
    )
}
#: From so many columns on, looking at each takes longer than what is in a few rows of them.
WIDE = 64
# A block may point into half as much again as it shows before it is copied.
_SLACK_MAX = 1.5
# A dictionary has so many times as many values as rows if most of them are unused.
_UNUSED_MAX = 2
_UNUSED_BYTES = 64 * 1024
# Below this, a copy gains nothing.
_SLACK_BYTES = 4 * 1024
#: What a column of 32-bit offsets holds in one piece, in bytes.
OFFSET_MAX = 2**31 - 1
_DICTIONARY = pa.dictionary(pa.int8(), pa.string()).id
# Codes of so many bits are soon too few for several parts of a column.
_NARROW_CODES = 16
