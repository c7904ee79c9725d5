"""Delta Lake tables: values as they are or an error, whole commits or none, logs of others."""

from __future__ import annotations

import datetime
import json
import math
import os
import pickle
import re
import struct
import sys
import time
from decimal import Decimal
from pathlib import Path

import deltalake
import numpy as np
import object_store
import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import ArgumentError, MissingPackageError, ReadError, SchemaError, WriteError
from millstream.io.file_options import FileOptions
from millstream.io.formats.delta import plan_delta
from millstream.io.formats.delta_sink import plan_write_delta
from millstream.plan.arguments import SinkTasks
from millstream.plan.logical import Map
from millstream.read_tables import read_delta

NOON = datetime.datetime(2020, 7, 1, 12, 0, 0, 123456)


write = ms.Dataset.write_delta


def written(path, table, **how):
    write(ms.from_arrow(table), path, **how)
    return pa.table(read_delta(path))


def files_in(path):
    """All files of a table, those in hidden folders too, but the log."""
    found = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    return [each for each in found if "_delta_log" not in each.parts]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "table")


# Values -------------------------------------------------------------------------------------


def integers(bits):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


moments = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1))
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


@pytest.mark.parametrize("type", VALUES, ids=str)
@settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_values_of_every_type_come_back_as_they_are(tmp_path_factory, type, data):
    values = data.draw(st.lists(st.none() | VALUES[type], min_size=1))
    table = pa.table({"a": pa.array(values, type)})
    found = written(tmp_path_factory.mktemp("delta") / "t", table)
    assert found.schema.equals(table.schema)
    assert found.equals(table)


def test_nan_and_minus_zero_stay(path):
    found = written(path, pa.table({"a": [math.nan, -0.0, math.inf, None]}))["a"].to_pylist()
    assert math.isnan(found[0])
    assert math.copysign(1, found[1]) == -1
    assert found[2:] == [math.inf, None]


@pytest.mark.parametrize(
    ("found", "stored"),
    [
        (pa.array([255], pa.uint8()), pa.int16()),
        (pa.array([2**16 - 1], pa.uint16()), pa.int32()),
        (pa.array([2**32 - 1], pa.uint32()), pa.int64()),
        (pa.array([2**63 - 1], pa.uint64()), pa.int64()),
        (pa.array([1.5], pa.float16()), pa.float32()),
        (pa.array(["a"]).dictionary_encode(), pa.string()),
        (pa.array(["a"], pa.large_string()), pa.string()),
        (pa.array(["a"], pa.string_view()), pa.string()),
        (pa.array([b"abc"], pa.binary(3)), pa.binary()),
        (pa.array([NOON.date()], pa.date64()), pa.date32()),
        (pa.array([7_000], pa.timestamp("ms")), pa.timestamp("us")),
        (pa.array([7_000], pa.timestamp("ns")), pa.timestamp("us")),
        (pa.array([Decimal("1.5")], pa.decimal64(5, 2)), pa.decimal128(5, 2)),
        (pa.array([[1, 2]], pa.list_(pa.uint8(), 2)), pa.list_(pa.int16())),
    ],
    ids=str,
)
def test_types_that_tables_have_not_become_wider_ones_with_the_same_values(path, found, stored):
    read = written(path, pa.table({"a": found}))
    assert read.schema.field("a").type == stored
    assert read["a"].to_pylist() == pa.array(found).to_pylist()


@pytest.mark.parametrize(
    "values",
    [
        pa.array([2**63], pa.uint64()),
        pa.array([1], pa.timestamp("ns")),
        pa.array([2**62], pa.timestamp("s")),
    ],
    ids=["beyond int64", "nanoseconds", "far seconds"],
)
def test_a_value_that_the_table_cannot_hold_is_an_error_that_names_column_and_types(path, values):
    with pytest.raises(
        SchemaError, match=re.escape(f"'a' is {values.type}, and not every value")
    ) as caught:
        written(path, pa.table({"a": values}))
    assert "int64" in str(caught.value) or "timestamp[us]" in str(caught.value)
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([datetime.time(1)], pa.time64("us")),
        pa.array([datetime.timedelta(1)], pa.duration("us")),
        pa.array([Decimal(10**50)], pa.decimal256(60, 2)),
        pa.array([{}], pa.struct([])),
    ],
    ids=lambda values: str(values.type),
)
def test_a_type_that_tables_have_not_is_refused_by_name(path, values):
    with pytest.raises(SchemaError, match=r"column 'a' of type .* Delta tables have no type"):
        written(path, pa.table({"a": values}))


