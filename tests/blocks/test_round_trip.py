"""What a function gives back as it got it: the same values of the same types, in every form."""

import pyarrow as pa
import pytest
from column_samples import COLUMNS, same, values
from hypothesis import given
from hypothesis import strategies as st

from millstream.blocks import block, tensor
from millstream.blocks.transforms import FilterRows, FlatMap, MapBatches, MapRows

FORMS = {
    **{
        f"{format}_{'views' if zero_copy else 'copies'}": MapBatches(
            lambda batch: batch, batch_format=format, zero_copy_batch=zero_copy
        )
        for format in ("numpy", "pandas", "pyarrow")
        for zero_copy in (True, False)
    },
    "map": MapRows(lambda row: row),
    "flat_map": FlatMap(lambda row: [row]),
    "filter": FilterRows(lambda row: True),
}


def through(form, table):
    return block.concat(list(form.open()(iter([table]))))


def require_same(found, table):
    assert found.schema.equals(table.schema), f"{found.schema} is not {table.schema}"
    for name in table.column_names:
        for got, wanted in zip(values(found[name]), values(table[name]), strict=True):
            assert same(got, wanted), f"{name}: {got} is not {wanted}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_survives_a_function_that_changes_nothing(name, form):
    column = COLUMNS[name]
    for part in (column, column.slice(1), column.slice(1, 1), column.slice(0, 1)):
        if part.null_count == len(part) and tensor.is_tensor(part.type):
            # A column of nothing but nulls has no shape.
            continue
        table = block.plain(pa.table({"c": part}))
        found = through(FORMS[form], table)
        if tensor.is_tensor(part.type) and form not in ("numpy_views", "numpy_copies", "filter"):
            # Lists of arrays have no type: those of one shape are a column of one shape.
            found = block.align(found, table.schema)
        require_same(found, table)


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 5))
    made = {}
    for name in draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4, unique=True)):
        column = block.plain(pa.table({"c": COLUMNS[name]}))["c"].combine_chunks()
        if tensor.is_tensor(column.type):
            continue
        indices = draw(st.lists(st.integers(0, len(column) - 1), min_size=rows, max_size=rows))
        made[name] = column.take(pa.array(indices))
    made["id"] = pa.array(range(rows))
    return pa.table(made)


@pytest.mark.parametrize("form", FORMS)
@given(table=tables())
def test_tables_of_any_types_survive_a_function_that_changes_nothing(form, table):
    require_same(through(FORMS[form], table), table)
