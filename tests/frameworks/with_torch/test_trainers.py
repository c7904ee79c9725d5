"""Trainers of others over datasets: which rows they see, and with which they go on."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.utils.data import DataLoader

import millstream as ms

with warnings.catch_warnings():
    # What they warn of when they are loaded is not ours.
    warnings.simplefilter("ignore")
    import lightning
    import transformers
    from accelerate import Accelerator
    from torchdata.stateful_dataloader import StatefulDataLoader

pytestmark = [
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),  # torchdata
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),  # Lightning
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__`"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:.*mid-epoch checkpoint"),
    pytest.mark.filterwarnings("ignore:.*pin_memory"),  # there is no CUDA
]


def numbers(rows):
    return ms.range(rows, override_num_blocks=3).map(lambda row: {"x": float(row["id"])})


class Seen(lightning.LightningModule):
    """Trains on nothing, and notes what it sees."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []

    def training_step(self, batch, index):
        self.seen.append(batch["x"].tolist())
        return self.layer(batch["x"].float()[:, None]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-9)


def fit(module, loader, folder, checkpoint=None, **options):
    every = lightning.pytorch.callbacks.ModelCheckpoint(
        folder, every_n_train_steps=1, save_top_k=-1, filename="{step}"
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        callbacks=[every],
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        **options,
    )
    trainer.fit(module, loader, ckpt_path=checkpoint)


def test_lightning_sees_each_row_once_an_epoch(tmp_path):
    module = Seen()
    fit(module, numbers(10).to_torch_dataset(batch_size=4), tmp_path, max_epochs=2)
    assert module.seen == 2 * [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("workers", [None, 0, 1])
def test_lightning_goes_on_with_the_very_next_batch(tmp_path, workers):
    def loader():
        if workers is None:
            return numbers(20).to_torch_dataset(batch_size=4)
        made = numbers(20).to_torch_dataset()
        return StatefulDataLoader(made, batch_size=4, num_workers=workers)

    first, other = Seen(), Seen()
    fit(first, loader(), tmp_path, max_steps=2)
    fit(other, loader(), tmp_path, checkpoint=tmp_path / "step=2.ckpt", max_epochs=1)
    seen = first.seen + other.seen
    assert [value for batch in seen for value in batch] == list(range(20))


def test_accelerate_sees_each_row_once():
    accelerator = Accelerator(cpu=True)
    loader = accelerator.prepare(DataLoader(numbers(10).to_torch_dataset(), batch_size=4))
    for _ in range(2):
        assert [value for batch in loader for value in batch["x"].tolist()] == list(range(10))


class Line(torch.nn.Module):
    """A model as a `Trainer` of Transformers wants it, that notes what it sees."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []

    def forward(self, x, labels=None):
        self.seen.append(x.tolist())
        return {"loss": self.layer(x.float()[:, None]).mean()}


def train(rows, folder, checkpoint=None, **options):
    model = Line()
    arguments = transformers.TrainingArguments(
        str(folder),
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        save_steps=2,
        **options,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=numbers(rows).to_torch_dataset())
    trainer.train(resume_from_checkpoint=checkpoint)
    return model.seen


def test_transformers_trains_by_epochs_where_the_length_is_known(tmp_path):
    seen = train(10, tmp_path, num_train_epochs=2)
    assert seen == 2 * [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_transformers_goes_on_with_the_very_next_batch(tmp_path):
    first = train(20, tmp_path, max_steps=3)
    checkpoint = str(tmp_path / "checkpoint-2")
    other = train(20, tmp_path, checkpoint=checkpoint, max_steps=5)
    assert first[:2] + other == [list(range(start, start + 4)) for start in range(0, 20, 4)]