def test_a_column_without_any_value_is_refused_by_name(path):
    for column in ([None], [[]]):
        with pytest.raises(SchemaError, match=r"'a' of type .* has no values"):
            write(ms.from_items([{"x": 1, "a": column[0]}]), path)
    assert not os.path.exists(path)
    write(ms.from_items([{"x": 1, "a": "text"}]), path)
    write(ms.from_items([{"x": 2, "a": None}]), path)
    assert read_delta(path).take_all() == [{"x": 1, "a": "text"}, {"x": 2, "a": None}]


def test_tensors_are_lists_for_others_and_tensors_for_us(path):
    arrays = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    write(ms.from_numpy(arrays), path)
    found = read_delta(path).take_batch(4)["data"]
    assert found.dtype == np.uint8
    assert np.array_equal(found, arrays)
    others = deltalake.DeltaTable(path).to_pyarrow_table()
    assert others.to_pydict() == {"data": arrays.reshape(4, 6).tolist()}


def test_tensors_of_another_shape_are_refused(path):
    write(ms.from_numpy(np.zeros((2, 2, 3))), path)
    with pytest.raises(SchemaError, match=r"'data' is .*shape=\[3,2\].*shape=\[2,3\]"):
        write(ms.from_numpy(np.zeros((2, 3, 2))), path)
    shapes = {0: (1, 2, 3), 1: (1, 3, 2)}
    two = ms.range(2, override_num_blocks=2).map_batches(
        lambda batch: {"data": np.zeros(shapes[int(batch["id"][0])])}
    )
    with pytest.raises(SchemaError, match=r"'data' is .* in some blocks"):
        write(two, path + "2")
    ragged = ms.from_items([{"data": np.zeros((2, 2))}, {"data": np.zeros((3, 2))}])
    with pytest.raises(SchemaError, match="to tensors of one shape"):
        write(ragged, path + "3")


def test_times_of_two_zones_are_refused_since_one_is_noted(path):
    blocks = [
        ms.from_arrow(pa.table({"a": pa.array([NOON], pa.timestamp("us", zone))}))
        for zone in ("Europe/Berlin", "Asia/Tokyo")
    ]
    with pytest.raises(SchemaError, match=r"'a' is .* in some blocks"):
        write(blocks[0].union(blocks[1]), path)
    write(blocks[0], path)
    write(blocks[1], path)
    # What is there already decides, and the instants are the same.
    found = pa.table(read_delta(path))["a"]
    assert found.type == pa.timestamp("us", "Europe/Berlin")
    assert found[0].value == found[1].value


