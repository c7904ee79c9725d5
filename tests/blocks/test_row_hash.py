"""Hashes of rows: the same for equal values, whatever block, type or machine they are in."""

from __future__ import annotations

import datetime
import decimal
import math
import subprocess
import sys

import column_samples
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.blocks import block
from millstream.blocks.row_hash import hash_rows
from millstream.errors import SchemaError

D = decimal.Decimal
UTC = datetime.UTC
NOON = datetime.datetime(2024, 2, 29, 12)
# Pinned: rows of one dataset are dealt out by several machines and versions.
PINNED = [
    (pa.array([5]), 3822843147720204744),
    (pa.array([0.5]), 7229055275480579544),
    (pa.array([D("0.3")]), 13173301526474372783),
    (pa.array([D("12345678901234567890.5")]), 7288804705162773309),
    (pa.array(["é€😀, longer than eight bytes"]), 14422146999815668297),
    (pa.array([NOON]), 11186136731541445385),
    (pa.array([None], pa.int8()), 10391542753686832750),
    (pa.array([math.nan]), 6415612318462204579),
    (pa.array([[1, None, 3]]), 13899699181081006516),
    (pa.array([{"a": 1, "b": "x"}]), 15598888310085393838),
]


def hashes(*columns, seed=0):
    names = [str(place) for place in range(len(columns))]
    return hash_rows(pa.table(list(columns), names), names, seed=seed).tolist()


def integer_types(value):
    for type in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64()):
        info = np.iinfo(type.to_pandas_dtype())
        if info.min <= value <= info.max:
            yield type


@given(st.integers(-(2**63), 2**64 - 1) | st.sampled_from([0, 2**53 + 1, 2**63, -(2**63)]))
def test_a_whole_number_has_one_hash_in_all_types_of_numbers(value):
    found = [hashes(pa.array([value], type)) for type in integer_types(value)]
    found.append(hashes(pa.array([D(value)], pa.decimal128(38, 4))))
    found.append(hashes(pa.array([D(value)], pa.decimal256(60, 0))))
    if int(float(value)) == value:
        found.append(hashes(pa.array([float(value)])))
    if abs(value) <= 2048:
        found.append(hashes(pa.array([float(value)], pa.float16())))
    assert found == [found[0]] * len(found)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-1e18, max_value=1e18)
)
@settings(max_examples=60)
def test_a_decimal_has_one_hash_whatever_its_scale(value):
    types = [pa.decimal128(38, 9), pa.decimal128(38, 18), pa.decimal256(76, 38)]
    if abs(value) < 10**9:
        types.append(pa.decimal64(18, 9))
    found = [hashes(pa.array([value], type)) for type in types]
    assert found == [found[0]] * len(found)
    other = value + D("0.000000001")
    assert hashes(pa.array([other], pa.decimal128(38, 9))) != found[0]


@given(st.integers(-(10**76) + 1, 10**76 - 1), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=60)
def test_long_decimals_have_the_hash_of_their_value(number, scale, zeros):
    if abs(number) * 10**zeros >= 10**76:
        number %= 10 ** (75 - zeros)
    with decimal.localcontext(prec=80):
        value = D(number).scaleb(-scale)
        types = [pa.decimal256(76, scale), pa.decimal256(76, scale + zeros)]
        found = [hashes(pa.array([value], type)) for type in types]
        assert found[0] == found[1]
        if number:
            assert hashes(pa.array([-value], types[0])) != found[0]
        if abs(number) < 10**38 and scale <= 38:
            assert hashes(pa.array([value], pa.decimal128(38, scale))) == found[0]


@given(st.floats(width=32))
def test_a_float_has_one_hash_in_each_width_and_zero_and_nan_have_one(value):
    wide = hashes(pa.array([value]))
    assert wide == hashes(pa.array([value], pa.float32()))
    if value == 0:
        assert wide == hashes(pa.array([0])) == hashes(pa.array([-0.0]))
    if math.isnan(value):
        assert wide == hashes(pa.array([math.nan]))


def test_nan_has_one_hash_whatever_its_bits():
    bits = np.array([0x7FF8 << 48, 0xFFF8 << 48 | 1, 0x7FF0 << 48 | 0x123], np.uint64)
    short = np.array([0x7FC00000, 0xFFC00001, 0x7F800001], np.uint32)
    found = hashes(pa.array(bits.view(np.float64))) + hashes(pa.array(short.view(np.float32)))
    assert set(found) == set(hashes(pa.array([math.nan])))


@given(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)))
def test_a_moment_has_one_hash_in_each_unit_and_zone(value):
    value = value.replace(microsecond=0)
    found = [hashes(pa.array([value], pa.timestamp(unit))) for unit in ("s", "ms", "us", "ns")]
    zoned = pa.array([value.replace(tzinfo=UTC)], pa.timestamp("us", "Asia/Tokyo"))
    found.append(hashes(zoned))
    assert found == [found[0]] * len(found)
    day = value.replace(hour=0, minute=0, second=0)
    days = [pa.array([day.date()], type) for type in (pa.date32(), pa.date64())]
    assert hashes(days[0]) == hashes(days[1]) == hashes(pa.array([day], pa.timestamp("us")))


