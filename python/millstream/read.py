"""Datasets of files.

Owns the public names of the readers and their arguments. The formats themselves are in
`millstream.io`, which is imported when a source is planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millstream.dataset import Dataset, dataset_of
from millstream.io.file_options import FileOptions, ImageFiles, ParquetFiles, VideoFiles
from millstream.options import takes
from millstream.plan.arguments import ReadOptions

if TYPE_CHECKING:
    import pyarrow as pa

    from millstream.io.addresses import Paths
    from millstream.io.custom import Datasource
    from millstream.io.formats.images import Orientation


@takes(files=ParquetFiles, options=ReadOptions)
def read_parquet(
    paths: Paths,
    *,
    columns: Sequence[str] | None = None,
    filter: Any = None,
    schema: pa.Schema | None = None,
    files: ParquetFiles,
    options: ReadOptions,
) -> Dataset:
    """The rows of Parquet files, read by row group.

    Tensors come back as tensors, also those that Ray Data wrote; what it pickled is refused. 96-bit
    timestamps are microseconds.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.parquet"`, or
            a list of them. Relative paths are those of the caller. What is listed twice is read
            twice. Addresses may have pyarrow's options: `"s3://bucket/data?region=eu-west-1"`; the
            characters before them are those of the key, but `file://` is percent-decoded.
        columns: Only these, in this order. `Dataset.select_columns` has the same effect.
        filter: A `pyarrow.compute.Expression` that rows must satisfy: those are read for which it
            is true in memory. Row groups that have none by their statistics are left out.
        schema: The columns and types to read the files as, instead of what they say.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing, empty or no Parquet; the error names it.
        SchemaError: A column does not exist or holds pickled objects, or the files have no common
            schema.
    """
    from millstream.io.formats.parquet.source import plan_parquet

    blocks = options.override_num_blocks
    source = plan_parquet(
        paths, files, columns=columns, filter=filter, schema=schema, blocks=blocks
    )
    return dataset_of(source, options)


@takes(files=FileOptions, options=ReadOptions)
def read_binary_files(paths: Paths, *, files: FileOptions, options: ReadOptions) -> Dataset:
    """The contents of files: a row per file, in the column `bytes`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.jpg"`, or a
            list of them; see `read_parquet`.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing, or there is nothing to read.
    """
    from millstream.io.formats.binary import plan_binary

    return dataset_of(plan_binary(paths, files, blocks=options.override_num_blocks), options)


@takes(files=ImageFiles, options=ReadOptions)
def read_images(
    paths: Paths,
    *,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    orientation: Orientation = "upright",
    files: ImageFiles,
    options: ReadOptions,
) -> Dataset:
    """Decoded images: a row per file, in the tensor column `image`.

    An image has the shape (height, width) if its mode has one band, else (height, width, bands). Of
    files with several pages or frames, the first is read, and a warning says so. Needs
    `millstream[image]`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.jpg"`, or a
            list of them; see `read_parquet`.
        size: Height and width in pixels to resize to; `None`: each keeps its own.
        mode: Pillow's name of the pixel format to convert to, such as `"RGB"`; `None`: each keeps
            its own, 16-bit grey too, and palettes become their colours (`"P"` gives their numbers).
            Numbers are scaled so that white stays white, except with `"I"` and `"F"`, which take
            them as they are. What has no scale, such as floats to `"L"`, is an error when it is
            read; so are 16 bits in several bands without a `mode` of 8 bits.
        orientation: `"upright"`: pixels as a person is meant to see them, turned as the file says;
            `"stored"`: as they lie in the file.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: Pillow is not installed.
        ReadError: A file is missing or no image, or there is nothing to read.
    """
    from millstream.io.formats.images import plan_images

    blocks = options.override_num_blocks
    source = plan_images(paths, files, size=size, mode=mode, orientation=orientation, blocks=blocks)
    return dataset_of(source, options)


@takes(files=VideoFiles, options=ReadOptions)
def read_video(
    paths: Paths,
    *,
    include_timestamps: bool = False,
    fps: float | None = None,
    frame_interval: int | None = None,
    orientation: Orientation = "upright",
    resize: tuple[int, int] | None = None,
    files: VideoFiles,
    options: ReadOptions,
) -> Dataset:
    """Decoded videos: a row per frame, in the columns `frame` (height, width, 3) and `frame_index`.

    Frames are RGB and stream out of a file while it is decoded. Of a file with several videos the
    first is read that is no cover picture. Needs `millstream[video]`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.mp4"`, or a
            list of them; see `read_parquet`.
        include_timestamps: Whether the column `frame_timestamp` says when a frame is shown, in
            seconds.
        fps: For each moment of 0, 1/fps, 2/fps, … seconds after the first frame, keeps the frame
            that is seen then: the last one at or before it, by the frames' own times. Each is kept
            once at most, so a slower video keeps all its frames. `None`: all.
        frame_interval: Keeps each nth frame; not together with `fps`.
        orientation: `"upright"`: frames as a person is meant to see them, turned as the file says;
            `"stored"`: as they lie in the file.
        resize: Height and width in pixels to resize to; `None`: frames keep their own.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: PyAV is not installed.
        ReadError: A file is missing or no video, or there is nothing to read.
    """
    from millstream.io.formats.video import plan_video

    source = plan_video(
        paths,
        files,
        resize=resize,
        fps=fps,
        frame_interval=frame_interval,
        orientation=orientation,
        include_timestamps=include_timestamps,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)


#: Ray Data's name for it.
read_videos = read_video


@takes(options=ReadOptions)
def read_datasource(datasource: Datasource, *, options: ReadOptions) -> Dataset:
    """The rows of a source of your own.

    Args:
        datasource: An object of a class that derives from `Datasource`.
        options: What all readers take.

    Raises:
        ArgumentError: It is no `Datasource`, or does not give read tasks.
        ReadError: A read task raised.
    """
    from millstream.io.custom import plan_datasource

    return dataset_of(plan_datasource(datasource, options.override_num_blocks), options)
