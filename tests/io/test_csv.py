from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import logging
import math

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from io_sources import rows_of, table_of, tables_of
from text_sources import check_tables, plan_csv, refused, rows_or_none

from millstream.errors import ArgumentError, ReadError
from millstream.io import lines
from millstream.io.formats.csv_rows import Rows
from millstream.read_text_files import read_csv

FIXED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def column_of(tmp_path, *cells, **how):
    """The values of a column, and its type."""
    path = written(tmp_path / "a.csv", "x,other\n" + "".join(f"{cell},1\n" for cell in cells))
    source = plan_csv(path, **how)
    return [row["x"] for row in rows_of(source)], source.schema.field("x").type


def test_rows_have_the_types_that_the_plan_tells(tmp_path):
    path = written(
        tmp_path / "a.csv",
        "i,f,b,s,d,t,z\n"
        "1,1.5,true,x,2020-01-02,2020-01-02 03:04:05,2020-01-02T03:04:05+02:00\n"
        "-2,nan,false,y,2021-01-02,2020-01-02 03:04:05,2020-01-02T03:04:05Z\n",
    )
    source = plan_csv(path)
    types = [pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.date32()]
    assert source.schema.types == [*types, pa.timestamp("us"), pa.timestamp("us", "UTC")]
    check_tables(source)
    first, second = rows_of(source)
    assert first["z"] == dt.datetime(2020, 1, 2, 1, 4, 5, tzinfo=dt.UTC)
    assert second["z"] == dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert math.isnan(second["f"])


@FIXED
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "i": st.none() | st.integers(-(2**63), 2**63 - 1),
                "u": st.integers(2**63, 2**64 - 1),
                "f": st.none() | st.floats(),
                "s": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
                "b": st.none() | st.booleans(),
                "t": st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
            }
        ),
        min_size=1,
        max_size=12,
    ),
    size=st.integers(1, 200),
)
def test_what_arrow_writes_comes_back(tmp_path, rows, size):
    types = [pa.int64(), pa.uint64(), pa.float64(), pa.string(), pa.bool_(), pa.timestamp("us")]
    schema = pa.schema(list(zip("iufsbt", types, strict=True)))
    table = pa.Table.from_pylist(rows, schema)
    pa_csv.write_csv(table, tmp_path / "a.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", size)
        source = plan_csv(
            tmp_path,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=schema),
        )
        found = table_of(source)
    # NaN is not equal to itself.
    assert [list(map(repr, row.values())) for row in found.to_pylist()] == [
        list(map(repr, row.values())) for row in table.to_pylist()
    ]
    assert found.schema == schema


