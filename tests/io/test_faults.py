"""Stores that fail for a moment: all rows come out, or an error that says where it broke off."""

from __future__ import annotations

import errno
import http.client
import io
import pickle
import random
import socket
import threading
from collections import Counter

import av
import fsspec.implementations.memory
import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs
import pytest
from PIL import Image

import millstream as ms
from millstream.errors import ReadError, WriteError
from millstream.io.retries import Retries, StoreError, Threads, is_transient
from millstream.io.stores import RetriedStore, plain, retried


class Instant(Threads):
    """Nobody waits before another attempt."""

    def sleep(self, seconds):
        WAITS.append(seconds)


WAITS = []


HANGS = threading.Event()
RETRIES = Retries(silence_max_s=0.1, clock=Instant())
PATIENT = Retries(clock=Instant())


class Faults:
    """Which calls fail, and how; as a dice says, or as is planned."""

    def __init__(self, seed=None, planned=()):
        self.dice = None if seed is None else random.Random(seed)
        self.planned = list(planned)
        self.met = Counter()
        self.calls = Counter()

    def kind(self):
        if self.planned:
            return self.planned.pop(0)
        if self.dice is None:
            return "none"
        kinds = ("error", "hang", "cut", "none")
        return self.dice.choices(kinds, (10, 1, 10, 79))[0]

    def meet(self, call):
        """Raises, hangs, or says that what is read is to be cut."""
        kind = self.kind()
        self.calls[call] += 1
        self.met[kind] += 1
        if kind == "error":
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if kind == "hang":
            HANGS.wait(60)
        if isinstance(kind, Exception):
            raise kind
        return kind == "cut"


