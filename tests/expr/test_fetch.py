"""Addresses become the bytes of files of the web, disks and memory, or an error names them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import fsspec
import pyarrow as pa
import pyarrow.fs as pa_fs
import pytest

from millstream.errors import ArgumentError, SchemaError, UserCodeError
from millstream.expr.program import Opened, Program
from millstream.expressions import col, download
from millstream.io import retries

URL = col("url")


class Site(BaseHTTPRequestHandler):
    """A few pages, of which some are broken."""

    protocol_version = "HTTP/1.1"
    is_over = threading.Event()
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.asked.append(self.path)
        if path == "/silent":
            self.is_over.wait(20)
        if path in ("/missing", "/silent"):
            self.send_error(404)
        elif path == "/cut":
            self._answer(b"half", length=8)
            self.close_connection = True
        elif path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/page/moved")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._answer(path.encode() * 1000)

    def _answer(self, body, length=None):
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site(monkeypatch):
    # What is tried again is tested where it is made.
    monkeypatch.setattr(retries.Retries, "current", classmethod(lambda cls: cls(attempts=1)))
    Site.is_over.clear()
    Site.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Site.is_over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(urls, **options):
    table = pa.table({"url": pa.array(urls, pa.string())})
    (made,) = Opened([URL.url.download(**options)]).columns(table)
    assert made.type == pa.large_binary()
    return made.to_pylist()


def test_pages_come_in_the_order_of_their_rows(site):
    urls = [f"{site}/page/{number}" for number in range(20)]
    wanted = [f"/page/{number}".encode() * 1000 for number in range(20)]
    assert fetched([*urls, None], max_connections=3) == [*wanted, None]
    assert fetched([f"{site}/moved"]) == [b"/page/moved" * 1000]
    assert fetched([]) == []


def test_files_of_disks_and_of_memory(tmp_path):
    (tmp_path / "a b.txt").write_bytes(b"disk")
    fsspec.filesystem("memory").pipe("/fetch/x", b"memory")
    path = str(tmp_path / "a b.txt")
    found = fetched([path, (tmp_path / "a b.txt").as_uri(), "memory://fetch/x"])
    assert found == [b"disk", b"disk", b"memory"]
    inside = pa_fs.SubTreeFileSystem(str(tmp_path), pa_fs.LocalFileSystem())
    assert fetched(["a b.txt"], filesystem=inside) == [b"disk"]
    assert fetched(["fetch/x"], filesystem=fsspec.filesystem("memory")) == [b"memory"]


@pytest.mark.parametrize(("path", "told"), [("/missing", "404"), ("/cut", "4 of 8 bytes came")])
def test_what_cannot_be_fetched_names_row_column_and_address(site, path, told):
    urls = [f"{site}/page", f"{site}{path}"]
    with pytest.raises(UserCodeError) as raised:
        fetched(urls)
    message = raised.value.message
    assert message.startswith(f"row 1 of its task: cannot download '{site}{path}' of col('url'): ")
    assert told in message
    assert fetched(urls, on_error="null") == [b"/page" * 1000, None]


def test_a_silent_server_is_left_after_the_time_given(site):
    with pytest.raises(UserCodeError, match=r"/silent.*no answer for 0\.05 s"):
        fetched([f"{site}/silent"], timeout=0.05)
    assert fetched([f"{site}/silent"], timeout=0.05, on_error="null") == [None]


def test_errors_show_no_secrets(site):
    host = site.partition("://")[2]
    url = f"http://me:hunter2@{host}/missing?x-amz-signature=5ecret"
    with pytest.raises(UserCodeError) as raised:
        fetched([url])
    assert "/missing" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "5ecret" not in str(raised.value)
    # The server gets what it needs.
    assert Site.asked == ["/missing?x-amz-signature=5ecret"]


def test_other_problems_are_told_too(tmp_path):
    for url, told in [
        ("x.txt", "relative path"),
        ("", "it is empty"),
        (str(tmp_path), "directory"),
        (str(tmp_path / "gone"), "No such file"),
        ("nope://x/y", "nope"),
    ]:
        with pytest.raises(UserCodeError, match=f"row 0 of its task.*{told}"):
            fetched([url])
        assert fetched([url], on_error="null") == [None]


def test_only_text_is_an_address():
    with pytest.raises(SchemaError, match="int64 is no address"):
        Program([URL.url.download()], pa.schema([("url", pa.int64())]))
    schema = pa.schema([("url", pa.null())])
    assert Program([URL.url.download()], schema).types == [pa.large_binary()]


def test_download_by_ray_datas_name(tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    table = pa.table({"url": [str(tmp_path / "x")]})
    (made,) = Opened([download("url")]).columns(table)
    assert made.to_pylist() == [b"x"]
    assert repr(download("url")) == "download(col('url'))"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout": 0}, "timeout=0 must be a number of seconds above 0"),
        ({"timeout": "1"}, "timeout='1' must be"),
        ({"on_error": "skip"}, "on_error='skip' must be one of"),
        ({"max_connections": 0}, "max_connections=0 must be"),
        ({"filesystem": 1}, "filesystem=1 must be"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, told):
    with pytest.raises(ArgumentError, match=told):
        URL.url.download(**options)
