"""Reading MCAP recordings with mcap, a row a message.

Owns the plan, the format, and which messages become rows; `mcap_files` owns what is around them in
a file. Must not know what happens to the rows.

A file with an index is read in the order of time, chunk by chunk; only chunks that overlap in time
are held together. A file without one is read from its begin to its end.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import columns
from millstream.errors import SchemaError
from millstream.errors.checks import check_columns, check_flag, is_whole, require
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import Listing, list_files, open_file
from millstream.io.formats.mcap_files import (
    has_loose,
    in_file_order,
    is_complete,
    summary_of,
    whole,
)
from millstream.io.formats.typed_files import TABLE_BYTES, Contents, plan_typed_files
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source, blaming

if TYPE_CHECKING:
    from mcap.records import Channel, Message, Schema
    from mcap.summary import Summary

    from millstream.io.formats.mcap_files import Found


@dataclass(frozen=True)
class Wanted:
    """Which messages are read, and what of them; see `read_mcap`.

    Raises:
        ArgumentError: It makes no sense.
    """

    topics: Collection[str] | None = None
    time_range: tuple[int, int] | None = None
    message_types: Collection[str] | None = None
    include_metadata: bool = True
    decode_json: bool = False

    def __post_init__(self) -> None:
        for name in ("topics", "message_types"):
            value = getattr(self, name)
            if value is not None:
                listed = sorted(value) if isinstance(value, (set, frozenset)) else value
                names = frozenset(check_columns(name, listed))
                require(bool(names), name, value, "at least one name, or None")
                object.__setattr__(self, name, names)
        check_flag("include_metadata", self.include_metadata)
        check_flag("decode_json", self.decode_json)
        span = self.time_range
        is_pair = isinstance(span, (tuple, list)) and len(span) == 2
        is_span = is_pair and all(is_whole(each, 0) for each in span or ())
        is_right = span is None or (is_span and span[0] < span[1])
        wanted = "a pair (start, end) of nanoseconds with start < end, or None"
        require(is_right, "time_range", span, wanted)

    @property
    def is_all(self) -> bool:
        """Whether no message is left out."""
        return self.topics is None and self.time_range is None and self.message_types is None

    def accepts(self, schema: Schema | None, channel: Channel, message: Message) -> bool:
        """Whether a message becomes a row."""
        start, end = self.time_range or (0, _NEVER)
        name = None if schema is None else schema.name
        return (
            (self.topics is None or channel.topic in self.topics)
            and (self.message_types is None or name in self.message_types)
            and start <= message.log_time < end
        )


def plan_mcap(
    paths: Paths, files: FileOptions, wanted: Wanted, *, blocks: int | None = None
) -> Source:
    """Plans to read MCAP files.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        wanted: Which messages, and what of them.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: mcap is not installed.
        ReadError: A path does not exist, is empty, cut off or no MCAP, or there is nothing to read.
    """
    require_package("mcap", "read_mcap", "mcap", "mcap")
    listing = list_files(paths, files, reader="read_mcap")
    format = McapFormat(wanted)
    if wanted.decode_json:
        return _plan_decoded(listing, format, files, blocks)
    return plan_typed_files("ReadMCAP", listing, format, files, blocks=blocks)


def _plan_decoded(
    listing: Listing, format: McapFormat, files: FileOptions, blocks: int | None
) -> Source:
    """Plans for messages whose types nobody knows before they are read."""
    first = listing.files[0]
    with blaming(first.path, format.problem):
        format.describe(listing.filesystem, first.path)
    return plan_files(
        "ReadMCAP",
        listing,
        format,
        PathColumns(files.partitioning, files.include_paths),
        schema=None,
        column="data",
        nbytes_of=lambda file: file.size,
        blocks=blocks,
    )


@dataclass(frozen=True)
class McapFormat:
    """A file is chunks of messages.

    Args:
        wanted: Which are read, and what of them.
    """

    wanted: Wanted
    problem: str = "cannot read this MCAP file"

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> Contents:
        """Reads the end of a file, which has its summary."""
        with open_file(filesystem, path) as file:
            summary = summary_of(file)
        statistics = summary.statistics if summary else None
        rows = statistics.message_count if statistics and self.wanted.is_all else None
        return Contents(_schema(self.wanted), rows)

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the messages in tables of bounded size."""
        with open_file(filesystem, path) as file:
            rows = _Rows(self.wanted)
            count, is_empty = 0, True
            summary = summary_of(file)
            for found in self._messages(file, summary):
                count += 1
                if self.wanted.accepts(*found):
                    rows.add(*found)
                    if rows.nbytes >= TABLE_BYTES:
                        yield rows.taken()
                        is_empty = False
            statistics = summary.statistics if summary else None
            if self.wanted.is_all and statistics and statistics.message_count != count:
                told = statistics.message_count
                raise ValueError(f"its summary tells of {told} messages, and it has {count}")
            if rows.nbytes or is_empty:
                yield rows.taken()

    def _messages(self, file: pa.NativeFile, summary: Summary | None) -> Iterator[Found]:
        from mcap.reader import SeekingReader

        if summary is None or not is_complete(summary) or has_loose(file, summary):
            return in_file_order(file)
        start, end = self.wanted.time_range or (None, None)
        reader = SeekingReader(whole(file), validate_crcs=True)
        messages: Iterator[Found] = reader.iter_messages(
            topics=self.wanted.topics, starting_at=start, ending_before=end
        )
        return messages


