"""The table at which runs meet: who is told what, and when."""

from __future__ import annotations

import pytest

from millstream.run.ray.table import Report, Share, Table


def share(cpu, store_bytes=0):
    return Share(float(cpu), 0.0, {}, store_bytes)


TOTAL = {"one": share(8, 800)}
NOTHING = {"one": share(0)}
ONE_MORE = share(1, 10)


def report(goes_by, held=NOTHING, *, weight=1, total=TOTAL, wanted=ONE_MORE):
    return Report(weight, total, held, goes_by, wanted)


@pytest.fixture
def table():
    """A table to which drivers `a` and `b` come."""
    return Table(lambda: {"a", "b"})


def test_nothing_is_divided_before_all_drivers_have_come(table):
    assert table.exchange("b", {0: report(NOTHING)}) == {0: {}}
    assert table.exchange("a", {0: report(TOTAL, TOTAL)}) == {0: {"one": share(4, 400)}}


def test_a_share_is_free_when_who_had_it_says_so(table):
    table.exchange("b", {0: report(NOTHING)})
    told = table.exchange("a", {0: report(TOTAL)})[0]
    assert table.exchange("b", {0: report(NOTHING)}) == {0: {}}
    assert table.exchange("a", {0: report(told, {"one": share(6)})}) == {0: {}}
    assert table.exchange("b", {0: report(NOTHING)}) == {0: {"one": share(2, 400)}}


def test_what_was_told_is_told_until_the_run_goes_by_it(table):
    table.exchange("b", {0: report(NOTHING)})
    told = table.exchange("a", {0: report(TOTAL)})
    assert table.exchange("a", {0: report(TOTAL)}) == told
    assert table.exchange("a", {0: report(told[0])}) == {0: {}}


def test_weights_of_runs_of_one_driver():
    table = Table(lambda: {"a"})
    table.exchange("a", {0: report(NOTHING, weight=3), 1: report(NOTHING)})
    told = table.exchange("a", {0: report(NOTHING, weight=3), 1: report(NOTHING)})
    assert told == {0: {"one": share(6, 600)}, 1: {"one": share(2, 200)}}


def test_what_a_driver_had_that_is_gone_is_free():
    drivers = {"a", "b"}
    table = Table(lambda: set(drivers))
    table.exchange("a", {0: report(NOTHING)})
    half = {"one": share(4, 400)}
    assert table.exchange("b", {0: report(NOTHING)}) == {0: half}
    drivers.remove("a")
    assert table.exchange("b", {0: report(half, half)}) == {0: TOTAL}


def test_a_node_has_what_the_run_says_that_knows_of_most(table):
    table.exchange("a", {0: report(NOTHING, total={"one": share(8, 600)})})
    told = table.exchange("b", {0: report(NOTHING)})
    assert told == {0: {"one": share(4, 400)}}


def test_a_node_that_no_run_knows_any_more_is_forgotten():
    table = Table(lambda: {"a"})
    both = {**TOTAL, "two": share(2, 100)}
    assert table.exchange("a", {0: report({**NOTHING, "two": share(0)}, total=both)}) == {0: both}
    assert table.exchange("a", {0: report(TOTAL)}) == {0: {}}