def test_blocks_of_several_types_become_one_column(path):
    ds = ms.from_items([{"a": 1}]).union(ms.from_items([{"a": 2.5, "b": "x"}]))
    write(ds, path)
    assert read_delta(path).take_all() == [{"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}]


# Appending ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "value"),
    [
        (pa.array([1], pa.int8()), 1.7),
        (pa.array([1], pa.int8()), 1.0),
        (pa.array([True]), 5),
        (pa.array([7]), "7"),
        (pa.array(["7"]), 7),
        (pa.array([NOON]), NOON.replace(tzinfo=datetime.UTC)),
        (pa.array([NOON.date()]), NOON),
        (pa.array([1], pa.int8()), 128),
        (pa.array([1.5]), 2**53 + 1),
    ],
    ids=str,
)
def test_an_append_never_makes_another_value_of_one(path, table, value):
    before = written(path, pa.table({"a": table}))
    with pytest.raises(SchemaError, match=r"'a' is .*(in|has).* table") as caught:
        write(ms.from_items([{"a": value}]), path)
    assert str(table.type) in str(caught.value)
    assert pa.table(read_delta(path)).equals(before)
    assert len(files_in(path)) == 1


def test_integers_that_fit_are_appended_to_narrower_ones(path):
    written(path, pa.table({"a": pa.array([1], pa.int8())}))
    write(ms.from_items([{"a": 127}]), path)
    found = pa.table(read_delta(path))
    assert found.equals(pa.table({"a": pa.array([1, 127], pa.int8())}))


def test_new_columns_are_added_or_refused(path):
    write(ms.from_items([{"a": 1}]), path)
    with pytest.raises(SchemaError, match="no column 'b'"):
        write(ms.from_items([{"a": 2, "b": NOON}]), path, schema_mode="error")
    write(ms.from_items([{"b": NOON}]), path)
    assert read_delta(path).take_all() == [{"a": 1, "b": None}, {"a": None, "b": NOON}]


def test_names_that_differ_in_capitals_only_are_refused(path):
    with pytest.raises(SchemaError, match="'a' and 'A' differ in capitals"):
        written(path, pa.table({"a": [1], "A": [2]}))


def test_a_column_that_cannot_be_null_takes_no_nulls(path):
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False), ("b", pa.int64())])
    deltalake.DeltaTable.create(path, deltalake.Schema.from_arrow(schema))
    with pytest.raises(SchemaError, match="'a' has nulls"):
        write(ms.from_items([{"a": None, "b": 1}, {"a": 1, "b": 1}]), path)
    with pytest.raises(SchemaError, match="'a' must be there"):
        write(ms.from_items([{"b": 1}]), path)
    write(ms.from_items([{"a": 1}]), path)
    assert read_delta(path).take_all() == [{"a": 1, "b": None}]


# Modes and partitions -----------------------------------------------------------------------


def test_modes(path):
    write(ms.range(2), path, mode="ignore")
    write(ms.range(5), path, mode="ignore")
    assert read_delta(path).count() == 2
    with pytest.raises(WriteError, match="there is a table already"):
        write(ms.range(5), path, mode="error")
    write(ms.range(3), path)
    assert read_delta(path).count() == 5
    write(ms.from_items([{"other": "x"}]), path, mode="overwrite")
    assert read_delta(path).take_all() == [{"other": "x"}]
    assert [read_delta(path, version).count() for version in range(3)] == [2, 5, 1]


def test_a_table_can_be_overwritten_with_its_own_rows(path):
    write(ms.range(10), path)
    write(read_delta(path).filter(lambda row: row["id"] % 2), path, mode="overwrite")
    assert sorted(row["id"] for row in read_delta(path).take_all()) == [1, 3, 5, 7, 9]


def test_rows_that_are_none_leave_an_empty_table_with_columns(path):
    none = ms.range(3).filter(lambda row: False)
    write(none, path)
    assert read_delta(path).schema().names == ["id"]
    assert read_delta(path).take_all() == []
    write(ms.range(3), path)
    write(none, path)
    assert read_delta(path).count() == 3
    write(none, path, mode="overwrite")
    assert read_delta(path).count() == 0
    assert not [each for each in os.listdir(path) if each.startswith(".")]


PARTS = {
    "t": pa.array(["a/b", "c=%20ä", None, "__x__"]),
    "i": pa.array([-1, 2**40, None, 0]),
    "b": pa.array([True, False, None, True]),
    "d": pa.array([NOON.date(), datetime.date(1, 1, 1), None, datetime.date(9999, 12, 31)]),
    "n": pa.array([NOON, datetime.datetime(1, 1, 1), None, datetime.datetime(9999, 12, 31)]),
    "z": pa.array([NOON] * 3 + [None], pa.timestamp("us", "UTC")),
    "m": pa.array([Decimal("1.50"), Decimal("-0.01"), None, Decimal(0)], pa.decimal128(9, 2)),
}


@pytest.mark.parametrize("name", PARTS)
def test_rows_are_divided_by_the_values_of_columns(path, name):
    table = pa.table({name: PARTS[name], "x": range(4)})
    found = written(path, table, partition_by=[name])
    assert found.sort_by("x").equals(table)
    theirs = pa.table(deltalake.DeltaTable(path).scan()).to_pylist()
    assert sorted(theirs, key=lambda row: row["x"]) == table.to_pylist()
    assert read_delta(path, columns=["x"]).schema().names == ["x"]


