"""What becomes of the tags of a DICOM file, and whether all of them are there.

Owns the types of both sides. Must not know pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millstream.errors import ArgumentError
from millstream.errors.checks import require

if TYPE_CHECKING:
    from pydicom import FileDataset


@dataclass(frozen=True)
class Tag:
    """A tag that becomes a column.

    Args:
        keyword: Its name in the standard.
        number: Its number.
        type: What the standard says of its values: single ones, or lists.
    """

    keyword: str
    number: int
    type: pa.DataType

    def value(self, dataset: FileDataset) -> Any:
        """What a file has; `None` if it is not there or empty.

        Raises:
            ValueError: It is none of the type.
        """
        found = dataset.file_meta if self.number >> 16 == _HEADER_GROUP else dataset
        try:
            value = found[self.number].value if self.number in found else None
            if value is None or (not isinstance(value, (int, float)) and len(value) == 0):
                return None
            is_many = not isinstance(value, (str, bytes)) and isinstance(value, Sequence)
            if pa.types.is_list(self.type):
                convert = _CONVERT[self.type.value_type]
                return [convert(each) for each in (value if is_many else [value])]
            if is_many:
                raise ValueError(f"has {len(value)} values, and the standard says one")
            return _CONVERT[self.type](value)
        except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
            raise ValueError(f"the tag {self.keyword!r}: {error}") from error


def tags_of(keywords: Sequence[str]) -> Iterator[Tag]:
    """Finds what the standard says of tags.

    Raises:
        ArgumentError: There is no such tag, or no column holds its values.
    """
    from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

    for keyword in keywords:
        number = tag_for_keyword(keyword)
        require(number is not None, "tags", keyword, "a keyword of the standard: 'PatientID'")
        assert number is not None  # noqa: S101 - it was looked at
        if keyword in _TAKEN:
            raise ArgumentError(f"tags: {keyword!r} is the name of another column")
        kind = dictionary_VR(number)
        if kind not in _TYPES:
            raise ArgumentError(f"tags: {keyword!r} is {kind}, which no column holds")
        type = _TYPES[kind]
        yield Tag(keyword, number, type if dictionary_VM(number) == "1" else pa.list_(type))


def check_complete(dataset: FileDataset, file: pa.NativeFile) -> None:
    """Refuses a file that ends within a tag, of which pydicom gives what comes before.

    Args:
        dataset: What was read.
        file: The file, where reading has stopped.

    Raises:
        ValueError: It is cut off.
    """
    from pydicom.dataelem import RawDataElement

    place, size = file.tell(), file.size()
    elements = list(dataset.values())
    last = elements[-1] if elements else None
    if isinstance(last, RawDataElement) and last.length != _UNDEFINED:
        is_whole = last.value_tell + last.length == place
    elif place < size:
        # The pixels come next.
        is_whole = True
    else:
        file.seek(max(0, size - len(_SEQUENCE_END[0])))
        is_whole = last is not None and file.read() in _SEQUENCE_END
    if not is_whole:
        raise ValueError(f"it is cut off after {size} bytes, within a tag")
    file.seek(place)


def _text(value: Any) -> str:
    text = str(value)
    if "\ufffd" in text:
        raise ValueError(f"{text!r} has characters that are none of the file's character set")
    return text


def _whole(value: Any) -> int:
    if isinstance(value, (bytes, str)):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


_HEADER_GROUP = 2
_UNDEFINED = 0xFFFFFFFF
# In both orders of bytes.
_SEQUENCE_END = (b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xff\xfe\xe0\xdd\0\0\0\0")
_TAKEN = ("pixels", "frame", "photometric")
_CONVERT: dict[pa.DataType, Callable[[Any], Any]] = {
    pa.string(): _text,
    pa.int64(): _whole,
    pa.uint64(): _whole,
    pa.float32(): float,
    pa.float64(): float,
}
_TYPES = {
    **dict.fromkeys(
        [
            *("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN"),
            *("SH", "ST", "TM", "UC", "UI", "UR", "UT"),
        ],
        pa.string(),
    ),
    **dict.fromkeys(["IS", "SL", "SS", "SV", "UL", "US", "US or SS"], pa.int64()),
    "UV": pa.uint64(),
    "FL": pa.float32(),
    "FD": pa.float64(),
    "DS": pa.float64(),
}
