"""millstream streams datasets through CPU and GPU stages on a Ray cluster.

The names here are the public face. They are loaded when they are first used, so that importing
millstream costs nothing and brings in neither Ray nor torch nor pandas.

- A dataset of files: `read_parquet`, `read_images`, `read_video` (`read_videos`),
  `read_binary_files`, with `FileShuffleConfig`, `Partitioning` and `PathPartitionFilter`.
- A dataset of what is in memory: `range`, `from_items`, `from_arrow`.
- What it is: `Dataset`, `MaterializedDataset`, `Schema`.
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
    from millstream.in_memory import from_arrow, from_items, range
    from millstream.io.file_options import FileShuffleConfig
    from millstream.io.partitioning import Partitioning, PathPartitionFilter
    from millstream.read import (
        read_binary_files,
        read_images,
        read_parquet,
        read_video,
        read_videos,
    )
    from millstream.schema import Schema

__version__ = "0.1.0"

__all__ = [
    "ActorPoolStrategy",
    "ArgumentError",
    "DataContext",
    "Dataset",
    "ExecutionOptions",
    "ExecutionResources",
    "FileShuffleConfig",
    "MaterializedDataset",
    "MillstreamError",
    "MissingPackageError",
    "Partitioning",
    "PathPartitionFilter",
    "PlanError",
    "ReadError",
    "ResourcesError",
    "RunStoppedError",
    "Schema",
    "SchemaError",
    "SerializationError",
    "TaskPoolStrategy",
    "UserCodeError",
    "WorkerError",
    "WriteError",
    "from_arrow",
    "from_items",
    "range",
    "read_binary_files",
    "read_images",
    "read_parquet",
    "read_video",
    "read_videos",
]

_MODULES = {
    "compute": ["ActorPoolStrategy", "TaskPoolStrategy"],
    "context": ["DataContext", "ExecutionOptions", "ExecutionResources"],
    "dataset": ["Dataset", "MaterializedDataset"],
    "errors": [name for name in __all__ if name.endswith("Error")],
    "in_memory": ["from_arrow", "from_items", "range"],
    "io.file_options": ["FileShuffleConfig"],
    "io.partitioning": ["Partitioning", "PathPartitionFilter"],
    "read": [name for name in __all__ if name.startswith("read_")],
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
