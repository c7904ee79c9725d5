"""Batches as tensors of torch.

Owns which column becomes which tensor, and where it goes. Loads torch when the first batch is asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from millstream.errors import ArgumentError, MissingPackageError, SchemaError
from millstream.feed.arrays import are_tensors, check_numeric, of_column

if TYPE_CHECKING:
    import torch


class ToTorch:
    """Makes tensors of a batch, a dict of column name to array.

    Args:
        dtypes: The type of all tensors, or those of some columns by name; `None`: those of the
            columns.
        device: Where they go: `"auto"` is CUDA where there is any, else the CPU.
        pin_memory: Whether tensors of the CPU lie in memory from which CUDA copies faster.

    Raises:
        ArgumentError: There is no such device.
        MissingPackageError: torch is not installed.
    """

    def __init__(
        self, dtypes: Any = None, device: Any = "auto", *, pin_memory: bool = False
    ) -> None:
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
            self._device = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ArgumentError(f"device={device!r} is none of torch's: {error}") from error
        self._dtypes = dtypes
        # Without CUDA there is nothing to copy to, and torch would warn.
        self._pins = pin_memory and has_cuda and self._device.type == "cpu"

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors, by column.

        Raises:
            SchemaError: A column cannot be a tensor.
        """
        return {name: self._tensor(name, values) for name, values in batch.items()}

    def _tensor(self, name: str, values: Any) -> Any:
        dtype = of_column(self._dtypes, name)
        if are_tensors(values):
            return [self._placed(each, dtype, name) for each in values]
        return self._placed(values, dtype, name)

    def _placed(self, values: Any, dtype: torch.dtype | None, name: str) -> torch.Tensor:
        import torch

        check_numeric(name, values, "torch")
        try:
            made = torch.from_numpy(np.ascontiguousarray(values))
        except TypeError as error:
            raise SchemaError(f"column {name!r}: {error}") from error
        if self._pins:
            made = made.pin_memory()
        return made.to(self._device, dtype, non_blocking=True)


def tensors_of(
    dtypes: Any, device: Any, *, pin_memory: bool, collate_fn: Callable[[Any], Any] | None
) -> Callable[[Any], Any]:
    """What makes of a batch what the training loop gets.

    Args:
        dtypes: See `ToTorch`.
        device: See `ToTorch`.
        pin_memory: See `ToTorch`.
        collate_fn: Makes it of a dict of arrays; then nothing else is done.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: torch is not installed.
    """
    if collate_fn is None:
        return ToTorch(dtypes, device, pin_memory=pin_memory)
    if not callable(collate_fn):
        raise ArgumentError(f"collate_fn={collate_fn!r} must be a function of a dict of arrays")
    if dtypes is not None:
        raise ArgumentError("give either collate_fn or dtypes: collate_fn makes the tensors itself")
    return collate_fn
