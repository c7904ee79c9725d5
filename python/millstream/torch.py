"""Stages that compute with torch: a class to derive from.

Owns the steps of a batch and how those of several batches overlap. Loads torch when a class is
constructed.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from millstream.errors import UserCodeError
from millstream.errors.packages import require_package
from millstream.feed.arrays import are_tensors, check_numeric
from millstream.feed.side_stream import SideStream, each_tensor
from millstream.feed.torch import Placement, tensor_over

if TYPE_CHECKING:
    import torch

__all__ = ["Inference"]


class Inference(ABC):
    """A stage of `map_batches` that computes with torch, whose steps overlap.

    For each batch, `collate` makes tensors of it on the CPU, these go to the device,
    `process_on_device` computes, what it returns comes back, and `finalize` makes a batch of it.
    While the device computes one batch, the next one is collated and copied, and the one before
    comes back and is finalized. Batches keep their order, and each step sees them in it. On CUDA
    copies go through pinned memory, on streams beside that of `process_on_device`.

    Each of the three methods runs on a thread of its own, under `torch.no_grad()`, and for one
    batch at a time.

    Args:
        args: For `initialize`: `fn_constructor_args` of `map_batches`.
        kwargs: For `initialize`: `fn_constructor_kwargs`.

    Raises:
        MissingPackageError: torch is not installed.

    Example:
        A model that loads itself once per actor::

            class Embed(millstream.torch.Inference):
                def initialize(self):
                    self.model = load().to(self.get_device()).eval()

                def process_on_device(self, input_batch, collated_tensors, collated_other):
                    return {"embedding": self.model(collated_tensors["image"])}

            ds.map_batches(Embed, num_gpus=1, batch_size=64)
    """

    #: How many batches are under way at a time: one in each step, and one between them.
    coroutines_max = 4
    _steps: _Steps | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        require_package("torch", "millstream.torch.Inference", "torch", "torch")
        self.initialize(*args, **kwargs)

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Loads what the stage needs, such as its model: once, when its actor starts.

        Args:
            args: `fn_constructor_args` of `map_batches`.
            kwargs: `fn_constructor_kwargs`.
        """
        return

    def get_device(self) -> torch.device:
        """Where `process_on_device` computes: CUDA where there is any, else the CPU."""
        import torch

        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def collate(self, input_batch: Any) -> Any:
        """Makes tensors of the CPU of a batch: here, of each column of numbers.

        Args:
            input_batch: The batch, in the `batch_format` of `map_batches`.

        Returns:
            Tensors, in dicts and lists as you like; or a tuple of these and of anything else that
            `process_on_device` is to get.

        Raises:
            SchemaError: A column has something else than numbers.
            UserCodeError: The batch is no dict of arrays.
        """
        if not isinstance(input_batch, Mapping):
            raise UserCodeError(
                f"collate got a batch of type {type(input_batch).__name__}, and takes dicts of "
                "NumPy arrays only: pass batch_format='numpy', or override collate"
            )
        made = {name: _tensors(name, values) for name, values in input_batch.items()}
        if self.get_device().type != "cpu":
            return made
        # Blocks are read-only, and the model may write to its input.
        return each_tensor(made, lambda tensor: tensor.clone())

    @abstractmethod
    def process_on_device(
        self, input_batch: Any, collated_tensors: Any, collated_other: Any
    ) -> Any:
        """Computes.

        Args:
            input_batch: The batch as it came.
            collated_tensors: What `collate` returned, on the device.
            collated_other: What it returned beside the tensors, or `None`.

        Returns:
            Tensors, in dicts and lists as you like; or a tuple of these and of anything else that
            `finalize` is to get.
        """

    def finalize(self, input_batch: Any, output_tensors: Any, output_other: Any) -> Any:
        """Makes a batch of the result: here, arrays of the tensors.

        Args:
            input_batch: The batch as it came.
            output_tensors: What `process_on_device` returned, on the CPU.
            output_other: What it returned beside the tensors, or `None`.

        Returns:
            What a function of `map_batches` may return.

        Raises:
            UserCodeError: There is something beside the tensors, of which it knows nothing.
        """
        if output_other is not None:
            raise UserCodeError(
                "process_on_device returned a tuple of tensors and something else: override "
                "finalize, which says what becomes of it"
            )
        return each_tensor(output_tensors, _array)

    def __call__(self, batch: Any) -> Awaitable[Any]:
        """Takes a batch through all steps."""
        if self._steps is None:
            self._steps = _Steps(self)
        return self._steps.run(batch)


class _Steps:
    """The threads of a stage, each for one step.

    Args:
        stage: What is done in them.
    """

    def __init__(self, stage: Inference) -> None:
        self._stage = stage
        # Without a number it is that of this thread, and the steps have others.
        self._device = Placement(stage.get_device(), pin_memory=False).device
        is_cuda = self._device.type == "cuda"
        self._way_in = SideStream(self._device) if is_cuda else None
        self._way_out = SideStream(self._device) if is_cuda else None
        # A thread takes its work in the order in which it was given.
        names = ("collate", "process", "finalize")
        self._threads = [ThreadPoolExecutor(1, f"millstream-{name}") for name in names]

    async def run(self, batch: Any) -> Any:
        """Takes a batch through all steps, each on its thread."""
        loop = asyncio.get_running_loop()
        collate, process, finalize = self._threads
        collated = await loop.run_in_executor(collate, self._collated, batch)
        computed = await loop.run_in_executor(process, self._computed, batch, *collated)
        return await loop.run_in_executor(finalize, self._finalized, batch, *computed)

    def _collated(self, batch: Any) -> tuple[Any, Any]:
        with self._settings():
            tensors, other = _parts(self._stage.collate(batch))
            if self._way_in is not None:
                return self._way_in.sent(tensors), other
            return each_tensor(tensors, lambda tensor: tensor.to(self._device)), other

    def _computed(self, batch: Any, sent: Any, other: Any) -> tuple[Any, Any]:
        with self._settings():
            tensors = sent if self._way_in is None else self._way_in.received(sent)
            made, beside = _parts(self._stage.process_on_device(batch, tensors, other))
            return (made if self._way_out is None else self._way_out.computed(made)), beside

    def _finalized(self, batch: Any, sent: Any, other: Any) -> Any:
        with self._settings():
            if self._way_out is not None:
                tensors = self._way_out.brought(sent)
            else:
                tensors = each_tensor(sent, lambda tensor: tensor.cpu())
            return self._stage.finalize(batch, tensors, other)

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Those of torch that each thread has for itself."""
        import torch

        with torch.no_grad():
            if self._device.type == "cuda":
                with torch.cuda.device(self._device):
                    yield
            else:
                yield


def _parts(made: Any) -> tuple[Any, Any]:
    """Tensors and what is beside them."""
    return made if type(made) is tuple and len(made) == 2 else (made, None)


def _tensors(name: str, values: Any) -> Any:
    if isinstance(values, np.ndarray) and are_tensors(values):
        return [tensor_over(each) for each in values]
    check_numeric(name, np.asarray(values), "torch", "override collate")
    return tensor_over(np.asarray(values))


def _array(tensor: torch.Tensor) -> Any:
    import torch

    # NumPy has no such type, and one of 32 bits holds all of its values.
    plain = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return plain.detach().cpu().numpy()
