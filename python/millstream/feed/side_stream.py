"""Copies to a CUDA device beside what the device computes.

Owns the stream, the pinned memory and who waits for whom. Loads torch when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sent:
    """Tensors on their way to a device.

    Args:
        tensors: They, in dicts, lists and tuples.
        arrived: The event that they are there.
    """

    tensors: Any
    arrived: Any

    @property
    def nbytes(self) -> int:
        """What they take."""
        sizes: list[int] = []
        each_tensor(self.tensors, lambda tensor: sizes.append(tensor.nbytes))
        return sum(sizes)


class SideStream:
    """A stream of a device on which copies run while others compute.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = None

    def sent(self, tensors: Any) -> Sent:
        """Begins to copy tensors of the CPU to the device, and does not wait for it."""
        import torch

        stream = self._made()
        with torch.cuda.stream(stream):
            copies = each_tensor(tensors, self._copied)
            arrived = stream.record_event()
        return Sent(copies, arrived)

    def received(self, sent: Sent) -> Any:
        """The tensors on the device: what the calling thread computes next waits for them."""
        import torch

        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(sent.arrived)

        def used(tensor: torch.Tensor) -> torch.Tensor:
            # Its memory must not be given to the next copy before this stream is through with it.
            tensor.record_stream(stream)
            return tensor

        return each_tensor(sent.tensors, used)

    def computed(self, tensors: Any) -> Sent:
        """Tensors that the calling thread's stream computes, for `brought`."""
        import torch

        return Sent(tensors, torch.cuda.current_stream(self._device).record_event())

    def brought(self, sent: Sent) -> Any:
        """Copies of computed tensors on the CPU. Waits for them, and for nothing computed later."""
        import torch

        stream = self._made()
        stream.wait_event(sent.arrived)

        def copied(tensor: torch.Tensor) -> torch.Tensor:
            # As in `received`. A copy to the CPU that does not wait goes to pinned memory.
            if tensor.device.type != "cpu":
                tensor.record_stream(stream)
            return tensor.to("cpu", non_blocking=True)

        with torch.cuda.stream(stream):
            copies = each_tensor(sent.tensors, copied)
        stream.synchronize()
        return copies

    def _made(self) -> Any:
        import torch

        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)
        return self._stream

    def _copied(self, tensor: torch.Tensor) -> torch.Tensor:
        # Only from pinned memory does a copy run beside the CPU and the device.
        return tensor.pin_memory().to(self._device, non_blocking=True)


def each_tensor(values: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The same dicts, lists and tuples with each tensor changed; all else stays as it is."""
    import torch

    if isinstance(values, torch.Tensor):
        return change(values)
    if isinstance(values, dict):
        return {key: each_tensor(value, change) for key, value in values.items()}
    if isinstance(values, list):
        return [each_tensor(value, change) for value in values]
    if isinstance(values, tuple):
        made = [each_tensor(value, change) for value in values]
        return type(values)(*made) if hasattr(values, "_fields") else tuple(made)
    return values
