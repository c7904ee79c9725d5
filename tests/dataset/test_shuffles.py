"""Sort, shuffle and repartition: what plain Python makes of the same rows, however they are cut."""

from __future__ import annotations

import datetime
import decimal
import math
import pickle
from functools import cmp_to_key
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from column_samples import COLUMNS, same, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import SchemaError
from millstream.plan import sorting

few = settings(max_examples=40, suppress_health_check=list(HealthCheck))
#: Bytes of a partition: of one row, of a few, of all.
SIZES = [1, 64, 32 << 20]


@pytest.fixture(params=SIZES)
def partition_bytes(request, monkeypatch):
    monkeypatch.setattr(sorting, "PARTITION_BYTES", request.param)


@pytest.fixture
def many(monkeypatch):
    """As many partitions as there are bytes."""
    monkeypatch.setattr(sorting, "PARTITION_BYTES", 1)


def cut(table, places):
    """A dataset of blocks that end at some places."""
    ends = sorted({0, table.num_rows, *(place % (table.num_rows + 1) for place in places)})
    pieces = [table.slice(a, b - a) for a, b in pairwise(ends)]
    return ms.from_arrow(pieces or [table])


def numbered(columns):
    """Their values, and a column that numbers the rows."""
    rows = len(next(iter(columns.values())))
    return pa.table({**columns, "row": np.arange(rows)})


def rows_of(ds):
    return pa.table(ds).column("row").to_pylist() if ds.count() else []


def alike(left, right):
    """Whether values are the same ones, as many."""
    return len(left) == len(right) and all(map(same, left, right))


def unknown(ds):
    """The same rows, of columns that are not known without running."""
    return ds.map_batches(lambda batch: batch, batch_format="pyarrow")


def blocks_of(ds):
    return [len(batch) for batch in ds.iter_batches(batch_size=None, batch_format="pyarrow")]


# Sort ---------------------------------------------------------------------------------------


def is_nan(value):
    return isinstance(value, float) and math.isnan(value)


def in_order(columns, descending, nulls):
    """The numbers of the rows, in order, as plain Python sorts them."""

    def compare(left, right):
        for column, is_down in zip(columns, descending, strict=True):
            a, b = column[left], column[right]
            places = [2 if each is None else 1 if is_nan(each) else 0 for each in (a, b)]
            if places[0] != places[1]:
                first = -1 if places[0] < places[1] else 1
                return first if nulls == "at_end" else -first
            if places[0] == 0 and a != b:
                return (-1 if a < b else 1) * (-1 if is_down else 1)
        return 0

    return sorted(range(len(columns[0])), key=cmp_to_key(compare))


zoned = st.datetimes(
    datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1), timezones=st.just(datetime.UTC)
)
KINDS = {
    "int8": (pa.int8(), st.integers(-2, 2)),
    "int64": (pa.int64(), st.sampled_from([0, 1, 2**53, 2**53 + 1, 2**62, 2**63 - 1, -(2**63)])),
    "uint64": (pa.uint64(), st.sampled_from([0, 2**53 + 1, 2**63, 2**64 - 1])),
    "float64": (pa.float64(), st.sampled_from([0.0, -0.0, 0.5, math.nan, -math.nan, math.inf])),
    "float16": (pa.float16(), st.sampled_from([0.0, -0.0, 1.5, math.nan])),
    "bool": (pa.bool_(), st.booleans()),
    "text": (pa.string(), st.sampled_from(["", "a", "B", "é", "z", "😀", "\uffff", "a\0"])),
    "binary": (pa.binary(), st.binary(max_size=2)),
    "date": (pa.date32(), st.dates()),
    "zoned": (pa.timestamp("us", "Europe/Berlin"), zoned),
    "seconds": (pa.timestamp("s"), st.integers(-(2**62), 2**62)),
    "duration": (pa.duration("ns"), st.integers(-(2**62), 2**62)),
    "time": (pa.time64("us"), st.times()),
    "decimal32": (pa.decimal32(5, 2), st.decimals(-99, 99, places=2)),
    "decimal": (pa.decimal128(30, 4), st.decimals(-(10**20), 10**20, places=4)),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["b", "a", "é"])),
    "null": (pa.null(), st.none()),
}


