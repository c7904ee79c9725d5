"""What the workers of one operator run.

Must import no more than workers need, since they import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from millstream.blocks.transforms import Transform

if TYPE_CHECKING:
    from millstream.blocks.partition import Partitioner


@dataclass(frozen=True)
class Stage:
    """What the workers of one operator run.

    Attributes:
        name: The operator's name.
        transforms: Applied one after the other to each task's input.
        block_bytes_target: What a block should hold.
        piece_rows: Where the blocks of the input must not be joined, a task works on them piece by
            piece: each unit, or as few blocks as have so many rows. None: they may be joined.
        partitioner: Deals out the rows, if this is the first half of an exchange.
    """

    name: str
    transforms: tuple[Transform, ...]
    block_bytes_target: int
    piece_rows: int | None = None
    partitioner: Partitioner | None = None

    @property
    def has_functions(self) -> bool:
        """Whether it calls functions of users."""
        return any(hasattr(transform, "function") for transform in self.transforms)

    @property
    def has_end(self) -> bool:
        """Whether a class in it says what happens when its instance is no longer needed."""
        return any(getattr(transform, "has_end", False) for transform in self.transforms)
