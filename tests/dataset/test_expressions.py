"""Datasets take expressions: to filter, to make columns, and to draw samples."""

from __future__ import annotations

import copy
import doctest
import math
import pickle
import uuid as standard
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from column_samples import COLUMNS, same
from column_samples import values as values_of
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream import expressions
from millstream.blocks import tensor
from millstream.expressions import col, lit, pyarrow_udf, star, udf, unnest, uuid, when
from millstream.plan.rules import to_physical

DOCS = Path(__file__).parent.parent.parent / "docs" / "expressions.md"


def table_of(dataset):
    tables = list(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    return pa.concat_tables(tables) if tables else None


def names_of(dataset):
    return [op.name for op in to_physical(dataset._plan).ops]


# Filters ------------------------------------------------------------------------------------


def test_filter_takes_an_expression_in_three_ways():
    ds = ms.range(5)
    for made in (
        ds.filter(col("id") > 3),
        ds.filter(expr=col("id") > 3),
        ds.filter(None, col("id") > 3),
    ):
        assert made.take_all() == [{"id": 4}]
    assert ds.filter(lambda row: row["id"] > 3).take_all() == [{"id": 4}]


def test_a_filter_keeps_the_schema_but_not_the_number_of_rows():
    made = ms.range(5).filter(col("id") > 3)
    assert repr(made) == "Dataset(ReadRange -> Filter(col('id') > 3), rows=?, id: int64)"
    assert made.count() == 1
    assert ms.range(5).filter(col("id") > 9).schema().names == ["id"]


def test_rows_where_a_condition_is_null_go():
    ds = ms.from_arrow(pa.table({"x": [1, None, 3]}))
    assert ds.filter(col("x") > 1).take_all() == [{"x": 3}]
    assert ds.filter(~(col("x") > 1)).take_all() == [{"x": 1}]


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_columns_of_all_types_go_through(name):
    values = COLUMNS[name]
    table = pa.table({"n": range(len(values)), "x": values})
    ds = ms.from_arrow(table).filter(col("n") >= 0).with_columns({"n": col("n") * 2, "y": col("x")})
    whole = table_of(ds)
    before = table_of(ms.from_arrow(table)).column("x")
    first = table_of(ms.from_arrow(table).filter(col("n") == 0))
    for made, wanted in [
        (whole.column("x"), before),
        (whole.column("y"), before),
        (first.column("x"), before.slice(0, 1)),
    ]:
        assert made.type == wanted.type
        assert same(values_of(made), values_of(wanted))


def test_tensors_go_through():
    images = tensor.from_ndarray(np.arange(12.0).reshape(3, 2, 2))
    ds = ms.from_arrow(pa.table({"image": images, "n": [1, 2, 3]}))
    made = table_of(ds.filter(col("n") != 2).with_column("n", col("n") + 1))
    assert made.column("image").type == images.type
    assert tensor.to_numpy(made.column("image")).tolist() == [[[0, 1], [2, 3]], [[8, 9], [10, 11]]]
    assert made.column("n").to_pylist() == [2, 4]


def test_rows_without_columns_can_be_filtered_and_get_some():
    ds = ms.range(3).select_columns([])
    assert ds.filter(lit(True)).count() == 3
    assert ds.filter(lit(False)).take_all() == []
    made = ds.with_column("x", lit(7))
    assert made.take_all() == [{"x": 7}] * 3
    assert made.schema().names == ["x"]
    assert made.drop_columns("x").with_column("y", lit("a")).count() == 3


# Columns ------------------------------------------------------------------------------------


def test_columns_are_added_at_the_end_or_replaced_in_place():
    ds = ms.from_items([{"a": 1, "b": 2}])
    assert ds.with_column("c", col("a") + col("b")).take_all() == [{"a": 1, "b": 2, "c": 3}]
    swapped = ds.with_columns({"a": col("b"), "b": col("a")})
    assert swapped.take_all() == [{"a": 2, "b": 1}]
    assert list(swapped.take(1)[0]) == ["a", "b"]
    made = ds.with_columns((col("a") * 2).alias("d"), {"e": lit("x")}, col("b"))
    assert made.take_all() == [{"a": 1, "b": 2, "d": 2, "e": "x"}]


def test_the_schema_and_the_rows_are_known_without_running():
    def never(row):
        raise AssertionError("it ran")

    ds = (
        ms.range(5).with_column("half", col("id") / 2).with_column("text", col("id").cast("string"))
    )
    assert repr(ds).endswith("rows=5, id: int64, half: double, text: string)")
    assert ds.count() == 5
    size = when(col("half") > 1).then("large").otherwise("small")
    assert ds.with_column("size", size).filter(col("size") == "large").schema().types == [
        pa.int64(),
        pa.float64(),
        pa.string(),
        pa.large_string(),
    ]
    unknown = ms.range(5).map(never).with_column("x", col("anything"))
    assert repr(unknown).endswith("rows=5, ?)")


def test_what_the_plan_says_is_what_comes():
    made = [col("id") + 1, col("id") / 2, col("id").cast("int8"), lit("a"), lit(None)]
    made += [col("id") > 1, col("id").cast("string").str.split("0"), when(col("id") > 0).then(1)]
    ds = ms.range(3).with_columns({str(number): each for number, each in enumerate(made)})
    assert table_of(ds).schema.equals(ds._plan.schema())


def test_columns_of_different_blocks_meet_as_blocks_do():
    first = ms.from_arrow(pa.table({"x": pa.array([1], pa.int8())}))
    second = ms.from_arrow(pa.table({"x": pa.nulls(1)}))
    third = ms.from_arrow(pa.table({"x": [2.5]}))
    made = first.union(second, third).with_column("y", col("x") * 2)
    assert {row["y"] for row in made.take_all()} == {2.0, None, 5.0}


# Functions ----------------------------------------------------------------------------------


@udf("int64")
class Counted:
    made = 0

    def __init__(self, amount):
        type(self).made += 1
        self.amount = amount

    def __call__(self, array):
        return [value + self.amount for value in array.to_pylist()]


def test_classes_run_on_actors_that_construct_them_once():
    function = Counted._function.function
    function.made = 0
    ds = ms.range(100).with_column("x", Counted(5)(col("id")), concurrency=1)
    assert [row["x"] for row in ds.take_all()] == list(range(5, 105))
    assert function.made == 1
    kept = ms.range(9).filter(Counted(1)(col("id")) > 8, concurrency=1)
    assert kept.take_all() == [{"id": 8}]
    assert [op.kind for op in to_physical(kept._plan).ops] == ["source", "actors"]


def test_what_a_function_raises_ends_the_run():
    @udf("int64")
    def broken(array):
        raise ValueError("mine")

    with pytest.raises(ms.UserCodeError, match="broken raised ValueError: mine") as told:
        ms.range(3).with_column("x", broken(col("id"))).take_all()
    assert told.value.operator == "WithColumns(x)"


# Errors -------------------------------------------------------------------------------------


def test_errors_come_at_the_call_where_columns_are_known():
    ds = ms.range(3)
    for ask in (
        lambda: ds.filter(col("nope") > 1),
        lambda: ds.with_column("x", col("nope")),
        lambda: ds.with_column("x", col("id")).drop_columns("x").filter(col("x") > 1),
    ):
        with pytest.raises(ms.SchemaError, match=r"no column '(nope|x)'; the columns are 'id'"):
            ask()
    with pytest.raises(ms.SchemaError, match="does not fit the columns 'id': int64"):
        ds.with_column("x", col("id") + "a")
    with pytest.raises(ms.SchemaError, match="it is int64, and not bool"):
        ds.filter(col("id"))


def test_errors_come_in_the_run_where_columns_are_not_known():
    ds = ms.range(3).map(lambda row: row)
    for made in (ds.filter(col("nope") > 1), ds.with_column("x", col("nope"))):
        with pytest.raises(ms.SchemaError, match="no column 'nope'; the columns are 'id'"):
            made.take_all()


def test_overflow_ends_the_run_and_names_the_expression():
    ds = ms.range(3).with_columns({"fine": col("id") + 1, "wrong": col("id") * 2**62})
    with pytest.raises(ms.UserCodeError, match=r"\(col\('id'\) \* 4611686018427387904\).*overflow"):
        ds.take_all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda ds: ds.filter(), "a function or an expression, and one of them"),
        (lambda ds: ds.filter(len, col("id") > 1), "a function or an expression, and one of them"),
        (lambda ds: ds.filter(expr="id > 1"), "expr='id > 1' must be an expression"),
        (lambda ds: ds.filter(col("id") > 1, fn_args=[1]), r"fn_args=\[1\] is for functions"),
        (lambda ds: ds.filter(col("id") > 1, concurrency=(1, 2)), "concurrency"),
        (lambda ds: ds.with_column(1, col("id")), "column_name=1 must be a str"),
        (lambda ds: ds.with_column("x", 5), "expr=5 must be an Expr"),
        (lambda ds: ds.with_columns({"x": 5}), r"exprs\['x'\]=5 must be an Expr"),
        (lambda ds: ds.with_columns(col("id") + 1), "exprs=.* must be a dict"),
        (lambda ds: ds.with_columns({"x": lit(1)}, lit(2).alias("x")), "'x' is there twice"),
    ],
)
def test_wrong_arguments(wrong, words):
    with pytest.raises(ms.ArgumentError, match=words):
        wrong(ms.range(3))


