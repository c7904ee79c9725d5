"""Iceberg tables: values as they are or an error, columns by id, one commit or none."""

from __future__ import annotations

import datetime
import json
import math
import os
import pickle
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyiceberg.table
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.expressions import EqualTo, IsNaN, NotEqualTo
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, ManifestGroupPlanner
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    TruncateTransform,
    VoidTransform,
    YearTransform,
)
from pyiceberg.typedef import Record
from pyiceberg.types import (
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    StructType,
    TimestamptzType,
    UUIDType,
)
from pyroaring import BitMap

import millstream as ms
from millstream.errors import ArgumentError, MissingPackageError, ReadError, SchemaError, WriteError
from millstream.io.formats.iceberg import plan_iceberg
from millstream.io.formats.iceberg_sink import plan_write_iceberg
from millstream.plan.arguments import SinkTasks
from millstream.read_tables import read_iceberg

NOON = datetime.datetime(2020, 7, 1, 12, 0, 0, 123456)
NAME = "db.t"


def catalog_in(folder):
    """The arguments of a catalog in a folder, with one namespace."""
    os.makedirs(folder, exist_ok=True)
    arguments = {"name": "test", "type": "sql", "uri": f"sqlite:///{folder}/catalog.db"}
    arguments["warehouse"] = f"file://{folder}"
    load_catalog(**arguments).create_namespace("db")
    return arguments


@pytest.fixture
def catalog(tmp_path):
    return catalog_in(tmp_path)


@pytest.fixture
def opened(catalog):
    with load_catalog(**catalog) as found:
        yield found


def write(ds, catalog, name=NAME, **how):
    ds.write_iceberg(name, catalog, **how)


def write_planned(ds, planned):
    ds._write_table(planned, SinkTasks())


def read(catalog, name=NAME, **how):
    return read_iceberg(table_identifier=name, catalog_kwargs=catalog, **how)


def written(catalog, table, **how):
    write(ms.from_arrow(table), catalog, **how)
    return pa.table(read(catalog))


def data_files(folder):
    found = [Path(inner, name) for inner, _, names in os.walk(folder) for name in names]
    return [each for each in found if each.suffix == ".parquet"]


# Values -------------------------------------------------------------------------------------


def integers(bits):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


moments = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1))
VALUES = {
    pa.bool_(): st.booleans(),
    pa.int32(): integers(32),
    pa.int64(): integers(64),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(),
    pa.binary(): st.binary(),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.date32(): st.dates(),
    pa.time64("us"): st.times(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "UTC"): moments,
    pa.timestamp("us", "Europe/Berlin"): moments,
    pa.decimal128(38, 5): st.decimals(-(10**30), 10**30, places=5),
    pa.list_(pa.int64()): st.lists(st.none() | integers(64)),
    pa.struct({"x": pa.string()}): st.fixed_dictionaries({"x": st.none() | st.text()}),
    pa.map_(pa.string(), pa.int32()): st.dictionaries(st.text(), integers(32)).map(
        lambda found: list(found.items())
    ),
}


@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_values_of_every_type_come_back_as_they_are(tmp_path_factory, data):
    rows = data.draw(st.integers(1, 4))
    columns = {}
    for number, (type, values) in enumerate(VALUES.items()):
        drawn = data.draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[f"c{number}"] = pa.array(drawn, type)
    table = pa.table(columns)
    found = written(catalog_in(tmp_path_factory.mktemp("iceberg")), table)
    assert found.schema.equals(table.schema)
    assert found.equals(table)


def test_nan_and_minus_zero_stay(catalog):
    found = written(catalog, pa.table({"a": [math.nan, -0.0, math.inf, None]}))["a"].to_pylist()
    assert math.isnan(found[0])
    assert math.copysign(1, found[1]) == -1
    assert found[2:] == [math.inf, None]


