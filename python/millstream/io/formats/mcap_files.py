"""What is around the messages in an MCAP file: its summary, and whether that is complete.

Owns the checks that mcap leaves out. Must not know which messages are wanted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, cast

import pyarrow as pa

if TYPE_CHECKING:
    from mcap.records import Channel, Message, Schema
    from mcap.summary import Summary

    Found = tuple[Schema | None, Channel, Message]


def summary_of(file: pa.NativeFile) -> Summary | None:
    """Reads the summary at the end of a file, if it has one.

    Raises:
        ValueError: It is no MCAP, is cut off, or its end is damaged.
    """
    from mcap.reader import SeekingReader

    size = file.size()
    header = file.read(len(_MAGIC))
    if header != _MAGIC:
        raise ValueError(f"it begins with {header!r} and not with {_MAGIC!r}")
    file.seek(max(0, size - _END_BYTES))
    end = file.read(_END_BYTES)
    if size < 2 * len(_MAGIC) + _END_BYTES or not end.endswith(_MAGIC):
        raise ValueError(
            "it is cut off, or its recording was not ended: `mcap recover` makes a file of what "
            "there is"
        )
    opcode, _, start, _, checksum = struct.unpack("<BQQQI", end[: -len(_MAGIC)])
    if opcode != _FOOTER:
        raise ValueError("there is no footer at its end")
    if start == 0:
        return None
    file.seek(start)
    section = file.read(size - start - len(_MAGIC) - 4)
    if checksum and zlib.crc32(section) != checksum:
        raise ValueError("its summary is damaged: the checksum is another one")
    return SeekingReader(whole(file), validate_crcs=True).get_summary()


def is_complete(summary: Summary) -> bool:
    """Whether a summary tells of all chunks what is in them."""
    indexes = summary.chunk_indexes
    channels = {channel for index in indexes for channel in index.message_index_offsets}
    schemas = {each.schema_id for each in summary.channels.values()} - {0}
    return (
        bool(indexes)
        # Without these, channels may be in chunks only.
        and all(index.message_index_offsets for index in indexes)
        and channels <= summary.channels.keys()
        and schemas <= summary.schemas.keys()
    )


def has_loose(file: pa.NativeFile, summary: Summary) -> bool:
    """Whether there are messages outside the chunks, of which no index tells."""
    chunks = {
        index.chunk_start_offset: index.chunk_start_offset
        + index.chunk_length
        + index.message_index_length
        for index in summary.chunk_indexes
    }
    place = len(_MAGIC)
    while True:
        while place in chunks:
            place = chunks[place]
        file.seek(place)
        record = file.read(_RECORD_BYTES)
        if len(record) < _RECORD_BYTES:
            raise ValueError(f"there is no record at byte {place}")
        opcode, length = struct.unpack("<BQ", record)
        if opcode in (_DATA_END, _FOOTER):
            return False
        if opcode in (_MESSAGE, _CHUNK):
            return True
        place += _RECORD_BYTES + length


def in_file_order(file: pa.NativeFile) -> Iterator[Found]:
    """Reads a file from its begin to its end."""
    from mcap.records import Channel, Message, Schema
    from mcap.stream_reader import StreamReader

    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    for record in StreamReader(whole(file), validate_crcs=True).records:
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Message):
            channel = channels.get(record.channel_id)
            if channel is None or (channel.schema_id and channel.schema_id not in schemas):
                raise ValueError(
                    f"the message at log_time {record.log_time} is of the channel "
                    f"{record.channel_id}, which the file does not tell of"
                )
            yield schemas.get(channel.schema_id), channel, record


def whole(file: pa.NativeFile) -> IO[bytes]:
    """A file from its begin on, for mcap to read."""
    return cast(IO[bytes], _Whole(file))


class _Whole:
    """A file that is read as it says, or not at all.

    mcap takes what is there where less is left than a record should have, and asks for as much
    memory as a damaged length says.

    Args:
        file: The file.
    """

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._size: int = file.size()
        self.seek = file.seek
        self.tell = file.tell
        file.seek(0)

    def read(self, size: int) -> bytes:
        """Reads some bytes.

        Raises:
            ValueError: There are fewer.
        """
        place = self._file.tell()
        if size > self._size - place:
            raise ValueError(f"at byte {place}, {size} bytes should follow, and there are fewer")
        data: bytes = self._file.read(size)
        return data


_MAGIC = b"\x89MCAP0\r\n"
_MESSAGE, _CHUNK, _DATA_END, _FOOTER = 0x05, 0x06, 0x0F, 0x02
_RECORD_BYTES = 9
# The footer, and what ends the file.
_END_BYTES = _RECORD_BYTES + 20 + len(_MAGIC)
