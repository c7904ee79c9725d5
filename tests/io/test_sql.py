"""Databases: values as they are or an error, parts that are whole, no secret in errors."""

from __future__ import annotations

import datetime
import math
import pickle
import sqlite3
from decimal import Decimal
from functools import partial

import adbc_driver_sqlite.dbapi as adbc
import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.context import DataContext
from millstream.errors import ArgumentError, ReadError, SchemaError, WriteError
from millstream.io.formats.sql import plan_sql, without_secrets
from millstream.read_databases import read_sql


@pytest.fixture(autouse=True)
def context(monkeypatch):
    made = DataContext(backend="local", enable_progress_bars=False)
    made.execution_options.resource_limits = ms.ExecutionResources(
        cpu=2, object_store_memory=256 << 20
    )
    monkeypatch.setattr(DataContext, "_current", made)
    return made


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "data.db")


@pytest.fixture
def sqlite(path):
    return partial(sqlite3.connect, path)


def fill(connect, statement, rows=()):
    connection = connect()
    connection.execute(statement)
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO t VALUES ({marks})", rows)
    connection.commit()
    connection.close()


def answer(connect, query):
    connection = connect()
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def duck(query, **options):
    return read_sql(query, duckdb.connect, **options)


def adbc_of(path):
    return partial(adbc.connect, path)


# Reading ------------------------------------------------------------------------------------


def test_rows_of_sqlite_keep_their_values_and_types(sqlite):
    rows = [(2**63 - 1, 0.5, "a\0ü", b"\0\xff"), (-(2**63), -0.0, "", b""), (None,) * 4]
    fill(sqlite, "CREATE TABLE t (i, f, s, b)", rows)
    table = pa.table(read_sql("SELECT * FROM t", sqlite))
    assert table.schema.types == [pa.int64(), pa.float64(), pa.large_string(), pa.large_binary()]
    assert [tuple(row.values()) for row in table.to_pylist()] == rows
    assert math.copysign(1, table["f"][1].as_py()) == -1


value = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=200),
    st.lists(st.floats(allow_nan=False) | st.none(), max_size=200),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.none(), max_size=200),
    st.lists(st.binary() | st.none(), max_size=200),
)


@given(value)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_column_of_one_type_goes_through_sqlite_and_back(tmp_path_factory, values):
    connect = partial(sqlite3.connect, str(tmp_path_factory.mktemp("db") / "x"))
    fill(connect, "CREATE TABLE t (x)")
    rows = [{"x": value} for value in values]
    if rows:
        ms.from_items(rows).write_sql("INSERT INTO t VALUES (?)", connect, concurrency=1)
    # Tasks may be written in any order.
    found = read_sql("SELECT x FROM t", connect).take_all()
    assert sorted(map(repr, found)) == sorted(map(repr, rows))


def test_parameters_are_bound_in_order_and_by_name(sqlite):
    fill(sqlite, "CREATE TABLE t (x)", [("a",), ("b",)])
    evil = "a' OR '1'='1"
    assert read_sql("SELECT x FROM t WHERE x = ?", sqlite, sql_params=[evil]).count() == 0
    by_name = read_sql("SELECT x FROM t WHERE x = :x", sqlite, sql_params={"x": "b"})
    assert by_name.take_all() == [{"x": "b"}]
    assert duck("SELECT $a::INT AS a", sql_params={"a": 5}).take_all() == [{"a": 5}]
    assert duck("SELECT ?::INT AS a", sql_params=(5,)).take_all() == [{"a": 5}]


@pytest.mark.parametrize("second", ["7", 1.5, b"7"], ids=["text", "real beside 2**53+1", "blob"])
@pytest.mark.parametrize("gap", [0, 3000], ids=["near", "far"])
@pytest.mark.parametrize("library", ["sqlite3", "adbc"])
def test_a_column_of_mixed_values_is_an_error_that_names_it(sqlite, path, second, gap, library):
    large = 2**53 + 1
    fill(sqlite, "CREATE TABLE t (x)", [(large,)] * (gap + 1) + [(second,)])
    connect = sqlite if library == "sqlite3" else adbc_of(path)
    with pytest.raises((ReadError, SchemaError), match=r"('x'|column 0)"):
        read_sql("SELECT x FROM t", connect).take_all()


