"""Datasets that run at once on one cluster: side by side and inside each other's loops.

The cluster of the tests has 4 CPUs, two GPUs and three licences, all of them logical.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import millstream as ms
from millstream.errors import ResourcesError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("admitting")]


@pytest.fixture
def admitting(ray_cluster):
    """The settings of runs on Ray, with little patience."""
    context = ms.DataContext.get_current()
    before = context.copy()
    context.backend = "ray"
    context.enable_progress_bars = False
    yield context
    context.admission_timeout_s = before.admission_timeout_s
    context.backend = before.backend
    context.enable_progress_bars = before.enable_progress_bars


def doubled(rows, **options):
    """A dataset of even numbers, through a pool if `concurrency` says so."""

    # Made here, so that they are pickled by value.
    def double(batch):
        return {"id": batch["id"] * 2}

    class Double:
        def __call__(self, batch):
            return double(batch)

    function = Double if "concurrency" in options else double
    numbers = ms.range(rows, override_num_blocks=8)
    return numbers.map_batches(function, batch_size=10, **options)


def evens(rows):
    return [2 * row for row in range(rows)]


def ids(dataset):
    return [row["id"] for row in dataset.take_all()]


def at_once(*datasets):
    """The numbers of datasets that run at the same time."""
    with ThreadPoolExecutor(len(datasets)) as threads:
        return list(threads.map(ids, datasets))


SCARCE = [
    pytest.param({"num_gpus": 2}, id="gpu"),
    pytest.param({"num_gpus": 2, "concurrency": 1}, id="gpu-pool"),
    pytest.param({"resources": {"licence": 3}}, id="licence"),
    pytest.param({"resources": {"licence": 2}, "concurrency": 1}, id="licence-pool"),
]


@pytest.mark.parametrize("options", SCARCE)
def test_two_datasets_at_once_take_turns_with_what_there_is_enough_of_for_one(options):
    assert at_once(doubled(40, **options), doubled(30, **options)) == [evens(40), evens(30)]


def test_four_pools_on_four_cpus_take_turns():
    datasets = [doubled(20 + n, concurrency=1) for n in range(4)]
    assert at_once(*datasets) == [evens(20 + n) for n in range(4)]


@pytest.mark.parametrize(
    ("outer", "inner"),
    [({}, {"num_gpus": 2}), ({"concurrency": 2}, {"concurrency": 1}), ({"num_gpus": 2},) * 2],
    ids=str,
)
def test_a_dataset_runs_inside_the_loop_over_another(outer, inner):
    seen = []
    for batch in doubled(32, **outer).iter_batches(batch_size=16):
        seen += batch["id"].tolist()
        assert ids(doubled(10, **inner)) == evens(10)
    assert seen == evens(32)


def test_idle_actors_beyond_the_smallest_pool_make_way():
    seen = []
    for batch in doubled(48, concurrency=(1, 3)).iter_batches(batch_size=24):
        seen += batch["id"].tolist()
        assert ids(doubled(10, concurrency=2)) == evens(10)
    assert seen == evens(48)


def heavy(rows, **options):
    """A dataset of rows of 5 MB each."""

    class Enlarge:
        def __call__(self, batch):
            return {"bytes": np.zeros((len(batch["id"]), 5_000_000), np.uint8)}

    numbers = ms.range(rows, override_num_blocks=rows)
    return numbers.map_batches(Enlarge, batch_size=1, concurrency=1, **options)


def test_a_loop_whose_run_waits_for_itself_is_told_who_holds_what(admitting, caplog):
    admitting.admission_timeout_s = 3.0
    inner = doubled(10, num_gpus=2, concurrency=1)
    outer = iter(heavy(60, num_gpus=2).iter_batches(batch_size=1))
    next(outer)
    with pytest.raises(ResourcesError, match="has waited for 3 s for its turn") as raised:
        ids(inner)
    outer.close()
    assert "of process" in str(raised.value)
    assert "2 GPU" in str(raised.value)
    assert [record for record in caplog.records if "waits for its turn" in record.getMessage()]
