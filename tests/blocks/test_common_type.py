"""What comes of two types that meet: a type that holds both without loss, or an error."""

import itertools
import re

import pyarrow as pa
import pytest
from column_samples import COLUMNS, same, values

from millstream import feed
from millstream.blocks import block, rows
from millstream.blocks.builder import BlockBuilder
from millstream.blocks.common_type import common_type, plain_type
from millstream.errors import SchemaError, UserCodeError

PLAIN = {name: plain_type(column.type) for name, column in COLUMNS.items()}


def table(name):
    return pa.table({"c": COLUMNS[name]})


def expected(*names):
    return [value for name in names for value in values(pa.chunked_array([COLUMNS[name]]))]


def require_same(found, wanted):
    assert len(found) == len(wanted)
    assert all(map(same, found, wanted)), f"{found} is not {wanted}"


def require_told(error, left, right):
    for told in ("'c'", str(PLAIN[left]), str(PLAIN[right])):
        assert told in str(error), f"{left} beside {right}"


def test_there_are_samples_of_at_least_forty_types():
    assert len({str(type) for type in PLAIN.values()}) >= 40


@pytest.mark.parametrize("left", COLUMNS)
def test_blocks_of_any_two_types_meet_without_loss_or_name_the_types(left):
    for right in COLUMNS:
        builder = BlockBuilder(1 << 30)
        try:
            made = [*builder.add(table(left)), *builder.add(table(right)), builder.finish()]
        except SchemaError as error:
            require_told(error, left, right)
            continue
        joined = pa.concat_tables([full for full, _ in filter(None, made)])
        require_same(values(joined["c"]), expected(left, right))
        assert plain_type(joined.schema.field(0).type).equals(joined.schema.field(0).type)
        joined.combine_chunks().take(pa.array([0])).validate(full=True)


def test_the_common_type_depends_on_no_order_and_no_grouping():
    types = {str(type): type for type in PLAIN.values()}
    known = {}

    def common(left, right):
        key = str(left), str(right)
        if key not in known:
            known[key] = None if None in (left, right) else common_type(left, right)
        return known[key]

    for left, right in itertools.product(types.values(), repeat=2):
        assert shape_of(common(left, right)) == shape_of(common(right, left)), f"{left}, {right}"
    for first, second, third in itertools.product(types.values(), repeat=3):
        early = common(common(first, second), third)
        late = common(first, common(second, third))
        assert shape_of(early) == shape_of(late), f"{first}, {second}, {third}"


def shape_of(type):
    """A type without what may depend on the order: that of fields, and how wide floats are."""
    if type is not None and pa.types.is_struct(type):
        return {field.name: (shape_of(field.type), field.nullable) for field in type}
    return re.sub("double|halffloat", "float", str(type))


@pytest.mark.parametrize("left", COLUMNS)
def test_batches_of_any_two_types_meet_without_loss_or_name_the_types(left):
    for right in COLUMNS:
        both = [block.plain(table(left)), block.plain(table(right))]
        rows_count = sum(part.num_rows for part in both)
        try:
            (batch,) = feed.iter_batches(iter(both), rows_count, "pyarrow", prefetch_batches=0)
        except SchemaError as error:
            require_told(error, left, right)
            continue
        require_same(values(batch["c"]), expected(left, right))


def require_told_with_rows(error, left, right):
    told = r"'c' .*( in row |no common type holds| is no exact )"
    assert re.search(told, str(error)), f"{left} beside {right}: {error}"


@pytest.mark.parametrize("left", COLUMNS)
def test_rows_of_any_two_types_meet_without_loss_or_name_column_and_rows(left):
    for right in COLUMNS:
        both = [
            *rows.iter_rows(block.plain(table(left))),
            *rows.iter_rows(block.plain(table(right))),
        ]
        try:
            made = rows.from_rows(both)
        except UserCodeError as error:
            require_told_with_rows(error, left, right)
            continue
        for found, wanted in zip(rows.iter_rows(made), both, strict=True):
            assert same_python(found["c"], wanted["c"]), f"{left} beside {right}: {found}, {wanted}"


def same_python(found, wanted):
    """As `same`, but sequences are equal whatever their class: rows of maps are lists of pairs."""
    return same(found, wanted) or found == wanted
