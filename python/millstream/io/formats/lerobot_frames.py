"""The frame of a video that is shown at a moment, for moments that mostly come in order.

Owns where decoding begins. Must not know what the moments are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.fs as pa_fs

from millstream.io.files import open_file

if TYPE_CHECKING:
    from av import VideoFrame


class VideoFrames:
    """An open video; closed by `close`.

    Args:
        filesystem: Where it is.
        path: Its path.
        tolerance: By how many seconds a frame may be shown earlier or later.

    Raises:
        ValueError: There is no video in it.
    """

    def __init__(self, filesystem: pa_fs.FileSystem, path: str, tolerance: float) -> None:
        import av

        self.path = path
        self._tolerance = tolerance
        self._stack = ExitStack()
        file = self._stack.enter_context(open_file(filesystem, path))
        self._container: Any = self._stack.enter_context(av.open(file, mode="r"))
        if not self._container.streams.video:
            raise ValueError("there is no video in this file")
        self._stream = self._container.streams.video[0]
        # There are as many tasks as processors.
        self._stream.codec_context.thread_count = 1
        self._now: VideoFrame | None = None
        self._next: VideoFrame | None = None
        self._frames: Iterator[VideoFrame] = iter(())

    def close(self) -> None:
        """Closes the video."""
        self._stack.close()

    def at(self, moment: float) -> np.ndarray[Any, Any]:
        """The pixels that are shown at a moment, of shape (height, width, 3).

        Raises:
            ValueError: No frame is shown then.
        """
        if self._now is None or not -self._tolerance <= moment - _time(self._now) < _FAR_S:
            self._seek(moment)
        while self._next is not None and self._is_nearer(self._next, moment):
            self._now, self._next = self._next, next(self._frames, None)
        if self._now is None or abs(_time(self._now) - moment) > self._tolerance:
            nearest = "none" if self._now is None else f"at {_time(self._now):.6f}"
            raise ValueError(
                f"no frame is shown at {moment:.6f} seconds: the nearest one is {nearest}, and "
                f"frame_tolerance_s is {self._tolerance:.6f}"
            )
        pixels: np.ndarray[Any, Any] = self._now.to_ndarray(format="rgb24")
        return pixels

    def _seek(self, moment: float) -> None:
        place = int((moment - self._tolerance) / self._stream.time_base)
        start = self._stream.start_time or 0
        self._container.seek(max(place, start), stream=self._stream, backward=True)
        self._frames = iter(self._container.decode(self._stream))
        self._now, self._next = next(self._frames, None), next(self._frames, None)

    def _is_nearer(self, frame: VideoFrame, moment: float) -> bool:
        assert self._now is not None  # noqa: S101 - it comes before another one
        return abs(_time(frame) - moment) <= abs(_time(self._now) - moment)


def _time(frame: VideoFrame) -> float:
    if frame.time is None:
        raise ValueError("its frames have no times")
    return float(frame.time)


# What lies between is decoded if it is less, and else left out.
_FAR_S = 2.0
