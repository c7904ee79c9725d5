# Made by tools/stubs.py of dataset.py: change that, and run `make stubs`.
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from millstream.aggregates import Aggregates
from millstream.columns import Columns
from millstream.compute import ComputeStrategy
from millstream.export import Export
from millstream.expr.nodes import Expr
from millstream.io.source import Source
from millstream.joins import Joins
from millstream.observe.report import RunReport
from millstream.plan.arguments import Concurrency, ReadOptions
from millstream.shuffles import Shuffles
from millstream.splits import Splits
from millstream.write_databases import DatabaseWriting
from millstream.write_media import MediaWriting
from millstream.write_tables import TableWriting

class Dataset(
    Columns,
    Aggregates,
    Shuffles,
    Joins,
    Splits,
    Export,
    DatabaseWriting,
    MediaWriting,
    TableWriting,
):
    def map(
        self,
        fn: Callable[..., Any],
        *,
        compute: ComputeStrategy | None = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset: ...
    def map_batches(
        self,
        fn: Callable[..., Any],
        *,
        batch_size: int | Literal["auto"] | None = None,
        batch_format: str | None = "default",
        zero_copy_batch: bool = True,
        udf_modifying_row_count: bool = True,
        compute: ComputeStrategy | None = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset: ...
    def flat_map(
        self,
        fn: Callable[..., Any],
        *,
        compute: ComputeStrategy | None = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset: ...
    def filter(
        self,
        fn: Callable[..., Any] | Expr | None = None,
        expr: Expr | None = None,
        *,
        compute: ComputeStrategy | None = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset: ...
    def select_columns(
        self, cols: str | Sequence[str], *, concurrency: int | None = None, **resources: Any
    ) -> Dataset: ...
    def drop_columns(
        self, cols: str | Sequence[str], *, concurrency: int | None = None, **resources: Any
    ) -> Dataset: ...
    def rename_columns(
        self,
        names: Mapping[str, str] | Sequence[str],
        *,
        concurrency: int | None = None,
        **resources: Any,
    ) -> Dataset: ...
    def add_column(
        self,
        col: str,
        fn: Callable[[Any], Any],
        *,
        batch_format: str | None = "pandas",
        concurrency: int | None = None,
        **resources: Any,
    ) -> Dataset: ...
    def limit(self, limit: int) -> Dataset: ...
    def union(self, *other: Dataset) -> Dataset: ...
    def zip(self, *other: Dataset) -> Dataset: ...
    def materialize(self) -> MaterializedDataset: ...
    def explain(self) -> None: ...
    def stats(self) -> str: ...
    def report(self) -> RunReport | None: ...
    def why(self) -> str: ...
    def input_files(self) -> list[str]: ...
    def num_blocks(self) -> int: ...

class MaterializedDataset(Dataset):
    def num_blocks(self) -> int: ...

def dataset_of(source: Source, options: ReadOptions) -> Dataset: ...
