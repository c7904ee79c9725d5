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


def fit(loop, datasets, folder, *, workers=2, failures=0, config=None, **options):
    """Trains in a program of its own, since Ray Train keeps its actors as long as one lives."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    arguments = {
        "train_loop_per_worker": loop,
        "train_loop_config": {"folder": str(folder), **(config or {})},
        "datasets": datasets,
        "scaling_config": ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 0.1}),
        "run_config": RunConfig(
            storage_path=str(folder / "runs"), failure_config=FailureConfig(max_failures=failures)
        ),
    }
    sent = ray.cloudpickle.dumps(arguments | options)
    address = ray.get_runtime_context().gcs_address
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        checkpoint = pool.apply(fit_here, (address, sent))
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
    return found if checkpoint is None else checkpoint


def fit_here(address, sent):
    """What the program does; at its end no run is left, while the actors of Ray Train are.

    Returns:
        The folder of the last checkpoint, if there is any.
    """
    import ray
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    ray.init(address=address, log_to_driver=False, logging_level="error")
    trainer = DataParallelTrainer(**ray.cloudpickle.loads(sent))
    checkpoint = trainer.fit().checkpoint
    wait_until(lambda: "_Owner" not in alive(ray))
    assert ("TrainController" in alive(ray)) == (trainer.scaling_config.num_workers > 0)
    ray.shutdown()
    return None if checkpoint is None else checkpoint.path


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


def train_by_steps(config):
    """Notes the rows of each step, and goes on from the last checkpoint."""
    import json
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import ray.train
    from ray.train import Checkpoint

    import millstream.train as feed

    shard = ray.train.get_dataset_shard("train")
    rank = ray.train.get_context().get_world_rank()
    last = ray.train.get_checkpoint() or (config["before"] and Checkpoint(config["before"]))
    step = 0
    if last:
        with last.as_directory() as folder:
            assert feed.load_state(shard, folder)
            step = json.loads((Path(folder) / "step.json").read_text())
    failed = Path(config["folder"]) / "failed"
    for batch in shard.iter_batches(batch_size=10):
        step += 1
        note = Path(config["folder"]) / f"{config['name']}-{step}-{rank}.json"
        note.write_text(json.dumps(batch["id"].tolist()))
        if step == 5 and rank == 1 and not failed.exists():
            failed.touch()
            raise RuntimeError("broken")
        with TemporaryDirectory() as folder:
            feed.save_state(shard, folder)
            if rank == 0:
                (Path(folder) / "step.json").write_text(json.dumps(step))
            ray.train.report({}, checkpoint=Checkpoint.from_directory(folder))
        if step == config["until"]:
            break


@pytest.mark.timeout(600)  # Ray Train starts four groups of workers.
def test_other_numbers_of_workers_go_on_from_checkpoints(tmp_path):
    from millstream.train import DataConfig as OurConfig

    checkpoint = None
    numbers = ms.range(400, override_num_blocks=40).filter(lambda row: row["id"] % 4)
    for workers, until in ((2, 8), (1, 12), (2, 10_000)):
        config = {"until": until, "before": checkpoint, "name": f"of-{until}"}
        checkpoint = fit(
            train_by_steps,
            {"train": numbers},
            tmp_path,
            workers=workers,
            failures=1,
            config=config,
            dataset_config=OurConfig(["train"]),
        )
    assert (tmp_path / "failed").exists()
    found = [row for path in tmp_path.glob("of-*.json") for row in json.loads(path.read_text())]
    assert sorted(found) == [number for number in range(400) if number % 4]


@pytest.mark.parametrize(
    "arguments",
    [
        {"datasets_to_split": "train"},
        {"datasets_to_split": [1]},
        {"equal": 1},
        {"preserve_order": "yes"},
    ],
)
def test_arguments_of_data_config(arguments):
    from millstream.train import DataConfig as OurConfig

    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        OurConfig(**arguments)


def test_data_config_divides_what_it_names():
    from millstream.train import DataConfig as OurConfig

    config = OurConfig(["train"], equal=False, preserve_order=False)
    datasets = {"train": ms.range(10), "val": ms.range(3)}
    workers = config.configure(datasets, 2)
    assert [sorted(each) for each in workers] == [["train", "val"]] * 2
    # Without an order.
    assert sorted(row["id"] for row in workers[1]["val"].iter_rows()) == [0, 1, 2]
    with pytest.raises(ArgumentError, match="preserve_order is off"):
        workers[0]["train"].state_dict()
    assert datasets["train"].context.preserve_order


def test_names_and_folders_of_states(tmp_path):
    from millstream.train import load_state, save_state

    iterator = ms.range(10).iterator()
    assert not load_state(iterator, tmp_path)
    with pytest.raises(ArgumentError, match="name="):
        save_state(iterator, tmp_path, "../other")
    save_state(iterator, tmp_path)
    assert load_state(iterator, tmp_path)
    assert not load_state(iterator, tmp_path, "val")
    (path,) = tmp_path.iterdir()
    path.write_text("{")
    with pytest.raises(ArgumentError, match="is not JSON"):
        load_state(iterator, tmp_path)


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
