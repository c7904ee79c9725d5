"""MongoDB: values as they are or an error, parts that are whole, no password in errors.

There is no server here: a stand-in has pymongo's documented interface, keeps documents as BSON by
pymongo's own encoder, and knows the few stages that the tests need.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections import defaultdict

import bson
import numpy as np
import pyarrow as pa
import pymongo
import pytest
from bson import Binary, Code, Decimal128, Int64, ObjectId, Regex
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.errors import BulkWriteError, OperationFailure

import millstream as ms
from millstream.blocks import tensor
from millstream.errors import (
    ArgumentError,
    MillstreamError,
    MissingPackageError,
    ReadError,
    SchemaError,
    WriteError,
)
from millstream.io.formats.bson_values import array_of, check_types, documents_of
from millstream.io.formats.mongo import MongoUnit, Place, WriteMongo, plan_mongo
from millstream.plan.arguments import SinkTasks
from millstream.plan.logical import Map
from millstream.read_lakes import read_mongo

URI = "mongodb://user:hunter2@host:27017"


def rank(value):
    """BSON's order, for the types of `_id` here."""
    return (isinstance(value, ObjectId), isinstance(value, str), value if value == value else 0)


class Cursor(list):
    def close(self):
        pass


PLAIN = bson.CodecOptions()


class Collection:
    def __init__(self, server, name, options=PLAIN):
        self.server, self.name, self.options = server, name, options

    def insert_many(self, documents):
        ids = []
        for document in documents:
            document.setdefault("_id", ObjectId())
            if any(bson.decode(each, self.options)["_id"] == document["_id"] for each in self.raw):
                raise BulkWriteError({"writeErrors": [{"errmsg": "E11000 duplicate key"}]})
            self.raw.append(bson.encode(document, codec_options=self.options))
            ids.append(document["_id"])
        return pymongo.results.InsertManyResult(ids, True)

    @property
    def raw(self):
        return self.server.data[self.name]

    def aggregate(self, pipeline, **how):
        self.server.asked.append((pipeline, how))
        bson.encode({"pipeline": pipeline})
        found = self.server.data.get(self.name, ())
        rows = [bson.decode(each, codec_options=self.options) for each in found]
        for stage in pipeline:
            rows = STAGES[next(iter(stage))](rows, next(iter(stage.values())))
        return Cursor(rows)


def match(rows, wanted):
    def holds(row):
        for test in wanted.get("$expr", {}).get("$and", ()):
            (name, (_, bound)) = next(iter(test.items()))
            order = rank(row["_id"]), rank(bound["$literal"])
            if not (order[0] >= order[1] if name == "$gte" else order[0] < order[1]):
                return False
        plain = {name: value for name, value in wanted.items() if name != "$expr"}
        return all(row.get(name) == value for name, value in plain.items())

    return [row for row in rows if holds(row)]


def buckets(rows, how):
    ids = sorted((row["_id"] for row in rows), key=rank)
    parts = [part.tolist() for part in np.array_split(range(len(ids)), how["buckets"]) if len(part)]
    return [{"_id": {"min": ids[part[0]]}, "count": len(part)} for part in parts]


def broken(rows, how):
    raise OperationFailure(f"cannot authenticate {URI}")


STAGES = {
    "$match": match,
    "$sort": lambda rows, how: sorted(rows, key=lambda row: rank(row["_id"])),
    "$bucketAuto": buckets,
    "$limit": lambda rows, how: rows[:how],
    "$project": lambda rows, how: [{k: v for k, v in r.items() if how.get(k)} for r in rows],
    "$broken": broken,
}


class Server:
    def __init__(self):
        self.data = defaultdict(list)
        self.asked = []
        self.open = 0

    def client(self, uri):
        assert uri == URI
        return Client(self)

    def put(self, documents, name="c"):
        Collection(self, name).insert_many(documents)


class Client:
    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.server.open += 1
        return self

    def __exit__(self, *error):
        self.server.open -= 1

    def __getitem__(self, database):
        assert database == "d"
        return self

    def get_collection(self, name, codec_options):
        return Collection(self.server, name, codec_options)

    def list_collection_names(self, filter):
        return [name for name in self.server.data if name == filter["name"]]


@pytest.fixture
def server(monkeypatch):
    made = Server()
    monkeypatch.setattr(pymongo, "MongoClient", made.client)
    yield made
    assert made.open == 0


def read(**how):
    return read_mongo(URI, "d", "c", **how)


def write(ds, name="c"):
    operator = Map(WriteMongo(Place(URI, "d", name)), SinkTasks().shape(), writes=True)
    return sum(
        report["rows"][0].as_py() for report in ds._execute(ds._plan.then(operator)).tables()
    )


# Reading --------------------------------------------------------------------------------------


