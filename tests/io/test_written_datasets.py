"""What is written, pyarrow, pandas, DuckDB and millstream open as one dataset, of equal values."""

from __future__ import annotations

import tempfile
from itertools import pairwise

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest
from column_samples import COLUMNS, same, tensors, values
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import plan_parquet, table_of
from test_parquet_writing import everything, write

from millstream.blocks import block
from millstream.blocks.transforms import FilterRows, MapBatches
from millstream.errors import SchemaError

#: Types that Parquet has not, which are refused by name.
INTERVALS = {"interval"}
UNHELD = {*INTERVALS, "empty_struct"}
#: Types that pyarrow does not give back as they were, and what it gives; millstream does.
COARSE = {
    "date64": pa.date32(),
    "time32": pa.time32("ms"),
    "seconds": pa.timestamp("ms"),
    "numbered": pa.int64(),
}
HELD = sorted(set(COLUMNS) - UNHELD)
SAME = {
    **{
        form: MapBatches(lambda batch: batch, batch_format=form)
        for form in ("numpy", "pandas", "pyarrow")
    },
    "rows": FilterRows(lambda row: True),
    "nothing": None,
}


def is_fieldless(table: pa.Table) -> bool:
    type = table.schema.field("x").type
    return pa.types.is_struct(type) and type.num_fields == 0


def require_same(found: pa.Table, wanted: pa.Table, coarse: dict | None = None) -> None:
    for name in wanted.column_names:
        type = (coarse or {}).get(name, wanted.schema.field(name).type)
        assert found.schema.field(name).type.equals(type), name
        for got, value in zip(values(found[name]), values(wanted[name]), strict=True):
            assert same(got, value), f"{name}: {got} is not {value}"


@pytest.mark.parametrize("name", HELD)
def test_every_type_that_parquet_has_comes_back(tmp_path, name):
    column = COLUMNS[name]
    table = block.plain(pa.table({name: column, "n": range(len(column))}))
    write(tmp_path, [table.slice(0, 1)], [table.slice(1)], is_divided=False)
    require_same(table_of(plan_parquet(tmp_path)), table)
    require_same(pq.read_table(tmp_path), table, COARSE)
    assert len(pd.read_parquet(tmp_path)) == len(table)
    ((count,),) = duckdb.sql(f'SELECT count("{name}") FROM "{tmp_path}/*.parquet"').fetchall()
    assert count == len(table) - table[name].null_count
    types = [field.type for field in pq.read_schema(next(tmp_path.glob("*")))]
    assert not [type for type in types if "view" in str(type)]


@st.composite
def tasks(draw):
    """Rows of a few columns, and how they are cut into tasks."""
    names = draw(st.lists(st.sampled_from(HELD), min_size=1, max_size=4, unique=True))
    rows = draw(st.integers(1, 8))
    columns = {}
    for name in names:
        column = COLUMNS[name]
        picks = st.lists(st.integers(0, len(column) - 1), min_size=rows, max_size=rows)
        chunks = [column.slice(pick, 1) for pick in draw(picks)]
        columns[name] = pa.chunked_array(chunks, column.type)
    cuts = sorted(draw(st.sets(st.integers(1, rows), max_size=3)) | {0, rows})
    table = block.plain(pa.table(columns))
    parts = [table.slice(start, stop - start) for start, stop in pairwise(cuts)]
    return table, parts


@settings(max_examples=30, deadline=None)
@given(made=tasks(), form=st.sampled_from(sorted(SAME)), is_divided=st.booleans())
def test_tables_come_back_through_functions_and_files(made, form, is_divided):
    table, parts = made
    if form != "nothing":
        parts = [block.concat(list(SAME[form].open()(iter([part])))) for part in parts]
    wanted = block.concat(parts)
    assert form != "nothing" or wanted.schema.equals(table.schema)
    with tempfile.TemporaryDirectory() as folder:
        write(folder, *([part] for part in parts), is_divided=is_divided)
        require_same(table_of(plan_parquet(folder)), wanted)
        require_same(pa_dataset.dataset(folder).to_table(), wanted, COARSE)
        frame = pd.read_parquet(folder)
        rows = duckdb.sql(f"SELECT * FROM '{folder}/*.parquet'").fetchall()
    assert len(frame) == len(rows) == len(table)
    assert list(frame) == table.column_names