@pytest.mark.parametrize(
    ("found", "stored"),
    [
        (pa.array([-128], pa.int8()), pa.int32()),
        (pa.array([255], pa.uint8()), pa.int32()),
        (pa.array([2**16 - 1], pa.uint16()), pa.int32()),
        (pa.array([2**32 - 1], pa.uint32()), pa.int64()),
        (pa.array([2**63 - 1], pa.uint64()), pa.int64()),
        (pa.array([1.5], pa.float16()), pa.float32()),
        (pa.array(["a"]).dictionary_encode(), pa.string()),
        (pa.array(["a"], pa.string_view()), pa.string()),
        (pa.array([7_000], pa.timestamp("ns")), pa.timestamp("us")),
        (pa.array([7], pa.time32("s")), pa.time64("us")),
        (pa.array([[1, 2]], pa.large_list(pa.uint8())), pa.list_(pa.int32())),
    ],
    ids=str,
)
def test_types_that_tables_have_not_become_wider_ones_with_the_same_values(catalog, found, stored):
    read = written(catalog, pa.table({"a": found}))
    assert read.schema.field("a").type == stored
    assert read["a"].to_pylist() == found.to_pylist()


@pytest.mark.parametrize(
    "values",
    [pa.array([2**63], pa.uint64()), pa.array([1], pa.timestamp("ns"))],
    ids=lambda values: str(values.type),
)
def test_a_value_that_the_table_cannot_hold_is_an_error(tmp_path, catalog, opened, values):
    with pytest.raises(SchemaError, match=r"'a' is .*not every value would be the same"):
        written(catalog, pa.table({"a": values}))
    assert not opened.table_exists(NAME)
    assert data_files(tmp_path) == []


@pytest.mark.parametrize(
    "values",
    [pa.array([datetime.timedelta(1)]), pa.array([Decimal(10**50)]), pa.array([{}], pa.struct([]))],
    ids=lambda values: str(values.type),
)
def test_a_type_that_tables_have_not_is_refused_by_name(catalog, values):
    with pytest.raises(SchemaError, match=r"column 'a' of type .* Iceberg tables have no type"):
        written(catalog, pa.table({"a": values}))


def test_a_column_without_any_value_is_refused_unless_the_table_knows_it(catalog):
    with pytest.raises(SchemaError, match="'a' of type null has no values"):
        write(ms.from_items([{"x": 1, "a": None}]), catalog)
    write(ms.from_items([{"x": 1, "a": "text"}]), catalog)
    write(ms.from_items([{"x": 2, "a": None}]), catalog)
    assert read(catalog).take_all() == [{"x": 1, "a": "text"}, {"x": 2, "a": None}]


def test_tensors_are_lists_for_others_and_tensors_for_us(catalog, opened):
    arrays = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    write(ms.from_numpy(arrays), catalog)
    found = read(catalog).take_batch(4)["data"]
    assert found.dtype == np.uint8
    assert np.array_equal(found, arrays)
    others = opened.load_table(NAME).scan().to_arrow()
    assert others.to_pydict() == {"data": arrays.reshape(4, 6).tolist()}
    with opened.load_table(NAME).update_schema() as update:
        update.rename_column("data", "image")
    assert np.array_equal(read(catalog).take_batch(4)["image"], arrays)
    other = ms.from_numpy(np.zeros((2, 3, 2))).rename_columns({"data": "image"})
    with pytest.raises(SchemaError, match=r"'image' is .*shape=\[3,2\].*shape=\[2,3\]"):
        write(other, catalog)


