"""Files behind addresses of http and https: each is known by itself; none is listed or written.

Owns requests and what their answers say of a file. `stores` repeats them. Must not know what is in
files. Names and passwords before a host, and signatures after a path, stay in here: paths are
addresses without them.
"""

from __future__ import annotations

import base64
import http.client
import re
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import ArgumentError
from millstream.io.secrets import is_secret

SCHEMES = ("http", "https")


def web_files(addresses: Sequence[str]) -> tuple[pa_fs.FileSystem, list[str]]:
    """Makes a file system of the files at some addresses; returns it and their paths there."""
    names = [web_name(address) for address in addresses]
    return pa_fs.PyFileSystem(WebFiles(dict(zip(names, addresses, strict=True)))), names


def web_name(address: str) -> str:
    """Returns an address without what is secret in it."""
    parts = urllib.parse.urlsplit(address)
    shown = [part for part in parts.query.split("&") if not is_secret(part.partition("=")[0])]
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "&".join(shown), ""))


class WebError(OSError):
    """A server refuses.

    Args:
        status: The HTTP status.
        name: What it was asked for.
    """

    def __init__(self, status: int, name: str) -> None:
        super().__init__(f"HTTP {status} for {name}")
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        return WebError, (self.status, str(self).partition(" for ")[2])


