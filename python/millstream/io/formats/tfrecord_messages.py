"""What a TFRecord file consists of: records with checksums, each a `tf.train.Example` message.

Owns the frames of records and the messages, which are made in code, without TensorFlow. Must not
know columns of several rows, files that are listed, nor who reads or writes.
"""

from __future__ import annotations

import importlib
import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from operator import attrgetter
from typing import Any

import pyarrow as pa

from millstream.blocks.common_type import is_bytes, is_list, is_text
from millstream.errors import MissingPackageError, ReadError


@dataclass(frozen=True)
class Record:
    """A record of a file.

    Args:
        index: Its number, from 0 on.
        offset: Where it begins in the file, or in what the file is decompressed to.
        data: What is in it.
    """

    index: int
    offset: int
    data: bytes

    def __str__(self) -> str:
        return f"record {self.index} (counted from 0; at byte {self.offset})"


def iter_records(stream: Any, path: str) -> Iterator[Record]:
    """Yields the records of a stream, whose checksums are right.

    Args:
        stream: Gives bytes by `read`.
        path: The file, for errors.

    Raises:
        ReadError: The file is cut, or is none of records.
    """
    index = offset = 0
    while True:
        record = Record(index, offset, b"")
        header = _read(stream, _HEADER_BYTES, record, path)
        if not header:
            return
        if len(header) < _HEADER_BYTES:
            raise ReadError(
                f"this TFRecord file is cut inside the header of {record}: "
                f"{len(header)} bytes are left over, a header has {_HEADER_BYTES}",
                file=path,
            )
        length, checksum = _HEADER.unpack(header)
        if masked_crc(header[:8]) != checksum:
            raise ReadError(
                f"the length of {record} has the wrong checksum: the file is "
                + ("damaged" if index else "damaged, compressed, or no TFRecord file"),
                file=path,
            )
        if length > _RECORD_BYTES_MAX:
            raise ReadError(f"{record} has {length} bytes; an Example has 2 GiB at most", file=path)
        body = _read(stream, length + 4, record, path)
        if len(body) < length + 4:
            raise ReadError(
                f"this TFRecord file is cut inside {record}: it has {len(body)} of the "
                f"{length + 4} bytes behind its header",
                file=path,
            )
        data = body[:length]
        if masked_crc(data) != int.from_bytes(body[length:], "little"):
            raise ReadError(f"{record} has the wrong checksum: it is damaged", file=path)
        yield Record(index, offset, data)
        index, offset = index + 1, offset + _HEADER_BYTES + length + 4


def _read(stream: Any, nbytes: int, record: Record, path: str) -> bytes:
    try:
        data: bytes = stream.read(nbytes)
    except OSError as error:
        raise ReadError(f"cannot read {record}: {error}", file=path) from error
    return data


def masked_crc(data: bytes) -> int:
    """The checksum of TFRecord files: CRC-32C, turned by 15 bits and moved by a constant."""
    import google_crc32c

    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def parsed(record: Record, path: str) -> Any:
    """The Example in a record.

    Raises:
        ReadError: It is none, or has what an Example has not.
    """
    example = example_class()()
    try:
        example.ParseFromString(record.data)
    except _protobuf("message").DecodeError as error:
        raise ReadError(f"{record} is no tf.train.Example: {error}", file=path) from error
    for message in (example, example.features):
        if _has_unknown(message):
            raise ReadError(
                f"{record} is no tf.train.Example, since it has fields that an Example has not; "
                "tf.train.SequenceExample cannot be read",
                file=path,
            )
    return example


def require_known(feature: Any, name: str, record: Record, path: str) -> None:
    """Checks that a feature which is of no kind is one without values.

    Raises:
        ReadError: It has values that no Example has.
    """
    if _has_unknown(feature):
        raise ReadError(
            f"the feature {name!r} of {record} is neither bytes, floats nor integers", file=path
        )


def _has_unknown(message: Any) -> bool:
    """Whether a message has fields that its type has not."""
    return len(_protobuf("unknown_fields").UnknownFieldSet(message)) > 0


@cache
def _protobuf(module: str) -> Any:
    # It ships no types.
    return importlib.import_module(f"google.protobuf.{module}")


@cache
def example_class() -> Any:
    """The class `tensorflow.Example`, apart from the one that TensorFlow registers for itself."""
    descriptors = _protobuf("descriptor_pb2")
    types = descriptors.FieldDescriptorProto
    file = descriptors.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )
    one, many = types.LABEL_OPTIONAL, types.LABEL_REPEATED

    def put(message: Any, name: str, number: int, label: Any, type: Any, of: str = "") -> Any:
        return message.field.add(
            name=name, number=number, label=label, type=type, type_name=of or None
        )

    scalars = {"Bytes": types.TYPE_BYTES, "Float": types.TYPE_FLOAT, "Int64": types.TYPE_INT64}
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, type) in enumerate(scalars.items(), 1):
        put(file.message_type.add(name=f"{name}List"), "value", 1, many, type)
        of = f".tensorflow.{name}List"
        put(feature, f"{name.lower()}_list", number, one, types.TYPE_MESSAGE, of).oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    put(entry, "key", 1, one, types.TYPE_STRING)
    put(entry, "value", 2, one, types.TYPE_MESSAGE, ".tensorflow.Feature")
    of = ".tensorflow.Features.FeatureEntry"
    put(features, "feature", 1, many, types.TYPE_MESSAGE, of)
    example = file.message_type.add(name="Example")
    put(example, "features", 1, one, types.TYPE_MESSAGE, ".tensorflow.Features")
    pool = _protobuf("descriptor_pool").DescriptorPool()
    pool.Add(file)
    return _protobuf("message_factory").GetMessageClass(
        pool.FindMessageTypeByName("tensorflow.Example")
    )


def value_type(type: pa.DataType) -> pa.DataType:
    """The type of the values of a column of values or of lists."""
    return type.value_type if is_list(type) else type


def kind_of(type: pa.DataType) -> str | None:
    """The kind of feature that holds a column; `None`: there is none."""
    inner = value_type(type)
    if pa.types.is_integer(inner):
        return "int64"
    if pa.types.is_floating(inner):
        return "float"
    return "bytes" if is_text(inner) or is_bytes(inner) else None


def require_packages(user: str) -> None:
    """Checks that what reads and writes records is installed.

    Args:
        user: Who needs it, for the message.

    Raises:
        MissingPackageError: It is not.
    """
    for package, module in (("protobuf", "google.protobuf"), ("google-crc32c", "google_crc32c")):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingPackageError(
                f"{user} needs {package}: pip install 'millstream[tfrecord]'"
            ) from error


@dataclass(frozen=True)
class Kind:
    """One of the three kinds of features.

    Args:
        type: That of its values in Arrow.
        collection: Makes what collects values.
        values: Gives those of a feature.
        nbytes: How many bytes values take in Arrow.
    """

    type: pa.DataType
    collection: Callable[[], Any]
    values: Callable[[Any], Any]
    nbytes: Callable[[Any], int]


KINDS = {
    "int64": Kind(
        pa.int64(), partial(array, "q"), attrgetter("int64_list.value"), lambda v: 8 * len(v)
    ),
    "float": Kind(
        pa.float32(), partial(array, "f"), attrgetter("float_list.value"), lambda v: 4 * len(v)
    ),
    "bytes": Kind(
        pa.binary(), list, attrgetter("bytes_list.value"), lambda v: sum(map(len, v)) + 4 * len(v)
    ),
}
_HEADER = struct.Struct("<QI")
_HEADER_BYTES = _HEADER.size
# No message may be larger.
_RECORD_BYTES_MAX = 2**31 - 1
