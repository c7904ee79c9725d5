from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millstream.io.source import group_by_weight, shares_of, split_rows


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60), st.integers(1, 80))
def test_groups_cover_all_items_in_order_and_none_is_empty(weights, groups):
    ranges = group_by_weight(weights, groups)
    assert len(ranges) == min(groups, len(weights))
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(weights)
    assert all(start < stop for start, stop in ranges)
    assert all(left[1] == right[0] for left, right in pairwise(ranges))


def test_groups_of_equal_items_are_equal():
    assert group_by_weight([5] * 9, 3) == [(0, 3), (3, 6), (6, 9)]
    assert group_by_weight([0] * 4, 2) == [(0, 2), (2, 4)]


def test_a_heavy_item_is_alone():
    assert group_by_weight([1, 1, 100, 1], 3)[1:] in ([(2, 3), (3, 4)], [(1, 3), (3, 4)])


@given(st.integers(0, 1000), st.integers(1, 50))
def test_ranges_of_rows_differ_by_one_at_most(rows, parts):
    sizes = [stop - start for start, stop in split_rows(rows, parts)]
    assert sum(sizes) == rows
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == max(1, min(rows, parts))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 100))
def test_shares_add_up_as_far_as_there_are_rows(rows, parts):
    shares = shares_of(rows, parts)
    assert all(1 <= share <= max(1, count) for share, count in zip(shares, rows, strict=True))
    most = sum(max(1, count) for count in rows)
    assert sum(shares) == max(len(rows), min(parts, most))
