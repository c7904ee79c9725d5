"""What people say of the names of Ray Data: what is better here, and why some are not there.

Owns sentences and nothing else: which name is there, and with which arguments, `names.py` finds
out. A sentence of a name that Ray Data does not have is an error there.
"""

from __future__ import annotations

_FILES = "all files of a write have one schema, and appear when all are written"
_EXACT = "exact for integers and decimals of any size"
#: By area and name: in what a name that both have is better here.
BETTER = {
    "ray.data": {
        "read_parquet": "takes a filter, which keeps exactly the rows that it keeps in memory; "
        "types of columns in paths survive; a broken or empty file is an error with its name",
        "read_csv": "types do not depend on blocks; large files are read in parts; errors have "
        "file, line and column",
        "read_json": "time zones and long integers stay; large files are read in parts",
        "read_text": "large files are read in parts",
        "read_images": "pictures come upright, 16 bits are scaled, the shape follows `mode`",
        "read_videos": "`fps` goes by the times of the frames; pictures come upright, and cover "
        "art is passed over; also called `read_video`",
        "read_numpy": "nothing is unpickled",
        "read_tfrecords": "checksums are checked, and a cut file is an error",
        "read_webdataset": "nothing is unpickled, and what is left out is told",
        "read_sql": "rows stream, and types come from what the database says",
        "read_kafka": "a large partition is read by several tasks; offsets that are gone, and time "
        "that is up, are errors",
        "range": "`take` and `limit` stop it, however long it is",
        "FileShuffleConfig": "a seed gives the same order in each run",
        "ActorPoolStrategy": "a pool that can never fit is refused at once",
        "DataContext": "an unknown setting is an error",
        "ExecutionOptions": "`strict_memory` refuses a plan that has no room for a block of each "
        "operator",
        "from_items": "values that do not go together are an error that names both rows",
        "from_pandas": "integers beside nulls stay integers",
    },
    "Dataset": {
        "map_batches": "integers beside nulls stay integers; `async` functions work; small blocks "
        "are joined; with `num_gpus` an actor holds no CPU",
        "map": "types and time zones of what is not changed survive",
        "filter": "an expression directly after `read_parquet` moves into the reader",
        "limit": "stops what is above it as soon as the rows are there",
        "union": "columns of different types take the one that holds both, or it is an error",
        "zip": "row by row, while both sides stream",
        "select_columns": "an unknown column is an error that names those that exist",
        "drop_columns": "an unknown column is an error; the rows stay, even if no column does",
        "rename_columns": "two columns of one name are an error",
        "with_column": "true division, `**`, unary minus; a chained comparison is an error",
        "with_columns": "each expression sees the columns as they were before",
        "take": "stops the run as soon as it has its rows; `take(-1)` is an error",
        "count": "runs nothing where the number of rows is known",
        "schema": "unified over blocks, and kept without rows",
        "iter_jax_batches": "an integer that JAX would cut to 32 bits is an error",
        "iter_batches": "prefetching never changes the order; `zero_copy_batch=False` gives copies",
        "sum": _EXACT,
        "mean": _EXACT,
        "std": _EXACT,
        "unique": "one NaN, one zero",
        "input_files": "of Parquet files, too",
        "stats": "where each operator's time went, in shares that add up to 100 %",
        "explain": "also what each operator holds, and what the reader takes over",
        "write_parquet": _FILES + "; an overwrite never loses the old data",
        "write_csv": _FILES,
        "write_json": _FILES,
        "write_numpy": _FILES,
        "write_orc": _FILES + "; what ORC would change is refused",
        "write_tfrecords": "floats of 64 bits are an error, not rounded",
        "write_webdataset": "keys that a reader would cut are refused",
        "write_kafka": "keys, values and headers from columns; what the client repeats "
        "appears once",
        "split": "no rows are moved",
        "train_test_split": "no rows are moved",
    },
    "ray.data.expressions": {
        "monotonically_increasing_id": "a task that is repeated, and another run, give the same; "
        "grows with the order of the source; only where rows have a place in it",
        "random": "a task that is repeated gives the same, and with a seed so does each run (no "
        "`reseed_after_execution`); only where rows have a place in the source",
    },
}
_GROUPS = (
    "rows cannot be exchanged between blocks yet; reduce each batch with `map_batches` and combine "
    "the results"
)
_ITERATOR = "a `Dataset` itself has `iter_batches` and `iter_rows`"
_FUNCTION = "use a function with `map_batches`, or `udf`"
#: Why a name is not there, where `millstream.absent` does not say it; by area, then name. `*` is
#: for all others of the area.
ABSENT = {
    "ray.data": {
        "Preprocessor": "fit on what `iter_batches` gives, and apply with a class in `map_batches`",
        "DatasetSummary": _GROUPS,
        "MixStoppingCondition": "there is no `mix`; iterate over several datasets in turn",
        "NodeIdStr": "a name for a type only",
        "SinkMode": "`mode` is a string: `mode='append'`",
        "list_stats_summaries": "`Dataset.report()` has the numbers of a run",
        "ClickHouseTableSettings": "`write_clickhouse` takes a dict: `table_settings=`",
        "KafkaAuthConfig": "deprecated there: `read_kafka` takes `consumer_config`",
        "Catalog": "there are no catalogues: pass the paths of the files",
        "CatalogAccessMode": "there are no catalogues: pass the paths of the files",
        "DatabricksUnityCatalog": "there are no catalogues: pass the paths of the files",
        "ReaderFormat": "there are no catalogues: pass the paths of the files",
        "ResolvedSource": "there are no catalogues: pass the paths of the files",
    },
    "Dataset": {
        "map_batches_internal": "not for users there, either",
    },
    "GroupedData": {"*": _GROUPS},
    "DataIterator": {
        "to_torch": "deprecated there: `iter_torch_batches`, or `to_torch_dataset`",
        "*": _ITERATOR,
    },
    "ray.data.aggregate": {"*": _GROUPS},
    "ray.data.expressions": {"*": _FUNCTION},
    "Expr": {"*": _FUNCTION},
    "Schema": {},
    "DataContext": {"*": "tunes an engine that is not there"},
}
#: Arguments that are not here, and what takes their place.
ARGUMENTS = {
    "parallelism": "deprecated there: `override_num_blocks`",
    "num_rows_per_file": "deprecated there: `min_rows_per_file`, `max_rows_per_file`",
    "label_selector": "the scheduler chooses the node; ask for a resource of it with `resources`",
    "fallback_strategy": "as `label_selector`",
    "ray_remote_args_fn": "all workers of an operator are alike; pass the options themselves",
    "kafka_auth_config": "deprecated there: `consumer_config`",
    "allow_pickle": "nothing in a file is ever unpickled",
    "catalog": "pass the paths of the files",
    "synchronize_batches": "`streaming_split(n, equal=True)` gives all processes equally many rows",
}
#: Arguments of many functions that only we have.
OURS = {
    "skip_paths": "in all readers of files: what to leave out",
    "partition_cols": "in all writers of files: a folder for each value",
    "max_rows_per_file": "in all writers of files, as `min_rows_per_file`",
    "min_bytes_per_file": "in all writers of files, as `min_rows_per_file`",
}
