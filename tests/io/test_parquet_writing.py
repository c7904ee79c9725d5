from __future__ import annotations

import datetime
import decimal
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import plan_parquet, plan_write_parquet, rows_of, table_of

from millstream.blocks import block
from millstream.errors import ArgumentError, SchemaError, WriteError
from millstream.io import commit as commits
from millstream.io import sink, task_files
from millstream.io.commit import STAGED_SCHEMA
from millstream.io.rewrites import in_order


def numbers(start: int, stop: int) -> pa.Table:
    return pa.table({"x": pa.array(range(start, stop), pa.int64())})


def run_task(transform, blocks: Iterable[pa.Table]) -> list[pa.Table]:
    """What a worker does, after the transform's journey to it."""
    return list(pickle.loads(pickle.dumps(transform)).open()(iter(blocks)))


def write(path, *tasks: list[pa.Table], schema=None, is_divided=True, **options) -> list[str]:
    """What a run does: first the tasks, then what is written again, then the commit."""
    transform, commit = plan_write_parquet(path, is_divided=is_divided, **options)
    assert commit.prepare()
    try:
        rows = [row for task in tasks for row in run_task(transform, task)]
        rewrites = transform.rewrites(rows)
        again = [row for each in pickle.loads(pickle.dumps(rewrites)) for row in each.read()]
        rows = in_order(rows, rewrites, again)
    except BaseException:
        commit.abort()
        raise
    return commit.commit(rows, schema)


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def ids(folder) -> list[int]:
    return sorted(row["x"] for row in rows_of(plan_parquet(folder)))


def test_a_task_writes_a_file_and_the_rows_come_back_in_order(tmp_path):
    files = write(tmp_path / "out", [numbers(0, 3), numbers(3, 5)], [numbers(5, 9)])
    assert [pq.read_metadata(file).num_rows for file in files] == [5, 4]
    assert files == sorted(files)
    assert [row["x"] for row in rows_of(plan_parquet(tmp_path / "out"))] == list(range(9))
    assert everything(tmp_path / "out") == [Path(file).name for file in files]


def test_tasks_say_what_they_wrote(tmp_path):
    transform, commit = plan_write_parquet(tmp_path)
    commit.prepare()
    (row,) = run_task(transform, [numbers(0, 3)])
    assert row.schema == STAGED_SCHEMA
    (said,) = row.to_pylist()
    assert said["rows"] == 3
    assert said["bytes"] == Path(said["path"]).stat().st_size
    commit.abort()


def test_nothing_is_visible_before_the_commit_nor_after_an_abort(tmp_path):
    target = tmp_path / "some" / "where"
    transform, commit = plan_write_parquet(target)
    commit.prepare()
    run_task(transform, [numbers(0, 3)])
    assert [path for path in target.iterdir() if not path.name.startswith(".")] == []
    commit.abort()
    assert everything(tmp_path) == []


def test_an_abort_leaves_what_was_there(tmp_path):
    write(tmp_path, [numbers(0, 3)])
    before = everything(tmp_path)
    for mode in ("append", "overwrite"):
        transform, commit = plan_write_parquet(tmp_path, mode=mode)
        commit.prepare()
        run_task(transform, [numbers(3, 5)])
        commit.abort()
        assert everything(tmp_path) == before