# Appending ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "value"),
    [
        (pa.array([1], pa.int32()), 1.7),
        (pa.array([1], pa.int32()), 2**31),
        (pa.array([True]), 5),
        (pa.array([7]), "7"),
        (pa.array(["7"]), 7),
        (pa.array([NOON]), NOON.replace(tzinfo=datetime.UTC)),
        (pa.array([NOON.date()]), NOON),
        (pa.array([1.5]), 2**53 + 1),
    ],
    ids=str,
)
def test_an_append_never_makes_another_value_of_one(catalog, table, value):
    before = written(catalog, pa.table({"a": table}))
    for mode in ("append", "overwrite"):
        with pytest.raises(SchemaError, match=r"'a' is .*(in|has).* table") as caught:
            write(ms.from_items([{"a": value}]), catalog, mode=mode)
        assert str(table.type) in str(caught.value)
    assert pa.table(read(catalog)).equals(before)


def test_new_columns_are_added_and_rows_come_in_the_order_of_their_writes(catalog):
    for number in range(3):
        write(ms.from_items([{"a": number}, {"a": number + 0}]), catalog)
    write(ms.from_items([{"b": "x"}]), catalog)
    rows = read(catalog).take_all()
    assert [row["a"] for row in rows] == [0, 0, 1, 1, 2, 2, None]
    assert [row["b"] for row in rows] == [None] * 6 + ["x"]


def test_a_table_of_another_program_takes_rows_and_keeps_its_types(catalog, opened):
    table = pa.table({"i": pa.array([1], pa.int32()), "s": ["a"], "f": [0.5]})
    opened.create_table(NAME, table.schema).append(table)
    write(ms.from_items([{"f": 1.5, "i": 2}]), catalog)
    assert opened.load_table(NAME).scan().to_arrow().num_rows == 2
    expected = [{"i": 1, "s": "a", "f": 0.5}, {"i": 2, "s": None, "f": 1.5}]
    found = pa.table(read(catalog))
    assert found.to_pylist() == expected
    assert found.schema.types == [pa.int32(), pa.string(), pa.float64()]


def test_a_column_that_cannot_be_null_takes_no_nulls(catalog, opened):
    required = NestedField(1, "a", LongType(), required=True)
    opened.create_table(NAME, Schema(required, NestedField(2, "b", LongType())))
    with pytest.raises(SchemaError, match="'a' has nulls"):
        write(ms.from_items([{"a": None, "b": 1}, {"a": 1, "b": 1}]), catalog)
    with pytest.raises(SchemaError, match="'a' must be there"):
        write(ms.from_items([{"b": 1}]), catalog)
    write(ms.from_items([{"a": 1}]), catalog)
    assert read(catalog).take_all() == [{"a": 1, "b": None}]
    inner = StructType(NestedField(2, "x", LongType(), required=True))
    opened.create_table("db.u", Schema(NestedField(1, "s", inner)))
    with pytest.raises(WriteError, match="'s' has fields within it that cannot be null"):
        write(ms.range(1), catalog, "db.u")


def test_overwriting_replaces_all_rows_in_one_commit(catalog, opened):
    write(ms.range(3), catalog)
    first = opened.load_table(NAME).current_snapshot().snapshot_id
    write(read(catalog).filter(lambda row: row["id"] == 1), catalog, mode="overwrite")
    assert read(catalog).take_all() == [{"id": 1}]
    assert read(catalog, snapshot_id=first).count() == 3
    # One commit: no metadata file knows the deletion without the rows.
    assert len(opened.load_table(NAME).metadata.metadata_log) == 1
    none = ms.range(3).filter(lambda row: False)
    write(none, catalog)
    assert read(catalog).count() == 1
    write(none, catalog, mode="overwrite")
    assert read(catalog).take_all() == []
    assert read(catalog).schema().names == ["id"]


def test_nan_survives_a_delete_that_others_decide_by_statistics(catalog, opened):
    written(catalog, pa.table({"f": [1.0, math.nan, 2.0], "x": [1, 2, 3]}))
    opened.load_table(NAME).delete("f < 5")
    assert [row["x"] for row in read(catalog).take_all()] == [2]


# Partitions ---------------------------------------------------------------------------------