@FIXED
@given(
    rows=st.lists(
        st.lists(st.text(st.sampled_from('a"\n\r,é'), max_size=4), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    ),
    size=st.integers(1, 30),
)
def test_quoted_values_of_python_come_back_from_blocks_of_any_size(tmp_path, rows, size):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["a", "b"], *rows])
    written(tmp_path / "a.csv", text.getvalue())
    types = {"a": pa.string(), "b": pa.string()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", size)
        source = plan_csv(
            tmp_path,
            convert_options=pa_csv.ConvertOptions(column_types=types),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        )
        assert [list(row.values()) for row in rows_of(source)] == rows


@FIXED
@given(
    data=st.text(st.sampled_from('ab"",\n\r\\'), min_size=1, max_size=14),
    escape=st.sampled_from([False, "\\"]),
    double=st.booleans(),
    quote=st.sampled_from(['"', "'", False]),
)
def test_rows_end_where_pyarrow_ends_them(data, escape, double, quote):
    parse = pa_csv.ParseOptions(
        escape_char=escape,
        double_quote=double,
        quote_char=quote,
        newlines_in_values=True,
        ignore_empty_lines=False,
    )
    found = Rows(parse)
    whole = data.encode() + b"\n"
    parts = found.split(whole[: found.cut(whole)])
    assert b"".join(parts) == whole[: found.cut(whole)]
    read = pa_csv.ReadOptions(autogenerate_column_names=True, use_threads=False)
    for part in parts:
        assert pa_csv.read_csv(pa.BufferReader(part), read, parse).num_rows == 1


@pytest.mark.parametrize(
    ("cells", "values", "type"),
    [
        (["1", ""], [1, None], pa.int64()),
        (["1", '""'], [1, None], pa.int64()),
        (["a", "", '""'], ["a", None, ""], pa.string()),
        (["", ""], [None, None], pa.string()),
        (["2020-01-01", ""], [dt.date(2020, 1, 1), None], pa.date32()),
        (["1", "NA"], ["1", "NA"], pa.string()),
        (["null", "NaN"], ["null", "NaN"], pa.string()),
        (["true", "1"], ["true", "1"], pa.string()),
        (["1", "2.5"], [1.0, 2.5], pa.float64()),
        (["9223372036854775808", "1"], [2**63, 1], pa.uint64()),
        (["9223372036854775808", "-1"], ["9223372036854775808", "-1"], pa.string()),
        (["123456789012345678901"], ["123456789012345678901"], pa.string()),
        (["1.5", "9007199254740993"], ["1.5", "9007199254740993"], pa.string()),
        (["1.5", "9007199254740992"], [1.5, 2.0**53], pa.float64()),
        (["inf", "-Infinity"], [math.inf, -math.inf], pa.float64()),
        (["2020-01-01T00:00:00Z", "2020-01-01T00:00:00"], None, pa.string()),
    ],
)
def test_cells_and_types(tmp_path, cells, values, type):
    found, found_type = column_of(tmp_path, *cells)
    assert found == (values if values is not None else cells)
    assert found_type == type


def test_a_border_decides_no_value(tmp_path, monkeypatch):
    data = "a,b,c\n" + '1,,""\n,x,\n' * 50
    written(tmp_path / "a.csv", data)
    wanted = rows_of(plan_csv(tmp_path))
    assert wanted[:2] == [{"a": 1, "b": None, "c": ""}, {"a": None, "b": "x", "c": None}]
    for size in (1, 7, 30):
        monkeypatch.setattr(lines, "BLOCK_BYTES", size)
        for blocks in (1, 3, 11, 40):
            source = plan_csv(tmp_path, override_num_blocks=blocks)
            assert len(source.units) == blocks
            assert rows_of(source) == wanted
            check_tables(source)


def test_blank_lines_are_left_out_except_in_one_column(tmp_path):
    written(tmp_path / "a.csv", "\n\na,b\n1,2\n\n\r\n3,4\n\n")
    assert [row["a"] for row in rows_of(plan_csv(tmp_path))] == [1, 3]
    written(tmp_path / "a.csv", "a\n1\n\n2\n\n")
    assert [row["a"] for row in rows_of(plan_csv(tmp_path))] == [1, None, 2, None]
    written(tmp_path / "a.csv", 'a\nx\n\n""\n')
    assert [row["a"] for row in rows_of(plan_csv(tmp_path))] == ["x", None, ""]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,b\n1,2\n\n3\n", "line 4 has 1 cells where there are 2 columns: '3'"),
        (b"a,b\n1,2\n3,4,5\n", "line 3 has 3 cells where there are 2 columns: '3,4,5'"),
        (b"a,b\n1,1e400\n", "line 2, column 'b': '1e400' is no double"),
        (b'a,b\n1,"x\n', "line 2 has a quoted value that is not closed"),
        (b'a,b\n1,"x\n2,y\n', "line 2 has a quoted value that is not closed"),
        (b"a,b\n1,\xff\n", "line 2 is not UTF-8"),
        (b"a,a\n1,2\n", "there are two columns 'a'"),
        (b'"a', "the file ends in its header"),
    ],
)
def test_broken_files_are_named_with_the_line(tmp_path, data, said, capfd):
    assert refused(plan_csv, tmp_path / "a.csv", data).startswith(said)
    # pyarrow prints what goes wrong in a handler.
    assert capfd.readouterr().err == ""


def test_a_later_value_of_another_type_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "SAMPLE_BYTES", 20)
    monkeypatch.setattr(lines, "_PLACE_BYTES", 20)
    data = b"a,b\n" + b"1,2\n" * 1000 + b"1,2.5\n" + b"1,2\n" * 1301
    for blocks in (1, 7):
        said = refused(plan_csv, tmp_path / "a.csv", data, override_num_blocks=blocks)
        assert said.startswith("line 1002, column 'b': '2.5' is no int64")
        assert "column_types={'b': pyarrow.string()}" in said
    types = pa_csv.ConvertOptions(column_types={"b": pa.float64()})
    assert len(rows_of(plan_csv(tmp_path, convert_options=types))) == 2302
    said = refused(plan_csv, tmp_path / "a.csv", data.replace(b"2.5", b"99999999999999999999"))
    assert "99999999999999999999" in said


