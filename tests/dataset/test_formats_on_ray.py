"""Formats, sources and sinks of one's own, databases and expressions on Ray: all of them travel."""

from __future__ import annotations

import sqlite3
from functools import partial

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

import millstream as ms
from millstream.context import DataContext
from millstream.expressions import col, star, udf, unnest, uuid
from millstream.io import file_list, files

pytestmark = pytest.mark.ray

ROWS = [{"number": number, "name": f"row {number}"} for number in range(200)]


@pytest.fixture(autouse=True)
def on_ray(ray_cluster, monkeypatch):
    context = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)


@pytest.fixture
def ds():
    return ms.from_items(ROWS, override_num_blocks=4)


@pytest.mark.parametrize("format", ["csv", "json", "arrow", "orc"])
def test_what_workers_write_workers_read(format, ds, tmp_path):
    getattr(ds, f"write_{format}")(str(tmp_path), max_rows_per_file=60)
    read = getattr(ms, f"read_{format}")(str(tmp_path))
    assert sorted(read.take_all(), key=lambda row: row["number"]) == ROWS


def test_workers_read_what_is_still_being_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(file_list, "PAGE_FILES", 5)
    monkeypatch.setattr(files, "FILES_AT_ONCE", 10)
    for number in range(53):
        (tmp_path / f"{number:02}.bin").write_bytes(b"%d" % number)
    ds = ms.read_binary_files(tmp_path)
    assert ds._plan.start.source.units.is_open
    assert [int(row["bytes"]) for row in ds.take_all()] == list(range(53))


def test_options_of_pyarrow_travel(ds, tmp_path):
    write = pa_csv.WriteOptions(delimiter=";", include_header=False)
    ds.write_csv(str(tmp_path), write_options=write)
    parse, read = pa_csv.ParseOptions(delimiter=";"), pa_csv.ReadOptions(column_names=["n", "t"])
    back = ms.read_csv(str(tmp_path), parse_options=parse, read_options=read)
    assert back.sum("n") == sum(row["number"] for row in ROWS)


def test_records_go_both_ways(ds, tmp_path):
    schema = pa.schema({"number": pa.int64(), "name": pa.string()})
    ds.write_tfrecords(str(tmp_path / "records"))
    back = ms.read_tfrecords(str(tmp_path / "records"), schema=schema).take_all()
    assert sorted(back, key=lambda row: row["number"]) == ROWS
    ds.rename_columns({"number": "cls", "name": "txt"}).write_webdataset(str(tmp_path / "tars"))
    assert ms.read_webdataset(str(tmp_path / "tars")).count() == len(ROWS)


def test_a_database_is_written_and_read_in_the_workers(ds, tmp_path):
    connect = partial(sqlite3.connect, str(tmp_path / "data.db"))
    connection = connect()
    with connection:
        connection.execute("CREATE TABLE t (number INTEGER, name TEXT)")
    connection.close()
    ds.write_sql("INSERT INTO t VALUES (?, ?)", connect, concurrency=1)
    assert ms.read_sql("SELECT * FROM t ORDER BY number", connect).take_all() == ROWS


def test_a_source_and_a_sink_of_ones_own_travel():
    class Numbers(ms.Datasource):
        def get_read_tasks(self, parallelism):
            def task(start):
                return ms.ReadTask(lambda: [pa.table({"n": [start, start + 1]})])

            return [task(start) for start in range(0, 10, 2)]

    class Sum(ms.Datasink):
        def write(self, blocks, ctx):
            return sum(sum(table.column("n").to_pylist()) for table in blocks)

        def on_write_complete(self, write_result):
            totals.append((write_result.num_rows, sum(write_result.write_returns)))

    totals = []
    ms.read_datasource(Numbers()).write_datasink(Sum())
    assert totals == [(10, 45)]


def test_several_columns_of_one_expression_travel(ds):
    @udf(pa.struct({"half": pa.float64(), "odd": pa.bool_()}))
    def parts(numbers):
        return [{"half": each / 2, "odd": each % 2 == 1} for each in numbers.to_pylist()]

    made = ds.with_columns(star(), unnest(parts(col("number"))), {"key": uuid()}).take_all()
    assert len({row.pop("key") for row in made}) == len(ROWS)
    wanted = [{**row, "half": row["number"] / 2, "odd": row["number"] % 2 == 1} for row in ROWS]
    assert sorted(made, key=lambda row: row["number"]) == wanted


def test_expressions_travel(ds):
    @udf(return_dtype=pa.int64())
    def doubled(values):
        return pa.array([value * 2 for value in values.to_pylist()])

    found = ds.filter(col("number") >= 197).with_column("twice", doubled(col("number")))
    assert [row["twice"] for row in found.take_all()] == [394, 396, 398]


def test_a_dataset_is_an_arrow_stream(ds):
    assert pl.DataFrame(ds)["number"].sum() == sum(row["number"] for row in ROWS)
    assert ms.from_polars(pl.DataFrame(ROWS)).count() == len(ROWS)