def test_partitions_that_the_log_cannot_tell_are_refused(path):
    with pytest.raises(SchemaError, match="'p' has an empty text"):
        write(ms.from_items([{"p": "", "x": 1}]), path, partition_by="p")
    with pytest.raises(SchemaError, match="'p' is double"):
        write(ms.from_items([{"p": 0.5, "x": 1}]), path, partition_by="p")
    with pytest.raises(SchemaError, match="no column 'q'"):
        write(ms.from_items([{"p": 1}]), path, partition_by="q")
    assert not os.path.exists(path)


def test_the_partitions_of_a_table_stay_until_it_is_overwritten(path):
    write(ms.from_items([{"p": 1, "x": 1}]), path, partition_by=["p"])
    write(ms.from_items([{"p": 2, "x": 2}]), path)
    with pytest.raises(ArgumentError, match=r"partition_by=\['x'\] must be \['p'\]"):
        write(ms.from_items([{"p": 2, "x": 2}]), path, partition_by=["x"])
    assert deltalake.DeltaTable(path).metadata().partition_columns == ["p"]
    write(ms.from_items([{"p": 3, "x": 3}]), path, partition_by=["x"], mode="overwrite")
    assert deltalake.DeltaTable(path).metadata().partition_columns == ["x"]
    assert read_delta(path).take_all() == [{"p": 3, "x": 3}]


def test_a_new_table_has_its_name_and_description(path):
    write(ms.range(1), path, name="people", description="all of them")
    metadata = deltalake.DeltaTable(path).metadata()
    assert (metadata.name, metadata.description) == ("people", "all of them")


# Whole or not at all ------------------------------------------------------------------------


def test_a_run_that_fails_leaves_nothing(path):
    def fail(batch):
        if 7 in batch["id"]:
            raise ValueError("no")
        return batch

    ds = ms.range(10, override_num_blocks=5).map_batches(fail)
    for there in (False, True):
        if there:
            write(ms.range(2), path)
        with pytest.raises(ms.errors.UserCodeError):
            write(ds, path, mode="overwrite")
        assert os.path.exists(path) == there
    assert read_delta(path).count() == 2
    assert len(files_in(path)) == 1


def test_a_commit_that_fails_leaves_the_table_as_it_was(path, monkeypatch):
    write(ms.from_items([{"p": 1}]), path)

    def fail(*args, **kwargs):
        raise OSError("the store is away")

    monkeypatch.setattr(deltalake.DeltaTable, "create_write_transaction", fail)
    for mode in ("append", "overwrite"):
        with pytest.raises(WriteError, match="the store is away"):
            write(ms.from_items([{"p": 2}]), path, mode=mode)
        assert read_delta(path).take_all() == [{"p": 1}]
        assert len(files_in(path)) == 1


def test_a_commit_of_which_only_the_answer_was_lost_counts_once(path, monkeypatch):
    write(ms.range(1), path)
    commit = deltalake.DeltaTable.create_write_transaction

    def commit_and_fail(*args, **kwargs):
        commit(*args, **kwargs)
        raise OSError("connection reset")

    monkeypatch.setattr(deltalake.DeltaTable, "create_write_transaction", commit_and_fail)
    write(ms.range(3), path)
    assert read_delta(path).count() == 4


def test_files_stay_if_nobody_knows_whether_they_count(path, monkeypatch):
    planned = plan_write_delta(path)

    def fail(*args):
        raise OSError("the store is away")

    monkeypatch.setattr(type(planned.commit), "publish", fail)
    monkeypatch.setattr(type(planned.commit), "is_published", fail)
    with pytest.raises(WriteError, match=r"not known whether .* names begin with"):
        write(ms.range(3), path)
    assert len(files_in(path)) == 1