def test_what_is_cast_to_text_in_the_query_is_text(sqlite):
    fill(sqlite, "CREATE TABLE t (x)", [(1,), ("a",)])
    ds = read_sql("SELECT CAST(x AS TEXT) AS x FROM t", sqlite)
    assert ds.take_all() == [{"x": "1"}, {"x": "a"}]


def test_a_type_that_comes_late_is_taken(sqlite):
    fill(sqlite, "CREATE TABLE t (x)", [(None,)] * 5000 + [("a",)])
    assert read_sql("SELECT x FROM t", sqlite).take_all()[-1] == {"x": "a"}


def test_python_types_of_a_library_are_kept():
    class Cursor:
        description = (("d", *[None] * 6), ("n", *[None] * 6), ("m", *[None] * 6))

        def __init__(self):
            day = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
            self.rows = [(day, Decimal("1.50"), memoryview(b"x")), (day, Decimal("12345.6"), None)]

        def execute(self, query):
            assert query == "q"

        def fetchmany(self, count):
            some, self.rows = self.rows[:1], self.rows[1:]
            return some

        def close(self):
            pass

    class Connection:
        cursor = Cursor

        def close(self):
            pass

    rows = read_sql("q", Connection).take_all()
    day = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    assert rows[0] == {"d": day, "n": Decimal("1.50"), "m": b"x"}
    assert rows[1] == {"d": day, "n": Decimal("12345.60"), "m": None}


def test_duckdb_hands_over_its_own_types():
    query = (
        "SELECT 1::UTINYINT AS u, DATE '10000-01-01' AS d, 1.5::DECIMAL(5, 2) AS n, "
        "[1, NULL] AS l, {'a': 'x'} AS s, 'a'::ENUM('a') AS e, TIMESTAMPTZ '2020-01-01 00:00Z' AS z"
    )
    types = dict(zip((t := pa.table(duck(query))).schema.names, t.schema.types, strict=True))
    assert types["u"] == pa.uint8()
    assert types["d"] == pa.date32()
    assert t["d"].cast(pa.int32()).to_pylist() == [2932897]
    assert types["n"] == pa.decimal128(5, 2)
    assert t["l"].to_pylist() == [[1, None]]
    assert pa.types.is_dictionary(types["e"])
    assert types["z"].tz is not None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("'infinity'::DATE", "infinity"),
        ("'-infinity'::TIMESTAMP", "infinity"),
        ("'infinity'::TIMESTAMPTZ", "infinity"),
        ("'12:00:00+02'::TIMETZ", "TIME WITH TIME ZONE"),
        ("340282366920938463463374607431768211455::UHUGEINT", "UHUGEINT"),
        ("[1::UHUGEINT]", "UHUGEINT"),
        ("'101'::BIT", "BIT"),
        ("TIME '24:00:00'", "no time64"),
        ("SUM(170141183460469231731687303715884105727::HUGEINT)", "decimal128"),
    ],
)
def test_values_that_duckdb_would_change_on_the_way_are_errors(value, told):
    with pytest.raises(ReadError, match=told) as caught:
        duck(f"SELECT {value} AS x").take_all()
    assert "'x'" in str(caught.value)


def test_duckdb_streams_a_result_that_is_larger_than_memory():
    query = "SELECT range AS r FROM range(1000000000000)"
    assert next(iter(duck(query).iter_rows())) == {"r": 0}
    assert duck(query).limit(3000).count() == 3000


def test_adbc_hands_over_arrow(sqlite, path):
    fill(sqlite, 'CREATE TABLE t (a, b, "c ""d")', [(1, "x", None), (2, None, 0.1)])
    table = pa.table(read_sql("SELECT * FROM t;", adbc_of(path)))
    assert table.to_pydict() == {"a": [1, 2], "b": ["x", None], 'c "d': [None, 0.1]}
    ds = read_sql("SELECT a FROM t WHERE a > ? -- end", adbc_of(path), sql_params=(1,))
    assert ds.take_all() == [{"a": 2}]


