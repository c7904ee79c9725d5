"""Clients of S3 as millstream would use each, through Arrow: pyarrow's own, s3fs, obstore.

Each lists 5,000 keys, reads 200 objects of 100 kB on 16 threads, and reads one of 64 MB, from a
server on this machine that waits 20 ms before each answer. It needs none of millstream: a virtual
environment with pyarrow, s3fs, obstore and moto[server] will do, for s3fs of this year cannot be
installed beside the tests' libraries.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from harness import Benchmark, Numbers

DELAY_S = 0.02
KEYS = 5_000
SMALL, SMALL_BYTES, THREADS = 200, 100_000, 16
LARGE_BYTES = 64_000_000
SECRETS = {"access": "key", "secret": "secret"}


def pyarrow_own(place: str) -> Any:
    """Arrow's client in C++."""
    import pyarrow.fs as pa_fs

    return pa_fs.S3FileSystem(
        access_key=SECRETS["access"],
        secret_key=SECRETS["secret"],
        endpoint_override=place,
        scheme="http",
        region="us-east-1",
    )


def s3fs(place: str) -> Any:
    """The client of fsspec, on aiobotocore."""
    import pyarrow.fs as pa_fs
    import s3fs

    filesystem = s3fs.S3FileSystem(
        key=SECRETS["access"],
        secret=SECRETS["secret"],
        client_kwargs={"endpoint_url": f"http://{place}", "region_name": "us-east-1"},
    )
    return pa_fs.PyFileSystem(pa_fs.FSSpecHandler(filesystem))


def obstore(place: str) -> Any:
    """The client in Rust, through its bridge to fsspec."""
    import pyarrow.fs as pa_fs
    from obstore.fsspec import FsspecStore

    filesystem = FsspecStore(
        "s3",
        config={
            "access_key_id": SECRETS["access"],
            "secret_access_key": SECRETS["secret"],
            "endpoint": f"http://{place}",
            "region": "us-east-1",
            "virtual_hosted_style_request": "false",
        },
        client_options={"allow_http": True},
    )
    return pa_fs.PyFileSystem(pa_fs.FSSpecHandler(filesystem))


def measured(client: Callable[[str], Any]) -> Numbers:
    """Lists and reads, once the client has made its first request."""
    import pyarrow.fs as pa_fs

    with serving() as place:
        filesystem = client(place)
        assert filesystem.get_file_info("bucket/large").size == LARGE_BYTES
        started_s = time.monotonic()
        found = filesystem.get_file_info(pa_fs.FileSelector("bucket/keys", recursive=True))
        list_s = time.monotonic() - started_s
        assert len(found) == KEYS, len(found)

        def read(path: str) -> int:
            with filesystem.open_input_file(path) as file:
                return len(file.read())

        paths = [f"bucket/small/{number:04}" for number in range(SMALL)]
        started_s = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            assert sum(pool.map(read, paths)) == SMALL * SMALL_BYTES
        small_s = time.monotonic() - started_s
        started_s = time.monotonic()
        assert read("bucket/large") == LARGE_BYTES
        large_s = time.monotonic() - started_s
    return {"list": list_s, "small": small_s, "large": large_s}


@contextmanager
def serving() -> Iterator[str]:
    """Runs the server in a process of its own; gives its host and port."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def serve() -> None:
    """Serves the objects until it is ended."""
    from moto.s3.models import s3_backends
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    backend = s3_backends["123456789012"]["aws"]
    backend.create_bucket("bucket", "us-east-1")
    for number in range(KEYS):
        backend.put_object("bucket", f"keys/{number:05}", b"")
    for number in range(SMALL):
        backend.put_object("bucket", f"small/{number:04}", b"x" * SMALL_BYTES)
    backend.put_object("bucket", "large", b"x" * LARGE_BYTES)
    application = DomainDispatcherApplication(create_backend_app)

    def late(environment: Any, start: Any) -> Any:
        time.sleep(DELAY_S)
        return application(environment, start)

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: Any) -> None:
            """Says nothing."""

    server = make_server("127.0.0.1", 0, late, threaded=True, request_handler=Quiet)
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


CLIENTS: dict[str, Callable[[str], Any]] = {
    "pyarrow": pyarrow_own,
    "s3fs": s3fs,
    "obstore": obstore,
}

if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve()
    else:
        if "--child" not in sys.argv:
            names = ("pyarrow", "s3fs", "aiobotocore", "obstore", "fsspec", "moto")
            print(", ".join(f"{name} {version(name)}" for name in names))
        Benchmark(
            name="object_stores",
            contestants={name: partial(measured, client) for name, client in CLIENTS.items()},
            units={"list": "s", "small": "s", "large": "s"},
            pairs=[("obstore", "pyarrow"), ("s3fs", "pyarrow")],
            by="small",
        ).main()