def test_two_writers_add_their_rows_and_a_changed_table_is_told(path):
    write(ms.range(1), path)
    late = plan_write_delta(path)
    write(ms.range(2), path)
    tasks = SinkTasks()
    first = Map(late.types, tasks.shape(), columns=late.types.schema)
    ms.range(3)._write_files(late.files, late.commit, late.options, tasks, first)
    assert read_delta(path).count() == 6
    late = plan_write_delta(path)
    write(ms.from_items([{"more": 1}]), path)
    with pytest.raises(WriteError, match="have changed during the run"):
        ms.range(3)._write_files(late.files, late.commit, late.options, tasks, first)
    assert read_delta(path).count() == 7


@pytest.mark.parametrize(
    ("configuration", "mode", "told"),
    [
        ({"delta.appendOnly": "true"}, "overwrite", "only be added"),
        ({"delta.constraints.x": "id > 0"}, "append", "delta.constraints.x"),
    ],
)
def test_tables_that_ask_for_more_of_their_writers_are_refused(path, configuration, mode, told):
    write(ms.range(1), path)
    log = Path(path, "_delta_log", f"{0:020}.json")
    lines = [json.loads(line) for line in log.read_text().splitlines() if line]
    for line in lines:
        if "metaData" in line:
            line["metaData"]["configuration"] = configuration
        if "protocol" in line:
            line["protocol"] = {"minReaderVersion": 2, "minWriterVersion": 5}
    log.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(WriteError, match=told):
        write(ms.range(1), path, mode=mode)