def test_documents_are_rows_with_their_types(server):
    key, word = ObjectId(), uuid.UUID(int=7)
    noon = datetime.datetime(2024, 2, 29, 12, 0, 0, 123000, tzinfo=datetime.UTC)
    rows = [
        {
            **{"_id": key, "i": 2**53 + 1, "l": Int64(-(2**63)), "f": -0.0, "s": "a\0ü"},
            **{"b": b"\0", "t": True, "when": noon, "n": None, "u": Binary.from_uuid(word)},
            **{"d": Decimal128("1.50"), "deep": {"x": [1, None], "y": [{"z": key}]}},
        },
        {"_id": ObjectId(), "more": [[1], []]},
    ]
    server.put(rows)
    table = pa.table(read())
    found = table.to_pylist()
    assert found[0]["_id"] == key.binary
    assert table.schema.field("_id").type == pa.binary(12)
    assert (found[0]["i"], found[0]["l"]) == (2**53 + 1, -(2**63))
    assert str(found[0]["f"]) == "-0.0"
    assert (found[0]["s"], found[0]["b"], found[0]["t"]) == ("a\0ü", b"\0", True)
    assert found[0]["when"] == noon
    assert table.schema.field("when").type == pa.timestamp("ms", "UTC")
    assert (found[0]["u"], found[0]["d"]) == (word.bytes, decimal.Decimal("1.50"))
    assert found[0]["deep"] == {"x": [1, None], "y": [{"z": key.binary}]}
    assert (found[0]["n"], found[0]["more"]) == (None, None)
    assert found[1]["more"] == [[1], []]
    assert found[1]["i"] is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1, "a"], "int and string"),
        ([2**53 + 1, 0.5], "the integer 9007199254740993"),
        ([True, 1], "bool and int"),
        ([Code("x")], "type Code"),
        ([Regex("x")], "type Regex"),
        ([Binary(b"x", 5)], "binary of subtype 5"),
        ([Decimal128("NaN")], "NaN"),
        ([Decimal128("1e100"), Decimal128("1e-100")], "digits"),
        ([{"x": 1}, [1]], "array and document"),
        ([[1, "a"]], "int and string"),
    ],
)
@pytest.mark.parametrize("gap", [0, 200])
def test_a_field_of_mixed_or_foreign_values_is_an_error_that_names_it(server, values, told, gap):
    fill = [{"x": values[0]} for _ in range(gap)] if len(values) > 1 else []
    server.put([*fill, *({"x": value} for value in values)])
    with pytest.raises(MillstreamError, match=r"'x'") as caught:
        read().take_all()
    if not gap:
        assert told in str(caught.value)


def test_dates_that_python_does_not_have_are_kept(server):
    from bson.datetime_ms import DatetimeMS

    server.put([{"x": DatetimeMS(253_402_300_800_000)}])
    assert pa.table(read())["x"].cast(pa.int64()).to_pylist() == [253_402_300_800_000]


@settings(deadline=None, max_examples=25)
@given(data=st.data(), parts=st.integers(1, 6))
def test_each_document_is_in_one_part_whatever_its_id(data, parts):
    ids = (
        st.integers(-(2**40), 2**40) | st.text(max_size=3) | st.booleans().map(lambda _: ObjectId())
    )
    found = data.draw(st.lists(ids.filter(lambda v: "\0" not in str(v)), unique=True))
    server = Server()
    server.data["c"] = []
    server.put([{"_id": each, "n": n} for n, each in enumerate(found)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pymongo, "MongoClient", server.client)
        source = plan_mongo(Place(URI, "d", "c"), pipeline=[{"$project": {"n": 1}}], blocks=parts)
        numbers = [row["n"] for unit in source.units for t in unit.read() for row in t.to_pylist()]
    assert sorted(numbers) == list(range(len(found)))
    order = sorted(range(len(found)), key=lambda n: rank(found[n]))
    assert numbers == order
    assert len(source.units) <= parts


def test_a_pipeline_over_several_documents_is_asked_once_and_as_it_is(server):
    server.put([{"_id": n, "k": n % 2} for n in range(10)])
    stages = [{"$match": {"k": 1}}, {"$limit": 3}]
    ds = read(pipeline=stages, override_num_blocks=4, allowDiskUse=True)
    assert ds.count() == 3
    assert server.asked == [(stages, {"allowDiskUse": True})]
    assert read(pipeline=[{"$match": {"k": 1}}], override_num_blocks=2).count() == 5


def test_a_schema_chooses_columns_and_types(server):
    server.put([{"_id": n, "n": n, "s": "x"} for n in range(3)])
    schema = pa.schema({"n": pa.int8(), "absent": pa.string()})
    table = pa.table(read(schema=schema))
    assert table.schema == schema
    assert table.to_pydict() == {"n": [0, 1, 2], "absent": [None] * 3}
    with pytest.raises(ReadError, match="'s'"):
        read(schema=pa.schema({"s": pa.int64()})).take_all()
    server.data["empty"] = []
    empty = read_mongo(URI, "d", "empty", schema=schema)
    assert (empty.count(), pa.table(empty).schema) == (0, schema)


def test_a_collection_that_is_not_there_is_an_error(server):
    with pytest.raises(ReadError, match="no collection 'c' in 'd'"):
        read().take_all()


def test_no_error_shows_the_password(server):
    server.put([{"x": 1}])
    with pytest.raises(ReadError, match=r"cannot read d\.c: OperationFailure") as caught:
        read(pipeline=[{"$broken": 1}]).take_all()
    assert "hunter2" not in str(caught.value)
    unit = plan_mongo(Place(URI, "d", "c")).units[0]
    assert isinstance(unit, MongoUnit)
    assert "hunter2" not in repr(unit)
    with pytest.raises(ArgumentError) as caught:
        Place("user:hunter2@host", "d", "c")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"pipeline": {"$match": {}}}, "pipeline"),
        ({"pipeline": [5]}, "pipeline"),
        ({"schema": {"a": 1}}, "schema"),
        ({"override_num_blocks": 0}, "override_num_blocks=0"),
    ],
)
def test_arguments_that_make_no_sense(server, how, told):
    with pytest.raises(ArgumentError, match=told):
        read(**how)
    for place in (("x", "d", "c"), (5, "d", "c"), (URI, "", "c"), (URI, "d", None)):
        with pytest.raises(ArgumentError):
            read_mongo(*place)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[mongo\]"):
        read()


