"""Where the rows of a dataset go: tables of Delta Lake and Iceberg.

Owns the public names of these writers and their arguments. The formats themselves are in
`millstream.io.formats`, which is imported when something is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from millstream.options import takes
from millstream.plan.arguments import SinkTasks
from millstream.writing import FileWriting


class TableWriting(FileWriting):
    """The part of a dataset that writes into tables, whose commits make rows count."""

    @takes(tasks=SinkTasks)
    def write_delta(
        self,
        path: str | os.PathLike[str],
        *,
        mode: str = "append",
        partition_by: Sequence[str] | str | None = None,
        storage_options: Mapping[str, str] | None = None,
        schema_mode: str = "merge",
        filesystem: Any = None,
        name: str | None = None,
        description: str | None = None,
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes its rows into a Delta Lake table, which is made if need be.

        Tasks write files, and one entry of the log makes them count: readers see all rows of the
        run or none. Types that Delta has not become wider ones with the same values; tensors of one
        shape become lists, and times of a zone become UTC, which `read_delta` takes back. Needs
        `millstream[delta]`.

        Args:
            path: The folder of the table. A relative one is that of the caller.
            mode: `"append"` adds rows, `"overwrite"` replaces rows and columns, `"ignore"` writes
                nothing if there is a table, `"error"` raises then.
            partition_by: Columns by whose values the table is divided: integers, text, booleans,
                dates, timestamps, decimals. `None`: as the table is already.
            storage_options: For deltalake, such as keys for an object store.
            schema_mode: Whether an append may bring columns that the table has not: `"merge"` adds
                them, in an entry of the log of its own; `"error"` raises.
            filesystem: From `pyarrow.fs` or fsspec; by default the path tells.
            name: That of a new table.
            description: That of a new table.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: deltalake is not installed.
            SchemaError: A column does not fit the table, a value would not be the same in it, or
                the type of a column is not known.
            WriteError: It did not work, or the table needs more of its writers.
        """
        from millstream.io.formats.delta_sink import plan_write_delta

        planned = plan_write_delta(
            path,
            mode=mode,
            partition_by=partition_by,
            storage_options=storage_options,
            schema_mode=schema_mode,
            filesystem=filesystem,
            name=name,
            description=description,
            is_divided=self._is_divided(),
        )
        self._write_table(planned, tasks)

    @takes(tasks=SinkTasks)
    def write_iceberg(
        self,
        table_identifier: str,
        catalog_kwargs: Mapping[str, Any] | None = None,
        *,
        snapshot_properties: Mapping[str, str] | None = None,
        mode: str = "append",
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes its rows into an Iceberg table, which is made if need be.

        Tasks write files, and one commit to the catalog makes them count. Columns that the table
        has not are added; the others keep its types. The snapshot says which run it was from
        (`millstream.run-id`), so that a commit whose answer was lost is not made twice. Needs
        `millstream[iceberg]`.

        Args:
            table_identifier: The table: `"namespace.table"`; the namespace must exist.
            catalog_kwargs: For `pyiceberg.catalog.load_catalog`: `name`, `type`, `uri` and others.
            snapshot_properties: What the snapshot shall say besides.
            mode: `"append"` adds rows, `"overwrite"` replaces all of them.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: pyiceberg is not installed.
            ReadError: There is no such catalog, or the table cannot be opened.
            SchemaError: A column does not fit the table, a value would not be the same in it, or
                the type of a column is not known.
            WriteError: It did not work; the table is as it was before.
        """
        from millstream.io.formats.iceberg_sink import plan_write_iceberg

        planned = plan_write_iceberg(
            table_identifier,
            catalog_kwargs=catalog_kwargs,
            snapshot_properties=snapshot_properties,
            mode=mode,
            is_divided=self._is_divided(),
        )
        self._write_table(planned, tasks)
