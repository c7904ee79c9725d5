"""What the members of a sample are decoded to, by their extensions.

Owns the table of decoders. Must not know archives. Nothing is unpickled: that would run any code
which a file brings along.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from millstream.errors import MissingPackageError
from millstream.io.extensions import IMAGE_EXTENSIONS
from millstream.io.formats import pixels


def decode(name: str, data: bytes, has_more: list[str]) -> Any:
    """Decodes a member by the last part of its extension, in lower case.

    Args:
        name: The extension, such as `"seg.png"`.
        data: The bytes.
        has_more: Where the extension is put if only the first of several pictures is decoded.

    Returns:
        The bytes themselves if there is no decoder.

    Raises:
        MissingPackageError: A package is needed that is not installed.
        ValueError: They are not what the extension says.
    """
    extension = name.rpartition(".")[2].lower()
    if extension in _PICKLED:
        raise ValueError(
            f"'.{extension}' holds pickled objects, and to load them would run any code that the "
            "file brings along: leave it out by suffixes, or pass a decoder of your own"
        )
    if extension in _IMAGES:
        return _image(name, data, has_more)
    decoder = _DECODERS.get(extension)
    return data if decoder is None else decoder(data)


def json_of(data: bytes) -> Any:
    """Reads JSON, and NaN and Infinity too, which Python writes.

    Raises:
        ValueError: It is none, names a field twice, or has a number that no float is.
    """
    return json.loads(data, parse_float=_float, object_pairs_hook=_object)


def _text(data: bytes) -> str:
    return data.decode()


def _class(data: bytes) -> int:
    text = data.decode().strip()
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no whole number")
    return int(text)


def _image(name: str, data: bytes, has_more: list[str]) -> Any:
    if find_spec("PIL") is None:
        raise MissingPackageError(
            f"{name!r} is a picture, which needs Pillow: pip install 'millstream[image]'"
        )
    picture = pixels.decode(data)
    if picture.has_more:
        has_more.append(name)
    return picture.pixels


def _array(data: bytes) -> Any:
    file = io.BytesIO(data)
    array = np.load(file, allow_pickle=False)
    if not isinstance(array, np.ndarray) or file.read(1):
        raise ValueError("it is not one array")
    return array


def _packed(data: bytes) -> Any:
    try:
        # It ships no types.
        msgpack: Any = importlib.import_module("msgpack")
    except ImportError as error:
        raise MissingPackageError("'.mp' needs msgpack: pip install msgpack") from error
    return msgpack.unpackb(data, raw=False)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is larger than any float")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} is there twice")
    return made


_INTEGER = re.compile("[+-]?[0-9]+")
_PICKLED = {"pyd", "pkl", "pickle", "pt", "pth"}
_IMAGES = {*IMAGE_EXTENSIONS, "ppm", "pgm", "pbm", "pnm"}
_DECODERS: dict[str, Callable[[bytes], Any]] = {
    **{"txt": _text, "text": _text, "cls": _class, "cls2": _class},
    **{"json": json_of, "npy": _array, "mp": _packed},
}
