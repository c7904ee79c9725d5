"""Joins: the rows that plain Python puts beside each other, however both sides are cut."""

from __future__ import annotations

import datetime
import decimal
import math
import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from column_samples import COLUMNS, same, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream import joins
from millstream.blocks.join import KINDS
from millstream.errors import SchemaError

few = settings(max_examples=40, suppress_health_check=list(HealthCheck))
FULL_NAMES = sorted(set(KINDS.values()))
OF_THE_LEFT = ["inner", "left_outer", "left_semi", "left_anti"]
#: How: by so many partitions, or None: the right side goes to each worker.
WAYS = [None, 1, 4]


def cut(table, places=()):
    """A dataset of blocks that end at some places."""
    ends = sorted({0, table.num_rows, *(place % (table.num_rows + 1) for place in places)})
    pieces = [table.slice(a, b - a) for a, b in pairwise(ends)]
    return ms.from_arrow(pieces or [table])


def side(name, **keys):
    """A table of keys, and a column that numbers its rows."""
    rows = len(next(iter(keys.values())))
    return pa.table({**keys, name: np.arange(rows)})


def unknown(ds):
    """The same rows, of columns that are not known without running."""
    return ds.map_batches(lambda batch: batch, batch_format="pyarrow")


def join(left, right, kind, way, **options):
    how = {"broadcast": True} if way is None else {"broadcast": False, "num_partitions": way}
    return left.join(right, kind, **how, **options)


def is_same_key(left, right):
    pairs = list(zip(left, right, strict=True))
    if any(value is None for pair in pairs for value in pair):
        return False
    return all(a == b or (a != a and b != b) for a, b in pairs)


def pairs_of(kind, left, right):
    """Which row stands beside which, as plain Python finds it."""
    met = [
        (a, b)
        for a in range(len(left))
        for b in range(len(right))
        if is_same_key(left[a], right[b])
    ]
    lefts, rights = {a for a, _ in met}, {b for _, b in met}
    alone = [(a, None) for a in range(len(left)) if a not in lefts]
    others = [(None, b) for b in range(len(right)) if b not in rights]
    return {
        "inner": met,
        "left_outer": met + alone,
        "right_outer": met + others,
        "full_outer": met + alone + others,
        "left_semi": [(a, None) for a in sorted(lefts)],
        "left_anti": alone,
        "right_semi": [(None, b) for b in sorted(rights)],
        "right_anti": others,
    }[kind]


def found_pairs(ds):
    return [(row.get("l"), row.get("r")) for row in ds.take_all()]


def check(ds, kind, left, right):
    assert Counter(found_pairs(ds)) == Counter(pairs_of(kind, left, right))


# Which rows meet ----------------------------------------------------------------------------

whole = st.sampled_from([0, 1, 2])
NUMBERS = {
    "int8": (pa.int8(), whole),
    "int64": (pa.int64(), whole),
    "uint64": (pa.uint64(), whole),
    "float64": (pa.float64(), st.sampled_from([0.0, -0.0, 1.0, 0.5, math.nan, -math.nan])),
    "float32": (pa.float32(), st.sampled_from([0.0, 1.0, 0.5, math.nan])),
    "float16": (pa.float16(), st.sampled_from([-0.0, 1.0, math.nan])),
    "null": (pa.null(), st.none()),
}
EXACT = {
    "int64": (pa.int64(), st.sampled_from([2**53, 2**53 + 1, 2**62, 2**63 - 1, 1])),
    "uint64": (pa.uint64(), st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 1])),
    "decimal128": (
        pa.decimal128(30, 2),
        st.sampled_from([decimal.Decimal(each) for each in (2**53, 2**53 + 1, 1)]),
    ),
    "decimal32": (pa.decimal32(5, 1), st.sampled_from([decimal.Decimal(1), decimal.Decimal(2)])),
}
words = st.sampled_from(["", "a", "é", "😀"])
TEXTS = {
    "string": (pa.string(), words),
    "large_string": (pa.large_string(), words),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), words),
}
noon = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)
moments = st.sampled_from([noon, noon + datetime.timedelta(seconds=1)])
MOMENTS = {
    unit: (pa.timestamp(unit, zone), moments)
    for unit, zone in (("s", "UTC"), ("us", "Europe/Berlin"), ("ns", "UTC"))
}
days = st.sampled_from([datetime.date(2024, 2, 29), datetime.date(1969, 12, 31)])
DAYS = {"date32": (pa.date32(), days), "date64": (pa.date64(), days)}
gaps = st.sampled_from([datetime.timedelta(0), datetime.timedelta(1, 2)])
GAPS = {unit: (pa.duration(unit), gaps) for unit in ("s", "ms", "ns")}
BYTES = {
    "binary": (pa.binary(), st.binary(max_size=1)),
    "large": (pa.large_binary(), st.binary(max_size=1)),
}
BOOLS = {"bool": (pa.bool_(), st.booleans())}
FAMILIES = [NUMBERS, EXACT, TEXTS, MOMENTS, DAYS, GAPS, BYTES, BOOLS]


