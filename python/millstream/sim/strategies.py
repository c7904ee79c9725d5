"""Hypothesis strategies for simulated worlds: plans with their models, clusters, and faults.

Owns what is drawn: small things first, so that what Hypothesis shrinks to is small. Needs the extra
`millstream[sim]`. Knows nothing of how worlds are run.

Example:
    >>> from hypothesis import given
    >>> from millstream.sim import simulate, strategies
    >>> @given(strategies.pipelines(), strategies.clusters())
    ... def test_all_rows_come_out(pipeline, cluster):
    ...     run = simulate(pipeline.plan, cluster=cluster, models=pipeline.models)
    ...     assert run.rows_out == pipeline.rows_out
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from millstream import _core
from millstream.sim.world import Cluster, Consumer, Faults, Model, Node, Variation

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "millstream.sim.strategies needs Hypothesis: pip install 'millstream[sim]'"
    ) from error


@dataclass(frozen=True)
class Pipeline:
    """A plan, and how each of its operators behaves.

    Attributes:
        plan: The operators.
        models: One for each.
    """

    plan: _core.Plan
    models: tuple[Model, ...]

    @property
    def rows_out(self) -> int:
        """The rows that come out of all of it."""
        source = self.models[0].unit_rows
        rows = sum(source) if isinstance(source, tuple) else 0
        for model in self.models[1:]:
            rows = int(rows * model.rows_out)
        return rows


def variations() -> st.SearchStrategy[Variation]:
    """Even, skewed and drifting durations and sizes."""
    return st.one_of(
        st.just(Variation()),
        st.builds(Variation, spread=st.sampled_from([0.1, 0.5])),
        st.builds(Variation, tail=st.just(0.05), tail_factor=st.sampled_from([3.0, 10.0])),
        st.builds(Variation, drift=st.sampled_from([0.3, 3.0]), drift_items=st.integers(1, 50)),
    )


def models() -> st.SearchStrategy[Model]:
    """Operators that put out as many rows as they take, none, or some for each."""
    return st.builds(
        Model,
        item_s=st.sampled_from([0.0, 0.001, 0.1]),
        task_s=st.sampled_from([0.0, 0.01]),
        pace=variations(),
        rows_out=st.sampled_from([1, 0, 2, 3]),
        row_bytes=st.integers(1, 100_000),
        size=variations(),
        is_correlated=st.booleans(),
        emits_at_end=st.booleans(),
        load_s=st.sampled_from([0.0, 1.0]),
    )


@st.composite
def pipelines(draw: st.DrawFn, max_operators: int = 4, max_units: int = 12) -> Pipeline:
    """A source and up to `max_operators - 1` stages behind it, as tasks or on actors.

    Every operator asks for at most one CPU or one GPU, and pools for two actors at least, so that
    `clusters` can hold them.
    """
    stages = draw(st.integers(0, max_operators - 1))
    units = draw(st.lists(st.integers(0, 5), max_size=max_units))
    source_op = _core.OpSpec(name="Read", kind=_core.Kind.Source([0] * len(units)), cpu=1)
    workers = draw(st.lists(_workers(), min_size=stages, max_size=stages))
    maps = [
        _core.OpSpec(name=f"Map{number}", inputs=[number - 1], **worker)
        for number, worker in enumerate(workers, start=1)
    ]
    ops = [source_op, *maps]
    config = _core.Config(
        preserve_order=draw(st.booleans()),
        block_bytes_target=draw(st.sampled_from([10_000, 1_000_000])),
        deaths_max=1_000,
    )
    behaviours = [draw(models()) for _ in ops]
    source = Model(**{**vars(behaviours[0]), "unit_rows": tuple(units)})
    return Pipeline(_core.Plan(ops, config), (source, *behaviours[1:]))


def nodes() -> st.SearchStrategy[Node]:
    """Machines of different sizes, fast ones and slow ones."""
    return st.builds(
        Node,
        cpu=st.integers(1, 8),
        gpu=st.integers(0, 2),
        store_bytes=st.sampled_from([1 << 30, 20_000_000]),
        slowness=st.sampled_from([1.0, 3.0]),
    )


@st.composite
def clusters(draw: st.DrawFn, max_nodes: int = 3) -> Cluster:
    """Up to `max_nodes` machines, the first of which can hold every one of `pipelines`."""
    first = Node(cpu=draw(st.integers(8, 16)), gpu=8, store_bytes=1 << 30)
    others = draw(st.lists(nodes(), max_size=max_nodes - 1))
    return Cluster(
        nodes=(first, *others),
        network_bytes_per_s=draw(st.sampled_from([0, 1_000_000, 100_000_000])),
        network_latency_s=draw(st.sampled_from([0.0, 0.01])),
        worker_start_s=draw(st.sampled_from([0.0, 1.0])),
        call_s=draw(st.sampled_from([0.0, 0.002])),
        order_s=draw(st.sampled_from([0.0, 0.005])),
        event_s=draw(st.sampled_from([0.0, 0.02])),
        turn_s=draw(st.sampled_from([0.0, 0.003])),
    )


def consumers() -> st.SearchStrategy[Consumer]:
    """Consumers of any speed, and such that rest; none that stops."""
    return st.builds(
        Consumer,
        block_s=st.sampled_from([0.0, 0.001, 0.05]),
        rest_after_blocks=st.one_of(st.none(), st.integers(0, 5)),
        rest_s=st.just(10.0),
    )


def faults() -> st.SearchStrategy[Faults]:
    """What a run survives: deaths, events out of date or told twice, machines that join."""
    return st.builds(
        Faults,
        task_death=st.sampled_from([0.0, 0.02, 0.2]),
        out_of_memory=st.sampled_from([0.0, 0.02]),
        actor_death=st.sampled_from([0.0, 0.02, 0.2]),
        stale_event=st.sampled_from([0.0, 0.2]),
        duplicate_event=st.sampled_from([0.0, 0.2]),
        idle_turn=st.sampled_from([0.0, 0.2]),
        joins=st.lists(st.tuples(st.floats(0.0, 3.0), nodes()), max_size=1),
    )


def _workers() -> st.SearchStrategy[dict[str, Any]]:
    slots = st.sampled_from([{"cpu": 1}, {"cpu": 0.5}, {"gpu": 1}, {"gpu": 0.5}])
    tasks = st.just(_core.Kind.Tasks())
    sizes = (st.integers(1, 2), st.integers(2, 4), st.integers(1, 3))
    actors = st.builds(_core.Kind.Actors, *sizes)
    return st.builds(lambda kind, slot: {"kind": kind, **slot}, st.one_of(tasks, actors), slots)
