# Made by tools/stubs.py of write_media.py: change that, and run `make stubs`.
import os
from collections.abc import Mapping
from typing import Any

from millstream.writing import FileWriting

class MediaWriting(FileWriting):
    def write_images(
        self,
        path: str | os.PathLike[str],
        column: str,
        file_format: str = "png",
        *,
        quality: int | None = None,
        filename_column: str | None = None,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: Mapping[str, Any] | None = None,
        filename_provider: Any = None,
        mode: str = "append",
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
    def write_audio(
        self,
        path: str | os.PathLike[str],
        column: str = "amplitude",
        sample_rate: int | None = None,
        *,
        sample_rate_column: str | None = None,
        file_format: str = "wav",
        subtype: str | None = None,
        clip: bool = False,
        filename_column: str | None = None,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: Mapping[str, Any] | None = None,
        filename_provider: Any = None,
        mode: str = "append",
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
    def write_video(
        self,
        path: str | os.PathLike[str],
        column: str,
        fps: float | None = None,
        *,
        fps_column: str | None = None,
        file_format: str = "mp4",
        codec: str | None = None,
        codec_options: Mapping[str, str] | None = None,
        filename_column: str | None = None,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: Mapping[str, Any] | None = None,
        filename_provider: Any = None,
        mode: str = "append",
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