@st.composite
def both_sides(draw):
    """Two tables whose keys can be compared, of one or two columns."""
    families = draw(st.lists(st.sampled_from(FAMILIES), min_size=1, max_size=2))
    tables = []
    for name in ("l", "r"):
        rows = draw(st.integers(0, 8))
        keys = {}
        for place, family in enumerate(families):
            type, strategy = family[draw(st.sampled_from(sorted(family)))]
            found = draw(st.lists(st.none() | strategy, min_size=rows, max_size=rows))
            keys[f"k{place}"] = pa.array(found, type)
        tables.append(side(name, **keys))
    return tables


def keys_of(table):
    columns = [values(column) for column in table.columns[:-1]]
    return list(zip(*columns, strict=True)) if table.num_rows else []


@given(
    tables=both_sides(),
    kind=st.sampled_from(FULL_NAMES),
    way=st.sampled_from(WAYS),
    places=st.lists(st.integers(0, 100), min_size=2, max_size=4),
    is_known=st.booleans(),
)
@settings(few, max_examples=100)
def test_the_rows_meet_that_plain_python_puts_together(tables, kind, way, places, is_known):
    left, right = tables
    way = 3 if way is None and kind not in OF_THE_LEFT else way
    sides = [cut(left, places), cut(right, places[:1])]
    if not is_known:
        sides = [unknown(each) for each in sides]
    found = join(*sides, kind, way, on=left.column_names[:-1])
    check(found, kind, keys_of(left), keys_of(right))


@given(tables=both_sides(), kind=st.sampled_from(FULL_NAMES), way=st.sampled_from([1, 4]))
@few
def test_keys_come_out_with_the_values_that_they_had(tables, kind, way):
    left, right = tables
    names = left.column_names[:-1]
    ours, theirs = keys_of(left), keys_of(right)
    made = join(ms.from_arrow(left), ms.from_arrow(right), kind, way, on=names)
    if not made.count():
        return
    table = pa.table(made)
    columns = [values(table.column(name)) for name in names]
    for place, row in enumerate(
        table.select([n for n in "lr" if n in table.column_names]).to_pylist()
    ):
        wanted = ours[row["l"]] if row.get("l") is not None else theirs[row["r"]]
        for column, value in zip(columns, wanted, strict=True):
            assert (
                column[place] == value
                or same(column[place], value)
                or column[place] != value != value
            )


@pytest.mark.parametrize("way", WAYS)
def test_one_nan_and_one_zero_meet_and_no_nulls(way):
    left = side("l", id=np.array([math.nan, 0.0]))
    right = side("r", id=np.array([-math.nan, -0.0]))
    made = join(ms.from_arrow(left), ms.from_arrow(right), "inner", way)
    assert sorted(found_pairs(made)) == [(0, 0), (1, 1)]
    nothing = [side(name, id=pa.array([None, 1])) for name in "lr"]
    made = join(*map(ms.from_arrow, nothing), "inner", way)
    assert found_pairs(made) == [(1, 1)]


@pytest.mark.parametrize("way", WAYS)
def test_where_a_block_ends_decides_nothing(way):
    blocks = [pa.array([1], pa.int8()), pa.array([2.0, 0.5]), pa.nulls(1), pa.array([3])]
    left = ms.from_arrow([pa.table({"id": block, "l": block}) for block in blocks])
    right = ms.from_arrow([pa.table({"id": block, "r": block}) for block in reversed(blocks)])
    found = join(left, right, "inner", way).take_all()
    assert sorted((row["id"], row["l"], row["r"]) for row in found) == [
        (value,) * 3 for value in (0.5, 1.0, 2.0, 3.0)
    ]


