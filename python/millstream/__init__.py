"""millstream streams datasets through CPU and GPU stages on a Ray cluster.

The names here are the public face. They are loaded when they are first used, so that importing
millstream costs nothing and brings in neither Ray nor torch nor pandas.

- A dataset of files: `read_parquet`, `read_csv`, `read_json`, `read_text`, `read_arrow`,
  `read_orc`, `read_avro`, `read_numpy`, `read_tfrecords`, `read_webdataset`, `read_images`,
  `read_video` (`read_videos`), `read_audio`, `read_pdf`, `read_binary_files`; of
  science and robots: `read_hdf5`, `read_zarr`, `read_dicom`, `read_tiff`, `read_las`, `read_mcap`,
  `read_lerobot`; with
  `FileShuffleConfig`, `Partitioning` and `PathPartitionFilter`; of a table: `read_delta`,
  `read_iceberg`, `read_hudi`, `read_lance`, `read_vortex`; of a database: `read_sql`,
  `read_mongo`, `read_clickhouse`; of messages: `read_kafka`.
- A dataset of what is in memory: `range`, `from_items`, `from_arrow`, `from_pandas`, `from_polars`,
  `from_numpy`, `from_huggingface`, `from_torch`, `from_blocks`; and in Ray's object store:
  `from_arrow_refs`, `from_numpy_refs`, `from_pandas_refs`.
- Sources and sinks of your own: `Datasource` with `ReadTask` and `BlockMetadata`, and
  `read_datasource`; `Datasink` with `WriteResult`, and `Dataset.write_datasink`.
- Expressions on columns are in `millstream.expressions`: `col`, `lit`, `when`, `udf`.
- Aggregations for groups and datasets are in `millstream.aggregate`: `Count`, `Sum`, `Mean`.
- What it is: `Dataset`, `MaterializedDataset`, `Schema`; in groups: `GroupedData`; for training
  loops: `DataIterator`.
- How operators run: `ActorPoolStrategy`, `TaskPoolStrategy`; how runs do: `DataContext`,
  `ExecutionOptions`, `ExecutionResources`.
- Errors, all of them `MillstreamError`s. Of a plan (`PlanError`): `ArgumentError`,
  `ResourcesError`, `SerializationError`, `MissingPackageError`. Of data: `ReadError`,
  `WriteError`, `SchemaError`. Of a run: `UserCodeError`, `WorkerError`, `RunStoppedError`.

Example:
    >>> import millstream as ms
    >>> ms.range(3).map(lambda row: {"double": row["id"] * 2}).take_all()
    [{'double': 0}, {'double': 2}, {'double': 4}]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millstream import sim as sim
    from millstream.compute import ActorPoolStrategy, TaskPoolStrategy
    from millstream.context import DataContext, ExecutionOptions, ExecutionResources
    from millstream.data_iterator import DataIterator
    from millstream.dataset import Dataset, MaterializedDataset
    from millstream.errors import (
        ArgumentError,
        MillstreamError,
        MissingPackageError,
        PlanError,
        ReadError,
        ResourcesError,
        RunStoppedError,
        SchemaError,
        SerializationError,
        UserCodeError,
        WorkerError,
        WriteError,
    )
    from millstream.grouped import GroupedData
    from millstream.in_memory import (
        from_arrow,
        from_huggingface,
        from_items,
        from_numpy,
        from_pandas,
        from_polars,
        from_torch,
        range,
    )
    from millstream.io.custom import (
        BlockMetadata,
        Datasink,
        Datasource,
        ReadTask,
        WriteResult,
    )
    from millstream.io.file_options import FileShuffleConfig
    from millstream.io.partitioning import Partitioning, PathPartitionFilter
    from millstream.read import (
        read_binary_files,
        read_datasource,
        read_images,
        read_parquet,
        read_video,
        read_videos,
    )
    from millstream.read_columns import read_arrow, read_avro, read_numpy, read_orc
    from millstream.read_databases import read_kafka, read_sql
    from millstream.read_lakes import (
        read_clickhouse,
        read_hudi,
        read_lance,
        read_mongo,
        read_vortex,
    )
    from millstream.read_media import read_audio, read_pdf
    from millstream.read_records import read_tfrecords, read_webdataset
    from millstream.read_science import (
        read_dicom,
        read_hdf5,
        read_las,
        read_lerobot,
        read_mcap,
        read_tiff,
        read_zarr,
    )
    from millstream.read_tables import read_delta, read_iceberg
    from millstream.read_text_files import read_csv, read_json, read_text
    from millstream.references import (
        from_arrow_refs,
        from_blocks,
        from_numpy_refs,
        from_pandas_refs,
    )
    from millstream.schema import Schema

__version__ = "0.1.0"

__all__ = [
    "ActorPoolStrategy",
    "ArgumentError",
    "BlockMetadata",
    "DataContext",
    "DataIterator",
    "Dataset",
    "Datasink",
    "Datasource",
    "ExecutionOptions",
    "ExecutionResources",
    "FileShuffleConfig",
    "GroupedData",
    "MaterializedDataset",
    "MillstreamError",
    "MissingPackageError",
    "Partitioning",
    "PathPartitionFilter",
    "PlanError",
    "ReadError",
    "ReadTask",
    "ResourcesError",
    "RunStoppedError",
    "Schema",
    "SchemaError",
    "SerializationError",
    "TaskPoolStrategy",
    "UserCodeError",
    "WorkerError",
    "WriteError",
    "WriteResult",
    "from_arrow",
    "from_arrow_refs",
    "from_blocks",
    "from_huggingface",
    "from_items",
    "from_numpy",
    "from_numpy_refs",
    "from_pandas",
    "from_pandas_refs",
    "from_polars",
    "from_torch",
    "range",
    "read_arrow",
    "read_audio",
    "read_avro",
    "read_binary_files",
    "read_clickhouse",
    "read_csv",
    "read_datasource",
    "read_delta",
    "read_dicom",
    "read_hdf5",
    "read_hudi",
    "read_iceberg",
    "read_images",
    "read_json",
    "read_kafka",
    "read_lance",
    "read_las",
    "read_lerobot",
    "read_mcap",
    "read_mongo",
    "read_numpy",
    "read_orc",
    "read_parquet",
    "read_pdf",
    "read_sql",
    "read_text",
    "read_tfrecords",
    "read_tiff",
    "read_video",
    "read_videos",
    "read_vortex",
    "read_webdataset",
    "read_zarr",
]

_MODULES = {
    "compute": ["ActorPoolStrategy", "TaskPoolStrategy"],
    "context": ["DataContext", "ExecutionOptions", "ExecutionResources"],
    "data_iterator": ["DataIterator"],
    "dataset": ["Dataset", "MaterializedDataset"],
    "errors": [name for name in __all__ if name.endswith("Error")],
    "grouped": ["GroupedData"],
    "in_memory": [
        *("range", "from_arrow", "from_huggingface", "from_items", "from_numpy", "from_pandas"),
        *("from_polars", "from_torch"),
    ],
    "io.custom": ["BlockMetadata", "Datasink", "Datasource", "ReadTask", "WriteResult"],
    "io.file_options": ["FileShuffleConfig"],
    "io.partitioning": ["Partitioning", "PathPartitionFilter"],
    "read": [
        *("read_binary_files", "read_datasource", "read_images", "read_parquet", "read_video"),
        "read_videos",
    ],
    "read_columns": ["read_arrow", "read_avro", "read_numpy", "read_orc"],
    "read_lakes": ["read_clickhouse", "read_hudi", "read_lance", "read_mongo", "read_vortex"],
    "references": ["from_arrow_refs", "from_blocks", "from_numpy_refs", "from_pandas_refs"],
    "read_media": ["read_audio", "read_pdf"],
    "read_science": [
        *("read_dicom", "read_hdf5", "read_las", "read_lerobot", "read_mcap", "read_tiff"),
        "read_zarr",
    ],
    "read_tables": ["read_delta", "read_iceberg"],
    "read_records": ["read_tfrecords", "read_webdataset"],
    "read_databases": ["read_kafka", "read_sql"],
    "read_text_files": ["read_csv", "read_json", "read_text"],
    "schema": ["Schema"],
}
_HOME = {name: f"millstream.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "sim":
        return importlib.import_module("millstream.sim")
    if name not in _HOME:
        from millstream.absent import absent_text

        raise AttributeError(absent_text("millstream", name))
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "sim"])
