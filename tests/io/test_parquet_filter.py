"""A filter given to the reader keeps exactly the rows that it keeps in memory."""

from __future__ import annotations

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import plan_parquet, rows_of, table_of

NAN = float("nan")
TYPES = {
    "x": pa.float64(),
    "y": pa.float32(),
    "i": pa.int64(),
    "s": pa.string(),
    "b": pa.bool_(),
}
#: Few values, so that whole row groups often hold one value, or none.
POOLS = {
    "x": [NAN, None, 0.0, -0.0, 1.0, 2.0, float("inf"), float("-inf")],
    "y": [NAN, None, -0.0, 1.5, 3.0],
    "i": [None, -1, 0, 1, 2**53 + 1],
    "s": [None, "", "a", "b"],
    "b": [None, True, False],
}


def columns(rows: int) -> st.SearchStrategy[pa.Table]:
    lists = {
        name: st.lists(st.sampled_from(pool), min_size=rows, max_size=rows)
        for name, pool in POOLS.items()
    }
    return st.fixed_dictionaries(lists).map(
        lambda made: pa.table({name: pa.array(made[name], TYPES[name]) for name in made})
    )


@st.composite
def comparisons(draw) -> pc.Expression:
    name = draw(st.sampled_from(list(POOLS)))
    field = pc.field(name)
    values = [value for value in POOLS[name] if value is not None]
    value = pa.scalar(draw(st.sampled_from(values)), TYPES[name])
    compare = {
        "==": lambda: field == value,
        "!=": lambda: field != value,
        "<": lambda: field < value,
        "<=": lambda: field <= value,
        ">": lambda: field > value,
        ">=": lambda: field >= value,
        "is_null": lambda: field.is_null(),
        "is_null or NaN": lambda: field.is_null(nan_is_null=True),
        "is_valid": lambda: field.is_valid(),
        "isin": lambda: field.isin(pa.array(values, TYPES[name])),
    }
    if name in ("x", "y"):
        compare["is_nan"] = lambda: field.is_nan()
        compare["computed"] = lambda: pc.divide(pc.scalar(1.0), field) > value
        compare["twice"] = lambda: field + field != value
        compare["other"] = lambda: pc.field("x") != pc.field("y")
    return compare[draw(st.sampled_from(sorted(compare)))]()


EXPRESSIONS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda expression: ~expression),
    ),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(table=st.integers(0, 9).flatmap(columns), expression=EXPRESSIONS, group=st.integers(1, 4))
def test_a_filter_of_the_reader_keeps_the_rows_that_it_keeps_in_memory(table, expression, group):
    filesystem = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(fsspec.filesystem("memory")))
    pq.write_table(table, "/a.parquet", filesystem=filesystem, row_group_size=group)
    read = table_of(plan_parquet("/a.parquet", filesystem=filesystem, filter=expression))
    assert str(read.to_pylist()) == str(table.filter(expression).to_pylist())


@pytest.fixture
def groups(tmp_path):
    """A row group of 1.0 and 2.0, and one of 1.0 and NaN."""
    table = pa.table({"x": [1.0, 2.0, 1.0, NAN], "n": [0, 1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    return tmp_path


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        (pc.field("x").is_null(nan_is_null=True), [3]),
        (pc.field("x").is_nan(), [3]),
        (pc.field("x") != 1, [1, 3]),
        (~(pc.field("x") <= 2), [3]),
    ],
)
def test_what_nan_satisfies_is_found(groups, expression, rows):
    found = rows_of(plan_parquet(groups, filter=expression))
    assert [row["n"] for row in found] == rows


def read_groups(monkeypatch, source) -> list[int]:
    read = []
    batches = pq.ParquetFile.iter_batches

    def spy(file, *args, row_groups, **options):
        read.extend(row_groups)
        return batches(file, *args, row_groups=row_groups, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetFile, "iter_batches", spy)
        rows_of(source)
    return read


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        (pc.field("x") > 1.5, [0]),
        (~(pc.field("x") <= 2), [0, 1]),
        ((pc.field("x") != 1) & (pc.field("n") == 3), [1]),
        (pc.field("x") > 5, []),
    ],
)
def test_what_nan_cannot_satisfy_is_left_out(groups, monkeypatch, expression, read):
    assert read_groups(monkeypatch, plan_parquet(groups, filter=expression)) == read


def test_files_of_other_types_are_filtered_as_the_dataset_has_them(tmp_path):
    pq.write_table(pa.table({"x": ["5", "20"]}), tmp_path / "a.parquet")
    schema = pa.schema([("x", pa.int64())])
    source = plan_parquet(tmp_path, schema=schema, filter=pc.field("x") > 10)
    assert rows_of(source) == [{"x": 20}]
    assert source.schema == schema


def test_a_column_that_a_file_lacks_is_null_for_the_filter(tmp_path):
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [3], "y": [1.5]}), tmp_path / "b.parquet")
    source = plan_parquet(tmp_path, filter=pc.field("y").is_null(), columns=["x"])
    assert rows_of(source) == [{"x": 1}, {"x": 2}]
