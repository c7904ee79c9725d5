"""Training processes on Ray, each with a part of a split: torch's DDP and Accelerate."""

from __future__ import annotations

import socket

import pytest

import millstream as ms

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def on_ray(ray_cluster, monkeypatch):
    made = ms.DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(ms.DataContext, "_current", made)
    return ray_cluster


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def train(ray, function, parts):
    """Runs a function in a process for each part, which can find each other as torch wants it."""
    port = str(free_port())

    # They wait for batches: what makes these needs the CPUs. Each has a process of its own.
    @ray.remote(num_cpus=0, max_retries=0, max_calls=1)
    def run(rank, part):
        import os

        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": len(parts)}
        told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in told.items()}
        return function(rank, part)

    return ray.get([run.remote(rank, part) for rank, part in enumerate(parts)], timeout=120)


def test_ddp_gets_equally_many_batches_and_one_model(on_ray):
    def loop(rank, part):
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel

        dist.init_process_group("gloo")
        torch.manual_seed(rank)
        model = DistributedDataParallel(torch.nn.Linear(1, 1))
        optimizer = torch.optim.SGD(model.parameters(), 1e-6)
        seen, batches = [], []
        for _ in range(2):
            batches.append(0)
            for batch in part.iter_torch_batches(batch_size=32):
                # One batch more in one of them would wait for the other for ever.
                optimizer.zero_grad()
                model(batch["id"].float()[:, None]).mean().backward()
                optimizer.step()
                seen += batch["id"].tolist()
                batches[-1] += 1
        dist.destroy_process_group()
        return seen, batches, [each.tolist() for each in model.state_dict().values()]

    ds = ms.range(1001, override_num_blocks=9)
    (seen, batches, model), (others, other_batches, other_model) = train(
        on_ray, loop, ds.streaming_split(2, equal=True)
    )
    assert batches == other_batches == [16, 16]
    assert model == other_model
    both = seen + others
    # Two epochs of 500 rows in each; one row is left out in each epoch.
    assert len(seen) == len(others) == 1000
    assert all(both.count(row) <= 2 for row in set(both))
    assert len(set(both)) >= 1000


def test_accelerate_with_a_part_for_each_process_that_is_not_prepared(on_ray):
    def loop(rank, part):
        import torch
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True)
        model = torch.nn.Linear(1, 1)
        model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 1e-6))
        seen = []
        # The part is this process's own: `prepare` would divide it once more.
        for batch in part.iter_torch_batches(batch_size=10, device=accelerator.device):
            accelerator.backward(model(batch["id"].float()[:, None]).mean())
            optimizer.step()
            seen += batch["id"].tolist()
        accelerator.end_training()
        return seen

    ds = ms.range(100, override_num_blocks=6)
    seen, others = train(on_ray, loop, ds.streaming_split(2, equal=True))
    assert len(seen) == len(others) == 50
    assert sorted(seen + others) == list(range(100))


def test_accelerate_deals_a_whole_dataset_out_if_it_is_prepared(on_ray):
    def loop(rank, dataset):
        from accelerate import Accelerator
        from torch.utils.data import DataLoader

        accelerator = Accelerator(cpu=True)
        loader = accelerator.prepare(DataLoader(dataset.to_torch_dataset(), batch_size=5))
        seen = [value for batch in loader for value in batch["id"].tolist()]
        accelerator.end_training()
        return seen

    context = ms.DataContext.get_current()
    context.backend = "local"
    ds = ms.range(100, override_num_blocks=6)
    seen, others = train(on_ray, loop, [ds, ds])
    assert len(seen) == len(others) == 50
    assert sorted(seen + others) == list(range(100))
