"""Batches as tensors of torch.

Owns which column becomes which tensor, and where it goes. Loads torch when the first batch is asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from millstream.errors import ArgumentError, MissingPackageError, SchemaError
from millstream.feed.arrays import Array, are_tensors, check_numeric, check_range, of_column
from millstream.feed.side_stream import SideStream, each_tensor

if TYPE_CHECKING:
    import torch


class Placement:
    """Where the tensors of batches go.

    Args:
        device: To which device: `"auto"` is CUDA where there is any, else the CPU. Without a number
            it is that of the calling thread.
        pin_memory: Whether tensors of the CPU lie in memory from which CUDA copies faster.

    Raises:
        ArgumentError: There is no such device.
        MissingPackageError: torch is not installed.
    """

    def __init__(self, device: Any, *, pin_memory: bool) -> None:
        try:
            import torch
        except ImportError:
            raise MissingPackageError(
                "iter_torch_batches needs torch: pip install 'millstream[torch]'"
            ) from None
        has_cuda = torch.cuda.is_available()
        if device == "auto":
            device = "cuda" if has_cuda else "cpu"
        try:
            self.device = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ArgumentError(f"device={device!r} is none of torch's: {error}") from error
        if has_cuda and self.device.type == "cuda" and self.device.index is None:
            # Batches are made on another thread, whose device is another one.
            self.device = torch.device("cuda", torch.cuda.current_device())
        # Without CUDA there is nothing to copy to, and torch would warn.
        self._pins: bool = pin_memory and has_cuda and self.device.type == "cpu"
        self._side = SideStream(self.device) if self.device.type == "cuda" else None

    @property
    def copies(self) -> bool:
        """Whether tensors go elsewhere at all."""
        return self._pins or str(self.device.type) != "cpu"

    def sent(self, tensors: Any) -> Any:
        """Tensors of the CPU on their way, for `received`."""
        if self._side is not None:
            return self._side.sent(tensors)
        if self._pins:
            return each_tensor(tensors, lambda tensor: tensor.pin_memory())
        return (
            each_tensor(tensors, lambda tensor: tensor.to(self.device)) if self.copies else tensors
        )

    def received(self, sent: Any) -> Any:
        """The tensors, for the consumer, on its thread."""
        return sent if self._side is None else self._side.received(sent)


class ToTorch:
    """Makes tensors of the CPU of a batch, a dict of column name to array.

    Args:
        dtypes: The type of all tensors, or those of some columns by name; `None`: those of the
            columns.
        shares_memory: Whether they may be views of arrays that are read-only.
    """

    def __init__(self, dtypes: Any, *, shares_memory: bool) -> None:
        self._dtypes = dtypes
        self._shares = shares_memory

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors, by column.

        Raises:
            SchemaError: A column cannot be a tensor.
        """
        return {name: self._tensor(name, values) for name, values in batch.items()}

    def _tensor(self, name: str, values: Any) -> Any:
        dtype = of_column(self._dtypes, name)
        if are_tensors(values):
            return [self._made(each, dtype, name) for each in values]
        return self._made(values, dtype, name)

    def _made(self, values: Any, dtype: torch.dtype | None, name: str) -> torch.Tensor:
        check_numeric(name, values, "torch")
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            _check_fits(name, values, dtype)
        try:
            shared = tensor_over(values)
        except TypeError as error:
            raise SchemaError(f"column {name!r}: {error}") from error
        made = shared if dtype is None else shared.to(dtype)
        is_view = made is shared and not values.flags.writeable
        # The loop may write to its tensors, and must not write to blocks.
        return made.clone() if is_view and not self._shares else made


def tensor_over(values: Array) -> torch.Tensor:
    """A tensor that shares the memory of an array of numbers; torch warns of nothing.

    Of an array that is read-only it must not be written to.

    Raises:
        TypeError: torch has no such type.
    """
    import torch

    values = np.ascontiguousarray(values)
    if not values.flags.writeable:
        values = np.asarray(_Writable(values)) if values.size else values.copy()
    return torch.from_numpy(values)


class _Writable:
    """Memory of an array as NumPy takes it, said to be writable: torch warns of any other.

    Args:
        values: The array, which is kept alive.
    """

    def __init__(self, values: Array) -> None:
        self._values = values
        told = values.__array_interface__
        self.__array_interface__ = {**told, "data": (told["data"][0], False)}


def _check_fits(name: str, values: Array, dtype: torch.dtype) -> None:
    import torch

    if dtype != torch.bool:
        held = torch.iinfo(dtype)
        check_range(name, values, held.min, held.max, "pass a wider type in dtypes")


def tensors_of(
    dtypes: Any,
    device: Any,
    *,
    pin_memory: bool,
    shares_memory: bool,
    collate_fn: Callable[[Any], Any] | None,
) -> dict[str, Any]:
    """What makes of a batch what the training loop gets: options of `feed.iter_batches`.

    Args:
        dtypes: See `ToTorch`.
        device: See `Placement`.
        pin_memory: See `Placement`.
        shares_memory: See `ToTorch`.
        collate_fn: Makes tensors of a dict of arrays in place of `ToTorch`.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: torch is not installed.
    """
    place = Placement(device, pin_memory=pin_memory)
    make: Callable[[Any], Any]
    if collate_fn is None:
        # What is copied to another place need not be copied before.
        make, zero_copy = ToTorch(dtypes, shares_memory=shares_memory or place.copies), True
    elif not callable(collate_fn):
        raise ArgumentError(f"collate_fn={collate_fn!r} must be a function of a dict of arrays")
    elif dtypes is not None:
        raise ArgumentError("give either collate_fn or dtypes: collate_fn makes the tensors itself")
    else:
        make, zero_copy = collate_fn, shares_memory
    return {
        "convert": lambda batch: place.sent(make(batch)),
        "receive": place.received,
        "zero_copy_batch": zero_copy,
    }
