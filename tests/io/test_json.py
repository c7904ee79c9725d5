from __future__ import annotations

import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.json as pa_json
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from io_sources import rows_of, tables_of, unit_rows
from text_sources import check_tables, plan_json, refused, rows_or_none

from millstream.errors import ArgumentError, ReadError
from millstream.io import lines
from millstream.read_text_files import read_json

FIXED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
#: How the same objects can be written.
SHAPES = {
    "lines": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "array": json.dumps,
    "pretty array": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False),
    "pretty objects": lambda rows: "\n".join(json.dumps(row, indent=1) for row in rows),
}


def written(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_objects_come_back_however_they_are_written(tmp_path, shape):
    rows = [
        {"i": 1, "s": 'é\n"x"', "f": 1.5, "l": [1, None], "o": {"k": "v", "n": None}, "b": True},
        {"i": -(2**63), "s": None, "f": 2, "l": [], "o": None, "b": False},
    ]
    source = plan_json(written(tmp_path / "a.json", SHAPES[shape](rows)), override_num_blocks=5)
    assert rows_of(source) == rows
    check_tables(source)
    assert [str(type) for type in source.schema.types] == [
        *("int64", "string", "double", "list<item: int64>"),
        *("struct<k: string, n: string>", "bool"),
    ]


VALUES = st.fixed_dictionaries(
    {
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "u": st.integers(0, 2**64 - 1),
        "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "s": st.none() | st.text(st.characters(codec="utf-8"), max_size=6),
        "l": st.lists(st.none() | st.text('a[]{}",\\\n', max_size=3), max_size=3),
        "o": st.none() | st.fixed_dictionaries({"x": st.none() | st.booleans()}),
    }
)
SCHEMA = pa.schema(
    [
        ("i", pa.int64()),
        ("u", pa.uint64()),
        ("f", pa.float64()),
        ("s", pa.string()),
        ("l", pa.list_(pa.string())),
        ("o", pa.struct([("x", pa.bool_())])),
    ]
)


@FIXED
@given(
    rows=st.lists(VALUES, min_size=1, max_size=6),
    shape=st.sampled_from(sorted(SHAPES)),
    size=st.integers(1, 200),
    blocks=st.integers(1, 6),
)
def test_parts_and_blocks_of_any_size_give_the_same_objects(tmp_path, rows, shape, size, blocks):
    written(tmp_path / "a.json", SHAPES[shape](rows))
    parse = pa_json.ParseOptions(explicit_schema=SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", size)
        source = plan_json(tmp_path, parse_options=parse, override_num_blocks=blocks)
        assert source.schema == SCHEMA
        assert rows_of(source) == rows


def test_text_stays_text(tmp_path):
    texts = ["2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00", "1", "null", ""]
    written(tmp_path / "a.json", "".join(json.dumps({"t": text}) + "\n" for text in texts))
    assert [row["t"] for row in rows_of(plan_json(tmp_path))] == texts


@pytest.mark.parametrize(
    ("values", "type"),
    [
        ("1 -9223372036854775808", "int64"),
        ("18446744073709551615 0", "uint64"),
        ("1 2.5", "double"),
        ("1e20 9007199254740992", "double"),
        ("null true", "bool"),
        ("null null", "string"),
        ("[] [[1]]", "list<item: list<item: int64>>"),
        ('{} {"a":{"b":null}}', "struct<a: struct<b: string>>"),
    ],
)
def test_types(tmp_path, values, type):
    texts = values.split()
    written(tmp_path / "a.json", "".join(f'{{"x":{text}}}\n' for text in texts))
    source = plan_json(tmp_path)
    assert str(source.schema.field("x").type) == type
    found = [row["x"] for row in rows_of(source)]
    if type.startswith("struct"):
        assert found == [{"a": None}, {"a": {"b": None}}]
    else:
        assert found == [json.loads(text) for text in texts]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a":123456789012345678901}', "column 'a': no type of 64 bits holds"),
        (b'{"a":-1}\n{"a":9223372036854775808}', "column 'a': no type of 64 bits holds"),
        (b'{"a":1.5}\n{"a":12345678901234567891}', "line 2: column 'a': 12345678901234567891 is"),
        (b'{"a":[{"b":0.5}]}\n{"a":[{"b":9007199254740993}]}', "line 2: column 'a[].b': 90071"),
        (b'{"a":1e400}', "line 1: JSON parse error: Number too big"),
        (b'{"a":1}\n{"a":"x"}', "column 'a' has numbers and text"),
        (b'{"a":[1,{}]}', "column 'a[]' has numbers and objects"),
        (b'{"a":true}\n{"a":1}', "column 'a' has numbers and true or false"),
        (b'{"a":1,"a":2}', "line 1: JSON parse error: Column(/a) was specified twice"),
        (b'{"a":1}\n\n{"a":', "line 3: this is no JSON object"),
        (b'{"a":1}\n{"a":2\n}\n', "line 2: this is no JSON object"),
        (b'{"a":1}\n5\n', "line 2: this is no object but numbers"),
        (b'{"a":1}\n{"a":"\xff"}', "line 2: this is no JSON object"),
        (b'{"a":"\\ud800"}', "line 1: JSON parse error: The surrogate pair"),
        (b'[{"a":1},\n', "line 2: the file ends where"),
        (b'[{"a":1}\n{"a":2}]', "line 2: '{' stands where ','"),
        (b'[{"a":1}]\n\n[', "line 3: something comes after the end of the array"),
        (b'[{"a":1},\n]', "line 2: Expecting value"),
        (b'[{"a":1},\n1]', "line 2: this is no object but numbers"),
        (b'[{"a":1},\n{"a":"cut', "line 2: Unterminated string"),
        (b'[{"a":1},\n{"a":1 1}' + b" " * 200, "line 2: Expecting ',' delimiter"),
        (b"a,b\n1,2\n", "line 1: Expecting value"),
    ],
)
def test_broken_files_are_named_with_the_line(tmp_path, data, said):
    assert said in refused(plan_json, tmp_path / "a.json", data)


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf", b"[]", b" [\n]\n"])
def test_a_file_without_objects_has_no_rows(tmp_path, data):
    source = plan_json(written(tmp_path / "a.json", data))
    assert source.schema.names == []
    assert rows_or_none(source) == []


