"""What a dataset gives when it runs: rows, batches, their number and their columns.

Owns the public names of consumption and the checks of their arguments. `millstream.execution` owns
runs, `millstream.feed` how blocks become rows and batches.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from millstream.blocks import rows
from millstream.blocks.batch import to_batch
from millstream.errors import ArgumentError
from millstream.errors.checks import check_count, check_flag
from millstream.execution import consume
from millstream.execution.execution import Execution
from millstream.frameworks import Frameworks
from millstream.iteration import Row
from millstream.pipeline import Pipeline
from millstream.plan.arguments import check_batch_format
from millstream.plan.logical import Limit
from millstream.schema import Schema


class Consumption(Pipeline, Frameworks):
    """The part of a dataset that runs it and gives what comes out."""

    def _start(self) -> Execution:
        return self._execute()

    @property
    def _prefetch_bytes(self) -> int | None:
        return self._context.prefetch_bytes

    def take(self, limit: int = 20) -> list[Row]:
        """The first rows. The run stops as soon as it has them.

        Args:
            limit: How many, at most.

        Raises:
            ArgumentError: `limit` is negative.
        """
        check_count("limit", limit, least=0, optional=False)
        if limit == 0:
            return []
        return list(rows.iter_rows(self._first_rows(limit)))

    def _first_rows(self, count: int) -> pa.Table:
        # As an operator, it keeps sources from reading more than is needed for these rows.
        return consume.first_rows(self._execute(self._plan.then(Limit(count))), count)

    def take_all(self, limit: int | None = None) -> list[Row]:
        """All rows.

        Args:
            limit: More rows than this are an error.

        Raises:
            ArgumentError: `limit` is negative, or there are more rows.
        """
        check_count("limit", limit, least=0)
        table = consume.first_rows(self._execute(), None if limit is None else limit + 1)
        if limit is not None and table.num_rows > limit:
            raise ArgumentError(f"the dataset has more rows than limit={limit}")
        return list(rows.iter_rows(table))

    def take_batch(self, batch_size: int = 20, *, batch_format: str | None = "default") -> Any:
        """The first rows as one batch, as `map_batches` would pass them.

        Args:
            batch_size: How many rows, at most.
            batch_format: As in `map_batches`.

        Raises:
            ArgumentError: An argument makes no sense, or there are no rows.
        """
        check_count("batch_size", batch_size, optional=False)
        format_name = check_batch_format(batch_format)
        table = self._first_rows(batch_size)
        if not table.num_rows:
            raise ArgumentError("the dataset is empty: there are no rows for a batch")
        return to_batch(table, format_name)

    def show(self, limit: int = 20) -> None:
        """Prints the first rows.

        Args:
            limit: How many, at most.
        """
        for row in self.take(limit):
            print(row)  # noqa: T201 This is what it is for.

    def count(self) -> int:
        """The number of rows: from what is known of the sources if that says it, else by running.

        Nothing runs, and so no function can raise, if the rows of all sources are known and all
        operators keep their number: `map`, those on columns, `limit`, `union`, `zip`, and
        `map_batches` with `udf_modifying_row_count=False`.
        """
        known = self._plan.rows()
        if known is None:
            # A list that has not ended may be all that is missing.
            known = self._plan.completed().rows()
        return consume.count_rows(self._execute()) if known is None else known

    def schema(self, fetch_if_missing: bool = True) -> Schema | None:
        """The columns and their types.

        What the sources do not tell is found by running until the first block that has rows. It
        does not tell the shape of tensors in blocks after it, so that a shape is shown only if
        there is no other block.

        Args:
            fetch_if_missing: Whether to run if need be.

        Returns:
            The schema; `None` if it is not known and must not be fetched.
        """
        check_flag("fetch_if_missing", fetch_if_missing)
        if self._schema is None:
            self._schema = self._plan.schema()
        if self._schema is None and fetch_if_missing:
            # What is known of the last run is about rows that somebody wanted.
            self._schema = consume.first_schema(Execution(self._plan, self._context))
        return None if self._schema is None else Schema(self._schema)

    def columns(self, fetch_if_missing: bool = True) -> list[str] | None:
        """The names of the columns.

        Args:
            fetch_if_missing: Whether to run if need be.
        """
        schema = self.schema(fetch_if_missing)
        return None if schema is None else schema.names
