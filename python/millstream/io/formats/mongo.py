"""Reading from MongoDB with pymongo, and writing to it.

Owns how a collection is divided, and which Arrow type a value of BSON is. Must not know what
happens to the rows. What the database says is told without passwords.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa

from millstream.blocks import block
from millstream.blocks.common_type import common_type
from millstream.blocks.convert import convert
from millstream.errors import ReadError, WriteError
from millstream.errors.checks import check_count, check_kind, is_named, is_sequence, require
from millstream.errors.packages import require_package
from millstream.io.formats.bson_values import array_of, check_types, documents_of
from millstream.io.formats.sql import telling
from millstream.io.source import Source, UnitOfNoFiles


@dataclass(frozen=True)
class Place:
    """A collection.

    Args:
        uri: The address of the database server, which may have a password.
        database: The database.
        collection: The collection.
    """

    uri: str = field(repr=False)
    database: str
    collection: str

    def __post_init__(self) -> None:
        # The address may show a password.
        is_uri = isinstance(self.uri, str) and self.uri.startswith(("mongodb://", "mongodb+srv://"))
        require(is_uri, "uri", type(self.uri), "an address such as 'mongodb://host:27017'")
        for name in ("database", "collection"):
            value = getattr(self, name)
            require(isinstance(value, str) and bool(value), name, value, "a name")

    def opened(self, client: Any) -> Any:
        """The collection, whose values come without the limits of Python's own types."""
        from bson import CodecOptions
        from bson.binary import UuidRepresentation
        from bson.codec_options import DatetimeConversion

        options: CodecOptions[dict[str, Any]] = CodecOptions(
            uuid_representation=UuidRepresentation.STANDARD,
            datetime_conversion=DatetimeConversion.DATETIME_MS,
        )
        return client[self.database].get_collection(self.collection, codec_options=options)


