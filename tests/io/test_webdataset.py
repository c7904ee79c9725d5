from __future__ import annotations

import gzip
import io
import json
import logging
import re
import tarfile

import numpy as np
import pyarrow as pa
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import rows_of, table_of, tables_of
from PIL import Image

from millstream.blocks import tensor
from millstream.errors import (
    ArgumentError,
    MissingPackageError,
    ReadError,
    SchemaError,
    UserCodeError,
)
from millstream.io.file_options import WebDatasetFiles
from millstream.io.formats import webdataset as format
from millstream.io.formats.webdataset_writer import WebDatasetWriter
from millstream.io.partitioning import Partitioning
from millstream.options import takes
from millstream.read_records import read_webdataset


@takes(files=WebDatasetFiles)
def plan(paths, *, files, override_num_blocks=None, **how):
    return format.plan_webdataset(paths, files, blocks=override_num_blocks, **how)


def tar(members, **how) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **how) as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def save(path, members, **how):
    path.write_bytes(tar(members, **how))
    return path


def written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    writer = WebDatasetWriter(sink, table.schema)
    writer.write(table)
    writer.close()
    return sink.getvalue().to_pybytes()


def link(name, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "elsewhere"
    return info


TWO = [("a.txt", b"one"), ("a.cls", b"1"), ("b.txt", b"two"), ("b.cls", b"2")]


def test_the_members_of_a_key_are_a_row(tmp_path):
    save(tmp_path / "a.tar", TWO)
    source = plan(tmp_path)
    assert rows_of(source) == [
        {"__key__": "a", "txt": "one", "cls": 1},
        {"__key__": "b", "txt": "two", "cls": 2},
    ]
    assert table_of(source).schema == pa.schema(
        [("__key__", pa.large_string()), ("txt", pa.large_string()), ("cls", pa.int64())]
    )


def test_a_key_ends_at_the_first_dot_of_the_base_name(tmp_path):
    names = ["v1.0/clip.seg.png", "v1.0/clip.b", "./x.b", "v1.0/other.b"]
    save(tmp_path / "a.tar", [(name, b"") for name in names])
    assert rows_of(plan(tmp_path, decoder=None)) == [
        {"__key__": "v1.0/clip", "seg.png": b"", "b": b""},
        {"__key__": "./x", "seg.png": None, "b": b""},
        {"__key__": "v1.0/other", "seg.png": None, "b": b""},
    ]


def test_what_has_no_key_is_left_out_and_told(tmp_path, caplog):
    folder = tarfile.TarInfo("d")
    folder.type = tarfile.DIRTYPE
    members = [
        (folder, b""),
        ("d/._a.txt", b"junk"),
        ("d/a.txt", b"one"),
        ("d/.DS_Store", b"junk"),
        ("__MACOSX/d/a.txt", b"junk"),
        ("d/README", b"text"),
        ("d/b.", b"text"),
        (link("d/c.txt"), b""),
        (link("d/d.txt", tarfile.LNKTYPE), b""),
    ]
    path = save(tmp_path / "a.tar", members)
    assert rows_of(plan(path)) == [{"__key__": "d/a", "txt": "one"}]
    (told,) = (record.getMessage() for record in caplog.records)
    assert str(path) in told
    assert "3 hidden, such as 'd/._a.txt'" in told
    assert "2 without an extension, such as 'd/README'" in told
    assert "2 links, such as 'd/c.txt'" in told


def test_nothing_is_told_where_all_is_read(tmp_path, caplog):
    save(tmp_path / "a.tar", TWO)
    assert len(rows_of(plan(tmp_path, suffixes=["txt"], fileselect=["a.*"]))) == 1
    assert caplog.records == []


def test_interleaved_samples_are_an_error(tmp_path):
    path = save(tmp_path / "a.tar", [("a.txt", b""), ("b.txt", b""), ("a.cls", b"1")])
    with pytest.raises(ReadError, match=r"'a' do not follow each other: 'a.cls' at byte 1024") as e:
        rows_of(plan(path))
    assert e.value.file == str(path)


@pytest.mark.parametrize("name", ["a.txt", "a.__key__"])
def test_two_members_for_one_column_are_an_error(tmp_path, name):
    path = save(tmp_path / "a.tar", [("a.txt", b""), (name, b"")])
    with pytest.raises(ReadError, match=r"'a' has two members for the column .* at byte") as e:
        rows_of(plan(path))
    assert e.value.file == str(path)


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def picture(pixels, kind="PNG", **how) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def test_members_are_decoded_by_extension(tmp_path):
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    exif = Image.Exif()
    exif[274] = 6
    members = {
        "TXT": "é".encode(),
        "cls": b" -7\n",
        "json": b'{"a": [1, 2], "b": null, "c": 0.5}',
        "npy": npy(array),
        "png": picture(pixels),
        "turned.png": picture(pixels, exif=exif),
        "ppm": picture(pixels, "PPM"),
        "mp": b"\x81\xa1k\xc3",
        "bin": b"\0",
    }
    save(tmp_path / "a.tar", [(f"x.{name}", data) for name, data in members.items()])
    (row,) = rows_of(plan(tmp_path))
    assert row["TXT"] == "é"
    assert row["cls"] == -7
    assert row["json"] == {"a": [1, 2], "b": None, "c": 0.5}
    assert row["mp"] == {"k": True}
    assert row["bin"] == b"\0"
    table = table_of(plan(tmp_path))

    def tensor_of(name):
        return tensor.to_numpy(table.column(name))[0]

    assert np.array_equal(tensor_of("npy"), array)
    assert tensor_of("npy").dtype == np.int16
    assert np.array_equal(tensor_of("png"), pixels)
    assert np.array_equal(tensor_of("ppm"), pixels)
    assert np.array_equal(tensor_of("turned.png"), np.rot90(pixels, -1))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("txt", b"\xff"),
        ("cls", b"1.5"),
        ("cls", b"1_0"),
        ("json", b"{"),
        ("json", b'{"a": 1, "a": 2}'),
        ("json", b"1e400"),
        ("npy", b"\x93NUMPY"),
        ("npy", npy(np.zeros(3))[:-1]),
        ("npy", npy(np.zeros(3)) + b"x"),
        ("npy", npy(np.array([{}], object))),
        ("png", b"none"),
        ("mp", b"\xc1"),
    ],
)
def test_what_is_not_as_its_extension_says_is_named(tmp_path, name, data):
    path = save(tmp_path / "a.tar", [("a.x", b""), (f"b.{name}", data)])
    with pytest.raises(ReadError, match=rf"'{name}' of the sample 'b'") as caught:
        rows_of(plan(path))
    assert caught.value.file == str(path)


