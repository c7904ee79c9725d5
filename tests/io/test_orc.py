from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import rows_of, table_of, tables_of
from pyarrow import orc

from millstream.blocks import block
from millstream.errors import MillstreamError, ReadError, SchemaError
from millstream.io.file_options import OrcFiles
from millstream.io.formats import orc as reader
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.io.partitioning import Partitioning
from millstream.options import takes
from millstream.read_columns import read_orc

SHIPPED = Path(pa.__file__).parent / "tests" / "data" / "orc"


@takes(files=OrcFiles)
def plan_orc(paths, *, files, override_num_blocks=None):
    return reader.plan_orc(paths, files, blocks=override_num_blocks)


needs_timestamps = pytest.mark.skipif(
    reader._PYARROW < reader._CHECKS_TIMESTAMPS, reason="this pyarrow makes other timestamps"
)


def integers(bits):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


VALUES = {
    pa.bool_(): st.booleans(),
    pa.int8(): integers(8),
    pa.int16(): integers(16),
    pa.int32(): integers(32),
    pa.int64(): integers(64),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(),
    pa.binary(): st.binary(),
    pa.date32(): st.dates(),
    pa.timestamp("ns"): integers(64).map(lambda value: value // 2),
    pa.timestamp("ns", "UTC"): integers(64).map(lambda value: value // 2),
    pa.decimal128(38, 5): st.decimals(-(10**30), 10**30, places=5),
    pa.list_(pa.int64()): st.lists(st.none() | integers(64)),
    pa.struct({"x": pa.string()}): st.fixed_dictionaries({"x": st.none() | st.text()}),
    pa.map_(pa.string(), pa.int32()): st.dictionaries(st.text(), integers(32)).map(
        lambda found: list(found.items())
    ),
}


@pytest.mark.parametrize(
    "type",
    [
        pytest.param(type, marks=needs_timestamps if pa.types.is_timestamp(type) else ())
        for type in VALUES
    ],
    ids=str,
)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_values_of_every_type_come_back_as_they_are(tmp_path_factory, type, data):
    values = data.draw(st.lists(st.none() | VALUES[type], min_size=1))
    table = pa.table({"a": pa.array(values, type)})
    path = tmp_path_factory.mktemp("orc") / "a.orc"
    orc.write_table(table, path)
    source = plan_orc(path)
    assert source.rows == len(values)
    found = table_of(source)
    assert found.schema == source.schema == table.schema
    assert found.equals(table)


FAR = [datetime.datetime(year, 1, 1) for year in (1, 1600, 2300, 9999)]


@needs_timestamps
@pytest.mark.parametrize("zone", [None, "UTC"])
@pytest.mark.parametrize("moment", FAR, ids=lambda moment: str(moment.year))
def test_a_timestamp_beyond_nanoseconds_is_an_error_and_no_other_one(tmp_path, zone, moment):
    values = pa.array([datetime.datetime(2020, 1, 1), moment], pa.timestamp("us", zone))
    for name, column in (("flat", values), ("deep", pa.array([[{"x": v}] for v in values]))):
        path = tmp_path / f"{name}.orc"
        orc.write_table(pa.table({"a": column}), path)
        with pytest.raises(ReadError, match="out of range for nanosecond") as caught:
            table_of(plan_orc(path))
        assert caught.value.file == str(path)


@needs_timestamps
def test_instants_are_in_utc_and_others_without_a_zone(tmp_path):
    noon = datetime.datetime(2020, 7, 1, 12)
    zoned = pa.array([noon], pa.timestamp("us")).cast(pa.timestamp("us", "Europe/Berlin"))
    orc.write_table(pa.table({"a": zoned, "b": [noon]}), tmp_path / "a.orc")
    found = table_of(plan_orc(tmp_path))
    assert found.schema.types == [pa.timestamp("ns", "UTC"), pa.timestamp("ns")]
    assert [row["a"].isoformat() for row in found.to_pylist()] == ["2020-07-01T12:00:00+00:00"]
    assert found.column("b").to_pylist() == [noon]


def test_an_old_pyarrow_reads_no_timestamps(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_PYARROW", 24)
    orc.write_table(pa.table({"a": [1]}), tmp_path / "a.orc")
    assert rows_of(plan_orc(tmp_path)) == [{"a": 1}]
    orc.write_table(pa.table({"b": [[FAR[0]]]}), tmp_path / "b.orc")
    with pytest.raises(ImportError, match=r"'b'.*pyarrow>=25"):
        plan_orc(tmp_path)


def test_the_decimals_of_hive_0_11_are_refused(tmp_path):
    table = pa.table({"a": pa.array([decimal.Decimal("1.5")], pa.decimal128(38, 6))})
    orc.write_table(table, tmp_path / "a.orc")
    assert table_of(plan_orc(tmp_path)).equals(table)
    orc.write_table(table, tmp_path / "a.orc", file_version="0.11")
    with pytest.raises(SchemaError, match=r"'a' is a decimal of Hive 0\.11"):
        plan_orc(tmp_path)


@needs_timestamps
def test_files_of_another_program():
    dates = table_of(plan_orc(SHIPPED / "TestOrcFile.testDate1900.orc"))
    assert dates.num_rows == 70_000
    assert set(dates.column("date").to_pylist()[:1_000]) == {datetime.date(1900, 12, 25)}
    first = dates.slice(0, 1).column("time").cast(pa.timestamp("us")).to_pylist()
    assert first == [datetime.datetime(1900, 5, 5, 12, 34, 56, 100_000)]
    decimals = table_of(plan_orc(SHIPPED / "decimal.orc")).column("_col0").to_pylist()
    assert decimals[:2] == [decimal.Decimal("-1000.50000"), decimal.Decimal("-999.60000")]
    nested = plan_orc(SHIPPED / "TestOrcFile.test1.orc")
    assert table_of(nested).schema == nested.schema
    assert rows_of(nested)[1]["map"][0] == ("chani", {"int1": 5, "string1": "chani"})
    empty = plan_orc(SHIPPED / "TestOrcFile.emptyFile.orc")
    assert (empty.rows, table_of(empty).num_rows) == (0, 0)
    assert table_of(empty).schema == empty.schema


def test_a_stripe_that_is_small_on_disk_comes_in_tables_of_bounded_size(tmp_path):
    path = tmp_path / "a.orc"
    with orc.ORCWriter(path) as writer:
        for number in range(5):
            same = np.full(1_000_000, number)
            writer.write(pa.table({"a": same, "b": same}))
    assert orc.ORCFile(path).nstripes == 1
    sizes, total = [], 0
    for table in tables_of(plan_orc(path)):
        sizes.append(block.nbytes(table))
        total += pa.compute.sum(table.column("a")).as_py()
    assert max(sizes) <= TABLE_BYTES
    assert total == 10_000_000


def test_several_stripes_come_in_order(tmp_path):
    rng = np.random.default_rng(0)
    table = pa.table({"a": np.arange(100_000), "b": rng.integers(0, 2**60, 100_000)})
    orc.write_table(table, tmp_path / "a.orc", stripe_size=100_000, batch_size=1_000)
    assert orc.ORCFile(tmp_path / "a.orc").nstripes > 3
    assert table_of(plan_orc(tmp_path)).equals(table)


def test_a_file_cut_off_anywhere_is_an_error_or_whole(tmp_path):
    path = tmp_path / "a.orc"
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    orc.write_table(table, path)
    data = path.read_bytes()
    whole = 0
    for size in range(len(data)):
        path.write_bytes(data[:size])
        try:
            # Old files end without the magic word, and so does one that lacks nothing else.
            assert table_of(plan_orc(path)).equals(table)
            whole += 1
        except ReadError as error:
            assert error.file == str(path)  # noqa: PT017
    assert whole <= 1


def test_a_damaged_end_is_an_error_or_harmless(tmp_path):
    # Not anywhere: what is wrong in some places of a stripe crashes pyarrow itself.
    path = tmp_path / "a.orc"
    orc.write_table(pa.table({"a": list(range(1_000))}), path)
    data = path.read_bytes()
    failures = 0
    for at in range(len(data) - 20, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
        try:
            table_of(plan_orc(path)).validate(full=True)
        except MillstreamError as error:
            assert error.file == str(path)  # noqa: PT017
            failures += 1
    assert failures


@pytest.mark.parametrize("data", [b"", b"nonsense", b"ORC" + bytes(100)])
def test_no_orc_at_all(tmp_path, data):
    (tmp_path / "a.orc").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this ORC file") as caught:
        plan_orc(tmp_path)
    assert caught.value.file == str(tmp_path / "a.orc")


def test_columns_of_one_name_are_refused(tmp_path):
    orc.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "a.orc")
    with pytest.raises(SchemaError, match="'a' is there twice") as caught:
        plan_orc(tmp_path)
    assert caught.value.file == str(tmp_path / "a.orc")


def test_files_of_other_types_meet_like_other_blocks(tmp_path):
    orc.write_table(pa.table({"a": pa.array([1], pa.int8())}), tmp_path / "a.orc")
    orc.write_table(pa.table({"a": [2**40], "b": ["x"]}), tmp_path / "b.orc")
    source = plan_orc(tmp_path)
    assert source.schema == pa.schema({"a": pa.int64(), "b": pa.string()})
    assert source.rows == 2
    assert rows_of(source) == [{"a": 1, "b": None}, {"a": 2**40, "b": "x"}]


def test_paths_and_folders_are_columns(tmp_path):
    (tmp_path / "year=2024").mkdir()
    path = tmp_path / "year=2024" / "a.orc"
    orc.write_table(pa.table({"a": [1]}), path)
    source = plan_orc(tmp_path, partitioning=Partitioning("hive"), include_paths=True)
    assert rows_of(source) == [{"a": 1, "year": 2024, "path": str(path)}]


def test_a_run_gives_the_rows(tmp_path):
    for number in range(3):
        orc.write_table(pa.table({"a": [number]}), tmp_path / f"{number}.orc")
    (tmp_path / "b.txt").write_text("no ORC")
    assert read_orc(tmp_path).take_all() == [{"a": 0}, {"a": 1}, {"a": 2}]
    assert read_orc(tmp_path).count() == 3