def test_places_all_over_the_files_decide_the_types(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "SAMPLE_BYTES", 100)
    monkeypatch.setattr(lines, "_PLACE_BYTES", 100)
    written(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 2000 + "1,2.5\n" * 2000)
    written(tmp_path / "b.csv", "b,c\n" + "x,2020-01-01\n" * 1000)
    source = plan_csv(tmp_path)
    assert source.schema.field("b").type == pa.string()
    assert source.schema.names == ["a", "b", "c"]
    rows = rows_of(source)
    assert rows[0] == {"a": 1, "b": "2", "c": None}
    assert rows[-1] == {"a": None, "b": "x", "c": dt.date(2020, 1, 1)}


def test_files_may_order_their_columns_as_they_like(tmp_path):
    written(tmp_path / "a.csv", "a,b\n1,2\n")
    written(tmp_path / "b.csv", "b,a\n3,4\n")
    written(tmp_path / "c.csv", "")
    written(tmp_path / "d.csv", "a,b")
    assert rows_of(plan_csv(tmp_path)) == [{"a": 1, "b": 2}, {"a": 4, "b": 3}]


def test_a_column_that_the_sample_has_not_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "_PLACES", 1)
    for name in ("a", "c"):
        written(tmp_path / f"{name}.csv", "a\n1\n")
    written(tmp_path / "b.csv", "a,z\n1,2\n")
    with pytest.raises(ReadError, match="the column 'z'") as caught:
        rows_of(plan_csv(tmp_path))
    assert caught.value.file == str(tmp_path / "b.csv")
    only = pa_csv.ConvertOptions(include_columns=["a"])
    assert len(rows_of(plan_csv(tmp_path, convert_options=only))) == 3


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_rows(tmp_path, data):
    source = plan_csv(written(tmp_path / "a.csv", data))
    assert source.schema.names == []
    assert rows_or_none(source) == []


def test_a_header_alone_has_columns_and_no_rows(tmp_path):
    source = plan_csv(written(tmp_path / "a.csv", "a,b"))
    assert source.schema == pa.schema([("a", pa.string()), ("b", pa.string())])
    assert rows_or_none(source) == []


def test_values_over_several_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 10)
    data = '"a\nb",c\n' + '"x\ny",1\n"p, ""q""",2\n' * 20
    source = plan_csv(written(tmp_path / "a.csv", data), override_num_blocks=5)
    assert len(source.units) == 1
    assert rows_of(source) == [{"a\nb": "x\ny", "c": 1}, {"a\nb": 'p, "q"', "c": 2}] * 20
    monkeypatch.setattr(lines, "SAMPLE_BYTES", 20)
    monkeypatch.setattr(lines, "_PLACES", 1)
    late = b"a,b\n" + b"x,1\n" * 50 + b'"x\ny",1\n' + b"x,1\n" * 50
    said = refused(plan_csv, tmp_path / "a.csv", late)
    assert said.startswith("line 52 has a quoted value that is not closed")
    assert "newlines_in_values=True" in said
    several = pa_csv.ParseOptions(newlines_in_values=True)
    assert len(rows_of(plan_csv(tmp_path, parse_options=several))) == 101
    said = refused(plan_csv, tmp_path / "a.csv", late + b'"z,1\n', parse_options=several)
    assert "line 104" in said


def test_a_long_row_makes_the_block_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 64)
    written(tmp_path / "a.csv", "a,b\n" + "x" * 5000 + ",1\ny,2\n")
    assert [row["b"] for row in rows_of(plan_csv(tmp_path))] == [1, 2]


def test_a_large_file_is_several_units_and_bounded_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(lines, "UNIT_BYTES", 8000)
    written(tmp_path / "a.csv", "n,s\n" + "".join(f"{n},row {n}\n" for n in range(4000)))
    source = plan_csv(tmp_path)
    assert len(source.units) > 5
    assert [row["n"] for row in rows_of(source)] == list(range(4000))
    assert max(table.nbytes for table in tables_of(source)) < 10_000


def test_options_of_pyarrow(tmp_path):
    path = written(tmp_path / "a.csv", "# made by hand\nx;y\n(units)\n1,5;NA\n2;ja\n")
    source = plan_csv(
        path,
        read_options=pa_csv.ReadOptions(skip_rows=3, column_names=["p", "q"]),
        parse_options=pa_csv.ParseOptions(delimiter=";"),
        convert_options=pa_csv.ConvertOptions(
            decimal_point=",", null_values=["NA"], true_values=["ja"], false_values=["nein"]
        ),
    )
    assert rows_of(source) == [{"p": 1.5, "q": None}, {"p": 2.0, "q": True}]
    skipped = pa_csv.ReadOptions(skip_rows=1, skip_rows_after_names=1)
    semicolons = pa_csv.ParseOptions(delimiter=";")
    source = plan_csv(path, read_options=skipped, parse_options=semicolons)
    assert [row["x"] for row in rows_of(source)] == ["1,5", "2"]
    numbered = pa_csv.ReadOptions(autogenerate_column_names=True, skip_rows=4)
    source = plan_csv(path, read_options=numbered, parse_options=semicolons)
    assert rows_of(source) == [{"f0": 2, "f1": "ja"}]


