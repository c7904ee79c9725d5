"""Ray Train feeds its workers from datasets as it does from those of Ray Data."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys

import pytest
from pipelines import wait_until

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
    yield
    # Ray Train leaves it for programs to come.
    with contextlib.suppress(ValueError):
        ray_cluster.kill(ray_cluster.get_actor("AutoscalingCoordinator", "AutoscalingCoordinator"))


def fit(loop, datasets, folder, *, workers=2, failures=0, **options):
    """Trains in a program of its own, since Ray Train keeps its actors as long as one lives."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    arguments = {
        "train_loop_per_worker": loop,
        "train_loop_config": {"folder": str(folder)},
        "datasets": datasets,
        "scaling_config": ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 0.1}),
        "run_config": RunConfig(
            storage_path=str(folder / "runs"), failure_config=FailureConfig(max_failures=failures)
        ),
    }
    sent = ray.cloudpickle.dumps(arguments | options)
    address = ray.get_runtime_context().gcs_address
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(fit_here, (address, sent))
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]


def fit_here(address, sent):
    """What the program does; at its end no run is left, while the actors of Ray Train are."""
    import ray
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    ray.init(address=address, log_to_driver=False, logging_level="error")
    trainer = DataParallelTrainer(**ray.cloudpickle.loads(sent))
    trainer.fit()
    wait_until(lambda: "_Owner" not in alive(ray))
    assert ("TrainController" in alive(ray)) == (trainer.scaling_config.num_workers > 0)
    ray.shutdown()


def alive(ray):
    """The classes of the actors that live."""
    actors = ray._private.state.actors().values()
    return {actor["ActorClassName"] for actor in actors if actor["State"] != "DEAD"}


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