FIELDS = [
    NestedField(1, "id", LongType()),
    NestedField(2, "s", StringType()),
    NestedField(3, "z", TimestamptzType()),
    NestedField(4, "d", DateType()),
    NestedField(5, "m", DecimalType(9, 2)),
    NestedField(6, "i", IntegerType()),
]
ROWS = [
    {
        "id": number,
        "s": ["x/y", "zeta", None, "ä%"][number % 4],
        "z": datetime.datetime(1969 + number, 12, 31, 23, tzinfo=datetime.UTC),
        "d": None if number == 3 else datetime.date(1969, 12, 30 + number % 2),
        "m": Decimal(number) / 2 - 1,
        "i": -number,
    }
    for number in range(6)
]


@pytest.mark.parametrize(
    ("source", "transform"),
    [
        (1, BucketTransform(4)),
        (2, BucketTransform(4)),
        (2, IdentityTransform()),
        (2, TruncateTransform(2)),
        (3, IdentityTransform()),
        (3, YearTransform()),
        (3, MonthTransform()),
        (3, DayTransform()),
        (3, HourTransform()),
        (4, IdentityTransform()),
        (4, DayTransform()),
        (5, IdentityTransform()),
        (5, TruncateTransform(100)),
        (6, TruncateTransform(4)),
        (6, VoidTransform()),
    ],
    ids=lambda value: str(value),
)
def test_rows_are_divided_as_the_table_says(catalog, opened, source, transform):
    field = PartitionField(source, 1000, transform, "part")
    table = opened.create_table(NAME, Schema(*FIELDS), partition_spec=PartitionSpec(field))
    write(ms.from_items(ROWS), catalog)
    assert sorted(read(catalog).take_all(), key=lambda row: row["id"]) == ROWS
    table.refresh()
    tasks = list(table.scan().plan_files())
    calculate = transform.transform(FIELDS[source - 1].field_type)
    name = FIELDS[source - 1].name
    for task in tasks:
        rows = pq.read_table(task.file.file_path.removeprefix("file://"), partitioning=None)
        assert "part" not in rows.column_names
        internal = rows.column(name)
        if pa.types.is_date(internal.type):
            internal = internal.cast(pa.int32())
        if pa.types.is_timestamp(internal.type):
            internal = internal.cast(pa.int64())
        assert {calculate(value) for value in internal.to_pylist()} == {task.file.partition[0]}
    # A filter leaves out the same files for others as for us, and no rows.
    for row in ROWS:
        if row[name] is not None and not isinstance(row[name], Decimal):
            same = EqualTo(name, str(row[name]) if source == 4 else row[name])
            if source == 3:
                same = EqualTo(name, row[name].isoformat())
            expected = sum(each[name] == row[name] for each in ROWS)
            assert read(catalog, row_filter=same).count() == expected
            assert table.scan(row_filter=same).to_arrow().num_rows == expected


def test_a_table_divided_by_bytes_is_refused(catalog, opened):
    schema = Schema(NestedField(1, "u", UUIDType()))
    field = PartitionField(1, 1000, IdentityTransform(), "u")
    opened.create_table(NAME, schema, partition_spec=PartitionSpec(field))
    with pytest.raises(WriteError, match="divided by u"):
        write(ms.range(1), catalog)


def test_files_that_lack_the_column_by_which_the_table_is_divided(catalog, opened):
    schema = Schema(NestedField(1, "d", DateType()), NestedField(2, "x", LongType()))
    field = PartitionField(1, 1000, IdentityTransform(), "d")
    table = opened.create_table(NAME, schema, partition_spec=PartitionSpec(field))
    table.append(pa.table({"d": [NOON.date()], "x": [5]}))
    (file,) = data_files(Path(catalog["warehouse"].removeprefix("file://")))
    # As Hive leaves them.
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns(["d"]), file)
    assert read(catalog).take_all() == [{"d": NOON.date(), "x": 5}]


# Whole or not at all ------------------------------------------------------------------------


