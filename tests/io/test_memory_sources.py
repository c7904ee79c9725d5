from __future__ import annotations

import datetime
import pickle
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from io_sources import rows_of, table_of, unit_rows

from millstream.errors import ArgumentError, SchemaError
from millstream.io.memory import plan_arrow, plan_items, plan_range


def test_a_range_counts_from_zero():
    source = plan_range(1000)
    assert table_of(source).column("id").to_pylist() == list(range(1000))
    assert source.schema == pa.schema([("id", pa.int64())])
    assert source.rows == 1000


@pytest.mark.parametrize(("rows", "blocks", "units"), [(10, 3, 3), (10, 20, 10), (7, 7, 7)])
def test_a_range_has_as_many_units_as_asked_for(rows, blocks, units):
    source = plan_range(rows, override_num_blocks=blocks)
    assert len(source.units) == units
    assert sum(unit_rows(source)) == rows


def test_an_empty_range_keeps_its_schema():
    source = plan_range(0)
    assert table_of(source).schema == source.schema
    assert table_of(source).num_rows == 0


def test_a_huge_range_is_planned_at_once_and_read_in_pieces():
    source = plan_range(10**12)
    # However long it is, a few numbers say what each unit reads.
    assert len(source.units) <= 4096
    first = next(iter(source.units[0].read()))
    assert first.nbytes < 8 << 20


@pytest.mark.parametrize("n", [-1, 1.5, "3", None, True])
def test_a_range_of_nonsense_is_refused(n):
    with pytest.raises(ArgumentError, match="range"):
        plan_range(n)


@pytest.mark.parametrize("blocks", [0, -1, 1.5, "2", True])
def test_a_number_of_blocks_of_nonsense_is_refused(blocks):
    with pytest.raises(ArgumentError, match="override_num_blocks"):
        plan_range(3, override_num_blocks=blocks)


def test_scalars_are_in_the_column_item():
    assert rows_of(plan_items([1, None, 3])) == [{"item": 1}, {"item": None}, {"item": 3}]


def test_dicts_give_columns_and_what_they_lack_is_null():
    rows = rows_of(plan_items([{"a": 1}, {"b": "x"}]))
    assert rows == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


def test_values_of_all_kinds_keep_theirs():
    item = {
        "date": datetime.date(2024, 2, 29),
        "when": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        "price": Decimal("1.50"),
        "bytes": b"\0\1",
        "list": [1, 2],
        "nested": {"x": [{"y": None}, {"y": 1}]},
        "flag": True,
        "none": None,
    }
    assert rows_of(plan_items([item, item])) == [item, item]


def test_arrays_become_tensors():
    table = table_of(plan_items([{"x": np.ones((2, 3), np.uint8)}] * 4))
    assert table.schema.field("x").type == pa.fixed_shape_tensor(pa.uint8(), (2, 3))


def test_values_that_do_not_go_together_name_the_column():
    with pytest.raises(SchemaError, match="'a'"):
        plan_items([{"a": 1}, {"a": "x"}])
    with pytest.raises(SchemaError, match="key 1"):
        plan_items([{1: 2}])


@pytest.mark.parametrize("items", ["text", {"a": 1}, 5])
def test_what_is_no_list_of_items_is_refused(items):
    with pytest.raises(ArgumentError, match="from_items"):
        plan_items(items)


def test_no_items_are_an_empty_source():
    source = plan_items([])
    assert source.rows == 0
    assert sum(unit_rows(source)) == 0


def test_rows_without_columns_are_counted():
    assert sum(unit_rows(plan_items([{}, {}, {}]))) == 3


def test_each_table_is_a_unit_and_the_schema_is_that_of_all():
    source = plan_arrow([pa.table({"x": [1]}), pa.table({"x": [2.5], "y": ["a"]})])
    assert len(source.units) == 2
    assert rows_of(source) == [{"x": 1.0, "y": None}, {"x": 2.5, "y": "a"}]
    assert [unit.read().__next__().schema.names for unit in source.units] == [["x", "y"]] * 2


def test_tables_come_as_batches_and_streams_too():
    table = pa.table({"x": [1, 2]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    parts = [table.to_batches()[0], sink.getvalue().to_pybytes()]
    assert table_of(plan_arrow(parts)).column("x").to_pylist() == [1, 2, 1, 2]


@pytest.mark.parametrize("blocks", [1, 2, 3, 7])
def test_tables_are_cut_or_joined_into_as_many_units_as_asked_for(blocks):
    tables = [pa.table({"x": [0, 1, 2, 3]}), pa.table({"x": [4, 5, 6]})]
    source = plan_arrow(tables, override_num_blocks=blocks)
    assert len(source.units) == blocks
    assert table_of(source).column("x").to_pylist() == list(range(7))


def test_no_tables_are_an_empty_source():
    assert plan_arrow([]).units == []
    source = plan_arrow(pa.table({"x": pa.array([], pa.int8())}))
    assert table_of(source).schema == pa.schema([("x", pa.int8())])


def test_tables_whose_types_disagree_are_refused():
    with pytest.raises(SchemaError, match="'x'"):
        plan_arrow([pa.table({"x": [1]}), pa.table({"x": ["a"]})])


@pytest.mark.parametrize("tables", [{"x": [1]}, [{"x": 1}], b"nonsense", None])
def test_what_is_no_table_is_refused(tables):
    with pytest.raises(ArgumentError, match="from_arrow"):
        plan_arrow(tables)


def test_a_unit_takes_only_its_own_rows_along():
    table = pa.table({"x": range(100_000), "s": ["text"] * 100_000})
    unit = plan_arrow(table, override_num_blocks=100).units[3]
    assert len(pickle.dumps(unit)) < 2 * unit.nbytes + 2000
    assert pickle.loads(pickle.dumps(unit)).read().__next__().column("x")[0].as_py() == 3000