# Writing --------------------------------------------------------------------------------------

KINDS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.large_string(): st.text(st.characters(exclude_categories=["Cs"])),
    pa.large_binary(): st.binary(),
    pa.bool_(): st.booleans(),
    pa.binary(12): st.binary(min_size=12, max_size=12),
    pa.binary(16): st.binary(min_size=16, max_size=16),
    pa.timestamp("ms", "UTC"): st.integers(-(2**50), 2**50),
    pa.decimal128(38, 2): st.decimals(-(10**30), 10**30, places=2),
    pa.large_list(pa.int64()): st.lists(st.none() | st.integers(0, 9), min_size=1),
    pa.struct({"a": pa.int64()}): st.fixed_dictionaries({"a": st.integers(0, 9)}),
}


@pytest.mark.parametrize("type", KINDS, ids=str)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_values_go_through_bson_and_back(type, data):
    values = data.draw(st.lists(st.none() | KINDS[type], min_size=1))
    column = pa.array(values, type)
    place = Place(URI, "d", "c")
    options = place.opened({"d": Client(Server())}).options
    documents = documents_of(pa.table({"x": column}))
    back = [bson.decode(bson.encode(each, codec_options=options), options) for each in documents]
    found = array_of([each["x"] for each in back])
    if column.null_count == len(column):
        assert found.null_count == len(found)
    else:
        assert found.cast(type).equals(column)


def test_rows_are_documents(server):
    key = ObjectId()
    table = pa.table(
        {
            "_id": pa.array([key.binary, ObjectId().binary], pa.binary(12)),
            "i": pa.array([2**63 - 1, None], pa.uint64()),
            "c": pa.array(["a", None]).dictionary_encode(),
            "s": [{"x": [{"y": None}]}, None],
        }
    )
    assert write(ms.from_arrow(table, override_num_blocks=1)) == 2
    first = bson.decode(server.data["c"][0])
    assert first == {"_id": key, "i": 2**63 - 1, "c": "a", "s": {"x": [{"y": None}]}}
    assert read().count() == 2
    with pytest.raises(WriteError, match=r"cannot write to d\.c: BulkWriteError"):
        write(ms.from_arrow(table))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1], pa.timestamp("ms")),
        pa.array([1], pa.date32()),
        pa.array([1], pa.time32("s")),
        pa.array([1], pa.duration("s")),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([b"abc"], pa.binary(3)),
        pa.array([[1, 2]], pa.list_(pa.int8(), 2)),
        tensor.from_ndarrays([np.ones((2, 2))]),
        pa.array([{"x": 1}], pa.struct({"x": pa.date32()})),
    ],
    ids=lambda column: str(column.type),
)
def test_types_that_bson_has_not_are_refused_by_name(server, column):
    table = pa.table({"a": column})
    with pytest.raises(SchemaError, match=r"'a' of type .* cannot be written to MongoDB"):
        check_types(table.schema)
    with pytest.raises(SchemaError, match="'a' of type"):
        write(ms.from_arrow(table))
    assert not server.data["c"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([1001], pa.timestamp("us", "UTC")),
        pa.array([decimal.Decimal(10**37 + 1)], pa.decimal128(38, 0)),
    ],
    ids=lambda column: str(column.type),
)
def test_values_that_bson_has_not_are_refused_by_name(column):
    with pytest.raises(SchemaError, match=r"'a' of type .* has a value that BSON cannot"):
        documents_of(pa.table({"a": column}))
