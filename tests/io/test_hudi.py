"""Hudi: the rows of a snapshot, a base file a unit. The table here is made by hand: two commits."""

from __future__ import annotations

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from io_sources import table_of, unit_rows

from millstream.errors import ArgumentError, MissingPackageError, ReadError
from millstream.io.formats.hudi import plan_hudi
from millstream.read_lakes import read_hudi

PROPERTIES = {
    "hoodie.table.name": "t",
    "hoodie.table.type": "COPY_ON_WRITE",
    "hoodie.table.version": "6",
    "hoodie.timeline.layout.version": "1",
    "hoodie.table.base.file.format": "PARQUET",
    "hoodie.table.recordkey.fields": "id",
    "hoodie.table.precombine.field": "id",
    "hoodie.populate.meta.fields": "true",
    "hoodie.table.keygenerator.class": "org.apache.hudi.keygen.NonpartitionedKeyGenerator",
}
SCHEMA = {
    "type": "record",
    "name": "t",
    "fields": [
        {"name": "id", "type": ["null", "long"]},
        {"name": "s", "type": ["null", "string"]},
        {"name": "w", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
    ],
}


def commit(root, moment, groups):
    """Writes a base file of ids for each file group, and the commit that makes them count."""
    stats = []
    for group, ids in groups.items():
        name = f"{group}-0_0-1-0_{moment}.parquet"
        rows = len(ids)
        table = pa.table(
            {
                "_hoodie_commit_time": [moment] * rows,
                "_hoodie_commit_seqno": [f"{moment}_{n}" for n in ids],
                "_hoodie_record_key": list(map(str, ids)),
                "_hoodie_partition_path": [""] * rows,
                "_hoodie_file_name": [name] * rows,
                "id": pa.array(ids, pa.int64()),
                "s": [None if n % 2 else "é" for n in ids],
                "w": pa.array(ids, pa.timestamp("us", "UTC")),
            }
        )
        pq.write_table(table, root / name)
        size = os.path.getsize(root / name)
        stat = {"fileId": f"{group}-0", "path": name, "partitionPath": "", "prevCommit": "null"}
        counts = {"numWrites": rows, "numInserts": rows, "numDeletes": 0, "numUpdateWrites": 0}
        stats.append({**stat, **counts, "fileSizeInBytes": size, "totalWriteErrors": 0})
    told = {"partitionToWriteStats": {"": stats}, "operationType": "INSERT", "compacted": False}
    timeline = root / ".hoodie"
    timeline.mkdir(exist_ok=True)
    for state in (".commit.requested", ".inflight"):
        (timeline / f"{moment}{state}").touch()
    told["extraMetadata"] = {"schema": json.dumps(SCHEMA)}
    (timeline / f"{moment}.commit").write_text(json.dumps(told))
    lines = [f"{name}={value}" for name, value in PROPERTIES.items()]
    (timeline / "hoodie.properties").write_text("\n".join(lines))


@pytest.fixture
def table(tmp_path):
    pytest.importorskip("hudi")
    commit(tmp_path, "20240101000000000", {"a": [1, 2], "b": [3, 4, 5]})
    commit(tmp_path, "20240102000000000", {"a": [1, 2, 6]})
    return tmp_path


def test_the_newest_files_are_read_a_unit_each(table):
    source = plan_hudi(table)
    assert unit_rows(source) == [3, 3]
    assert source.files == [
        f"{table}/a-0_0-1-0_20240102000000000.parquet",
        f"{table}/b-0_0-1-0_20240101000000000.parquet",
    ]
    found = table_of(source)
    assert found.schema.types == source.schema.types
    assert found.schema.field("w").type == pa.timestamp("us", "UTC")
    assert found["id"].to_pylist() == [1, 2, 6, 3, 4, 5]
    assert found["s"].to_pylist() == [None, "é", "é", None, "é", None]
    assert unit_rows(plan_hudi(table, blocks=1)) == [6]


def test_what_is_planned_stays_what_it_is(table):
    source = plan_hudi(table)
    commit(table, "20240103000000000", {"b": [7]})
    assert sorted(table_of(source)["id"].to_pylist()) == [1, 2, 3, 4, 5, 6]
    assert sorted(table_of(plan_hudi(table))["id"].to_pylist()) == [1, 2, 6, 7]


def test_rows_are_chosen_by_conditions(table):
    assert sorted(table_of(plan_hudi(table, filters=[("id", ">", "4")]))["id"].to_pylist()) == [
        5,
        6,
    ]
    with pytest.raises(ArgumentError, match="filters"):
        plan_hudi(table, filters=[("id", "nope", "4")])


def test_a_run_gives_the_rows(table):
    assert read_hudi(table).count() == 6
    assert {row["id"] for row in read_hudi(table).take_all()} == {1, 2, 3, 4, 5, 6}


def test_what_is_not_there_or_broken_is_an_error_that_names_it(table, tmp_path):
    missing = str(tmp_path / "nope")
    with pytest.raises(ReadError, match="cannot read this Hudi table") as caught:
        plan_hudi(missing)
    assert caught.value.file == missing
    source = plan_hudi(table)
    for unit, damage in zip(source.units, (b"", b"nonsense"), strict=True):
        with open(unit.files[0], "wb") as file:
            file.write(damage)
        with pytest.raises(ReadError, match="cannot read this Hudi table") as caught:
            list(unit.read())
        assert caught.value.file == unit.files[0]


@pytest.mark.parametrize(
    "how",
    [
        {"query_type": "incremental"},
        {"filters": "id > 4"},
        {"filters": [("id", ">")]},
        {"filters": [("id", ">", 4)]},
        {"hudi_options": 5},
        {"storage_options": [1]},
        {"blocks": 0},
        {"table_uri": 5},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(table, how):
    told = {"blocks": "override_num_blocks"}.get(next(iter(how)), next(iter(how)))
    with pytest.raises(ArgumentError, match=told):
        plan_hudi(**{"table_uri": table, **how})


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[hudi\]"):
        read_hudi("table")
