"""The logical plan: what the user asked for, one operator per call.

Owns the operators and what is known of them without running. Knows nothing of fusion or of how
anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa

from millstream.blocks import beside, block
from millstream.blocks.transforms import Transform
from millstream.compute import ComputeStrategy, TaskPoolStrategy
from millstream.io.source import Source

T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """What an operator's workers are: operators of equal shape can run in the same worker.

    Args:
        compute: Tasks or a pool of actors, and how many.
        cpu: CPUs per worker.
        gpu: GPUs per worker.
        custom: Custom resources per worker, by name.
        remote_args: Further options of the Ray task or actor.
    """

    compute: ComputeStrategy = field(default_factory=TaskPoolStrategy)
    cpu: float = 1
    gpu: float = 0
    custom: Mapping[str, float] = field(default_factory=dict)
    remote_args: Mapping[str, object] = field(default_factory=dict)

    def same_resources(self, other: Shape) -> bool:
        """Whether a worker of the one is a worker of the other."""
        mine = (self.cpu, self.gpu, self.custom, self.remote_args)
        return mine == (other.cpu, other.gpu, other.custom, other.remote_args)


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
        columns: The columns out for those in, if that is known without running; it then is an
            operator on columns only, which keeps the rows.
        writes: Whether it writes files and puts out reports of them.
    """

    transform: Transform
    shape: Shape = field(default_factory=Shape)
    batch_rows: int | None = None
    changes_rows: bool = False
    columns: Callable[[pa.Schema], pa.Schema] | None = None
    writes: bool = False

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
class Union:
    """The rows of several plans, one after the other.

    Args:
        inputs: The plans, two or more.
    """

    inputs: tuple[LogicalPlan, ...]
    name: str = "Union"

    def schema(self) -> pa.Schema | None:
        """The columns of all inputs, if they are known of all.

        Raises:
            SchemaError: A column has types that no common type holds.
        """
        schemas = _all_known([plan.schema() for plan in self.inputs])
        return None if schemas is None else block.unify_schemas(schemas)

    def rows(self) -> int | None:
        """The rows of all inputs, if they are known of all."""
        rows = _all_known([plan.rows() for plan in self.inputs])
        return None if rows is None else sum(rows)


@dataclass(frozen=True)
class Zip:
    """The columns of several plans side by side, row by row.

    Args:
        inputs: The plans, two or more.
    """

    inputs: tuple[LogicalPlan, ...]
    name: str = "Zip"

    def schema(self) -> pa.Schema | None:
        """The columns of all inputs, if they are known of all."""
        schemas = _all_known([plan.schema() for plan in self.inputs])
        return None if schemas is None else beside.put_schemas(schemas)

    def rows(self) -> int | None:
        """The rows of each input, if they are known and the same; else the run raises."""
        rows = _all_known([plan.rows() for plan in self.inputs])
        return rows[0] if rows is not None and len(set(rows)) == 1 else None


@dataclass(frozen=True)
class LogicalPlan:
    """Where the rows come from, and the operators after it in the order of the flow. Never changes.

    Args:
        start: A source, or further plans that come together.
        operators: What happens to the rows.
    """

    start: Read | Union | Zip
    operators: tuple[Map | Limit, ...] = ()

    def then(self, operator: Map | Limit) -> LogicalPlan:
        """This plan with one more operator."""
        return LogicalPlan(self.start, (*self.operators, operator))

    def reads(self) -> Iterator[Read]:
        """All sources, in the order of their rows."""
        if isinstance(self.start, Read):
            yield self.start
        else:
            for plan in self.start.inputs:
                yield from plan.reads()

    def flow(self) -> str:
        """The names of the operators: `"(ReadRange, ReadRange -> Map(f)) -> Union -> limit=3"`."""
        names = [self.start.name, *(operator.name for operator in self.operators)]
        if not isinstance(self.start, Read):
            names.insert(0, f"({', '.join(plan.flow() for plan in self.start.inputs)})")
        return " -> ".join(names)

    def schema(self) -> pa.Schema | None:
        """The schema of the output, if it is known without running.

        Raises:
            SchemaError: An operator asks for a column that does not exist.
        """
        start = self.start
        schema = start.source.schema if isinstance(start, Read) else start.schema()
        for operator in self.operators:
            if isinstance(operator, Limit):
                continue
            if schema is None or operator.columns is None:
                return None
            schema = operator.columns(schema)
        return schema

    def rows(self) -> int | None:
        """The rows of the output, if they are known without running.

        User functions always run, since they may raise; so only operators on columns count.
        """
        rows = self.start.source.rows if isinstance(self.start, Read) else self.start.rows()
        for operator in self.operators:
            if isinstance(operator, Limit):
                rows = None if rows is None else min(rows, operator.rows)
            elif operator.columns is None:
                return None
        return rows


def _all_known(values: Sequence[T | None]) -> list[T] | None:
    """The values, if none of them is missing."""
    there = [value for value in values if value is not None]
    return there if len(there) == len(values) else None
