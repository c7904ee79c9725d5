"""Written rows come back as they were, and a run that fails leaves nothing behind."""

from __future__ import annotations

import datetime
import decimal
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millstream as ms


def visible(folder):
    return sorted(name for name in os.listdir(folder))


def test_rows_come_back_as_they_were(tmp_path):
    rows = [
        {
            "number": 1,
            "text": "a",
            "none": None,
            "day": datetime.date(2024, 2, 29),
            "time": datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
            "money": decimal.Decimal("1.10"),
            "list": [1, 2],
            "nested": {"a": [None, "b"]},
        },
        dict.fromkeys(["number", "text", "none", "day", "time", "money", "list", "nested"]),
    ]
    ms.from_items(rows).write_parquet(tmp_path / "out")
    assert ms.read_parquet(tmp_path / "out").take_all() == rows


def test_tensors_come_back_as_they_were(tmp_path):
    ds = ms.range(4).map_batches(
        lambda b: {"image": np.stack([np.full((2, 3), i, np.uint8) for i in b["id"]])}
    )
    ds.write_parquet(tmp_path / "out")
    images = [row["image"] for row in ms.read_parquet(tmp_path / "out").take_all()]
    assert [(image.shape, image.dtype, image[0, 0]) for image in images] == [
        ((2, 3), np.uint8, i) for i in range(4)
    ]


def test_the_order_of_the_rows_is_that_of_the_files(tmp_path):
    ms.range(1000, override_num_blocks=20).write_parquet(tmp_path / "out")
    assert len(visible(tmp_path / "out")) == 20
    rows = ms.read_parquet(tmp_path / "out").take_all()
    assert [row["id"] for row in rows] == list(range(1000))


def test_small_blocks_are_bundled_to_files_of_as_many_rows(tmp_path):
    ms.range(100, override_num_blocks=50).write_parquet(tmp_path / "out", min_rows_per_file=20)
    files = visible(tmp_path / "out")
    rows = [pq.read_metadata(tmp_path / "out" / name).num_rows for name in files]
    assert min(rows[:-1]) >= 20


def test_files_have_no_more_rows_than_asked_for(tmp_path):
    ms.range(100, override_num_blocks=1).write_parquet(tmp_path / "out", max_rows_per_file=30)
    files = visible(tmp_path / "out")
    assert [pq.read_metadata(tmp_path / "out" / n).num_rows for n in files] == [30, 30, 30, 10]


def test_partition_columns_become_folders(tmp_path):
    ms.range(10).map(lambda r: {"id": r["id"], "odd": r["id"] % 2}).write_parquet(
        tmp_path / "out", partition_cols=["odd"]
    )
    assert visible(tmp_path / "out") == ["odd=0", "odd=1"]
    back = ms.read_parquet(tmp_path / "out").filter(lambda row: int(row["odd"]) == 1)
    assert sorted(row["id"] for row in back.take_all()) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize(
    ("mode", "rows"), [("append", 5), ("overwrite", 2), ("ignore", 3), ("error", None)]
)
def test_modes_say_what_happens_to_what_is_there(tmp_path, mode, rows):
    ms.range(3).write_parquet(tmp_path / "out")
    if rows is None:
        with pytest.raises(ms.WriteError, match="has data already"):
            ms.range(2).write_parquet(tmp_path / "out", mode=mode)
        rows = 3
    else:
        ms.range(2).write_parquet(tmp_path / "out", mode=mode)
    assert ms.read_parquet(tmp_path / "out").count() == rows


def test_a_dataset_may_overwrite_its_own_source(tmp_path):
    ms.range(10).write_parquet(tmp_path / "out")
    ms.read_parquet(tmp_path / "out").filter(lambda row: row["id"] < 4).write_parquet(
        tmp_path / "out", mode="overwrite"
    )
    assert ms.read_parquet(tmp_path / "out").count() == 4


