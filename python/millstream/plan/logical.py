"""The logical plan: what the user asked for, one operator per call.

Owns the operators and what is known of them without running. Knows nothing of fusion or of how
anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from millstream.blocks import beside, block
from millstream.blocks.transforms import MapBatches, MapRows, Transform
from millstream.compute import ComputeStrategy, TaskPoolStrategy
from millstream.io.source import Source
from millstream.plan.resources import Resources

if TYPE_CHECKING:
    from millstream.blocks.partition import Partitioner

T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """What an operator's workers are: operators of equal shape can run in the same worker.

    Args:
        compute: Tasks or a pool of actors, and how many.
        resources: What each of them holds.
        remote_args: Further options of the Ray task or actor.
    """

    compute: ComputeStrategy = field(default_factory=TaskPoolStrategy)
    resources: Resources = field(default_factory=Resources)
    remote_args: Mapping[str, object] = field(default_factory=dict)

    def same_resources(self, other: Shape) -> bool:
        """Whether a worker of the one is a worker of the other."""
        return (self.resources, self.remote_args) == (other.resources, other.remote_args)


@dataclass(frozen=True)
class Read:
    """Where the rows come from.

    Args:
        source: The planned units.
        shape: The workers that read.
        is_divided: Whether the user has said into how many units it is divided.
    """

    source: Source
    shape: Shape = field(default_factory=Shape)
    is_divided: bool = False

    @property
    def name(self) -> str:
        """The name as plans show it: `"ReadParquet"`."""
        return self.source.name


@dataclass(frozen=True)
class Map:
    """Rows into rows.

    Args:
        transform: What happens to them.
        shape: The workers that do it.
        batch_rows: The rows of a batch, if the user set them.
        changes_rows: Whether it is there to change the number of rows: `filter` and `flat_map`.
        columns: The columns out for those in, if that is known without running; it then keeps the
            rows, unless it is there to change their number.
        writes: Whether it writes files and puts out reports of them.
        is_of_one_process: Whether what it writes is there for one process only.
    """

    transform: Transform
    shape: Shape = field(default_factory=Shape)
    batch_rows: int | None = None
    changes_rows: bool = False
    columns: Callable[[pa.Schema], pa.Schema] | None = None
    writes: bool = False
    is_of_one_process: bool = False

    @property
    def keeps_rows(self) -> bool:
        """Whether it surely puts out as many rows as it gets, or is an error."""
        knows_columns = self.columns is not None and not self.changes_rows
        keeps = isinstance(self.transform, MapRows) or knows_columns
        return keeps or (isinstance(self.transform, MapBatches) and self.transform.keeps_rows)

    @property
    def name(self) -> str:
        """The name as plans show it: `"MapBatches(preprocess)"`."""
        return self.transform.name


@dataclass(frozen=True)
class Limit:
    """The first rows only.

    Args:
        rows: How many.
    """

    rows: int

    @property
    def name(self) -> str:
        """The name as plans show it: `"limit=3"`."""
        return f"limit={self.rows}"


@dataclass(frozen=True)
class Exchange:
    """Rows dealt out to partitions, each of which is worked on as a whole when all rows are there.

    Args:
        name: The name as plans show it: `"Sort(x)"`.
        partitioner: Says of each row which partition it is of.
        gather: What happens to a partition.
        before: What happens to the rows before they are dealt out.
        columns: The columns out for those in, if that is known without running.
        schema: The columns out, if they are known whatever comes in.
        keeps_rows: Whether it surely puts out as many rows as it gets.
        is_divided: Whether each partition that has rows comes out as one block.
        is_repeatable: Whether what comes of a row depends on its block: blocks are the same in each
            run then.
        shape: The workers of both sides.
    """

    name: str
    partitioner: Partitioner
    gather: Transform
    before: Transform | None = None
    columns: Callable[[pa.Schema], pa.Schema] | None = None
    schema: pa.Schema | None = None
    keeps_rows: bool = False
    is_divided: bool = False
    is_repeatable: bool = False
    shape: Shape = field(default_factory=Shape)


Operator = Map | Limit | Exchange


def same_columns(schema: pa.Schema) -> pa.Schema:
    """The columns out of an operator that changes none."""
    return schema


@dataclass(frozen=True)
class Union:
    """The rows of several plans, one after the other.

    Args:
        inputs: The plans, two or more.
        is_mixed: Whether the rows of each input keep their own columns.
    """

    inputs: tuple[LogicalPlan, ...]
    name: str = "Union"
    is_mixed: bool = False

    def schema_of(self, inputs: Sequence[pa.Schema | None]) -> pa.Schema | None:
        """The columns of all inputs, if they are known of all.

        Raises:
            SchemaError: A column has types that no common type holds.
        """
        schemas = None if self.is_mixed else _all_known(inputs)
        return None if schemas is None else block.unify_schemas(schemas)

    def rows_of(self, inputs: Sequence[int | None]) -> int | None:
        """The rows of all inputs, if they are known of all."""
        rows = _all_known(inputs)
        return None if rows is None else sum(rows)


@dataclass(frozen=True)
class Zip:
    """The columns of several plans side by side, row by row.

    Args:
        inputs: The plans, two or more.
    """

    inputs: tuple[LogicalPlan, ...]
    name: str = "Zip"

    def schema_of(self, inputs: Sequence[pa.Schema | None]) -> pa.Schema | None:
        """The columns of all inputs, if they are known of all."""
        schemas = _all_known(inputs)
        return None if schemas is None else beside.put_schemas(schemas)

    def rows_of(self, inputs: Sequence[int | None]) -> int | None:
        """The rows of each input, if they are known and the same; else the run raises."""
        rows = _all_known(inputs)
        return rows[0] if rows is not None and len(set(rows)) == 1 else None


class Step(Protocol):
    """What is planned of a plan once some of it has run."""

    @property
    def repeats_order(self) -> bool:
        """Whether it puts out its rows in the same order in each run, on any cluster."""

    def planned(self, plan: LogicalPlan, run: Callable[[LogicalPlan], Any]) -> LogicalPlan:
        """The plan with what comes after it.

        Args:
            plan: What comes before.
            run: Runs a plan (`Execution`).
        """

    def assumed(self, plan: LogicalPlan) -> LogicalPlan:
        """Such a plan, as it may be, for those who look at it without running anything."""


@dataclass(frozen=True)
class Phase:
    """The rows of a plan, of which something must be learned before the rest is planned.

    Args:
        inputs: The plan.
        name: The name as plans show it.
        step: What is to be planned then.
        columns: The columns out for those in, if that is known without running.
        schema: The columns out, if they are known whatever comes in.
        keeps_rows: Whether it puts out as many rows as it gets.
    """

    inputs: tuple[LogicalPlan, ...]
    name: str
    step: Step
    columns: Callable[[pa.Schema], pa.Schema] | None = None
    schema: pa.Schema | None = None
    keeps_rows: bool = True

    def schema_of(self, inputs: Sequence[pa.Schema | None]) -> pa.Schema | None:
        """The columns after it."""
        (schema,) = inputs
        if self.schema is not None or schema is None or self.columns is None:
            return self.schema
        return self.columns(schema)

    def rows_of(self, inputs: Sequence[int | None]) -> int | None:
        """As many as before it, if it keeps them."""
        return inputs[0] if self.keeps_rows else None


@dataclass(frozen=True)
class LogicalPlan:
    """Where the rows come from, and the operators after it in the order of the flow. Never changes.

    Args:
        start: A source, or further plans that come together.
        operators: What happens to the rows.
    """

    start: Read | Union | Zip | Phase
    operators: tuple[Operator, ...] = ()
    _answers: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def inputs(self) -> tuple[LogicalPlan, ...]:
        """The plans that come together at its start; none after a source."""
        return () if isinstance(self.start, Read) else self.start.inputs

    def then(self, operator: Operator) -> LogicalPlan:
        """This plan with one more operator."""
        return LogicalPlan(self.start, (*self.operators, operator))

    def reads(self) -> Iterator[Read]:
        """All sources, in the order of their rows."""
        left = [self]
        while left:
            plan = left.pop()
            if isinstance(plan.start, Read):
                yield plan.start
            left += reversed(plan.inputs)

    def drawn(self) -> LogicalPlan:
        """The plan of one run: sources whose order is random have one.

        A source that comes several times has the same order in all places, so that rows which
        belong together still meet.
        """
        return self._with_sources(_draw)

    def planned(self, run: Callable[[LogicalPlan], Any]) -> LogicalPlan:
        """The plan without phases: what must be learned before is found out.

        Args:
            run: Runs a plan (`Execution`).
        """
        return self._with_phases(lambda phase, plan: phase.step.planned(plan, run))

    def assumed(self) -> LogicalPlan:
        """The plan without phases, as it may be; nothing runs for it."""
        return self._with_phases(lambda phase, plan: phase.step.assumed(plan))

    def _with_phases(self, plan_of: Callable[[Phase, LogicalPlan], LogicalPlan]) -> LogicalPlan:
        if not any(isinstance(plan.start, Phase) for plan in self.all()):
            return self

        def change(plan: LogicalPlan, inputs: list[LogicalPlan]) -> LogicalPlan:
            start = plan.start
            if isinstance(start, Phase):
                made = plan_of(start, inputs[0])
                return replace(made, operators=(*made.operators, *plan.operators))
            if isinstance(start, Read):
                return plan
            return replace(plan, start=replace(start, inputs=tuple(inputs)))

        return self.fold(change)

    def completed(self) -> LogicalPlan:
        """The plan with all files of all sources listed, which waits for them.

        Raises:
            ReadError: They cannot be listed.
        """
        return self._with_sources(lambda source: source.completed)

    def _with_sources(self, way: Callable[[Source], Callable[[], Source] | None]) -> LogicalPlan:
        """The plan with the sources that have a `way` to another, each the same in all places."""
        if all(way(read.source) is None for read in self.reads()):
            return self
        sources: dict[int, Source] = {}

        def change(plan: LogicalPlan, inputs: list[LogicalPlan]) -> LogicalPlan:
            start = plan.start
            if not isinstance(start, Read):
                return replace(plan, start=replace(start, inputs=tuple(inputs)))
            make = way(start.source)
            if make is None:
                return plan
            if id(start.source) not in sources:
                sources[id(start.source)] = make()
            return replace(plan, start=replace(start, source=sources[id(start.source)]))

        return self.fold(change)

    def flow(self) -> str:
        """The names of the operators: `"(ReadRange, ReadRange -> Map(f)) -> Union -> limit=3"`."""
        return self.fold(LogicalPlan._flow_of)

    def schema(self) -> pa.Schema | None:
        """The schema of the output, if it is known without running.

        Raises:
            SchemaError: An operator asks for a column that does not exist.
        """
        return self._remembered("schema", LogicalPlan._schema_of)

    def rows(self) -> int | None:
        """The rows of the output, if they are known without running.

        Where every operator keeps them or limits them, no function runs for it, so none can raise.
        """
        return self._remembered("rows", LogicalPlan._rows_of)

    def fold(self, combine: Callable[[LogicalPlan, list[T]], T]) -> T:
        """Goes through this plan and all below it, each after its inputs, however deep they lie.

        Args:
            combine: Makes an answer of a plan and the answers of its inputs.
        """
        answers: dict[int, T] = {}
        for plan in self.all():
            answers[id(plan)] = combine(plan, [answers[id(each)] for each in plan.inputs])
        return answers[id(self)]

    def _remembered(self, name: str, combine: Callable[[LogicalPlan, list[T]], T]) -> T:
        """Like `fold`, for what is asked again and again while a plan grows."""
        left = [self]
        while left:
            plan = left[-1]
            unknown = [each for each in plan.inputs if name not in each._answers]
            if unknown:
                left += unknown
            else:
                left.pop()
                inputs = [each._answers[name] for each in plan.inputs]
                plan._answers[name] = combine(plan, inputs)
        answer: T = self._answers[name]
        return answer

    def all(self) -> list[LogicalPlan]:
        """This plan and all below it, each once, and after its inputs."""
        order: list[LogicalPlan] = []
        known: set[int] = set()
        left = [(self, False)]
        while left:
            plan, has_inputs = left.pop()
            if has_inputs:
                order.append(plan)
            elif id(plan) not in known:
                known.add(id(plan))
                left.append((plan, True))
                left += [(each, False) for each in reversed(plan.inputs)]
        return order

    def _flow_of(self, inputs: list[str]) -> str:
        names = [self.start.name, *(operator.name for operator in self.operators)]
        if inputs:
            names.insert(0, inputs[0] if len(inputs) == 1 else f"({', '.join(inputs)})")
        return " -> ".join(names)

    def _schema_of(self, inputs: list[pa.Schema | None]) -> pa.Schema | None:
        start = self.start
        schema = start.source.schema if isinstance(start, Read) else start.schema_of(inputs)
        for operator in self.operators:
            if isinstance(operator, Limit):
                continue
            if isinstance(operator, Exchange) and operator.schema is not None:
                schema = operator.schema
            else:
                columns = operator.columns
                schema = None if schema is None or columns is None else columns(schema)
        return schema

    def _rows_of(self, inputs: list[int | None]) -> int | None:
        start = self.start
        rows = start.source.rows if isinstance(start, Read) else start.rows_of(inputs)
        for operator in self.operators:
            if isinstance(operator, Limit):
                rows = None if rows is None else min(rows, operator.rows)
            elif not operator.keeps_rows:
                return None
        return rows

    def __reduce__(self) -> tuple[Callable[..., LogicalPlan], tuple[object, ...]]:
        # Flat, since pickle goes no deeper than functions may call each other.
        order = self.all()
        places = {id(plan): place for place, plan in enumerate(order)}
        parts = [
            (
                plan.start if isinstance(plan.start, Read) else replace(plan.start, inputs=()),
                [places[id(each)] for each in plan.inputs],
                plan.operators,
            )
            for plan in order
        ]
        return _rebuild, (parts,)


def _draw(source: Source) -> Callable[[], Source] | None:
    """What draws the order of a source; what it has drawn is not drawn again."""
    redrawn = source.redrawn
    return None if redrawn is None else lambda: replace(redrawn(), redrawn=None)


def joined(kind: type[Union | Zip], plans: Sequence[LogicalPlan]) -> LogicalPlan:
    """Plans that come together; a union of unions is one union."""
    inputs: list[LogicalPlan] = []
    for plan in plans:
        is_union = kind is Union and isinstance(plan.start, Union) and not plan.operators
        inputs += plan.inputs if is_union else [plan]
    return LogicalPlan(kind(tuple(inputs)))


def _rebuild(
    parts: list[tuple[Read | Union | Zip | Phase, list[int], tuple[Operator, ...]]],
) -> LogicalPlan:
    plans: list[LogicalPlan] = []
    for start, places, operators in parts:
        if isinstance(start, Read):
            plans.append(LogicalPlan(start, operators))
        else:
            inputs = tuple(plans[place] for place in places)
            plans.append(LogicalPlan(replace(start, inputs=inputs), operators))
    return plans[-1]


def _all_known(values: Sequence[T | None]) -> list[T] | None:
    """The values, if none of them is missing."""
    there = [value for value in values if value is not None]
    return there if len(there) == len(values) else None
