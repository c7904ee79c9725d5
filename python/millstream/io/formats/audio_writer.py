"""Writing sounds with soundfile, a file for each row.

Owns how amplitudes become the numbers of a file, so that `read_audio` gives the same amplitudes.
Must not know where files are, staged or committed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks import tensor
from millstream.errors import ArgumentError, SchemaError
from millstream.errors.checks import check_choice, check_count, check_flag, require
from millstream.errors.packages import require_package


@dataclass(frozen=True)
class AudioRows:
    """Sounds (`RowFormat`).

    Args:
        column: The tensor column with the amplitudes, of the shape (channels, samples).
        sample_rate: Samples a second, the same for all.
        sample_rate_column: The column that says so for each.
        file_format: One of `FILE_FORMATS`.
        subtype: The numbers in the file; see `write_audio`.
        clip: Whether what is beyond -1 and 1 becomes these.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: soundfile is not installed.
    """

    column: str
    sample_rate: int | None = None
    sample_rate_column: str | None = None
    file_format: str = "wav"
    subtype: str | None = None
    clip: bool = False
    name: str = "Audio"

    def __post_init__(self) -> None:
        require(isinstance(self.column, str), "column", self.column, "the name of a column")
        check_count("sample_rate", self.sample_rate)
        rates = self.sample_rate_column
        is_name = rates is None or isinstance(rates, str)
        require(is_name, "sample_rate_column", rates, "the name of a column, or None")
        if (self.sample_rate is None) == (rates is None):
            raise ArgumentError("give either sample_rate or sample_rate_column")
        check_choice("file_format", self.file_format, FILE_FORMATS)
        if self.subtype is not None:
            check_choice("subtype", self.subtype, _SUBTYPES[self.file_format])
        check_flag("clip", self.clip)
        require_package("soundfile", "write_audio", "soundfile", "audio")

    @property
    def endings(self) -> tuple[str, ...]:
        """How names end."""
        return (self.file_format,)

    @property
    def columns(self) -> tuple[str, ...]:
        """The amplitudes, and perhaps the rate."""
        rates = self.sample_rate_column
        return (self.column,) if rates is None else (self.column, rates)

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that are no sounds and no rates.

        Raises:
            SchemaError: It is one.
        """
        type = schema.field(self.column).type
        is_sound = tensor.is_tensor(type) and pa.types.is_floating(type.value_type)
        is_sound = is_sound and type.value_type != pa.float16()
        if not is_sound or tensor.dimensions_of(type) not in (2, None):
            raise SchemaError(
                f"column {self.column!r} is {type}, and sounds are tensors of floats from -1 to 1 "
                "of the shape (channels, samples): scale integers, and make one channel of the "
                "shape (1, samples)"
            )
        rates = self.sample_rate_column
        if rates is not None and not pa.types.is_integer(schema.field(rates).type):
            raise SchemaError(
                f"column {rates!r} is {schema.field(rates).type}, and sample rates are integers"
            )

    def encode(self, values: Sequence[Any]) -> memoryview:
        """Returns the bytes of a sound.

        Raises:
            ValueError: The format cannot hold it.
        """
        import soundfile

        samples = np.asarray(values[0])
        rate = int(values[1] if self.sample_rate is None else self.sample_rate)
        if samples.ndim != 2 or not len(samples):
            raise ValueError(f"its shape is {samples.shape}, which is not (channels, samples)")
        if rate < 1:
            raise ValueError(f"its sample rate is {rate}")
        subtype = self.subtype or _SUBTYPES[self.file_format][0]
        self._check_length(samples, subtype)
        numbers = _numbers(self._in_range(samples), subtype, is_exact=self.subtype is None)
        file = io.BytesIO()
        try:
            soundfile.write(file, numbers.T, rate, subtype=subtype, format=self.file_format.upper())
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{len(samples)} channels of {rate} samples a second cannot be written as "
                f"{self.file_format}: {error.error_string}"
            ) from error
        return file.getbuffer()

    def _check_length(self, samples: np.ndarray[Any, Any], subtype: str) -> None:
        if self.file_format == "flac" and not samples.shape[1]:
            raise ValueError("it has no samples, which flac cannot say: take file_format='wav'")
        if self.file_format == "wav" and samples.size * _BYTES[subtype] > _WAV_BYTES_MAX:
            raise ValueError(
                f"its {samples.shape[1]} samples take more than the 4 GiB that wav holds: cut it"
            )

    def _in_range(self, samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if np.isnan(samples).any():
            raise ValueError("it has NaN, which is no amplitude")
        if self.clip:
            clipped: np.ndarray[Any, Any] = np.clip(samples, -1, 1)
            return clipped
        low, high = (samples.min(), samples.max()) if samples.size else (0, 0)
        if low < -1 or high > 1:
            raise ValueError(
                f"its amplitudes go from {low:g} to {high:g}, beyond -1 and 1: scale them, or pass "
                "clip=True"
            )
        return samples


def _numbers(
    samples: np.ndarray[Any, Any], subtype: str, *, is_exact: bool
) -> np.ndarray[Any, Any]:
    """Returns what is written: floats, or integers in the upper bits of 32.

    libsndfile would scale integers by another number when writing than when reading.

    Raises:
        ValueError: A number is to be kept as it is, and cannot be.
    """
    bits = _BITS.get(subtype)
    if bits is None:
        made: np.ndarray[Any, Any] = samples.astype(
            np.float32 if subtype == "FLOAT" else np.float64
        )
        if is_exact and not np.array_equal(made, samples):
            raise ValueError(
                "its floats of 64 bits are not the same in the 32 that read_audio gives: cast them "
                f"to 32 bits, or pass subtype={subtype!r} to round them"
            )
        return made
    scaled = samples.astype(np.float64) * 2.0 ** (bits - 1)
    steps = np.rint(scaled)
    steps = np.minimum(steps, 2.0 ** (bits - 1) - 1)
    if is_exact and not np.array_equal(steps, scaled):
        raise ValueError(
            f"its amplitudes are not among the steps of {bits} bits that this format has: pass "
            f"subtype={subtype!r} to round them, or file_format='wav' to keep them"
        )
    integers: np.ndarray[Any, Any] = steps.astype(np.int32) << np.int32(32 - bits)
    return integers


#: For each format what `subtype` may be; the first keeps amplitudes of 32 bits, or refuses them.
_SUBTYPES = {
    "wav": ("FLOAT", "DOUBLE", "PCM_32", "PCM_24", "PCM_16", "PCM_U8"),
    "flac": ("PCM_24", "PCM_16", "PCM_S8"),
}
#: What `file_format` may be.
FILE_FORMATS = tuple(_SUBTYPES)
_BITS = {"PCM_32": 32, "PCM_24": 24, "PCM_16": 16, "PCM_S8": 8, "PCM_U8": 8}
_BYTES = {name: bits // 8 for name, bits in _BITS.items()} | {"FLOAT": 4, "DOUBLE": 8}
# A little is for the header.
_WAV_BYTES_MAX = 2**32 - 2**12