def test_datasets_with_expressions_copy_and_pickle():
    ds = ms.range(5).filter(col("id") > 1).with_column("x", -col("id"))
    wanted = [{"id": n, "x": -n} for n in (2, 3, 4)]
    for made in (ds, copy.deepcopy(ds), pickle.loads(pickle.dumps(ds))):
        assert made.take_all() == wanted
    from ray import cloudpickle  # As the Ray backend does it.

    counted = ms.range(2).with_column("x", Counted(3)(col("id")))
    assert cloudpickle.loads(cloudpickle.dumps(counted)).take_all()[1] == {"id": 1, "x": 4}


# Filters that readers take ------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    rows = {"a": range(100), "b": [float(n) if n % 3 else math.nan for n in range(100)]}
    pq.write_table(
        pa.table({**rows, "s": ["x", None] * 50}), tmp_path / "f.parquet", row_group_size=10
    )
    return tmp_path


def test_a_filter_moves_into_the_reader_and_explain_shows_it(files, capsys):
    ds = ms.read_parquet(files).filter(col("a") > 97)
    ds.explain()
    assert "TaskPoolMap[ReadParquet.filter(col('a') > 97)]" in capsys.readouterr().out
    assert names_of(ds) == ["ReadParquet.filter(col('a') > 97)"]
    assert [row["a"] for row in ds.take_all()] == [98, 99]
    assert ds.schema().names == ["a", "b", "s"]