@st.composite
def columns_of(draw, least=1, most=2):
    names = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=least, max_size=most))
    rows = draw(st.integers(0, 12))
    made = {}
    for place, name in enumerate(names):
        type, strategy = KINDS[name]
        found = draw(st.lists(st.none() | strategy, min_size=rows, max_size=rows))
        made[f"k{place}"] = pa.array(found, type)
    return made


@given(
    columns=columns_of(),
    places=st.lists(st.integers(0, 100), max_size=4),
    sides=st.lists(st.booleans(), min_size=2, max_size=2),
    nulls=st.sampled_from(["at_end", "at_start"]),
    size=st.sampled_from(SIZES),
)
@few
def test_rows_come_in_the_order_that_plain_python_gives_them(columns, places, sides, nulls, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "PARTITION_BYTES", size)
        table = numbered(columns)
        sides = sides[: len(columns)]
        ds = cut(table, places).sort(list(columns), sides, nulls=nulls)
        wanted = in_order([values(column) for column in columns.values()], sides, nulls)
        assert rows_of(ds) == wanted
        if wanted:
            found = pa.table(ds)
            assert found.schema.types == table.schema.types
            for name, column in columns.items():
                expected = [values(column)[row] for row in wanted]
                assert alike(values(found.column(name)), expected)


@pytest.mark.parametrize("is_descending", [False, True])
def test_blocks_of_other_types_are_sorted_by_value(is_descending, partition_bytes):
    blocks = [pa.array([3, -1], pa.int8()), pa.array([2.5, None, math.nan]), pa.nulls(1)]
    ds = ms.from_arrow([pa.table({"x": block}) for block in (*blocks, pa.array([2**40, 0]))])
    found = [row["x"] for row in ds.sort("x", is_descending).take_all()]
    wanted = [-1.0, 0.0, 2.5, 3.0, float(2**40)]
    assert found[:5] == (wanted[::-1] if is_descending else wanted)
    assert math.isnan(found[5])
    assert found[6:] == [None, None]


def test_types_that_do_not_go_together_are_named(partition_bytes):
    text, number = pa.table({"x": ["a"]}), pa.table({"x": [1]})
    made = [unknown(ms.from_arrow(table)) for table in (text, number)]
    with pytest.raises(SchemaError, match=r"'x' is (string|int64) .*(int64|string)"):
        made[0].union(made[1]).sort("x").take_all()
    large, half = pa.table({"x": [2**53 + 1]}), pa.table({"x": [0.5]})
    with pytest.raises(SchemaError, match="9007199254740993 is no exact double"):
        ms.from_arrow([large, half]).sort("x").take_all()


def test_equal_rows_stay_as_they_were(many):
    ds = ms.range(1000, override_num_blocks=20).map_batches(
        lambda batch: {"k": batch["id"] % 3, "row": batch["id"]}
    )
    for is_descending in (False, True):
        sides = [2, 1, 0] if is_descending else [0, 1, 2]
        wanted = [row for key in sides for row in range(key, 1000, 3)]
        assert rows_of(ds.sort("k", is_descending)) == wanted


def test_moments_beyond_what_python_holds_have_an_order(many):
    for type in (pa.timestamp("s"), pa.duration("s"), pa.timestamp("s", "UTC")):
        table = numbered({"x": pa.array([2**62 - row for row in range(20)], type)})
        assert rows_of(cut(table, [3, 9]).sort("x")) == list(range(19, -1, -1))