def test_a_run_that_fails_leaves_nothing(tmp_path, catalog, opened):
    def fail(batch):
        if 7 in batch["id"]:
            raise ValueError("no")
        return batch

    ds = ms.range(10, override_num_blocks=5).map_batches(fail)
    with pytest.raises(ms.errors.UserCodeError):
        write(ds, catalog)
    assert not opened.table_exists(NAME)
    write(ms.range(2), catalog)
    with pytest.raises(ms.errors.UserCodeError):
        write(ds, catalog, mode="overwrite")
    assert read(catalog).count() == 2
    assert len(data_files(tmp_path)) == 1


@pytest.mark.parametrize("is_new", [True, False])
def test_a_commit_that_fails_leaves_the_table_as_it_was(tmp_path, catalog, monkeypatch, is_new):
    if not is_new:
        write(ms.range(1), catalog)

    def fail(*args, **kwargs):
        raise CommitFailedException("postgres://me:secret@host is away")

    monkeypatch.setattr("pyiceberg.catalog.sql.SqlCatalog.commit_table", fail)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(WriteError, match="is away") as caught:
        write(ms.range(3), catalog)
    assert "secret" not in str(caught.value)
    assert caught.value.file == NAME
    monkeypatch.undo()
    assert len(data_files(tmp_path)) == (0 if is_new else 1)
    if not is_new:
        assert read(catalog).count() == 1


@pytest.mark.parametrize("is_new", [True, False])
def test_a_commit_of_which_only_the_answer_was_lost_counts_once(catalog, monkeypatch, is_new):
    from pyiceberg.catalog.sql import SqlCatalog

    if not is_new:
        write(ms.range(1), catalog)
    commit = SqlCatalog.commit_table

    def commit_and_fail(*args, **kwargs):
        commit(*args, **kwargs)
        raise CommitStateUnknownException("connection reset")

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_and_fail)
    write(ms.range(3), catalog)
    assert read(catalog).count() == (3 if is_new else 4)


def test_two_writers_add_their_rows_and_a_changed_table_is_told(catalog):
    write(ms.range(1), catalog)
    late = plan_write_iceberg(NAME, catalog_kwargs=catalog)
    write(ms.range(2), catalog)
    write_planned(ms.range(3), late)
    assert read(catalog).count() == 6
    late = plan_write_iceberg(NAME, catalog_kwargs=catalog)
    write(ms.from_items([{"more": 1}]), catalog)
    with pytest.raises(WriteError, match="have changed during the run"):
        write_planned(ms.range(3), late)
    assert read(catalog).count() == 7


def test_the_snapshot_says_what_it_was_asked_to_and_which_run_it_was(catalog, opened):
    write(ms.range(2), catalog, snapshot_properties={"by": "me"})
    summary = opened.load_table(NAME).current_snapshot().summary
    assert summary["by"] == "me"
    assert summary["added-records"] == "2"
    assert len(summary["millstream.run-id"]) == 32


# Reading ------------------------------------------------------------------------------------


NESTED = pa.table(
    {
        "i": pa.array([1, 2, None], pa.int32()),
        "f": [1.0, math.nan, None],
        "l": [[{"a": 1}], None, []],
        "s": [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}],
        "m": pa.array(
            [[("k", {"v": 1})], None, []], pa.map_(pa.string(), pa.struct({"v": pa.int64()}))
        ),
    }
)


