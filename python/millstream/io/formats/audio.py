"""Reading sounds with soundfile, a row for each file or for each part of it.

Owns the plan and the format of sound files: amplitudes are floats of 32 bits from -1 to 1, whatever
numbers the file has. `millstream.io.formats.audio_checks` owns how a cut file is told from a whole
one. Must not know what happens to the amplitudes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import tensor
from millstream.errors import ReadError
from millstream.errors.checks import check_count, check_flag, is_number, require
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats import audio_checks
from millstream.io.formats.watched_file import WatchedFile
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source
from millstream.io.walk import InputFile

if TYPE_CHECKING:
    from soundfile import SoundFile

Samples = np.ndarray[Any, Any]


def plan_audio(
    paths: Paths,
    files: FileOptions,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    segment_s: float | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to decode sounds into the columns "amplitude" and "sample_rate".

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        sample_rate: See `read_audio`.
        mono: See `read_audio`.
        segment_s: See `read_audio`.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: soundfile is not installed, or PyAV where it is needed.
        ReadError: A path does not exist, is empty, or there is nothing to read.
    """
    check_count("sample_rate", sample_rate)
    check_flag("mono", mono)
    is_length = is_number(segment_s) and 0 < float(segment_s or 0) < float("inf")
    wanted = "a number of seconds above 0, or None"
    require(segment_s is None or is_length, "segment_s", segment_s, wanted)
    require_package("soundfile", "read_audio", "soundfile", "audio")
    if sample_rate is not None:
        require_package("av", "read_audio(sample_rate=...)", "PyAV", "audio")
    listing = list_files(paths, files, reader="read_audio")
    for file in listing.files:
        if file.size == 0:
            raise ReadError("this file is empty (0 bytes), so it is no sound", file=file.path)
    format = AudioFormat(sample_rate, mono, None if segment_s is None else float(segment_s))
    return plan_files(
        "ReadAudio",
        listing,
        format,
        PathColumns(files.partitioning, files.include_paths),
        schema=None,
        column="amplitude",
        rows=None if segment_s is not None else len(listing.files),
        nbytes_of=_nbytes_of,
        blocks=blocks,
    )