def test_a_result_without_rows_has_its_columns(sqlite, path):
    fill(sqlite, "CREATE TABLE t (x)")
    for connect in (sqlite, adbc_of(path)):
        ds = read_sql("SELECT x FROM t", connect)
        assert ds.columns() == ["x"]
        assert ds.count() == 0
    assert duck("SELECT 1 AS x WHERE false").columns() == ["x"]


def test_tables_are_of_bounded_size(sqlite):
    fill(sqlite, "CREATE TABLE t (x)", [(b"x" * 100_000,)] * 400)
    unit = plan_sql("SELECT x FROM t", sqlite).units[0]
    sizes = [table.nbytes for table in unit.read()]
    assert sum(sizes) >= 400 * 100_000
    assert max(sizes) <= 16 << 20


@pytest.mark.parametrize("library", ["sqlite3", "duckdb", "adbc"])
def test_two_columns_of_one_name_are_an_error(sqlite, path, library):
    connect = {"sqlite3": sqlite, "duckdb": duckdb.connect, "adbc": adbc_of(path)}[library]
    with pytest.raises(ReadError, match="'a'"):
        read_sql("SELECT 1 AS a, 2 AS a", connect).take_all()


def test_a_statement_without_rows_is_an_error(sqlite):
    with pytest.raises(ReadError, match="takes a query"):
        read_sql("CREATE TABLE t (x)", sqlite).take_all()


def test_an_error_of_the_database_names_the_operator(sqlite):
    with pytest.raises(ReadError, match="no such table: gone") as caught:
        read_sql("SELECT * FROM gone", sqlite).take_all()
    assert caught.value.operator.startswith("ReadSQL")


def test_passwords_do_not_come_out(sqlite):
    def connect():
        raise OSError("no route to postgresql://me:hunter2@host/db?password=hunter2 pwd='hunter2'")

    for run in (
        read_sql("SELECT 1", connect).take_all,
        partial(ms.range(1).write_sql, "INSERT INTO t VALUES (?)", connect),
    ):
        with pytest.raises((ReadError, WriteError), match="no route") as caught:
            run()
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert "hunter2" not in str(pickle.loads(pickle.dumps(caught.value)))
    with pytest.raises(ArgumentError) as refused:
        read_sql("SELECT 1", "postgresql://me:hunter2@host")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "mysql://u:S3cret@h/d",
        "mysql://u:S3cret@x@h/d",
        "host=h password=S3cret user=u",
        "Server=h;PWD=S3cret;Database=d",
        "{'password': 'S3cret', 'user': 'u'}",
        "AccountKey=S3cret==;Endpoint=e",
        'api_key: "S3cret"',
        "aws_secret_access_key=S3cret",
    ],
)
def test_secrets_are_blotted_out_in_all_their_forms(text):
    assert "S3cret" not in without_secrets(text)


def test_other_text_stays_as_it_is():
    text = 'no such column: "tokens" near line 3: http://host:80/path a@b'
    assert without_secrets(text) == text


def test_what_is_no_connection_is_an_error():
    with pytest.raises(ReadError, match="returned a int"):
        read_sql("SELECT 1", lambda: 5).take_all()


# Parts --------------------------------------------------------------------------------------


def with_hash(path, fn):
    connection = sqlite3.connect(path)
    connection.create_function("h", 1, fn, deterministic=True)
    connection.create_function("MOD", 2, lambda a, b: None if a is None else a % b)
    return connection


@pytest.mark.parametrize(
    "fn",
    [lambda x: x, lambda x: None, lambda x: -3, lambda x: 1.5, lambda x: x and x * 0.5],
    ids=["keys", "null", "one", "broken", "halves"],
)
def test_each_row_is_in_one_part_whatever_the_hash_gives(sqlite, path, fn):
    rows = [(None,)] * 3 + [(n,) for n in range(-20, 20)]
    fill(sqlite, "CREATE TABLE t (k)", rows)
    ds = read_sql(
        "SELECT k FROM t; ",
        partial(with_hash, path, fn),
        shard_keys=["k"],
        shard_hash_fn="h",
        override_num_blocks=5,
    )
    found = [(row["k"],) for row in ds.take_all()]
    assert sorted(found, key=repr) == sorted(rows, key=repr)


