"""Names of Ray Data that millstream does not have, and what to use in their place.

Owns the table and the sentence. Knows nothing of what the names that are there do.
"""

from __future__ import annotations


def absent_text(owner: str, name: str) -> str:
    """What an `AttributeError` says of a name that is not there.

    Args:
        owner: What was asked for it, as users write it: `"millstream"`, `"Dataset"`.
        name: The name.
    """
    told = f"{owner} has no attribute {name!r}"
    use = _ABSENT.get((owner, name)) or _by_prefix(name)
    return f"{told}: Ray Data has it, millstream does not; {use}" if use else told


def _by_prefix(name: str) -> str | None:
    kind, _, format_name = name.partition("_")
    return _KINDS[kind] if kind in _KINDS and format_name in _FORMATS[kind] else None


_FORMATS = {
    "read": (
        *("bigquery", "databricks_tables"),
        *("delta_sharing_tables", "snowflake", "unity_catalog"),
    ),
    "write": ("bigquery", "snowflake", "turbopuffer"),
    "from": (*("daft", "dask", "mars", "modin", "spark", "tf"),),
    "to": (
        *("daft", "dask", "mars", "modin"),
        *("random_access_dataset", "spark"),
    ),
}
_KINDS = {
    "read": "read the files' bytes with read_binary_files and parse them in flat_map, or read them "
    "in this process as Arrow tables and pass those to from_arrow",
    "write": "write_parquet, write_csv, write_json and others write files; other formats "
    "can be written by a function passed to map_batches",
    "from": "make an Arrow table of the data and pass it to from_arrow, or rows to from_items",
    "to": "iterate with iter_batches(batch_format='pyarrow' or 'pandas' or 'numpy')",
}
_SPLIT = "make one dataset for each part, such as of a part of the files"
_NAME = "name what you log of it yourself; explain() and stats() name the operators"
_ABSENT = {
    ("millstream", "range_tensor"): "use range(n).map_batches(...) and return an array of the "
    "shape that you want",
    ("millstream", "BlockBasedFileDatasink"): _KINDS["write"],
    ("millstream", "RowBasedFileDatasink"): _KINDS["write"],
    ("millstream", "SaveMode"): "write_parquet takes the mode as a string: mode='append'",
    ("millstream", "DatasetIterator"): "Dataset.iterator() gives a DataIterator",
    ("millstream", "DatasetContext"): "it is called DataContext",
    ("millstream", "RandomSeedConfig"): "use FileShuffleConfig(seed=...)",
    ("Dataset", "summary"): "aggregate takes any number of aggregations: Mean('x'), Std('x')",
    ("Dataset", "mix"): "iterate over several datasets in turn",
    ("Dataset", "streaming_train_test_split"): _SPLIT,
    ("Dataset", "size_bytes"): "stats() of a run tells the bytes of each operator",
    ("Dataset", "get_stats_summary"): "report() has the numbers",
    ("Dataset", "get_dataset_id"): _NAME,
    ("Dataset", "get_internal_block_refs"): "materialize() keeps the blocks; iter_batches("
    "batch_size=None, batch_format='pyarrow') gives them",
    ("Dataset", "iter_internal_ref_bundles"): "materialize() keeps the blocks; iter_batches("
    "batch_size=None, batch_format='pyarrow') gives them",
    ("Dataset", "serialize_lineage"): "a dataset pickles",
    ("Dataset", "deserialize_lineage"): "a dataset pickles",
    ("Dataset", "has_serializable_lineage"): "a dataset pickles",
}
