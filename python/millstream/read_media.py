"""Datasets of sounds and of the pages of documents.

Owns the public names of these readers and their arguments. The formats themselves are in
`millstream.io`, which is imported when a source is planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from millstream.dataset import Dataset, dataset_of
from millstream.io.file_options import AudioFiles, PdfFiles
from millstream.options import takes
from millstream.plan.arguments import ReadOptions

if TYPE_CHECKING:
    from millstream.io.addresses import Paths


@takes(files=AudioFiles, options=ReadOptions)
def read_audio(
    paths: Paths,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    segment_s: float | None = None,
    files: AudioFiles,
    options: ReadOptions,
) -> Dataset:
    """Decoded sounds: a row per file, in the columns `amplitude` and `sample_rate`.

    `amplitude` is a tensor of the shape (channels, samples) of floats of 32 bits, from -1 to 1
    whatever numbers the file has; files of floats may go beyond. What libsndfile reads is read:
    WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, AU, CAF. Needs `millstream[audio]`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.wav"`, or a
            list of them; see `read_parquet`.
        sample_rate: Samples a second to resample to, by FFmpeg; `None`: each keeps its own. A sound
            of n samples becomes one of n * sample_rate / its rate, rounded up.
        mono: Whether channels become one, their mean.
        segment_s: Cuts sounds into parts of so many seconds, a row each, with the column `start_s`;
            the last one may be shorter. Of a sound of any length, only some megabytes are held
            then. `None`: a sound is one row.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: soundfile is not installed, or PyAV where `sample_rate` is given.
        ReadError: A file is missing, broken, cut off or no sound, or there is nothing to read.
    """
    from millstream.io.formats.audio import plan_audio

    source = plan_audio(
        paths,
        files,
        sample_rate=sample_rate,
        mono=mono,
        segment_s=segment_s,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)


@takes(files=PdfFiles, options=ReadOptions)
def read_pdf(
    paths: Paths,
    *,
    dpi: float | None = 150,
    pages: Sequence[int] | None = None,
    password: str | None = None,
    files: PdfFiles,
    options: ReadOptions,
) -> Dataset:
    """The pages of PDF files: a row per page, in the columns `page`, `text` and `image`.

    `page` counts from 0, `text` is what the page has as text, with a newline between lines and a
    soft hyphen where one divides a word, and `image` is how the page looks: a tensor of the shape
    (height, width, 3). Pages stream out of a file. Needs `millstream[pdf]`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.pdf"`, or a
            list of them; see `read_parquet`.
        dpi: Pixels an inch of the pictures; `None`: there is no column `image`.
        pages: The numbers of the pages to read, counted from 0, in this order, as far as a file has
            them; `None`: all.
        password: That of encrypted files.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pypdfium2 is not installed.
        ReadError: A file is missing, broken, cut off, encrypted or no PDF, or there is nothing to
            read.
    """
    from millstream.io.formats.pdf import plan_pdf

    source = plan_pdf(
        paths,
        files,
        dpi=dpi,
        pages=pages,
        password=password,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)
