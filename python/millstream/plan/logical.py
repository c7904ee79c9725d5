"""The logical plan: what the user asked for, one operator per call.

Owns the operators and what is known of them without running. Knows nothing of fusion or of how
anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from millstream.blocks.transforms import Transform
from millstream.compute import ComputeStrategy, TaskPoolStrategy
from millstream.io.source import Source


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
class LogicalPlan:
    """A source and the operators after it, in the order of the flow. Never changes."""

    read: Read
    maps: tuple[Map, ...] = ()

    def then(self, operator: Map) -> LogicalPlan:
        """This plan with one more operator."""
        return LogicalPlan(self.read, (*self.maps, operator))

    def schema(self) -> pa.Schema | None:
        """The schema of the output, if it is known without running.

        Raises:
            SchemaError: An operator asks for a column that does not exist.
        """
        schema = self.read.source.schema
        for operator in self.maps:
            if schema is None or operator.columns is None:
                return None
            schema = operator.columns(schema)
        return schema

    def rows(self) -> int | None:
        """The rows of the output, if they are known without running.

        User functions always run, since they may raise; so only operators on columns count.
        """
        if all(operator.columns is not None for operator in self.maps):
            return self.read.source.rows
        return None