def test_keys_that_are_missing_are_null(tmp_path):
    written(tmp_path / "a.json", '{"a":1}\n{"b":"x"}\n\n{}\n')
    assert rows_of(plan_json(tmp_path)) == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
        {"a": None, "b": None},
    ]
    written(tmp_path / "a.json", "{}\n{}\n")
    assert rows_of(plan_json(tmp_path)) == [{}, {}]


def test_what_comes_after_the_sample_must_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "SAMPLE_BYTES", 100)
    monkeypatch.setattr(lines, "_PLACES", 1)
    before, after = b'{"a":1,"o":{"x":"y"}}\n' * 500, b'{"a":2}\n' * 100
    for late, said in {
        b'{"a":"x"}': "column 'a': \"x\" is no exact int64",
        b'{"a":1.5}': "column 'a': 1.5 is no exact int64",
        b'{"b":1}': "the key 'b' is not among those",
        b'{"o":{"z":1}}': "the key 'o.z' is not among those",
    }.items():
        data = before + late + b"\n" + after
        for blocks in (1, 5):
            found = refused(plan_json, tmp_path / "a.json", data, override_num_blocks=blocks)
            assert found.startswith(f"line 501: {said}")
            assert "explicit_schema" in found


def test_places_all_over_the_files_decide_the_types(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "SAMPLE_BYTES", 100)
    monkeypatch.setattr(lines, "_PLACE_BYTES", 100)
    written(tmp_path / "a.json", '{"a":1,"l":[]}\n' * 1000 + '{"a":1.5,"l":[1]}\n' * 1000)
    written(tmp_path / "b.jsonl", '[\n{"a":2,"c":"x"}]')
    source = plan_json(tmp_path)
    assert [str(type) for type in source.schema.types][:2] == ["double", "list<item: int64>"]
    assert len(rows_of(source)) == 2001
    written(tmp_path / "b.jsonl", '{"a":"x"}')
    with pytest.raises(ReadError, match="column 'a' is double in other files") as caught:
        rows_of(plan_json(tmp_path))
    assert caught.value.file == str(tmp_path / "b.jsonl")


