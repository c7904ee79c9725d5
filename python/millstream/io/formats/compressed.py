"""Files that are read from their beginning to their end, decompressed.

Owns which codec a file needs. Must not know what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import ReadError
from millstream.errors.checks import check_choice, check_count, is_named, require
from millstream.io.files import Listing


@dataclass(frozen=True)
class StreamOptions:
    """How files are opened.

    Args:
        compression: One of Arrow's codecs; "detect": as the extension says; `None`: none.
        buffer_size: So many bytes are read at a time.
    """

    compression: str | None = "detect"
    buffer_size: int = 1 << 20

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> StreamOptions:
        """Takes the argument `arrow_open_stream_args` of readers.

        Raises:
            ArgumentError: It makes no sense.
        """
        is_right = is_named(given) and set(given or ()) <= {"compression", "buffer_size"}
        wanted = "a dict of 'compression' and 'buffer_size', or None"
        require(given is None or is_right, "arrow_open_stream_args", given, wanted)
        made = cls(**(given or {}))
        if made.compression is not None:
            check_choice("compression", made.compression, _CHOICES)
        check_count("buffer_size", made.buffer_size, optional=False)
        return made

    def codec_of(self, path: str) -> str | None:
        """Returns how a file is compressed; `None`: it is not."""
        if self.compression != "detect":
            return self.compression
        return _CODECS.get(path.lower().rpartition(".")[2])

    def nbytes_of(self, path: str, size: int) -> int:
        """Returns about how many bytes a file of this size is decompressed to."""
        return size if self.codec_of(path) is None else size * _GROWTH

    def open(self, filesystem: pa_fs.FileSystem, path: str) -> pa.NativeFile:
        """Opens a file."""
        return filesystem.open_input_stream(
            path, compression=self.codec_of(path), buffer_size=self.buffer_size
        )

    def require_not_empty(self, listing: Listing) -> None:
        """Refuses compressed files of 0 bytes, which Arrow takes for ones of nothing.

        Raises:
            ReadError: One is.
        """
        for file in listing.files:
            if file.size == 0 and self.codec_of(file.path) is not None:
                raise ReadError(
                    "this file is empty (0 bytes), and a compressed one is not", file=file.path
                )


# Arrow's gzip reads zlib as well, and tells when either is cut or damaged.
_CODECS = {
    **dict.fromkeys(["gz", "tgz", "zlib", "zz"], "gzip"),
    **dict.fromkeys(["bz2", "tbz2"], "bz2"),
    **dict.fromkeys(["zst", "tzst"], "zstd"),
    **{"lz4": "lz4", "br": "brotli"},
}
_CHOICES = ("detect", "gzip", "bz2", "brotli", "lz4", "zstd")
# Of pictures less, of numbers more.
_GROWTH = 3