def test_what_a_dead_attempt_staged_is_removed(tmp_path):
    transform, commit = plan_write_parquet(tmp_path)
    commit.prepare()
    run_task(transform, [numbers(0, 3)])
    rows = run_task(transform, [numbers(0, 3)])

    def dying():
        yield numbers(0, 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_task(transform, dying())
    commit.commit(rows)
    assert ids(tmp_path) == [0, 1, 2]
    assert len(everything(tmp_path)) == 1


def test_errors_of_the_rows_before_are_not_those_of_the_writer(tmp_path):
    def failing():
        yield numbers(0, 3)
        raise ZeroDivisionError

    transform, commit = plan_write_parquet(tmp_path)
    commit.prepare()
    with pytest.raises(ZeroDivisionError):
        run_task(transform, failing())
    commit.abort()
    assert everything(tmp_path) == []


def test_no_rows_write_one_empty_file_with_the_schema(tmp_path):
    files = write(tmp_path / "a", [numbers(0, 0)], [numbers(0, 0)])
    assert pq.read_table(files[0]).schema == pa.schema([("x", pa.int64())])
    assert len(files) == 1
    files = write(tmp_path / "b", schema=pa.schema([("y", pa.string())]))
    assert pq.read_table(files[0]).schema.names == ["y"]
    assert plan_parquet(tmp_path / "b").rows == 0
    assert write(tmp_path / "c") == []
    assert (tmp_path / "c").is_dir()


def test_modes_other_than_append(tmp_path):
    write(tmp_path, [numbers(0, 3)])
    write(tmp_path, [numbers(3, 5)], mode="append")
    assert ids(tmp_path) == [0, 1, 2, 3, 4]
    _, ignoring = plan_write_parquet(tmp_path, mode="ignore")
    assert not ignoring.prepare()
    _, refusing = plan_write_parquet(tmp_path, mode="error")
    with pytest.raises(WriteError, match="has data already") as caught:
        refusing.prepare()
    assert caught.value.file == str(tmp_path)
    write(tmp_path, [numbers(7, 8)], mode="overwrite")
    assert ids(tmp_path) == [7]
    assert len(everything(tmp_path)) == 1


@pytest.mark.parametrize("mode", ["error", "ignore", "overwrite"])
def test_a_folder_without_data_is_written_in_each_mode(tmp_path, mode):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "folder").mkdir()
    write(tmp_path / "out", [numbers(0, 3)], mode=mode)
    write(tmp_path / "new" / "er", [numbers(0, 3)], mode=mode)
    assert ids(tmp_path / "out") == ids(tmp_path / "new") == [0, 1, 2]


def test_mode_error_holds_until_the_commit(tmp_path):
    transform, commit = plan_write_parquet(tmp_path, mode="error")
    commit.prepare()
    rows = run_task(transform, [numbers(0, 3)])
    write(tmp_path, [numbers(3, 5)])
    with pytest.raises(WriteError, match="has data already"):
        commit.commit(rows)
    assert ids(tmp_path) == [3, 4]
    assert len(everything(tmp_path)) == 1


@pytest.mark.parametrize("mode", ["create", "upsert", "", None, 5, "Append"])
def test_an_unknown_mode_is_refused(tmp_path, mode):
    with pytest.raises(ArgumentError, match="mode"):
        plan_write_parquet(tmp_path, mode=mode)


def test_overwriting_can_read_what_it_replaces(tmp_path):
    write(tmp_path, [numbers(0, 100)])
    transform, commit = plan_write_parquet(tmp_path, mode="overwrite")
    commit.prepare()
    rows = []
    for unit in plan_parquet(tmp_path).units:
        rows += run_task(transform, unit.read())
    commit.commit(rows)
    assert ids(tmp_path) == list(range(100))


def readings(folder: Path, stop: threading.Event) -> set[tuple[int, ...]]:
    """What a reader sees again and again.

    A file that is gone when opened is no mix, nor is a folder that was replaced and emptied while
    it was listed.
    """
    seen = set()
    while not stop.is_set():
        before = os.open(folder, os.O_RDONLY)
        try:
            rows = [
                pq.read_table(path).column("x").to_pylist() for path in folder.glob("*.parquet")
            ]
            is_replaced = not os.path.samestat(os.fstat(before), folder.stat())
        except FileNotFoundError:
            continue
        finally:
            os.close(before)
        if is_replaced and not rows:
            continue
        seen.add(tuple(sorted(x for part in rows for x in part)))
    return seen


def test_readers_see_all_old_or_all_new(tmp_path):
    folder = tmp_path / "out"
    versions = [tuple(range(start, start + 20)) for start in range(0, 600, 20)]
    stop, seen = threading.Event(), set()
    write(folder, *([numbers(x, x + 1)] for x in versions[0]))
    reader = threading.Thread(target=lambda: seen.update(readings(folder, stop)))
    reader.start()
    try:
        for version in versions[1:]:
            write(folder, *([numbers(x, x + 1)] for x in version), mode="overwrite")
    finally:
        stop.set()
        reader.join()
    assert seen <= set(versions)
    assert tuple(ids(folder)) == versions[-1]