def plan_mongo(
    place: Place,
    *,
    pipeline: Any = None,
    schema: Any = None,
    aggregate_args: Mapping[str, Any] | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read a collection, or what an aggregation makes of it; see `read_mongo`.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pymongo is not installed.
        ReadError: The database does not answer, when it is asked how to divide the documents.
    """
    require_mongo("read_mongo")
    check_count("override_num_blocks", blocks)
    stages = list(pipeline) if is_sequence(pipeline) else pipeline
    is_right = stages is None or (isinstance(stages, list) and all(map(is_named, stages)))
    require(is_right, "pipeline", pipeline, "a list of stages, each a dict, or None")
    check_kind("schema", schema, pa.Schema)
    scan = Scan(place, tuple(stages or ()), schema, dict(aggregate_args or {}))
    units = [MongoUnit(scan, bounds) for bounds in _bounds(scan, blocks or 1)]
    return Source("ReadMongo", units, schema, None)


def require_mongo(caller: str) -> None:
    """Checks that pymongo is there.

    Raises:
        MissingPackageError: It is not.
    """
    require_package("pymongo", caller, "pymongo", "mongo")


@dataclass(frozen=True)
class Scan:
    """What all units of one source have in common.

    Args:
        place: The collection.
        stages: Those of the aggregation.
        schema: The columns that are wanted; `None`: all that come.
        args: For `Collection.aggregate`.
    """

    place: Place
    stages: tuple[Mapping[str, Any], ...]
    schema: pa.Schema | None
    args: Mapping[str, Any]

    @property
    def is_of_documents(self) -> bool:
        """Whether each document is dealt with by itself, so that others do not matter."""
        return all(set(stage) <= _OF_ONE_DOCUMENT for stage in self.stages)

    def within(self, bounds: tuple[Any, Any] | None) -> list[Mapping[str, Any]]:
        """The stages for a part of the documents, in an order that is always the same."""
        if not self.is_of_documents:
            return list(self.stages)
        first = 0
        while first < len(self.stages) and "$match" in self.stages[first]:
            first += 1
        part = [] if bounds is None else [{"$match": {"$expr": _between(*bounds)}}]
        order = {"$sort": {"_id": 1}}
        return [*self.stages[:first], *part, order, *self.stages[first:]]


@dataclass(frozen=True)
class MongoUnit(UnitOfNoFiles):
    """The documents between two values of `_id`.

    Args:
        scan: What is asked.
        bounds: The first `_id` and the one after the last, each a list of one, or empty where
            there is no bound; `None`: all documents.
    """

    scan: Scan
    bounds: tuple[Any, Any] | None

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows in tables of bounded size.

        Raises:
            ReadError: The database refuses, or there is no such collection, or a value has no type
                of Arrow, or those of a column do not go together.
        """
        place = self.scan.place
        problem = f"cannot read {place.database}.{place.collection}"
        with telling(ReadError, problem), _client(place) as client:
            stages = self.scan.within(self.bounds)
            tables = _Tables(self.scan.schema)
            with closing(place.opened(client).aggregate(stages, **self.scan.args)) as rows:
                yield from tables.of(rows)
            if not tables.rows:
                _require_there(client, place)
                if self.scan.schema is not None:
                    yield self.scan.schema.empty_table()


class _Tables:
    """Documents as tables, whose columns have the types that they have had so far.

    Args:
        schema: The columns that are wanted, if they are given.
    """

    def __init__(self, schema: pa.Schema | None) -> None:
        self.rows = 0
        self._schema = schema
        self._types: dict[str, pa.DataType] = {}
        self._count = _ROWS_FIRST

    def of(self, documents: Iterable[Mapping[str, Any]]) -> Iterator[pa.Table]:
        """Yields tables."""
        held: list[Mapping[str, Any]] = []
        for document in documents:
            held.append(document)
            if len(held) >= self._count:
                yield self._table(held)
                held = []
        if held:
            yield self._table(held)

    def _table(self, documents: Sequence[Mapping[str, Any]]) -> pa.Table:
        if self._schema is None:
            names = list(dict.fromkeys([*self._types, *(n for each in documents for n in each)]))
        else:
            names = self._schema.names
        made = {name: self._column(name, [each.get(name) for each in documents]) for name in names}
        table = pa.table(made) if made else block.rows_only(len(documents))
        self.rows += len(documents)
        row_bytes = max(1, table.nbytes // len(documents))
        self._count = max(1, min(_ROWS_MAX, _BYTES // row_bytes, self._count * _GROWTH))
        return table

    def _column(self, name: str, found: Sequence[Any]) -> Any:
        known = self._types.get(name, pa.null())
        wanted = None if self._schema is None else self._schema.field(name).type
        try:
            made = array_of(found)
            common = wanted if wanted is not None else common_type(known, made.type)
            if common is None:
                raise TypeError(f"is {known} before and {made.type} now")
            made = convert(made, common)
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise ReadError(
                f"the field {name!r}, in the documents {self.rows} to "
                f"{self.rows + len(found) - 1}, {error}; convert it in the pipeline, such as with "
                "$toString"
            ) from error
        self._types[name] = made.type
        return made


@dataclass(frozen=True)
class WriteMongo:
    """Inserts the rows of a task, and yields one row: how many there were.

    Args:
        place: The collection.
    """

    place: Place

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return "WriteMongo"

    def open(self) -> Callable[[Iterator[pa.Table]], Iterator[pa.Table]]:
        """Needs nothing to be loaded."""
        return self._write

    def _write(self, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        written = 0
        problem = f"cannot write to {self.place.database}.{self.place.collection}"
        with telling(WriteError, problem), _client(self.place) as client:
            found = self.place.opened(client)
            for table in blocks:
                check_types(block.visible_schema(table.schema))
                for start in range(0, table.num_rows, _INSERTED):
                    documents = documents_of(block.plain(table.slice(start, _INSERTED)))
                    written += len(found.insert_many(documents).inserted_ids)
        yield pa.table({"rows": [written]})


def _bounds(scan: Scan, parts: int) -> list[tuple[Any, Any] | None]:
    """Divides the documents by `_id`, such that each is in one part, also those that come later."""
    if parts == 1 or not scan.is_of_documents:
        return [None]
    place = scan.place
    stages = [stage for stage in scan.stages[:1] if "$match" in stage]
    buckets = {"$bucketAuto": {"groupBy": "$_id", "buckets": parts}}
    problem = f"cannot divide {place.database}.{place.collection}"
    with telling(ReadError, problem), _client(place) as client:
        made = list(place.opened(client).aggregate([*stages, buckets], allowDiskUse=True))
    begins = [[bucket["_id"]["min"]] for bucket in made][1:]
    ends: list[list[Any]] = [[], *begins, []]
    return [None] if not begins else list(pairwise(ends))


def _between(first: Sequence[Any], last: Sequence[Any]) -> Mapping[str, Any]:
    # By expression, which compares values of all types; a query would leave out other types.
    conditions = [{"$gte": ["$_id", {"$literal": value}]} for value in first]
    conditions += [{"$lt": ["$_id", {"$literal": value}]} for value in last]
    return {"$and": conditions}


def _client(place: Place) -> Any:
    import pymongo

    return pymongo.MongoClient(place.uri)


def _require_there(client: Any, place: Place) -> None:
    names = client[place.database].list_collection_names(filter={"name": place.collection})
    if place.collection not in names:
        raise ReadError(f"there is no collection {place.collection!r} in {place.database!r}")


# Stages that make of each document what they make of it, whichever others there are.
_OF_ONE_DOCUMENT = frozenset(
    (
        *("$match", "$project", "$addFields", "$set", "$unset", "$unwind"),
        *("$replaceRoot", "$replaceWith", "$redact", "$lookup"),
    )
)
# Rows of Python objects take many times the memory of their columns.
_BYTES = 8 << 20
_ROWS_FIRST = 64
_ROWS_MAX = 1 << 14
_GROWTH = 8
_INSERTED = 1024
