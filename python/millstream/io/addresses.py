"""From what the user calls a path to a file system, and to what the path is called there.

Owns addresses such as `s3://bucket/data?region=eu-west-1`, and who else can read a file system.
Must not know what is in files, nor list any.

`file://` addresses are percent-decoded, as their standard says. All others are taken as they are
written, since "%" and " " are characters like any others in the keys of object stores.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow.fs as pa_fs

from millstream.errors import ArgumentError, MissingPackageError, ReadError
from millstream.errors.checks import require
from millstream.io import stores, web
from millstream.io.secrets import without_secrets, without_user

Path = str | os.PathLike[str]
Paths = Path | Sequence[Path]


def resolve(paths: Sequence[Path], filesystem: Any = None) -> tuple[pa_fs.FileSystem, list[str]]:
    """Finds the file system of paths, and what they are called there.

    Relative paths are those of the caller's working directory. What fails for a moment on a file
    system that is not on this machine is repeated.

    Raises:
        ArgumentError: A path is none, the scheme is unknown, or the paths are on different file
            systems.
        ReadError: The file system refuses, for instance for lack of credentials.
    """
    texts = [_text(path) for path in paths]
    if filesystem is not None:
        filesystem = as_arrow(filesystem)
        names = [name_on(filesystem, text) for text in texts]
        return stores.retried(filesystem), names
    if all(map(_is_of_web, texts)):
        filesystem, names = web.web_files(texts)
        return stores.retried(filesystem), names
    addresses = [_Address.of(text) for text in texts]
    places = {(address.root, address.options) for address in addresses}
    if len(places) > 1:
        shown = " and ".join(sorted(_shown(root + options) for root, options in places))
        raise ArgumentError(
            f"the paths are on different file systems: {shown}; read each by itself"
        )
    first = addresses[0]
    if not first.root:
        return pa_fs.LocalFileSystem(), [_local(text) for text in texts]
    # Asking for a file system again and again would cost a round trip for each path.
    filesystem, prefix = _open(first)
    names = [(prefix + address.rest).rstrip("/") for address in addresses]
    return stores.retried(filesystem), names


def _text(path: Any) -> str:
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(text, str) or not text:
        wanted = "a string or a pathlib.Path that names a file or a folder ('.': the current one)"
        require(False, "path", path, wanted)
    return str(text)


def as_arrow(filesystem: Any) -> pa_fs.FileSystem:
    """Takes a file system of pyarrow or fsspec.

    Raises:
        ArgumentError: It is neither.
    """
    if isinstance(filesystem, pa_fs.FileSystem):
        return filesystem
    if hasattr(filesystem, "open") and hasattr(filesystem, "protocol"):
        return pa_fs.PyFileSystem(pa_fs.FSSpecHandler(filesystem))
    shown = without_secrets(repr(filesystem))
    raise ArgumentError(f"filesystem={shown} must be a pyarrow.fs.FileSystem or one of fsspec")


def name_on(filesystem: pa_fs.FileSystem, path: str) -> str:
    """Returns what a path, with or without its scheme, is called on a file system."""
    if isinstance(filesystem, pa_fs.LocalFileSystem):
        return _local(path)
    if _is_of_web(path):
        return path
    rest = path.partition("://")[2] if path.startswith("file://") else path
    if _Address.of(path).root:
        return name_of(path)
    return rest.rstrip("/") or rest


def name_of(path: Path) -> str:
    """Returns what a path is called on the file system of its address, which is not asked."""
    text = os.fspath(path)
    if _is_of_web(text):
        return web.web_name(text)
    address = _Address.of(text)
    if not address.root:
        return _local(text)
    name = address.root.partition("://")[2].rpartition("@")[2] + address.rest
    return name.rstrip("/") or name


def is_of_one_process(filesystem: pa_fs.FileSystem) -> bool:
    """Tells whether what is there is in the memory of this process, as in `memory://`."""
    if isinstance(filesystem, pa_fs.SubTreeFileSystem):
        return is_of_one_process(filesystem.base_fs)
    if not isinstance(filesystem, pa_fs.PyFileSystem):
        return str(filesystem.type_name) == "mock"
    return "memory" in stores.protocols_of(filesystem)


@dataclass(frozen=True)
class _Address:
    """An address in its parts.

    Args:
        root: "scheme://host"; "" for the local disk.
        rest: What comes after it.
        options: "?key=value&…" in addresses that pyarrow opens; "" if there are none.
    """

    root: str
    rest: str
    options: str

    @classmethod
    def of(cls, text: str) -> _Address:
        scheme, separator, rest = text.partition("://")
        scheme = _OTHER_NAMES.get(scheme.lower(), scheme.lower())
        if not separator or not _SCHEME.fullmatch(scheme) or scheme in ("file", "local"):
            return cls("", text, "")
        options = _OPTIONS.search(rest) if scheme in _ARROW_SCHEMES else None
        if options is not None:
            rest = rest[: options.start()]
        host, slash, path = rest.partition("/")
        return cls(f"{scheme}://{host}", slash + path, options[0] if options else "")


def _open(address: _Address) -> tuple[pa_fs.FileSystem, str]:
    """Opens the file system of an address; returns it, and what its root is called there."""
    scheme = address.root.partition("://")[0]
    shown = _shown(address.root + address.rest)
    if scheme in _ARROW_SCHEMES:
        with _refusing(shown):
            filesystem, path = pa_fs.FileSystem.from_uri(address.root + address.options)
        if scheme == "s3":
            filesystem = stores.patient_s3(filesystem.__reduce__()[1][0])
        return filesystem, path.rstrip("/")
    try:
        import fsspec
    except ImportError:
        raise MissingPackageError(f"{shown!r} needs fsspec: pip install fsspec") from None
    with _refusing(shown):
        filesystem, path = fsspec.core.url_to_fs(address.root + address.rest)
    rest = address.rest.rstrip("/")
    return as_arrow(filesystem), path.rstrip("/").removesuffix(rest)


def _is_of_web(path: str) -> bool:
    return path.partition("://")[0].lower() in web.SCHEMES and "://" in path


def _local(path: str) -> str:
    scheme, separator, rest = path.partition("://")
    if separator and scheme.lower() == "file":
        host, _, rest = rest.partition("/")
        if host not in ("", "localhost"):
            raise ArgumentError(
                f"{path!r} names a host, {host!r}: a file of this machine is file:///{host}/{rest}"
            )
        path = "/" + unquote(rest, errors="surrogateescape")
    if separator and scheme.lower() == "local":
        path = rest
    return os.path.abspath(os.path.expanduser(path))


def _shown(address: str) -> str:
    return without_user(address) or "the local disk"


@contextmanager
def _refusing(shown: str) -> Iterator[None]:
    """Turns the errors of file systems that cannot be opened into ours.

    Their causes are left out: they may show the address, and what is secret in it.

    Raises:
        ArgumentError: The address is odd.
        ReadError: The file system refuses.
    """
    try:
        yield
    except OSError as error:
        message = f"the file system refuses: {without_secrets(str(error))}"
        raise ReadError(message, file=shown) from None
    except ImportError as error:
        raise MissingPackageError(f"{shown!r} needs a package: {error}") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        said = without_user(without_secrets(str(error)))
        raise ArgumentError(f"{shown!r} is not a usable address: {said}") from None


#: What Hadoop calls the same.
_OTHER_NAMES = {"s3a": "s3", "s3n": "s3"}
_SCHEME = re.compile("[a-z0-9+-]+")
#: Others are opened by fsspec.
_ARROW_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
# Any other "?" is a wildcard, or a character of a name.
_OPTIONS = re.compile(r"\?\w+=[^&]*(?:&\w+=[^&]*)*$")
