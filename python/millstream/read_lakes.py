"""Datasets of Lance, Hudi and Vortex, and of what MongoDB and ClickHouse hold.

Owns the public names of these readers and their arguments. How they are read is in
`millstream.io.formats`, which is imported when a source is planned.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millstream.dataset import Dataset, dataset_of
from millstream.io.file_options import VortexFiles
from millstream.options import takes
from millstream.plan.arguments import ReadOptions

if TYPE_CHECKING:
    import pyarrow as pa

    from millstream.io.addresses import Paths


@takes(options=ReadOptions)
def read_lance(
    uri: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    version: int | str | None = None,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    storage_options: Mapping[str, str] | None = None,
    scanner_options: Mapping[str, Any] | None = None,
    options: ReadOptions,
) -> Dataset:
    """The rows of Lance datasets, a task for each fragment. Needs `millstream[lance]`.

    Types are those of the dataset; blobs come as bytes, where Ray Data gives where they are stored.
    The version is that of the moment when the dataset is made, also if rows are added or a tag
    moves before it runs. Operators after it that need some columns only make it read these.

    Args:
        uri: The path or address of a dataset, or a list of them, whose rows follow each other.
        version: The number of a version, or a tag; by default the latest.
        columns: Those to read; `"s.x"` is a field of a struct. By default all.
        filter: A condition in SQL, which Lance evaluates: `"label = 2 AND text IS NOT NULL"`. To
            Lance NaN is above all numbers, and equal to itself.
        storage_options: For the object store, such as keys and the endpoint.
        scanner_options: Further options of `lance.LanceDataset.scanner`. With those that are about
            all rows, such as `limit`, `nearest` or `order_by`, each dataset is one task: Ray Data
            applies them to each task's fragments.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense, such as a filter that Lance cannot parse.
        MissingPackageError: pylance is not installed.
        ReadError: There is no such dataset or version.
        SchemaError: There is no such column.
    """
    from millstream.io.formats.lance import plan_lance

    source = plan_lance(
        uri,
        version=version,
        columns=columns,
        filter=filter,
        storage_options=storage_options,
        scanner_options=scanner_options,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)


@takes(files=VortexFiles, options=ReadOptions)
def read_vortex(
    paths: Paths,
    *,
    columns: Sequence[str] | None = None,
    files: VortexFiles,
    options: ReadOptions,
) -> Dataset:
    """The rows of Vortex files. Needs `millstream[vortex]`.

    Vortex has one type of text and one of bytes, which take 64-bit offsets here. It has no
    checksums, so that a changed byte may be another value.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.vortex"`, or
            a list of them; see `read_parquet`.
        columns: Those to read; by default all.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: vortex-data is not installed.
        ReadError: A file is missing, cut or no Vortex file, or there is nothing to read.
        SchemaError: There is no such column, or one is in the files and in the paths.
    """
    from millstream.io.formats.vortex import plan_vortex

    source = plan_vortex(paths, files, columns=columns, blocks=options.override_num_blocks)
    return dataset_of(source, options)


@takes(options=ReadOptions)
def read_mongo(
    uri: str,
    database: str,
    collection: str,
    *,
    pipeline: Sequence[Mapping[str, Any]] | None = None,
    schema: pa.Schema | None = None,
    options: ReadOptions,
    **mongo_args: Any,
) -> Dataset:
    """The documents of a collection of MongoDB, or what a pipeline makes of them.

    A field is a column, null where a document lacks it. An `ObjectId` comes as 12 bytes of a fixed
    length, a UUID as 16, a date as an instant in milliseconds, a decimal with 38 digits. Values of
    one field that do not go together are an error. Needs `millstream[mongo]`.

    Documents come in the order of `_id`, so that a task whose worker is lost goes on where it was.
    A pipeline with stages that look at several documents (`$group`, `$sort`, `$limit`) is one task,
    where Ray Data runs it on each part by itself; let it end in a `$sort` by what no two have.

    Args:
        uri: The address of the server. It is not shown in errors.
        database: The database.
        collection: The collection.
        pipeline: The stages of an aggregation; by default all documents.
        schema: The columns to read, with their types; a `pyarrow.Schema`.
        options: What all readers take. `override_num_blocks` (default 1) divides the documents by
            `_id`, for which the server is asked at once.
        **mongo_args: For `pymongo.collection.Collection.aggregate`, such as `allowDiskUse`.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pymongo is not installed.

    When it runs, what the server says becomes `ReadError`, with passwords blotted out.
    """
    from millstream.io.formats.mongo import Place, plan_mongo, require_mongo

    require_mongo("read_mongo")
    source = plan_mongo(
        Place(uri, database, collection),
        pipeline=pipeline,
        schema=schema,
        aggregate_args=mongo_args,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)


@takes(options=ReadOptions)
def read_clickhouse(
    *,
    table: str,
    dsn: str,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    order_by: tuple[Sequence[str], bool] | None = None,
    client_settings: Mapping[str, Any] | None = None,
    client_kwargs: Mapping[str, Any] | None = None,
    options: ReadOptions,
) -> Dataset:
    """The rows of a table or view of ClickHouse, as they stream out of it.

    Types are those of the database; a type that it hands over as another one, such as UUID or an
    enumeration, is an error: make text of it in `columns`. Needs `millstream[clickhouse]`.

    One task reads it, whatever `override_num_blocks` is: Ray Data divides rows by their number,
    which gives some twice and leaves some out where rows tie or the table changes. Without
    `order_by`, a task whose worker is lost may get the rows in another order when it begins again
    and leaves out as many as it had given.

    Args:
        table: Its name: `"default.people"`.
        dsn: The address: `"clickhouse+http://user:password@host:8123/default"`. It is not shown in
            errors.
        columns: Columns or expressions of SQL: `"toString(id) AS id"`. By default all.
        filter: A condition in SQL.
        order_by: Columns, and whether the order is descending.
        client_settings: Settings of the server for this query.
        client_kwargs: For `clickhouse_connect.get_client`.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: clickhouse-connect is not installed.

    When it runs, what the server says becomes `ReadError`, with passwords blotted out.
    """
    from millstream.io.formats.clickhouse import plan_clickhouse

    source = plan_clickhouse(
        table=table,
        dsn=dsn,
        columns=columns,
        filter=filter,
        order_by=order_by,
        client_settings=client_settings,
        client_kwargs=client_kwargs,
    )
    return dataset_of(source, options)


@takes(options=ReadOptions)
def read_hudi(
    table_uri: str | os.PathLike[str],
    *,
    query_type: str = "snapshot",
    filters: Sequence[tuple[str, str, str]] | None = None,
    hudi_options: Mapping[str, str] | None = None,
    storage_options: Mapping[str, str] | None = None,
    options: ReadOptions,
) -> Dataset:
    """The rows of a Hudi table as it is now, a task for each base file. Needs `millstream[hudi]`.

    Changes in log files are put over the base file, where Ray Data leaves them out. The columns
    that Hudi adds (`_hoodie_commit_time` and so on) come too.

    Args:
        table_uri: The path or address of the table.
        query_type: `"snapshot"`; the incremental queries of Ray Data are not there.
        filters: Conditions (column, operator, value), as hudi-rs takes them: `("id", ">", "4")`.
        hudi_options: Options of Hudi, by name.
        storage_options: For the object store, such as keys and the endpoint.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: hudi is not installed.
        ReadError: There is no such table.
    """
    from millstream.io.formats.hudi import plan_hudi

    source = plan_hudi(
        table_uri,
        query_type=query_type,
        filters=filters,
        hudi_options=hudi_options,
        storage_options=storage_options,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)
