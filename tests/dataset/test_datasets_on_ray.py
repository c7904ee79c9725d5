"""The same datasets on Ray: what differs is where functions, classes and blocks are."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millstream as ms
from millstream.context import DataContext

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def on_ray(ray_cluster, monkeypatch):
    context = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)


def test_a_pipeline_of_tasks_and_actors_from_file_to_file(tmp_path, monkeypatch):
    class Add:
        def __init__(self, amount):
            self.amount = amount

        def __call__(self, batch):
            return {"id": batch["id"] + self.amount}

    monkeypatch.chdir(tmp_path)
    ms.range(1000).write_parquet("in")
    ds = (
        ms.read_parquet("in")
        .filter(lambda row: row["id"] % 2 == 0)
        .map_batches(Add, fn_constructor_args=[1], num_gpus=1, batch_size=64, concurrency=2)
    )
    ds.write_parquet("out")
    back = ms.read_parquet("out").take_all()
    assert [row["id"] for row in back] == list(range(1, 1001, 2))


def test_files_of_other_types_are_written_again_on_the_workers(tmp_path):
    def mixed(row):
        text = ["007", "7"][row["id"] % 2]
        return {"id": row["id"], "x": None if row["id"] < 3 else row["id"] / 2, "k": text}

    rows = [mixed({"id": id}) for id in range(12)]
    ds = ms.range(12, override_num_blocks=4).map(mixed)
    ds.write_parquet(tmp_path / "out", partition_cols=["k"], min_rows_per_file=6)
    for folder in ("k=007", "k=7"):
        (file,) = (tmp_path / "out" / folder).iterdir()
        assert pq.read_schema(file).field("x").type == pa.float64()
    back = ms.read_parquet(tmp_path / "out").take_all()
    assert sorted(back, key=lambda row: row["id"]) == rows
    with pytest.raises(ms.SchemaError, match=r"'x'.*int64.*string"):
        ds.map(lambda row: {"x": "a" if row["id"] >= 6 else row["id"]}).write_parquet(
            tmp_path / "new" / "out"
        )
    assert not (tmp_path / "new").exists()


def test_materialized_blocks_stay_in_the_store_and_are_used_again():
    kept = ms.range(400, override_num_blocks=4).map_batches(lambda b: b).materialize()
    assert (kept.num_blocks(), kept.count(), kept.columns()) == (4, 400, ["id"])
    odd = kept.filter(lambda row: row["id"] % 2 == 1)
    assert odd.count() == 200
    assert [row["id"] for row in odd.take(2)] == [1, 3]
    assert len(kept.take_all()) == 400


def test_taking_a_few_rows_of_very_many():
    assert [row["id"] for row in ms.range(10**9).map(lambda row: row).take(2)] == [0, 1]


def test_options_reach_the_workers():
    def pid(row):
        return {"pid": os.getpid(), "set": os.environ.get("MILLSTREAM_TEST")}

    env = {"env_vars": {"MILLSTREAM_TEST": "yes"}}
    rows = ms.range(2).map(pid, memory=1 << 20, max_calls=1, runtime_env=env).take_all()
    assert {row["set"] for row in rows} == {"yes"}
    assert os.getpid() not in {row["pid"] for row in rows}


def test_reports_tell_of_the_cluster():
    ds = ms.range(100).map(lambda row: row)
    ds.take_all()
    assert "Finished after" in ds.stats()
    assert "Object store: at most" in ds.stats()
    assert [node.cpu_total for node in ds.report().snapshot.nodes] == [4.0]


def test_as_many_blocks_come_out_as_were_asked_for_however_small_they_are():
    ds = ms.range(300, override_num_blocks=300).map(lambda row: {"id": row["id"] + 1})
    kept = ds.map(lambda row: row, num_cpus=0.5).materialize()
    assert kept.num_blocks() == 300
    assert [row["id"] for row in kept.iter_rows()] == list(range(1, 301))
    assert len(kept.map(lambda row: row).take_all()) == 300


def test_a_pool_starts_with_what_fits_if_its_least_does():
    class Same:
        def __call__(self, batch):
            return batch

    for sizes in ({"min_size": 1, "max_size": 999}, {"initial_size": 500, "max_size": 999}):
        pool = ms.ActorPoolStrategy(**sizes)
        assert ms.range(9).map_batches(Same, compute=pool, num_gpus=1, batch_size=3).count() == 9
    with pytest.raises(ms.ResourcesError, match="500"):
        ms.range(9).map_batches(Same, num_gpus=1, batch_size=3, concurrency=500).count()