@pytest.mark.parametrize("name", ["list", "struct", "map", "tensor", "interval", "uuid"])
def test_values_without_an_order_are_refused_with_their_type(name):
    ds = ms.from_arrow(pa.table({"x": COLUMNS[name]}))
    with pytest.raises(SchemaError, match=r"column 'x': values of type .* have no order"):
        ds.sort("x")
    with pytest.raises(SchemaError, match=r"column 'x': values of type .* have no order"):
        unknown(ds).sort("x").take_all()


@pytest.mark.parametrize("key", ["missing", ["id", "missing"]])
def test_a_key_that_is_not_there_is_named(key, partition_bytes):
    ds = ms.range(5, override_num_blocks=2)
    with pytest.raises(SchemaError, match="no column 'missing'; the columns are 'id'"):
        ds.sort(key)
    with pytest.raises(SchemaError, match="no column 'missing'; the columns are 'id'"):
        unknown(ds).sort(key).take_all()


def test_columns_that_are_no_keys_go_with_their_rows(many):
    for name, column in COLUMNS.items():
        rows = len(column)
        table = pa.table({"k": np.arange(rows)[::-1], "x": column})
        found = ms.from_arrow([table, table]).sort("k")
        back = pa.table(found).column("x")
        wanted = pa.table(ms.from_arrow(table)).column("x")
        wanted = [value for value in values(wanted)[::-1] for _ in range(2)]
        assert alike(values(back), wanted), name


def test_a_sorted_dataset_is_sorted_also_where_few_values_are_most(many):
    keys = [0] * 500 + list(range(100)) + [99] * 500
    table = numbered({"x": pa.array(np.random.default_rng(1).permutation(keys))})
    found = cut(table, range(0, 1100, 97)).sort("x").take_all()
    assert [row["x"] for row in found] == sorted(keys)


# Shuffle ------------------------------------------------------------------------------------


def shuffled(seed, rows=100, blocks=5):
    ds = ms.range(rows, override_num_blocks=blocks).random_shuffle(seed=seed)
    return [row["id"] for row in ds.take_all()]


@given(
    columns=columns_of(),
    places=st.lists(st.integers(0, 100), max_size=4),
    seed=st.none() | st.integers(0, 2**70),
    size=st.sampled_from(SIZES),
)
@few
def test_a_shuffle_gives_the_same_rows(columns, places, seed, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "PARTITION_BYTES", size)
        table = numbered(columns)
        ds = cut(table, places).random_shuffle(seed=seed).materialize()
        rows = rows_of(ds)
        assert sorted(rows) == list(range(table.num_rows))
        if rows:
            found = pa.table(ds)
            for name, column in columns.items():
                wanted = [values(column)[row] for row in rows]
                assert alike(values(found.column(name)), wanted)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_any_type_are_shuffled(name, many):
    column = COLUMNS[name]
    ds = cut(numbered({"x": column}), [1]).random_shuffle(seed=1).materialize()
    table = pa.table(ds)
    plain = values(pa.table(ms.from_arrow(pa.table({"x": column}))).column("x"))
    wanted = [plain[row] for row in table.column("row").to_pylist()]
    assert alike(values(table.column("x")), wanted)


def test_the_same_seed_gives_the_same_order_and_others_others(partition_bytes):
    orders = {seed: shuffled(seed) for seed in range(5)}
    assert all(shuffled(seed) == order for seed, order in orders.items())
    assert len({tuple(order) for order in orders.values()}) == 5
    assert all(sorted(order) == list(range(100)) for order in orders.values())
    assert list(range(100)) not in orders.values()


def test_each_run_has_an_order_of_its_own_without_a_seed(partition_bytes):
    ds = ms.range(100, override_num_blocks=5).random_shuffle()
    orders = {tuple(row["id"] for row in ds.take_all()) for _ in range(3)}
    assert len(orders) == 3


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("size", [16, 32 << 20])
def test_each_row_comes_to_each_place_about_as_often(blocks, size, monkeypatch):
    monkeypatch.setattr(sorting, "PARTITION_BYTES", size)
    rows, runs = 5, 150
    places = np.zeros((rows, rows), int)
    for seed in range(runs):
        for place, row in enumerate(shuffled(seed, rows, blocks)):
            places[row, place] += 1
    wanted = runs / rows
    squares = ((places - wanted) ** 2 / wanted).sum()
    # Of 16 degrees of freedom: more than this comes once in 10,000 tries.
    assert squares < 45


