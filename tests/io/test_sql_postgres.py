"""PostgreSQL, by psycopg and by ADBC: its values as they are or an error, whole transactions."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
import uuid
from decimal import Decimal
from functools import partial

import adbc_driver_postgresql.dbapi as adbc
import postgres
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import ReadError, WriteError
from millstream.io.formats.sql import plan_sql

pytestmark = pytest.mark.skipif(
    postgres.program("initdb") is None, reason="the programs of PostgreSQL are not installed"
)


@pytest.fixture(scope="module")
def url():
    with postgres.running() as url:
        yield url


@pytest.fixture(params=["psycopg", "adbc"])
def library(request):
    return request.param


@pytest.fixture
def connect(url, library):
    return partial(psycopg.connect if library == "psycopg" else adbc.connect, url)


@pytest.fixture
def marks(library):
    """The placeholders of so many values."""
    count = iter(range(1, 99))
    mark = (lambda: "%s") if library == "psycopg" else (lambda: f"${next(count)}")
    return lambda values: ", ".join(mark() for _ in range(values))


def run(url, *statements):
    with psycopg.connect(url) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None


def value_of(expression, connect):
    return pa.table(ms.read_sql(f"SELECT {expression} AS x", connect))["x"]


SAME = {
    "(2^62)::bigint": 2**62,
    "'NaN'::float8": math.nan,
    "'-0'::float8": -0.0,
    "1.50::numeric(10, 2)": Decimal("1.50"),
    "12345678901234567890123456789012345678901234567890::numeric": Decimal(
        "12345678901234567890123456789012345678901234567890"
    ),
    "true": True,
    "'äé'::text": "äé",
    "'a'::char(3)": "a  ",
    r"'\x00ff'::bytea": b"\x00\xff",
    "DATE '2020-02-29'": datetime.date(2020, 2, 29),
    "TIMESTAMP '2020-01-01 12:00:00.123456'": datetime.datetime(2020, 1, 1, 12, 0, 0, 123456),
    "TIMESTAMPTZ '2020-01-01 12:00+02'": datetime.datetime(2020, 1, 1, 10, tzinfo=datetime.UTC),
    "TIME '12:30:00.000001'": datetime.time(12, 30, 0, 1),
    "ARRAY[1, NULL, 3]": [1, None, 3],
    "ARRAY['a', NULL]": ["a", None],
    """'{"b": [1, null], "a": 1.10}'::jsonb""": '{"a": 1.10, "b": [1, null]}',
    "'null'::jsonb": "null",
    "'5b9c2a0e-0000-4000-8000-000000000000'::uuid": uuid.UUID(
        "5b9c2a0e-0000-4000-8000-000000000000"
    ),
    "4294967295::oid": 4294967295,
    "NULL::int": None,
}


@pytest.mark.parametrize("expression", SAME)
def test_values_come_as_they_are(connect, expression):
    (found,) = value_of(expression, connect).to_pylist()
    assert type(found) is type(SAME[expression])
    assert repr(found) == repr(SAME[expression]) or found == SAME[expression]


CHANGED = {
    "'NaN'::numeric": "NaN",
    "'infinity'::numeric": "Infinity",
    "'infinity'::date": "infinity",
    "'-infinity'::date": "infinity",
    "'infinity'::timestamp": "infinity",
    "'-infinity'::timestamptz": "infinity",
    "TIME '24:00'": "24:00|86400000000",
    "TIMETZ '12:30+02'": "zone|timetz",
    "ROW(1, 'a')": "record",
    "1::money": "money",
    "'192.168.0.1'::inet": "inet|IPv4",
    "int4range(1, 5)": "Range|oid",
}


@pytest.mark.parametrize("expression", CHANGED)
def test_values_that_would_be_changed_on_the_way_are_errors(connect, expression):
    with pytest.raises(ReadError, match=CHANGED[expression]):
        value_of(expression, connect)
    as_text = f"CAST({expression} AS TEXT)"
    assert isinstance(value_of(as_text, connect)[0].as_py(), str)


def test_months_are_no_days_and_days_are(url):
    connect = partial(psycopg.connect, url)
    found = value_of("INTERVAL '1 day 2 hours'", connect)[0].as_py()
    assert found == datetime.timedelta(days=1, hours=2)
    for interval in ("1 month", "-2 years"):
        with pytest.raises(ReadError, match="months"):
            value_of(f"INTERVAL '{interval}'", connect)
    by_arrow = value_of("INTERVAL '1 month'", partial(adbc.connect, url))
    assert by_arrow[0].as_py() == (1, 0, 0)


def test_arrays_keep_their_dimensions_or_are_an_error(url):
    values = "ARRAY[[1, 2], [3, 4]]"
    assert value_of(values, partial(psycopg.connect, url)).to_pylist() == [[[1, 2], [3, 4]]]
    for params in ({}, {"sql_params": (1,)}):
        query = f"SELECT {values} AS x, 5 AS y" + (" WHERE $1 = 1" if params else "")
        with pytest.raises(ReadError, match="2 dimensions"):
            ms.read_sql(query, partial(adbc.connect, url), **params).take_all()


def test_decimals_that_get_longer_are_all_right(connect):
    query = "SELECT (i / 4.0)::numeric AS x FROM generate_series(1, 5000) AS i ORDER BY i"
    found = pa.table(ms.read_sql(query, connect))["x"].to_pylist()
    assert found == [Decimal(n) / 4 for n in range(1, 5001)]


def test_a_result_without_rows_has_its_columns(connect):
    ds = ms.read_sql("SELECT 1 AS a, ARRAY[1] AS b WHERE false", connect)
    assert ds.columns() == ["a", "b"]
    assert ds.count() == 0


def test_two_columns_of_one_name_are_an_error(connect):
    with pytest.raises(ReadError, match="'a'"):
        ms.read_sql("SELECT 1 AS a, 2 AS a", connect).take_all()


def test_a_statement_without_rows_is_an_error(connect):
    with pytest.raises(ReadError):
        ms.read_sql("CREATE TEMP TABLE nothing (x int)", connect).take_all()


def test_rows_stream_out_of_the_server(connect):
    query = "SELECT generate_series(1, 1000000000000) AS i, repeat('x', 1000) AS t"
    rows = plan_sql(query, connect).units[0].read()
    tables = [next(rows) for _ in range(2)]
    rows.close()
    assert tables[0]["i"][0].as_py() == 1
    assert all(table.nbytes < 20 << 20 for table in tables)


def test_parameters_are_bound(connect, marks):
    evil = "a' OR '1'='1"
    query = f"SELECT 1 AS x WHERE {marks(1)}::text = 'a'"
    assert ms.read_sql(query, connect, sql_params=(evil,)).count() == 0
    assert ms.read_sql(query.replace("$2", "$1"), connect, sql_params=("a",)).count() == 1


@pytest.mark.parametrize(
    ("keys", "function"), [(["k"], "hashint8"), (["k", "s"], "hashtext"), (["s"], "hashtext")]
)
def test_each_row_is_in_one_part(url, connect, keys, function):
    run(
        url,
        "DROP TABLE IF EXISTS parts",
        "CREATE TABLE parts AS SELECT i AS k, CASE WHEN i % 7 > 0 THEN 'name ' || i END AS s "
        "FROM generate_series(1::bigint, 2000) AS i",
        "INSERT INTO parts VALUES (NULL, NULL)",
    )
    ds = ms.read_sql("SELECT * FROM parts", connect, shard_keys=keys, shard_hash_fn=function)
    found = [row["k"] for row in ds.take_all()]
    assert sorted(found, key=str) == sorted([*range(1, 2001), None], key=str)
    units = plan_sql("SELECT * FROM parts", connect, shard_keys=keys, shard_hash_fn=function).units
    sizes = [sum(table.num_rows for table in unit.read()) for unit in units]
    assert max(sizes) < (1000 if keys != ["s"] else 1200)


def test_the_least_hash_is_in_a_part(url, connect):
    run(
        url,
        "CREATE OR REPLACE FUNCTION least_hash(x int) RETURNS int "
        "LANGUAGE SQL AS 'SELECT -2147483648'",
    )
    query = "SELECT * FROM generate_series(1, 10) AS k"
    ds = ms.read_sql(query, connect, shard_keys=["k"], shard_hash_fn="least_hash")
    assert ds.count() == 10


# Writing ------------------------------------------------------------------------------------

COLUMNS = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "float8": st.floats(allow_nan=False),
    "numeric": st.decimals(-(10**9), 10**9, places=3),
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    "bytea": st.binary(),
    "boolean": st.booleans(),
    "date": st.dates(),
    "timestamp": st.datetimes(),
    "timestamptz": st.datetimes(
        datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30), timezones=st.just(datetime.UTC)
    ),
    "time": st.times(),
    "int8[]": st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1),
    "uuid": st.uuids(),
}


@given(data=st.data())
@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("type", COLUMNS)
def test_values_go_in_and_come_back(url, connect, library, type, data):
    values = data.draw(st.lists(COLUMNS[type] | st.none(), min_size=1, max_size=20))
    if all(value is None for value in values):
        return
    run(url, "DROP TABLE IF EXISTS t", f"CREATE TABLE t (n int, x {type})")
    rows = [{"n": n, "x": value} for n, value in enumerate(values)]
    insert = "INSERT INTO t VALUES " + ("(%s, %s)" if library == "psycopg" else "($1, $2)")
    ms.from_items(rows).write_sql(insert, connect, concurrency=1)
    found = ms.read_sql("SELECT n, x FROM t ORDER BY n", connect).take_all()
    assert [(row["n"], row["x"]) for row in found] == [(row["n"], row["x"]) for row in rows]


def test_nan_and_infinity_go_in_and_come_back(url, connect, marks):
    run(url, "DROP TABLE IF EXISTS t", "CREATE TABLE t (x float8)")
    values = [math.nan, math.inf, -math.inf, -0.0]
    ds = ms.from_items([{"x": value} for value in values])
    ds.write_sql(f"INSERT INTO t VALUES ({marks(1)})", connect, concurrency=1)
    found = [row["x"] for row in ms.read_sql("SELECT x FROM t", connect).take_all()]
    assert list(map(repr, found)) == list(map(repr, values))


@pytest.mark.parametrize(
    ("type", "column"),
    [
        ("timestamp", pa.array([1], pa.timestamp("ns"))),
        ("timestamptz", pa.array([1], pa.timestamp("ns", "UTC"))),
        ("time", pa.array([1], pa.time64("ns"))),
        ("interval", pa.array([1], pa.duration("ns"))),
        ("bigint", pa.array([2**63], pa.uint64())),
        ("smallint", pa.array([2**15])),
    ],
    ids=str,
)
def test_what_the_database_would_change_in_silence_is_an_error(url, connect, marks, type, column):
    run(url, "DROP TABLE IF EXISTS t", f"CREATE TABLE t (x {type})")
    ds = ms.from_arrow(pa.table({"x": column}))
    with pytest.raises(WriteError, match=r"'x'|out of range"):
        ds.write_sql(f"INSERT INTO t VALUES ({marks(1)})", connect)
    assert run(url, "SELECT count(*) FROM t") == [(0,)]


def test_a_task_that_fails_leaves_nothing_and_says_where(url, connect, library, marks):
    run(url, "DROP TABLE IF EXISTS t", "CREATE TABLE t (x int, y int NOT NULL CHECK (y <> 2500))")
    insert = f"INSERT INTO t VALUES ({marks(2)})"
    ds = ms.range(3000, override_num_blocks=1).map(lambda row: {"x": row["id"], "y": row["id"]})
    with pytest.raises(WriteError, match=r"within rows \d+ to \d+ of its task"):
        ds.write_sql(insert, connect, concurrency=1)
    nulls = ds.map(lambda row: {"x": row["x"], "y": row["y"] if row["y"] < 1500 else None})
    with pytest.raises(WriteError, match='"y"') as caught:
        nulls.write_sql(insert, connect, concurrency=1)
    if library == "psycopg":
        assert "within rows 1024 to 2047" in str(caught.value)
        assert "in the column 'y'" in str(caught.value)
    assert run(url, "SELECT count(*) FROM t") == [(0,)]


def test_a_connection_that_is_lost_is_an_error_and_leaves_nothing(url, connect, marks):
    run(
        url,
        "DROP TABLE IF EXISTS t",
        "CREATE TABLE t (x bigint)",
        "CREATE OR REPLACE FUNCTION go_away() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END$$",
        "CREATE TRIGGER away BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.x = 1700) "
        "EXECUTE FUNCTION go_away()",
    )
    with pytest.raises(WriteError, match="statement failed"):
        ms.range(3000, override_num_blocks=1).write_sql(
            f"INSERT INTO t VALUES ({marks(1)})", connect, concurrency=1
        )
    assert run(url, "SELECT count(*) FROM t") == [(0,)]
    query = (
        "SELECT i, CASE WHEN i = 90000 THEN pg_terminate_backend(pg_backend_pid()) END AS gone "
        "FROM generate_series(1, 100000) AS i"
    )
    with pytest.raises(ReadError, match="query failed"):
        ms.read_sql(query, connect).take_all()


KILLED = """
import os, signal, sys
import adbc_driver_postgresql.dbapi as adbc, psycopg
import millstream as ms
from millstream.context import DataContext

