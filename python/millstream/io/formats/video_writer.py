"""Writing videos with PyAV, a file for each row.

Owns how frames become a stream: the encoders, their pixels, and when each frame is shown. Must not
know where files are, staged or committed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from millstream.blocks import tensor
from millstream.errors import ArgumentError, SchemaError
from millstream.errors.checks import check_choice, check_named, is_number, require
from millstream.errors.packages import require_package

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class VideoRows:
    """Videos (`RowFormat`).

    Args:
        column: The tensor column with the frames, of the shape (frames, height, width, 3).
        fps: Frames a second, the same for all.
        fps_column: The column that says so for each.
        file_format: One of `FILE_FORMATS`.
        codec: One of those of the format; `None`: the first.
        codec_options: For the encoder.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: PyAV is not installed.
    """

    column: str
    fps: float | None = None
    fps_column: str | None = None
    file_format: str = "mp4"
    codec: str | None = None
    codec_options: Mapping[str, str] = field(default_factory=dict)
    name: str = "Video"

    def __post_init__(self) -> None:
        require(isinstance(self.column, str), "column", self.column, "the name of a column")
        fps, rates = self.fps, self.fps_column
        is_rate = fps is None or (is_number(fps) and _is_rate(fps))
        require(is_rate, "fps", fps, f"a number above 0 and below {_FPS_MAX}, or None")
        is_name = rates is None or isinstance(rates, str)
        require(is_name, "fps_column", rates, "the name of a column, or None")
        if (fps is None) == (rates is None):
            raise ArgumentError("give either fps or fps_column")
        check_choice("file_format", self.file_format, FILE_FORMATS)
        if self.codec is not None:
            check_choice("codec", self.codec, _CODECS[self.file_format])
        check_named("codec_options", self.codec_options, "text")
        is_text = all(isinstance(value, str) for value in self.codec_options.values())
        require(is_text, "codec_options", self.codec_options, "a dict of text by name")
        require_package("av", "write_video", "PyAV", "video")
        self._try_encoder()

    @property
    def endings(self) -> tuple[str, ...]:
        """How names end."""
        return (self.file_format,)

    @property
    def columns(self) -> tuple[str, ...]:
        """The frames, and perhaps the rate."""
        rates = self.fps_column
        return (self.column,) if rates is None else (self.column, rates)

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that are no videos and no rates.

        Raises:
            SchemaError: It is one.
        """
        type = schema.field(self.column).type
        is_video = tensor.is_tensor(type) and type.value_type == pa.uint8()
        if not is_video or tensor.dimensions_of(type) not in (4, None):
            raise SchemaError(
                f"column {self.column!r} is {type}, and videos are tensors of uint8 of the shape "
                "(frames, height, width, 3)"
            )
        rates = self.fps_column
        if rates is None:
            return
        type = schema.field(rates).type
        if not (pa.types.is_integer(type) or pa.types.is_floating(type)):
            raise SchemaError(f"column {rates!r} is {type}, and frames a second are numbers")

    def encode(self, values: Sequence[Any]) -> memoryview:
        """Returns the bytes of a video.

        Raises:
            ValueError: The format cannot hold it.
        """
        frames = np.asarray(values[0])
        fps = values[1] if self.fps is None else self.fps
        if not _is_rate(fps):
            raise ValueError(f"its frames a second are {fps}")
        _check_shape(frames.shape, self._encoder)
        return self._encoded(frames, fps)

    @property
    def _encoder(self) -> _Encoder:
        return _ENCODERS[self.codec or _CODECS[self.file_format][0]]

    def _try_encoder(self) -> None:
        """Encodes a picture, so that what the encoder does not know is told at the call.

        Raises:
            ArgumentError: It does not work.
        """
        try:
            self._encoded(np.zeros((1, 64, 64, 3), np.uint8), 25)
        except ValueError as error:
            raise ArgumentError(
                f"codec={self.codec!r}, codec_options={dict(self.codec_options)!r}: {error}"
            ) from error

    def _encoded(self, frames: np.ndarray[Any, Any], fps: Any) -> memoryview:
        import av

        encoder, file = self._encoder, io.BytesIO()
        try:
            with av.open(file, "w", format=_CONTAINERS[self.file_format]) as container:
                stream = self._stream(container, frames, fps)
                _encode(container, stream, encoder, frames)
                # What the encoder has not taken, FFmpeg does not complain of.
                unknown = sorted(stream.codec_context.options)
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(
                f"{encoder.name} cannot write frames of the shape {frames.shape[1:]}: {error}"
            ) from error
        if unknown:
            raise ValueError(f"{encoder.name} knows no option {', '.join(map(repr, unknown))}")
        return file.getbuffer()

    def _stream(
        self, container: OutputContainer, frames: np.ndarray[Any, Any], fps: Any
    ) -> VideoStream:
        encoder = self._encoder
        # The nearest that containers and encoders take, such as 30000/1001.
        rate = Fraction(fps).limit_denominator(_DENOMINATOR_MAX)
        options = {**encoder.options, **self.codec_options}
        stream = cast("VideoStream", container.add_stream(encoder.name, rate, options))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = encoder.pixels
        context = stream.codec_context
        context.time_base = 1 / rate
        # It would take all processors for itself.
        context.thread_count = 1
        if encoder.is_yuv:
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED
        return stream


