"""Whether a sound file is whole, which libsndfile does not complain of.

Owns what each format says of its own length. Must not know how samples are decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from soundfile import SoundFile


def check_whole(file: pa.NativeFile, sound: SoundFile) -> None:
    """Refuses a file that is shorter than it says, before it is decoded.

    Args:
        file: The file, which is left where it was.
        sound: The same, opened.

    Raises:
        ValueError: It is.
    """
    for declared, there in _SHORT.findall(sound.extra_info):
        # Who does not know how much will come, writes the largest number.
        if int(there) < int(declared) and not _is_unknown(int(declared)):
            raise ValueError(f"it is cut off: it says {declared} bytes, and has {there}")
    found = _MISSING.search(sound.extra_info)
    if found:
        raise ValueError(f"it is broken or cut off: it has {found[1]} samples, and says {found[2]}")
    if sound.format == "OGG":
        place = file.tell()
        _check_ogg(file, sound)
        file.seek(place)


def check_count(file: pa.NativeFile, sound: SoundFile, count: int) -> None:
    """Refuses a file that has given fewer samples than it says.

    Args:
        file: The file, read to its end.
        sound: The same, opened.
        count: The samples that were decoded.

    Raises:
        ValueError: It has.
    """
    declared = int(sound.frames)
    if count >= declared or declared >= _FRAMES_UNKNOWN:
        return
    if sound.format == "MP3" and not _has_length(file):
        # What is declared is a guess then.
        return
    raise ValueError(f"it is broken or cut off: it has {count} samples, and says {declared}")


def _is_unknown(nbytes: int) -> bool:
    """Whether a length stands for one that was not known: the largest number, less a header."""
    return any(most - _HEADER_BYTES < nbytes < most for most in (2**31, 2**32))


@dataclass(frozen=True)
class _Page:
    """The header of a page of Ogg.

    Args:
        serial: Which stream it belongs to.
        is_last: Whether it is the last one of that.
        position: The samples up to its end.
        end: Where it ends in the bytes that were looked at.
    """

    serial: int
    is_last: bool
    position: int
    end: int


def _check_ogg(file: pa.NativeFile, sound: SoundFile) -> None:
    """Refuses what is not one stream from its first page to its last."""
    file.seek(0)
    head = file.read(_PAGE_BYTES)
    file.seek(max(0, file.size() - _PAGE_BYTES))
    tail = file.read(_PAGE_BYTES)
    first, last = _page(head, 0), _page(tail, tail.rfind(b"OggS"))
    if first is None or last is None or not last.is_last or last.end > len(tail):
        raise ValueError("it is cut off: the last page of its stream is missing")
    if first.serial != last.serial:
        raise ValueError(
            "it holds several streams, of which libsndfile reads one: take them apart before"
        )
    declared = last.position
    if (at := head.find(b"OpusHead")) >= 0:
        # Opus counts at 48 kHz, and what the decoder needs to begin with.
        declared -= int.from_bytes(head[at + 10 : at + 12], "little")
        declared = declared * int(sound.samplerate) // 48_000
    if sound.frames < declared:
        raise ValueError(f"it is broken: {int(sound.frames)} of its {declared} samples can be read")


def _page(data: bytes, at: int) -> _Page | None:
    header = data[at : at + 27] if at >= 0 else b""
    if len(header) < 27 or header[:4] != b"OggS":
        return None
    segments = data[at + 27 : at + 27 + header[26]]
    return _Page(
        serial=int.from_bytes(header[14:18], "little"),
        is_last=bool(header[5] & 4),
        position=int.from_bytes(header[6:14], "little", signed=True),
        end=at + 27 + header[26] + sum(segments),
    )


def _has_length(file: pa.NativeFile) -> bool:
    """Whether an MP3 file says how long it is, in its first frame, behind its notes."""
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3":
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        start = 10 + size
    file.seek(start)
    frame = file.read(_FRAME_BYTES)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


# What libsndfile notes of a chunk, except of the whole of a RIFF or AIFF file: what is behind the
# samples may be missing.
_SHORT = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.M)
_MISSING = re.compile(
    r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)"
)
_HEADER_BYTES = 4096
_FRAMES_UNKNOWN = 2**63 - 1
# The largest that there is.
_PAGE_BYTES = 27 + 255 + 255 * 255
# The first frame, and some zeros before it.
_FRAME_BYTES = 4096
