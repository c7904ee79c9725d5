"""`limit`, `union` and `zip`: their rows and columns, and what is known without running."""

from __future__ import annotations

import pytest

import millstream as ms
from millstream.errors import ArgumentError, SchemaError, WorkerError


def ids(dataset):
    return [row["id"] for row in dataset.take_all()]


def never(_):
    raise AssertionError("it must not run")


@pytest.mark.parametrize(("rows", "limit"), [(10, 0), (10, 3), (10, 10), (10, 99), (0, 5)])
def test_a_limit_gives_the_first_rows(rows, limit):
    ds = ms.range(rows, override_num_blocks=4).limit(limit)
    assert ids(ds.map(lambda row: row)) == list(range(min(rows, limit)))
    assert ds.count() == min(rows, limit)
    assert ids(ds) == list(range(min(rows, limit)))


def test_a_limit_of_a_limit_is_the_smaller_one():
    assert ids(ms.range(100).limit(7).limit(50).limit(5)) == list(range(5))


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True, None])
def test_a_limit_is_a_count(limit):
    with pytest.raises(ArgumentError, match=r"limit=.* must be a whole number of at least 0"):
        ms.range(3).limit(limit)


def test_what_a_limit_does_not_want_does_not_fail():
    def until_three(row):
        if row["id"] >= 3:
            raise ValueError("too far")
        return row

    ds = ms.range(40, override_num_blocks=40).map(until_three, concurrency=1)
    assert ids(ds.limit(3)) == [0, 1, 2]


def test_a_union_puts_rows_behind_rows():
    first, second = ms.range(3), ms.range(5).filter(lambda row: row["id"] > 2)
    assert ids(first.union(second, first)) == [0, 1, 2, 3, 4, 0, 1, 2]
    assert ids(first.union()) == [0, 1, 2]
    assert (first.union(first).count(), first.union(second).count()) == (6, 5)


def test_a_union_of_different_columns_has_all_of_them():
    left = ms.from_items([{"a": 1}])
    right = ms.from_items([{"b": "x"}])
    assert left.union(right).take_all() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    assert left.union(right).schema().names == ["a", "b"]


def test_a_union_of_types_that_do_not_fit_is_refused_at_the_call():
    with pytest.raises(SchemaError, match="column 'a' is"):
        ms.from_items([{"a": 1}]).union(ms.from_items([{"a": "x"}]))


def test_a_zip_puts_columns_beside_columns():
    left = ms.range(6, override_num_blocks=3)
    right = ms.range(6, override_num_blocks=2).map(lambda row: {"id": -row["id"], "b": True})
    rows = left.zip(right, left).take_all()
    assert rows == [{"id": n, "id_1": -n, "b": True, "id_2": n} for n in range(6)]
    assert left.zip(left).schema().names == ["id", "id_1"]
    assert left.zip(left).count() == 6
    assert ids(left.zip()) == list(range(6))


def test_a_zip_out_of_order_still_fits_row_to_row(context):
    context.execution_options.preserve_order = False
    left = ms.range(200, override_num_blocks=20).map(lambda row: row)
    rows = left.zip(ms.range(200, override_num_blocks=7)).take_all()
    assert sorted(row["id"] for row in rows) == list(range(200))
    assert all(row["id"] == row["id_1"] for row in rows)


def test_a_zip_of_rows_without_columns_keeps_the_rows():
    none = ms.range(4).select_columns([])
    assert none.zip(none).count() == 4
    assert none.zip(ms.range(4)).take_all() == [{"id": n} for n in range(4)]


def test_a_zip_of_different_numbers_of_rows_is_an_error():
    ds = ms.range(5).zip(ms.range(4))
    with pytest.raises(WorkerError, match="input 1 has 4, input 0 has 5"):
        ds.take_all()
    with pytest.raises(WorkerError, match="different numbers of rows"):
        ds.count()


@pytest.mark.parametrize("join", [ms.Dataset.union, ms.Dataset.zip])
def test_what_is_joined_must_be_datasets(join):
    with pytest.raises(ArgumentError, match=r"other=\[1\] must be a Dataset"):
        join(ms.range(3), [1])


def test_joins_take_limits_and_further_joins():
    both = ms.range(4).union(ms.range(3).limit(2)).limit(5)
    assert ids(both) == [0, 1, 2, 3, 0]
    rows = both.zip(ms.range(9).limit(5)).map(lambda row: {"sum": row["id"] + row["id_1"]})
    assert [row["sum"] for row in rows.take_all()] == [0, 2, 4, 6, 4]


def test_nothing_runs_before_it_is_asked_for():
    ds = ms.range(3).map(never)
    assert ds.union(ds).zip(ds).limit(1).schema(fetch_if_missing=False) is None


def test_a_join_reads_all_files(tmp_path):
    ms.range(3, override_num_blocks=3).write_parquet(tmp_path / "a")
    ms.range(2, override_num_blocks=2).write_parquet(tmp_path / "b")
    both = ms.read_parquet(tmp_path / "a").union(ms.read_parquet(tmp_path / "b"))
    assert len(both.input_files()) == 5
    both.limit(4).write_parquet(tmp_path / "c")
    assert ids(ms.read_parquet(tmp_path / "c")) == [0, 1, 2, 0]


def test_materialized_datasets_join():
    kept = ms.range(5, override_num_blocks=2).materialize()
    assert ids(kept.union(kept).limit(7)) == [0, 1, 2, 3, 4, 0, 1]


def test_plans_show_where_inputs_come_together(capsys):
    ds = ms.range(2).union(ms.range(3)).limit(4)
    assert "(ReadRange, ReadRange) -> Union -> limit=4, rows=4" in repr(ds)
    ds.explain()
    flow = "TaskPoolMap[ReadRange], Input -> TaskPoolMap[ReadRange]) -> UnionOperator[Union]"
    assert f"(Input -> {flow} -> LimitOperator[limit=4]" in capsys.readouterr().out
