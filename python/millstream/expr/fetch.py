"""What expressions do with addresses of files: `col("url").url.download()`.

Owns `Expr.url`, and how many files are fetched at a time, for how long. `millstream.io` knows file
systems, the web, and what is tried again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millstream.blocks.common_type import is_text
from millstream.errors import MillstreamError, MissingPackageError
from millstream.errors.checks import check_count, is_number, require
from millstream.expr.nodes import Expr
from millstream.expr.rows import OnError, RowError, check_on_error, in_words
from millstream.expr.udf import Function, Udf


class Urls:
    """Addresses of files.

    Args:
        expr: What gives them.
    """

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def download(
        self,
        *,
        timeout: float | None = 60.0,
        on_error: OnError = "raise",
        max_connections: int = 16,
        filesystem: Any = None,
    ) -> Expr:
        """The bytes of the files at addresses: of the web, of object stores, of disks.

        What fails for a moment is tried again, as when files are read. Passwords and signatures in
        addresses are not shown in errors.

        Args:
            timeout: How many seconds one file may take, all attempts together; `None`: any.
            on_error: `"raise"`: a file that cannot be fetched ends the run with an error that names
                the row and the address. `"null"`: it is null.
            max_connections: How many files a task fetches at a time.
            filesystem: A file system of pyarrow or fsspec that the addresses are on; by default
                each address says it.

        Raises:
            ArgumentError: An argument makes no sense.
        """
        is_time = is_number(timeout) and timeout is not None and timeout > 0
        wanted = "a number of seconds above 0, or None"
        require(timeout is None or is_time, "timeout", timeout, wanted)
        check_on_error(on_error)
        check_count("max_connections", max_connections, optional=False)
        if filesystem is not None:
            from millstream.io.addresses import as_arrow

            filesystem = as_arrow(filesystem)
        told = repr(self._expr)
        download = Download(told, timeout, on_error, max_connections, filesystem)
        function = Function(download, pa.large_binary(), takes=download.check, is_large=True)
        return Udf(function, [self._expr], {})


@dataclass(frozen=True)
class Download:
    """Fetches files.

    Args:
        told: What gives the addresses, for errors.
        timeout: See `Urls.download`.
        on_error: See `Urls.download`.
        max_connections: See `Urls.download`.
        filesystem: See `Urls.download`.
    """

    told: str
    timeout: float | None
    on_error: OnError
    max_connections: int
    filesystem: Any = None
    __name__ = "download"

    def check(self, type: pa.DataType) -> None:
        """Checks the type of the addresses.

        Raises:
            TypeError: It is no text.
        """
        if not is_text(type) and not pa.types.is_null(type):
            raise TypeError(f"{type} is no address: it must be text")

    def __call__(self, addresses: pa.Array) -> pa.Array:
        """The bytes of each file."""
        asked = addresses.to_pylist()
        found: list[bytes | None] = []
        for row, (address, answer) in enumerate(zip(asked, self._answers(asked), strict=True)):
            if isinstance(answer, bytes) or answer is None:
                found.append(answer)
            elif self.on_error == "null":
                found.append(None)
            else:
                raise self._row_error(row, address, answer) from None
        return pa.array(found, pa.large_binary())

    def _answers(self, addresses: list[str | None]) -> Iterator[bytes | Exception | None]:
        workers = min(self.max_connections, max(1, len(addresses)))
        pool = ThreadPoolExecutor(workers, thread_name_prefix="millstream-download")
        try:
            yield from pool.map(self._answer, addresses)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, address: str | None) -> bytes | Exception | None:
        from millstream.io.retries import Threads

        try:
            if address is None:
                return None
            if self.timeout is None:
                return self._fetched(address)
            return Threads().answer_within(self.timeout, lambda: self._fetched(address))
        except MissingPackageError:
            # It would be missing for all of them.
            raise
        except (MillstreamError, OSError, ValueError, pa.ArrowException) as error:
            return error

    def _fetched(self, address: str) -> bytes:
        from millstream.io.addresses import resolve
        from millstream.io.files import open_file

        if not address:
            raise ValueError("it is empty")
        if self.filesystem is None and "://" not in address and not os.path.isabs(address):
            raise ValueError("it is a relative path, which each machine would look for elsewhere")
        filesystem, (name,) = resolve([address], self.filesystem)
        with open_file(filesystem, name) as file:
            size, data = file.size(), file.read()
        if len(data) != size:
            raise OSError(f"{len(data)} of {size} bytes came")
        return bytes(data)

    def _row_error(self, row: int, address: str, error: Exception) -> RowError:
        from millstream.io.secrets import without_secrets, without_user

        shown = without_user(address) if "://" in address else address
        why = error.message if isinstance(error, MillstreamError) else in_words(error)
        why = without_secrets(why).replace(address, shown)
        return RowError(row, f"cannot download {shown!r} of {self.told}: {why}")
