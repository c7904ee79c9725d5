"""Object stores and the web: what is written comes back, what is refused is told, no secrets."""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import fsspec.implementations.memory
import numpy as np
import object_store
import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest
from fsspec.registry import known_implementations

import millstream as ms
from millstream.errors import ArgumentError, MissingPackageError, ReadError, WriteError
from millstream.io.addresses import name_of, resolve
from millstream.io.retries import Retries, Threads
from millstream.io.secrets import without_secrets
from millstream.io.stores import plain, retried

# S3 -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def options():
    with object_store.running() as options:
        yield options


@pytest.fixture
def s3(options, request):
    folder = request.node.name.replace("[", "-").replace("]", "")
    return lambda path: f"s3://key:hunter2@bucket/{folder}/{path}?{options}"


def place_of(options):
    return options.split("=")[1].split("&")[0]


ROWS = [{"id": n, "name": None if n % 7 == 0 else f"nämé {n}"} for n in range(500)]


@pytest.mark.parametrize("format", ["parquet", "csv", "json", "arrow", "orc"])
def test_rows_come_back_from_an_object_store(s3, format):
    address = s3("a folder/with ünï #1")
    getattr(ms.from_items(ROWS), f"write_{format}")(address)
    assert getattr(ms, f"read_{format}")(address).take_all() == ROWS


def test_a_large_file_goes_and_comes_in_parts(s3):
    random = np.random.default_rng(1)
    table = pa.table({"x": random.random(2_000_000)})
    ms.from_arrow(table, override_num_blocks=1).write_parquet(s3("large"), max_rows_per_file=10**9)
    filesystem, (path,) = resolve([s3("large")])
    (info,) = filesystem.get_file_info(pa_fs.FileSelector(path))
    assert info.size > 3 * 5 * 1024**2
    found = pa.table(ms.read_parquet(s3("large")))
    assert found["x"].to_numpy().sum() == table["x"].to_numpy().sum()
    with filesystem.open_output_stream(f"{path}-staged") as stream:
        stream.write(b"x" * 12_000_000)
    # A move makes one part of it again.
    tag = plain(filesystem).open_input_file(f"{path}-staged").metadata()["ETag"]
    assert int(tag.decode().strip('"').rpartition("-")[2]) > 1


