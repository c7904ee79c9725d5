from __future__ import annotations

import logging
from pathlib import Path

import fsspec
import fsspec.implementations.dirfs
import pyarrow as pa
import pyarrow.fs as pa_fs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from io_sources import list_files

from millstream.errors import ArgumentError, MillstreamError, ReadError
from millstream.io.addresses import is_of_one_process, resolve
from millstream.io.extensions import IMAGE_EXTENSIONS
from millstream.io.file_options import FileShuffleConfig
from millstream.io.partitioning import (
    NULL_DIRECTORY,
    Partitioning,
    PathPartitionFilter,
    folder_of,
    to_text,
)


def names(paths, **options) -> list[str]:
    listing = list_files(paths, reader="read_binary_files", **options)
    return [Path(path).name for path in listing.paths]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt", "sub/c.TXT", "d.bin", ".hidden", "_SUCCESS", ".git/e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"123")
    return tmp_path


def test_a_folder_gives_its_files_by_path_without_hidden_ones(folder):
    assert names(folder) == ["a.txt", "b.txt", "d.bin", "c.TXT"]


def test_extensions_ignore_case_and_a_leading_dot(folder):
    assert names(folder, file_extensions=["txt"]) == ["a.txt", "b.txt", "c.TXT"]
    assert names(folder, file_extensions=[".BIN"]) == ["d.bin"]


def test_what_is_listed_twice_is_read_twice_and_in_the_order_listed(folder):
    paths = [folder / "b.txt", str(folder / "a.txt"), folder / "b.txt"]
    assert names(paths) == ["b.txt", "a.txt", "b.txt"]


def test_a_hidden_file_that_is_named_is_read(folder):
    assert names(folder / ".hidden") == [".hidden"]


def test_relative_paths_are_those_of_the_caller(folder, monkeypatch):
    monkeypatch.chdir(folder)
    listing = list_files("sub", reader="read_binary_files")
    assert listing.paths == [str(folder / "sub" / "c.TXT")]