def test_neighbours_are_not_kept_together(many):
    order = np.array(shuffled(3, 10_000, 10))
    assert (np.abs(np.diff(order)) == 1).sum() < 20
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.05


def test_rows_that_are_all_alike_are_shuffled(many):
    ds = ms.from_arrow([pa.table({"x": [1, 1]})] * 10).random_shuffle(seed=1)
    assert ds.take_all() == [{"x": 1}] * 20


# Repartition --------------------------------------------------------------------------------


@given(
    rows=st.integers(0, 40),
    places=st.lists(st.integers(0, 100), max_size=4),
    blocks=st.integers(1, 12),
)
@few
def test_rows_are_divided_evenly_and_keep_their_order(rows, places, blocks):
    table = numbered({"x": pa.array([f"row {row}" for row in range(rows)], pa.string())})
    ds = cut(table, places).repartition(blocks)
    assert pa.table(ds).equals(table) if rows else ds.count() == 0
    found = blocks_of(ds) if rows else []
    assert len(found) == min(rows, blocks)
    assert not found or max(found) - min(found) <= 1
    assert not rows or ds.materialize().num_blocks() == len(found)


@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_a_shuffling_repartition_gives_as_many_blocks_of_about_as_many_rows(blocks):
    ds = ms.range(2100, override_num_blocks=4).repartition(blocks, shuffle=True)
    found = blocks_of(ds)
    assert len(found) == ds.materialize().num_blocks() == blocks
    assert sum(found) == 2100
    assert max(found) < 1.5 * 2100 / blocks
    assert sorted(row["id"] for row in ds.take_all()) == list(range(2100))


def test_blocks_of_other_types_become_one(partition_bytes):
    tables = [pa.table({"x": pa.array([1], pa.int8())}), pa.table({"x": [0.5, None]})]
    ds = ms.from_arrow(tables).repartition(2)
    assert [row["x"] for row in ds.take_all()] == [1.0, 0.5, None]
    ds = ms.from_arrow(tables).repartition(2, shuffle=True)
    assert sorted(row["x"] or 0 for row in ds.take_all()) == [0, 0.5, 1.0]


# All ----------------------------------------------------------------------------------------

OPERATORS = {
    "sort": lambda ds: ds.sort("id"),
    "sort by two": lambda ds: ds.sort(["s", "id"], [True, False]),
    "random_shuffle": lambda ds: ds.random_shuffle(seed=1),
    "repartition": lambda ds: ds.repartition(3),
    "shuffling repartition": lambda ds: ds.repartition(3, shuffle=True),
}
every = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


def ids(ds):
    return sorted(row["id"] for row in ds.take_all())