def in_threads(actions) -> list[Exception]:
    errors: list[Exception] = []

    def run(action):
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails
            errors.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_parallel_writers_into_one_folder_do_not_clash(tmp_path):
    starts = range(0, 80, 10)
    actions = [
        lambda x=x: write(tmp_path, [numbers(x, x + 5)], [numbers(x + 5, x + 10)]) for x in starts
    ]
    assert in_threads(actions) == []
    assert ids(tmp_path) == list(range(80))
    assert len(everything(tmp_path)) == 16


def test_parallel_overwriters_leave_one_of_them_whole(tmp_path):
    folder = tmp_path / "out"
    write(folder, [numbers(1000, 1010)])
    starts = range(0, 60, 10)
    actions = [
        lambda x=x: write(
            folder, *([numbers(y, y + 1)] for y in range(x, x + 10)), mode="overwrite"
        )
        for x in starts
    ]
    assert in_threads(actions) == []
    assert ids(folder) in [list(range(x, x + 10)) for x in starts]
    assert len(everything(folder)) == 10
    assert everything(tmp_path) == ["out", *(f"out/{name}" for name in everything(folder))]


def test_overwriting_keeps_what_other_runs_are_writing(tmp_path):
    folder = tmp_path / "out"
    write(folder, [numbers(0, 3)])
    transform, slow = plan_write_parquet(folder)
    slow.prepare()
    rows = run_task(transform, [numbers(3, 4)])
    write(folder, [numbers(5, 6)], mode="overwrite")
    rows += run_task(transform, [numbers(4, 5)])
    slow.commit(rows)
    assert ids(folder) == [3, 4, 5]


def test_overwriting_where_folders_cannot_change_places(tmp_path, monkeypatch):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_text("old")
    monkeypatch.setattr(commits.FolderCommit, "_beside", lambda commit: None)
    write(tmp_path, [numbers(0, 3)], [numbers(3, 5)])
    write(tmp_path, [numbers(7, 8)], mode="overwrite")
    assert ids(tmp_path) == [7]
    assert len(everything(tmp_path)) == 1


def test_overwriting_without_an_exchange(tmp_path, monkeypatch):
    monkeypatch.setattr(commits.sys, "platform", "other")
    folder = tmp_path / "out"
    write(folder, [numbers(0, 3)])
    write(folder, [numbers(7, 8)], mode="overwrite")
    assert ids(folder) == [7]
    assert everything(tmp_path) == ["out", f"out/{everything(folder)[0]}"]


def test_overwriting_follows_a_link_and_keeps_permissions(tmp_path):
    folder, link = tmp_path / "real", tmp_path / "link"
    write(folder, [numbers(0, 3)])
    folder.chmod(0o750)
    link.symlink_to(folder)
    write(link, [numbers(7, 8)], mode="overwrite")
    assert link.is_symlink()
    assert ids(folder) == [7]
    assert folder.stat().st_mode & 0o777 == 0o750


def test_the_working_directory_can_be_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(".", [numbers(0, 3)])
    write(".", [numbers(7, 8)], mode="overwrite")
    assert ids(".") == [7]
    assert ids(tmp_path) == [7]


def test_a_commit_that_fails_half_way_leaves_no_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(commits, "_PATIENCE_S", 0)
    transform, commit = plan_write_parquet(tmp_path / "out", partition_cols=["j", "k"])
    commit.prepare()
    rows = run_task(transform, [pa.table({"j": [1, 2], "k": [3, 4], "x": [0, 1]})])
    Path(rows[1].to_pylist()[0]["path"]).unlink()
    with pytest.raises(WriteError):
        commit.commit(rows)
    assert everything(tmp_path) == []


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_commit_that_fails_half_way_leaves_the_old(tmp_path, mode, monkeypatch):
    monkeypatch.setattr(commits, "_PATIENCE_S", 0)
    write(tmp_path / "out", [numbers(0, 3)])
    before = everything(tmp_path)
    transform, commit = plan_write_parquet(tmp_path / "out", mode=mode)
    commit.prepare()
    rows = run_task(transform, [numbers(3, 4)]) + run_task(transform, [numbers(4, 5)])
    Path(rows[1].to_pylist()[0]["path"]).unlink()
    with pytest.raises(WriteError, match="put in place") as caught:
        commit.commit(rows)
    assert caught.value.file == str(tmp_path / "out")
    assert everything(tmp_path) == before
    assert ids(tmp_path / "out") == [0, 1, 2]


