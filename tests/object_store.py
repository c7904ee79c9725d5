"""An object store for tests: a server on this machine, which is ended with the session."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow.fs as pa_fs


@contextmanager
def running() -> Iterator[str]:
    """Starts the server and makes the bucket "bucket"; gives the options of its addresses."""
    with serving() as place:
        filesystem = pa_fs.S3FileSystem(
            access_key="key",
            secret_key="secret",
            endpoint_override=place,
            scheme="http",
            allow_bucket_creation=True,
        )
        filesystem.create_dir("bucket")
        yield f"endpoint_override={place}&scheme=http"


@contextmanager
def serving(**environment: str) -> Iterator[str]:
    """Starts the server; gives its host and port."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )
    reader = threading.Thread(target=_read, args=(server.stdout,), daemon=True)
    try:
        place = _place_of(server)
        reader.start()
        yield place
    finally:
        server.terminate()
        server.wait()
        if reader.ident is not None:
            reader.join()
        server.stdout.close()


def _read(lines: Iterable[str]) -> None:
    """Reads what the server says of each request: it waits once the pipe is full."""
    for _ in lines:
        pass


def _place_of(server: subprocess.Popen[str]) -> str:
    lines = []
    for line in server.stdout:
        lines.append(line)
        found = re.search(r"http://(127\.0\.0\.1:\d+)", line)
        if found:
            return found[1]
    raise RuntimeError("the object store did not start: " + "".join(lines))