def test_times_and_durations_have_one_hash_in_each_unit():
    times = [(pa.time32, "s"), (pa.time32, "ms"), (pa.time64, "us"), (pa.time64, "ns")]
    assert len({hashes(pa.array([datetime.time(1, 2, 3)], t(unit)))[0] for t, unit in times}) == 1
    spans = [pa.duration(unit) for unit in ("s", "ms", "us", "ns")]
    assert len({hashes(pa.array([datetime.timedelta(-1)], type))[0] for type in spans}) == 1


@given(st.lists(st.none() | st.text(), max_size=12), st.integers(0, 3))
def test_text_has_one_hash_in_each_type_and_cut(values, cut):
    column = pa.array(values, pa.string())
    found = hashes(column)
    for other in (pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())):
        made = column.dictionary_encode().cast(other) if other.id == DICT else column.cast(other)
        assert hashes(made) == found
        assert hashes(pa.chunked_array([made[:cut], made[cut:]], made.type)) == found
    assert len(set(found)) == len(set(values))


@given(st.lists(st.none() | st.lists(st.none() | st.integers(0, 9), min_size=2, max_size=2)))
def test_a_list_has_one_hash_in_each_layout(values):
    short = pa.array(values, pa.list_(pa.int64()))
    found = hashes(short)
    assert hashes(pa.array(values, pa.large_list(pa.int8()))) == found
    assert hashes(pa.array(values, pa.list_(pa.int16(), 2))) == found
    assert hashes(short[1:]) == found[1:]
    assert len(set(found)) == len({None if each is None else tuple(each) for each in values})


@pytest.mark.parametrize("name", column_samples.COLUMNS)
def test_a_value_of_any_type_has_the_same_hash_in_a_slice_and_a_copy(name):
    table = block.plain(pa.table({"x": column_samples.COLUMNS[name]}))
    found = hash_rows(table, ["x"]).tolist()
    again = block.concat([table, table])
    assert hash_rows(again, ["x"]).tolist() == found * 2
    for row in range(table.num_rows):
        alone = table.slice(row, 1)
        assert hash_rows(alone, ["x"]).tolist() == [found[row]]
        assert hash_rows(block.copy(alone), ["x"]).tolist() == [found[row]]
    assert hash_rows(table.slice(0, 0), ["x"]).tolist() == []


def test_other_values_have_other_hashes():
    numbers = np.arange(-50_000, 50_000)
    assert len(set(hashes(pa.array(numbers)))) == len(numbers)
    assert len(set(hashes(pa.array(numbers / 7)))) == len(numbers)
    assert len(set(hashes(pa.array([f"{each}" for each in numbers])))) == len(numbers)
    apart = [pa.array(["ab", "c"]), pa.array(["a", "bc"])]
    assert len(set(hashes(apart[0], apart[1]) + hashes(apart[1], apart[0]))) == 4
    assert len(set(hashes(pa.array([[1, 2], [2, 1], [1], [], None, [None]])))) == 6
    assert len(set(hashes(pa.array(["", None, "\0", "\0\0"])))) == 4


def test_hashes_spread_evenly_over_partitions():
    for values in (np.arange(40_000), np.arange(40_000) * 64.0, np.arange(40_000) / 8):
        sizes = np.bincount(np.array(hashes(pa.array(values)), np.uint64) % np.uint64(16))
        assert abs(sizes - 2500).max() < 250


def test_a_seed_gives_other_hashes():
    column = pa.array([1, 2, None])
    assert not set(hashes(column, seed=1)) & set(hashes(column))
    assert hashes(column, seed=1) == hashes(column, seed=1)


@pytest.mark.parametrize(("column", "expected"), PINNED)
def test_hashes_are_the_same_in_each_version(column, expected):
    assert hashes(column) == [expected]


def test_hashes_are_the_same_in_each_process():
    code = (
        "import pyarrow as pa; from millstream.blocks.row_hash import hash_rows;"
        "print(hash_rows(pa.table({'x': ['a'], 'y': [0.5]}), ['x', 'y']).tolist())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == str(hashes(pa.array(["a"]), pa.array([0.5])))


def test_no_warning_comes_of_odd_floats(recwarn):
    bits = np.array([0x7FF0 << 48 | 1], np.uint64).view(np.float64)
    hashes(pa.array(np.concatenate([bits, [math.inf, -math.inf, 1e308, 2.0**64, -(2.0**63)]])))
    assert not recwarn.list


def test_without_rows_or_columns_there_is_little_to_hash():
    assert hashes(pa.array([], pa.string())) == []
    assert hashes(pa.chunked_array([], pa.decimal128(5, 2))) == []
    assert len(set(hash_rows(pa.table({"x": [1, 2]}), []).tolist())) == 1


def test_what_cannot_be_hashed_is_named():
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(SchemaError, match=r"'x'.*sparse_union"):
        hash_rows(pa.table({"x": union}), ["x"])
    with pytest.raises(SchemaError, match=r"no column 'y'; the columns are 'x'"):
        hash_rows(pa.table({"x": [1]}), ["y"])


DICT = pa.dictionary(pa.int8(), pa.string()).id