def test_parts_are_queries_of_their_own(sqlite):
    source = plan_sql("SELECT 1 AS k -- c", sqlite, shard_keys=["k"], blocks=4)
    assert len(source.units) == 4
    assert len(plan_sql("SELECT 1 AS k", sqlite, shard_keys=["k"], blocks=1).units) == 1
    assert len(plan_sql("SELECT 1 AS k", sqlite, blocks=4).units) == 1
    assert len(plan_sql("SELECT 1 AS k", sqlite, shard_keys=["k"]).units) == 8


def test_parts_of_duckdb_are_all_rows_by_several_keys():
    ds = duck(
        "SELECT range AS a, CASE WHEN range % 7 THEN range END AS b FROM range(1000)",
        shard_keys=["a", "b"],
        shard_hash_fn="hash",
        override_num_blocks=3,
    )
    assert sorted(row["a"] for row in ds.take_all()) == list(range(1000))


@pytest.mark.parametrize(
    "options",
    [
        {"sql": ""},
        {"sql": 5},
        {"connection_factory": None},
        {"sql_params": "text"},
        {"sql_params": 5},
        {"shard_keys": []},
        {"shard_keys": ["a; DROP TABLE t"]},
        {"shard_keys": [1]},
        {"shard_keys": ["a"], "shard_hash_fn": "f(x) OR 1"},
        {"override_num_blocks": 0},
    ],
)
def test_wrong_arguments_are_refused_at_the_call(options):
    with pytest.raises(ArgumentError):
        read_sql(**{"sql": "SELECT 1", "connection_factory": sqlite3.connect, **options})


# Writing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["sqlite3", "adbc"])
def test_rows_are_written_and_come_back(sqlite, path, library):
    fill(sqlite, "CREATE TABLE t (id INTEGER, s TEXT, f REAL, b BLOB)")
    rows = [{"id": n, "s": f"'{n}", "f": n / 3, "b": bytes([n % 256])} for n in range(3000)]
    rows.append({"id": None, "s": None, "f": None, "b": None})
    connect = sqlite if library == "sqlite3" else adbc_of(path)
    ms.from_items(rows).write_sql("INSERT INTO t VALUES (?, ?, ?, ?)", connect, concurrency=1)
    found = answer(sqlite, "SELECT * FROM t")
    assert sorted(map(repr, found)) == sorted(repr(tuple(row.values())) for row in rows)


def test_rows_are_written_to_duckdb_in_a_transaction(tmp_path):
    connect = partial(duckdb.connect, str(tmp_path / "d.duckdb"))
    fill(connect, "CREATE TABLE t (id BIGINT, d DECIMAL(5, 2), l INT[])")
    rows = [{"id": n, "d": Decimal("1.25"), "l": [n, None]} for n in range(20)]
    ms.from_items(rows, override_num_blocks=1).write_sql("INSERT INTO t VALUES (?, ?, ?)", connect)
    assert answer(connect, "SELECT count(*), sum(id), max(l) FROM t") == [(20, 190, [19, None])]
    late = ms.from_items([1, 2, 3]).map(
        lambda row: {"id": row["item"], "d": None, "l": None if row["item"] < 3 else "x"}
    )
    with pytest.raises(WriteError, match="statement failed") as caught:
        late.write_sql("INSERT INTO t VALUES (?, ?, ?)", connect, concurrency=1)
    assert "WriteSQL" in caught.value.operator


def test_a_task_that_fails_leaves_none_of_its_rows(sqlite):
    fill(sqlite, "CREATE TABLE t (x CHECK (x < 2500))")
    ds = ms.range(3000, override_num_blocks=1)
    with pytest.raises(WriteError, match="CHECK"):
        ds.write_sql("INSERT INTO t VALUES (?)", sqlite, concurrency=1)
    assert answer(sqlite, "SELECT count(*) FROM t") == [(0,)]