class _Rows:
    """Messages that are to be a table.

    Args:
        wanted: What becomes of them.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._schema = _schema(wanted)
        self._clear()

    def _clear(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self.nbytes = 0

    def add(self, schema: Schema | None, channel: Channel, message: Message) -> None:
        """Takes another message."""
        data: Any = message.data
        if self._wanted.decode_json:
            data = _decoded(channel, message)
        values = {
            "data": data,
            "topic": channel.topic,
            "log_time": message.log_time,
            "publish_time": message.publish_time,
            "sequence": message.sequence,
            "channel_id": message.channel_id,
            "message_encoding": channel.message_encoding,
            "schema_name": None if schema is None else schema.name,
            "schema_encoding": None if schema is None else schema.encoding,
            "schema_data": None if schema is None else schema.data,
        }
        for name, column in self._columns.items():
            column.append(values[name])
        self.nbytes += len(message.data) + _ROW_BYTES

    def taken(self) -> pa.Table:
        """The table; all messages are let go."""
        made: dict[str, Any] = {}
        for field in self._schema:
            values = self._columns[field.name]
            if field.name == "data" and self._wanted.decode_json:
                made["data"] = columns.from_values(values)
            elif pa.types.is_dictionary(field.type):
                made[field.name] = pa.array(values, field.type.value_type).dictionary_encode()
            else:
                made[field.name] = pa.array(values, field.type)
        self._clear()
        return pa.table(made)


def _decoded(channel: Channel, message: Message) -> Any:
    """The value of a message in JSON.

    Raises:
        SchemaError: It is in another encoding.
        ValueError: It is no JSON.
    """
    if channel.message_encoding != "json":
        raise SchemaError(
            f"the messages of topic {channel.topic!r} are {channel.message_encoding!r}, which "
            "decode_json=True does not decode; choose others with topics="
        )
    try:
        return json.loads(message.data)
    except ValueError as error:
        raise ValueError(
            f"the message of topic {channel.topic!r} at log_time {message.log_time} is no JSON: "
            f"{error}"
        ) from error


def _schema(wanted: Wanted) -> pa.Schema:
    told = _METADATA if wanted.include_metadata else []
    return pa.schema([*_FIELDS, *told])


_NEVER = 1 << 64
# What a row takes besides the bytes of its message.
_ROW_BYTES = 128
_FIELDS = [
    pa.field("data", pa.binary()),
    pa.field("topic", pa.string()),
    pa.field("log_time", pa.int64()),
    pa.field("publish_time", pa.int64()),
    pa.field("sequence", pa.int64()),
]
_METADATA = [
    pa.field("channel_id", pa.int64()),
    pa.field("message_encoding", pa.string()),
    pa.field("schema_name", pa.string()),
    pa.field("schema_encoding", pa.string()),
    # Each is many times as large as a message, and there are few.
    pa.field("schema_data", pa.dictionary(pa.int32(), pa.binary())),
]