def test_columns_that_were_renamed_widened_added_or_moved_are_found_by_id(catalog, opened):
    table = opened.create_table(NAME, NESTED.schema)
    table.append(NESTED)
    with table.update_schema() as update:
        update.update_column("i", LongType())
        update.rename_column("i", "j")
        update.add_column("new", StringType())
        update.move_first("s")
        update.rename_column(("s", "a"), "aa")
        update.add_column(("s", "z"), StringType())
        update.rename_column(("l", "element", "a"), "x")
        update.rename_column(("m", "value", "v"), "w")
        update.delete_column("f")
    found = pa.table(read(catalog))
    assert found.column_names == ["s", "j", "l", "m", "new"]
    assert found["j"].type == pa.int64()
    assert found.to_pylist() == table.scan().to_arrow().to_pylist()
    assert found.to_pylist()[0] == {
        "s": {"aa": 1, "b": "x", "z": None},
        "j": 1,
        "l": [{"x": 1}],
        "m": [("k", {"w": 1})],
        "new": None,
    }
    # Files without ids are found by the names that columns had.
    with table.update_schema() as update:
        update.delete_column("s")
    write(read(catalog), catalog)
    with table.refresh().update_schema() as update:
        update.rename_column("j", "k")
        update.rename_column(("l", "element", "x"), "y")
    found = pa.table(read(catalog))
    assert found.to_pylist()[3:] == found.to_pylist()[:3]
    assert found.to_pylist() == table.refresh().scan().to_arrow().to_pylist()
    first = table.snapshots()[0].snapshot_id
    assert read(catalog, snapshot_id=first).schema().names == NESTED.column_names


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("f != 1.0", [2]),
        (NotEqualTo("f", 1.0), [2]),
        (IsNaN("f"), [2]),
        ("f not in (1.0, 3.0)", [2, None]),
        ("not (f <= 1.0)", []),
        ("i > 1", [2]),
        ("i is null", [None]),
        ("i = 1 and f = 1.0", [1]),
        ("s.a = 1", [1]),
        ("i > 100", []),
    ],
    ids=str,
)
def test_a_filter_decides_on_rows_and_nan_is_unequal_to_every_number(
    catalog, opened, condition, rows
):
    opened.create_table(NAME, NESTED.schema).append(NESTED)
    found = read(catalog, row_filter=condition, selected_fields=("i",))
    assert found.take_all() == [{"i": value} for value in rows]
    assert found.count() == len(rows)
    assert read(catalog, row_filter=condition).select_columns(["l"]).count() == len(rows)


def with_deletes(monkeypatch, path, format, count):
    """Lets each file of a plan have a file that tells of deleted rows, as Spark writes them."""
    delete = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=str(path),
        file_format=format,
        partition=Record(),
        record_count=count,
        file_size_in_bytes=os.path.getsize(path),
        column_sizes={},
        value_counts={},
        null_value_counts={},
        nan_value_counts={},
        lower_bounds={},
        upper_bounds={},
        key_metadata=None,
        split_offsets=None,
        equality_ids=None,
        sort_order_id=None,
    )
    plan = ManifestGroupPlanner.plan_files

    def plan_files(*args, **kwargs):
        return [FileScanTask(task.file, {delete}) for task in plan(*args, **kwargs)]

    monkeypatch.setattr(ManifestGroupPlanner, "plan_files", plan_files)


def put_puffin(path, deleted):
    """Writes deletion vectors."""
    blobs, content = [], b"PFA1"
    for file, rows in deleted.items():
        bitmap = (1).to_bytes(8, "little") + (0).to_bytes(4, "little") + BitMap(rows).serialize()
        vector = b"\xd1\xd3\x39\x64" + bitmap
        blob = len(vector).to_bytes(4, "big") + vector + bytes(4)
        blobs.append(
            {
                **{"type": "deletion-vector-v1", "fields": [], "snapshot-id": 1},
                **{"sequence-number": 1, "offset": len(content), "length": len(blob)},
                "properties": {"referenced-data-file": file},
            }
        )
        content += blob
    footer = json.dumps({"blobs": blobs}).encode()
    ending = len(footer).to_bytes(4, "little") + bytes(4) + b"PFA1"
    path.write_bytes(content + b"PFA1" + footer + ending)