@pytest.mark.parametrize(
    "name", ["with space", "percent%20", "hash#1", "what?", "colon:x", "ünï", "[x]", "a=b", "'\""]
)
def test_special_characters_are_just_characters(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.txt").write_bytes(b"1")
    assert names(tmp_path / name) == [f"{name}.txt"]
    assert names(str(tmp_path / name / f"{name}.txt")) == [f"{name}.txt"]


@pytest.mark.parametrize("name", ["a b.txt", "ünï.txt", "100%.txt", "a%20b.txt", "#1?.txt"])
def test_file_addresses_are_decoded_and_may_have_spaces(tmp_path, name):
    (tmp_path / name).write_bytes(b"1")
    address = (tmp_path / name).as_uri()
    assert names(address) == [name]
    assert names(address.replace("file:///", "FILE://localhost/")) == [name]
    assert names(address, filesystem=pa_fs.LocalFileSystem()) == [name]
    assert names(f"local://{tmp_path / name}") == [name]
    if "%" not in name:
        assert names(f"file://{tmp_path / name}") == [name]


def test_a_file_address_with_a_host_says_how_it_is_meant():
    with pytest.raises(ArgumentError, match=r"file:///data/x\.txt"):
        names("file://data/x.txt")


def test_bytes_that_are_no_text_may_be_in_file_addresses(tmp_path):
    assert resolve(["file:///a%FFb"])[1] == ["/a\udcffb"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    paths = ("a.txt", "b.csv", "x/a.txt", "x/y/a.txt", "x/y/b.csv", "z/[a].txt", "z/_b.txt")
    for name in (*paths, ".git/a.txt", "x/.a.txt", "_year=1/c.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    return tmp_path


PATTERNS = {
    "*.txt": ["a.txt"],
    "?.*": ["a.txt", "b.csv"],
    "[ab].txt": ["a.txt"],
    "[!a].csv": ["b.csv"],
    "*/*.txt": ["_year=1/c.txt", "x/a.txt", "z/[a].txt"],
    "x/*": ["x/a.txt", "x/y/a.txt", "x/y/b.csv"],
    "x/.*": ["x/.a.txt"],
    "*": [
        *("_year=1/c.txt", "a.txt", "b.csv", "x/a.txt", "x/y/a.txt", "x/y/b.csv", "z/[a].txt"),
    ],
    "**/*.csv": ["b.csv", "x/y/b.csv"],
    "**/y": ["x/y/a.txt", "x/y/b.csv"],
    "x/**": ["x/a.txt", "x/y/a.txt", "x/y/b.csv"],
    "x/**/a.txt": ["x/a.txt", "x/y/a.txt"],
    "**/**/y/*.txt": ["x/y/a.txt"],
    "z/[[]a].txt": ["z/[a].txt"],
    "z/[a].txt": ["z/[a].txt"],
    "*/y/b.csv": ["x/y/b.csv"],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_find_files_and_folders_on_every_file_system(tree, pattern):
    expected = [str(tree / name) for name in PATTERNS[pattern]]
    for paths, options in (
        (tree / pattern, {}),
        (f"file://{tree}/{pattern}", {}),
        (tree / pattern, {"filesystem": fsspec.filesystem("file")}),
        (pattern, {"filesystem": pa_fs.SubTreeFileSystem(str(tree), pa_fs.LocalFileSystem())}),
    ):
        listing = list_files(paths, reader="read_binary_files", **options)
        found = [path if path.startswith("/") else f"{tree}/{path}" for path in listing.paths]
        assert found == expected


def test_a_relative_pattern_is_that_of_the_caller(tree, monkeypatch):
    monkeypatch.chdir(tree / "x")
    assert names("*/*.csv") == ["b.csv"]
    assert names(["../*.csv", "a.txt"]) == ["b.csv", "a.txt"]


def test_a_pattern_that_finds_nothing_is_named(tree):
    with pytest.raises(ReadError, match="no file matches") as caught:
        names(tree / "*.jpg")
    assert caught.value.file == str(tree / "*.jpg")
    for pattern in ("nope/*.csv", "nope/**/*.csv", "a.txt/*", "a.txt/**"):
        for options in ({}, {"filesystem": fsspec.filesystem("file")}):
            with pytest.raises(ReadError, match=r"no file matches|Not a directory"):
                names(tree / pattern, **options)
    assert names([tree / "*.jpg", tree / "*.csv"], ignore_missing_paths=True) == ["b.csv"]


def test_a_link_to_a_file_that_is_gone_is_named(tmp_path, caplog):
    (tmp_path / "a.txt").write_bytes(b"1")
    (tmp_path / "b.txt").symlink_to("gone")
    (tmp_path / "c.bin").symlink_to("c.bin")
    for path in (tmp_path, tmp_path / "*.txt", tmp_path / "**" / "*.txt"):
        with pytest.raises(ReadError, match="a file that is gone") as caught:
            names(path, file_extensions=["txt"])
        assert caught.value.file == str(tmp_path / "b.txt")
    with pytest.raises(ReadError, match="a link to gone"):
        names(tmp_path / "b.txt")
    with caplog.at_level(logging.WARNING):
        assert names(tmp_path, ignore_missing_paths=True) == ["a.txt"]
    assert "2 links" in caplog.text
    assert str(tmp_path / "b.txt") in caplog.text


@pytest.mark.parametrize("pattern", ["", "*", "**"])
def test_links_to_folders_are_followed_but_never_back_up(tmp_path, pattern, caplog):
    for name in ("data/a.txt", "data/sub/b.txt", "elsewhere/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "data" / "self").symlink_to(".")
    (tmp_path / "data" / "sub" / "up").symlink_to("..")
    (tmp_path / "data" / "there").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to("../data")
    with caplog.at_level(logging.WARNING):
        found = names(tmp_path / "data" / pattern)
    assert found == ["a.txt", "b.txt", "c.txt"]
    assert "leads back" in caplog.text


ADDRESSES = {
    "s3://bucket/data?endpoint_override=localhost:1&scheme=http": "bucket/data",
    "s3://bucket?region=eu-west-1": "bucket",
    "s3://bucket/my data/100%/a%20b?region=eu-west-1": "bucket/my data/100%/a%20b",
    "s3://bucket/**/part-?.parquet?region=eu-west-1": "bucket/**/part-?.parquet",
    "s3://key:secret@bucket/a/?region=eu-west-1": "bucket/a",
    "memory://bucket/a=1?b": "/bucket/a=1?b",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_taken_as_they_are_with_their_options(address):
    filesystem, paths = resolve([address, address])
    assert paths == [ADDRESSES[address]] * 2
    assert is_of_one_process(filesystem) == address.startswith("memory")


def test_other_options_are_another_file_system_and_secrets_are_not_shown():
    addresses = ["s3://k:secret@b/x?region=eu-west-1", "s3://k:secret@b/x?region=us-east-1"]
    with pytest.raises(ArgumentError, match="different file systems") as caught:
        resolve(addresses)
    assert "eu-west-1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_in_the_memory_of_one_process_is_known():
    memory = fsspec.filesystem("memory")
    inner = fsspec.implementations.dirfs.DirFileSystem("/x", memory)
    wrapped = [pa_fs.PyFileSystem(pa_fs.FSSpecHandler(each)) for each in (memory, inner)]
    assert all(map(is_of_one_process, wrapped))
    assert is_of_one_process(pa_fs.SubTreeFileSystem("x", wrapped[0]))
    for other in (pa_fs.LocalFileSystem(), resolve(["x"], fsspec.filesystem("file"))[0]):
        assert not is_of_one_process(other)


def test_a_missing_path_is_named(folder):
    with pytest.raises(ReadError, match="no such file or folder") as caught:
        names([folder / "a.txt", folder / "nope.txt"])
    assert caught.value.file == str(folder / "nope.txt")


def test_missing_paths_may_be_ignored_but_not_all_of_them(folder):
    assert names([folder / "nope", folder / "a.txt"], ignore_missing_paths=True) == ["a.txt"]
    with pytest.raises(ReadError, match="no files"):
        names([folder / "nope", folder / "nix"], ignore_missing_paths=True)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ReadError, match="no files") as caught:
        names(tmp_path)
    assert caught.value.file == str(tmp_path)


def test_the_wrong_reader_is_told_which_one_is_right(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"1")
    with pytest.raises(ReadError, match=r"1 of \.jpg.*use read_images"):
        list_files(tmp_path, reader="read_parquet", file_extensions=["parquet"])


def test_a_named_file_with_another_extension_is_left_out_aloud(folder, caplog):
    with caplog.at_level(logging.WARNING):
        found = names([folder / "a.txt", folder / "d.bin"], file_extensions=["txt"])
    assert found == ["a.txt"]
    assert str(folder / "d.bin") in caplog.text


def test_what_a_reader_leaves_out_of_a_folder_is_counted_and_told(tmp_path, caplog):
    for name in ("a.jpg", "b.heic", "c.HEIC", "notes.txt", "README", ".hidden"):
        (tmp_path / name).write_bytes(b"1")
    with caplog.at_level(logging.WARNING):
        listing = list_files(tmp_path, reader="read_images", file_extensions=list(IMAGE_EXTENSIONS))
        names(tmp_path, file_extensions=["txt"])
    assert listing.paths == [str(tmp_path / "a.jpg")]
    # Who asks for certain extensions knows of the others.
    (record,) = caplog.records
    said = record.getMessage()
    assert "read_images leaves out 4 files (2 of .heic, 1 of (none), 1 of .txt)" in said
    assert str(tmp_path / "README") in said


def test_paths_to_skip_are_files_or_folders_that_need_not_exist(folder):
    skipped = [folder / "a.txt", folder / "sub", folder / "nope"]
    assert names(folder, skip_paths=skipped) == ["b.txt", "d.bin"]


@pytest.mark.parametrize("paths", [[], [1], 5, None, b"x", [""]])
def test_what_is_no_path_is_refused(paths):
    with pytest.raises(ArgumentError):
        names(paths)


def test_paths_on_different_file_systems_are_refused(folder):
    with pytest.raises(ArgumentError, match="different file systems"):
        names([str(folder), "memory://x"])


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ArgumentError, match="nonsense"):
        names("nonsense://x/y")


def test_fsspec_file_systems_are_found_by_scheme_and_by_object():
    memory = fsspec.filesystem("memory")
    memory.pipe({"/paths/b": b"22", "/paths/a": b"1"})
    try:
        assert names("memory://paths") == ["a", "b"]
        assert names(["memory://paths/b", "memory://paths/a"]) == ["b", "a"]
        assert names("/paths", filesystem=memory) == ["a", "b"]
        wrapped = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(memory))
        assert names("/paths/", filesystem=wrapped) == ["a", "b"]
        with pytest.raises(ReadError, match="no such file"):
            names("memory://paths/nope")
    finally:
        memory.rm("/paths", recursive=True)


def test_many_paths_of_one_bucket_share_a_file_system():
    filesystem, paths = resolve(["memory://bucket/a", "memory://bucket/b/c/"])
    assert paths == ["/bucket/a", "/bucket/b/c"]
    assert isinstance(filesystem, pa_fs.PyFileSystem)


def test_what_is_no_file_system_is_refused(folder):
    with pytest.raises(ArgumentError, match="filesystem"):
        names(folder, filesystem="s3")


def test_shuffling_is_repeatable_by_its_seed(tmp_path):
    for number in range(20):
        (tmp_path / f"{number:02}").write_bytes(b"1")

    def orders(shuffle) -> list[list[str]]:
        listing = list_files(tmp_path, reader="read_binary_files", shuffle=shuffle)
        assert listing.paths == usual
        return [listing.drawn().paths for _ in range(3)]

    usual = list_files(tmp_path, reader="read_binary_files").paths
    assert orders(None) == [usual] * 3
    first, *others = orders(FileShuffleConfig(seed=3))
    assert [first, *others] == orders(FileShuffleConfig(seed=3)) == [first] * 3
    assert first != usual
    random = orders("files") + orders(FileShuffleConfig())
    assert len(set(map(tuple, random))) == 6
    assert all(sorted(order) == usual for order in [first, *random])
    for shuffle in ("rows", True, 5):
        with pytest.raises(ArgumentError, match="shuffle"):
            names(tmp_path, shuffle=shuffle)
    with pytest.raises(ArgumentError, match="seed"):
        FileShuffleConfig(seed=True)
    assert FileShuffleConfig(5, reseed_after_execution=False) == FileShuffleConfig(5)
    with pytest.raises(ArgumentError, match="leave the seed out"):
        FileShuffleConfig(5, reseed_after_execution=True)


def test_files_are_filtered_by_their_partition(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        (tmp_path / f"year={year}" / "x").write_bytes(b"1")
    only = PathPartitionFilter.of(lambda values: values["year"] == "2024")
    listing = list_files(tmp_path, reader="read_parquet", partition_filter=only)
    assert listing.paths == [str(tmp_path / "year=2024" / "x")]
    none = PathPartitionFilter.of(lambda values: False)
    with pytest.raises(ReadError, match="filtered out"):
        list_files(tmp_path, reader="read_parquet", partition_filter=none)


def test_an_unreadable_folder_is_a_read_error_that_names_it(tmp_path):
    class Broken(fsspec.AbstractFileSystem):
        protocol = "broken"

        def info(self, path, **_):
            raise PermissionError(path)

    with pytest.raises(ReadError) as caught:
        names("/somewhere", filesystem=Broken())
    assert caught.value.file == "/somewhere"


def test_hive_values_survive_the_way_into_a_path_and_back():
    values = {"a": "x/y=z%", "b": None, "c": "", "d e": "ünï ☃"}
    assert Partitioning("hive").values(f"/t/{folder_of(values)}/file") == values


def test_folders_can_be_values():
    scheme = Partitioning("dir", base_dir="/base", field_names=["kind", "year"])
    assert scheme.values("/base/cat/2024/x.jpg") == {"kind": "cat", "year": "2024"}
    assert scheme.values("/base/x.jpg") == {}
    assert scheme.values("/elsewhere/a/b/x.jpg") == {}
    with pytest.raises(ReadError, match="do not match"):
        scheme.values("/base/cat/x.jpg")
    remote = Partitioning("dir", base_dir="memory://base/", field_names=["kind"])
    local = Partitioning("dir", base_dir="file:///my%20base", field_names=["kind"])
    assert local.values("/my base/cat/x.jpg") == {"kind": "cat"}
    store = Partitioning("dir", base_dir="s3://bucket/base?region=eu-west-1", field_names=["kind"])
    assert store.values("bucket/base/cat/x.jpg") == {"kind": "cat"}
    assert remote.values("/base/cat/x.jpg") == remote.values("base/cat/x.jpg") == {"kind": "cat"}


def scalars(scheme, path):
    return scheme.scalars(path, scheme.types([path]))


def test_partition_values_take_the_types_asked_for():
    scheme = Partitioning("hive", field_types={"year": int})
    assert scalars(scheme, "/year=2024/x")["year"].as_py() == 2024
    with pytest.raises(ReadError, match="year=old"):
        scalars(scheme, "/year=old/x")
    with pytest.raises(ArgumentError, match="'year'"):
        scalars(Partitioning("hive", field_types={"year": "integer"}), "/year=2024/x")


@pytest.mark.parametrize(
    ("values", "type"),
    [
        (["1", "007", "-5", "9223372036854775807", "-9223372036854775808", None], pa.int64()),
        (["1", "9223372036854775808"], pa.string()),
        (["1", "a"], pa.string()),
        (["1", ""], pa.string()),
        (["1.5"], pa.string()),
        (["+1"], pa.string()),
        (["1_000"], pa.string()),
        ([None], pa.null()),
    ],
)
def test_hive_values_are_integers_if_all_are_written_so(values, type):
    paths = [f"/t/{folder_of({'k': value})}/file" for value in values]
    assert Partitioning("hive").types(paths) == {"k": type}


VALUES = st.one_of(
    st.booleans().map(pa.scalar),
    st.integers(-(2**63), 2**63 - 1).map(pa.scalar),
    st.integers(0, 2**64 - 1).map(lambda n: pa.scalar(n, pa.uint64())),
    st.floats().map(pa.scalar),
    st.floats(width=32).map(lambda x: pa.scalar(x, pa.float32())),
    st.text().map(pa.scalar),
    st.text().map(lambda s: pa.scalar(s, pa.large_string())),
    st.text().map(lambda s: pa.array([s]).dictionary_encode()[0]),
    st.dates().map(pa.scalar),
    st.times().map(pa.scalar),
    st.integers(-(2**62), 2**62).map(lambda n: pa.scalar(n, pa.duration("us"))),
    st.datetimes().map(pa.scalar),
    st.integers(-(2**62), 2**62).map(lambda n: pa.scalar(n, pa.timestamp("ns", "Europe/Berlin"))),
    st.decimals(-1000, 1000, places=2).map(pa.scalar),
    st.binary().map(pa.scalar),
)


@given(value=VALUES)
def test_values_in_paths_come_back_as_they_were_or_are_refused(value):
    try:
        text = to_text(value)
    except ValueError:
        is_text = pa.types.is_string(value.type)
        assert not is_text or value.as_py() == NULL_DIRECTORY
        return
    back = Partitioning("hive").scalars(f"/{folder_of({'k': text})}/file", {"k": value.type})["k"]
    assert back.type == value.type
    assert back.equals(value) or str(back) == str(value)


def test_a_text_that_stands_for_null_is_refused():
    with pytest.raises(ValueError, match="null"):
        to_text(pa.scalar(NULL_DIRECTORY))
    assert to_text(pa.scalar(None, pa.string())) is None


@pytest.mark.parametrize("options", [{"style": "other"}, {"style": "dir"}])
def test_schemes_that_make_no_sense_are_refused(options):
    with pytest.raises(MillstreamError):
        Partitioning(**options)
