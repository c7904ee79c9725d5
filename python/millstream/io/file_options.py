"""What readers of files take besides the paths: said, documented and checked once.

Owns the options and their defaults for each format. Is loaded before anything is read, so it must
import little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from millstream.errors import ArgumentError
from millstream.errors.checks import (
    check_flag,
    check_kind,
    require,
)
from millstream.io.extensions import (
    ARROW_EXTENSIONS,
    AUDIO_EXTENSIONS,
    AVRO_EXTENSIONS,
    DICOM_EXTENSIONS,
    HDF5_EXTENSIONS,
    IMAGE_EXTENSIONS,
    JSON_EXTENSIONS,
    LAS_EXTENSIONS,
    MCAP_EXTENSIONS,
    NUMPY_EXTENSIONS,
    ORC_EXTENSIONS,
    PARQUET_EXTENSIONS,
    PDF_EXTENSIONS,
    TIFF_EXTENSIONS,
    VIDEO_EXTENSIONS,
    VORTEX_EXTENSIONS,
    WEBDATASET_EXTENSIONS,
)
from millstream.io.partitioning import Partitioning, PathPartitionFilter

if TYPE_CHECKING:
    from millstream.io.addresses import Paths


@dataclass(frozen=True)
class FileShuffleConfig:
    """Reads files in random order.

    Args:
        seed: The same seed gives the same order, in each run; without one, each run has its own.
        reseed_after_execution: Ray Data's name for another order in each run. With a seed it must
            be false: a dataset does not know how often it has run.
    """

    seed: int | None = None
    reseed_after_execution: bool = False

    def __post_init__(self) -> None:
        if self.seed is not None and self.reseed_after_execution:
            raise ArgumentError(
                "with a seed, files have the same order in each run: leave the seed out for "
                "another order in each, or pass reseed_after_execution=False"
            )
        is_right = self.seed is None or isinstance(self.seed, int)
        is_right = is_right and not isinstance(self.seed, bool)
        require(is_right, "seed", self.seed, "a whole number, or None")


Shuffle = Literal["files"] | FileShuffleConfig | None

_HIVE = Partitioning("hive")


@dataclass(frozen=True)
class FileOptions:
    """What readers of files take besides the paths.

    Args:
        filesystem: From `pyarrow.fs` or fsspec; by default the paths tell.
        partition_filter: Leaves out files by the partition values in their paths.
        partitioning: How paths hold values of columns; `None`: they do not.
        shuffle: `"files"`: read the files in another order in each run; `FileShuffleConfig(seed)`:
            in a random order that is the same in each run.
        include_paths: Whether the column `path` says which file a row is from.
        ignore_missing_paths: Whether paths that do not exist, and links to files that are gone, are
            left out; these are told.
        skip_paths: Files or folders to leave out; they need not exist.
        file_extensions: Which files to read; `None`: all. A warning tells what the default leaves
            out.
    """

    filesystem: Any = None
    partition_filter: PathPartitionFilter | None = None
    partitioning: Partitioning | None = None
    shuffle: Shuffle = None
    include_paths: bool = False
    ignore_missing_paths: bool = False
    skip_paths: Paths | None = None
    file_extensions: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_kind("partition_filter", self.partition_filter, PathPartitionFilter)
        check_kind("partitioning", self.partitioning, Partitioning)
        is_shuffle = self.shuffle == "files" or isinstance(self.shuffle, FileShuffleConfig)
        wanted = "'files', a FileShuffleConfig, or None"
        require(self.shuffle is None or is_shuffle, "shuffle", self.shuffle, wanted)
        check_flag("include_paths", self.include_paths)
        check_flag("ignore_missing_paths", self.ignore_missing_paths)
        extensions = self.file_extensions
        is_list = isinstance(extensions, (list, tuple, set, frozenset))
        is_right = is_list and all(isinstance(name, str) for name in extensions or ())
        wanted = "a list of strings, or None"
        require(extensions is None or is_right, "file_extensions", extensions, wanted)

    @property
    def order(self) -> FileShuffleConfig | None:
        """In which order a run reads the files, if not in that in which they were listed."""
        return FileShuffleConfig() if self.shuffle == "files" else self.shuffle


@dataclass(frozen=True)
class ParquetFiles(FileOptions):
    """What `read_parquet` takes besides the paths.

    Args:
        partitioning: How paths hold values of columns; by default as in `year=2024/`. Their types
            are those of `schema`, or those that `write_parquet` noted in the files; else integers
            if all values are, and text if not.
    """

    partitioning: Partitioning | None = _HIVE
    file_extensions: Sequence[str] | None = PARQUET_EXTENSIONS


@dataclass(frozen=True)
class TextFiles(FileOptions):
    """What `read_text` takes besides the paths.

    Args:
        arrow_open_stream_args: How files are opened: `{"compression": "gzip"}`, or `"bz2"`,
            `"zstd"`, `"lz4"`, `"brotli"`, or `None` if they are not compressed; by default the
            extension tells (`.gz`, `.bz2`, `.zst`, `.lz4`, `.br`). `"buffer_size"`, in bytes.
    """

    arrow_open_stream_args: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class CsvFiles(TextFiles):
    """What `read_csv` takes besides the paths.

    Args:
        partitioning: How paths hold values of columns; by default as in `year=2024/`. They are
            integers if all values are, and text if not.
    """

    partitioning: Partitioning | None = _HIVE


@dataclass(frozen=True)
class JsonFiles(TextFiles):
    """What `read_json` takes besides the paths.

    Args:
        partitioning: How paths hold values of columns; by default as in `year=2024/`. They are
            integers if all values are, and text if not.
    """

    partitioning: Partitioning | None = _HIVE
    file_extensions: Sequence[str] | None = JSON_EXTENSIONS


@dataclass(frozen=True)
class ArrowFiles(FileOptions):
    """What `read_arrow` takes besides the paths."""

    file_extensions: Sequence[str] | None = ARROW_EXTENSIONS


@dataclass(frozen=True)
class AvroFiles(FileOptions):
    """What `read_avro` takes besides the paths."""

    file_extensions: Sequence[str] | None = AVRO_EXTENSIONS


@dataclass(frozen=True)
class NumpyFiles(FileOptions):
    """What `read_numpy` takes besides the paths."""

    file_extensions: Sequence[str] | None = NUMPY_EXTENSIONS


@dataclass(frozen=True)
class OrcFiles(FileOptions):
    """What `read_orc` takes besides the paths."""

    file_extensions: Sequence[str] | None = ORC_EXTENSIONS


@dataclass(frozen=True)
class WebDatasetFiles(FileOptions):
    """What `read_webdataset` takes besides the paths."""

    file_extensions: Sequence[str] | None = WEBDATASET_EXTENSIONS


@dataclass(frozen=True)
class ImageFiles(FileOptions):
    """What `read_images` takes besides the paths."""

    file_extensions: Sequence[str] | None = IMAGE_EXTENSIONS


@dataclass(frozen=True)
class VideoFiles(FileOptions):
    """What `read_video` takes besides the paths."""

    file_extensions: Sequence[str] | None = VIDEO_EXTENSIONS


@dataclass(frozen=True)
class AudioFiles(FileOptions):
    """What `read_audio` takes besides the paths."""

    file_extensions: Sequence[str] | None = AUDIO_EXTENSIONS


@dataclass(frozen=True)
class PdfFiles(FileOptions):
    """What `read_pdf` takes besides the paths."""

    file_extensions: Sequence[str] | None = PDF_EXTENSIONS


@dataclass(frozen=True)
class VortexFiles(FileOptions):
    """What `read_vortex` takes besides the paths."""

    file_extensions: Sequence[str] | None = VORTEX_EXTENSIONS


@dataclass(frozen=True)
class Hdf5Files(FileOptions):
    """What `read_hdf5` takes besides the paths."""

    file_extensions: Sequence[str] | None = HDF5_EXTENSIONS


@dataclass(frozen=True)
class McapFiles(FileOptions):
    """What `read_mcap` takes besides the paths."""

    file_extensions: Sequence[str] | None = MCAP_EXTENSIONS


@dataclass(frozen=True)
class DicomFiles(FileOptions):
    """What `read_dicom` takes besides the paths."""

    file_extensions: Sequence[str] | None = DICOM_EXTENSIONS


@dataclass(frozen=True)
class TiffFiles(FileOptions):
    """What `read_tiff` takes besides the paths."""

    file_extensions: Sequence[str] | None = TIFF_EXTENSIONS


@dataclass(frozen=True)
class LasFiles(FileOptions):
    """What `read_las` takes besides the paths."""

    file_extensions: Sequence[str] | None = LAS_EXTENSIONS