class FaultyFile(io.BytesIO):
    def __init__(self, data, store):
        super().__init__(data)
        self.store = store

    def read(self, size=-1):
        is_cut = self.store.faults.meet("read")
        data = super().read(size)
        return data[: len(data) // 2] if is_cut else data


class FaultyStore(fsspec.implementations.memory.MemoryFileSystem):
    """A store of this process that says that it is elsewhere."""

    protocol = "faulty"
    cachable = False

    def __init__(self, faults):
        super().__init__(skip_instance_cache=True)
        self.store, self.pseudo_dirs = {}, [""]
        self.faults = faults

    def info(self, path, **how):
        self.faults.meet("info")
        return super().info(path, **how)

    find = fsspec.AbstractFileSystem.find

    def ls(self, path, detail=True, **how):
        self.faults.meet("list")
        return super().ls(path, detail=detail, **how)

    def _open(self, path, mode="rb", **how):
        self.faults.meet("open")
        if path not in self.store:
            raise FileNotFoundError(path)
        return FaultyFile(self.store[path].getvalue(), self)

    def pipe_file(self, path, value, **how):
        self.faults.meet("send")
        self.store[path] = fsspec.implementations.memory.MemoryFile(self, path, value)

    def mv(self, src, dest, **how):
        if src not in self.store:
            raise FileNotFoundError(src)
        self.store[dest] = self.store.pop(src)
        # The answer is lost, after the work was done.
        self.faults.meet("move")


@pytest.fixture(scope="module", autouse=True)
def released():
    HANGS.clear()
    yield
    HANGS.set()
    for thread in threading.enumerate():
        if thread.name == "millstream-store":
            thread.join()


@pytest.fixture
def store():
    """A store that nothing is wrong with, so far."""
    return FaultyStore(Faults())


ROWS = [{"id": n, "name": f"the name of {n}", "x": n / 8} for n in range(3000)]


def images(store):
    for number in range(30):
        pixels = np.full((40, 30, 3), number, dtype=np.uint8)
        made = io.BytesIO()
        Image.fromarray(pixels).save(made, "PNG")
        store.pipe(f"/images/{number:02}.png", made.getvalue())


def video(store):
    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            pixels = np.full((48, 64, 3), number * 10, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    store.pipe("/video/v.mp4", made.getvalue())


def avro(store):
    import fastavro

    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": fields})
    rows = [{"id": row["id"], "name": row["name"]} for row in ROWS]
    made = io.BytesIO()
    fastavro.writer(made, schema, rows, sync_interval=4000)
    store.pipe("/avro/a.avro", made.getvalue())


def written(name):
    def make(store):
        how = {"column": "x"} if name == "numpy" else {}
        filesystem = retried(as_arrow(store), RETRIES)
        ds = ms.from_items(ROWS, override_num_blocks=6)
        if name == "webdataset":
            ds = ds.map(lambda row: {"__key__": f"{row['id']:05}", "txt": row["name"]})
        getattr(ds, f"write_{name}")(f"/{name}", filesystem=filesystem, **how)

    return make


def as_arrow(store):
    return pa_fs.PyFileSystem(pa_fs.FSSpecHandler(store))


FORMATS = {
    "parquet": written("parquet"),
    "csv": written("csv"),
    "json": written("json"),
    "text": written("json"),
    "arrow": written("arrow"),
    "orc": written("orc"),
    "numpy": written("numpy"),
    "tfrecords": written("tfrecords"),
    "webdataset": written("webdataset"),
    "avro": avro,
    "images": images,
    "video": video,
    "binary_files": images,
}
FOLDERS = {"text": "json", "binary_files": "images"}


@pytest.mark.parametrize("format", FORMATS)
def test_all_rows_come_out_of_a_store_that_fails_cuts_and_hangs(store, format):
    FORMATS[format](store)
    read, folder = getattr(ms, f"read_{format}"), f"/{FOLDERS.get(format, format)}"
    how = {"file_extensions": None} if format == "text" else {}
    whole = list(map(repr, read(folder, filesystem=as_arrow(store), **how).take_all()))
    store.faults = Faults(seed=format)
    retries = Retries(attempts=12, silence_max_s=0.1, clock=Instant())
    found = read(folder, filesystem=retried(as_arrow(store), retries), **how).take_all()
    assert list(map(repr, found)) == whole
    assert store.faults.met["error"] + store.faults.met["cut"]


@pytest.mark.parametrize("format", ["parquet", "csv", "json", "arrow", "orc", "webdataset"])
def test_all_rows_go_into_a_store_that_fails_and_hangs(store, format):
    store.faults = Faults(seed=format)
    FORMATS[format](store)
    assert store.faults.met["error"]
    store.faults = Faults()
    found = getattr(ms, f"read_{format}")(f"/{format}", filesystem=as_arrow(store))
    assert found.count() == len(ROWS)
    assert not [path for path in store.store if "/.millstream" in path]


def test_a_file_is_sent_whole_again(store):
    filesystem = retried(as_arrow(store), RETRIES)
    store.faults = Faults(planned=["error", "hang", "error"])
    with filesystem.open_output_stream("/f") as stream:
        stream.write(b"first")
        stream.write(b"second")
    assert store.cat("/f") == b"firstsecond"
    assert store.faults.calls["send"] == 4


def test_what_a_stream_of_arrow_takes_is_sent_whole_again():
    sent = []

    class Stream(io.BytesIO):
        def write(self, data):
            if len(sent) < 2:
                sent.append(bytes(data))
                raise ConnectionResetError
            return super().write(data)

        def close(self):
            if not self.closed:
                sent.append(self.getvalue())
            super().close()

    class Streams(RetriedStore):
        def open_output_stream(self, path, metadata):
            return pa.PythonFile(Stream(), mode="w")

    inner = pa_fs.PyFileSystem(Streams(pa_fs.LocalFileSystem()))
    store = pa_fs.PyFileSystem(RetriedStore(inner, PATIENT))
    with store.open_output_stream("/f") as stream:
        stream.write(b"first")
        stream.write(b"second")
    assert sent[-1] == b"firstsecond"


def test_a_folder_that_cannot_be_listed_for_a_moment_is_listed_whole(store):
    for name in ("a/1", "a/2", "b/3"):
        store.pipe(f"/d/{name}", b"1")
    for faults in (
        ["none", "error"],
        ["error"],
        ["none", "none", "error"],
        ["none"] * 3 + ["error"],
    ):
        store.faults = Faults(planned=faults)
        found = retried(as_arrow(store), PATIENT).get_file_info(
            pa_fs.FileSelector("/d", recursive=True)
        )
        assert sorted(info.path for info in found if info.is_file) == ["/d/a/1", "/d/a/2", "/d/b/3"]
        assert store.faults.met["error"]


def test_a_folder_is_deleted_whole(store):
    for name in ("a/1", "a/2", "b/3"):
        store.pipe(f"/d/{name}", b"1")
    store.faults = Faults(seed=5)
    retried(as_arrow(store), RETRIES).delete_dir("/d")
    assert store.store == {}


def test_a_move_whose_answer_is_lost_is_done(store):
    filesystem = retried(as_arrow(store), PATIENT)
    store.pipe("/a", b"1")
    store.faults = Faults(planned=["error"])
    filesystem.move("/a", "/b")
    assert store.cat("/b") == b"1"
    with pytest.raises(FileNotFoundError):
        filesystem.move("/a", "/c")


def test_a_read_goes_on_where_it_broke_off(store):
    data = random.Random(1).randbytes(5_000_000)
    store.pipe("/f", data)
    filesystem = retried(as_arrow(store), RETRIES)
    store.faults = Faults(planned=["none", "cut", "error", "hang"])
    with filesystem.open_input_file("/f") as file:
        assert file.read() == data
        assert file.read_at(100, 4_999_950) == data[4_999_950:]
        assert file.read_at(10, 7) == data[7:17]
        assert file.size() == len(data)
    # What came before it broke off is not read again.
    assert store.faults.calls == {"open": 3, "read": 4}


@pytest.mark.parametrize("fault", ["error", ConnectionRefusedError(), TimeoutError()])
def test_a_store_that_fails_for_good_is_an_error_that_says_where(store, fault):
    store.pipe("/f", b"12345" * 100_000)
    filesystem = retried(as_arrow(store), PATIENT)
    with filesystem.open_input_file("/f") as file:
        file.read(400_000)
        store.faults = Faults(planned=[fault] * 100)
        with pytest.raises(StoreError, match=r"/f at byte \d+ of 500000: tried 8 times"):
            file.read(100_000)
    store.faults = Faults(planned=[fault] * 100)
    with pytest.raises(ReadError, match="tried 8 times") as caught:
        ms.read_binary_files("/f", filesystem=filesystem)
    assert caught.value.file == "/f"


def test_a_store_that_ends_too_early_is_an_error(store):
    class Short(FaultyFile):
        def read(self, size=-1):
            return super().read(size) if self.tell() < 10 else b""

    store._open = lambda path, mode, **how: Short(b"x" * 1000, store)
    filesystem = retried(as_arrow(store), PATIENT)
    with filesystem.open_input_file("/f") as file, pytest.raises(StoreError, match="nothing more"):
        file.read_at(5, 500)


def test_a_file_that_changes_meanwhile_is_an_error(store):
    store.pipe("/f", b"x" * 1_000_000)
    filesystem = retried(as_arrow(store), PATIENT)
    with filesystem.open_input_file("/f") as file:
        file.read(1)
        store.pipe("/f", b"y" * 900_000)
        store.faults = Faults(planned=["error"])
        with pytest.raises(OSError, match="had 1000000 bytes before, and now 900000"):
            file.read_at(1, 500_000)


@pytest.mark.parametrize("error", [PermissionError("403"), FileNotFoundError("404"), ValueError()])
def test_what_lasts_is_not_repeated(store, error):
    store.pipe("/f", b"1")
    store.faults = Faults(planned=[error])
    with pytest.raises(type(error)):
        retried(as_arrow(store), PATIENT).open_input_file("/f").read()
    assert store.faults.calls.total() <= 2
    store.faults = Faults(planned=["none"] * 5 + [PermissionError("no")] * 9)
    with pytest.raises(WriteError, match="no"):
        ms.range(3).write_csv("/out", filesystem=retried(as_arrow(store), PATIENT))


class OfLibrary(Exception):
    def __init__(self, **values):
        super().__init__("something")
        self.__dict__.update(values)


class Response:
    status_code = 503


def caused(error, cause):
    error.__cause__ = cause
    return error


def named(module, name):
    return type(name, (Exception,), {"__module__": module})()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        socket.gaierror(socket.EAI_AGAIN, "again"),
        OSError(errno.EIO, "io"),
        http.client.IncompleteRead(b""),
        http.client.RemoteDisconnected(),
        OfLibrary(status=429),
        OfLibrary(code=500),
        OfLibrary(response=Response()),
        OfLibrary(response={"ResponseMetadata": {"HTTPStatusCode": 503}}),
        caused(OSError("turned"), OfLibrary(status=502)),
        caused(RuntimeError(), ConnectionResetError()),
        named("aiohttp.client_exceptions", "ClientPayloadError"),
        named("botocore.exceptions", "HTTPClientError"),
        named("urllib3.exceptions", "ProtocolError"),
    ],
    ids=repr,
)
def test_errors_that_pass_are_known_by_what_they_are(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(),
        PermissionError(),
        OSError(errno.ENOSPC, "full"),
        OSError("HTTP 503"),
        ValueError("Connection reset by peer"),
        OfLibrary(status=404),
        OfLibrary(code="500"),
        caused(OSError(), OfLibrary(status=403)),
        named("mine", "ClientPayloadError"),
        socket.gaierror(socket.EAI_NONAME, "no such host"),
        StoreError("given up"),
        MemoryError(),
    ],
    ids=repr,
)
def test_errors_that_last_are_known_too(error):
    assert not is_transient(error)