def test_thousands_of_keys_are_listed_and_none_is_left_out(s3, options):
    path, count = name_of(s3("many")), 1200
    connection = http.client.HTTPConnection(place_of(options))
    for number in range(count):
        connection.request("PUT", f"/{path}/{number % 2}/{number:04}.txt", b"%d\n" % number)
        connection.getresponse().read()
    connection.close()
    for pattern, found in (("", count), ("/1/*[05].txt", count // 10), ("/**/11??.txt", 100)):
        files = ms.read_text(s3(f"many{pattern}")).input_files()
        assert len(set(files)) == len(files) == found


def test_modes_are_those_of_a_disk(s3):
    address = s3("rows")
    ds = ms.from_items([{"a": 1}])
    ds.write_parquet(address, mode="error")
    with pytest.raises(WriteError, match="has data already"):
        ds.write_parquet(address, mode="error")
    ds.write_parquet(address, mode="ignore")
    assert ms.read_parquet(address).count() == 1
    ds.write_parquet(address)
    assert ms.read_parquet(address).count() == 2
    ms.from_items([{"a": 5}]).write_parquet(address, mode="overwrite")
    assert ms.read_parquet(address).take_all() == [{"a": 5}]


def test_a_write_that_fails_leaves_nothing(s3):
    ms.from_items([{"a": 1}]).write_parquet(s3("rows"))

    def fail(row):
        raise ValueError("no")

    with pytest.raises(ms.UserCodeError):
        ms.range(5).map(fail).write_parquet(s3("rows"), mode="overwrite")
    filesystem, (path,) = resolve([s3("rows")])
    found = filesystem.get_file_info(pa_fs.FileSelector(path, recursive=True))
    assert [info.path.endswith(".parquet") for info in found] == [True]


def test_a_missing_key_and_a_missing_bucket_are_named(s3, options):
    with pytest.raises(ReadError, match="no such file or folder") as caught:
        ms.read_csv(s3("nope.csv"))
    assert caught.value.file.endswith("nope.csv")
    missing = f"s3://key:hunter2@nobucket/x?{options}"
    with pytest.raises(ReadError, match="nobucket/x") as caught:
        ms.read_csv(missing)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(WriteError, match="nobucket") as caught:
        ms.range(1).write_csv(missing)
    assert "hunter2" not in str(caught.value)


def test_wrong_credentials_are_an_error_at_once():
    with object_store.serving(INITIAL_NO_AUTH_ACTION_COUNT="0") as place:
        address = f"s3://wrong:hunter2@bucket/x?endpoint_override={place}&scheme=http"
        with pytest.raises(ReadError, match=r"ACCESS|Access") as caught:
            ms.read_csv(address)
        assert "hunter2" not in str(caught.value)
        with pytest.raises(WriteError) as caught:
            ms.range(1).write_csv(address)
        assert "hunter2" not in str(caught.value)


def test_credentials_and_the_place_come_from_the_environment(options, monkeypatch, s3):
    ms.from_items(ROWS).write_csv(s3("x"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://" + place_of(options))
    path = name_of(s3("x"))
    for scheme in ("s3", "S3", "s3a", "s3n"):
        assert ms.read_csv(f"{scheme}://{path}?region=us-east-1").count() == len(ROWS)


def test_a_file_system_of_arrow_is_taken_with_addresses_and_without(s3, options):
    ms.from_items(ROWS).write_csv(s3("x"))
    place = place_of(options)
    filesystem = pa_fs.S3FileSystem(
        access_key="key", secret_key="hunter2", endpoint_override=place, scheme="http"
    )
    path = name_of(s3("x"))
    for given in (path, f"s3://{path}"):
        assert ms.read_csv(given, filesystem=filesystem).count() == len(ROWS)
    below = pa_fs.SubTreeFileSystem(path.rpartition("/")[0], filesystem)
    assert ms.read_csv("x", filesystem=below).count() == len(ROWS)


def test_faults_of_the_connection_pass(s3, options):
    ms.from_items(ROWS).write_parquet(s3("x"))
    place = place_of(options)
    with Proxy(place) as proxy:
        address = s3("x").replace(place, proxy.place)
        for faults in ([503, 500, 503, 503], ["cut"], ["drop"]):
            proxy.faults = list(faults)
            assert ms.read_parquet(address).take_all() == ROWS
            assert proxy.faults == []
        proxy.faults = [403] * 100
        with pytest.raises(ReadError, match="ACCESS_DENIED"):
            ms.read_parquet(address).take_all()
        assert len(proxy.faults) > 90


def test_errors_of_the_users_choice_pass_too(s3, options):
    ms.from_items(ROWS).write_parquet(s3("x"))

    class Instant(Threads):
        def sleep(self, seconds):
            pass

    with Proxy(place_of(options)) as proxy:
        filesystem, (path,) = resolve([s3("x").replace(place_of(options), proxy.place)])
        chosen = Retries(texts=("ACCESS_DENIED",), clock=Instant())
        filesystem = retried(plain(filesystem), chosen)
        proxy.faults = [403] * 3
        assert ms.read_parquet(path, filesystem=filesystem).take_all() == ROWS
        assert proxy.faults == []


class Proxy:
    """Hands requests on; GETs meet the faults, one each: a status, "cut" or "drop"."""

    def __init__(self, place):
        host, port = place.split(":")
        self.target = (host, int(port))
        self.faults = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(client,), daemon=True)
            thread.start()

    def serve(self, client):
        """Serves one request, as connections are not kept."""
        with client, socket.create_connection(self.target) as server:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(1 << 16)
                if not data:
                    return
                head += data
            fault = self.faults.pop(0) if head.startswith(b"GET") and self.faults else None
            if fault == "drop":
                return
            if isinstance(fault, int):
                lines = f"HTTP/1.1 {fault} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                client.sendall(lines.encode())
                return
            server.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            answer = b""
            while data := server.recv(1 << 16):
                answer += data
            client.sendall(answer[: len(answer) // 2] if fault == "cut" else answer)


# The web ------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.files, self.seen, self.faults = {}, [], []
        self.is_ranged, self.tells_size, self.secret = True, True, None

    def url(self, path, user=""):
        return f"http://{user}127.0.0.1:{self.server_port}/{path}"


@contextmanager
def serving(handler):
    with Server(handler) as made:
        thread = threading.Thread(
            target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


class Files(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, path = self.server, self.path.partition("?")[0]
        self.close_connection = True
        server.seen.append((self.path, self.headers.get("Range"), self.headers["Authorization"]))
        fault = server.faults.pop(0) if server.faults else None
        if fault == "drop":
            return
        status = fault if isinstance(fault, int) else 200
        if server.secret and self.headers["Authorization"] != server.secret:
            status = 401
        data = server.files.get(path)
        if isinstance(data, str):
            self.send_response(302)
            self.send_header("Location", data)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if status == 200 and data is None:
            status = 404
        if status != 200:
            self.send_error(status)
            return
        self.answer(data, fault)

    def answer(self, data, fault):
        tag, total = f'"{hash(data)}"', len(data)
        asked = self.headers.get("Range")
        if asked and self.server.is_ranged:
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            if first >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        if self.server.tells_size:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(Files) as made:
        yield made


@pytest.fixture
def parquet(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "x.parquet", row_group_size=100)
    return (tmp_path / "x.parquet").read_bytes()


@pytest.mark.parametrize("is_ranged", [True, False], ids=["parts", "whole"])
@pytest.mark.parametrize("tells_size", [True, False], ids=["size", "no size"])
def test_files_of_the_web_are_read(server, parquet, is_ranged, tells_size):
    server.is_ranged, server.tells_size = is_ranged, tells_size
    server.files = {"/a/x.parquet": parquet, "/b/y.csv.gz": gzip.compress(b"a,b\n1,x\n")}
    assert ms.read_parquet(server.url("a/x.parquet")).take_all() == ROWS
    assert ms.read_csv(server.url("b/y.csv.gz")).take_all() == [{"a": 1, "b": "x"}]
    ds = ms.read_binary_files([server.url("b/y.csv.gz")] * 2, include_paths=True)
    assert [row["path"] for row in ds.take_all()] == [server.url("b/y.csv.gz")] * 2


def test_the_server_of_python_will_do(tmp_path, parquet):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    (tmp_path / "a b.parquet").write_bytes(parquet)
    handler = lambda *args: Quiet(*args, directory=str(tmp_path))  # noqa: E731
    with serving(handler) as made:
        for name in ("a%20b.parquet", "a b.parquet"):
            assert ms.read_parquet(made.url(name)).take_all() == ROWS


def test_an_empty_file_of_the_web_is_empty(server):
    server.files = {"/e.txt": b"", "/n.txt": b"a\n"}
    assert ms.read_text([server.url("e.txt"), server.url("n.txt")]).count() == 1
    with pytest.raises(ReadError, match="empty"):
        ms.read_parquet(server.url("e.txt"), file_extensions=None)


def test_files_of_several_hosts_are_read_together(server):
    server.files = {"/n.txt": b"a\n"}
    other = server.url("n.txt").replace("127.0.0.1", "localhost")
    assert ms.read_text([server.url("n.txt"), other]).count() == 2


def test_what_the_web_lacks_or_refuses_is_named_and_asked_for_once(server):
    with pytest.raises(ReadError, match="no such file") as caught:
        ms.read_text(server.url("nope.txt"))
    assert caught.value.file == server.url("nope.txt")
    for status in (401, 403):
        server.faults, server.seen = [status], []
        with pytest.raises(ReadError, match=f"HTTP {status}"):
            ms.read_text(server.url("x.txt"))
        assert len(server.seen) == 1
    server.files = {"/n.txt": b"a\n"}
    paths = [server.url("n.txt"), server.url("gone.txt?a=1")]
    assert ms.read_text(paths, ignore_missing_paths=True).count() == 1


@pytest.mark.parametrize("pattern", ["*.txt", "**/x.txt", "[ab].txt"])
def test_patterns_of_the_web_are_refused(server, pattern):
    with pytest.raises(ArgumentError, match="give the address of each file"):
        ms.read_text(server.url(pattern))


def test_nothing_is_written_to_the_web(server):
    with pytest.raises(WriteError, match="nothing is written to"):
        ms.range(1).write_csv(server.url("out"))


def test_faults_of_the_web_pass(server, parquet):
    server.files = {"/x.parquet": parquet}

    class Instant(Threads):
        def sleep(self, seconds):
            pass

    for is_ranged in (True, False):
        server.is_ranged = is_ranged
        filesystem, (path,) = resolve([server.url("x.parquet")])
        filesystem = retried(plain(filesystem), Retries(clock=Instant()))
        server.faults = [503, None, "drop", 429, None, 500, "cut", None, "cut", 502]
        assert ms.read_parquet(path, filesystem=filesystem).take_all() == ROWS
        assert server.faults == []


def test_a_file_of_the_web_that_changes_meanwhile_is_an_error(server):
    server.files = {"/x": b"x" * 1_000_000}
    filesystem, (path,) = resolve([server.url("x")])
    with filesystem.open_input_file(path) as file:
        file.read(10)
        server.files = {"/x": b"y" * 1_000_000}
        with pytest.raises(OSError, match="has changed while it was read"):
            file.read_at(10, 900_000)


def test_passwords_and_signatures_go_to_the_server_and_nowhere_else(server, caplog):
    server.files = {"/x.txt": b"a\n", "/to": server.url("x.txt").replace("127.0.0.1", "localhost")}
    server.secret = "Basic bWU6aHVudGVyMg=="
    address = server.url("x.txt?X-Amz-Signature=hunter2&v=1", user="me:hunter2@")
    ds = ms.read_text(address, include_paths=True)
    assert ds.take_all() == [{"text": "a", "path": server.url("x.txt?v=1")}]
    assert server.seen[0][0] == "/x.txt?X-Amz-Signature=hunter2&v=1"
    shown = [repr(ds), ds.explain(), str(ds.input_files()), repr(resolve([address])[0].handler)]
    server.secret = "other"
    for run in (ds.take_all, lambda: ms.read_text(server.url("no.txt?sig=hunter2", "me:hunter2@"))):
        with pytest.raises(ReadError) as caught:
            run()
        shown.append(str(caught.value))
    assert "hunter2" not in "".join(map(str, shown)) + caplog.text
    # Where it is sent on to, another host must not learn the password.
    server.secret, server.seen = None, []
    ms.read_text(server.url("to", user="me:hunter2@"), file_extensions=None)
    assert [seen[2] is not None for seen in server.seen[:2]] == [True, False]


# Others -------------------------------------------------------------------------------------


def test_any_file_system_of_fsspec_is_found_by_its_scheme():
    class Kept(fsspec.implementations.memory.MemoryFileSystem):
        protocol = "kept"
        store, pseudo_dirs = {}, [""]

    fsspec.register_implementation("kept", Kept, clobber=True)
    ms.from_items(ROWS).write_parquet("kept://there/rows")
    assert ms.read_parquet("kept://there/rows/*.parquet").take_all() == ROWS
    assert ms.read_parquet("kept://there").take_all() == ROWS
    ms.from_items(ROWS[:5]).write_csv("kept://there/rows", mode="overwrite")
    assert ms.read_csv("kept://there/rows").count() == 5
    assert not [name for name in Kept.store if "millstream" in name]


def test_what_another_program_adds_is_seen():
    class Caching(fsspec.implementations.memory.MemoryFileSystem):
        protocol = "caching"
        store, pseudo_dirs, known = {}, [""], {}
        find = fsspec.AbstractFileSystem.find

        def ls(self, path, detail=True, **how):
            if path not in self.known:
                self.known[path] = super().ls(path, detail=detail, **how)
            return self.known[path]

        def invalidate_cache(self, path=None):
            self.known.clear()

    store = Caching()
    for count in (1, 2):
        store.pipe(f"/d/{count}.txt", b"x\n")
        assert ms.read_text("/d", filesystem=store).count() == count


def test_a_package_that_a_scheme_needs_is_named(monkeypatch):
    known = {"class": "nothing.Here", "err": "install nothing-fs"}
    monkeypatch.setitem(known_implementations, "absent", known)
    with pytest.raises(MissingPackageError, match="nothing-fs"):
        ms.read_csv("absent://x/y.csv")


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:hunter2@bucket/x?nonsense=1",
        "s3://key:hun/ter2hunter2@bucket/x?region=eu-west-1&nonsense=1",
        "abfss://c@account.dfs.core.windows.net/x?account_key=hunter2&nonsense=1",
        "nonsense://me:hunter2@host/x",
    ],
)
def test_a_wrong_address_is_told_without_its_secrets(address):
    with pytest.raises((ArgumentError, ReadError)) as caught:
        ms.read_csv(address)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_secrets_of_addresses_are_known_by_their_names():
    for text in ("https://h/x?X-Amz-Credential=S3cret", "https://h/x?a=1&sig=S3cret&b=2"):
        assert "S3cret" not in without_secrets(text)
    assert without_secrets("https://h/x?design=1&key_2=x") == "https://h/x?design=1&key_2=x"
    assert os.sep == "/" or name_of("https://me:x@h/y?sig=z&v=1") == "https://h/y?v=1"
