"""Reading video with PyAV, one row a frame.

Owns the plan and the format of video files. Frames are streamed out: of a film of any length, only
some megabytes are held. Must not know what happens to the frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import tensor
from millstream.errors import ArgumentError, ReadError
from millstream.io.files import InputFile, Listing, Paths, Shuffle, list_files, open_file
from millstream.io.formats import VIDEO_EXTENSIONS
from millstream.io.images import check_size
from millstream.io.partitioning import Partitioning, PathPartitionFilter
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source, blaming, check_block_count

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

EXTENSIONS = VIDEO_EXTENSIONS


def plan_video(
    paths: Paths,
    *,
    filesystem: Any = None,
    resize: tuple[int, int] | None = None,
    fps: float | None = None,
    frame_interval: int | None = None,
    include_timestamps: bool = False,
    include_paths: bool = False,
    partitioning: Partitioning | None = None,
    partition_filter: PathPartitionFilter | None = None,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = EXTENSIONS,
    ignore_missing_paths: bool = False,
    override_num_blocks: int | None = None,
) -> Source:
    """Plans to decode videos into the columns "frame" and "frame_index".

    Frames are RGB, of the shape (height, width, 3). The first file is opened to learn how many
    bytes to expect.

    Args:
        paths: Files or folders, as for `list_files`.
        filesystem: From `pyarrow.fs` or fsspec; by default the paths tell.
        resize: Height and width to resize to; by default frames keep their own.
        fps: Keeps about so many frames a second: each nth, n = max(1, round(source / fps)).
        frame_interval: Keeps each nth frame; not together with `fps`.
        include_timestamps: Whether the column "frame_timestamp" says when a frame is shown, in
            seconds.
        include_paths: Whether the column "path" says which file a row is from.
        partitioning: How columns are written in the paths.
        partition_filter: Leaves out files by their partition values.
        shuffle: Whether the files are read in random order.
        file_extensions: Only files that end in one of these are read; `None`: all.
        ignore_missing_paths: Whether paths that do not exist are left out.
        override_num_blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: PyAV is not installed.
        ReadError: A path does not exist, is empty, or the first file is no video.
    """
    check_block_count(override_num_blocks)
    resize = check_size(resize, "resize")
    _check_rate(fps, frame_interval)
    if find_spec("av") is None:
        raise ImportError("read_video needs PyAV: pip install 'millstream[video]'")
    listing = list_files(
        paths,
        reader="read_video",
        filesystem=filesystem,
        file_extensions=file_extensions,
        ignore_missing_paths=ignore_missing_paths,
        partition_filter=partition_filter,
        shuffle=shuffle,
    )
    for file in listing.files:
        if file.size == 0:
            raise ReadError("this file is empty (0 bytes), so it is no video", file=file.path)
    format = VideoFormat(resize, fps, frame_interval, include_timestamps)
    growth = _growth_of_first(listing, format)
    return plan_files(
        "ReadVideo",
        listing,
        format,
        PathColumns(partitioning, include_paths),
        schema=format.schema(),
        column="frame",
        rows=None,
        nbytes_of=lambda file: int(file.size * growth),
        blocks=override_num_blocks,
    )


@dataclass(frozen=True)
class VideoFormat:
    """A frame is one row that holds its pixels.

    Args:
        resize: Height and width to resize to.
        fps: Keeps about so many frames a second.
        frame_interval: Keeps each nth frame.
        include_timestamps: Whether rows say when their frame is shown.
    """

    resize: tuple[int, int] | None
    fps: float | None
    frame_interval: int | None
    include_timestamps: bool
    problem: str = "cannot read this video"

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the frames in order, in tables of about `TABLE_BYTES`."""
        with open_file(filesystem, path) as file, _open(file) as container:
            stream = _stream_of(container, path)
            _check_complete(stream, file.size(), path)
            step, convert = self.step(stream), self._converter()
            frames: list[np.ndarray[Any, Any]] = []
            rows: list[tuple[int, float | None]] = []
            for index, frame in enumerate(container.decode(stream)):
                if index % step:
                    continue
                pixels = convert(frame)
                if frames and (_is_full(frames) or frames[0].shape != pixels.shape):
                    yield self._table(frames, rows)
                    frames, rows = [], []
                frames.append(pixels)
                rows.append((index, frame.time))
            if frames:
                yield self._table(frames, rows)

    def schema(self) -> pa.Schema | None:
        """Returns the columns, if the size of the frames is known."""
        if self.resize is None:
            return None
        fields = [("frame", pa.fixed_shape_tensor(pa.uint8(), (*self.resize, 3)))]
        return pa.schema([*fields, *_row_fields(self.include_timestamps)])

    def step(self, stream: VideoStream) -> int:
        """Returns n, of which each nth frame is kept."""
        if self.frame_interval is not None:
            return self.frame_interval
        rate = stream.average_rate
        if self.fps is None or not rate:
            return 1
        return max(1, round(float(rate) / self.fps))

    def _converter(self) -> Callable[[VideoFrame], np.ndarray[Any, Any]]:
        """Makes what turns frames into pixels, to be used for one stream by one thread."""
        import av
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()
        # Since this version, it would take all processors for itself.
        threads = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}

        def convert(frame: VideoFrame) -> np.ndarray[Any, Any]:
            height, width = self.resize or (frame.height, frame.width)
            converted = reformatter.reformat(frame, width, height, "rgb24", **threads)
            pixels: np.ndarray[Any, Any] = converted.to_ndarray()
            return pixels

        return convert

    def _table(
        self, frames: list[np.ndarray[Any, Any]], rows: list[tuple[int, float | None]]
    ) -> pa.Table:
        columns: list[Any] = [tensor.from_ndarray(np.stack(frames))]
        columns.append(pa.array([index for index, _ in rows], pa.int64()))
        if self.include_timestamps:
            columns.append(pa.array([time for _, time in rows], pa.float64()))
        fields = _row_fields(self.include_timestamps)
        return pa.table(columns, schema=pa.schema([("frame", columns[0].type), *fields]))