RAGGED = [tensors(np.ones((2, 3))), tensors(np.zeros((4, 1)))]
#: Parts of a column, each written by a task of its own.
PARTS = {
    "null then string": [pa.nulls(1), pa.array(["a"])],
    "integer then double": [pa.array([1]), pa.array([2.5])],
    "narrow then wide": [pa.array([1], pa.int8()), pa.array([2**40])],
    "fields that come later": [pa.array([{"a": 1}]), pa.array([{"a": 2, "b": "x"}])],
    "no fields yet": [pa.array([{}, None, {}], pa.struct([])), pa.array([{"a": 1}])],
    "no fields any more": [
        pa.array([[{"a": 1, "b": {"c": "x"}}], None]),
        pa.array([[{"b": {}}], []], pa.list_(pa.struct({"b": pa.struct([])}))),
    ],
    "null fields": [pa.array([{"a": None}]), pa.array([{"a": {"b": 1}}])],
    "empty lists": [pa.array([[]]), pa.array([[1]])],
    "dictionaries": [pa.array(["a"]).dictionary_encode(), COLUMNS["words8"]],
    "dictionary and text": [pa.array(["a"]).dictionary_encode(), pa.array(["b"])],
    "views": [COLUMNS["string_view"], pa.array(["b"])],
    "list views": [COLUMNS["list_view"], pa.array([[7]])],
    "units of time": [COLUMNS["seconds"], pa.array([1, 2**40], pa.timestamp("us"))],
    "decimals": [COLUMNS["decimal32"], COLUMNS["decimal64"]],
    "tensors of two shapes": RAGGED,
    "tensors of two ranks": [RAGGED[0], tensors(np.ones((1, 2, 3)))],
    "no tensor yet": [pa.nulls(2), RAGGED[0]],
}


@pytest.mark.parametrize("is_divided", [True, False])
@pytest.mark.parametrize("name", PARTS)
def test_files_whose_types_differ_become_one_dataset(tmp_path, name, is_divided):
    parts = [pa.table({"x": part, "n": range(len(part))}) for part in PARTS[name]]
    wanted = block.concat([block.plain(part) for part in parts])
    files = write(tmp_path, *([part] for part in parts), is_divided=is_divided)
    assert len(files) == (2 if is_divided else 1)
    assert len(everything(tmp_path)) == len(files)
    schemas = [pq.read_schema(file) for file in files]
    assert all(schema.equals(schemas[0]) for schema in schemas)
    require_same(table_of(plan_parquet(tmp_path)), wanted)
    require_same(pq.read_table(tmp_path), wanted, {"x": schemas[0].field("x").type})
    assert pa_dataset.dataset(tmp_path).to_table().num_rows == len(wanted)
    frame = pd.read_parquet(tmp_path)
    assert frame["n"].tolist() == wanted["n"].to_pylist()
    assert frame["x"].isna().sum() == wanted["x"].null_count
    rows = duckdb.sql(f"SELECT n, x IS NULL FROM '{tmp_path}/*.parquet'").fetchall()
    assert sorted(rows) == sorted(zip(frame["n"], frame["x"].isna(), strict=True))


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_what_goes_together_is_written_together(tmp_path, name):
    for other in sorted(set(COLUMNS) - {name}):
        parts = [block.plain(pa.table({"x": COLUMNS[each]})) for each in (name, other)]
        try:
            wanted = block.concat(parts)
        except SchemaError:
            wanted = None
        if wanted is None or {name, other} & INTERVALS or is_fieldless(wanted):
            with pytest.raises(SchemaError, match="'x'"):
                write(tmp_path / other, *([part] for part in parts))
            assert everything(tmp_path / other) == []
        else:
            write(tmp_path / other, *([part] for part in parts))
            require_same(table_of(plan_parquet(tmp_path / other)), wanted)
