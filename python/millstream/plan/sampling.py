"""Rows drawn at random, and sources in a random order.

Owns where a draw belongs in a plan, and the seeds. Knows nothing of scheduling.

A row is drawn by its place in its unit of a source: a fact that does not change when a task is
repeated, when rows that were lost are made again, or when blocks are cut elsewhere. Rows of blocks
have no such place. So a draw moves up to the sources, past all that gives one row, or none, for
each: what comes of it is the same rows.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pyarrow as pa

from millstream.blocks.transforms import Blocks, FilterRows
from millstream.errors import ArgumentError
from millstream.io.source import OpenUnits, ReadUnit, Source
from millstream.plan.expressions import FilterExpression
from millstream.plan.logical import Limit, LogicalPlan, Map, Read, Union
from millstream.plan.units import SampledUnit, with_units


@dataclass(frozen=True, eq=False)
class RandomSample:
    """Draws rows of a source; the rules of plans move it there, so that it never runs itself.

    Args:
        fraction: How likely each row is drawn.
        seed: What the draw depends on; `None`: each run has another one.
        place: Tells the sources of one draw apart.
        draw: Stands for the draw, in all places of a plan.
    """

    fraction: float
    seed: int | None
    place: int = 0
    draw: list[None] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"RandomSample({self.fraction})"

    def open(self) -> Callable[[Blocks], Blocks]:
        """Is never called."""
        raise RuntimeError("a draw was left in the plan")

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema after it, which is that before."""
        return schema


class Draws:
    """The draws of one run."""

    def __init__(self) -> None:
        self._seeds: dict[int, int] = {}

    def applied(self, source: Source, samples: list[RandomSample], first: int = 0) -> Source:
        """The source with only the rows that are drawn.

        Args:
            source: The source.
            samples: Draws, each of the rows that the one before leaves.
            first: How many draws come before.
        """
        for depth, sample in enumerate(samples, first):
            seed = sample.seed
            if seed is None:
                seed = self._seeds.setdefault(id(sample.draw), secrets.randbits(64))
            key = (seed, sample.place, depth)
            name = f"{source.name}.sample({sample.fraction})"
            make = partial(_sampled, sample.fraction, key)
            source = replace(with_units(source, make), name=name, rows=None)
        return source


def sampled(plan: LogicalPlan, sample: RandomSample) -> LogicalPlan:
    """A plan whose sources are drawn of.

    Raises:
        ArgumentError: An operator does not give one row, or none, for each.
    """
    places = iter(range(2**32))
    made: list[LogicalPlan] = []
    left = [(plan, False)]
    while left:
        each, has_inputs = left.pop()
        if has_inputs:
            count = len(each.inputs)
            inputs, made[-count:] = tuple(made[-count:]), []
            start: Any = each.start
            made.append(replace(each, start=replace(start, inputs=inputs)))
            continue
        _check_rows_are_apart(each)
        if isinstance(each.start, Read):
            drawn = replace(sample, place=next(places))
            made.append(each.then(Map(drawn, changes_rows=True, columns=drawn.schema)))
        else:
            left.append((each, True))
            left += [(below, False) for below in reversed(each.inputs)]
    return made[0]


def reordered(plan: LogicalPlan, seed: int | None) -> LogicalPlan:
    """A plan whose source is read in a random order.

    Raises:
        ArgumentError: It has several sources, or a limit, which would get other rows.
    """
    start = plan.start
    limits = [each for each in plan.operators if isinstance(each, Limit)]
    if not isinstance(start, Read) or limits:
        what = f"after {limits[0].name}" if limits else f"of a {start.name.lower()}"
        raise ArgumentError(
            f"randomize_block_order {what}: the order is that in which one source is read; call it "
            "before, or call materialize() first"
        )
    return replace(plan, start=replace(start, source=_reordered(start.source, seed)))


def _reordered(source: Source, seed: int | None) -> Source:
    return replace(
        source,
        with_columns=_kept(source.with_columns, seed),
        with_filter=_kept(source.with_filter, seed),
        completed=None if source.completed is None else _kept(source.completed, seed),
        redrawn=partial(_shuffled, source, seed),
        repeats_order=seed is not None and (source.redrawn is None or source.repeats_order),
    )


def _kept(make: Any, seed: int | None) -> Any:
    """What makes another source of one, which stays in a random order."""
    return None if make is None else partial(_made, make, seed)


def _made(make: Callable[..., Source], seed: int | None, *args: Any) -> Source:
    return _reordered(make(*args), seed)


def _shuffled(source: Source, seed: int | None) -> Source:
    """The source in the order of one run. All of its units must be known for it."""
    if source.redrawn is not None:
        source = source.redrawn()
    if isinstance(source.units, OpenUnits) and source.completed is not None:
        source = source.completed()
    order = list(range(len(source.units)))
    random.Random(seed).shuffle(order)  # noqa: S311 - not a secret
    return _in_order(source, order)


def _in_order(source: Source, order: list[int]) -> Source:
    """The source with its units in another order, whatever columns and rows are asked of it."""
    return replace(
        source,
        units=[source.units[place] for place in order],
        redrawn=None,
        completed=None,
        with_columns=_in_same_order(source.with_columns, order),
        with_filter=_in_same_order(source.with_filter, order),
    )


def _in_same_order(make: Any, order: list[int]) -> Any:
    return None if make is None else partial(_again_in_order, make, order)


def _again_in_order(make: Callable[..., Source], order: list[int], *args: Any) -> Source:
    source = make(*args)
    count = len(source.units)
    if count != len(order):
        # Who knows more of the files may divide them otherwise.
        order = random.Random(count).sample(range(count), count)  # noqa: S311 - as above
    return _in_order(source, order)


def _sampled(fraction: float, key: tuple[int, ...], unit: ReadUnit, place: int) -> ReadUnit:
    return SampledUnit(unit, fraction, (*key, place))


def _check_rows_are_apart(plan: LogicalPlan) -> None:
    problem = None
    if not isinstance(plan.start, Read | Union):
        problem = plan.start.name.lower()
    for operator in plan.operators:
        if not isinstance(operator, Map) or not _is_row_by_row(operator):
            problem = problem or operator.name
    if problem is not None:
        raise ArgumentError(
            f"random_sample after {problem}: rows are drawn where they are read, and {problem} "
            "may not give one row for each; call random_sample before it, or call materialize() "
            "first. map_batches(udf_modifying_row_count=False) promises as many rows"
        )


def _is_row_by_row(operator: Map) -> bool:
    """Whether it gives one row, or none, for each, whatever the others are."""
    kinds = (FilterExpression, FilterRows, RandomSample)
    return operator.keeps_rows or isinstance(operator.transform, kinds)