def _row_fields(include_timestamps: bool) -> list[tuple[str, pa.DataType]]:
    fields = [("frame_index", pa.int64()), ("frame_timestamp", pa.float64())]
    return fields if include_timestamps else fields[:1]


def _open(file: pa.NativeFile) -> InputContainer:
    import av

    container: InputContainer = av.open(file, mode="r", metadata_errors="replace")
    return container


def _stream_of(container: InputContainer, path: str) -> VideoStream:
    """Returns the first video stream, to be decoded by this thread alone."""
    if not container.streams.video:
        raise ReadError("there is no video in this file", file=path)
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    return stream


def _check_complete(stream: VideoStream, size: int, path: str) -> None:
    """Refuses a file that ends before its last frame, which the decoder would not complain of."""
    # Not all containers have an index at their beginning, nor all versions of PyAV a way to it.
    entries = getattr(stream, "index_entries", ())
    if entries and entries[-1].pos + entries[-1].size > size:
        raise ReadError(
            f"this video is cut off: it has {size} bytes, and its last frame "
            f"would be at {entries[-1].pos}",
            file=path,
        )


def _is_full(frames: list[np.ndarray[Any, Any]]) -> bool:
    return (len(frames) + 1) * frames[0].nbytes > TABLE_BYTES


def _growth_of_first(listing: Listing, format: VideoFormat) -> float:
    """Returns how many bytes of frames the first file has for each byte on disk."""
    first: InputFile = listing.files[0]
    with (
        blaming(first.path, format.problem),
        open_file(listing.filesystem, first.path) as file,
        _open(file) as container,
    ):
        stream = _stream_of(container, first.path)
        count = stream.frames
        if not count and stream.duration and stream.time_base and stream.average_rate:
            count = int(stream.duration * stream.time_base * stream.average_rate)
        height, width = format.resize or (stream.height, stream.width)
        return count / format.step(stream) * height * width * 3 / first.size


def _check_rate(fps: Any, frame_interval: Any) -> None:
    if fps is not None and frame_interval is not None:
        raise ArgumentError("give either fps or frame_interval, not both")
    if fps is not None and (isinstance(fps, bool) or not isinstance(fps, (int, float)) or fps <= 0):
        raise ArgumentError(f"fps must be a positive number, not {fps!r}")
    wrong = isinstance(frame_interval, bool) or not isinstance(frame_interval, int)
    if frame_interval is not None and (wrong or frame_interval < 1):
        raise ArgumentError(f"frame_interval must be a positive integer, not {frame_interval!r}")


#: The size of the tables that frames are yielded in; a larger frame is a table by itself.
TABLE_BYTES = 8 << 20