@pytest.mark.parametrize("name", ["pyd", "pkl", "pickle", "pt", "pth", "x.PKL"])
def test_nothing_is_unpickled(tmp_path, name):
    save(tmp_path / "a.tar", [(f"a.{name}", b"cos\nsystem\n(S'false'\ntR."), ("a.txt", b"t")])
    with pytest.raises(ReadError, match="pickled objects"):
        rows_of(plan(tmp_path))
    assert rows_of(plan(tmp_path, suffixes=["txt"])) == [{"__key__": "a", "txt": "t"}]
    assert rows_of(plan(tmp_path, decoder=None))[0]["txt"] == b"t"


def test_further_pages_are_told(tmp_path, caplog):
    frames = [Image.new("L", (2, 2), value) for value in (0, 255)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    save(tmp_path / "a.tar", [("a.gif", file.getvalue())])
    assert len(rows_of(plan(tmp_path))) == 1
    assert "first of several pages" in caplog.text


def test_pictures_need_pillow(tmp_path, monkeypatch):
    save(tmp_path / "a.tar", [("a.png", b"")])
    monkeypatch.setattr("millstream.io.formats.webdataset_decoders.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[image\]"):
        rows_of(plan(tmp_path))


def shout(sample):
    return {"__key__": sample["__key__"], "loud": sample["txt"].upper()}


def fail(value):
    raise KeyError("gone")


def test_functions_decode(tmp_path):
    save(tmp_path / "a.tar", TWO)
    assert rows_of(plan(tmp_path, decoder=shout))[0] == {"__key__": "a", "loud": b"ONE"}
    assert rows_of(plan(tmp_path, decoder=[True, shout]))[1] == {"__key__": "b", "loud": "TWO"}
    assert rows_of(plan(tmp_path, decoder=False))[0]["cls"] == b"1"


@pytest.mark.parametrize("argument", ["decoder", "fileselect", "filerename", "suffixes"])
def test_functions_that_fail_are_named(tmp_path, argument):
    path = save(tmp_path / "a.tar", TWO)
    with pytest.raises(UserCodeError, match=rf"{argument} failed on '\w.*KeyError") as caught:
        rows_of(plan(path, **{argument: fail}))
    assert caught.value.file == str(path)
    assert isinstance(caught.value.__cause__, KeyError)


def nothing(sample):
    return None


def test_a_decoder_must_return_a_sample(tmp_path):
    save(tmp_path / "a.tar", TWO)
    with pytest.raises(UserCodeError, match="NoneType of the sample 'a'"):
        rows_of(plan(tmp_path, decoder=nothing))


def is_a(name):
    return name.startswith("a.")


def in_folder(name):
    return f"folder/{name}"


@pytest.mark.parametrize("select", [is_a, ["a.*"], ["a.txt", "a.cls"]])
def test_members_are_selected_by_name(tmp_path, select):
    save(tmp_path / "a.tar", TWO)
    assert [row["__key__"] for row in rows_of(plan(tmp_path, fileselect=select))] == ["a"]


@pytest.mark.parametrize("suffixes", [["txt"], [".txt"], ["t*"], ["*.txt"], "txt".__eq__])
def test_columns_are_selected_by_extension(tmp_path, suffixes):
    save(tmp_path / "a.tar", [*TWO, ("c.cls", b"3")])
    assert rows_of(plan(tmp_path, suffixes=suffixes)) == [
        {"__key__": "a", "txt": "one"},
        {"__key__": "b", "txt": "two"},
        {"__key__": "c", "txt": None},
    ]


@pytest.mark.parametrize("rename", [in_folder, [("^", "folder/")], [("^(.)", r"folder/\1")]])
def test_members_are_renamed_before_they_are_grouped(tmp_path, rename):
    save(tmp_path / "a.tar", TWO)
    found = rows_of(plan(tmp_path, filerename=rename, fileselect=["folder/*"]))
    assert [row["__key__"] for row in found] == ["folder/a", "folder/b"]


def test_the_fields_of_json_become_columns_as_they_are(tmp_path):
    save(
        tmp_path / "a.tar",
        [("a.json", b'{"x": 1, "list": [5]}'), ("b.json", b'{"x": 2}'), ("c.txt", b"c")],
    )
    found = rows_of(plan(tmp_path, expand_json=True))
    assert [(row["x"], row["list"], row["txt"]) for row in found] == [
        (1, [5], None),
        (2, None, None),
        (None, None, "c"),
    ]
    bare = rows_of(plan(tmp_path, expand_json=True, decoder=None, suffixes=["json"]))
    assert bare[0]["json"] == b'{"x": 1, "list": [5]}'
    assert bare[0]["list"] == [5]


@pytest.mark.parametrize("data", [b'{"json": 1}', b'{"__key__": 1}', b"[1]"])
def test_json_that_cannot_be_columns_is_an_error(tmp_path, data):
    save(tmp_path / "a.tar", [("a.json", data)])
    with pytest.raises(ReadError, match="'json' of the sample 'a'"):
        rows_of(plan(tmp_path, expand_json=True))


def test_values_that_no_column_holds_name_it(tmp_path):
    path = save(tmp_path / "a.tar", [("a.json", b"1"), ("b.json", b'"text"')])
    with pytest.raises(ReadError, match=r"column 'json' .*'a'.*row 0.*'b'.*row 1") as caught:
        rows_of(plan(path))
    assert caught.value.file == str(path)


def test_an_archive_that_is_cut_anywhere_is_an_error(tmp_path):
    whole = tar([("a.txt", b"one" * 300), ("b.txt", b"two")])
    end = 512 + 1024 + 512 + 512
    path = tmp_path / "a.tar"
    for size in range(1, len(whole), 100):
        path.write_bytes(whole[:size])
        if size >= end + 512:
            assert len(rows_of(plan(path))) == 2
            continue
        with pytest.raises(ReadError) as caught:
            rows_of(plan(path))
        assert caught.value.file == str(path)
    for size in (512, 1536, 2048, end):
        path.write_bytes(whole[:size])
        with pytest.raises(ReadError, match=r"byte \d+"):
            rows_of(plan(path))


def test_a_member_that_is_left_out_must_be_whole_too(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(tar([("a.txt", b""), ("b.cls", b"1" * 2000)])[: 3 * 512 + 100])
    with pytest.raises(ReadError, match=r"'b.cls' at byte 512"):
        rows_of(plan(path, suffixes=["txt"]))


def test_a_missing_end_mark_is_explained(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(tar(TWO)[: 8 * 512])
    with pytest.raises(ReadError, match=r"ends at byte 4096 without .* 1024 bytes of zeros"):
        rows_of(plan(path))
    path.write_bytes(path.read_bytes() + bytes(1024))
    assert len(rows_of(plan(path))) == 2


def test_a_damaged_header_is_no_end(tmp_path):
    path = tmp_path / "a.tar"
    for at in range(1024, 1024 + 512, 37):
        whole = bytearray(tar(TWO))
        whole[at] ^= 0xFF
        path.write_bytes(whole)
        with pytest.raises(ReadError, match=r"no header of a member at byte 1024"):
            rows_of(plan(path))


def test_joined_archives_are_no_silent_loss(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(tar(TWO) + tar([("c.txt", b"")]))
    with pytest.raises(ReadError, match="something follows"):
        rows_of(plan(path))


@pytest.mark.parametrize("data", [b"no archive at all", b"x" * 2000])
def test_what_is_no_archive_is_an_error(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(ReadError, match="tar archive at its beginning"):
        rows_of(plan(tmp_path))


def test_an_empty_file_is_an_error_and_an_empty_archive_no_rows(tmp_path):
    save(tmp_path / "a.tar", [])
    assert list(tables_of(plan(tmp_path))) == []
    (tmp_path / "b.tar").write_bytes(b"")
    with pytest.raises(ReadError, match="empty") as caught:
        plan(tmp_path)
    assert caught.value.file == str(tmp_path / "b.tar")


def test_a_name_that_is_no_text_is_an_error(tmp_path):
    save(tmp_path / "a.tar", [("\udcff.txt", b"")], format=tarfile.GNU_FORMAT)
    with pytest.raises(ReadError, match="not UTF-8"):
        rows_of(plan(tmp_path))


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_read(tmp_path, kind):
    key = "é/" + "x" * 200
    save(tmp_path / "a.tar", [(f"{key}.txt", b"one")], format=kind)
    assert rows_of(plan(tmp_path)) == [{"__key__": key, "txt": "one"}]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_compressed_archives_are_read_and_cuts_found(tmp_path, name):
    noise = np.random.default_rng(0).bytes(100_000)
    data = gzip.compress(tar([("a.bin", noise), ("b.bin", b"")]))
    path = tmp_path / name
    path.write_bytes(data)
    assert [row["bin"] for row in rows_of(plan(path))] == [noise, b""]
    for cut in (len(data) // 2, len(data) - 100):
        path.write_bytes(data[:cut])
        with pytest.raises(ReadError) as caught:
            rows_of(plan(path))
        assert caught.value.file == str(path)


def test_the_checksum_of_the_compression_is_checked(tmp_path):
    data = bytearray(gzip.compress(tar(TWO)))
    data[-6] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(data)
    with pytest.raises(ReadError, match="incorrect data check"):
        rows_of(plan(tmp_path))


def test_what_is_larger_than_a_block_comes_in_several(tmp_path, monkeypatch):
    monkeypatch.setattr(format, "TABLE_BYTES", 10_000)
    members = [(f"{index:03}.bin", bytes([index]) * 3000) for index in range(20)]
    save(tmp_path / "a.tar", members)
    found = list(tables_of(plan(tmp_path)))
    assert [table.num_rows for table in found] == [4, 4, 4, 4, 4]
    assert [row["bin"] for table in found for row in table.to_pylist()] == [d for _, d in members]


def test_paths_and_folders_become_columns(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        save(tmp_path / f"year={year}" / "a.tar", [("a.cls", b"1")])
    (tmp_path / "note.md").write_text("left out")
    source = plan(tmp_path, include_paths=True, partitioning=Partitioning("hive"))
    assert rows_of(source) == [
        {"__key__": "a", "cls": 1, "year": year, "path": str(tmp_path / f"year={year}" / "a.tar")}
        for year in (2023, 2024)
    ]
    assert len(plan(tmp_path, override_num_blocks=1).units) == 1


def test_a_column_of_samples_and_paths_is_an_error(tmp_path):
    save(tmp_path / "a.tar", [("a.path", b"")])
    with pytest.raises(SchemaError, match="'path'") as caught:
        rows_of(plan(tmp_path, include_paths=True))
    assert caught.value.file == str(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("decoder", "PIL"),
        ("decoder", [None]),
        ("fileselect", 3),
        ("fileselect", "*.jpg"),
        ("suffixes", [3]),
        ("filerename", "x"),
        ("filerename", [("(", "")]),
        ("verbose_open", 1),
        ("expand_json", "yes"),
        ("arrow_open_stream_args", {"codec": "gzip"}),
        ("compression", {"compression": "zip"}),
    ],
)
def test_wrong_arguments(tmp_path, argument, value):
    save(tmp_path / "a.tar", TWO)
    given = {argument: value} if argument != "compression" else {"arrow_open_stream_args": value}
    with pytest.raises(ArgumentError, match=argument):
        plan(tmp_path, **given)


def test_opened_files_are_logged_if_asked_for(tmp_path, caplog):
    path = save(tmp_path / "a.tar", TWO)
    with caplog.at_level(logging.INFO):
        rows_of(plan(path))
        assert caplog.records == []
        rows_of(plan(path, verbose_open=True))
    assert str(path) in caplog.text


texts = st.text(max_size=4)
json_values = st.fixed_dictionaries(
    {"n": st.none() | st.integers(-(2**63), 2**63 - 1), "t": texts, "l": st.lists(st.floats(-1, 1))}
)
JSON = pa.struct([("n", pa.int64()), ("t", pa.string()), ("l", pa.list_(pa.float64()))])
COLUMNS = {
    "bin": (st.binary(max_size=600), pa.binary()),
    "caption.txt": (texts, pa.large_string()),
    "cls": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "json": (json_values, JSON),
    "text.json": (texts, pa.string()),
}
keys = st.text(st.characters(codec="utf-8", exclude_characters="./\0"), min_size=1, max_size=3)


@st.composite
def tables(draw):
    found = draw(st.lists(keys, min_size=1, max_size=5, unique=True))
    columns = {"__key__": pa.array(found)}
    for name, (values, type) in COLUMNS.items():
        # Where all is null, there is no member, so no column.
        first = draw(values)
        rest = draw(st.lists(st.none() | values, min_size=len(found) - 1, max_size=len(found) - 1))
        columns[name] = pa.array([first, *rest], type)
    columns["x.npy"] = tensor.from_ndarray(np.arange(len(found) * 2, dtype=np.int16).reshape(-1, 2))
    return pa.table(columns)


@settings(max_examples=100, deadline=None)
@given(table=tables())
def test_what_is_written_is_read_as_it_was(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("wds") / "a.tar"
    path.write_bytes(written(table))
    found = table_of(plan(path)).select(table.column_names)
    assert repr(found.to_pylist()) == repr(table.to_pylist())
    assert found.column("x.npy").type == table.column("x.npy").type


def test_keys_are_numbers_where_there_are_none(tmp_path):
    (tmp_path / "a.tar").write_bytes(written(pa.table({"cls": [5, 6]})))
    assert rows_of(plan(tmp_path)) == [
        {"__key__": "000000000", "cls": 5},
        {"__key__": "000000001", "cls": 6},
    ]


@pytest.mark.parametrize(
    "key",
    [
        *("clip.0", ".a", "a.", "", "d/", "d/.x", "/a", "../a", "d/../a", "a\0b", "__MACOSX/a"),
        *(None, "good"),
    ],
)
def test_a_key_that_would_not_come_back_is_refused(key):
    table = pa.table({"__key__": pa.array(["good", key], pa.string()), "cls": [1, 2]})
    with pytest.raises(SchemaError, match=r"'__key__' .*row 1 "):
        written(table)


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("caption", pa.string()),
        ("cls", pa.float64()),
        ("cls", pa.bool_()),
        ("txt", pa.int64()),
        ("json", pa.timestamp("us")),
        ("json", pa.struct([("a", pa.binary())])),
        ("json", pa.map_(pa.string(), pa.int64())),
        ("npy", pa.list_(pa.int64())),
        ("png", pa.fixed_shape_tensor(pa.uint8(), (2, 2))),
        ("__url__", pa.binary()),
        ("a/b", pa.binary()),
        ("", pa.binary()),
        ("__key__", pa.int64()),
    ],
)
def test_a_column_that_would_not_come_back_is_refused(name, type):
    schema = pa.schema([("cls", pa.int64())] if name != "cls" else []).append(pa.field(name, type))
    with pytest.raises(SchemaError, match=re.escape(repr(name))):
        WebDatasetWriter(pa.BufferOutputStream(), schema)


def test_there_must_be_something_to_write():
    with pytest.raises(SchemaError, match="nothing"):
        WebDatasetWriter(pa.BufferOutputStream(), pa.schema([("__key__", pa.string())]))
    schema = pa.schema([("cls", pa.int64()), ("cls", pa.int64())])
    with pytest.raises(SchemaError, match="twice"):
        WebDatasetWriter(pa.BufferOutputStream(), schema)


def test_values_that_cannot_be_stored_name_column_and_row():
    with pytest.raises(SchemaError, match=r"'json' in row 1 "):
        written(pa.table({"json": [0.5, float("nan")]}))
    with pytest.raises(SchemaError, match=r"row 1 .*'000000001' would be lost"):
        written(pa.table({"cls": [1, None]}))


def test_equal_rows_give_equal_bytes_and_the_stream_stays_open():
    table = pa.table({"cls": [1]})
    assert written(table) == written(table)
    sink = pa.BufferOutputStream()
    WebDatasetWriter(sink, table.schema).close()
    assert not sink.closed


def test_archives_of_the_library_are_read(tmp_path):
    path = tmp_path / "a.tar"
    with webdataset.TarWriter(str(path)) as sink:
        for index in range(3):
            sink.write(
                {
                    "__key__": f"s{index}",
                    "txt": f"é{index}",
                    "cls": index,
                    "json": {"n": index},
                    "npy": np.full(2, index, np.float32),
                    "png": np.full((2, 2, 3), index / 255, np.float32),
                }
            )
    table = table_of(plan(path))
    assert table.select(["__key__", "txt", "cls", "json"]).to_pylist() == [
        {"__key__": f"s{index}", "txt": f"é{index}", "cls": index, "json": {"n": index}}
        for index in range(3)
    ]
    assert tensor.to_numpy(table.column("npy")).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert tensor.to_numpy(table.column("png"))[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_the_library_reads_what_is_written(tmp_path):
    path = tmp_path / "a.tar"
    table = pa.table(
        {
            "__key__": ["d/é", "b"],
            "txt": ["é", None],
            "cls": [1, 2],
            "json": [{"n": [1]}, {"n": []}],
        }
    )
    path.write_bytes(written(table))
    # Its own opener leaves files to the garbage collector.
    with path.open("rb") as file:
        found = webdataset.tariterators.tar_file_iterator(file)
        members = [member | {"__url__": str(path)} for member in found]
        samples = webdataset.tariterators.group_by_keys(members)
        found = [webdataset.autodecode.Decoder([]).decode(sample) for sample in samples]
    assert [sample["__key__"] for sample in found] == ["d/é", "b"]
    assert [sample["cls"] for sample in found] == [1, 2]
    assert found[0]["txt"] == "é"
    assert "txt" not in found[1]
    assert [sample["json"] for sample in found] == [{"n": [1]}, {"n": []}]


def test_the_public_function_reads(tmp_path):
    save(tmp_path / "a.tar", [("a.json", json.dumps({"x": 1}).encode())])
    assert read_webdataset(str(tmp_path)).take_all() == [{"__key__": "a", "json": {"x": 1}}]