@dataclass(frozen=True)
class _Encoder:
    """How a codec is written.

    Args:
        name: FFmpeg's name of the encoder.
        pixels: FFmpeg's name of the pixels that it gets.
        options: What it is told.
        is_yuv: Whether these are brightness and colours, of which the latter are halved.
    """

    name: str
    pixels: str
    options: Mapping[str, str] = field(default_factory=dict)
    is_yuv: bool = True


def _encode(
    container: OutputContainer,
    stream: VideoStream,
    encoder: _Encoder,
    frames: np.ndarray[Any, Any],
) -> None:
    from av import VideoFrame
    from av.video.reformatter import Colorspace, VideoReformatter

    reformatter = VideoReformatter()
    space = Colorspace.ITU709 if encoder.is_yuv else None
    for number, pixels in enumerate(frames):
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        made = reformatter.reformat(frame, format=encoder.pixels, dst_colorspace=space, threads=1)
        made.pts, made.time_base = number, stream.codec_context.time_base
        container.mux(stream.encode(made))
    container.mux(stream.encode(None))


def _check_shape(shape: tuple[int, ...], encoder: _Encoder) -> None:
    """Refuses what is no video, or none that the encoder takes.

    Raises:
        ValueError: It is not.
    """
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise ValueError(f"its shape is {shape}, which is not (frames, height, width, 3)")
    if encoder.is_yuv and (shape[1] % 2 or shape[2] % 2):
        raise ValueError(
            f"its frames have {shape[1]} x {shape[2]} pixels, and {encoder.name} takes even "
            "numbers: cut or pad them, or pass file_format='mkv', codec='ffv1'"
        )


def _is_rate(fps: Any) -> bool:
    return isfinite(fps) and 1 / _DENOMINATOR_MAX < fps < _FPS_MAX


_ENCODERS = {
    "h264": _Encoder("libx264", "yuv420p"),
    "vp9": _Encoder("libvpx-vp9", "yuv420p", {"crf": "31", "b": "0"}),
    "ffv1": _Encoder("ffv1", "bgr0", is_yuv=False),
}
#: For each format which `codec` may be; the first is taken if none is.
_CODECS = {"mp4": ("h264",), "mkv": ("h264", "vp9", "ffv1"), "webm": ("vp9",)}
_CONTAINERS = {"mp4": "mp4", "mkv": "matroska", "webm": "webm"}
#: What `file_format` may be.
FILE_FORMATS = tuple(_CODECS)
# What the stream is told to be, by the numbers of the standard.
_BT709, _LIMITED = 1, 1
_DENOMINATOR_MAX = 10_000
_FPS_MAX = 1000
