"""Whether a plan gives the same rows in the same order in each run.

Owns the rule. Knows nothing of runs.
"""

from __future__ import annotations

from millstream.io.source import Source
from millstream.plan.logical import Exchange, LogicalPlan, Map, Phase, Read
from millstream.plan.placing import is_drawn_anew
from millstream.plan.sampling import RandomSample
from millstream.plan.shuffling import ShuffleStep


def what_differs(plan: LogicalPlan) -> str | None:
    """What may give other rows, or another order, in each run, and what to do; `None`: nothing."""
    found = (_difference(each) for each in plan.all())
    return next((problem for problem in found if problem is not None), None)


def _difference(plan: LogicalPlan) -> str | None:
    start = plan.start
    if isinstance(start, Phase) and not start.step.repeats_order:
        is_shuffle = isinstance(start.step, ShuffleStep)
        return _SHUFFLED if is_shuffle else _of_partitions(start.name)
    for operator in plan.operators:
        if isinstance(operator, Exchange):
            return _of_partitions(operator.name)
        draw = operator.transform if isinstance(operator, Map) else None
        if isinstance(draw, RandomSample) and draw.seed is None:
            return "random_sample() draws other rows in each run: pass it a seed"
        if is_drawn_anew(operator):
            return "random() gives other numbers in each run: pass it a seed"
    return _of_source(start.source) if isinstance(start, Read) else None


def _of_source(source: Source) -> str | None:
    if source.redrawn is None or source.repeats_order:
        return None
    return (
        f"{source.name} has another order in each run: pass a seed "
        "(shuffle=FileShuffleConfig(seed=…), randomize_block_order(seed=…))"
    )


def _of_partitions(name: str) -> str:
    return (
        f"the order after {name} depends on the cluster: materialize() or write what it puts out, "
        "and iterate over that"
    )


_SHUFFLED = "random_shuffle() gives another order in each run: pass it a seed"
