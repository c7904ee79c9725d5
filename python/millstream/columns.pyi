# Made by tools/stubs.py of columns.py: change that, and run `make stubs`.
from collections.abc import Mapping, Sequence
from typing import Any

from millstream.dataset import Dataset
from millstream.expr.nodes import Expr
from millstream.expr.several import Star, Unnest
from millstream.pipeline import Pipeline

class Columns(Pipeline):
    def with_column(
        self, column_name: str, expr: Expr, *, concurrency: int | None = None, **resources: Any
    ) -> Dataset: ...
    def with_columns(
        self,
        exprs: Mapping[str, Expr] | Expr | Star | Unnest,
        *more_exprs: Mapping[str, Expr] | Expr | Star | Unnest,
        concurrency: int | None = None,
        **resources: Any,
    ) -> Dataset: ...
    def explode(
        self,
        columns: str | Sequence[str],
        *,
        keep_empty: bool = True,
        concurrency: int | None = None,
        **resources: Any,
    ) -> Dataset: ...
    def random_sample(self, fraction: float, *, seed: int | None = None) -> Dataset: ...
    def randomize_block_order(self, *, seed: int | None = None) -> Dataset: ...