def test_given_types_and_other_keys(tmp_path):
    written(tmp_path / "a.json", '{"a":1,"b":"x","t":"2020-01-01T00:00:00Z"}\n')
    schema = pa.schema([("a", pa.int8()), ("t", pa.timestamp("us", "UTC"))])
    found = {}
    for behaviour in ("infer", "ignore"):
        parse = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=behaviour)
        source = plan_json(tmp_path, parse_options=parse)
        found[behaviour] = source.schema
        check_tables(source)
    assert found["ignore"] == schema
    assert found["infer"] == schema.append(pa.field("b", pa.string()))
    parse = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    with pytest.raises(ReadError, match="line 1: the key 'b'"):
        rows_of(plan_json(tmp_path, parse_options=parse))


def test_an_object_longer_than_a_block_makes_it_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 64)
    rows = [{"a": "x" * 5000}, {"a": "y"}]
    for shape in SHAPES.values():
        written(tmp_path / "a.json", shape(rows))
        assert rows_of(plan_json(tmp_path)) == rows


@pytest.mark.parametrize("shape", ["lines", "pretty array"])
def test_a_large_file_gives_bounded_tables(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(lines, "UNIT_BYTES", 8000)
    rows = [{"n": number, "s": "x" * 20} for number in range(2000)]
    source = plan_json(written(tmp_path / "a.json", SHAPES[shape](rows)))
    assert rows_of(source) == rows
    assert max(table.nbytes for table in tables_of(source)) < 10_000
    with_rows = sum(map(bool, unit_rows(source)))
    assert with_rows == (len(source.units) if shape == "lines" else 1)


def test_an_error_stops_the_search_for_the_end_of_a_value(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(lines, "SAMPLE_BYTES", 1)
    data = b'[{"a":1},{"a" 2},' + b'{"a":3},' * 10_000 + b"]"
    assert refused(plan_json, tmp_path / "a.json", data).endswith("Expecting ':' delimiter")


def test_lines_can_be_demanded(tmp_path):
    written(tmp_path / "a.json", '{"a":1}\n')
    assert rows_of(plan_json(tmp_path, lines=True)) == [{"a": 1}]
    written(tmp_path / "a.json", '[{"a":1}]')
    with pytest.raises(ReadError, match="line 1: this is no object but lists"):
        rows_of(plan_json(tmp_path, lines=True))


def test_compressed_files(tmp_path):
    data = gzip.compress(b'{"a":1}\n' * 1000)
    path = written(tmp_path / "a.json.gz", data)
    source = plan_json(path, override_num_blocks=4)
    assert len(source.units) == 1
    assert len(rows_of(source)) == 1000
    assert "Truncated" in refused(plan_json, path, data[:-10])


def test_files_of_pandas(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    wanted = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    for lines_ in (True, False):
        frame.to_json(tmp_path / "a.json", orient="records", lines=lines_)
        assert rows_of(plan_json(tmp_path)) == wanted


def test_paths_and_folders_can_be_columns(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        written(tmp_path / f"year={year}" / "a.json", "{}\n")
    source = plan_json(tmp_path, include_paths=True)
    assert rows_of(source)[0] == {"year": 2023, "path": str(tmp_path / "year=2023" / "a.json")}
    check_tables(source)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lines": "yes"},
        {"read_options": {}},
        {"parse_options": {}},
        {"parse_options": pa_json.ParseOptions(unexpected_field_behavior="ignore")},
        {"arrow_open_stream_args": {"compression": "rar"}},
    ],
)
def test_arguments_that_make_no_sense(tmp_path, wrong):
    written(tmp_path / "a.json", "{}")
    with pytest.raises(ArgumentError):
        plan_json(tmp_path, **wrong)


def test_the_public_reader(tmp_path):
    written(tmp_path / "a.jsonl", '{"a":1}\n{"a":2}\n')
    read = pa_json.ReadOptions(block_size=8)
    assert read_json(tmp_path, read_options=read).take_all() == [{"a": 1}, {"a": 2}]


def test_null_among_objects_is_no_object(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": 1}, null]')
    with pytest.raises(ReadError, match=r"(?s)no object.*null.*a\.json"):
        read_json(str(tmp_path)).take_all()


def test_null_values_are_nulls(tmp_path):
    (tmp_path / "a.json").write_text('[{"a":\n null, "b": [null]}, {"a": 1, "b": [\nnull]}]')
    rows = [{"a": None, "b": [None]}, {"a": 1, "b": [None]}]
    assert read_json(str(tmp_path)).take_all() == rows
