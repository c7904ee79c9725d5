"""ClickHouse: the query, types as the database says, no password in errors.

There is no server here: a stand-in has the documented methods of clickhouse-connect's client.
"""

from __future__ import annotations

import datetime
from contextlib import contextmanager
from types import SimpleNamespace

import clickhouse_connect
import pyarrow as pa
import pytest

from millstream.errors import ArgumentError, MissingPackageError, ReadError
from millstream.io.formats.clickhouse import plan_clickhouse
from millstream.read_lakes import read_clickhouse

DSN = "clickhouse+http://user:hunter2@host:8123/default"


class Client:
    def __init__(self, said, tables):
        self.said, self.tables, self.asked, self.is_closed = said, tables, [], False

    def query(self, query):
        assert query.startswith("DESCRIBE TABLE (SELECT ")
        return SimpleNamespace(result_rows=[(name, type, "", "") for name, type in self.said])

    @contextmanager
    def query_arrow_stream(self, query, use_strings):
        assert use_strings
        self.asked.append(query)
        yield iter(self.tables)

    def close(self):
        self.is_closed = True


@pytest.fixture
def serve(monkeypatch):
    def start(said, *tables, **wanted):
        client = Client(list(said.items()), tables)

        def get_client(**how):
            assert how == {"dsn": DSN, "settings": {}, **wanted}
            return client

        monkeypatch.setattr(clickhouse_connect, "get_client", get_client)
        return client

    return start


def column(serve, said, array):
    serve({"x": said}, pa.table({"x": array}))
    return pa.table(read_clickhouse(table="t", dsn=DSN))["x"]


def test_rows_stream_and_the_client_is_closed(serve):
    parts = [pa.record_batch({"n": [1, 2]}), pa.table({"n": [3]})]
    client = serve({"n": "Int64"}, *parts, compress=False)
    ds = read_clickhouse(table="d.t", dsn=DSN, client_kwargs={"compress": False})
    assert ds.take_all() == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert client.asked == ["SELECT * FROM d.t"]
    assert client.is_closed
    assert ds.count() == 3


def test_the_query(serve):
    client = serve({"n": "Int64"}, pa.table({"n": [1]}))
    how = {"columns": ["n", "m"], "filter": "n > 1 -- ;", "order_by": (["n", "m"], True)}
    read_clickhouse(table="t", dsn=DSN, **how).take_all()
    assert client.asked == ["SELECT n, m FROM t WHERE (\nn > 1 -- ;\n) ORDER BY n DESC, m DESC"]


NOON = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("said", "array", "type", "wanted"),
    [
        ("Date", pa.array([0, 19782], pa.uint16()), pa.date32(), datetime.date(2024, 2, 29)),
        ("DateTime", pa.array([0, 1709208000], pa.uint32()), pa.timestamp("s", "UTC"), NOON),
        (
            *("DateTime('Asia/Tokyo')", pa.array([0, 1709208000], pa.uint32())),
            *(pa.timestamp("s", "Asia/Tokyo"), NOON),
        ),
        ("Bool", pa.array([0, 1], pa.uint8()), pa.bool_(), True),
        ("Nullable(Int64)", pa.array([None, 2**53 + 1]), pa.int64(), 2**53 + 1),
        (
            *("LowCardinality(Nullable(String))", pa.array(["a", None]).dictionary_encode()),
            *(pa.dictionary(pa.int32(), pa.string()), None),
        ),
        ("Array(Nullable(UInt8))", pa.array([[1], [None]], pa.list_(pa.uint8())), None, [None]),
        ("FixedString(2)", pa.array([b"ab", b"cd"], pa.binary(2)), pa.binary(2), b"cd"),
        ("Decimal(9, 2)", pa.array([None, None], pa.decimal128(9, 2)), None, None),
        ("DateTime64(3)", pa.array([0, 1], pa.timestamp("ms", "UTC")), None, ...),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_types_are_those_of_the_database(serve, said, array, type, wanted):
    found = column(serve, said, array)
    assert found.type == (type or array.type)
    if wanted is not ...:
        assert found.to_pylist()[-1] == wanted


@pytest.mark.parametrize(
    ("said", "array"),
    [
        ("UUID", pa.array([b"x" * 16], pa.binary(16))),
        ("Enum8('a' = 1)", pa.array([1], pa.int8())),
        ("IPv4", pa.array([1], pa.uint32())),
        ("Int128", pa.array([b"x" * 16], pa.binary(16))),
        ("Int64", pa.array([1.5])),
        ("Array(Date)", pa.array([[1]], pa.list_(pa.uint16()))),
        ("Tuple(Int8)", pa.array([{"1": 1}])),
        ("String", pa.array([b"\xff"], pa.binary()).view(pa.string())),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_comes_as_something_else_is_an_error_that_names_it(serve, said, array):
    with pytest.raises(ReadError, match=r"the column 'x' is .*toString\(x\) AS x"):
        column(serve, said, array)


def test_no_error_shows_the_password(monkeypatch):
    def get_client(**how):
        raise OSError(f"cannot reach {how['dsn']}")

    monkeypatch.setattr(clickhouse_connect, "get_client", get_client)
    with pytest.raises(ReadError, match="cannot reach") as caught:
        read_clickhouse(table="t", dsn=DSN).take_all()
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(plan_clickhouse(table="t", dsn=DSN).units)
    with pytest.raises(ArgumentError) as caught:
        read_clickhouse(table="t", dsn="hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"table": ""}, "table=''"),
        ({"columns": []}, "columns"),
        ({"columns": ["a", "a"]}, "more than once"),
        ({"filter": " "}, "filter"),
        ({"order_by": "n"}, "order_by"),
        ({"order_by": (["n"], 1)}, "order_by"),
        ({"order_by": ([], True)}, "order_by"),
        ({"client_settings": 5}, "client_settings"),
        ({"client_kwargs": [1]}, "client_kwargs"),
    ],
)
def test_arguments_that_make_no_sense(how, told):
    with pytest.raises(ArgumentError, match=told):
        read_clickhouse(**{"table": "t", "dsn": DSN, **how})


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[clickhouse\]"):
        read_clickhouse(table="t", dsn=DSN)