# Reading ------------------------------------------------------------------------------------


Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def deletion_vector(rows):
    """As the protocol has it: a Roaring bitmap, in the log itself."""
    values = b"".join(struct.pack("<H", row) for row in rows)
    bitmap = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16) + values
    data = struct.pack("<IqI", 1681511377, 1, 0) + bitmap
    padded = data + b"\0" * (-len(data) % 4)
    text = ""
    for (number,) in struct.iter_unpack(">I", padded):
        text += "".join(Z85[number // 85**power % 85] for power in (4, 3, 2, 1, 0))
    how = {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(data)}
    return {**how, "cardinality": len(rows)}


def log_lines(path, version=0):
    log = Path(path, "_delta_log", f"{version:020}.json")
    return [json.loads(line) for line in log.read_text().splitlines() if line]


def put_log(path, version, lines):
    os.makedirs(Path(path, "_delta_log"), exist_ok=True)
    log = Path(path, "_delta_log", f"{version:020}.json")
    log.write_text("\n".join(map(json.dumps, lines)))


def delete_rows(path, rows):
    """Deletes rows of the first file of a table as Spark does, by a deletion vector."""
    added = next(line["add"] for line in log_lines(path) if "add" in line)
    version = deltalake.DeltaTable(path).version() + 1
    removed = {key: added[key] for key in ("path", "partitionValues", "size")}
    removed |= {"deletionTimestamp": 1, "dataChange": True, "extendedFileMetadata": True}
    changed = {**added, "deletionVector": deletion_vector(rows)}
    put_log(path, version, [{"remove": removed}, {"add": changed}])


@pytest.mark.parametrize("rows", [[1, 3, 9], [0], list(range(10))], ids=str)
def test_rows_that_a_deletion_vector_deletes_are_not_there(path, rows):
    on = {"delta.enableDeletionVectors": "true"}
    table = pa.table({"x": range(10), "p": ["a b"] * 10})
    deltalake.write_deltalake(path, table, partition_by=["p"], configuration=on)
    deltalake.write_deltalake(path, table.slice(0, 1), mode="append")
    delete_rows(path, rows)
    left = [row for row in range(10) if row not in rows] + [0]
    found = read_delta(path, override_num_blocks=4)
    assert [row["x"] for row in found.take_all()] == left
    assert found.count() == len(left)
    assert read_delta(path, columns=[]).count() == len(left)
    assert read_delta(path, version=1).count() == 11
    # Who writes to such a table leaves what is deleted deleted.
    write(ms.from_items([{"x": 5, "p": "q"}]), path)
    assert read_delta(path).count() == len(left) + 1


def mapped(path, fields, mode="name"):
    """A table whose files have other names for columns."""
    os.makedirs(path)
    pq.write_table(pa.table({"col-1": [1, 2]}), Path(path, "x.parquet"))
    metadata = {"id": "0acb5aed-d578-450d-b035-947286880b7a", "partitionColumns": ["p"]}
    metadata["format"] = {"provider": "parquet", "options": {}}
    metadata["schemaString"] = json.dumps({"type": "struct", "fields": fields})
    metadata["configuration"] = {"delta.columnMapping.mode": mode}
    added = {"path": "x.parquet", "partitionValues": {"col-2": "q"}, "modificationTime": 1}
    added |= {"size": os.path.getsize(Path(path, "x.parquet")), "dataChange": True}
    protocol = {"minReaderVersion": 2, "minWriterVersion": 5}
    put_log(path, 0, [{"protocol": protocol}, {"metaData": metadata}, {"add": added}])


def field(name, type, number):
    names = {
        "delta.columnMapping.id": number,
        "delta.columnMapping.physicalName": f"col-{number}",
    }
    return {"name": name, "type": type, "nullable": True, "metadata": names}


def test_columns_that_have_other_names_in_files_are_found(path):
    mapped(path, [field("a b", "long", 1), field("p", "string", 2)])
    found = read_delta(path)
    assert found.take_all() == [{"a b": 1, "p": "q"}, {"a b": 2, "p": "q"}]
    assert read_delta(path, columns=["p", "a b"]).take(1) == [{"p": "q", "a b": 1}]
    with pytest.raises(WriteError, match="column mapping"):
        write(found, path)


def test_names_within_columns_and_mapping_by_id_are_refused(path):
    inner = {"type": "struct", "fields": [field("x", "long", 3)]}
    array = {"type": "array", "elementType": inner, "containsNull": True}
    mapped(path, [field("a", array, 1), field("p", "string", 2)])
    with pytest.raises(ReadError, match="the field 'x' within column 'a'") as caught:
        read_delta(path)
    assert caught.value.file == path
    mapped(path + "2", [field("a", "long", 1), field("p", "string", 2)], mode="id")
    with pytest.raises(ReadError, match="column mapping by id"):
        read_delta(path + "2")


def test_a_table_that_asks_for_more_of_its_readers_is_refused(path, monkeypatch):
    write(ms.range(1), path)
    protocol = deltalake.DeltaTable(path).protocol()._replace(reader_features=["timeTravelX"])
    monkeypatch.setattr(deltalake.DeltaTable, "protocol", lambda self: protocol)
    with pytest.raises(ReadError, match="needs timeTravelX"):
        read_delta(path)


def test_files_from_before_a_column_was_added_give_null(path):
    deltalake.write_deltalake(path, pa.table({"a": [1]}))
    more = pa.table({"b": ["x"], "a": [2]})
    deltalake.write_deltalake(path, more, mode="append", schema_mode="merge")
    assert read_delta(path).take_all() == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_versions_by_number_and_by_moment(path):
    write(ms.range(1), path)
    write(ms.range(2), path)
    times = [each["timestamp"] for each in deltalake.DeltaTable(path).history()]
    newest = datetime.datetime.fromtimestamp(max(times) / 1000 + 1, datetime.UTC)
    assert read_delta(path, 0).count() == 1
    assert read_delta(path, newest).count() == read_delta(path, newest.isoformat()).count() == 3
    with pytest.raises(ReadError, match="there was no such table yet"):
        read_delta(path, "2001-01-01T00:00:00Z")
    with pytest.raises(ReadError, match="version 9 of this table"):
        read_delta(path, 9)


def test_a_dataset_reads_the_version_that_was_there_when_it_was_made(path):
    write(ms.range(2), path)
    before = read_delta(path)
    write(ms.range(5), path, mode="overwrite")
    assert before.count() == len(before.take_all()) == 2


def test_units_are_files_or_as_many_as_are_asked_for(path):
    for start in range(3):
        write(ms.range(4).map(lambda row, start=start: {"x": row["id"] + 4 * start}), path)
    options = FileOptions()
    expected = list(range(12))
    for blocks, units in [(None, 3), (1, 1), (2, 2), (3, 3), (6, 6), (50, 12)]:
        source = plan_delta(path, options, blocks=blocks)
        assert len(source.units) == units
        tables = [t for unit in source.units for t in pickle.loads(pickle.dumps(unit)).read()]
        assert pa.concat_tables(tables)["x"].to_pylist() == expected
        assert source.rows == 12
    assert all(unit.nbytes > 0 and len(unit.files) == 1 for unit in source.units)


def test_files_can_be_shuffled_and_told(path):
    for number in range(5):
        write(ms.from_items([{"x": number}]), path)
    config = ms.FileShuffleConfig(seed=3)
    shuffled = read_delta(path, shuffle=config)
    orders = [[row["x"] for row in shuffled.take_all()] for _ in range(2)]
    assert orders[0] == orders[1]
    assert orders[0] != list(range(5))
    rows = read_delta(path, include_paths=True, columns=["x"]).take_all()
    assert all(os.path.exists(row["path"]) for row in rows)
    assert len(read_delta(path).input_files()) == 5


def test_only_the_columns_asked_for_are_read(path):
    write(ms.from_items([{"a": 1, "b": 2}]), path)
    assert read_delta(path, columns=["b"]).take_all() == [{"b": 2}]
    assert read_delta(path).select_columns(["a"]).take_all() == [{"a": 1}]
    with pytest.raises(SchemaError, match="no column 'c'; the columns are 'a', 'b'"):
        read_delta(path, columns=["c"])


def test_a_large_file_comes_in_tables_of_bounded_size(path):
    numbers = np.random.default_rng(0).integers(0, 2**62, 4_000_000)
    deltalake.write_deltalake(path, pa.table({"x": numbers}))
    (unit,) = plan_delta(path, FileOptions()).units
    sizes = [table.nbytes for table in unit.read()]
    assert max(sizes) < 40 << 20 < sum(sizes) + (10 << 20)


@pytest.mark.parametrize("name", ["a b", "ä#?x", "50%"])
def test_folders_of_any_name(tmp_path, name):
    path = tmp_path / name
    write(ms.from_items([{"p": "x y", "n": 1}]), path, partition_by=["p"])
    assert read_delta(path).take_all() == [{"p": "x y", "n": 1}]
    assert read_delta(path.as_uri()).count() == 1


def test_a_folder_that_deltalake_would_take_for_another_is_refused(tmp_path):
    write(ms.range(1), tmp_path / "a b")
    for call in (read_delta, plan_write_delta):
        with pytest.raises(ArgumentError, match=r"a%20b' has a '%'.*deltalake would open"):
            call(tmp_path / "a%20b")


def test_relative_paths_and_file_systems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(ms.range(3), "here")
    assert read_delta("here").count() == 3
    assert read_delta(tmp_path / "here", filesystem=pa_fs.LocalFileSystem()).count() == 3


def test_a_table_in_an_object_store_is_read_and_written_through_deltalake():
    with object_store.running() as place:
        host = place.partition("=")[2].partition("&")[0]
        options = {"AWS_ENDPOINT_URL": f"http://{host}", "AWS_ALLOW_HTTP": "true"}
        options |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        options |= {"AWS_REGION": "us-east-1"}
        path = "s3://bucket/deep/table"
        rows = [{"p": 1, "x": 1}, {"p": 2, "x": 2}]
        write(ms.from_items(rows[:1]), path, partition_by="p", storage_options=options)
        write(ms.from_items(rows[1:]), path, storage_options=options)
        found = read_delta(path, storage_options=options)
        assert found.take_all() == rows
        write(ms.range(3), path, partition_by=[], mode="overwrite", storage_options=options)
        assert read_delta(path, storage_options=options).count() == 3
        with pytest.raises(ReadError, match="there is no Delta Lake table"):
            read_delta("s3://bucket/other", storage_options=options)
        store = pa_fs.S3FileSystem(
            access_key="key", secret_key="secret", endpoint_override=host, scheme="http"
        )
        there = store.get_file_info(pa_fs.FileSelector("bucket", recursive=True))
        assert not [each.path for each in there if "millstream-" in each.path]


# What is broken -----------------------------------------------------------------------------


def test_what_is_no_table_is_told(tmp_path, path):
    for place in (path, tmp_path):
        with pytest.raises(ReadError, match="there is no Delta Lake table") as caught:
            read_delta(place)
        assert caught.value.file == str(place)
    assert not os.path.exists(path)


@pytest.mark.parametrize("text", ["", "garbage", '{"add": {}}'])
def test_a_broken_log_is_told(path, text):
    os.makedirs(Path(path, "_delta_log"))
    Path(path, "_delta_log", f"{0:020}.json").write_text(text)
    with pytest.raises(ReadError) as caught:
        read_delta(path)
    assert caught.value.file == path
    assert "None" not in caught.value.message


@pytest.mark.parametrize("damage", ["gone", "empty", "cut"])
def test_a_file_that_is_missing_or_broken_is_told(path, damage):
    write(ms.range(100), path)
    (file,) = files_in(path)
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    with pytest.raises(ReadError) as caught:
        read_delta(path).take_all()
    assert caught.value.file == str(file)


@pytest.mark.parametrize("name", ["../other.parquet", "/etc/x.parquet", "file:///x.parquet"])
def test_a_file_outside_of_the_table_is_not_read(path, name):
    write(ms.range(1), path)
    lines = log_lines(path)
    for line in lines:
        if "add" in line:
            line["add"]["path"] = name
    put_log(path, 0, lines)
    with pytest.raises(ReadError, match="not in the folder of the table"):
        read_delta(path)


def test_lists_that_are_no_tensors_any_more_are_told(path):
    write(ms.from_numpy(np.zeros((1, 2, 3))), path)
    deltalake.write_deltalake(path, pa.table({"data": [[1.0]]}), mode="append")
    with pytest.raises(SchemaError, match=r"'data' was written as .*, and has other values now"):
        read_delta(path).take_all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"version": -1}, "version=-1 must be"),
        ({"version": True}, "version=True must be"),
        ({"version": "2020-01-01"}, "a datetime with a zone"),
        ({"version": NOON}, "a datetime with a zone"),
        ({"storage_options": "x"}, "storage_options='x' must be"),
        ({"columns": 7}, "columns=7 must be"),
        ({"shuffle": "rows"}, "shuffle='rows' must be"),
        ({"include_paths": 1}, "include_paths=1 must be"),
        ({"filesystem": 1}, "filesystem=1 must be"),
        ({"override_num_blocks": 0}, "override_num_blocks=0 must be"),
    ],
)
def test_arguments_of_the_reader_that_make_no_sense(path, arguments, told):
    write(ms.range(1), path)
    with pytest.raises(ArgumentError, match=told):
        read_delta(path, **arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"mode": "upsert"}, "mode='upsert' must be"),
        ({"schema_mode": "overwrite"}, "schema_mode='overwrite' must be"),
        ({"partition_by": 3}, "partition_by=3 must be"),
        ({"name": 3}, "name=3 must be"),
        ({"description": 3}, "description=3 must be"),
        ({"storage_options": ["x"]}, "storage_options=.'x'. must be"),
    ],
)
def test_arguments_of_the_writer_that_make_no_sense(path, arguments, told):
    with pytest.raises(ArgumentError, match=told):
        plan_write_delta(path, **arguments)


def test_a_missing_package_is_told(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    for call in (read_delta, plan_write_delta):
        with pytest.raises(MissingPackageError, match=r"pip install 'millstream\[delta\]'"):
            call(path)


def test_each_version_is_found_by_its_time(tmp_path):
    path, moments = str(tmp_path / "t"), []
    for number in range(4):
        written(path, pa.table({"x": [number]}), mode="append")
        log = sorted((tmp_path / "t" / "_delta_log").glob("*.json"))[-1]
        stamps = [json.loads(line) for line in log.read_text().splitlines()]
        at = next(each["commitInfo"]["timestamp"] for each in stamps if "commitInfo" in each)
        # A version is as old as its file, which may come later than its stamp says.
        at = max(at, math.ceil(log.stat().st_mtime * 1000))
        moments.append(datetime.datetime.fromtimestamp(at / 1000, datetime.UTC))
        while time.time() * 1000 < at + 2:
            pass
    for number, moment in enumerate(moments):
        assert ms.read_delta(path, version=moment).count() == number + 1
    with pytest.raises(ReadError, match="no such table yet"):
        ms.read_delta(path, version=moments[0] - datetime.timedelta(seconds=1))