def test_targets_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nope")):
        _, commit = plan_write_parquet(target)
        with pytest.raises(WriteError) as caught:
            commit.prepare()
        assert caught.value.file == str(target)
    _, commit = plan_write_parquet(tmp_path / "absent", try_create_dir=False)
    with pytest.raises(WriteError, match="try_create_dir"):
        commit.prepare()
    assert everything(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_target_is_named(tmp_path):
    tmp_path.chmod(0o500)
    _, commit = plan_write_parquet(tmp_path / "out")
    with pytest.raises(WriteError):
        commit.prepare()


def test_files_have_at_most_as_many_rows_as_said(tmp_path):
    files = write(tmp_path, [numbers(0, 7), numbers(7, 25)], max_rows_per_file=10)
    assert [pq.read_metadata(file).num_rows for file in files] == [10, 10, 5]
    assert [row["x"] for row in rows_of(plan_parquet(tmp_path))] == list(range(25))


def rows_per_file(files: list[str]) -> list[int]:
    return [pq.read_metadata(file).num_rows for file in files]


def test_small_files_are_put_together_in_order(tmp_path):
    tasks = [[numbers(i, i + 5)] for i in range(0, 100, 5)]
    (file,) = write(tmp_path, *tasks, is_divided=False)
    assert pq.read_table(file).column("x").to_pylist() == list(range(100))
    assert everything(tmp_path) == [Path(file).name]


def test_large_files_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "_BYTES_SMALL", 100_000)
    tasks = [
        [numbers(0, 5)],
        [numbers(5, 50_000)],
        [numbers(50_000, 50_010)],
        [numbers(50_010, 50_011)],
    ]
    transform, commit = plan_write_parquet(tmp_path)
    commit.prepare()
    rewrites = transform.rewrites([row for task in tasks for row in run_task(transform, task)])
    assert [[source.rows for source in each.sources] for each in rewrites] == [[10, 1]]
    commit.abort()
    assert rows_per_file(write(tmp_path, *tasks, is_divided=False)) == [5, 49_995, 11]


def test_small_files_of_very_many_columns_are_left_alone(tmp_path):
    wide = pa.table({f"c{index}": [index] for index in range(201)})
    assert len(write(tmp_path / "a", [wide], [wide], is_divided=False)) == 2
    assert len(write(tmp_path / "b", [wide], [wide], min_rows_per_file=2)) == 1


def test_files_of_a_sensible_size_and_one_schema_are_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "_BYTES_SMALL", 1)
    transform, commit = plan_write_parquet(tmp_path)
    commit.prepare()
    assert transform.rewrites(run_task(transform, [numbers(0, 5)]) * 3) == []
    commit.abort()


def test_files_have_as_many_bytes_as_asked_for(tmp_path):
    tasks = [[numbers(i, i + 1000)] for i in range(0, 20_000, 1000)]
    files = write(tmp_path, *tasks, min_bytes_per_file=30_000)
    sizes = [Path(file).stat().st_size for file in files]
    assert len(files) > 1
    assert min(sizes[:-1]) >= 30_000
    assert [row["x"] for row in rows_of(plan_parquet(tmp_path))] == list(range(20_000))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_files_of_each_folder_have_the_rows_asked_for_and_keep_their_order(data):
    rows_min = data.draw(st.integers(1, 12))
    rows_max = data.draw(st.none() | st.integers(rows_min, 20))
    sizes = data.draw(st.lists(st.integers(1, 25), min_size=1, max_size=8))
    folders = data.draw(st.integers(1, 3))
    tasks, start = [], 0
    for size in sizes:
        made = range(start, start + size)
        tasks.append([pa.table({"x": list(made), "k": [x % folders for x in made]})])
        start += size
    with tempfile.TemporaryDirectory() as folder:
        write(
            folder,
            *tasks,
            partition_cols=["k"],
            min_rows_per_file=rows_min,
            max_rows_per_file=rows_max,
        )
        for key in range(min(folders, start)):
            parts = [pq.read_table(path) for path in sorted(Path(folder, f"k={key}").glob("*"))]
            counts = [part.num_rows for part in parts]
            assert max(counts) <= (rows_max or start), counts
            assert min(counts[:-1], default=rows_min) >= rows_min, counts
            read = [x for part in parts for x in part.column("x").to_pylist()]
            assert read == list(range(key, start, folders))