def test_users_add_errors_by_what_they_say():
    assert is_transient(ValueError("AWS Error SLOW_DOWN"), ("SLOW_DOWN",))
    assert not is_transient(ValueError("AWS Error SLOW_DOWN"), ("INTERNAL",))


def test_waits_grow_up_to_a_limit_and_differ():
    WAITS.clear()
    with pytest.raises(StoreError):
        Retries(clock=Instant()).call(lambda: (_ for _ in ()).throw(TimeoutError()), "x")
    assert len(WAITS) == 7
    limits = [0.1 * 2**n for n in range(6)] + [5.0]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(WAITS, limits, strict=True))


def test_stores_of_this_machine_are_left_as_they_are():
    for filesystem in (
        pa_fs.LocalFileSystem(),
        pa_fs.SubTreeFileSystem("/tmp", pa_fs.LocalFileSystem()),
        as_arrow(fsspec.filesystem("memory")),
        as_arrow(fsspec.filesystem("file")),
        as_arrow(fsspec.filesystem("dir", path="/x", fs=fsspec.filesystem("memory"))),
    ):
        assert retried(filesystem) is filesystem


def test_a_store_travels_and_is_repeated_once():
    made = retried(as_arrow(fsspec.filesystem("dir", path="/", fs=FaultyStore(Faults()))))
    assert isinstance(made.handler, RetriedStore)
    assert retried(made) is made
    assert isinstance(plain(made).handler, pa_fs.FSSpecHandler)
    s3 = retried(pa_fs.S3FileSystem(region="eu-west-1", anonymous=True))
    back = pickle.loads(pickle.dumps(s3))
    assert back == s3
    assert plain(back).region == "eu-west-1"


def test_a_secret_in_an_error_of_a_library_is_blotted_out(store):
    store.faults = Faults(planned=[OSError("no route to https://h/x?X-Amz-Signature=hunter2&a=1")])
    with pytest.raises(OSError, match="a=1") as caught:
        retried(as_arrow(store), PATIENT).get_file_info("/f")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    store.faults = Faults(planned=[ConnectionResetError("https://me:hunter2@h/x")] * 99)
    with pytest.raises(StoreError, match=r"me:\*\*\*@h") as caught:
        retried(as_arrow(store), PATIENT).get_file_info("/f")
    assert "hunter2" not in str(caught.value)