library, url = sys.argv[1:]
connect = lambda: (psycopg if library == "psycopg" else adbc).connect(url)
mark = "%s" if library == "psycopg" else "$1"
DataContext.get_current().backend = "local"

def kill(row):
    if row["id"] == 9000:
        os.kill(os.getpid(), signal.SIGKILL)
    return row

ds = ms.range(10000, override_num_blocks=1).map(kill)
ds.write_sql(f"INSERT INTO t VALUES ({mark})", connect, concurrency=1)
"""


def test_a_program_that_is_killed_leaves_nothing(url, library):
    run(url, "DROP TABLE IF EXISTS t", "CREATE TABLE t (x bigint)")
    killed = subprocess.run([sys.executable, "-c", KILLED, library, url], check=False)
    assert killed.returncode == -9
    assert run(url, "SELECT count(*) FROM t") == [(0,)]


def test_a_connection_that_commits_by_itself_is_refused(url, library):
    module = psycopg if library == "psycopg" else adbc
    with pytest.raises(WriteError, match="autocommit"):
        ms.range(2).write_sql(
            "INSERT INTO t VALUES (1)", partial(module.connect, url, autocommit=True)
        )


def test_passwords_do_not_come_out(url, library):
    module = psycopg if library == "psycopg" else adbc
    wrong = url.replace("postgres@", "nobody:hunter2@")
    with pytest.raises(ReadError) as caught:
        ms.read_sql("SELECT 1 AS x", partial(module.connect, wrong)).take_all()
    assert "hunter2" not in str(caught.value)
