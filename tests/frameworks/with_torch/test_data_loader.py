"""torch's `DataLoader` and torchdata's `StatefulDataLoader` over datasets."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import millstream as ms
from millstream.errors import ArgumentError
from millstream.expressions import col

pytestmark = [
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),  # torchdata calls it
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # more workers than cores
]


def rows_of(loader):
    return [int(value) for batch in loader for value in batch["id"]]


def double(row):
    return {"id": row["id"], "double": 2 * row["id"]}


def dataset(rows=100):
    return ms.range(rows, override_num_blocks=7).map(double)


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("batch_size", [None, 8])
def test_each_row_comes_once_however_many_workers_there_are(workers, batch_size):
    made = dataset().to_torch_dataset(batch_size=batch_size)
    loader = DataLoader(made, batch_size=None if batch_size else 8, num_workers=workers)
    for _ in range(2):
        assert sorted(rows_of(loader)) == list(range(100))
    batch = next(iter(loader))
    assert isinstance(batch["double"], torch.Tensor)
    assert batch["double"].tolist() == (2 * batch["id"]).tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.limit(33),
        lambda ds: ds.sort("id", descending=True),
        lambda ds: ds.zip(ms.range(100).rename_columns({"id": "other"})),
        lambda ds: ds.random_shuffle(seed=3),
    ],
    ids=["limit", "sort", "zip", "shuffle"],
)
@pytest.mark.parametrize("batch_size", [None, 8])
def test_rows_that_cannot_be_divided_come_once_too(change, batch_size):
    ds = change(dataset())
    made = ds.to_torch_dataset(batch_size=batch_size)
    loader = DataLoader(made, batch_size=None if batch_size else 8, num_workers=2)
    assert sorted(rows_of(loader)) == sorted(row["id"] for row in ds.take_all())


def test_unions_are_divided():
    ds = dataset(20).union(dataset(10)).filter(lambda row: row["id"] % 2)
    loader = DataLoader(ds.to_torch_dataset(), batch_size=4, num_workers=2)
    assert sorted(rows_of(loader)) == sorted([*range(1, 20, 2), *range(1, 10, 2)])


def test_what_is_pushed_into_files_stays_divided(tmp_path):
    table = pa.table({"id": pa.array(np.arange(1000)), "x": pa.array(np.zeros(1000))})
    ms.from_arrow(table, override_num_blocks=5).write_parquet(tmp_path, max_rows_per_file=150)
    ds = ms.read_parquet(tmp_path).filter(expr=col("id") < 700)
    ds = ds.select_columns(["id"])
    loader = DataLoader(ds.to_torch_dataset(batch_size=10), batch_size=None, num_workers=3)
    assert sorted(rows_of(loader)) == list(range(700))


def test_files_in_a_random_order_need_a_seed(tmp_path):
    ms.range(40, override_num_blocks=4).write_parquet(tmp_path, max_rows_per_file=10)
    seeded = ms.read_parquet(tmp_path, shuffle=ms.FileShuffleConfig(seed=1))
    loader = DataLoader(seeded.to_torch_dataset(), batch_size=4, num_workers=2)
    assert sorted(rows_of(loader)) == list(range(40))
    unseeded = ms.read_parquet(tmp_path, shuffle="files")
    loader = DataLoader(unseeded.to_torch_dataset(), batch_size=4, num_workers=2)
    with pytest.raises(ArgumentError, match=r"2 workers cannot divide the rows.*pass a seed"):
        next(iter(loader))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_it_can_be_pickled_and_workers_can_be_spawned():
    made = pickle.loads(pickle.dumps(dataset(10).to_torch_dataset()))
    assert sorted(rows_of(DataLoader(made, batch_size=2))) == list(range(10))
    loader = DataLoader(made, batch_size=2, num_workers=2, multiprocessing_context="spawn")
    assert sorted(rows_of(loader)) == list(range(10))


def test_rows_keep_what_is_no_tensor():
    ds = ms.from_items([{"s": "a", "x": np.zeros((2, 3), np.float32), "n": None}])
    (row,) = ds.to_torch_dataset()
    assert (row["s"], row["n"]) == ("a", None)
    assert row["x"].shape == (2, 3)
    loader = DataLoader(ds.drop_columns(["n"]).to_torch_dataset(), batch_size=1)
    (batch,) = loader
    assert batch["s"] == ["a"]
    assert batch["x"].shape == (1, 2, 3)


def test_the_length_is_told_where_it_is_known():
    assert len(dataset().to_torch_dataset()) == 100
    assert len(DataLoader(dataset().to_torch_dataset(), batch_size=8)) == 13
    assert len(dataset().to_torch_dataset(batch_size=8)) == 13
    assert len(dataset().to_torch_dataset(batch_size=8, drop_last=True)) == 12
    assert len(dataset().to_torch_dataset(batch_size=10)) == 10
    (part,) = dataset().streaming_split(1)
    for unknown in (dataset().filter(lambda row: row["id"]), part):
        with pytest.raises(TypeError, match="not known without running"):
            len(unknown.to_torch_dataset())


def test_a_local_shuffle_has_another_order_in_each_epoch():
    made = dataset().to_torch_dataset(local_shuffle_buffer_size=50, local_shuffle_seed=1)
    loader = DataLoader(made, batch_size=8, num_workers=2)
    orders = []
    for epoch in (0, 1, 0):
        made.set_epoch(epoch)
        orders.append(rows_of(loader))
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_shuffle_of_rows_that_cannot_be_divided_needs_a_seed(batch_size):
    def loader(**shuffle):
        made = (
            dataset()
            .limit(90)
            .to_torch_dataset(batch_size=batch_size, local_shuffle_buffer_size=20, **shuffle)
        )
        return DataLoader(made, batch_size=None if batch_size else 8, num_workers=2)

    assert sorted(rows_of(loader(local_shuffle_seed=3))) == list(range(90))
    with pytest.raises(ArgumentError, match="pass local_shuffle_seed, or num_workers=0"):
        next(iter(loader()))


def test_a_part_of_a_split_takes_no_workers():
    first, _ = dataset().streaming_split(2, equal=True)
    with pytest.raises(ArgumentError, match="num_workers: a part of a split has one consumer"):
        next(iter(DataLoader(first.to_torch_dataset(), batch_size=4, num_workers=1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"dtypes": torch.int8}, "dtypes=torch.int8 is of batches"),
        ({"collate_fn": len}, "collate_fn=.* is of batches"),
        ({"drop_last": True}, "drop_last=True is of batches"),
        ({"local_shuffle_buffer_size": 0}, "local_shuffle_buffer_size=0"),
    ],
)
def test_arguments_that_make_no_sense_are_errors_at_the_call(options, message):
    with pytest.raises(ArgumentError, match=message):
        dataset().to_torch_dataset(**options)


def stateful(workers, batch_size=None, ds=None, **options):
    made = (ds or dataset()).to_torch_dataset(batch_size=batch_size, **options)
    return StatefulDataLoader(made, batch_size=None if batch_size else 8, num_workers=workers)


KINDS = {
    "rows": {},
    "batches": {"batch_size": 8},
    "shuffled rows": {"local_shuffle_buffer_size": 20, "local_shuffle_seed": 5},
    "shuffled batches": {
        "batch_size": 8,
        "local_shuffle_buffer_size": 20,
        "local_shuffle_seed": 5,
    },
    "limit": {"ds": ms.range(100, override_num_blocks=7).limit(90)},
    "limit in batches": {"batch_size": 8, "ds": ms.range(100, override_num_blocks=7).limit(90)},
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stateful_loader_goes_on_with_the_very_next_batch(workers, kind, context):
    options = {**KINDS[kind]}
    if "ds" in options:
        options["ds"] = dataset().limit(90)
    whole = [batch["id"].tolist() for batch in stateful(workers, **options)]
    for stop in (1, 2, len(whole) - 1, len(whole)):
        loader = stateful(workers, **options)
        before = []
        for batch in loader:
            before.append(batch["id"].tolist())
            if len(before) == stop:
                state = json.loads(json.dumps(loader.state_dict()))
                break
        other = stateful(workers, **options)
        other.load_state_dict(state)
        after = [batch["id"].tolist() for batch in other]
        assert before + after == whole, (kind, stop)
        # The next epoch is whole again.
        assert sorted(rows_of(other)) == sorted(value for batch in whole for value in batch)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_of_a_finished_epoch_begins_the_next_one(workers):
    loader = stateful(workers)
    assert len(rows_of(loader)) == 100
    state = loader.state_dict()
    other = stateful(workers)
    other.load_state_dict(state)
    assert sorted(rows_of(other)) == list(range(100))


def test_a_state_can_be_taken_twice_in_a_row():
    loader = stateful(2)
    whole = [batch["id"].tolist() for batch in loader]
    found, state = [], None
    while len(found) < len(whole):
        loader = stateful(2)
        if state is not None:
            loader.load_state_dict(state)
        for batch, _ in zip(loader, range(3), strict=False):
            found.append(batch["id"].tolist())
            state = loader.state_dict()
            if len(found) % 3 == 0:
                break
    assert found == whole


def test_workers_that_stay_begin_the_next_epoch_as_a_whole():
    made = dataset().to_torch_dataset()
    loader = StatefulDataLoader(made, batch_size=8, num_workers=2, persistent_workers=True)
    for _ in range(3):
        assert sorted(rows_of(loader)) == list(range(100))


def test_a_state_of_another_worker_is_an_error():
    made = dataset().to_torch_dataset()
    state = {**made.state_dict(), "worker": [0, 2]}
    with pytest.raises(ArgumentError, match="of worker 0 of 2, and this is a loader without"):
        made.load_state_dict(state)
    with pytest.raises(ArgumentError, match="no state that state_dict"):
        made.load_state_dict({"worker": None})


def test_what_comes_in_another_order_each_time_has_no_state():
    loader = stateful(0, ds=dataset().random_shuffle())
    with pytest.raises(ArgumentError, match=r"random_shuffle.* pass it a seed"):
        loader.state_dict()
