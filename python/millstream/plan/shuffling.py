"""Shuffles: rows in a random order, by an exchange.

Owns the seed of a run. Knows nothing of how anything runs.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from millstream.blocks.gather import Shuffled
from millstream.blocks.partition import AtRandom
from millstream.plan.logical import Exchange, LogicalPlan, same_columns


@dataclass(frozen=True)
class ShuffleStep:
    """Deals the rows out at random, and puts those of each partition in a random order.

    Args:
        seed: What the order depends on; `None`: each run has another one.
        partitions: How many partitions.
    """

    seed: int | None
    partitions: int

    @property
    def repeats_order(self) -> bool:
        """With a seed, it does."""
        return self.seed is not None

    def planned(self, plan: LogicalPlan, run: Callable[[LogicalPlan], Any]) -> LogicalPlan:
        """The plan with the shuffle of one run behind it."""
        return self.assumed(plan)

    def assumed(self, plan: LogicalPlan) -> LogicalPlan:
        """The same."""
        seed = secrets.randbits(64) if self.seed is None else self.seed
        gather = Shuffled(seed)
        shuffle = Exchange(
            gather.name,
            AtRandom(seed, self.partitions),
            gather,
            columns=same_columns,
            keeps_rows=True,
            is_repeatable=self.seed is not None,
        )
        return plan.then(shuffle)