def test_an_empty_dataset_keeps_its_columns(tmp_path):
    ms.range(0).write_parquet(tmp_path / "out")
    back = ms.read_parquet(tmp_path / "out")
    assert (back.count(), back.columns()) == (0, ["id"])


def test_a_run_that_fails_leaves_nothing_behind(tmp_path):
    ms.range(3).write_parquet(tmp_path / "out")
    before = visible(tmp_path / "out")

    def late(row):
        return row if row["id"] < 90 else 1 / 0

    ds = ms.range(100, override_num_blocks=100).map(late)
    for mode in ["append", "overwrite"]:
        with pytest.raises(ms.UserCodeError):
            ds.write_parquet(tmp_path / "out", mode=mode)
        assert visible(tmp_path / "out") == before
    with pytest.raises(ms.UserCodeError):
        ds.write_parquet(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


def test_relative_paths_are_those_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ms.range(3).write_parquet("out")
    assert ms.read_parquet("out").count() == 3
    assert ms.read_parquet(["out", "out"]).count() == 6
    assert all(os.path.isabs(path) for path in ms.read_parquet("out").input_files())


def test_a_write_after_a_function_is_one_operator_with_it(tmp_path):
    ds = ms.range(10).map(lambda row: row)
    ds.write_parquet(tmp_path / "out")
    assert "TaskPoolMap[ReadRange->Map(<lambda>)->WriteParquet]" in ds.stats()


def test_materialized_blocks_are_written(tmp_path):
    ms.range(10).materialize().write_parquet(tmp_path / "out")
    table = pq.read_table(tmp_path / "out")
    assert table.equals(pa.table({"id": list(range(10))}))


def test_few_rows_are_one_file(tmp_path):
    ms.range(100).map(lambda row: row).write_parquet(tmp_path / "out")
    assert len(visible(tmp_path / "out")) == 1
    assert ms.read_parquet(tmp_path / "out").take_all() == ms.range(100).take_all()


def test_files_of_other_types_are_written_again_with_those_of_all(tmp_path):
    def mixed(row):
        return {"id": row["id"], "x": None if row["id"] < 3 else row["id"] / 2}

    ms.range(8, override_num_blocks=4).map(mixed).write_parquet(tmp_path / "out")
    files = visible(tmp_path / "out")
    assert len(files) == 4
    assert {pq.read_schema(tmp_path / "out" / name).field("x").type for name in files} == {
        pa.float64()
    }
    table = pq.read_table(tmp_path / "out")
    assert table["id"].to_pylist() == list(range(8))
    assert table["x"].to_pylist() == [None] * 3 + [id / 2 for id in range(3, 8)]


def test_types_that_no_type_holds_leave_nothing_behind(tmp_path):
    ds = ms.range(8, override_num_blocks=8).map(lambda r: {"x": "a" if r["id"] == 7 else r["id"]})
    for mode in ["append", "overwrite"]:
        with pytest.raises(ms.SchemaError, match=r"'x'.*int64.*string"):
            ds.write_parquet(tmp_path / "new" / "out", mode=mode)
        assert not (tmp_path / "new").exists()


def test_text_in_paths_stays_text_and_folders_have_the_rows_asked_for(tmp_path):
    ds = ms.range(60, override_num_blocks=6).map(
        lambda row: {"id": row["id"], "k": ["007", "7"][row["id"] % 2]}
    )
    ds.write_parquet(tmp_path / "out", partition_cols=["k"], min_rows_per_file=12)
    rows = ms.read_parquet(tmp_path / "out").take_all()
    assert {row["id"]: row["k"] for row in rows} == {i: ["007", "7"][i % 2] for i in range(60)}
    for folder in ["k=007", "k=7"]:
        files = sorted((tmp_path / "out" / folder).iterdir())
        counts = [pq.read_metadata(file).num_rows for file in files]
        assert sum(counts) == 30
        assert min(counts[:-1]) >= 12
