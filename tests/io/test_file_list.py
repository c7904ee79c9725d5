"""Lists of files that go on while the first files are read."""

from __future__ import annotations

import itertools
import pickle
import threading

import fsspec.implementations.local
import pyarrow.fs as pa_fs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import ReadError
from millstream.io import file_list, files
from millstream.io.file_list import FileList
from millstream.io.walk import InputFile, expand


@pytest.fixture
def pages_of_five(monkeypatch):
    monkeypatch.setattr(file_list, "PAGE_FILES", 5)
    monkeypatch.setattr(files, "FILES_AT_ONCE", 10)


class Walk:
    """Goes to `count` files, and counts how far it has gone."""

    def __init__(self, count, error=None):
        self.count = count
        self.error = error
        self.gone = 0

    def __call__(self):
        for number in range(self.count):
            self.gone += 1
            yield InputFile(f"/f/{number}\udcff", number)
        if self.error is not None:
            raise self.error


def expected(stop, start=0):
    return [InputFile(f"/f/{number}\udcff", number) for number in range(start, stop)]


def test_a_walk_goes_no_further_than_asked(pages_of_five):
    walk = Walk(23)
    found = FileList(walk)
    assert (len(found), walk.gone) == (0, 0)
    assert (found.find(7), walk.gone, found.is_complete) == (10, 10, False)
    assert (found.find(3), walk.gone) == (10, 10)
    assert list(found) == expected(10)
    assert (found.find(99), found.is_complete) == (23, True)
    assert (found[22], found[-1], found[4:12]) == (
        *expected(23)[22:],
        expected(23)[-1],
        expected(12, 4),
    )
    with pytest.raises(IndexError):
        found[23]


def test_a_list_that_ends_with_a_page_is_complete_when_nothing_follows(pages_of_five):
    found = FileList(Walk(10))
    assert (found.find(10), found.is_complete) == (10, False)
    assert (found.find(11), found.is_complete) == (10, True)


def test_a_slow_walk_gives_one_page_at_a_time(pages_of_five, monkeypatch):
    monkeypatch.setattr(file_list, "_clock", itertools.count(100).__next__)
    assert FileList(Walk(23)).find(20, before=100.0) == 5
    assert FileList(Walk(23)).find(20, before=103.0) == 15


def test_an_error_of_the_walk_is_one_for_whoever_asks(pages_of_five):
    found = FileList(Walk(7, ReadError("gone", file="/f")))
    assert found.find(5) == 5
    for _ in range(2):
        with pytest.raises(ReadError, match="gone"):
            found.find(6)
    assert list(found) == expected(5)


def test_a_copy_begins_anew_unless_the_list_is_complete(pages_of_five):
    found = FileList(Walk(12))
    found.find(5)
    copy = pickle.loads(pickle.dumps(found))
    assert (len(copy), copy.find(None), list(copy)) == (0, 12, expected(12))
    found.find(None)
    copy = pickle.loads(pickle.dumps(found))
    assert (copy.is_complete, list(copy), copy[5:7]) == (True, expected(12), expected(7, 5))


def test_several_runs_find_each_file_once(pages_of_five):
    walk = Walk(1000)
    found = FileList(walk)
    threads = [threading.Thread(target=found.find, args=[count]) for count in range(0, 1200, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (walk.gone, list(found)) == (1000, expected(1000))


NAMES = st.sampled_from(["a", "a-b", "a.b", "ab", "b", "é", ".hidden", "_year=1", "_x", "Z", "a b"])
TREES = st.lists(st.lists(NAMES, min_size=1, max_size=4), min_size=1, max_size=12)


@given(tree=TREES)
def test_a_folder_gives_its_files_by_path_on_every_file_system(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("tree")
    for way in tree:
        path = root.joinpath(*[f"{name}.d" for name in way[:-1]], f"{way[-1]}.f")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    there = [path.relative_to(root) for path in root.rglob("*.f")]
    shown = sorted(
        str(root / path)
        for path in there
        if not any(part[0] == "." or (part[0] == "_" and "=" not in part) for part in path.parts)
    )
    fsspec_one = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(fsspec.filesystem("file")))
    for filesystem in (pa_fs.LocalFileSystem(), fsspec_one):
        found = expand(filesystem, [str(root)], ignore_missing=False)
        assert [file.path for file in found] == shown


@pytest.fixture
def folder(tmp_path):
    for number in range(87):
        path = tmp_path / f"{number // 20}" / f"{number:03}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%d" % number)
    return tmp_path


def numbers(rows):
    return [int(row["bytes"]) for row in rows]


def test_a_dataset_reads_on_while_it_is_listed(pages_of_five, folder):
    ds = ms.read_binary_files(folder)
    units = ds._plan.start.source.units
    assert (units.is_open, len(units)) == (True, 10)
    assert "rows=?" in repr(ds)
    assert numbers(ds.take_all()) == list(range(87))
    assert (units.is_open, len(units)) == (False, 87)
    # The next run knows them all.
    assert numbers(ds.take_all()) == list(range(87))


def test_a_limit_stops_the_list(pages_of_five, folder, monkeypatch):
    for number in range(87, 5000):
        (folder / f"{number // 1000}" / f"{number:04}.bin").write_bytes(b"%d" % number)
    ds = ms.read_binary_files(folder)
    assert len(ds.take(3)) == 3
    assert len(ds._plan.start.source.units) < 5000


def test_what_needs_all_files_lists_them_all(pages_of_five, folder):
    def read(**options):
        return ms.read_binary_files(folder, **options)

    assert (read().count(), len(read().input_files())) == (87, 87)
    assert (read().map(lambda row: row).count(), read().union(read()).count()) == (87, 174)
    for options in ({"shuffle": "files"}, {"override_num_blocks": 3}):
        ds = read(**options)
        assert "rows=87" in repr(ds)
        assert sorted(numbers(ds.take_all())) == list(range(87))


def test_explain_says_that_the_list_goes_on(pages_of_five, folder, capsys):
    ms.read_binary_files(folder).explain()
    assert "10 units listed so far" in capsys.readouterr().out


class Gate(fsspec.implementations.local.LocalFileSystem):
    """Lists the last folder only when that is allowed."""

    protocol = "gate"
    cachable = False

    def __init__(self):
        super().__init__()
        self.open_gate = threading.Event()
        self.failure = None

    def find(self, path, **options):
        if path.endswith("/4"):
            assert self.open_gate.wait(60)
            if self.failure is not None:
                raise self.failure
        return super().find(path, **options)


def test_the_first_rows_are_there_before_the_list_has_ended(pages_of_five, folder):
    gate = Gate()
    rows = iter(ms.read_binary_files(folder, filesystem=gate).iter_rows())
    assert numbers(itertools.islice(rows, 1)) == [0]
    gate.open_gate.set()
    assert numbers(rows) == list(range(1, 87))


def test_a_list_that_fails_fails_the_run(pages_of_five, folder):
    gate = Gate()
    rows = iter(ms.read_binary_files(folder, filesystem=gate).iter_rows())
    next(rows)
    gate.failure = OSError("the store is gone")
    gate.open_gate.set()
    with pytest.raises(ReadError, match=r"cannot list the folder.*the store is gone") as caught:
        list(rows)
    assert caught.value.file == str(folder / "4")


def test_what_is_left_out_is_told_when_the_list_ends(pages_of_five, folder, caplog):
    other = folder.with_suffix(".txt")
    other.write_text("no")
    ds = ms.read_binary_files([folder, other], file_extensions=["bin"])
    assert not caplog.records
    assert ds.count() == 87
    assert "leaves out 1 files (1 of .txt)" in caplog.text
