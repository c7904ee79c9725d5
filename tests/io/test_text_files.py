from __future__ import annotations

import bz2
import gzip

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from io_sources import rows_of, tables_of, unit_rows
from text_sources import check_tables, plan_text, refused, rows_or_none

from millstream.errors import ArgumentError, ReadError
from millstream.io import lines
from millstream.io.partitioning import Partitioning
from millstream.read_text_files import read_text


def lines_of(source):
    return [row["text"] for row in rows_or_none(source)]


def test_a_line_is_a_row(tmp_path):
    (tmp_path / "a").write_bytes("one\r\n two \n\n \t\nthrée\x0c\u2028x\ry\nend".encode())
    source = plan_text(tmp_path)
    assert lines_of(source) == ["one", " two ", "thrée\x0c\u2028x\ry", "end"]
    assert source.schema == pa.schema([("text", pa.string())])
    check_tables(source)
    kept = plan_text(tmp_path, drop_empty_lines=False)
    assert lines_of(kept) == ["one", " two ", "", " \t", "thrée\x0c\u2028x\ry", "end"]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_text_has_no_rows(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    assert lines_of(plan_text(tmp_path)) == []


def test_the_newline_at_the_end_begins_no_line(tmp_path):
    (tmp_path / "a").write_bytes(b"x\n\n")
    assert lines_of(plan_text(tmp_path, drop_empty_lines=False)) == ["x", ""]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(st.sampled_from("aé\n\r 漢"), max_size=40),
    blocks=st.integers(1, 12),
    size=st.integers(1, 9),
)
def test_parts_and_blocks_of_any_size_give_the_same_lines(tmp_path, text, blocks, size):
    path = tmp_path / "a"
    path.write_bytes(text.encode())
    wanted = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", size)
        patch.setattr(lines, "_TAIL_BYTES", 1)
        source = plan_text(path, drop_empty_lines=False, override_num_blocks=blocks)
        assert len(source.units) == max(1, min(blocks, len(text.encode())))
        # A carriage return at the end of the file ends no line.
        assert lines_of(source) == wanted


def test_a_large_file_is_several_units_and_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(lines, "UNIT_BYTES", 4000)
    wanted = [f"line {number}" for number in range(2000)]
    (tmp_path / "a").write_text("\n".join(wanted))
    source = plan_text(tmp_path)
    assert len(source.units) > 4
    assert all(unit_rows(source))
    assert max(table.nbytes for table in tables_of(source)) < 4000
    assert lines_of(source) == wanted


def test_a_line_may_be_longer_than_a_block_but_not_endless(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 10)
    (tmp_path / "a").write_text("x" * 1000 + "\ny")
    assert lines_of(plan_text(tmp_path)) == ["x" * 1000, "y"]
    monkeypatch.setattr(lines, "_LINE_BYTES_MAX", 100)
    with pytest.raises(ReadError, match="no line ends within"):
        lines_of(plan_text(tmp_path))


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-be", "utf-32", "shift_jis"]
)
def test_encodings(tmp_path, encoding):
    wanted = ["first", "\u010a" if "utf" in encoding else "x", "last"]
    (tmp_path / "a").write_bytes("\n".join(wanted).encode(encoding))
    source = plan_text(tmp_path, encoding=encoding, override_num_blocks=4)
    assert lines_of(source) == wanted
    assert len(source.units) == (1 if "16" in encoding or "32" in encoding else 4)


def test_what_is_not_in_the_encoding_is_named_with_its_line(tmp_path):
    data = b"ok\n" * 5 + b"ab\xff\n" + b"ok\n" * 5
    for blocks in (1, 6):
        message = refused(plan_text, tmp_path / "a", data, override_num_blocks=blocks)
        assert message.startswith("line 6 is not utf-8, at its byte 2")
    message = refused(plan_text, tmp_path / "a", b"a\nb\xff", encoding="ascii")
    assert message.startswith("line 2 is not ascii")
    message = refused(plan_text, tmp_path / "a", b"a\0b", encoding="utf-16")
    assert "UTF-16 stream does not start with BOM" in message


COMPRESSED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    "lz4": lambda data: pa.compress(data, "lz4", asbytes=True),
}


@pytest.mark.parametrize("extension", COMPRESSED)
def test_compressed_files(tmp_path, extension):
    wanted = [f"line {number}" for number in range(3000)]
    path = tmp_path / f"a.txt.{extension}"
    data = COMPRESSED[extension]("\n".join(wanted).encode())
    path.write_bytes(data)
    source = plan_text(path, override_num_blocks=4)
    assert len(source.units) == 1
    assert lines_of(source) == wanted
    refused(plan_text, path, data[:-6])
    refused(plan_text, path, b"this is not compressed at all")
    refused(plan_text, path, b"")


def test_members_of_gzip_follow_one_another(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert lines_of(plan_text(tmp_path)) == ["a", "b"]


def test_the_compression_can_be_told(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(b"a\n"))
    told = {"compression": "gzip", "buffer_size": 100}
    assert lines_of(plan_text(tmp_path, arrow_open_stream_args=told)) == ["a"]
    (tmp_path / "a").rename(tmp_path / "a.gz")
    with pytest.raises(ReadError, match="not utf-8"):
        lines_of(plan_text(tmp_path, arrow_open_stream_args={"compression": None}))


def test_paths_and_folders_can_be_columns(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        (tmp_path / f"year={year}" / "a").write_text(f"{year}\n")
    source = plan_text(tmp_path, include_paths=True, partitioning=Partitioning("hive"))
    assert rows_of(source) == [
        {"text": "2023", "year": 2023, "path": str(tmp_path / "year=2023" / "a")},
        {"text": "2024", "year": 2024, "path": str(tmp_path / "year=2024" / "a")},
    ]
    check_tables(source)
    assert lines_of(plan_text(tmp_path, override_num_blocks=1)) == ["2023", "2024"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": "klingon"},
        {"encoding": None},
        {"drop_empty_lines": 1},
        {"arrow_open_stream_args": {"compression": "rar"}},
        {"arrow_open_stream_args": {"level": 3}},
        {"arrow_open_stream_args": "gzip"},
    ],
)
def test_arguments_that_make_no_sense(tmp_path, wrong):
    (tmp_path / "a").write_text("a")
    with pytest.raises(ArgumentError):
        plan_text(tmp_path, **wrong)


def test_the_public_reader(tmp_path):
    (tmp_path / "a").write_text("a\n\nb")
    assert read_text(tmp_path).take_all() == [{"text": "a"}, {"text": "b"}]
    assert len(read_text(tmp_path, drop_empty_lines=False).take_all()) == 3