def test_a_filter_moves_past_operators_that_only_choose_and_name_columns(files):
    ds = ms.read_parquet(files)
    for made, names, wanted in [
        (
            ds.select_columns(["a", "s"]).filter(col("a") > 98).select_columns("a"),
            ["ReadParquet.filter(col('a') > 98)"],
            [{"a": 99}],
        ),
        (
            ds.rename_columns({"a": "b", "b": "a"}).filter(col("b") > 98).select_columns("b"),
            ["ReadParquet.filter(col('a') > 98)->Rename(b, a)->Select(b)"],
            [{"b": 99}],
        ),
        (
            ds.drop_columns("b").filter(col("a") > 97).filter(col("s") == "x"),
            ["ReadParquet.filter(col('a') > 97).filter(col('s') == 'x')->Drop(b)"],
            [{"a": 98, "s": "x"}],
        ),
    ]:
        assert names_of(made) == names
        assert made.take_all() == wanted


def test_filters_move_past_columns_and_filters_that_have_a_value_for_every_row(files):
    ds = ms.read_parquet(files)
    for made, names in [
        (
            ds.with_column("c", col("b") * 2).filter(col("a") > 97).filter(col("s") == "x"),
            "ReadParquet.filter(col('a') > 97).filter(col('s') == 'x')->WithColumns(c)",
        ),
        (
            ds.with_columns({"c": col("a"), "a": col("b")}).filter(col("c") == 98),
            "ReadParquet.filter(col('a') == 98)->WithColumns(c, a)",
        ),
        (
            ds.filter(10 // (col("a") + 1) > 0).filter(col("a") == 8).rename_columns({"a": "z"}),
            "ReadParquet.filter((10 // (col('a') + 1)) > 0).filter(col('a') == 8)->Rename(z)",
        ),
    ]:
        assert names_of(made) == [names]
        assert made.count() == 1


def test_what_may_fail_is_computed_of_the_rows_that_it_was_meant_for(files):
    ds = ms.read_parquet(files)
    # The second filter never sees the row that it cannot be computed of.
    made = ds.filter(col("a") > 0).filter(10 // col("a") > 4)
    assert names_of(made) == ["ReadParquet.filter(col('a') > 0)->Filter((10 // col('a')) > 4)"]
    assert made.count() == 2
    # Here the column does, whatever is left out behind it, from whatever source.
    for source in (ds, ms.from_arrow(pq.read_table(files))):
        with pytest.raises(ms.UserCodeError, match="divide by zero"):
            source.with_column("c", 10 // col("a")).filter(col("a") > 0).count()


def test_errors_of_a_filter_are_those_that_it_has_in_memory(files):
    told = "((10 // col('x')) > 4) cannot be computed for all rows: divide by zero"
    condition = 10 // col("x") > 4
    ds = ms.read_parquet(files).rename_columns({"a": "x"}).filter(condition)
    for made in (ds, ms.from_arrow(pa.table({"x": [0]})).filter(condition)):
        with pytest.raises(ms.UserCodeError) as raised:
            made.count()
        assert raised.value.message == told
    with pytest.raises(ms.UserCodeError) as raised:
        ds.count()
    assert raised.value.file is not None
    assert raised.value.operator == "ReadParquet.filter((10 // col('a')) > 4)"


def test_a_filter_stays_where_it_must(files):
    ds = ms.read_parquet(files)
    for made in (
        ds.with_column("a", col("a") * 2).filter(col("a") > 190),
        ds.map(lambda row: row).filter(col("a") > 95),
        ds.filter(Counted(0)(col("a")) > 95),
        ds.filter(udf("bool")(lambda array: [v > 95 for v in array.to_pylist()])(col("a"))),
        ds.limit(99).filter(col("a") > 95),
        ds.rename_columns(["x", "y", "z"]).filter(col("x") > 95),
        ds.filter(col("a") > 95, num_cpus=2),
    ):
        assert ".filter(" not in "".join(names_of(made))
        assert made.count() in (3, 4)


def test_a_filter_joins_the_one_that_the_reader_was_given(files):
    import pyarrow.compute as pc

    ds = ms.read_parquet(files, filter=pc.field("a") < 50, columns=["b", "a"]).filter(col("a") > 47)
    assert [(row["a"], row["b"]) for row in ds.take_all()][-1] == (49, 49.0)
    assert ds.count() == 2
    assert ds.schema().names == ["b", "a"]


def test_columns_of_paths_can_be_filtered(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        pq.write_table(pa.table({"x": [year]}), tmp_path / f"year={year}" / "f.parquet")
    ds = ms.read_parquet(tmp_path).filter(col("year") == 2024)
    assert [row["x"] for row in ds.take_all()] == [2024]
    assert len(names_of(ds)) == 1


def test_a_filter_holds_for_files_of_other_types(tmp_path):
    pq.write_table(pa.table({"x": pa.array([1, 2], pa.int8())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": pa.array([2**60, 3])}), tmp_path / "b.parquet")
    ds = ms.read_parquet(tmp_path).filter((col("x") * 7) % 2 == 0)
    assert sorted(row["x"] for row in ds.take_all()) == [2, 2**60]
    with pytest.raises(ms.UserCodeError, match=r"col\('x'\) \* 16.* cannot.*overflow"):
        ms.read_parquet(tmp_path).filter(col("x") * 16 > 0).take_all()


NAN = math.nan
POOLS = {
    "x": (pa.float64(), [NAN, None, 0.0, -0.0, 1.0, 2.5, math.inf]),
    "y": (pa.float32(), [NAN, None, -0.0, 1.5, 2.0]),
    "i": (pa.int32(), [None, -1, 0, 1, 2**24 + 1]),
    "u": (pa.uint64(), [None, 0, 1, 2**64 - 1]),
    "s": (pa.string(), [None, "", "a", "B"]),
}


@st.composite
def comparisons(draw):
    name = draw(st.sampled_from(list(POOLS)))
    field = col(name)
    values = [value for value in POOLS[name][1] if value is not None]
    value = draw(st.sampled_from(values))
    kinds = {
        "==": field == value,
        "!=": field != value,
        "<": field < value,
        ">=": field >= value,
        "null": field.is_null(),
        "in": field.is_in([value, None]),
        "not in": field.not_in([value]),
    }
    if name == "s":
        kinds["lower"] = field.str.lower() == "b"
    else:
        kinds["float"] = field > 0.5
        kinds["computed"] = field / 2 >= 0.5
        kinds["rest"] = field % 2 == 1
        kinds["filled"] = field.fill_null(1) == 1
    if name in "xy":
        kinds["nan"] = field.is_nan()
        kinds["other"] = col("x") != col("y")
    return kinds[draw(st.sampled_from(sorted(kinds)))]


CONDITIONS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda expression: ~expression),
    ),
    max_leaves=4,
)
ROWS = st.lists(
    st.fixed_dictionaries({name: st.sampled_from(pool) for name, (_, pool) in POOLS.items()}),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, CONDITIONS)
def test_the_reader_keeps_exactly_the_rows_of_the_filter_in_memory(
    tmp_path_factory, rows, condition
):
    columns = {name: pa.array([row[name] for row in rows], POOLS[name][0]) for name in POOLS}
    table = pa.table({"n": range(len(rows)), **columns})
    path = tmp_path_factory.mktemp("files") / "f.parquet"
    pq.write_table(table, path, row_group_size=2)
    pushed = ms.read_parquet(path).filter(condition)
    assert len(names_of(pushed)) == 1
    wanted = ms.from_arrow(table).filter(condition)
    assert numbers_kept(pushed) == numbers_kept(wanted)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.lists(CONDITIONS, min_size=2, max_size=3), st.booleans())
def test_several_filters_keep_exactly_the_rows_that_they_keep_in_memory(
    tmp_path_factory, rows, conditions, has_column
):
    columns = {name: pa.array([row[name] for row in rows], POOLS[name][0]) for name in POOLS}
    table = pa.table({"n": range(len(rows)), **columns})
    path = tmp_path_factory.mktemp("files") / "f.parquet"
    pq.write_table(table, path, row_group_size=2)
    kept = []
    for made in (ms.read_parquet(path), ms.from_arrow(table, override_num_blocks=1)):
        for condition in conditions:
            made = made.with_column("y", col("x") + 0.5) if has_column else made
            made = made.filter(condition)
        kept.append(numbers_kept(made))
    assert kept[0] == kept[1]


def numbers_kept(dataset) -> list[int] | None:
    """The rows that a filter keeps; `None` if it cannot be computed for all of them."""
    try:
        return [row["n"] for row in dataset.take_all()]
    except ms.UserCodeError:
        return None


# The page of the docs -----------------------------------------------------------------------


def test_the_examples_of_the_page_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    found = doctest.testfile(str(DOCS), module_relative=False, optionflags=flags)
    assert found.attempted > 10
    assert found.failed == 0


def test_the_examples_of_the_functions_work():
    result = doctest.testmod(expressions)
    assert result.attempted >= 6
    assert result.failed == 0


def test_expressions_are_all_documented():
    names = ("str", "list", "arr", "map", "struct", "dt", "url", "image")
    spaces = (col("x"), *(getattr(col("x"), name) for name in names))
    bare = [
        f"{type(space).__name__}.{name}"
        for space in spaces
        for name in dir(space)
        if not name.startswith("_") and callable(getattr(type(space), name, None))
        if not getattr(type(space), name).__doc__
    ]
    assert bare == []


def test_a_filter_sees_only_the_rows_that_the_one_before_keeps(tmp_path):
    pq.write_table(pa.table({"n": [0, 1, 5]}), tmp_path / "1.parquet")
    read = ms.read_parquet(str(tmp_path))
    first = read.filter(col("n") != 0)
    assert first.filter(10 // col("n") > 5).take_all() == [{"n": 1}]
    assert first.select_columns("n").filter(10 // col("n") > 5).take_all() == [{"n": 1}]
    given = ms.read_parquet(str(tmp_path), filter=pc.field("n") != 0)
    assert given.filter(10 // col("n") > 5).take_all() == [{"n": 1}]


# Several columns ----------------------------------------------------------------------------


STRUCTS = pa.struct({"a": pa.int64(), "b": pa.struct({"c": pa.string()})})


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.none()
        | st.fixed_dictionaries(
            {
                "a": st.none() | st.integers(-(2**63), 2**63 - 1),
                "b": st.none() | st.fixed_dictionaries({"c": st.none() | st.text(max_size=3)}),
            }
        ),
        min_size=1,
        max_size=8,
    ),
    skipped=st.integers(0, 3),
)
def test_fields_of_structs_become_columns(rows, skipped):
    table = pa.table({"n": range(len(rows)), "s": pa.array(rows, STRUCTS)}).slice(skipped)
    made = ms.from_arrow(table).with_columns(unnest(col("s")), {"m": col("n") + 1}, star())
    wanted = [
        {"n": n, "s": row, "a": row and row["a"], "b": row and row["b"], "m": n + 1}
        for n, row in enumerate(rows)
    ][skipped:]
    assert made.take_all() == wanted
    assert made.schema().names == ["n", "s", "a", "b", "m"]


def test_structs_of_a_function_are_computed_once_and_replace_columns():
    calls = []

    @udf(pa.struct({"id": pa.string(), "twice": pa.int64()}))
    def both(numbers):
        calls.append(len(numbers))
        return [{"id": str(each), "twice": 2 * each} for each in numbers.to_pylist()]

    ds = ms.range(2, override_num_blocks=1).with_columns(unnest(both(col("id"))))
    assert ds.schema().types == [pa.string(), pa.int64()]
    assert ds.take_all() == [{"id": "0", "twice": 0}, {"id": "1", "twice": 2}]
    assert calls == [2]


def test_what_cannot_be_unnested():
    ds = ms.from_items([{"s": {"x": 1}, "n": 1}]).materialize()
    with pytest.raises(ms.SchemaError, match=r"unnest\(col\('n'\)\) is for structs.*int64"):
        ds.with_columns(unnest(col("n")))
    with pytest.raises(ms.SchemaError, match="makes the column 'x' twice"):
        ds.with_columns({"x": col("n")}, unnest(col("s")))
    with pytest.raises(ms.ArgumentError, match="expr"):
        unnest(unnest(col("s")))
    with pytest.raises(ms.ArgumentError, match="expr"):
        ds.with_column("x", unnest(col("s")))
    with pytest.raises(ms.ArgumentError, match="no value of a column"):
        col("n") + star()


def test_structs_that_are_all_null_have_no_fields():
    ds = ms.from_items([{"n": 1, "s": None}]).with_columns(unnest(col("s")))
    assert ds.take_all() == [{"n": 1, "s": None}]


def test_a_filter_on_a_field_waits_for_it(tmp_path):
    pq.write_table(pa.table({"x": [1, 2], "s": [{"x": 5}, {"x": 1}]}), tmp_path / "a.parquet")
    ds = ms.read_parquet(tmp_path).with_columns(unnest(col("s"))).filter(col("x") > 3)
    assert ds.take_all() == [{"x": 5, "s": {"x": 5}}]


def test_pyarrow_udf_gets_arrow_arrays():
    @pyarrow_udf("int64")
    def next_of(numbers, by):
        assert isinstance(numbers, pa.Array)
        return pc.add(numbers, by)

    made = ms.from_items([{"n": 1}, {"n": None}]).with_column("m", next_of(col("n"), 2))
    assert made.take_all() == [{"n": 1, "m": 3}, {"n": None, "m": None}]


# What is drawn ------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(0, 300), blocks=st.integers(1, 4))
def test_each_row_has_a_uuid_of_its_own(rows, blocks):
    ds = ms.range(rows, override_num_blocks=blocks).with_column("key", uuid())
    assert ds.schema().types == [pa.int64(), pa.string()]
    keys = [row["key"] for row in ds.take_all()]
    assert len(set(keys)) == len(keys) == rows
    for key in keys:
        made = standard.UUID(key)
        assert (str(made), made.version, made.variant) == (key, 4, standard.RFC_4122)


def test_uuids_are_drawn_in_each_run_and_once_for_each_expression():
    drawn = uuid()
    ds = ms.range(3).with_columns({"a": drawn, "b": drawn.str.replace("-", ""), "c": uuid()})
    first, second = ds.take_all(), ds.take_all()
    assert not {row["a"] for row in first} & {row["a"] for row in second}
    for row in first:
        assert row["a"].replace("-", "") == row["b"]
        assert row["a"] != row["c"]
    assert repr(uuid()) == "uuid()"


def test_every_bit_of_a_uuid_but_version_and_variant_is_drawn():
    made = ms.range(2000).with_column("key", uuid())
    numbers = [standard.UUID(row["key"]).int for row in made.take_all()]
    is_set, is_clear = 0, 0
    for number in numbers:
        is_set, is_clear = is_set | number, is_clear | ~number
    both = is_set & is_clear & (2**128 - 1)
    assert both == (2**128 - 1) ^ (0xF << 76) ^ (0x3 << 62)