@pytest.mark.parametrize("way", WAYS)
def test_keys_of_a_type_that_not_all_values_have_are_an_error(way):
    cases = [
        (pa.array([2**53 + 1]), pa.array([0.5]), "9007199254740993 is no exact double"),
        (pa.array([-1]), pa.array([1], pa.uint64()), "int64.*uint64"),
        (
            pa.array([2**61], pa.timestamp("s")),
            pa.array([1], pa.timestamp("ns")),
            r"timestamp\[s\]",
        ),
    ]
    for ours, theirs, told in cases:
        made = join(cut(side("l", id=ours)), cut(side("r", id=theirs)), "inner", way)
        with pytest.raises(SchemaError, match=f"(?s)key 'id'.*{told}") as caught:
            made.take_all()
        assert "cast one of them" in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_known", [True, False])
def test_keys_that_cannot_be_compared_are_refused(way, is_known):
    pairs = [
        (pa.array(range(20)), pa.array([str(number) for number in range(20)])),
        (pa.array([True]), pa.array([1])),
        (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
        (COLUMNS["uuid"], pa.array([b"x" * 16])),
    ]
    for ours, theirs in pairs:
        # In some partition the two meet.
        sides = [cut(side("l", id=ours)), cut(side("r", id=theirs))]
        # Where the columns are known, the call itself is refused.
        run = (lambda ds: ds) if is_known else ms.Dataset.take_all
        sides = sides if is_known else [unknown(each) for each in sides]
        with pytest.raises(SchemaError, match=r"key 'id' of the left side is of type .* cast one"):
            run(join(*sides, "inner", way))


@pytest.mark.parametrize("name", ["list", "struct", "map", "tensor", "interval"])
def test_keys_that_no_key_can_be_are_refused(name):
    sides = [cut(side(letter, id=COLUMNS[name])) for letter in "lr"]
    for way in WAYS:
        with pytest.raises(SchemaError, match=r"column 'id' of type .* cannot be a key"):
            join(*sides, "inner", way)


@pytest.mark.parametrize("way", WAYS)
def test_columns_of_any_type_go_with_their_rows(way):
    for name, column in COLUMNS.items():
        rows = len(column)
        left = pa.table({"id": np.arange(rows), "x": column})
        right = pa.table(
            {"id": np.arange(1, rows + 2), "y": pa.concat_arrays([column, column[:1]])}
        )
        kind = "left_outer" if way is None else "full_outer"
        table = pa.table(join(ms.from_arrow(left), ms.from_arrow(right), kind, way))
        plain = [values(pa.table(ms.from_arrow(each)).column(1)) for each in (left, right)]
        for place, number in enumerate(table.column("id").to_pylist()):
            x, y = values(table.column("x"))[place], values(table.column("y"))[place]
            assert same(x, plain[0][number] if number < rows else None), name
            assert same(y, plain[1][number - 1] if number > 0 else None), name


def test_uuids_are_keys():
    left, right = (cut(side(name, id=COLUMNS["uuid"])) for name in "lr")
    found = pa.table(join(left, right, "full_outer", 3))
    assert found.column("id").type == pa.uuid()
    assert sorted(found_pairs(join(left, right, "inner", None))) == [(0, 0)]


def test_many_rows_of_one_key_all_meet():
    left = side("l", id=[1] * 300 + [2])
    right = side("r", id=[1] * 200 + [3])
    for way in WAYS:
        assert join(cut(left, [50]), cut(right, [70]), "inner", way).count() == 60_000


# Columns ------------------------------------------------------------------------------------

PEOPLE = [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Alan"}]
TITLES = [{"id": 2, "title": "Dr"}, {"id": 3, "title": "Sir"}]


@pytest.fixture
def people():
    return ms.from_items(PEOPLE)


@pytest.fixture
def titles():
    return ms.from_items(TITLES)


def sorted_rows(ds):
    return sorted(ds.take_all(), key=repr)


@pytest.mark.parametrize(
    ("short", "full"), [(short, full) for short, full in KINDS.items() if short != full]
)
def test_kinds_have_short_names(short, full, people, titles):
    assert sorted_rows(people.join(titles, short)) == sorted_rows(people.join(titles, full))


def test_the_rows_of_each_kind(people, titles):
    both = {"id": 2, "name": "Alan", "title": "Dr"}
    ours, theirs = {"id": 1, "name": "Ada"}, {"id": 3, "title": "Sir"}
    wanted = {
        "inner": [both],
        "left": [both, {**ours, "title": None}],
        "right": [both, {**theirs, "name": None}],
        "full": [both, {**ours, "title": None}, {**theirs, "name": None}],
        "semi": [PEOPLE[1]],
        "anti": [ours],
        "right_semi": [TITLES[0]],
        "right_anti": [theirs],
    }
    for kind, rows in wanted.items():
        found = people.join(titles, kind, 3).take_all()
        assert sorted(found, key=lambda row: row["id"]) == sorted(rows, key=lambda row: row["id"])


@pytest.mark.parametrize("kind", ["inner", "left", "right", "full"])
@pytest.mark.parametrize("known", [(True, True), (True, False), (False, True), (False, False)])
def test_columns_that_both_have_are_told_apart_in_every_partition(kind, known):
    left = cut(pa.table({"id": np.arange(6), "v": [f"l{n}" for n in range(6)]}), [2, 4])
    right = cut(pa.table({"id": np.arange(5, 8), "v": ["r5", "r6", "r7"], "w": [5, 6, 7]}), [1])
    sides = [
        ds if is_known else unknown(ds) for ds, is_known in zip((left, right), known, strict=True)
    ]
    made = join(*sides, kind, 5, left_suffix="_l", right_suffix="_r")
    rows = made.take_all()
    assert {tuple(row) for row in rows} == {("id", "v_l", "v_r", "w")}
    for row in rows:
        number = row["id"]
        assert row["v_l"] == (f"l{number}" if number < 6 else None)
        assert row["v_r"] == (f"r{number}" if number >= 5 else None)


def test_a_column_that_both_have_needs_a_suffix(people):
    told = "column 'name' would be there twice"
    with pytest.raises(SchemaError, match=told):
        people.join(people)
    for way in WAYS:
        with pytest.raises(SchemaError, match=told):
            join(unknown(people), unknown(people), "inner", way).take_all()
    one = people.join(people, left_suffix="_l")
    assert one.take_all()[0] == {"id": 1, "name_l": "Ada", "name": "Ada"}
    assert people.join(people, "semi").take_all() == PEOPLE
    with pytest.raises(SchemaError, match="'name_r' would be there twice"):
        people.rename_columns({"id": "id", "name": "name_r"}).join(
            people.rename_columns({"name": "name_r"}), left_suffix="", right_suffix=""
        )


def test_keys_may_have_other_names_on_the_right(people):
    right = ms.from_items([{"who": 2, "id": 7}, {"who": 9, "id": 8}])
    for way in WAYS[1:]:
        made = join(
            people, right, "full", way, on="id", right_on="who", left_suffix="", right_suffix="_r"
        )
        found = {row["id"]: row["id_r"] for row in made.take_all()}
        assert found == {1: None, 2: 7, 9: 8}


def test_keys_of_several_columns_meet_in_their_order():
    left = pa.table({"a": [1, 2], "b": [2, 1], "l": [0, 1]})
    right = pa.table({"a": [2], "b": [1], "r": [0]})
    for way in WAYS:
        sides = ms.from_arrow(left), ms.from_arrow(right)
        assert found_pairs(join(*sides, "inner", way, on=["a", "b"])) == [(1, 0)]
        made = join(*sides, "inner", way, on=["a", "b"], right_on=["b", "a"])
        assert found_pairs(made) == [(0, 0)]


@pytest.mark.parametrize("way", WAYS)
def test_a_key_that_is_not_there_is_named(way, people, titles):
    told = "no column 'missing'; the columns are 'id', "
    cases = [{"on": "missing"}, {"on": "id", "right_on": "missing"}]
    for options in cases:
        with pytest.raises(SchemaError, match=told):
            join(people, titles, "inner", way, **options)
        with pytest.raises(SchemaError, match=told):
            join(unknown(people), unknown(titles), "inner", way, **options).take_all()


# Sides without rows -------------------------------------------------------------------------


def emptied(ds):
    """Datasets without rows: of known columns, of unknown ones, and without any."""
    return [ds.limit(0), unknown(ds).filter(lambda row: False), ds.flat_map(lambda row: [])]


@pytest.mark.parametrize("kind", FULL_NAMES)
@pytest.mark.parametrize("way", WAYS)
def test_a_side_without_rows(kind, way, people, titles):
    if way is None and kind not in OF_THE_LEFT:
        return
    left, right = [(row["id"],) for row in PEOPLE], [(row["id"],) for row in TITLES]
    for none in emptied(people):
        assert join(none, titles, kind, way).count() == len(pairs_of(kind, [], right))
        assert join(none, none, kind, way, left_suffix="_l").count() == 0
    for none in emptied(titles):
        rows = join(people, none, kind, way).take_all()
        assert len(rows) == len(pairs_of(kind, left, []))
        assert all(row["name"] in ("Ada", "Alan") for row in rows)


def test_empty_blocks_change_nothing(people, titles):
    left = people.flat_map(lambda row: [row] if row["id"] == 2 else [])
    right = titles.flat_map(lambda row: [row] if row["id"] == 2 else [])
    for way in WAYS:
        found = join(left, right, "inner", way).take_all()
        assert found == [{"id": 2, "name": "Alan", "title": "Dr"}]


# How it runs --------------------------------------------------------------------------------


def test_the_order_is_that_of_the_left_side_where_the_right_one_is_small():
    left = ms.range(100, override_num_blocks=7)
    right = ms.from_items([{"id": row, "r": row} for row in range(0, 100, 3)])
    found = [row["id"] for row in left.join(right, "left").take_all()]
    assert found == list(range(100))


def test_a_side_that_is_not_small_is_exchanged(monkeypatch, capsys):
    left, right = ms.range(10), ms.from_items([{"id": 1}])
    left.join(right).explain()
    assert "Scatter" not in capsys.readouterr().out
    monkeypatch.setattr(joins, "BROADCAST_BYTES_MAX", 1)
    made = left.join(right)
    made.explain()
    assert "Scatter(Join(inner, id))" in capsys.readouterr().out
    assert made.take_all() == [{"id": 1}]


@pytest.mark.parametrize("way", WAYS)
def test_operators_follow_and_go_before(way, people, titles, tmp_path):
    made = join(people.random_shuffle(seed=1), titles.sort("id"), "left", way)
    assert sorted(row["id"] for row in made.take_all()) == [1, 2]
    assert made.map(lambda row: {"n": row["id"]}).sort("n").take_all() == [{"n": 1}, {"n": 2}]
    assert made.filter(lambda row: row["title"] is not None).count() == 1
    assert made.select_columns("title").count() == 2
    assert len(made.limit(1).take_all()) == 1
    assert made.union(made).count() == 4
    assert made.sort("id").zip(ms.range(2).rename_columns({"id": "n"})).count() == 2
    made.write_parquet(str(tmp_path))
    assert ms.read_parquet(str(tmp_path)).sort("id").take_all() == made.sort("id").take_all()
    twice = join(made, titles.rename_columns({"title": "t"}), "left", way)
    assert sorted(row["t"] or "" for row in twice.take_all()) == ["", "Dr"]
    again = pickle.loads(pickle.dumps(made))
    assert sorted_rows(again) == sorted_rows(made)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_known_of_a_join_without_running(way, people, titles):
    made = join(people, titles, "left", way)
    assert "Join(left_outer, id)" in repr(made)
    assert made.schema().names == ["id", "name", "title"]
    assert made.count() == 2


def test_a_dataset_joins_itself(people):
    for way in WAYS:
        made = join(people, people, "inner", way, right_suffix="_r")
        assert sorted_rows(made)[0] == {"id": 1, "name": "Ada", "name_r": "Ada"}


def test_an_error_on_either_side_is_an_error(people, titles):
    def fail(row):
        raise ValueError("no such row")

    for way in WAYS:
        for sides in ((people.map(fail), titles), (people, titles.map(fail))):
            with pytest.raises(ms.UserCodeError, match="no such row"):
                join(*sides, "left", way).take_all()


CASES = {
    "ds=5 must be a Dataset": lambda ds: ds.join(5),
    "join_type='cross' must be one of 'inner'": lambda ds: ds.join(ds, "cross"),
    "num_partitions=0 must be a whole number": lambda ds: ds.join(ds, "inner", 0),
    "on=[] must be a column": lambda ds: ds.join(ds, on=[]),
    "on=5 must be a column name": lambda ds: ds.join(ds, on=5),
    "on=['id', 'id'] names 'id' more than once": lambda ds: ds.join(ds, on=["id", "id"]),
    "must have as many columns": lambda ds: ds.join(ds, on="id", right_on=["id", "x"]),
    "left_suffix=5 must be a str": lambda ds: ds.join(ds, left_suffix=5),
    "right_suffix=5 must be a str": lambda ds: ds.join(ds, right_suffix=5),
    "broadcast=1 must be a bool": lambda ds: ds.join(ds, broadcast=1),
    "broadcast=True with join_type='full_outer'": lambda ds: ds.join(ds, "full", broadcast=True),
    "broadcast=True with join_type='right_semi'": lambda ds: ds.join(
        ds, "right_semi", broadcast=True
    ),
}


@pytest.mark.parametrize("told", CASES)
def test_an_argument_that_makes_no_sense_is_refused_at_the_call(told):
    with pytest.raises(ms.ArgumentError) as caught:
        CASES[told](ms.range(3))
    assert told in str(caught.value)