def test_an_error_before_the_write_is_told_as_it_is(sqlite):
    fill(sqlite, "CREATE TABLE t (x)")

    def boom(batch):
        if batch["id"][0]:
            raise ValueError("no")
        return batch

    ds = ms.range(10, override_num_blocks=1).map_batches(boom, batch_size=5)
    with pytest.raises(ms.UserCodeError, match="no"):
        ds.write_sql("INSERT INTO t VALUES (?)", sqlite)
    assert answer(sqlite, "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("library", ["sqlite3", "adbc"])
def test_nan_is_no_null(sqlite, path, library):
    fill(sqlite, "CREATE TABLE t (x)")
    connect = sqlite if library == "sqlite3" else adbc_of(path)
    with pytest.raises(WriteError, match="'x' has NaN"):
        ms.from_items([{"x": math.nan}]).write_sql("INSERT INTO t VALUES (?)", connect)


@pytest.mark.parametrize("library", ["sqlite3", "adbc"])
def test_integers_that_the_database_does_not_hold_are_an_error(sqlite, path, library):
    fill(sqlite, "CREATE TABLE t (x)")
    connect = sqlite if library == "sqlite3" else adbc_of(path)
    with pytest.raises(WriteError):
        ms.from_items([{"x": 2**63}]).write_sql("INSERT INTO t VALUES (?)", connect)
    assert answer(sqlite, "SELECT * FROM t") == []


def test_columns_go_to_their_placeholders_in_any_order_of_blocks(sqlite):
    fill(sqlite, "CREATE TABLE t (a, b)")
    first = ms.from_items([{"a": 1, "b": "x"}])
    second = ms.from_items([{"b": "y", "a": 2}, {"b": "z", "a": None}])
    ds = first.union(second).map_batches(lambda batch: batch)
    ds.write_sql("INSERT INTO t VALUES (?, ?)", sqlite, concurrency=1)
    selected = second.map_batches(lambda batch: batch).select_columns(["a", "b"])
    selected.write_sql("INSERT INTO t VALUES (?, ?)", sqlite, concurrency=1)
    expected = [(1, "x"), (2, "y"), (2, "y"), (None, "z"), (None, "z")]
    assert sorted(answer(sqlite, "SELECT * FROM t"), key=repr) == expected


def test_columns_without_a_placeholder_are_an_error(sqlite, context):
    fill(sqlite, "CREATE TABLE t (a)")
    context.execution_options.preserve_order = True
    ds = ms.range(2, override_num_blocks=2).map_batches(
        lambda b: {"a": b["id"], **({"b": b["id"]} if b["id"][0] else {})}
    )
    with pytest.raises(SchemaError, match="'b' too"):
        ds.write_sql("INSERT INTO t VALUES (?)", sqlite, concurrency=1)
    with pytest.raises(SchemaError, match="no columns"):
        ms.range(2).select_columns([]).write_sql("INSERT INTO t VALUES (1)", sqlite)


def test_a_connection_that_commits_by_itself_is_refused(path, sqlite):
    fill(sqlite, "CREATE TABLE t (a)")
    connect = partial(sqlite3.connect, path, isolation_level=None)
    with pytest.raises(WriteError, match="autocommit"):
        ms.range(2).write_sql("INSERT INTO t VALUES (?)", connect)


def test_nothing_is_connected_to_if_there_are_no_rows():
    ms.range(0).write_sql("INSERT INTO t VALUES (?)", lambda: 1 / 0)


def test_a_write_is_reported(sqlite):
    fill(sqlite, "CREATE TABLE t (a)")
    ds = ms.range(100)
    assert ds.write_sql("INSERT INTO t VALUES (?)", sqlite, concurrency=1) is None
    assert ds.report().rows_written == 100
    assert "100" in ds.stats()


@pytest.mark.parametrize("arguments", [("", sqlite3.connect), ("INSERT", None), (5, len)])
def test_wrong_arguments_of_a_write_are_refused_at_the_call(arguments):
    with pytest.raises(ArgumentError):
        ms.range(1).write_sql(*arguments)


def test_tensors_are_nothing_for_sqlite(sqlite):
    fill(sqlite, "CREATE TABLE t (a)")
    with pytest.raises(WriteError, match="tensors"):
        ms.from_items([{"a": np.ones((2, 2))}]).write_sql("INSERT INTO t VALUES (?)", sqlite)