def test_options_reach_the_writer(tmp_path):
    files = write(
        tmp_path,
        [numbers(0, 10)],
        compression="zstd",
        row_group_size=3,
        arrow_parquet_args_fn=lambda_args,
    )
    footer = pq.read_metadata(files[0])
    assert footer.row_group(0).column(0).compression == "ZSTD"
    assert footer.row_group(0).column(0).statistics is None
    assert [footer.row_group(i).num_rows for i in range(4)] == [3, 3, 3, 1]
    files = write(tmp_path / "b", [numbers(0, 1)], arrow_open_stream_args={"compression": "gzip"})
    assert pq.read_metadata(files[0]).row_group(0).column(0).compression == "GZIP"


def lambda_args():
    return {"write_statistics": False}


class Names:
    def get_filename_for_task(self, run_id, index):
        return f"my.part-{index:03}"


class OneName:
    def get_filename_for_task(self, run_id, index):
        return "data-{i}.parquet"


def test_files_can_be_named(tmp_path):
    write(tmp_path / "a", [numbers(0, 1)], [numbers(1, 2)], filename_provider=Names())
    assert everything(tmp_path / "a") == ["my.part-000.parquet", "my.part-001.parquet"]
    write(tmp_path / "b", [numbers(0, 1)], [numbers(1, 2)], filename_provider=OneName())
    assert everything(tmp_path / "b") == ["data-0-1.parquet", "data-0.parquet"]
    with pytest.raises(WriteError, match="there already"):
        write(tmp_path / "b", [numbers(2, 3)], filename_provider=OneName())
    assert ids(tmp_path / "b") == [0, 1]
    write(tmp_path / "b", [numbers(2, 3)], filename_provider=OneName(), mode="overwrite")
    assert ids(tmp_path / "b") == [2]


def test_partition_columns_become_folders(tmp_path):
    table = pa.table(
        {
            "k": ["a/b", None, "a/b", "c"],
            "d": [datetime.date(2024, 1, 1), None, datetime.date(2024, 1, 2), None],
            "x": [0, 1, 2, 3],
        }
    )
    files = write(tmp_path, [table, table], partition_cols=["k", "d"])
    assert len(files) == 4
    assert (tmp_path / "k=a%2Fb" / "d=2024-01-01").is_dir()
    rows = sorted(rows_of(plan_parquet(tmp_path)), key=lambda row: row["x"])[::2]
    assert [(row["k"], row["d"]) for row in rows] == [
        ("a/b", datetime.date(2024, 1, 1)),
        (None, None),
        ("a/b", datetime.date(2024, 1, 2)),
        ("c", None),
    ]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([True, None, True]),
        pa.array(["007", "7", None]),
        pa.array(["1", "2", "3"], pa.large_string()),
        pa.array(["x", "y", "x"]).dictionary_encode(),
        pa.array([2**53 + 1, 5, None]),
        pa.array([2**63, 5, None], pa.uint64()),
        pa.array([1.5, float("nan"), -0.0]),
        pa.array([0.1, 2.5, None], pa.float32()),
        pa.array([b"x", None, b"x"]),
        pa.array([datetime.date(2024, 2, 29), None, datetime.date(1, 1, 1)]),
        pa.array([datetime.datetime(2024, 2, 29, 12, 30, 1, 7), None, None]),
        pa.array([1, 2, None], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([datetime.time(1, 2, 3, 4), None, None]),
        pa.array([datetime.timedelta(1, 2, 3), None, None]),
        pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("-0.05")]),
        pa.nulls(3, pa.int16()),
        pa.nulls(3),
    ],
)
def test_partition_columns_come_back_with_their_types(tmp_path, values):
    write(tmp_path, [pa.table({"k": values, "x": [0, 1, 2]})], partition_cols=["k"])
    source = plan_parquet(tmp_path)
    assert source.schema.field("k").type == values.type
    read = table_of(source).sort_by("x").column("k").combine_chunks()
    assert read.type == values.type
    assert str(read.to_pylist()) == str(values.to_pylist())


def test_partition_columns_whose_type_changes_meet(tmp_path):
    tasks = [pa.table({"k": [1], "x": [0]})], [pa.table({"k": [2.5], "x": [1]})]
    write(tmp_path, *tasks, partition_cols=["k"])
    rows = sorted(rows_of(plan_parquet(tmp_path)), key=lambda row: row["x"])
    assert rows == [{"x": 0, "k": 1.0}, {"x": 1, "k": 2.5}]


