"""Reading video with PyAV, one row a frame.

Owns the plan and the format of video files, and which frames are kept. Frames are streamed out: of
a film of any length, only some megabytes are held. Must not know what happens to the frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import tensor
from millstream.errors import ArgumentError, ReadError
from millstream.errors.checks import check_count, is_number, require
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import Listing, list_files, open_file
from millstream.io.formats.images import Orientation, check_orientation, check_size
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source, blaming
from millstream.io.walk import InputFile

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream


def plan_video(
    paths: Paths,
    files: FileOptions,
    *,
    resize: tuple[int, int] | None = None,
    fps: float | None = None,
    frame_interval: int | None = None,
    orientation: Orientation = "upright",
    include_timestamps: bool = False,
    blocks: int | None = None,
) -> Source:
    """Plans to decode videos, one row a frame.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        resize: See `read_video`.
        fps: See `read_video`.
        frame_interval: See `read_video`.
        orientation: See `read_video`.
        include_timestamps: See `read_video`.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: PyAV is not installed.
        ReadError: A path does not exist, is empty, or the first file is no video.
    """
    resize = check_size(resize, "resize")
    _check_rate(fps, frame_interval)
    check_orientation(orientation)
    require_package("av", "read_video", "PyAV", "video")
    listing = list_files(paths, files, reader="read_video")
    for file in listing.files:
        if file.size == 0:
            raise ReadError("this file is empty (0 bytes), so it is no video", file=file.path)
    format = VideoFormat(resize, fps, frame_interval, include_timestamps, orientation)
    growth = _growth_of_first(listing, format)
    return plan_files(
        "ReadVideo",
        listing,
        format,
        PathColumns(files.partitioning, files.include_paths),
        schema=format.schema(),
        column="frame",
        rows=None,
        nbytes_of=lambda file: int(file.size * growth),
        blocks=blocks,
    )


@dataclass(frozen=True)
class VideoFormat:
    """A frame is one row that holds its pixels.

    Args:
        resize: Height and width to resize to.
        fps: Keeps the frames that are seen at so many moments a second.
        frame_interval: Keeps each nth frame.
        include_timestamps: Whether rows say when their frame is shown.
        orientation: Whether frames are turned as they are to be seen.
    """

    resize: tuple[int, int] | None
    fps: float | None
    frame_interval: int | None
    include_timestamps: bool
    orientation: Orientation = "upright"
    problem: str = "cannot read this video"

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the frames in order, in tables of about `TABLE_BYTES`."""
        with open_file(filesystem, path) as file, _open(file) as container:
            stream = _stream_of(container, path)
            _check_complete(stream, file.size(), path)
            convert = self._converter()
            frames: list[np.ndarray[Any, Any]] = []
            rows: list[tuple[int, float | None]] = []
            for index, frame in self._kept(stream, container.decode(stream)):
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

    def count(self, stream: VideoStream) -> float:
        """Returns about how many frames of a stream are kept, by what the file declares."""
        rate = _rate_of(stream)
        seconds = 0.0
        if stream.duration and stream.time_base:
            seconds = stream.duration * float(stream.time_base)
        frames = float(stream.frames or seconds * rate)
        if self.fps is not None and seconds:
            return min(frames, seconds * self.fps) if frames else seconds * self.fps
        return frames / (self.frame_interval or 1)

    def _kept(
        self, stream: VideoStream, frames: Iterator[VideoFrame]
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yields the frames that become rows, with their number in the video."""
        if self.fps is not None:
            return _seen_at(self.fps, stream, frames)
        every = self.frame_interval or 1
        return ((index, frame) for index, frame in enumerate(frames) if index % every == 0)

    def _converter(self) -> Callable[[VideoFrame], np.ndarray[Any, Any]]:
        """Makes what turns frames into pixels, to be used for one stream by one thread."""
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()

        def convert(frame: VideoFrame) -> np.ndarray[Any, Any]:
            turn = _turn_of(frame) if self.orientation == "upright" else _Turn()
            height, width = self.resize or (frame.height, frame.width)
            if self.resize and turn.swaps:
                height, width = width, height
            # It would take all processors for itself.
            converted = reformatter.reformat(frame, width, height, "rgb24", threads=1)
            return turn(converted.to_ndarray())

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


@dataclass(frozen=True)
class _Turn:
    """How stored pixels become upright ones.

    Args:
        swaps: Whether rows become columns, first of all.
        flips_rows: Whether the last row then becomes the first.
        flips_columns: Likewise.
    """

    swaps: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    def __call__(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        turned = pixels.swapaxes(0, 1) if self.swaps else pixels
        rows, columns = (-1 if flips else 1 for flips in (self.flips_rows, self.flips_columns))
        return turned[::rows, ::columns]


def _turn_of(frame: VideoFrame) -> _Turn:
    """Reads how a frame is to be shown.

    Raises:
        ValueError: Not by quarter turns.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return _Turn()
    # A point of the stored frame comes to (across, down) = (a·x + c·y, b·x + d·y).
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    least = max(map(abs, (a, b, c, d))) / 1000
    straight, crossed = abs(a) > least and abs(d) > least, abs(b) > least and abs(c) > least
    if straight and max(abs(b), abs(c)) <= least:
        return _Turn(flips_rows=d < 0, flips_columns=a < 0)
    if crossed and max(abs(a), abs(d)) <= least:
        return _Turn(swaps=True, flips_rows=b < 0, flips_columns=c < 0)
    raise ValueError(
        f"it is to be shown turned by {frame.rotation} degrees, which is no quarter turn: pass "
        "orientation='stored' to read the frames as they are stored"
    )


def _seen_at(
    fps: float, stream: VideoStream, frames: Iterator[VideoFrame]
) -> Iterator[tuple[int, VideoFrame]]:
    """Yields the frames that are seen at the moments 0, 1/fps, 2/fps, … after the first one.

    Raises:
        ValueError: The frames have no times, nor does the file declare a rate.
    """
    rate = Fraction(fps)
    held: tuple[int, VideoFrame] | None = None
    moment, first, time, span = 0, Fraction(0), Fraction(0), Fraction(0)
    for index, frame in enumerate(frames):
        before, time = time, _time_of(frame, index, stream) - first
        if held is None:
            before, first, time = Fraction(0), time, Fraction(0)
        # The number of the first moment that this frame is not too late for.
        reached = ceil((time - _ROUNDING_S) * rate)
        if held is not None and moment < reached:
            yield held
        moment, held, span = max(moment, reached), (index, frame), time - before
    if held is not None:
        end = time + (_duration_of(held[1]) or span or 1 / rate)
        if moment < ceil((end - _ROUNDING_S) * rate):
            yield held


def _time_of(frame: VideoFrame, index: int, stream: VideoStream) -> Fraction:
    """Returns when a frame is shown, in seconds; by the declared rate in formats without times."""
    if frame.pts is not None and frame.time_base:
        return Fraction(frame.pts * frame.time_base.numerator, frame.time_base.denominator)
    rate = _rate_of(stream)
    if not rate:
        raise ValueError("its frames have no times that fps could go by: pass frame_interval")
    return Fraction(index / rate)


def _duration_of(frame: VideoFrame) -> Fraction:
    """Returns for how many seconds a frame is shown; 0 if that is not known."""
    if not frame.duration or not frame.time_base:
        return Fraction(0)
    return Fraction(frame.duration * frame.time_base.numerator, frame.time_base.denominator)


def _rate_of(stream: VideoStream) -> float:
    """Returns the declared frames a second; 0 if there are none."""
    for rate in (stream.average_rate, stream.guessed_rate):
        # Where there is no rate, some versions of PyAV say 0/0.
        if rate and rate.numerator > 0 and rate.denominator > 0:
            return float(rate.numerator / rate.denominator)
    return 0.0


def _row_fields(include_timestamps: bool) -> list[tuple[str, pa.DataType]]:
    fields = [("frame_index", pa.int64()), ("frame_timestamp", pa.float64())]
    return fields if include_timestamps else fields[:1]


def _open(file: pa.NativeFile) -> InputContainer:
    import av

    # Later versions have no such choice: notes that are no UTF-8 take nothing from the frames.
    lenient = {"metadata_errors": "replace"} if _pyav_version() < 19 else {}
    container: InputContainer = av.open(file, mode="r", **lenient)
    return container


def _pyav_version() -> int:
    import av

    return int(av.__version__.partition(".")[0])


def _stream_of(container: InputContainer, path: str) -> VideoStream:
    """Returns the first video stream that is no cover, to be decoded by this thread alone."""
    from av.stream import Disposition

    streams = container.streams.video
    for stream in streams:
        if not stream.disposition & Disposition.attached_pic:
            stream.codec_context.thread_count = 1
            return stream
    what = "a cover picture, but no video" if streams else "no video"
    raise ReadError(f"there is {what} in this file", file=path)


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
        height, width = format.resize or (stream.height, stream.width)
        return format.count(stream) * height * width * 3 / first.size


def _check_rate(fps: Any, frame_interval: Any) -> None:
    if fps is not None and frame_interval is not None:
        raise ArgumentError("give either fps or frame_interval, not both")
    require(fps is None or (is_number(fps) and fps > 0), "fps", fps, "a number above 0, or None")
    check_count("frame_interval", frame_interval)


#: The size of the tables that frames are yielded in; a larger frame is a table by itself.
TABLE_BYTES = 8 << 20
#: How much later than a moment a frame may be to be seen at it: some formats have times in whole
#: milliseconds.
_ROUNDING_S = Fraction(1, 2000)