def test_chosen_columns(tmp_path):
    path = written(tmp_path / "a.csv", "a,b,c\n1,2,3\n")
    chosen = pa_csv.ConvertOptions(include_columns=["c", "a"], column_types={"c": pa.float32()})
    source = plan_csv(path, convert_options=chosen)
    assert source.schema == pa.schema([("c", pa.float32()), ("a", pa.int64())])
    assert rows_of(source) == [{"c": 3.0, "a": 1}]
    with pytest.raises(ReadError, match="'z'"):
        plan_csv(path, convert_options=pa_csv.ConvertOptions(include_columns=["z"]))
    allowed = pa_csv.ConvertOptions(include_columns=["z", "b"], include_missing_columns=True)
    assert rows_of(plan_csv(path, convert_options=allowed)) == [{"z": None, "b": 2}]


def test_a_handler_may_leave_out_ragged_rows(tmp_path):
    path = written(tmp_path / "a.csv", 'a,b\n1,"x"\n2\n3,"y"\n')
    parse = pa_csv.ParseOptions(invalid_row_handler=skip)
    assert [row["a"] for row in rows_of(plan_csv(path, parse_options=parse))] == [1, 3]


def skip(row):
    return "skip"


def test_other_encodings(tmp_path):
    for encoding in ("latin-1", "utf-16"):
        path = written(tmp_path / "a.csv", "a,b\n1,ä\n".encode(encoding))
        read = pa_csv.ReadOptions(encoding=encoding)
        source = plan_csv(path, read_options=read, override_num_blocks=3)
        assert len(source.units) == 1
        assert rows_of(source) == [{"a": 1, "b": "ä"}]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = written(tmp_path / "a.csv", b"\xef\xbb\xbfa,b\n1,2\n")
    assert rows_of(plan_csv(path, override_num_blocks=3)) == [{"a": 1, "b": 2}]


def test_compressed_files(tmp_path):
    data = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    path = written(tmp_path / "a.csv.gz", data)
    source = plan_csv(path, override_num_blocks=4)
    assert len(source.units) == 1
    assert len(rows_of(source)) == 1000
    assert "Truncated" in refused(plan_csv, path, data[:-10])
    said = refused(plan_csv, path, gzip.compress(b"a,b\n" + b"1,2\n" * 1000 + b"1\n"))
    assert said.startswith("line 1002 has 1 cells")


def test_a_file_of_pandas(tmp_path):
    frame = pd.DataFrame({"a": [1, 2, None], "b": ["x, y", None, 'q"'], "c": [0.1, 1e-300, 1e300]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert rows_of(plan_csv(tmp_path)) == [
        {"a": 1.0, "b": "x, y", "c": 0.1},
        {"a": 2.0, "b": None, "c": 1e-300},
        {"a": None, "b": 'q"', "c": 1e300},
    ]


def test_paths_and_folders_can_be_columns(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        written(tmp_path / f"year={year}" / "a.csv", "a\n1\n")
    source = plan_csv(tmp_path, include_paths=True)
    path = str(tmp_path / "year=2023" / "a.csv")
    assert rows_of(source)[0] == {"a": 1, "year": 2023, "path": path}
    assert [row["year"] for row in rows_of(source)] == [2023, 2024]
    check_tables(source)


@pytest.mark.parametrize(
    "wrong",
    [
        {"read_options": {"skip_rows": 1}},
        {"parse_options": ","},
        {"convert_options": {}},
        {"convert_options": pa_csv.ConvertOptions(check_utf8=False)},
        {"read_options": pa_csv.ReadOptions(encoding="klingon")},
        {"arrow_open_stream_args": {"compression": "rar"}},
    ],
)
def test_arguments_that_make_no_sense(tmp_path, wrong):
    written(tmp_path / "a.csv", "a\n1\n")
    with pytest.raises(ArgumentError):
        plan_csv(tmp_path, **wrong)


def test_the_public_reader(tmp_path, caplog):
    written(tmp_path / "a.csv", "a,b\n1,x\n,\n")
    with caplog.at_level(logging.WARNING):
        dataset = read_csv(tmp_path, parse_options=pa_csv.ParseOptions(), override_num_blocks=2)
        assert dataset.take_all() == [{"a": 1, "b": "x"}, {"a": None, "b": None}]
    assert caplog.records == []