def rows(count=20, blocks=4):
    table = pa.table({"id": np.arange(count), "s": [f"{row % 3}" for row in range(count)]})
    return cut(table, [count * block // blocks for block in range(blocks)])


@every
def test_no_rows_stay_no_rows(operator, partition_bytes):
    ds = rows()
    none = [
        ds.limit(0),
        ds.filter(lambda row: False),
        unknown(ds).filter(lambda row: False),
        ds.flat_map(lambda row: []),
        ms.from_arrow(pa.table({"id": pa.array([], pa.int64()), "s": pa.array([], pa.string())})),
    ]
    for each in none:
        made = operator(each)
        assert made.take_all() == []
        assert made.count() == 0
        assert made.materialize().count() == 0
    assert operator(none[1]).schema().names == ["id", "s"]


@every
def test_empty_blocks_change_nothing(operator, partition_bytes):
    ds = rows()
    for some in (
        ds.filter(lambda row: row["id"] >= 15),
        ds.flat_map(lambda row: [row] if row["id"] >= 15 else []),
        ds.filter(lambda row: False).union(ds.filter(lambda row: row["id"] >= 15)),
    ):
        assert ids(operator(some)) == list(range(15, 20))


@every
def test_one_row_stays_one_row(operator, partition_bytes):
    assert operator(rows(1)).take_all() == [{"id": 0, "s": "0"}]


@pytest.mark.parametrize("name", ["random_shuffle", "repartition", "shuffling repartition"])
def test_rows_without_columns_are_counted(name, partition_bytes):
    ds = OPERATORS[name](rows().select_columns([]))
    assert ds.materialize().count() == 20
    assert ds.take_all() == [{}] * 20


@every
def test_operators_follow_and_go_before(operator, partition_bytes, tmp_path):
    ds = operator(unknown(rows()).filter(lambda row: row["id"] >= 10))
    assert ids(ds) == list(range(10, 20))
    assert ids(ds.map(lambda row: {"id": -row["id"]})) == list(range(-19, -9))
    assert len(ds.limit(3).take_all()) == 3
    assert ids(operator(rows().limit(7))) == list(range(7))
    assert ids(ds.filter(lambda row: row["id"] == 12)) == [12]
    assert ids(ds.union(ds, rows(2))) == sorted([*range(10, 20)] * 2 + [0, 1])
    assert ds.select_columns("s").count() == 10
    pair = ds.zip(rows(10).rename_columns({"id": "n", "s": "t"}))
    assert sorted(row["n"] for row in pair.take_all()) == list(range(10))
    ds.write_parquet(str(tmp_path))
    assert ids(ms.read_parquet(str(tmp_path))) == list(range(10, 20))
    assert ids(operator(ms.read_parquet(str(tmp_path)))) == list(range(10, 20))
    assert [len(part.take_all()) for part in ds.split(2, equal=True)] == [5, 5]


@every
def test_they_come_in_rows_and_in_both_inputs(operator, partition_bytes):
    for first in OPERATORS.values():
        assert ids(operator(first(rows()))) == list(range(20))
    assert ids(operator(rows()).union(operator(rows(4)))) == sorted([*range(20), *range(4)])
    both = operator(rows()).zip(operator(rows().map(lambda row: {"n": row["id"], **row})))
    assert both.count() == 20


@every
def test_what_is_known_of_them_without_running(operator):
    ds = operator(rows())
    assert ds.count() == 20
    assert ds.schema().names == ["id", "s"]
    assert ds.columns() == ["id", "s"]
    name = repr(ds)
    assert any(word in name for word in ("Sort(", "RandomShuffle", "Repartition(3)"))
    assert "rows=20" in name
    assert "id: int64" in name


@every
def test_a_plan_shows_them(operator, capsys):
    operator(rows()).explain()
    shown = capsys.readouterr().out
    assert any(word in shown for word in ("Sort(", "RandomShuffle", "Repartition(3)"))


@every
def test_they_travel_and_run_again(operator, partition_bytes):
    ds = operator(rows())
    again = pickle.loads(pickle.dumps(ds))
    assert ids(again) == ids(ds) == ids(again) == list(range(20))


@every
def test_the_input_is_not_changed(operator, partition_bytes):
    ds = rows()
    operator(ds).take_all()
    assert [row["id"] for row in ds.take_all()] == list(range(20))


def test_a_sort_after_a_shuffle_brings_the_order_back(partition_bytes):
    ds = rows().random_shuffle().sort("id")
    assert [row["id"] for row in ds.take_all()] == list(range(20))
    assert [row["id"] for row in ds.limit(3).take_all()] == [0, 1, 2]
    pair = ds.zip(ds.sort("id", descending=True).rename_columns({"id": "n", "s": "t"}))
    assert [row["n"] for row in pair.take_all()] == list(range(19, -1, -1))


def test_an_error_before_them_is_an_error(partition_bytes):
    def fail(row):
        raise ValueError("no such row")

    for operator in OPERATORS.values():
        with pytest.raises(ms.UserCodeError, match="no such row"):
            operator(rows().map(fail)).take_all()


# Arguments ----------------------------------------------------------------------------------

CASES = {
    "key=5 must be a column name": lambda ds: ds.sort(5),
    "key=None must be a column name": lambda ds: ds.sort(None),
    "key=[] must be a column": lambda ds: ds.sort([]),
    "key=['id', 'id'] names 'id' more than once": lambda ds: ds.sort(["id", "id"]),
    "descending=1 must be True, False": lambda ds: ds.sort("id", 1),
    "descending=[True, False] must be True, False": lambda ds: ds.sort("id", [True, False]),
    "descending='no' must be True, False": lambda ds: ds.sort("id", descending="no"),
    "nulls='first' must be one of 'at_end'": lambda ds: ds.sort("id", nulls="first"),
    "seed='x' must be a whole number": lambda ds: ds.random_shuffle(seed="x"),
    "seed=-1 must be a whole number": lambda ds: ds.random_shuffle(seed=-1),
    "seed=True must be a whole number": lambda ds: ds.random_shuffle(seed=True),
    "num_blocks=0 must be a whole number": lambda ds: ds.repartition(0),
    "num_blocks=None must be a whole number": lambda ds: ds.repartition(None),
    "num_blocks=1.5 must be a whole number": lambda ds: ds.repartition(1.5),
    "shuffle='yes' must be True or False": lambda ds: ds.repartition(2, shuffle="yes"),
}


@pytest.mark.parametrize("told", CASES)
def test_an_argument_that_makes_no_sense_is_refused_at_the_call(told):
    with pytest.raises(ms.ArgumentError) as caught:
        CASES[told](ms.range(3))
    assert told in str(caught.value)


def test_decimals_of_any_width_have_an_order(many):
    numbers = [decimal.Decimal(number) for number in (3, -1, 2)]
    for type in (pa.decimal32(5, 2), pa.decimal64(12, 2), pa.decimal128(20, 2), pa.decimal256(50)):
        ds = cut(numbered({"x": pa.array([*numbers, None], type)}), [1, 2])
        assert rows_of(ds.sort("x")) == [1, 2, 0, 3]


def test_what_was_sorted_comes_in_order_whatever_else_does_not(monkeypatch):
    monkeypatch.setattr(sorting, "PARTITION_BYTES", 1 << 14)
    monkeypatch.setattr(ms.DataContext.get_current().execution_options, "preserve_order", False)
    numbers = np.concatenate([np.zeros(40_000, int), np.arange(2000)])
    ds = ms.from_arrow(pa.table({"x": numbers})).repartition(20).sort("x")
    assert [row["x"] for row in ds.take_all()] == sorted(numbers.tolist())


def test_a_shuffled_source_has_one_order_in_a_run_also_across_phases(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.bin").write_bytes(b"%d" % number)
    source = ms.read_binary_files(tmp_path, shuffle="files")
    both = source.zip(source.repartition(3)).take_all()
    assert [row["bytes"] for row in both] == [row["bytes_1"] for row in both]
    orders = {tuple(row["bytes"] for row in source.take_all()) for _ in range(3)}
    assert len(orders) == 3


def test_functions_may_make_more_of_their_rows(monkeypatch):
    ds = ms.range(10)
    assert sorting.partitions_for(ds._plan) == 1
    assert sorting.partitions_for(ds.select_columns("id")._plan) == 1
    assert sorting.partitions_for(ds.map(lambda row: row)._plan) == sorting.GROWTH


def test_repartition_with_shuffle_gives_blocks_of_about_as_many_rows():
    blocks = ms.range(20, override_num_blocks=1).repartition(20, shuffle=True).materialize()
    assert blocks.num_blocks() == 20