@pytest.mark.parametrize("value", ["__HIVE_DEFAULT_PARTITION__", b"\xff"])
def test_values_that_a_path_cannot_hold_are_named(tmp_path, value):
    with pytest.raises(WriteError, match="'k'"):
        write(tmp_path / "out", [pa.table({"k": [value], "x": [0]})], partition_cols=["k"])
    assert everything(tmp_path) == []


def test_partition_columns_that_make_no_sense_are_refused(tmp_path):
    for names in (1, [1], ["k", "k"]):
        with pytest.raises(ArgumentError, match="partition_cols"):
            plan_write_parquet(tmp_path, partition_cols=names)
    transform, _ = plan_write_parquet(tmp_path, partition_cols=["k"])
    with pytest.raises(SchemaError, match="'k'"):
        transform.check(pa.schema([("x", pa.int64())]))
    with pytest.raises(SchemaError, match="at least one column"):
        transform.check(pa.schema([("k", pa.int64())]))
    with pytest.raises(WriteError, match="'k'"):
        write(tmp_path, [pa.table({"k": [[1], [2]], "x": [1, 2]})], partition_cols=["k"])


def test_many_partitions_do_not_hold_many_files_open(tmp_path, monkeypatch):
    monkeypatch.setattr(task_files, "_OPEN_FILES_MAX", 4)
    monkeypatch.setattr(task_files, "_HELD_BYTES_MAX", 0)
    table = pa.table({"k": [i % 10 for i in range(100)], "x": range(100)})
    write(tmp_path, [table], partition_cols=["k"])
    assert ids(tmp_path) == list(range(100))


def test_rows_without_columns_cannot_be_written(tmp_path):
    with pytest.raises(SchemaError, match="at least one column"):
        write(tmp_path, [block.rows_only(3)])


def test_types_that_change_on_the_way_lose_nothing(tmp_path, monkeypatch):
    blocks = [
        pa.table({"x": pa.nulls(1)}),
        pa.table({"x": [1]}),
        pa.table({"x": [2.5], "y": ["new"]}),
        pa.table({"x": pa.array([3], pa.int8())}),
    ]
    for held in (10**9, 0):
        monkeypatch.setattr(task_files, "_GROUP_BYTES", held)
        folder = tmp_path / str(held)
        write(folder, [blocks[1], blocks[0], blocks[2], blocks[3]])
        rows = rows_of(plan_parquet(folder))
        assert [row["x"] for row in rows] == [1, None, 2.5, 3]
        assert [row["y"] for row in rows] == [None, None, "new", None]


@pytest.mark.parametrize("held", [0, 10**9])
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_types_that_cannot_meet_are_an_error_and_nothing_is_left(tmp_path, monkeypatch, held, mode):
    monkeypatch.setattr(task_files, "_GROUP_BYTES", held)
    one, other = pa.table({"y": [1], "x": [1]}), pa.table({"y": [2], "x": ["a"]})
    write(tmp_path / "out", [numbers(0, 3)])
    before = everything(tmp_path)
    for tasks in ([[one, other]], [[one], [other]]):
        with pytest.raises(SchemaError, match=r"'x'.*int64.*string"):
            write(tmp_path / "out", *tasks, mode=mode)
        with pytest.raises(SchemaError, match=r"'x'.*int64.*string"):
            write(tmp_path / "new" / "er", *tasks, mode=mode)
        assert everything(tmp_path) == before
    with pytest.raises(SchemaError, match=r"'x'.*int64.*string"):
        write(tmp_path / "out", [one], [other], partition_cols=["x"])
    assert everything(tmp_path) == before


def test_a_schema_of_the_users_decides(tmp_path):
    schema = pa.schema([("y", pa.string()), ("x", pa.float32())])
    transform, commit = plan_write_parquet(tmp_path / "b", schema=schema)
    commit.prepare()
    (file,) = commit.commit(run_task(transform, [numbers(0, 2)]))
    assert pq.read_table(file).schema == schema
    with pytest.raises(SchemaError, match="'z'"):
        run_task(transform, [pa.table({"z": [1]})])