@dataclass(frozen=True)
class AudioFormat:
    """A file is one row that holds its amplitudes, or one for each part.

    Args:
        sample_rate: The rate to resample to.
        mono: Whether channels become one, their mean.
        segment_s: How long parts are.
    """

    sample_rate: int | None = None
    mono: bool = False
    segment_s: float | None = None
    problem: str = "cannot read this sound"

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the sound as a table of one row, or its parts in tables of about `TABLE_BYTES`."""
        with open_file(filesystem, path) as file:
            watched = WatchedFile(file)
            with _opened(watched) as sound:
                audio_checks.check_whole(file, sound)
                rate = self.sample_rate or int(sound.samplerate)
                channels = 1 if self.mono else int(sound.channels)
                pieces = self._resampled(_decoded(sound, watched, file, self.mono), sound)
                if self.segment_s is None:
                    yield self._row(pieces, channels, rate, path)
                else:
                    yield from self._segments(pieces, channels, rate, self.segment_s)

    def _resampled(self, pieces: Iterator[Samples], sound: SoundFile) -> Iterator[Samples]:
        if self.sample_rate in (None, sound.samplerate):
            return pieces
        channels = 1 if self.mono else int(sound.channels)
        return _resampled(pieces, channels, int(sound.samplerate), int(self.sample_rate or 0))

    def _row(self, pieces: Iterator[Samples], channels: int, rate: int, path: str) -> pa.Table:
        found = [np.zeros((channels, 0), np.float32)]
        count = 0
        for piece in pieces:
            count += piece.size
            if count > _ELEMENTS_MAX:
                raise ValueError("it is too long for one row: pass segment_s to read it in parts")
            found.append(piece)
        amplitude = np.concatenate(found, axis=1)
        if amplitude.nbytes > _LARGE_BYTES:
            _tell_of_length(path, amplitude.nbytes)
        return _table(amplitude[np.newaxis], rate)

    def _segments(
        self, pieces: Iterator[Samples], channels: int, rate: int, segment_s: float
    ) -> Iterator[pa.Table]:
        size = max(1, round(segment_s * rate))
        rows = max(1, TABLE_BYTES // (size * channels * 4 + _BESIDE_BYTES))
        start = 0
        for piece in _cut(pieces, rows * size):
            whole = piece.shape[1] // size
            if whole:
                full = piece[:, : whole * size].reshape(channels, whole, size)
                yield _table(full.transpose(1, 0, 2), rate, start, size)
            if whole * size < piece.shape[1]:
                yield _table(piece[np.newaxis, :, whole * size :], rate, start + whole * size, size)
            start += piece.shape[1]


def _opened(watched: WatchedFile) -> SoundFile:
    """Opens a sound, to be read straight on.

    Raises:
        ValueError: It is none.
    """
    import soundfile

    class Sound(soundfile.SoundFile):  # type: ignore[misc]
        """A sound that is only read straight on.

        Else soundfile seeks after each read, which FLAC of unknown length does not take, and after
        which MP3 has other samples.
        """

        def seekable(self) -> bool:
            return False

    try:
        sound = Sound(watched)
    except soundfile.LibsndfileError as error:
        watched.check()
        raise ValueError(_in_words(error)) from error
    try:
        watched.check()
    except BaseException:
        sound.close()
        raise
    return sound


def _decoded(
    sound: SoundFile, watched: WatchedFile, file: pa.NativeFile, mono: bool
) -> Iterator[Samples]:
    """Yields the amplitudes, of the shape (channels, samples), piece by piece.

    Raises:
        ValueError: The file is broken or cut.
    """
    import soundfile

    size = max(1, _PIECE_BYTES // (4 * sound.channels))
    count = 0
    while True:
        try:
            piece = sound.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            watched.check()
            raise ValueError(
                f"it is broken or cut off after {count} samples: {_in_words(error)}"
            ) from error
        watched.check()
        if not len(piece):
            break
        count += len(piece)
        if mono:
            piece = piece.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
        yield np.ascontiguousarray(piece.T)
    audio_checks.check_count(file, sound, count)


def _resampled(
    pieces: Iterator[Samples], channels: int, rate: int, wanted: int
) -> Iterator[Samples]:
    """Resamples each channel by itself, as its number says nothing of where it is heard.

    A sound of n samples becomes one of n * wanted / rate, rounded up.
    """
    import av

    resamplers = [
        av.AudioResampler(format="fltp", layout="mono", rate=wanted) for _ in range(channels)
    ]

    def resample(piece: Samples | None) -> Samples:
        made = []
        for number, resampler in enumerate(resamplers):
            frame = None
            if piece is not None:
                channel = np.ascontiguousarray(piece[number : number + 1])
                frame = av.AudioFrame.from_ndarray(channel, format="fltp", layout="mono")
                frame.sample_rate = rate
            frames = [np.zeros((1, 0), np.float32)]
            frames += [given.to_ndarray() for given in resampler.resample(frame)]
            made.append(np.concatenate(frames, axis=1))
        return np.concatenate(made)

    taken = given = 0
    for piece in pieces:
        taken += piece.shape[1]
        made = resample(piece)
        given += made.shape[1]
        yield made
    # FFmpeg ends a sound that is shorter than its filter as if there were none.
    silence = np.zeros((channels, _FILTER_SAMPLES * (1 + rate // wanted)), np.float32)
    rest = np.concatenate([resample(silence), resample(None)], axis=1)
    yield rest[:, : max(0, -(-taken * wanted // rate) - given)]


def _cut(pieces: Iterator[Samples], size: int) -> Iterator[Samples]:
    """Cuts a sound anew: pieces of `size` samples, and what is left over."""
    held: list[Samples] = []
    count = 0
    for piece in pieces:
        rest = piece
        while count + rest.shape[1] >= size:
            head, rest = rest[:, : size - count], rest[:, size - count :]
            yield np.concatenate([*held, head], axis=1)
            held, count = [], 0
        if rest.shape[1]:
            held.append(rest)
            count += rest.shape[1]
    if held:
        yield np.concatenate(held, axis=1)


def _table(amplitudes: Samples, rate: int, start: int | None = None, size: int = 0) -> pa.Table:
    """Makes rows of sounds of one shape.

    Args:
        amplitudes: Of the shape (rows, channels, samples).
        rate: Samples a second.
        start: Where the first row begins in the sound, if rows are its parts, in samples.
        size: How many samples further each begins.
    """
    rows = len(amplitudes)
    columns: dict[str, Any] = {
        "amplitude": tensor.from_ndarray(amplitudes),
        "sample_rate": pa.array([rate] * rows, pa.int64()),
    }
    if start is not None:
        starts = [(start + row * size) / rate for row in range(rows)]
        columns["start_s"] = pa.array(starts, pa.float64())
    return pa.table(columns)


def _in_words(error: Any) -> str:
    # Its text names an address in memory.
    return f"libsndfile says {error.error_string!r}"


def _nbytes_of(file: InputFile) -> int:
    extension = file.path.rpartition(".")[2].lower()
    return file.size * _GROWTH.get(extension, 2)


def _tell_of_length(path: str, nbytes: int) -> None:
    """Says once in each process that a sound is a large row."""
    if not _has_told.is_set():
        _has_told.set()
        _log.warning(
            "%s is a row of %d MB; read_audio(segment_s=...) reads it and other long sounds in "
            "parts, a row each",
            path,
            nbytes >> 20,
        )


#: The size of the tables that parts are yielded in; a longer part is a table by itself.
TABLE_BYTES = 8 << 20
# What a part takes besides its amplitudes.
_BESIDE_BYTES = 16
# So much is decoded at a time.
_PIECE_BYTES = 1 << 20
# More than the filter of a resampler looks ahead, where the rate does not become lower.
_FILTER_SAMPLES = 64
# An hour of speech.
_LARGE_BYTES = 256 << 20
# What a row of a tensor column holds.
_ELEMENTS_MAX = 2**31 - 1
# How many times larger amplitudes are than their file, about.
_GROWTH = {
    **dict.fromkeys(["mp3", "ogg", "oga"], 20),
    **{"opus": 40, "flac": 4},
}
_log = logging.getLogger(__name__)
_has_told = threading.Event()