@pytest.mark.parametrize("kind", ["positions", "vectors"])
def test_deleted_rows_are_not_there(tmp_path, catalog, opened, monkeypatch, kind):
    table = opened.create_table(NAME, pa.schema([("x", pa.int64())]))
    for start in (0, 10):
        table.append(pa.table({"x": range(start, start + 10)}))
    first, second = sorted(
        (task.file for task in table.scan().plan_files()), key=lambda file: file.lower_bounds[1]
    )
    gone = {first.file_path: [0, 4, 9], second.file_path: list(range(10)), "other": [1, 2]}
    path = tmp_path / "deletes"
    if kind == "positions":
        pairs = [{"file_path": file, "pos": row} for file in gone for row in gone[file]]
        pq.write_table(pa.Table.from_pylist(pairs), path)
        with_deletes(monkeypatch, path, FileFormat.PARQUET, len(pairs))
    else:
        put_puffin(path, gone)
        with_deletes(monkeypatch, path, FileFormat.PUFFIN, 15)
    left = [1, 2, 3, 5, 6, 7, 8]
    assert sorted(table.scan().to_arrow()["x"].to_pylist()) == left
    for blocks in (None, 1, 7):
        found = read(catalog, override_num_blocks=blocks)
        assert [row["x"] for row in found.take_all()] == left
        assert found.count() == len(left)
    assert read(catalog, row_filter="x > 4").count() == 4
    path.write_bytes(b"")
    with pytest.raises(ReadError) as caught:
        read(catalog).take_all()
    assert caught.value.file == str(path)


def test_units_are_files_or_as_many_as_are_asked_for(catalog, opened):
    table = opened.create_table(NAME, pa.schema([("x", pa.int64())]))
    for start in range(3):
        table.append(pa.table({"x": range(4 * start, 4 * start + 4)}))
    for blocks, units in [(None, 3), (1, 1), (2, 2), (6, 6), (50, 12)]:
        source = plan_iceberg(NAME, catalog_kwargs=catalog, blocks=blocks)
        assert len(source.units) == units
        tables = [t for unit in source.units for t in pickle.loads(pickle.dumps(unit)).read()]
        assert pa.concat_tables(tables)["x"].to_pylist() == list(range(12))
        assert source.rows == 12
    assert len(read(catalog).input_files()) == 3


def test_a_large_file_comes_in_tables_of_bounded_size(catalog, opened):
    numbers = np.random.default_rng(0).integers(0, 2**62, 4_000_000)
    opened.create_table(NAME, pa.schema([("x", pa.int64())])).append(pa.table({"x": numbers}))
    units = plan_iceberg(NAME, catalog_kwargs=catalog).units
    sizes = [table.nbytes for unit in units for table in unit.read()]
    assert max(sizes) < 40 << 20
    assert sum(sizes) >= 32_000_000


def test_only_the_columns_asked_for_are_read(catalog):
    write(ms.from_items([{"a": 1, "b": 2}]), catalog)
    assert read(catalog, selected_fields=("b", "a")).take_all() == [{"b": 2, "a": 1}]
    assert read(catalog).select_columns(["a"]).take_all() == [{"a": 1}]
    assert read(catalog).select_columns([]).count() == 1
    with pytest.raises(SchemaError, match="no column 'c'; the columns are 'a', 'b'"):
        read(catalog, selected_fields=("c",))


def test_a_dataset_reads_the_snapshot_that_was_there_when_it_was_made(catalog):
    write(ms.range(2), catalog)
    before = read(catalog)
    write(ms.range(5), catalog, mode="overwrite")
    assert before.count() == len(before.take_all()) == 2


def test_a_table_without_a_snapshot_is_empty(catalog, opened):
    opened.create_table(NAME, pa.schema([("x", pa.int64())]))
    assert read(catalog).take_all() == []
    assert read(catalog).schema().names == ["x"]
    write(ms.from_items([{"x": 1}]), catalog, mode="overwrite")
    assert read(catalog).count() == 1


# What is broken -----------------------------------------------------------------------------