@pytest.mark.parametrize(
    "options",
    [
        {"min_rows_per_file": 0},
        {"min_bytes_per_file": 0},
        {"max_rows_per_file": -1},
        {"max_rows_per_file": 1.5},
        {"min_rows_per_file": 5, "max_rows_per_file": 4},
        {"compression": "nonsense"},
        {"nonsense": 1},
        {"row_group_size": 0},
        {"schema": "x"},
        {"filename_provider": 5},
        {"partitioning_flavor": "filename"},
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        plan_write_parquet(tmp_path, **options)


def test_values_of_all_kinds_survive(tmp_path):
    table = pa.table(
        {
            "zoned": pa.array([0, None], pa.timestamp("us", "Europe/Berlin")),
            "nested": [[{"a": [1, None]}], None],
            "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 2, 3), np.uint8)),
            "view": pa.array(["x", None], pa.string_view()),
            "duration": pa.array([1, None], pa.duration("ns")),
            "null": pa.nulls(2),
            "month": pa.array(["x", "y"]).dictionary_encode(),
            "k": ["a", "b"],
        }
    )
    write(tmp_path / "a", [table])
    (unit,) = plan_parquet(tmp_path / "a").units
    (read,) = unit.read()
    assert read.to_pylist() == table.to_pylist()
    assert read.schema.field("tensor").type.shape == [2, 3]
    write(tmp_path / "b", [table], partition_cols=["k"])
    assert len(rows_of(plan_parquet(tmp_path / "b"))) == 2


@pytest.mark.parametrize(
    "column",
    [pa.array([{}], pa.struct([])), pa.array([(1, 2, 3)], pa.month_day_nano_interval())],
)
def test_types_that_parquet_has_not_are_named(tmp_path, column):
    with pytest.raises(SchemaError, match=r"'x'.*Parquet"):
        write(tmp_path / "out", [pa.table({"y": [1], "x": column})])
    assert everything(tmp_path) == []


def test_row_groups_are_put_together_and_large_ones_are_not_held(tmp_path, monkeypatch):
    (file,) = write(tmp_path / "a", [numbers(i, i + 1) for i in range(100)])
    assert pq.read_metadata(file).num_row_groups == 1
    monkeypatch.setattr(task_files, "_GROUP_BYTES", 8000)
    (file,) = write(tmp_path / "b", [numbers(i, i + 100) for i in range(100)])
    assert pq.read_metadata(file).num_row_groups == 10


def test_other_file_systems_work():
    memory = fsspec.filesystem("memory")
    filesystem = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(memory))
    try:
        for target, options in (("memory://out/a", {}), ("/out/b", {"filesystem": filesystem})):
            for mode, expected in (("append", [0]), ("append", [0, 0]), ("overwrite", [0])):
                table = pa.table({"x": [0], "k": ["v"]})
                write(target, [table], mode=mode, partition_cols=["k"], **options)
                path = target.removeprefix("memory:/")
                assert ids(f"memory:/{path}") == expected
        transform, commit = plan_write_parquet("memory://out/c/d")
        commit.prepare()
        run_task(transform, [numbers(0, 1)])
        commit.abort()
        assert not [path for path in memory.find("/out") if "/c/" in path]
        assert not [path for path in memory.find("/out", withdirs=True) if ".millstream" in path]
    finally:
        memory.rm("/out", recursive=True)


_MANY_PARTITIONS = """
import os, resource, sys, threading
import pyarrow as pa
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from millstream.io import task_files
from millstream.io.sink_options import SinkOptions
from millstream.io.formats.parquet.writer import plan_write_parquet

# Rows are written at once, so that all files would be open at the same time.
task_files._HELD_BYTES_MAX = 0
transform, commit = plan_write_parquet(sys.argv[1], SinkOptions(["k"]), is_divided=True)
commit.prepare()
rows, most = [], [0]

def task(start):
    block = pa.table({"k": range(start, start + 120), "x": range(120)})
    for row in transform.open()(iter([block])):
        rows.append(row)
        most[0] = max(most[0], len(os.listdir("/proc/self/fd")))

threads = [threading.Thread(target=task, args=(start,)) for start in range(0, 360, 120)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
commit.commit(rows)
print(sum(row["rows"][0].as_py() for row in rows), most[0])
"""


def test_tasks_of_a_process_open_no_more_files_together_than_it_may(tmp_path):
    written = subprocess.run(
        [sys.executable, "-c", _MANY_PARTITIONS, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    rows, most = map(int, written.stdout.split())
    assert rows == 360
    assert most < 200
