"""Where datasets come from: files, Python objects, Arrow tables, numbers.

Owns the public names of the sources and their arguments. The formats themselves are in
`millstream.io`, which is imported when a source is planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millstream.context import DataContext
from millstream.dataset import Dataset
from millstream.io import memory as in_memory
from millstream.io.formats import IMAGE_EXTENSIONS, PARQUET_EXTENSIONS, VIDEO_EXTENSIONS
from millstream.io.partitioning import Partitioning, PathPartitionFilter
from millstream.io.source import Source
from millstream.plan.arguments import check_named, shape_of_read
from millstream.plan.logical import LogicalPlan, Read

if TYPE_CHECKING:
    import pyarrow as pa

    from millstream.io.files import Paths, Shuffle
    from millstream.io.images import Orientation

_HIVE = Partitioning("hive")


def range(
    n: int, *, concurrency: int | None = None, override_num_blocks: int | None = None
) -> Dataset:
    """The whole numbers from 0 to `n` - 1, in the column `id` (64 bits).

    Args:
        n: How many.
        concurrency: Tasks at a time; default as many as there is room for.
        override_num_blocks: Into how many units the numbers are divided, each of which is then
            a task and a block of its own. By default there are enough for a cluster, and the
            scheduler bundles what is too small to be worth a task. This holds for all sources.

    Raises:
        ArgumentError: An argument makes no sense.

    Example:
        >>> ms.range(3).take_all()
        [{'id': 0}, {'id': 1}, {'id': 2}]
    """
    source = in_memory.plan_range(n, override_num_blocks=override_num_blocks)
    return _dataset(source, override_num_blocks, concurrency)


def from_items(items: Sequence[Any], *, override_num_blocks: int | None = None) -> Dataset:
    """Rows given as Python objects.

    Args:
        items: Dicts of column name to value; anything else becomes the column `item`. A column
            that a row lacks is null in it.
        override_num_blocks: Into how many units the rows are divided.

    Raises:
        ArgumentError: An argument makes no sense.
        SchemaError: The values of a column have no common type.

    Example:
        >>> ms.from_items([1, 2]).take_all()
        [{'item': 1}, {'item': 2}]
    """
    source = in_memory.plan_items(items, override_num_blocks=override_num_blocks)
    return _dataset(source, override_num_blocks)


def from_arrow(
    tables: pa.Table | pa.RecordBatch | bytes | Sequence[Any],
    *,
    override_num_blocks: int | None = None,
) -> Dataset:
    """The rows of Arrow tables.

    Args:
        tables: One or a list of tables, record batches, or their IPC streams in bytes.
        override_num_blocks: Into how many units the rows are divided; by default each table is
            one, or several if it is large.

    Raises:
        ArgumentError: An argument makes no sense.
        SchemaError: The tables have no common schema.
    """
    source = in_memory.plan_arrow(tables, override_num_blocks=override_num_blocks)
    return _dataset(source, override_num_blocks)


def read_parquet(
    paths: Paths,
    *,
    filesystem: Any = None,
    columns: Sequence[str] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = _HIVE,
    shuffle: Shuffle = None,
    include_paths: bool = False,
    file_extensions: Sequence[str] | None = PARQUET_EXTENSIONS,
    ignore_missing_paths: bool = False,
    skip_paths: Paths | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
    filter: Any = None,
    schema: pa.Schema | None = None,
) -> Dataset:
    """The rows of Parquet files, read by row group.

    Tensors come back as tensors, also those that Ray Data wrote; what it pickled is refused. 96-bit
    timestamps are microseconds.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.parquet"`, or
            a list of them. Relative paths are those of the caller. What is listed twice is read
            twice. Addresses may have pyarrow's options: `"s3://bucket/data?region=eu-west-1"`; the
            characters before them are those of the key, but `file://` is percent-decoded.
        filesystem: From `pyarrow.fs` or fsspec; by default the paths tell.
        columns: Only these, in this order. `Dataset.select_columns` has the same effect.
        num_cpus: CPUs per task; default 1.
        num_gpus: GPUs per task; default 0.
        memory: Bytes of memory per task.
        partition_filter: Leaves out files by the partition values in their paths.
        partitioning: How paths hold values of columns; by default as in `year=2024/`. Their types
            are those of `schema`, or those that `write_parquet` noted in the files; else integers
            if all values are, and text if not.
        shuffle: `"files"`: read the files in another order in each run; `FileShuffleConfig(seed)`:
            in a random order that is the same in each run.
        include_paths: Whether the column `path` says which file a row is from.
        file_extensions: Which files to read; `None`: all. A warning tells what the default leaves
            out.
        ignore_missing_paths: Whether paths that do not exist, and links to files that are gone, are
            left out.
        skip_paths: Files or folders to leave out.
        concurrency: Tasks at a time; default as many as there is room for.
        override_num_blocks: Into how many units the files are divided, as far as they have rows.
        ray_remote_args: `resources`, `runtime_env` and the like, as in `Dataset`.
        filter: A `pyarrow.compute.Expression` that rows must satisfy: those are read for which it
            is true in memory. Row groups that have none by their statistics are left out.
        schema: The columns and types to read the files as, instead of what they say.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing, empty or no Parquet; the error names it.
        SchemaError: A column does not exist or holds pickled objects, or the files have no common
            schema.
    """
    from millstream.io.parquet import plan_parquet

    source = plan_parquet(
        paths,
        filesystem=filesystem,
        columns=columns,
        filter=filter,
        schema=schema,
        partitioning=partitioning,
        partition_filter=partition_filter,
        shuffle=shuffle,
        include_paths=include_paths,
        file_extensions=file_extensions,
        ignore_missing_paths=ignore_missing_paths,
        skip_paths=skip_paths,
        override_num_blocks=override_num_blocks,
    )
    return _dataset(
        source, override_num_blocks, concurrency, num_cpus, num_gpus, memory, ray_remote_args
    )


def read_binary_files(
    paths: Paths,
    *,
    include_paths: bool = False,
    filesystem: Any = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset:
    """The contents of files: a row per file, in the column `bytes`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.jpg"`, or a
            list of them; see `read_parquet`.
        include_paths: Whether the column `path` says which file a row is.
        filesystem: From `pyarrow.fs` or fsspec; by default the paths tell.
        num_cpus: CPUs per task; default 1.
        num_gpus: GPUs per task; default 0.
        memory: Bytes of memory per task.
        partition_filter: Leaves out files by the partition values in their paths.
        partitioning: How paths hold values of columns; `None`: they do not.
        ignore_missing_paths: Whether paths that do not exist, and links to files that are gone, are
            left out.
        shuffle: `"files"`: read the files in another order in each run; `FileShuffleConfig(seed)`:
            in a random order that is the same in each run.
        file_extensions: Which files to read; `None`: all.
        concurrency: Tasks at a time; default as many as there is room for.
        override_num_blocks: Into how many units the files are divided.
        ray_remote_args: `resources`, `runtime_env` and the like, as in `Dataset`.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing, or there is nothing to read.
    """
    from millstream.io.binary import plan_binary

    source = plan_binary(
        paths,
        filesystem=filesystem,
        include_paths=include_paths,
        partitioning=partitioning,
        partition_filter=partition_filter,
        shuffle=shuffle,
        file_extensions=file_extensions,
        ignore_missing_paths=ignore_missing_paths,
        override_num_blocks=override_num_blocks,
    )
    return _dataset(
        source, override_num_blocks, concurrency, num_cpus, num_gpus, memory, ray_remote_args
    )


def read_images(
    paths: Paths,
    *,
    filesystem: Any = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    orientation: Orientation = "upright",
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = IMAGE_EXTENSIONS,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset:
    """Decoded images: a row per file, in the tensor column `image`.

    An image has the shape (height, width) if its mode has one band, else (height, width, bands). Of
    files with several pages or frames, the first is read, and a warning says so. Needs
    `millstream[image]`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.jpg"`, or a
            list of them; see `read_parquet`.
        filesystem: From `pyarrow.fs` or fsspec; by default the paths tell.
        num_cpus: CPUs per task; default 1.
        num_gpus: GPUs per task; default 0.
        memory: Bytes of memory per task.
        partition_filter: Leaves out files by the partition values in their paths.
        partitioning: How paths hold values of columns; `None`: they do not.
        size: Height and width in pixels to resize to; `None`: each keeps its own.
        mode: Pillow's name of the pixel format to convert to, such as `"RGB"`; `None`: each keeps
            its own, 16-bit grey too, and palettes become their colours (`"P"` gives their numbers).
            Numbers are scaled so that white stays white, but for `"I"` and `"F"`, which take them
            as they are. What has no scale, such as floats to `"L"`, is an error when it is read;
            so are 16 bits in several bands without a `mode` of 8 bits.
        orientation: `"upright"`: pixels as a person is meant to see them, turned as the file says;
            `"stored"`: as they lie in the file.
        include_paths: Whether the column `path` says which file a row is.
        ignore_missing_paths: Whether paths that do not exist, and links to files that are gone, are
            left out.
        shuffle: `"files"`: read the files in another order in each run; `FileShuffleConfig(seed)`:
            in a random order that is the same in each run.
        file_extensions: Which files to read; `None`: all. A warning tells what the default leaves
            out.
        concurrency: Tasks at a time; default as many as there is room for.
        override_num_blocks: Into how many units the files are divided.
        ray_remote_args: `resources`, `runtime_env` and the like, as in `Dataset`.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: Pillow is not installed.
        ReadError: A file is missing or no image, or there is nothing to read.
    """
    from millstream.io.images import plan_images

    source = plan_images(
        paths,
        filesystem=filesystem,
        size=size,
        mode=mode,
        orientation=orientation,
        include_paths=include_paths,
        partitioning=partitioning,
        partition_filter=partition_filter,
        shuffle=shuffle,
        file_extensions=file_extensions,
        ignore_missing_paths=ignore_missing_paths,
        override_num_blocks=override_num_blocks,
    )
    return _dataset(
        source, override_num_blocks, concurrency, num_cpus, num_gpus, memory, ray_remote_args
    )


def read_video(
    paths: Paths,
    *,
    filesystem: Any = None,
    partition_filter: PathPartitionFilter | None = None,
    partitioning: Partitioning | None = None,
    include_paths: bool = False,
    include_timestamps: bool = False,
    fps: float | None = None,
    frame_interval: int | None = None,
    orientation: Orientation = "upright",
    resize: tuple[int, int] | None = None,
    ignore_missing_paths: bool = False,
    file_extensions: Sequence[str] | None = VIDEO_EXTENSIONS,
    shuffle: Shuffle = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset:
    """Decoded videos: a row per frame, in the columns `frame` (height, width, 3) and `frame_index`.

    Frames are RGB and stream out of a file while it is decoded. Of a file with several videos the
    first is read that is no cover picture. Needs `millstream[video]`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.jpg"`, or a
            list of them; see `read_parquet`.
        filesystem: From `pyarrow.fs` or fsspec; by default the paths tell.
        partition_filter: Leaves out files by the partition values in their paths.
        partitioning: How paths hold values of columns; `None`: they do not.
        include_paths: Whether the column `path` says which file a row is from.
        include_timestamps: Whether the column `frame_timestamp` says when a frame is shown, in
            seconds.
        fps: For each moment of 0, 1/fps, 2/fps, … seconds after the first frame, keeps the frame
            that is seen then: the last one at or before it, by the frames' own times. Each is kept
            once at most, so a slower video keeps all its frames. `None`: all.
        frame_interval: Keeps each nth frame; not together with `fps`.
        orientation: `"upright"`: frames as a person is meant to see them, turned as the file says;
            `"stored"`: as they lie in the file.
        resize: Height and width in pixels to resize to; `None`: frames keep their own.
        ignore_missing_paths: Whether paths that do not exist, and links to files that are gone, are
            left out.
        file_extensions: Which files to read; `None`: all. A warning tells what the default leaves
            out.
        shuffle: `"files"`: read the files in another order in each run; `FileShuffleConfig(seed)`:
            in a random order that is the same in each run.
        concurrency: Tasks at a time; default as many as there is room for.
        override_num_blocks: Into how many units the files are divided.
        num_cpus: CPUs per task; default 1.
        num_gpus: GPUs per task; default 0.
        memory: Bytes of memory per task.
        ray_remote_args: `resources`, `runtime_env` and the like, as in `Dataset`.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: PyAV is not installed.
        ReadError: A file is missing or no video, or there is nothing to read.
    """
    from millstream.io.video import plan_video

    source = plan_video(
        paths,
        filesystem=filesystem,
        resize=resize,
        fps=fps,
        frame_interval=frame_interval,
        orientation=orientation,
        include_timestamps=include_timestamps,
        include_paths=include_paths,
        partitioning=partitioning,
        partition_filter=partition_filter,
        shuffle=shuffle,
        file_extensions=file_extensions,
        ignore_missing_paths=ignore_missing_paths,
        override_num_blocks=override_num_blocks,
    )
    return _dataset(
        source, override_num_blocks, concurrency, num_cpus, num_gpus, memory, ray_remote_args
    )


#: Ray Data's name for it.
read_videos = read_video


def _dataset(
    source: Source,
    override_num_blocks: int | None,
    concurrency: int | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    memory: float | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Dataset:
    check_named("ray_remote_args", ray_remote_args)
    resources = {
        **(ray_remote_args or {}),
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "memory": memory,
    }
    shape = shape_of_read(concurrency, resources)
    read = Read(source, shape, is_divided=override_num_blocks is not None)
    return Dataset(LogicalPlan(read), DataContext.get_current().copy())
