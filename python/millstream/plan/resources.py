"""What a worker holds while it works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Resources:
    """What one task holds while it runs, or one actor while it lives.

    Args:
        cpu: CPUs.
        gpu: GPUs.
        memory: Bytes of heap.
        custom: Amounts of other resources, by name.
    """

    cpu: float = 1
    gpu: float = 0
    memory: int = 0
    custom: Mapping[str, float] = field(default_factory=dict)

    def amounts(self) -> dict[str, float]:
        """All that it is, by Ray's names: `"CPU"`, `"GPU"`, `"memory"` and those of `custom`."""
        named = {"CPU": self.cpu, "GPU": self.gpu, **self.custom, "memory": self.memory}
        return {name: amount for name, amount in named.items() if amount}
