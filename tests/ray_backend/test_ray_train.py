"""Ray Train feeds its workers from datasets as it does from those of Ray Data."""

from __future__ import annotations

import json
import sys

import pytest

import millstream as ms
from millstream.context import DataContext
from millstream.errors import ArgumentError

pytestmark = [
    pytest.mark.ray,
    # What Ray Train itself warns of is not ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def on_ray(ray_cluster, monkeypatch):
    # Workers do not have the folder of the tests on their path.
    ray_cluster.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    context = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)


def fit(loop, datasets, folder, *, workers=2, failures=0, **options):
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    scaling = ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 0.1})
    run = RunConfig(
        storage_path=str(folder / "runs"), failure_config=FailureConfig(max_failures=failures)
    )
    config = {"folder": str(folder)}
    DataParallelTrainer(
        loop,
        train_loop_config=config,
        datasets=datasets,
        scaling_config=scaling,
        run_config=run,
        **options,
    ).fit()
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]


def train(config):
    """Two epochs, each validated; writes what came."""
    import json
    from pathlib import Path

    import ray.train

    shard, validation = (ray.train.get_dataset_shard(name) for name in ("train", "val"))
    found = []
    for _ in range(2):
        rows = [value for batch in shard.iter_batches(batch_size=16) for value in batch["id"]]
        seen = [row["id"] for row in validation.iter_rows()]
        found.append({"train": [int(value) for value in rows], "val": seen})
    rank = ray.train.get_context().get_world_rank()
    (Path(config["folder"]) / f"rank-{rank}.json").write_text(json.dumps(found))


def test_workers_share_the_rows_of_each_epoch(tmp_path):
    from ray.train import DataConfig

    numbers = ms.range(203, override_num_blocks=9).map(lambda row: {"id": row["id"] * 2})
    datasets = {"train": numbers, "val": ms.range(7)}
    config = DataConfig(datasets_to_split=["train"])
    found = fit(train, datasets, tmp_path, dataset_config=config)
    assert len(found) == 2
    for epoch in range(2):
        parts = [each[epoch]["train"] for each in found]
        assert [len(part) for part in parts] == [101, 101]
        together = set(parts[0]) | set(parts[1])
        assert len(together) == 202
        assert together < {2 * number for number in range(203)}
        assert [each[epoch]["val"] for each in found] == [list(range(7))] * 2


def fail_once(config):
    from pathlib import Path

    import ray.train

    shard = ray.train.get_dataset_shard("train")
    rank = ray.train.get_context().get_world_rank()
    failed = Path(config["folder"]) / "failed"
    rows = 0
    for batch in shard.iter_batches(batch_size=10):
        rows += len(batch["id"])
        if rank == 1 and not failed.exists():
            failed.touch()
            raise RuntimeError("broken")
    (Path(config["folder"]) / f"rank-{rank}.json").write_text(str(rows))


def test_a_run_goes_on_after_a_worker_failed(tmp_path):
    found = fit(fail_once, {"train": ms.range(200)}, tmp_path, failures=1)
    assert (tmp_path / "failed").exists()
    assert found == [100, 100]


def test_a_dataset_is_its_own_shard_without_workers(tmp_path):
    datasets = {"train": ms.range(20), "val": ms.range(3)}
    (found,) = fit(train, datasets, tmp_path, workers=0)
    assert found == [{"train": list(range(20)), "val": [0, 1, 2]}] * 2


def test_options_of_ray_data_keep_the_order():
    from ray.train import DataConfig

    numbers = ms.range(3)
    other = numbers.copy(numbers)
    other.context.execution_options = DataConfig.default_ingest_options()
    assert other.context.preserve_order
    other.context.preserve_order = False
    assert numbers.context.preserve_order
    options = DataConfig.default_ingest_options()
    options.preserve_order = True
    other.context.execution_options = options
    assert other.context.preserve_order
    options.label_selector = {"zone": "a"}
    with pytest.raises(ArgumentError, match="label_selector of Ray Data's ExecutionOptions"):
        other.context.execution_options = options


def test_names():
    numbers = ms.range(3)
    assert numbers.name is None
    numbers.set_name("train")
    assert numbers.copy(numbers).name == "train"
    assert numbers.limit(1).name is None
    with pytest.raises(ArgumentError, match="name"):
        numbers.set_name(3)
