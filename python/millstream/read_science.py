"""Datasets of scientific files and of robots' recordings.

Owns the public names of these readers and their arguments. The formats themselves are in
`millstream.io`, which is imported when a source is planned.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from millstream.dataset import Dataset, dataset_of
from millstream.io.file_options import (
    DicomFiles,
    Hdf5Files,
    LasFiles,
    McapFiles,
    TiffFiles,
)
from millstream.options import takes
from millstream.plan.arguments import ReadOptions

if TYPE_CHECKING:
    from millstream.io.addresses import Path, Paths
    from millstream.io.formats.zarr import ChunkShapes


@takes(files=Hdf5Files, options=ReadOptions)
def read_hdf5(
    paths: Paths,
    *,
    datasets: str | Sequence[str] | None = None,
    files: Hdf5Files,
    options: ReadOptions,
) -> Dataset:
    """The datasets of HDF5 files as columns: a row for each index of their first axis.

    Numbers, booleans and times come as they are, in more dimensions as tensors; text and the names
    of enums as text; values of any length as lists. The fields of a compound dataset are columns by
    their names. Complex numbers, references and other values that no column holds are errors that
    name the dataset. Chunks that were never written have the dataset's fill value, as HDF5 defines.

    A file is read some rows at a time, whole chunks if these are not too large, and a large one by
    several tasks. Links to other files, external storage and virtual datasets are not followed, but
    refused. Needs `millstream[hdf5]`. Ray Data has no such reader.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.h5"`, or a
            list of them; see `read_parquet`.
        datasets: The names of those to read, such as `["images", "train/labels"]`, which become
            the names of the columns. By default all in the file, which must be of one length.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: h5py, or a filter that a dataset needs, is not installed.
        ReadError: A file is missing, empty, cut off, damaged or no HDF5; the error names it.
        SchemaError: A dataset does not exist, or no column holds it, or they differ in length.
    """
    from millstream.io.formats.hdf5 import plan_hdf5

    source = plan_hdf5(paths, files, datasets=datasets, blocks=options.override_num_blocks)
    return dataset_of(source, options)


@takes(options=ReadOptions)
def read_zarr(
    path: Path,
    *,
    filesystem: Any = None,
    chunk_shapes: ChunkShapes = None,
    array_paths: Sequence[str] | None = None,
    allow_full_metadata_scan: bool = False,
    align_axis_0: bool = False,
    overlap: int = 0,
    rows: Literal["chunks", "indices"] = "chunks",
    missing_chunks: Literal["fill", "error"] = "fill",
    options: ReadOptions,
) -> Dataset:
    """The arrays of a Zarr store, of version 2 or 3: a row for each chunk, or for each index.

    By default a row is a chunk of one array: its path (`array`), where it is among the chunks
    (`chunk_index`) and among the values (`chunk_slices`, a start and a stop for each axis), and its
    values (`chunk`). With `align_axis_0`, a row is a chunk along the first axis of all arrays, a
    column each, with `t_start` and `t_stop`. With `rows="indices"`, a row is one index of the first
    axis of all arrays, a column each: numbers, booleans and times as they are, in more dimensions
    as tensors; text and bytes too, which no tensor holds. A store that is one array has the path
    "", and its column is `data`.

    A chunk that is not in the store has the fill value, whether it was never written or lost: a
    warning of each task tells how many. Nothing is unpickled. Needs `millstream[zarr]`.

    Args:
        path: The folder that is the store, or an address such as `"s3://bucket/a.zarr"`.
        filesystem: From `pyarrow.fs` or fsspec; by default the path tells.
        chunk_shapes: Other lengths of the chunks along the first axes: `[16]`; a dict gives them by
            array, and arrays that are not in it keep theirs. What is stored together is read once.
        array_paths: The arrays to read, such as `["images", "train/labels"]`. By default all that
            the store's consolidated metadata tells.
        allow_full_metadata_scan: Whether the folders are searched for arrays if there is no such
            metadata.
        align_axis_0: Whether the arrays, of one length and of one chunk along their first axis, are
            columns beside each other.
        overlap: By how many indices each row goes on into the next one; with `align_axis_0` only.
        rows: `"chunks"`, or `"indices"`, which Ray Data does not have.
        missing_chunks: `"fill"`: they have the fill value; `"error"`: they are errors.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: zarr is not installed.
        ReadError: There is no store, or it is damaged, or a chunk is missing that must not.
        SchemaError: An array does not exist, no column holds it, or they do not go together.
    """
    from millstream.io.formats.zarr import ZarrOptions, plan_zarr

    how = ZarrOptions(
        array_paths=array_paths,
        chunk_shapes=chunk_shapes,
        allow_full_metadata_scan=allow_full_metadata_scan,
        align_axis_0=align_axis_0,
        overlap=overlap,
        rows=rows,
        missing_chunks=missing_chunks,
    )
    blocks = options.override_num_blocks
    return dataset_of(plan_zarr(path, how, filesystem=filesystem, blocks=blocks), options)


@takes(files=McapFiles, options=ReadOptions)
def read_mcap(
    paths: Paths,
    *,
    topics: Collection[str] | None = None,
    time_range: tuple[int, int] | None = None,
    message_types: Collection[str] | None = None,
    include_metadata: bool = True,
    decode_json: bool = False,
    files: McapFiles,
    options: ReadOptions,
) -> Dataset:
    """The messages of MCAP recordings, a row each, as of ROS 2.

    The columns are `data` (the bytes of the message), `topic`, `log_time` and `publish_time` (in
    nanoseconds), `sequence`, and with `include_metadata` `channel_id`, `message_encoding`,
    `schema_name`, `schema_encoding`, `schema_data`, null where a channel has no schema.

    The messages of a file come in the order of `log_time`, if it has an index, and else as they lie
    in the file. With an index, only the chunks are read that have such topics and times. Checksums
    are checked. A recording that was not ended is an error. Needs `millstream[mcap]`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"runs/**/*.mcap"`, or a
            list of them; see `read_parquet`.
        topics: Those of the messages to read; all by default.
        time_range: The first `log_time` to read, and the first one after it that is not read.
        message_types: The names of the schemas of the messages to read; all by default.
        include_metadata: Whether the columns of channel and schema are there.
        decode_json: Whether `data` is the value of messages in JSON, which all must be then. Ray
            Data decodes them without being asked, so that the type depends on the topics.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: mcap is not installed.
        ReadError: A file is missing, empty, cut off, damaged or no MCAP; the error names it.
        SchemaError: A message that is to be decoded is not JSON.
    """
    from millstream.io.formats.mcap import Wanted, plan_mcap

    wanted = Wanted(topics, time_range, message_types, include_metadata, decode_json)
    return dataset_of(plan_mcap(paths, files, wanted, blocks=options.override_num_blocks), options)


@takes(files=DicomFiles, options=ReadOptions)
def read_dicom(
    paths: Paths,
    *,
    tags: Sequence[str] = (),
    include_pixels: bool = True,
    frames: Literal["rows", "stack"] = "rows",
    color: Literal["rgb", "stored"] = "rgb",
    rescale: bool = False,
    files: DicomFiles,
    options: ReadOptions,
) -> Dataset:
    """The frames of DICOM files, a row each, and chosen tags.

    The columns are `pixels` (a tensor: height and width, and three colours where there are any),
    `frame` (its number in the file), `photometric` (what the pixels are: `"MONOCHROME2"`, `"RGB"`,
    …), and one for each tag. Single values of the standard are columns of text, integers or floats,
    several ones are lists; dates and times are text, as they are stored; what a file lacks is null.

    Values are as they are stored unless `rescale` is asked for; MONOCHROME1 is not turned around,
    which `photometric` tells. A compressed file whose decoder is not installed is an error that
    names the package. Needs `millstream[dicom]`. Ray Data has no such reader.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"ct/**/*.dcm"`, or a
            list of them; see `read_parquet`.
        tags: The tags that become columns, by their keywords: `["PatientID", "PixelSpacing"]`.
        include_pixels: Whether frames are read; if not, a row is a file, and its tags.
        frames: `"rows"`: a row each; `"stack"`: all of a file in one row, with one axis more, also
            where there is only one.
        color: `"rgb"`: YBR and palettes become RGB; `"stored"`: they stay as they are, as far as
            the decoder leaves them so. `photometric` tells what came out.
        rescale: Whether pixels become floats by the file's slope and intercept, or by its table.
        files: What readers of files take. Files often have no extension: `file_extensions=None`.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense, such as a tag that no column holds.
        ImportError: pydicom, or the decoder for a file, is not installed.
        ReadError: A file is missing, cut off or no DICOM, or a tag has a value of no such type.
        SchemaError: Colours are to be rescaled.
    """
    from millstream.io.formats.dicom import DicomOptions, plan_dicom

    how = DicomOptions(tags, include_pixels, frames, color, rescale)
    return dataset_of(plan_dicom(paths, files, how, blocks=options.override_num_blocks), options)


@takes(files=TiffFiles, options=ReadOptions)
def read_tiff(
    paths: Paths,
    *,
    pages: Literal["rows", "stack"] = "rows",
    series: int | None = None,
    files: TiffFiles,
    options: ReadOptions,
) -> Dataset:
    """The pages of TIFF files with the values that are stored: of science, not of photographs.

    Pages of one shape that were written together are a series; those that were written one by one
    may be a series each. A row is a page: `pixels` (a tensor of its shape and type), `series` and
    `page` (numbers), `axes` (`"YX"`, `"YXS"` with samples, …) and `photometric`, which tells what
    values mean. Nothing is turned, scaled or coloured: `read_images` does that. Of a pyramid, only
    the full size is read, and nothing of other files that some files name.

    Parts of a page that are not in the file have its value for no data, which a warning tells.
    Needs `millstream[tiff]`. Ray Data has no such reader.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"scans/**/*.tif"`, or a
            list of them; see `read_parquet`.
        pages: `"rows"`: a row each; `"stack"`: all of a series in one row, along a first axis, also
            where there is only one. `series_axes` and `series_shape` then tell what that axis is.
        series: The number of the series to read, from 0 on; all by default.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: tifffile, or what a file is compressed by, is not installed.
        ReadError: A file is missing, empty, cut off, damaged or no TIFF; the error names it.
        SchemaError: A series has values that no column holds, such as complex numbers.
    """
    from millstream.io.formats.tiff_stacks import plan_tiff

    blocks = options.override_num_blocks
    return dataset_of(plan_tiff(paths, files, pages=pages, series=series, blocks=blocks), options)


@takes(files=LasFiles, options=ReadOptions)
def read_las(
    paths: Paths,
    *,
    columns: str | Sequence[str] | None = None,
    files: LasFiles,
    options: ReadOptions,
) -> Dataset:
    """The points of LAS and LAZ files (lidar), a row each.

    `x`, `y` and `z` are floats of 64 bits, scaled and moved as the header says; `X`, `Y` and `Z`,
    which are read only if they are named, are the whole numbers that are stored. All other values
    have their own types: `intensity`, `classification`, `gps_time`, `red`, …, and what a file adds.

    Points are read some at a time, and a large file by several tasks. Needs `millstream[las]`. Ray
    Data has no such reader.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"tiles/**/*.laz"`, or a
            list of them; see `read_parquet`.
        columns: The values to read; by default all that the points have.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: laspy is not installed, or lazrs, which LAZ needs.
        ReadError: A file is missing, empty, cut off, damaged or no LAS; the error names it.
        SchemaError: Points have no such value.
    """
    from millstream.io.formats.las import plan_las

    source = plan_las(paths, files, columns=columns, blocks=options.override_num_blocks)
    return dataset_of(source, options)


@takes(options=ReadOptions)
def read_lerobot(
    root: Paths,
    *,
    episodes: Sequence[int] | None = None,
    read_granularity: Literal["file", "episode"] = "file",
    filesystem: Any = None,
    frame_tolerance_s: float | None = None,
    decode_videos: bool = True,
    options: ReadOptions,
) -> Dataset:
    """The frames of LeRobot datasets (versions 2.0, 2.1, 3.0), a row each, with what cameras saw.

    The columns are those of the Parquet files (`observation.state`, `action`, `timestamp`,
    `episode_index`, …), one for each camera with its pixels at that moment (height, width, 3
    colours), `task` in words, and `dataset_index`, which of several datasets a row is from. A frame
    is found by its own time in the video, never by its number. An episode that has not as many rows
    as the dataset tells is an error.

    Videos need `millstream[video]`, pictures `millstream[image]`. Unlike in Ray Data, there are no
    windows in time (`delta_timestamps`) and no column of statistics.

    Args:
        root: The folder of a dataset, or a list of them, which must have the same columns.
        episodes: The numbers of those to read; all by default. No files of others are opened.
        read_granularity: What one task reads: `"file"`: the episodes in a row that are in the same
            files; `"episode"`: each by itself.
        filesystem: From `pyarrow.fs` or fsspec; by default the path tells.
        frame_tolerance_s: By how many seconds a frame may be shown earlier or later than its row
            says; by default half the time of a frame.
        decode_videos: Whether there are pixels; if not, `NAME.path` and `NAME.timestamp` tell where
            they are, and pictures stay encoded.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense, or there is no such episode.
        ImportError: PyAV or Pillow is not installed, and needed.
        ReadError: A file is missing, damaged or not complete, or no frame is shown at a moment.
        SchemaError: The datasets have different columns.
    """
    from millstream.io.formats.lerobot import LeRobotOptions, plan_lerobot

    how = LeRobotOptions(episodes, read_granularity, frame_tolerance_s, decode_videos)
    blocks = options.override_num_blocks
    return dataset_of(plan_lerobot(root, how, filesystem=filesystem, blocks=blocks), options)
