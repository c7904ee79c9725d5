"""Parts of a dataset have all of its rows, once, in order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import ArgumentError


def ids(part):
    return [row["id"] for row in part.take_all()]


@given(
    rows=st.integers(0, 40),
    blocks=st.integers(1, 6),
    indices=st.lists(st.integers(0, 50), min_size=1, max_size=5).map(sorted),
)
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_rows_are_divided_at_the_positions(rows, blocks, indices):
    parts = ms.range(rows, override_num_blocks=blocks).split_at_indices(indices)
    numbers = list(range(rows))
    ends = [0, *indices, max(rows, indices[-1])]
    wanted = [numbers[first:last] for first, last in pairwise(ends)]
    assert [ids(part) for part in parts] == wanted
    assert [part.count() for part in parts] == list(map(len, wanted))


def test_a_split_has_parts_of_one_size_but_for_a_row():
    ds = ms.range(10, override_num_blocks=3)
    assert [ids(part) for part in ds.split(3)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    assert [ids(part) for part in ds.split(3, equal=True)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert [part.count() for part in ms.range(2).split(3)] == [0, 1, 1]


def test_proportions_leave_the_rest_to_the_last_part():
    parts = ms.range(10).split_proportionately([0.2, 0.5])
    assert [part.count() for part in parts] == [2, 5, 3]
    with pytest.raises(ArgumentError, match=r"proportions=\[0.01\] leaves a part of 10 rows empty"):
        ms.range(10).split_proportionately([0.01])
    for wrong in ([], [0.5, 0.5], [-1], "half", [1]):
        with pytest.raises(ArgumentError, match="proportions"):
            ms.range(10).split_proportionately(wrong)


@pytest.mark.parametrize(("size", "tested"), [(0.25, 2), (3, 3), (1, 1)])
def test_the_last_rows_are_for_tests(size, tested):
    train, test = ms.range(8).train_test_split(size)
    assert (ids(train), ids(test)) == (list(range(8 - tested)), list(range(8 - tested, 8)))


def test_wrong_sizes_are_named():
    for wrong in (0, 1.0, -1, "half", 0.0):
        with pytest.raises(ArgumentError, match="test_size"):
            ms.range(8).train_test_split(wrong)
    with pytest.raises(ArgumentError, match="test_size=8 leaves a part of 8 rows empty"):
        ms.range(8).train_test_split(8)
    with pytest.raises(ArgumentError, match="seed=1 is that of a shuffle"):
        ms.range(8).train_test_split(0.5, seed=1)


def test_rows_are_shuffled_before_they_are_divided_if_that_is_asked_for():
    parts = ms.range(100).train_test_split(0.3, shuffle=True, seed=1)
    train, test = ([row["id"] for row in part.take_all()] for part in parts)
    assert (len(train), len(test)) == (70, 30)
    assert sorted(train + test) == list(range(100))
    assert train != sorted(train)
    again = ms.range(100).train_test_split(0.3, shuffle=True, seed=1)[1]
    assert [row["id"] for row in again.take_all()] == test
    with pytest.raises(ArgumentError, match="must be in order"):
        ms.range(8).split_at_indices([3, 1])
    with pytest.raises(ArgumentError, match=r"indices\[0\]"):
        ms.range(8).split_at_indices([-1])


def test_parts_are_datasets_and_share_their_blocks():
    train, test = ms.range(100, override_num_blocks=1).train_test_split(0.5)
    both = test.map_batches(lambda batch: {"id": batch["id"] + 1}).union(train)
    assert sorted(ids(both)) == sorted([*range(51, 101), *range(50)])
    assert train.num_blocks() == test.num_blocks() == 1
    assert train.split_at_indices([10])[0].count() == 10


def test_numbers_of_numpy_are_positions():
    parts = ms.range(5).split_at_indices(np.array([1, 3]))
    assert [ids(part) for part in parts] == [[0], [1, 2], [3, 4]]
    assert [part.count() for part in ms.range(5).split_at_indices([np.int64(2)])] == [2, 3]
