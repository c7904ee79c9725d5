"""A run's seat at the table: its report, and the shares that it is told.

Owns the conversion between a run's own numbers of nodes and their names in Ray. Must not know how
reports and shares travel, nor how they are divided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from millstream import _core
from millstream.run.ray.cluster import Cluster
from millstream.run.ray.table import Report, Share


class Seat:
    """A run, as those that it shares with know it.

    Args:
        cluster: The nodes as the run numbers them.
        demand: What the run holds, goes by and wants; called on any thread.
        weight: Of what several runs want, each gets in proportion to its weight.
        hear: Takes new shares; called on any thread.
    """

    def __init__(
        self,
        cluster: Cluster,
        demand: Callable[[], _core.Demand],
        weight: int,
        hear: Callable[[Sequence[_core.Node]], None],
    ) -> None:
        self._cluster = cluster
        self._demand = demand
        self._weight = weight
        self._hear = hear

    def report(self) -> Report:
        """What the run says of itself."""
        total = {name: Share.of(node) for name, node in self._cluster.present().items()}
        demand = self._demand()
        return Report(
            weight=self._weight,
            total=total,
            held=self._by_name(demand.held),
            goes_by=self._by_name(demand.shares),
            wanted=Share.of(demand.wanted),
        )

    def tell(self, shares: dict[str, Share]) -> None:
        """Tells the run new shares."""
        self._hear([share.at(self._cluster.number(name)) for name, share in shares.items()])

    def _by_name(self, nodes: Iterable[_core.Node]) -> dict[str, Share]:
        return {self._cluster.id_of(node.node): Share.of(node) for node in nodes}


def no_share(node: _core.Node) -> _core.Event:
    """Tells a run that nothing of a node is its own yet."""
    return _core.Event.ShareChanged(_core.Node(node=node.node, cpu=0, store_bytes=0))
