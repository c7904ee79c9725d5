"""Datasets of tables that keep a log or a catalog: Delta Lake and Iceberg.

Owns the public names of these readers and their arguments. The formats themselves are in
`millstream.io.formats`, which is imported when a source is planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millstream.dataset import Dataset, dataset_of
from millstream.io.file_options import FileOptions, Shuffle
from millstream.options import takes
from millstream.plan.arguments import ReadOptions

if TYPE_CHECKING:
    from datetime import datetime

    from millstream.io.addresses import Path


@takes(options=ReadOptions)
def read_delta(
    path: Path,
    version: int | str | datetime | None = None,
    *,
    storage_options: Mapping[str, str] | None = None,
    filesystem: Any = None,
    columns: Sequence[str] | None = None,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    options: ReadOptions,
) -> Dataset:
    """The rows of a Delta Lake table, as they were when this is called.

    The log of the table says which files it has, what its partition columns are in them, and which
    rows are deleted (deletion vectors). Columns that have other names in files (column mapping by
    name) are found; a table that needs more of its readers is an error that says what. A column
    that `write_delta` had to store as another type, such as tensors, comes back as it was. Needs
    `millstream[delta]`.

    Args:
        path: The folder of the table.
        version: The number of a version, or a moment at which it was the newest: a `datetime` with
            a zone, or its ISO text. `None`: the newest.
        storage_options: For deltalake, such as keys for an object store; its files are then read
            through deltalake too. By default the file system reads its own settings.
        filesystem: From `pyarrow.fs` or fsspec, for the files of the table; by default the path
            tells.
        columns: Only these, in this order; no others are read.
        shuffle: `"files"`: read the files in another order in each run; `FileShuffleConfig(seed)`:
            in a random order that is the same in each run.
        include_paths: Whether the column `path` says which file a row is from.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: deltalake is not installed.
        ReadError: There is no such table or version, its log is broken, or it needs what is not
            known here.
        SchemaError: An unknown column.
    """
    from millstream.io.formats.delta import plan_delta

    source = plan_delta(
        path,
        FileOptions(filesystem=filesystem, shuffle=shuffle, include_paths=include_paths),
        version=version,
        storage_options=storage_options,
        columns=columns,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)


@takes(options=ReadOptions)
def read_iceberg(
    *,
    table_identifier: str,
    row_filter: Any = None,
    selected_fields: Sequence[str] = ("*",),
    snapshot_id: int | None = None,
    scan_kwargs: Mapping[str, Any] | None = None,
    catalog_kwargs: Mapping[str, Any] | None = None,
    options: ReadOptions,
) -> Dataset:
    """The rows of an Iceberg table, as they were when this is called, the oldest files first.

    pyiceberg finds the files; their rows are read a few at a time, without those that are deleted
    (files of positions, deletion vectors). Columns are found by their ids, so that they may have
    been added, renamed or widened since. Deletes by equality, and files that are not Parquet, are
    errors. Needs `millstream[iceberg]`.

    Args:
        table_identifier: The table: `"namespace.table"`.
        row_filter: Which rows: a text such as `"born < 1900"`, or an expression of pyiceberg. It
            leaves out files, and then decides on the rows themselves: NaN is unequal to every
            number, and null satisfies `is null` and `not in` only.
        selected_fields: Only these columns, in this order; `("*",)`: all.
        snapshot_id: Which snapshot; by default the current one.
        scan_kwargs: For `pyiceberg.table.Table.scan`: `case_sensitive` and `options`.
        catalog_kwargs: For `pyiceberg.catalog.load_catalog`: `name`, `type`, `uri` and others. By
            default the configuration of pyiceberg tells.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pyiceberg is not installed.
        ReadError: There is no such catalog, table or snapshot, or it needs what is not known here.
        SchemaError: An unknown column.
    """
    from millstream.io.formats.iceberg import plan_iceberg

    source = plan_iceberg(
        table_identifier,
        row_filter=row_filter,
        selected_fields=selected_fields,
        snapshot_id=snapshot_id,
        scan_kwargs=scan_kwargs,
        catalog_kwargs=catalog_kwargs,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)
