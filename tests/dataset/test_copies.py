"""A dataset is a recipe: it can be copied and sent anywhere, at any time."""

from __future__ import annotations

import copy
import pickle

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import millstream as ms
from millstream.context import DataContext


def pickled(ds):
    return pickle.loads(pickle.dumps(ds))


COPIES = [pickled, copy.copy, copy.deepcopy]


def same(row):
    return row


def halves(batch):
    return batch["id"] / 2


class Add:
    def __init__(self, amount):
        self.amount = amount

    def __call__(self, batch):
        return {"id": batch["id"] + self.amount}


OPERATORS = {
    "map": lambda ds: ds.map(same),
    "class": lambda ds: ds.map_batches(Add, fn_constructor_args=[1], concurrency=1),
    "select": lambda ds: ds.select_columns(["id"]),
    "select, known late": lambda ds: ds.map(same).select_columns(["id"]),
    "drop": lambda ds: ds.drop_columns(["x"]),
    "rename": lambda ds: ds.rename_columns({"id": "key"}),
    "add": lambda ds: ds.add_column("half", halves),
    "limit": lambda ds: ds.limit(3),
    "union": lambda ds: ds.union(ds.map(same)),
    "zip": lambda ds: ds.zip(ds.map(same)),
}


@pytest.fixture(params=["items", "parquet", "parquet with a filter"])
def source(request, tmp_path):
    rows = [{"id": number, "x": "a"} for number in range(10)]
    if request.param == "items":
        return ms.from_items(rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    return ms.read_parquet(
        tmp_path, filter=pc.field("id") < 8 if "filter" in request.param else None
    )


@pytest.mark.parametrize("name", OPERATORS)
def test_copies_of_a_dataset_give_its_rows(source, name):
    ds = OPERATORS[name](source)
    rows = ds.take_all()
    ds.schema()
    for made in COPIES:
        other = made(ds)
        assert other.take_all() == rows
        assert other.columns() == ds.columns()
        assert other.select_columns(ds.columns()[:1]).count() == len(rows)


@pytest.mark.parametrize("made", COPIES)
def test_a_dataset_is_copied_while_it_runs(made):
    ds = ms.range(100, override_num_blocks=100).map(same)
    rows = iter(ds.iter_rows())
    next(rows)
    other = made(ds)
    assert other.report() is None
    assert other.count() == 100
    assert sum(1 for _ in rows) == 99
    assert "Finished" in ds.stats()


@pytest.mark.parametrize("made", COPIES)
def test_an_iterable_of_rows_is_copied(made):
    rows = ms.range(3).iter_rows()
    next(iter(rows))
    assert [row["id"] for row in made(rows)] == [0, 1, 2]


def test_settings_go_along_with_a_dataset(context):
    context.preserve_order = False
    ds = ms.range(3)
    context.preserve_order = True
    assert pickled(ds)._context.preserve_order is False


def test_a_materialized_dataset_is_copied_in_its_process():
    kept = ms.range(10, override_num_blocks=2).map(same).materialize()
    for made in (copy.copy, copy.deepcopy):
        other = made(kept)
        assert isinstance(other, ms.MaterializedDataset)
        assert (other.num_blocks(), other.count()) == (2, 10)


def test_a_dataset_materialized_on_the_local_backend_stays_in_its_process():
    kept = ms.range(10).map(same).materialize()
    for ds in (kept, kept.map(same), kept.union(ms.range(2))):
        with pytest.raises(ms.SerializationError, match="in the memory of its process"):
            pickle.dumps(ds)


class TestOnRay:
    pytestmark = pytest.mark.ray

    @pytest.fixture
    def kept(self, ray_cluster, monkeypatch):
        context = DataContext(backend="ray", enable_progress_bars=False)
        monkeypatch.setattr(DataContext, "_current", context)
        return ms.range(40, override_num_blocks=4).map_batches(lambda b: b).materialize()

    def test_any_dataset_goes_to_a_task(self, ray_cluster, kept):
        ds = ms.range(10).map(lambda row: {"id": row["id"] + 1})
        rows = iter(ds.iter_rows())
        next(rows)
        taken = ray_cluster.remote(lambda ds: ds.take_all()).options(num_cpus=0).remote(ds)
        assert ray_cluster.get(taken)[-1] == {"id": 10}

    def test_a_materialized_dataset_goes_to_tasks_and_actors(self, ray_cluster, kept):
        class Trainer:
            def __init__(self, ds):
                self.ds = ds

            def total(self):
                return sum(row["id"] for row in self.ds.map(lambda row: row).iter_rows())

        in_task = ray_cluster.remote(lambda ds: ds.count()).options(num_cpus=0).remote(kept)
        captured = ray_cluster.remote(lambda: kept.count()).options(num_cpus=0).remote()
        trainer = ray_cluster.remote(Trainer).options(num_cpus=0).remote(kept)
        assert ray_cluster.get([in_task, captured]) == [40, 40]
        assert ray_cluster.get(trainer.total.remote()) == sum(range(40))
        put = ray_cluster.put([kept])
        assert ray_cluster.get(put)[0].num_blocks() == 4
        ray_cluster.kill(trainer)

    def test_a_materialized_dataset_goes_nowhere_without_ray(self, kept):
        with pytest.raises(ms.SerializationError, match="the same cluster"):
            pickle.dumps(kept)
        assert copy.deepcopy(kept).count() == 40

    def test_a_materialized_dataset_of_another_cluster_is_refused(
        self, ray_cluster, kept, monkeypatch
    ):
        from millstream.run.ray import compat

        sent = ray_cluster.cloudpickle.dumps(kept)
        monkeypatch.setattr(compat, "cluster", lambda: "another")
        with pytest.raises(ms.SerializationError, match="another Ray cluster"):
            pickle.loads(sent)

    @pytest.mark.parametrize(
        "consume", [lambda ds: ds.take_all(), lambda ds: ds.filter(lambda row: True).count()]
    )
    def test_blocks_of_a_ray_that_was_shut_down_are_gone(self, kept, monkeypatch, consume):
        from millstream.run.ray import compat

        monkeypatch.setattr(compat, "connection", lambda: ("anew",))
        with pytest.raises(ms.WorkerError, match="Ray has been shut down since"):
            consume(kept)

    def test_a_dataset_materialized_on_the_local_backend_is_refused(self, kept):
        context = DataContext.get_current()
        context.backend = "local"
        local = ms.range(10).materialize()
        context.backend = "ray"
        with pytest.raises(ms.SerializationError, match="in the memory of its process"):
            ms.range(2).union(local).take_all()