def test_a_table_snapshot_or_catalog_that_is_not_there_is_told(catalog):
    with pytest.raises(ReadError, match="there is no such table") as caught:
        read(catalog, "db.nothing")
    assert caught.value.file == "db.nothing"
    write(ms.range(1), catalog)
    with pytest.raises(ReadError, match="no snapshot 7"):
        read(catalog, snapshot_id=7)
    with pytest.raises(ReadError, match="the catalog cannot be opened"):
        read({"type": "nonsense"})
    with pytest.raises((ReadError, WriteError), match="cannot be"):
        write(ms.range(1), catalog, "nowhere.t")


@pytest.mark.parametrize("damage", ["gone", "empty", "cut"])
def test_a_file_that_is_missing_or_broken_is_told(tmp_path, catalog, damage):
    write(ms.range(100), catalog)
    (file,) = data_files(tmp_path)
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    with pytest.raises(ReadError) as caught:
        read(catalog).take_all()
    assert caught.value.file == f"file://{file}"


def test_files_of_other_formats_and_deletes_by_equality_are_told(catalog, opened, monkeypatch):
    opened.create_table(NAME, pa.schema([("x", pa.int64())])).append(pa.table({"x": [1]}))
    plan = ManifestGroupPlanner.plan_files

    def orc(*args, **kwargs):
        tasks = plan(*args, **kwargs)
        tasks[0].file[2] = FileFormat.ORC
        return tasks

    monkeypatch.setattr(ManifestGroupPlanner, "plan_files", orc)
    with pytest.raises(ReadError, match="only Parquet is read here") as caught:
        read(catalog)
    assert caught.value.file.endswith(".parquet")

    def equality(*args, **kwargs):
        raise ValueError("PyIceberg does not yet support equality deletes")

    monkeypatch.setattr(pyiceberg.table.ManifestGroupPlanner, "plan_files", equality)
    with pytest.raises(ReadError, match="equality deletes") as caught:
        read(catalog)
    assert caught.value.file == NAME


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"table_identifier": ""}, "table_identifier='' must be"),
        ({"table_identifier": 5}, "table_identifier=5 must be"),
        ({"catalog_kwargs": "x"}, "catalog_kwargs='x' must be"),
        ({"snapshot_id": "x"}, "snapshot_id='x' must be"),
        ({"selected_fields": 3}, "selected_fields=3 must be"),
        ({"scan_kwargs": {"limit": 3}}, r"use Dataset\.limit"),
        ({"scan_kwargs": {"row_filter": "x"}}, "arguments of read_iceberg itself"),
        ({"scan_kwargs": 3}, "scan_kwargs=3 must be"),
        ({"row_filter": 3}, "row_filter=3 must be"),
        ({"row_filter": "id >"}, "row_filter='id >' does not fit"),
        ({"row_filter": "nope = 1"}, "row_filter='nope = 1' does not fit"),
        ({"override_num_blocks": 0}, "override_num_blocks=0 must be"),
    ],
)
def test_arguments_of_the_reader_that_make_no_sense(catalog, arguments, told):
    write(ms.range(1), catalog)
    with pytest.raises(ArgumentError, match=told):
        read_iceberg(**{"table_identifier": NAME, "catalog_kwargs": catalog, **arguments})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"mode": "upsert"}, "mode='upsert' must be"),
        ({"snapshot_properties": {"a": 1}}, "snapshot_properties=.* must be"),
        ({"catalog_kwargs": 3}, "catalog_kwargs=3 must be"),
    ],
)
def test_arguments_of_the_writer_that_make_no_sense(catalog, arguments, told):
    with pytest.raises(ArgumentError, match=told):
        plan_write_iceberg(NAME, **{"catalog_kwargs": catalog, **arguments})


def test_a_missing_package_is_told(catalog, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiceberg", None)
    for call in (plan_iceberg, plan_write_iceberg):
        with pytest.raises(MissingPackageError, match=r"pip install 'millstream\[iceberg\]'"):
            call(NAME, catalog_kwargs=catalog)
