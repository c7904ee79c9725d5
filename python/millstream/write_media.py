"""Where pictures, sounds and videos of a dataset go: a file for each row.

Owns the public names of these writers and their arguments. The formats themselves are in
`millstream.io.formats`, which is imported when something is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from millstream.io.row_file_options import RowFileOptions
from millstream.options import takes
from millstream.plan.arguments import SinkTasks
from millstream.writing import FileWriting


class MediaWriting(FileWriting):
    """The part of a dataset that writes a file for each row."""

    @takes(options=RowFileOptions, tasks=SinkTasks)
    def write_images(
        self,
        path: str | os.PathLike[str],
        column: str,
        file_format: str = "png",
        *,
        quality: int | None = None,
        options: RowFileOptions,
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes a column of pictures into a folder, a file for each row.

        What is written without loss is read back by `read_images` as it was. Files appear when all
        of them are written. Needs `millstream[image]`.

        Args:
            path: The folder. A relative one is that of the caller.
            column: Tensors of the shape (height, width) or (height, width, bands).
            file_format: `"png"` (8 bits; 16 of one band), `"tiff"` (besides, 32-bit integers and
                floats of one band), `"bmp"`, `"webp"`, which lose nothing; `"jpeg"`, `"avif"`.
            quality: From 1 to 100 for JPEG, AVIF and WebP, which then loses something too.
            options: What all writers of a file for each row take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: Pillow is not installed, or does not write the format.
            SchemaError: The format cannot hold a column or a picture; names column, row and type.
            WriteError: The target cannot be written, a name is there twice or already, or there is
                data and `mode="error"`.
        """
        from millstream.io.formats.image_writer import ImageRows

        self._write_rows(ImageRows(column, file_format, quality), path, options, tasks)

    @takes(options=RowFileOptions, tasks=SinkTasks)
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
        options: RowFileOptions,
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes a column of sounds into a folder, a file for each row.

        Files appear when all of them are written. Needs `millstream[audio]`.

        Args:
            path: The folder. A relative one is that of the caller.
            column: Tensors of floats from -1 to 1 of the shape (channels, samples).
            sample_rate: Samples a second, the same for all.
            sample_rate_column: The column that says so for each; give one of the two.
            file_format: `"wav"` or `"flac"`.
            subtype: The numbers in the file: `"FLOAT"`, `"DOUBLE"`, `"PCM_32"`, `"PCM_24"`,
                `"PCM_16"`, `"PCM_U8"` in WAV; `"PCM_24"`, `"PCM_16"`, `"PCM_S8"` in FLAC, to which
                amplitudes are rounded. `None`: floats in WAV and 24 bits in FLAC, and what would
                not be the same is an error.
            clip: Whether what is beyond -1 and 1 becomes these; else it is an error.
            options: What all writers of a file for each row take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: soundfile is not installed.
            SchemaError: The format cannot hold a column or a sound; names column and row.
            WriteError: As `write_images`.
        """
        from millstream.io.formats.audio_writer import AudioRows

        format = AudioRows(column, sample_rate, sample_rate_column, file_format, subtype, clip)
        self._write_rows(format, path, options, tasks)

    @takes(options=RowFileOptions, tasks=SinkTasks)
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
        options: RowFileOptions,
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes a column of videos into a folder, a file for each row.

        Files appear when all of them are written. Needs `millstream[video]`.

        Args:
            path: The folder. A relative one is that of the caller.
            column: Tensors of uint8 of the shape (frames, height, width, 3).
            fps: Frames a second, the same for all.
            fps_column: The column that says so for each; give one of the two.
            file_format: `"mp4"`, `"mkv"` or `"webm"`.
            codec: `"h264"` in MP4 and MKV, `"vp9"` in MKV and WebM, `"ffv1"` in MKV, which keeps
                every pixel; `None`: the first that the format has.
            codec_options: For the encoder, such as `{"crf": "18"}`.
            options: What all writers of a file for each row take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense, or the encoder does not know an option.
            MissingPackageError: PyAV is not installed.
            SchemaError: A column or row is no video, or none that the codec takes.
            WriteError: As `write_images`.
        """
        from millstream.io.formats.video_writer import VideoRows

        format = VideoRows(column, fps, fps_column, file_format, codec, codec_options or {})
        self._write_rows(format, path, options, tasks)
