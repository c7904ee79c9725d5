"""Every row has every column; lists become rows; rows are drawn; addresses become pixels."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import millstream as ms
from millstream.blocks import explode, tensor
from millstream.context import DataContext
from millstream.expr import rows as expr_rows
from millstream.expressions import col, udf
from millstream.plan.rules import to_physical

# Columns that some blocks lack -------------------------------------------------------------

COLUMNS = {"a": pa.int64(), "b": pa.large_string(), "c": pa.float64(), "d": pa.list_(pa.int64())}
POOLS = {
    "a": [None, 0, 1, 2**60],
    "b": [None, "", "x"],
    "c": [None, 0.5, -1.0],
    "d": [None, [], [1, None]],
}


@pytest.fixture(autouse=True)
def in_order(context):
    context.execution_options.preserve_order = True


@st.composite
def parts(draw):
    """Tables of some of the columns, in any order, that have all of them together."""
    made, left = [], set(COLUMNS)
    while left or len(made) < 2:
        names = draw(st.lists(st.sampled_from(list(COLUMNS)), unique=True, max_size=4))
        if len(made) > 4:
            names = list(COLUMNS)
        left -= set(names)
        rows = draw(st.integers(0, 3))
        if not names:
            made.append(rows)
            continue
        columns = {
            name: pa.array(
                draw(st.lists(st.sampled_from(POOLS[name]), min_size=rows, max_size=rows)),
                COLUMNS[name],
            )
            for name in names
        }
        made.append(pa.table(columns))
    return made


def dataset_of(part):
    return ms.range(part).select_columns([]) if isinstance(part, int) else ms.from_arrow(part)


def rows_of(part):
    return [{}] * part if isinstance(part, int) else part.to_pylist()


OPERATORS = {
    "nothing": lambda ds: ds,
    "select": lambda ds: ds.select_columns(["c", "a"]),
    "drop": lambda ds: ds.drop_columns(["b"]),
    "rename": lambda ds: ds.rename_columns({"a": "z"}),
    "rename all": lambda ds: ds.select_columns(list("abcd")).rename_columns(list("wxyz")),
    "filter": lambda ds: ds.filter(col("a").is_null() | (col("a") > 0)),
    "with_column": lambda ds: ds.with_column("e", col("a").fill_null(7)),
    "explode": lambda ds: ds.explode("d"),
    "map": lambda ds: ds.map(lambda row: {name: row[name] for name in sorted(row)}),
    "limit": lambda ds: ds.limit(3).select_columns("b"),
    "zip": lambda ds: ds.zip(ds.select_columns(["b"])),
}


@settings(max_examples=60, deadline=None)
@given(parts(), st.sampled_from(sorted(OPERATORS)))
def test_where_the_columns_are_decides_nothing(tables, name):
    union = dataset_of(tables[0]).union(*map(dataset_of, tables[1:]))
    names = [field.name for field in union._plan.schema()]
    assert sorted(names) == sorted(COLUMNS)
    rows = [{name: row.get(name) for name in names} for part in tables for row in rows_of(part)]
    schema = pa.schema([(name, COLUMNS[name]) for name in names])
    whole = ms.from_arrow(pa.Table.from_pylist(rows, schema))
    apply = OPERATORS[name]
    assert apply(union).take_all() == apply(whole).take_all()


@settings(max_examples=30, deadline=None)
@given(parts())
def test_aggregates_take_blocks_without_a_column_for_nulls(tables):
    union = dataset_of(tables[0]).union(*map(dataset_of, tables[1:]))
    values = [row.get("a") for part in tables for row in rows_of(part)]
    there = [value for value in values if value is not None]
    assert union.sum("a") == (sum(there) if there else None)
    assert union.max("a", ignore_nulls=False) == (
        None if len(there) < len(values) or not values else max(there)
    )
    assert sorted(union.unique("a", ignore_nulls=True)) == sorted(set(there))


def test_a_column_that_no_input_has_is_an_error_at_the_call():
    union = ms.from_items([{"a": 1}]).union(ms.from_items([{"b": 2}]))
    for ask in (
        lambda: union.select_columns("x"),
        lambda: union.filter(col("x") > 1),
        lambda: union.explode("x"),
    ):
        with pytest.raises(ms.SchemaError, match="no column 'x'; the columns are 'a', 'b'"):
            ask()


def test_rows_are_completed_where_they_are_made():
    first = ms.from_items([{"a": 1}]).limit(1)
    union = first.union(ms.from_items([{"b": 2}]).with_column("c", col("b")))
    titles = [op.title for op in to_physical(union._plan).ops]
    assert titles == [
        "TaskPoolMap[FromItems]",
        "LimitOperator[limit=1]",
        "TaskPoolMap[FromItems->WithColumns(c)]",
        "UnionOperator[Union]",
    ]
    assert union.take_all() == [{"a": 1, "b": None, "c": None}, {"a": None, "b": 2, "c": 2}]
    nested = union.limit(2).union(ms.from_items([{"d": 4}])).zip(ms.range(3))
    assert list(nested.take_all()[2].items()) == [
        ("a", None), ("b", None), ("c", None), ("d", 4), ("id", 2)
    ]  # fmt: skip


class Next:
    def __call__(self, numbers):
        return pc.add(numbers, 1)


def test_a_pool_completes_what_it_makes():
    following = udf("int64")(Next)()
    ones = ms.from_items([{"a": 1}]).with_column("c", following(col("a")))
    union = ones.union(ms.from_items([{"b": 2}]))
    titles = [op.title for op in to_physical(union._plan).ops]
    assert titles[1] == "ActorPoolMap[WithColumns(c)]"
    rows = union.select_columns(["a", "b", "c"]).take_all()
    assert rows == [{"a": 1, "b": None, "c": 2}, {"a": None, "b": 2, "c": None}]


def test_blocks_of_functions_are_whole_once_they_are_kept():
    made = ms.range(4, override_num_blocks=2).map(
        lambda row: {"a": row["id"]} if row["id"] < 2 else {"b": row["id"]}
    )
    with pytest.raises(ms.SchemaError, match="no column 'b'; the columns are 'a'"):
        made.select_columns("b").take_all()
    assert made.materialize().sum("b") == 5


# Lists become rows -------------------------------------------------------------------------

LISTS = st.lists(
    st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=4)),
    min_size=1,
    max_size=8,
)


def exploded(lists, keep_empty):
    for number, values in enumerate(lists):
        for value in values or ([None] if keep_empty else []):
            yield {"n": number, "x": value, "s": f"{number}"}


@settings(max_examples=100, deadline=None)
@given(
    LISTS,
    st.booleans(),
    st.sampled_from([pa.list_, pa.large_list]),
    st.sampled_from([1, 40, 1 << 20]),
)
def test_each_value_of_a_list_is_a_row(lists, keep_empty, type, table_bytes):
    filled = [[], *([7, 8] if each is None else each for each in lists)]
    whole = pa.array(filled, pa.list_(pa.int64()))
    mask = pa.array([False, *(each is None for each in lists)])
    # Values lie under null lists, and the lists begin behind others.
    array = pa.ListArray.from_arrays(whole.offsets, whole.values, mask=mask)[1:]
    table = pa.table(
        {
            "n": range(len(lists)),
            "x": array.cast(type(pa.int64())),
            "s": [str(number) for number in range(len(lists))],
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explode, "TABLE_BYTES", table_bytes)
        blocks = list(explode.Explode(("x",), keep_empty).open()(iter([table])))
    made = pa.concat_tables(blocks)
    made.validate(full=True)
    assert made.to_pylist() == list(exploded(lists, keep_empty))
    assert made.schema.equals(explode.Explode(("x",)).schema(table.schema))


def test_lists_are_exploded_side_by_side():
    rows = [
        {"x": [1, 2], "y": ["a", "b"], "z": [0, 1]},
        {"x": [], "y": None, "z": [0, 1]},
        {"x": [3], "y": [None], "z": [0, 1]},
    ]
    ds = ms.from_items(rows).explode(["y", "x"])
    assert ds.take_all() == [
        {"x": 1, "y": "a", "z": [0, 1]},
        {"x": 2, "y": "b", "z": [0, 1]},
        {"x": None, "y": None, "z": [0, 1]},
        {"x": 3, "y": None, "z": [0, 1]},
    ]
    assert ms.from_items(rows).explode(["x", "y"], keep_empty=False).count() == 3
    uneven = ms.from_items([{"x": [1], "y": [1]}, {"x": [1], "y": [1, 2]}], override_num_blocks=1)
    told = r"row 1 of its task has 1 values in 'x' and 2 in 'y'"
    with pytest.raises(ms.UserCodeError, match=told):
        uneven.explode(["x", "y"]).take_all()


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[[1], None], []], pa.list_(pa.list_(pa.int8()))),
        pa.array([[{"a": 1}, None], None]),
        pa.array([["a", "b"], ["a", None]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)),
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2))[1:],
        pa.nulls(2),
    ],
    ids=lambda values: str(values.type),
)
def test_values_of_all_types_keep_them(values):
    ds = ms.from_arrow(pa.table({"x": values})).explode("x")
    wanted = [value for each in values.to_pylist() for value in each or [None]]
    (made,) = ds.iter_batches(batch_size=None, batch_format="pyarrow")
    assert made.column("x").to_pylist() == wanted
    value_type = getattr(values.type, "value_type", values.type)
    assert made.schema.field("x").type == value_type == ds._plan.schema().field("x").type


def test_what_is_repeated_stays_within_bounds(monkeypatch):
    monkeypatch.setattr(explode, "TABLE_BYTES", 1 << 16)
    table = pa.table({"x": [list(range(1000)), [1]], "big": [b"x" * 4096, b"y"]})
    pieces = list(explode.Explode(("x",)).open()(iter([table])))
    assert max(piece.nbytes for piece in pieces) < 1 << 17
    whole = pa.concat_tables(pieces)
    assert whole.column("x").to_pylist() == [*range(1000), 1]
    assert set(whole.column("big").to_pylist()) == {b"x" * 4096, b"y"}


def test_explode_refuses_what_it_cannot():
    ds = ms.from_items([{"x": 1, "y": [1]}])
    with pytest.raises(ms.SchemaError, match="'x' is int64: only lists can be exploded"):
        ds.explode("x")
    for columns, told in [([], "at least one column"), (["y", "y"], "more than once"), (3, "3")]:
        with pytest.raises(ms.ArgumentError, match=told):
            ds.explode(columns)
    with pytest.raises(ms.ArgumentError, match="keep_empty=1 must be"):
        ds.explode("y", keep_empty=1)
    # Known only when it runs.
    with pytest.raises(ms.SchemaError, match="only lists can be exploded"):
        ds.map(lambda row: row).explode("x").take_all()


# Rows are drawn ----------------------------------------------------------------------------


def ids(dataset):
    return [row["id"] for row in dataset.take_all()]


def test_a_seed_draws_the_same_rows_however_blocks_are_cut(context):
    ds = ms.range(5000, override_num_blocks=7)
    wanted = ids(ds.random_sample(0.1, seed=5))
    assert 400 < len(wanted) < 600
    context.target_max_block_size = 1024
    DataContext._current = context
    ds = ms.range(5000, override_num_blocks=7)
    assert ids(ds.random_sample(0.1, seed=5)) == wanted
    assert ids(ds.map_batches(lambda b: b, udf_modifying_row_count=False).random_sample(
        0.1, seed=5
    )) == wanted  # fmt: skip
    assert ids(ds.random_sample(0.1, seed=6)) != wanted


def test_without_a_seed_each_run_draws_anew():
    ds = ms.range(2000).random_sample(0.5)
    assert ids(ds) != ids(ds)
    assert ids(pickle.loads(pickle.dumps(ds))) != ids(ds)


def test_each_row_is_drawn_by_itself():
    # Equal rows in tiny blocks, each drawn as likely as any other, not all or none of them.
    ds = ms.from_arrow([pa.table({"x": [1]})] * 400).random_sample(0.5, seed=1)
    assert 150 < ds.count() < 250
    twice = ms.range(1000).random_sample(0.5, seed=1).random_sample(0.5, seed=1)
    assert 180 < twice.count() < 320
    same = ms.range(1000)
    both = ids(same.union(same).random_sample(0.5, seed=1))
    assert 150 < len(both) - len(set(both)) < 350


def test_one_draw_is_the_same_in_all_places_of_a_plan():
    drawn = ms.range(1000).random_sample(0.5)
    rows = drawn.zip(drawn.with_column("double", col("id") * 2)).take_all()
    assert all(row["id"] == row["id_1"] for row in rows)


@pytest.mark.parametrize(
    "before",
    [
        lambda ds: ds.filter(col("id") % 2 == 0),
        lambda ds: ds.filter(lambda row: row["id"] % 2 == 0),
        lambda ds: ds.map(lambda row: row),
        lambda ds: ds.with_column("x", col("id") + 1),
        lambda ds: ds.rename_columns({"id": "x"}).rename_columns({"x": "id"}),
        lambda ds: ds.select_columns([]),
        lambda ds: ds.union(ds),
    ],
)
def test_a_draw_moves_past_what_works_row_by_row(before):
    ds = before(ms.range(4000))
    all_rows = ds.take_all()
    drawn = ds.random_sample(0.25, seed=3)
    assert ".sample(0.25)" in to_physical(drawn._plan).ops[0].name
    rows = drawn.take_all()
    assert 0.2 * len(all_rows) < len(rows) < 0.3 * len(all_rows)
    if all_rows[0]:
        assert {row["id"] for row in rows} < {row["id"] for row in all_rows}
    assert drawn._plan.schema() == ds._plan.schema()


@pytest.mark.parametrize(
    ("before", "name"),
    [
        (lambda ds: ds.flat_map(lambda row: [row, row]), "FlatMap"),
        (lambda ds: ds.map_batches(lambda batch: batch), "MapBatches"),
        (lambda ds: ds.limit(5), "limit=5"),
        (lambda ds: ds.zip(ds), "zip"),
        (lambda ds: ds.limit(5).union(ds), "limit=5"),
    ],
)
def test_a_draw_is_refused_where_rows_have_no_place(before, name):
    ds = before(ms.range(10))
    with pytest.raises(ms.ArgumentError, match=rf"random_sample after {name}.*materialize"):
        ds.random_sample(0.5)
    assert ds.materialize().random_sample(1).count() == ds.count()


def test_files_are_drawn_of_after_they_are_filtered(tmp_path):
    table = pa.table({"id": range(2000), "s": ["x"] * 2000})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=500)
    ds = ms.read_parquet(tmp_path).filter(col("id") < 1000).random_sample(0.5, seed=1)
    made = ds.select_columns("id")
    assert [op.name for op in to_physical(made._plan).ops] == [
        "ReadParquet.filter(col('id') < 1000).sample(0.5)"
    ]
    assert 400 < made.count() < 600
    assert ids(made) == ids(made)
    assert max(ids(made)) < 1000
    shuffled = ms.read_parquet(tmp_path, shuffle="files").random_sample(0.5)
    assert 800 < shuffled.count() < 1200


def test_fractions_and_seeds_that_make_no_sense_are_refused():
    ds = ms.range(4)
    assert ds.random_sample(0).take_all() == []
    assert ds.random_sample(1.0).count() == 4
    for fraction in (-0.1, 1.5, "0.5", None, True):
        with pytest.raises(ms.ArgumentError, match=r"fraction=.* must be a number from 0 to 1"):
            ds.random_sample(fraction)
    for draw in (
        lambda: ds.random_sample(0.5, seed=-1),
        lambda: ds.randomize_block_order(seed="a"),
    ):
        with pytest.raises(ms.ArgumentError, match=r"seed=.* must be a whole number"):
            draw()


# Sources in a random order -----------------------------------------------------------------


def test_a_source_is_read_in_a_random_order():
    ds = ms.range(40, override_num_blocks=20)
    made = ds.randomize_block_order(seed=1)
    assert sorted(ids(made)) == list(range(40))
    assert ids(made) == ids(made) != list(range(40))
    assert all(b == a + 1 for a, b in zip(ids(made)[::2], ids(made)[1::2], strict=True))
    anew = ds.randomize_block_order()
    assert ids(anew) != ids(anew)
    assert made.count() == 40


def test_the_order_stays_with_the_columns_and_rows_that_are_asked_for(tmp_path):
    table = pa.table({"id": range(40), "s": ["x"] * 40})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    ds = ms.read_parquet(tmp_path).randomize_block_order(seed=1)
    order = ids(ds)
    assert sorted(order) == list(range(40)) != order
    made = ds.filter(col("id") >= 20).select_columns("id")
    assert [op.name for op in to_physical(made._plan).ops] == [
        "ReadParquet.filter(col('id') >= 20)"
    ]
    assert ids(made) == [each for each in order if each >= 20]


def test_an_order_is_that_of_one_source():
    ds = ms.range(4)
    for other, told in [(ds.union(ds), "of a union"), (ds.limit(2), "after limit=2")]:
        with pytest.raises(ms.ArgumentError, match=f"randomize_block_order {told}.*materialize"):
            other.randomize_block_order()


# Addresses become pixels -------------------------------------------------------------------


def test_a_table_of_addresses_becomes_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(expr_rows, "TABLE_BYTES", 4096)
    for number in range(30):
        pixels = np.full((5 + number % 3, 4, 3), number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    urls = [str(tmp_path / f"{number}.png") for number in range(30)]
    table = pa.table({"url": urls, "n": range(30)})
    ds = ms.from_arrow(table, override_num_blocks=1)
    pixels = col("url").url.download().image.decode().image.resize(6, 8)
    made = ds.with_column("image", pixels)
    assert made._plan.schema().field("image").type == pa.fixed_shape_tensor(pa.uint8(), [8, 6, 3])
    rows = made.take_all()
    assert [row["n"] for row in rows] == list(range(30))
    assert [int(row["image"].max()) for row in rows] == list(range(30))
    assert tensor.is_tensor(made._plan.schema().field("image").type)


def test_the_row_that_fails_is_counted_over_the_whole_task(tmp_path):
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.png")
    urls = [str(tmp_path / "a.png")] * 30 + [str(tmp_path / "b.png")]
    ds = ms.from_arrow(pa.table({"url": urls}), override_num_blocks=1)
    with pytest.raises(ms.UserCodeError, match=r"row 30 of its task: cannot download .*b\.png"):
        ds.with_column("bytes", col("url").url.download()).take_all()
    there = ds.filter(col("url").url.download(on_error="null").is_not_null())
    assert there.count() == 30


def test_a_few_rows_at_a_time_become_large_values():
    portions = expr_rows.Portions()
    table = pa.table({"x": range(100)})
    sizes = []
    for part in portions.of(table):
        sizes.append(part.num_rows)
        portions.became(part.num_rows, part.num_rows * (expr_rows.TABLE_BYTES // 10))
    assert sizes == [8, *[10] * 9, 2]
    assert [part.num_rows for part in portions.of(table.slice(0, 0))] == [0]