@dataclass(frozen=True)
class WebFiles(pa_fs.FileSystemHandler):  # type: ignore[misc]
    """Files of the web.

    Args:
        addresses: The whole address of each path.
    """

    addresses: Mapping[str, str] = field(repr=False)

    def get_type_name(self) -> str:
        """What they are called."""
        return "web"

    def normalize_path(self, path: str) -> str:
        """The same."""
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[pa_fs.FileInfo]:
        """Asks for the first byte of each file, which tells its size."""
        return [self._info(path) for path in paths]

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Opens a file."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Opens a file."""
        return pa.PythonFile(_WebFile(self.addresses.get(path, path), path), mode="r")

    def get_file_info_selector(self, selector: pa_fs.FileSelector) -> NoReturn:
        """There are no folders."""
        raise OSError(f"{selector.base_dir} cannot be listed: {_ONE_BY_ONE}")

    def create_dir(self, path: str, recursive: bool) -> NoReturn:
        """Nothing is written."""
        _refuse(path)

    def delete_dir(self, path: str) -> NoReturn:
        """Nothing is written."""
        _refuse(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> NoReturn:
        """Nothing is written."""
        _refuse(path)

    def delete_root_dir_contents(self) -> NoReturn:
        """Nothing is written."""
        _refuse("/")

    def delete_file(self, path: str) -> NoReturn:
        """Nothing is written."""
        _refuse(path)

    def move(self, src: str, dest: str) -> NoReturn:
        """Nothing is written."""
        _refuse(dest)

    def copy_file(self, src: str, dest: str) -> NoReturn:
        """Nothing is written."""
        _refuse(dest)

    def open_output_stream(self, path: str, metadata: Any) -> NoReturn:
        """Nothing is written."""
        _refuse(path)

    def open_append_stream(self, path: str, metadata: Any) -> NoReturn:
        """Nothing is written."""
        _refuse(path)

    def _info(self, path: str) -> pa_fs.FileInfo:
        if not urllib.parse.urlsplit(path).hostname:
            # What is above all hosts, for who looks for the folder of a file.
            return pa_fs.FileInfo(path, pa_fs.FileType.Directory)
        try:
            with _WebFile(self.addresses.get(path, path), path) as file:
                return pa_fs.FileInfo(path, pa_fs.FileType.File, size=file.size)
        except FileNotFoundError:
            if re.search(r"[*\[]", path):
                message = f"there is no {path}, and patterns are not looked for: {_ONE_BY_ONE}"
                raise ArgumentError(message) from None
            return pa_fs.FileInfo(path, pa_fs.FileType.NotFound)


class _WebFile:
    """A file of the web that is read.

    Args:
        address: Its whole address.
        name: What it is called in messages.

    Raises:
        FileNotFoundError: There is none.
        PermissionError: Who asks may not.
        WebError: The server refuses otherwise.
    """

    def __init__(self, address: str, name: str) -> None:
        self.closed = False
        self.size = 0
        self._address = address
        self._name = name
        self._position = 0
        self._version: str | None = None
        # From a server that sends no parts all of it is taken, when it is first needed.
        self._is_divided = True
        self._whole: IO[bytes] | None = None
        self._look()

    def __enter__(self) -> _WebFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """Reads from the position on."""
        left = max(0, self.size - self._position)
        size = left if size is None or size < 0 else min(size, left)
        data = self._read(size) if size else b""
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a position."""
        self._position = offset + (0, self._position, self.size)[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Lets it go."""
        self.closed = True
        if self._whole is not None:
            self._whole.close()
            self._whole = None

    def _look(self) -> None:
        """Finds the size, and whether the server sends parts."""
        with _answer(self._address, self._name, (0, 0)) as answer:
            self._version = _version_of(answer)
            total = _TOTAL.search(answer.headers.get("Content-Range", ""))
            if answer.status in (_PART, _NO_SUCH_PART) and total is not None:
                self.size = int(total[1])
                return
            length = answer.headers.get("Content-Length")
            if answer.status == _ALL and length is not None:
                self.size, self._is_divided = int(length), False
                return
            # Who does not know the size has to see all of it.
            self._take(answer, None)

    def _read(self, size: int) -> bytes:
        if not self._is_divided and self._whole is None:
            with _answer(self._address, self._name, None) as answer:
                self._require_same(answer)
                self._take(answer, self.size)
        if self._whole is not None:
            self._whole.seek(self._position)
            return self._whole.read(size)
        last = self._position + size - 1
        with _answer(self._address, self._name, (self._position, last)) as answer:
            self._require_same(answer)
            if answer.status != _PART:
                raise OSError(f"the server sent no part of {self._name}, but HTTP {answer.status}")
            begin = _BEGIN.match(answer.headers.get("Content-Range", ""))
            if begin is None or int(begin[1]) != self._position:
                raise OSError(f"the server sent another part of {self._name} than was asked for")
            # What is there of a part that breaks off counts.
            return answer.read(size)

    def _take(self, answer: http.client.HTTPResponse, size: int | None) -> None:
        """Takes a whole file onto this disk."""
        whole: IO[bytes] = tempfile.SpooledTemporaryFile(_HELD_BYTES)  # noqa: SIM115
        shutil.copyfileobj(answer, whole, _COPIED_BYTES)
        found = whole.tell()
        if size is not None and found != size:
            whole.close()
            raise ConnectionError(f"{found} of {size} bytes came")
        self.size, self._whole = found, whole

    def _require_same(self, answer: http.client.HTTPResponse) -> None:
        if _version_of(answer) != self._version:
            raise OSError(f"{self._name} has changed while it was read")


def _answer(address: str, name: str, part: tuple[int, int] | None) -> http.client.HTTPResponse:
    """Asks for a file, or a part of it from one byte to another."""
    parts = urllib.parse.urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    # Addresses may be written as people do, with spaces.
    path = urllib.parse.quote(parts.path, safe=_WRITTEN)
    query = urllib.parse.quote(parts.query, safe=_WRITTEN)
    request = urllib.request.Request(  # noqa: S310 - the openers know http and https only
        urllib.parse.urlunsplit((parts.scheme, host, path or "/", query, "")),
        headers={"Accept-Encoding": "identity", "User-Agent": "millstream"},
    )
    if part is not None:
        request.add_header("Range", f"bytes={part[0]}-{part[1]}")
    if user:
        secret = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        # It is for this host, not for one that it sends us on to.
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    try:
        answer: http.client.HTTPResponse = _opener().open(request, timeout=_SILENCE_MAX_S)
    except urllib.error.HTTPError as error:
        if error.code == _NO_SUCH_PART and _TOTAL.search(error.headers.get("Content-Range", "")):
            return error  # type: ignore[return-value]
        error.close()
        if error.code in (404, 410):
            raise FileNotFoundError(f"HTTP {error.code} for {name}") from None
        if error.code in (401, 403):
            raise PermissionError(f"HTTP {error.code} for {name}") from None
        raise WebError(error.code, name) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, Exception):
            raise error.reason from None
        raise OSError(f"{error.reason} for {name}") from None
    return answer


def _opener() -> urllib.request.OpenerDirector:
    """Makes what asks; a redirection leads nowhere but to the web."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _version_of(answer: http.client.HTTPResponse) -> str | None:
    found: str | None = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    return found


def _refuse(path: str) -> NoReturn:
    raise OSError(
        f"nothing is written to {path}: write to a folder of a disk or of an object store"
    )


_ALL, _PART, _NO_SUCH_PART = 200, 206, 416
_ONE_BY_ONE = "give the address of each file, in a list"
_TOTAL = re.compile(r"/(\d+)$")
_BEGIN = re.compile(r"bytes (\d+)-")
_WRITTEN = "%/:=&?~+!$,;'@()*[]"
_SILENCE_MAX_S = 30.0
_HELD_BYTES = 8 << 20
_COPIED_BYTES = 1 << 20
