"""Writing to ClickHouse: the table that is made, what is refused, no password in errors.

There is no server here: a stand-in has the documented methods of clickhouse-connect's client.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from types import SimpleNamespace

import clickhouse_connect
import pyarrow as pa
import pytest

import millstream as ms

DSN = "clickhouse+http://user:hunter2@host:8123/default"


class Database:
    """A server with one table, and all its clients."""

    def __init__(self, columns=None):
        self.columns, self.told, self.tables, self.open = columns, [], [], 0

    def query(self, query):
        if query == "EXISTS TABLE d.t":
            return SimpleNamespace(result_rows=[(int(self.columns is not None),)])
        assert query == "DESCRIBE TABLE d.t"
        return SimpleNamespace(result_rows=[(*each, "", "") for each in self.columns.items()])

    def command(self, command):
        self.told.append(command)
        if command.startswith("CREATE TABLE d.t ("):
            listed = command.partition(" (")[2].partition(") ENGINE")[0]
            pairs = [each.partition("` ") for each in listed.split(", `")]
            self.columns = {name.strip("`"): type for name, _, type in pairs}

    def insert_arrow(self, table, arrow_table):
        assert table == "d.t"
        self.tables.append(arrow_table)

    def close(self):
        self.open -= 1


@pytest.fixture
def serve(monkeypatch):
    def start(columns=None, **wanted):
        database = Database(columns)

        def get_client(**how):
            assert how == {"dsn": DSN, "settings": {}, **wanted}
            database.open += 1
            return database

        monkeypatch.setattr(clickhouse_connect, "get_client", get_client)
        return database

    return start


def test_a_table_is_made_and_all_rows_are_sent(serve):
    database = serve(compress=False)
    ds = ms.range(5, override_num_blocks=2)
    ds.write_clickhouse("d.t", DSN, client_kwargs={"compress": False}, max_insert_block_rows=2)
    assert database.told == [
        "CREATE TABLE d.t (`id` Nullable(Int64)) ENGINE = MergeTree() ORDER BY tuple()"
    ]
    assert sorted(pa.concat_tables(database.tables)["id"].to_pylist()) == list(range(5))
    assert max(table.num_rows for table in database.tables) == 2
    assert database.open == 0


def test_modes(serve):
    database = serve({"id": "Int64"})
    with pytest.raises(ms.WriteError, match=r"there is a table d\.t"):
        ms.range(1).write_clickhouse("d.t", DSN)
    ms.range(1).write_clickhouse("d.t", DSN, mode="append")
    assert database.told == []
    clauses = {
        "settings": "index_granularity = 8",
        "order_by": "id",
        "engine": "ReplacingMergeTree()",
    }
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    how = {"schema": schema, "table_settings": clauses}
    ms.range(1).write_clickhouse("d.t", DSN, mode="overwrite", **how)
    assert database.told == [
        "DROP TABLE d.t",
        "CREATE TABLE d.t (`id` Int64) ENGINE = ReplacingMergeTree() ORDER BY id "
        "SETTINGS index_granularity = 8",
    ]


DAY = datetime.date(2024, 2, 29)
NOON = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (pa.array([255, None], pa.uint8()), "Nullable(UInt8)"),
        (pa.array([float("nan"), None], pa.float32()), "Nullable(Float32)"),
        (pa.array([True, None]), "Nullable(Bool)"),
        (pa.array(["ä", None], pa.large_string()), "Nullable(String)"),
        (pa.array(["a", None]).dictionary_encode(), "Nullable(String)"),
        (pa.array([b"ab", None], pa.binary(2)), "Nullable(FixedString(2))"),
        (pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)), "Nullable(Decimal(9, 2))"),
        (pa.array([DAY, None], pa.date32()), "Nullable(Date32)"),
        (pa.array([NOON, None], pa.timestamp("ms", "UTC")), "Nullable(DateTime64(3, 'UTC'))"),
        (pa.array([[1, None], []], pa.list_(pa.int8())), "Array(Nullable(Int8))"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_go_out_as_they_are(serve, array, said):
    database = serve()
    ms.from_arrow(pa.table({"x": array})).write_clickhouse("d.t", DSN)
    assert database.columns == {"x": said}
    [sent] = database.tables
    assert str(sent["x"].to_pylist()) == str(array.to_pylist())


@pytest.mark.parametrize(
    ("array", "there", "told"),
    [
        (pa.array([1, None]), "Int64", "has nulls"),
        (pa.array([[None]], pa.list_(pa.int8())), "Array(Int8)", "has nulls"),
        (pa.array([None, [1]], pa.list_(pa.int8())), None, "null for a list"),
        (pa.array([1]), "Int32", "which is Nullable.Int64. in ClickHouse, and d.t has Int32"),
        (pa.array([datetime.date(1899, 12, 31)]), None, "1900 to 2299"),
        (pa.array([datetime.date(2300, 1, 1)]), None, "1900 to 2299"),
        (pa.array([NOON], pa.timestamp("ms", "UTC")), "DateTime64(6, 'UTC')", "DateTime64"),
        (pa.array([datetime.datetime(2024, 1, 1)]), None, "need a time zone"),
        (pa.array([b"\xff"]), None, "no type"),
        (pa.array([{"a": 1}]), None, "no type"),
        (pa.array([None]), None, "no type"),
    ],
    ids=str,
)
def test_what_would_be_changed_is_refused(serve, array, there, told):
    database = serve(there and {"x": there})
    ds = ms.from_arrow(pa.table({"x": array}))
    with pytest.raises(ms.SchemaError, match=rf"the column 'x'.*{told}"):
        ds.write_clickhouse("d.t", DSN, mode="append")
    assert database.tables == []
    assert database.open == 0


def test_a_schema_says_what_is_written(serve):
    database = serve()
    schema = pa.schema({"id": pa.int8(), "more": pa.string()})
    ms.range(1).write_clickhouse("d.t", DSN, schema=schema)
    assert database.tables[0].to_pylist() == [{"id": 0, "more": None}]
    with pytest.raises(ms.SchemaError, match="the column 'id'"):
        ms.range(300).write_clickhouse("d.t", DSN, mode="append", schema=schema)
    with pytest.raises(ms.SchemaError, match="'id' too: choose with select_columns"):
        ms.range(1).write_clickhouse("d.t", DSN, mode="append", schema=pa.schema([schema[1]]))
    other = ms.from_items([{"other": 1}])
    with pytest.raises(ms.SchemaError, match=r"d\.t has no column 'other'"):
        other.write_clickhouse("d.t", DSN, mode="append", schema=pa.schema({"other": pa.int8()}))


def test_no_error_shows_the_password(monkeypatch):
    def get_client(**how):
        raise OSError(f"cannot reach {how['dsn']}")

    monkeypatch.setattr(clickhouse_connect, "get_client", get_client)
    with pytest.raises(ms.WriteError, match="cannot reach") as caught:
        ms.range(1).write_clickhouse("d.t", DSN)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ms.ArgumentError) as caught:
        ms.range(1).write_clickhouse("d.t", "hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"table": ""}, "table=''"),
        ({"mode": "ignore"}, "mode"),
        ({"schema": 5}, "schema"),
        ({"client_settings": 5}, "client_settings"),
        ({"client_kwargs": [1]}, "client_kwargs"),
        ({"table_settings": {"ttl": "1"}}, "table_settings"),
        ({"table_settings": {"engine": 1}}, "table_settings"),
        ({"max_insert_block_rows": 0}, "max_insert_block_rows"),
    ],
)
def test_arguments_that_make_no_sense(how, told):
    with pytest.raises(ms.ArgumentError, match=told):
        ms.range(1).write_clickhouse(**{"table": "d.t", "dsn": DSN, **how})


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ms.MissingPackageError, match=r"millstream\[clickhouse\]"):
        ms.range(1).write_clickhouse("d.t", DSN)
